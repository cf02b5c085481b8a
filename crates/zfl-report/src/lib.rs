//! Reports of runs: one HTML file each, without scripts, fonts or anything else
//! that would be loaded from elsewhere.
//!
//! [`write()`] reads a run's folder (whole, cut off, or still being written) and
//! writes `report.html` into it; or compares several runs; or reads a sweep's folder. The report of a run shows what was run, how
//! accuracy and loss went by round, by bytes, by device time and by energy, what
//! the network did, what time went into, what became of every client, memory
//! against its limits, who held what, faults, and the configuration. Every chart is
//! an SVG with a description, and has its numbers behind it as a table.
//!
//! The size of a report has a bound: curves, bars and grids take
//! rounds and clients together where there are many.

mod chart;
mod collect;
mod comparison;
mod curves;
mod number;
mod page;
mod run;
mod sweep;

use std::io;
use std::path::{Path, PathBuf};

use zfl_lab::archive::ArchiveError;

use collect::Run;

/// The report's name in the folder of what it is about.
pub const FILE_NAME: &str = "report.html";

/// Runs that are compared at most.
pub const RUNS_MAX: usize = 24;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A folder cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A sweep among several folders.
    #[error("{} is a sweep's folder: it has a report of its own, and cannot be compared", path.display())]
    SweepAmongRuns {
        /// Which.
        path: PathBuf,
    },
    /// More runs than can be told apart.
    #[error("{count} runs are to be compared, of which at most {RUNS_MAX} can be told apart")]
    TooManyRuns {
        /// How many.
        count: usize,
    },
    /// The page cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a report to `out`: of the run or the sweep in a folder, else as
/// [`FILE_NAME`] into that folder; or of several runs beside each other, else as
/// [`FILE_NAME`] where one is. Returns where it is.
///
/// # Errors
/// When a folder is no run's or is damaged, when there are more than [`RUNS_MAX`], or
/// the page cannot be written.
pub fn write(folders: &[PathBuf], out: Option<&Path>) -> Result<PathBuf, ReportError> {
    if let [folder] = folders {
        let page = match sweep::is_sweep(folder) {
            true => sweep::page(folder)?,
            false => run::page(&Run::read(folder)?),
        }
        .finish(&made_by());
        return write_page(out.unwrap_or(&folder.join(FILE_NAME)), &page);
    }
    if folders.len() > RUNS_MAX {
        return Err(ReportError::TooManyRuns {
            count: folders.len(),
        });
    }
    if let Some(path) = folders.iter().find(|folder| sweep::is_sweep(folder)) {
        return Err(ReportError::SweepAmongRuns { path: path.clone() });
    }
    let runs = folders.iter().map(|folder| Run::read(folder));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let page = comparison::page(&runs).finish(&made_by());
    write_page(out.unwrap_or(Path::new(FILE_NAME)), &page)
}

fn made_by() -> String {
    format!(
        "Made by zfl {} from what was recorded.",
        env!("CARGO_PKG_VERSION")
    )
}

/// In one piece: whoever looks at the report sees the old or the new one.
fn write_page(path: &Path, page: &str) -> Result<PathBuf, ReportError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    std::fs::write(&unfinished, page)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|source| ReportError::Write {
            path: path.to_owned(),
            source,
        })?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a damaged table holds: sums of it are shown, or its place is told.
    #[test]
    fn largest_numbers_are_shown() {
        let most = u64::MAX;
        let round = format!("completed,{most},{most},1.5\n");
        let rounds = format!(
            "round,loss,clients_selected,clients_ok,outcome,bytes_down,bytes_up,host_seconds\n\
             1,0.5,3,2,{round}4294967295,inf,3,2,{round}"
        );
        let device = format!("0,1,2,{most}\n");
        let devices = format!("after_round,device,client,nic_bytes_in\n{device}{device}");
        let share = format!("0,{most},{most}\n");
        let partition = format!("client,samples,class_0\n{share}{share}");
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("experiment.toml", "name = \"a\"\n"),
            ("rounds.csv", &rounds),
            ("devices.csv", &devices),
            ("partition.csv", &partition),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let run = folder.path().to_owned();
        let page = write(std::slice::from_ref(&run), None).unwrap();
        assert!(std::fs::read_to_string(page).unwrap().contains("TB"));
        let compared = folder.path().join("compared.html");
        write(&[run.clone(), run], Some(&compared)).unwrap();
    }
}
