//! `cargo xtask bench`: the figures of `docs/benchmarks.md`.
//!
//! CPU seconds are the comparable ones: wall clock depends on what else the
//! machine does.

mod emulated;
mod native;
mod process;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::de::DeserializeOwned;

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
    /// A file is not what it should be.
    #[error("failed to read {}: {reason}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder for the work is not to be had.
    #[error("failed to create {}: {source}", path.display())]
    Create {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    fn run(command: &Command, reason: &dyn Display) -> Self {
        Self::Run {
            command: format!("{command:?}"),
            reason: reason.to_string(),
        }
    }
}

/// How the clients of a workload are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On emulated devices.
    Emulated,
    /// In the process of zfl, beside the reference programs.
    Native,
}

/// Where things are.
struct Places {
    project: PathBuf,
    /// The program that is measured.
    zfl: PathBuf,
    /// What `--data-dir` is given; `None`: there is no MNIST.
    mnist: Option<PathBuf>,
    /// Runs and the built reference programs.
    work: PathBuf,
}

/// Runs the workloads of a kind, or all, and prints tables.
pub(crate) fn run(project: &Path, kind: Option<Kind>) -> Result<(), Error> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| project.join("target"), |target| project.join(target));
    let places = Places {
        project: project.to_owned(),
        zfl: target.join("release/zfl"),
        mnist: mnist(project),
        work: target.join("bench"),
    };
    std::fs::create_dir_all(&places.work).map_err(|source| Error::Create {
        path: places.work.clone(),
        source,
    })?;
    if kind != Some(Kind::Native) {
        emulated::run(&places)?;
    }
    if kind != Some(Kind::Emulated) {
        native::run(&places)?;
    }
    Ok(())
}

/// The folder that holds the folder `mnist`: of `ZFL_DATA_DIR`, beside the
/// project, or the cache that `zfl data fetch mnist` fills.
fn mnist(project: &Path) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| Some(variable("HOME")?.join(".cache")))
        .map(|cache| cache.join("zfl"));
    [
        variable("ZFL_DATA_DIR"),
        Some(project.join("../shared/data")),
        cache,
    ]
    .into_iter()
    .flatten()
    .find(|folder| folder.join("mnist").is_dir())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let read = std::fs::read(path).map_err(|error| error.to_string());
    read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .map_err(|reason| Error::Read {
            path: path.to_owned(),
            reason,
        })
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
