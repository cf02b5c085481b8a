//! `cargo xtask bench`: the figures of `docs/benchmarks.md`.
//!
//! Each workload is one `zfl run`; the figures are those of its
//! `summary.json`. CPU seconds are the comparable ones: wall clock depends on
//! what else the machine does.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Why the benchmarks could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The program is not there, or a run failed.
    #[error("failed to run `{command}`: {reason}")]
    Run {
        /// What was run.
        command: String,
        /// Why it failed.
        reason: String,
    },
    /// A summary is not what it should be.
    #[error("failed to read {}: {reason}", path.display())]
    Summary {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A workload: its name and what `zfl run` is given.
struct Workload {
    name: &'static str,
    experiment: &'static str,
    sets: &'static [&'static str],
    needs_mnist: bool,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "digits: 10 × an386, 20 rounds",
        experiment: "examples/digits.toml",
        sets: &[],
        needs_mnist: false,
    },
    Workload {
        name: "digits: 10 × an385 (soft float), 20 rounds",
        experiment: "examples/digits.toml",
        sets: &["fleet.0.board=mps2-an385"],
        needs_mnist: false,
    },
    Workload {
        name: "digits: 200 × an386, 1 round, 1 epoch",
        experiment: "examples/digits.toml",
        sets: &["fleet.0.count=200", "rounds=1", "training.epochs=1"],
        needs_mnist: false,
    },
    Workload {
        name: "W1: MNIST, 50 × an386, 20 rounds",
        experiment: "examples/mnist.toml",
        sets: &[],
        needs_mnist: true,
    },
];

/// What is read of a `summary.json`.
#[derive(Deserialize)]
struct Summary {
    accuracy: f64,
    update_bytes: u64,
    host_seconds: f64,
    ready_host_seconds: Option<f64>,
    emulators: Emulators,
}

#[derive(Deserialize)]
struct Emulators {
    cpu_seconds: f64,
    cpu_seconds_per_update: f64,
    pss_bytes_mean: u64,
}

/// Runs the workloads and prints a table.
pub(crate) fn run(project: &Path) -> Result<(), Error> {
    let zfl = project.join("target/release/zfl");
    let mnist = project.join("../shared/data");
    let runs = project.join("target/bench");
    println!(
        "| workload | accuracy | update, bytes | QEMU CPU s per update | QEMU CPU s | \
         ready, host s | whole run, host s | memory a device (PSS), MB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (number, workload) in WORKLOADS.iter().enumerate() {
        if workload.needs_mnist && std::env::var_os("ZFL_DATA_DIR").is_none() && !mnist.exists() {
            println!(
                "| {} | needs MNIST: `zfl data fetch mnist` | | | | | | |",
                workload.name
            );
            continue;
        }
        let folder = runs.join(number.to_string());
        let summary = measure(project, &zfl, &mnist, &folder, workload)?;
        println!(
            "| {} | {:.4} | {} | {:.3} | {:.1} | {} | {:.1} | {:.1} |",
            workload.name,
            summary.accuracy,
            summary.update_bytes,
            summary.emulators.cpu_seconds_per_update,
            summary.emulators.cpu_seconds,
            summary
                .ready_host_seconds
                .map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1}")),
            summary.host_seconds,
            megabytes(summary.emulators.pss_bytes_mean),
        );
    }
    Ok(())
}

fn measure(
    project: &Path,
    zfl: &Path,
    mnist: &Path,
    folder: &Path,
    workload: &Workload,
) -> Result<Summary, Error> {
    // A folder of an earlier benchmark; one that is not there is as good.
    let _ = std::fs::remove_dir_all(folder);
    let mut command = Command::new(zfl);
    command.current_dir(project);
    command.arg("run").arg(workload.experiment);
    for set in workload.sets {
        command.arg("--set").arg(set);
    }
    command.arg("--out").arg(folder);
    if workload.needs_mnist && std::env::var_os("ZFL_DATA_DIR").is_none() {
        command.arg("--data-dir").arg(mnist);
    }
    let output = command.output();
    let failed = |reason: String| Error::Run {
        command: format!("{command:?}"),
        reason,
    };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let path = folder.join("summary.json");
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .map_err(|reason| Error::Summary { path, reason })
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
