//! Reports of runs: one HTML file each, without scripts, fonts or anything else
//! that would be loaded from elsewhere.
//!
//! [`write_run`] reads a run's folder (whole, cut off, or still being written) and
//! writes `report.html` into it. A report shows what was run, how
//! accuracy and loss went by round, by bytes, by device time and by energy, what
//! the network did, what time went into, what became of every client, memory
//! against its limits, who held what, faults, and the configuration. Every chart is
//! an SVG with a description, and has its numbers behind it as a table.
//!
//! The size of a report has a bound: curves, bars and grids take
//! rounds and clients together where there are many.

mod chart;
mod collect;
mod curves;
mod number;
mod page;
mod run;

use std::io;
use std::path::{Path, PathBuf};

use zfl_lab::archive::ArchiveError;

use collect::Run;

/// The report's name in the folder of what it is about.
pub const FILE_NAME: &str = "report.html";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A folder cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The page cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes the report of a run to `out`, or as [`FILE_NAME`] into its folder: where
/// it is.
///
/// # Errors
/// When the folder is no run's, is damaged, or the page cannot be written.
pub fn write_run(folder: &Path, out: Option<&Path>) -> Result<PathBuf, ReportError> {
    let run = Run::read(folder)?;
    let page = run::page(&run).finish(&made_by());
    write_page(out.unwrap_or(&folder.join(FILE_NAME)), &page)
}

fn made_by() -> String {
    format!(
        "Made by zfl {} from the records of the run.",
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
