//! The records of a run in the formats of other programs.
//!
//! - [`parquet()`] writes `rounds.parquet` and `clients.parquet`: the tables with types.
//! - [`tensorboard()`] writes an event file that TensorBoard shows; [`EventFile`] one
//!   that grows with its run.
//!
//! All are made from the folder alone, of a run that is over, was cut off or goes on,
//! and come out the same each time. docs/notebooks.md says what to do with them.

mod table;
mod tensorboard;

use std::io;
use std::path::{Path, PathBuf};

pub use tensorboard::{EventFile, tensorboard};

use crate::archive::{Archive, ArchiveError, Client, Round};

/// Why records cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// They cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The file cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes `rounds.csv` and `clients.csv` of a run as Parquet beside them; the paths.
///
/// A column has the type of what it holds: `INT64`, `DOUBLE`, or text; columns that
/// this version does not know are text. Cells that are empty are null.
///
/// # Errors
/// Which cell is none of its column, or why a file cannot be written.
pub fn parquet(archive: &Archive) -> Result<[PathBuf; 2], ExportError> {
    Ok([
        table::write::<Round>(archive)?,
        table::write::<Client>(archive)?,
    ])
}

/// Writes a file under another name, and gives it its own once it is whole.
fn whole(
    path: &Path,
    write: impl FnOnce(std::fs::File) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let write_error = |source| ExportError::Write {
        path: path.to_owned(),
        source,
    };
    let mut partial = path.to_owned().into_os_string();
    partial.push(".partial");
    let file = std::fs::File::create(&partial).map_err(write_error)?;
    let written = write(file).and_then(|()| std::fs::rename(&partial, path).map_err(write_error));
    if written.is_err() {
        // What is half written is of no use; the first error is the one to tell.
        let _ = std::fs::remove_file(&partial);
    }
    written
}
