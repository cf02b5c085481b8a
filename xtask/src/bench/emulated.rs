//! The workloads on emulated devices. Each is one `zfl run`; the figures are
//! those of its `summary.json`.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::{Error, Places, megabytes, read_json};

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
pub(super) fn run(places: &Places) -> Result<(), Error> {
    println!(
        "| workload | accuracy | update, bytes | QEMU CPU s per update | QEMU CPU s | \
         ready, host s | whole run, host s | memory a device (PSS), MB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (number, workload) in WORKLOADS.iter().enumerate() {
        if workload.needs_mnist && places.mnist.is_none() {
            println!(
                "| {} | needs MNIST: `zfl data fetch mnist` | | | | | | |",
                workload.name
            );
            continue;
        }
        let folder = places.work.join(number.to_string());
        let summary = measure(places, &folder, workload)?;
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

fn measure(places: &Places, folder: &Path, workload: &Workload) -> Result<Summary, Error> {
    // A folder of an earlier benchmark; one that is not there is as good.
    let _ = std::fs::remove_dir_all(folder);
    let mut command = Command::new(&places.zfl);
    command.current_dir(&places.project);
    command.arg("run").arg(workload.experiment);
    for set in workload.sets {
        command.arg("--set").arg(set);
    }
    command.arg("--out").arg(folder);
    if let Some(mnist) = places.mnist.as_ref().filter(|_| workload.needs_mnist) {
        command.arg("--data-dir").arg(mnist);
    }
    let output = command.output();
    let output = output.map_err(|error| Error::run(&command, &error))?;
    if !output.status.success() {
        return Err(Error::run(
            &command,
            &String::from_utf8_lossy(&output.stderr),
        ));
    }
    read_json(&folder.join("summary.json"))
}
