//! `zfl export`, and the exports at the end of a run.

use std::path::{Path, PathBuf};

use zfl_lab::archive::Archive;
use zfl_lab::export::{self, ExportError};

use super::list::named;
use super::{Done, Failure};
use crate::arguments::ExportArguments;
use crate::display::Manner;

/// `zfl export`
pub(crate) fn export(arguments: &ExportArguments) -> Done {
    let archives = named(&arguments.folders)?;
    let mut failed = 0;
    for archive in &archives {
        match write(archive, arguments.tensorboard) {
            Ok(paths) => paths.iter().for_each(|path| say!("{}", path.display())),
            Err(error) => {
                failed += 1;
                complain!("warning: {error}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(Failure::Run(format!(
            "{count} of {} runs cannot be exported",
            archives.len()
        ))),
    }
}

/// Exports a run that has just ended. What goes wrong is no fault of the run.
pub(super) fn at_the_end(folder: &Path, tensorboard: bool, manner: Manner) {
    let exported = Archive::open(folder)
        .map_err(ExportError::from)
        .and_then(|archive| write(&archive, tensorboard));
    if let Err(error) = exported {
        manner.warn(&format!("no export of the records: {error}"));
    }
}

fn write(archive: &Archive, tensorboard: bool) -> Result<Vec<PathBuf>, ExportError> {
    let mut paths = export::parquet(archive)?.to_vec();
    if tensorboard {
        paths.push(export::tensorboard(archive)?);
    }
    Ok(paths)
}
