//! `zfl report`, and the report that every run leaves.

use std::path::{Path, PathBuf};

use super::{Done, Failure};
use crate::arguments::ReportArguments;
use crate::display::Manner;

/// `zfl report`
pub(crate) fn report(arguments: &ReportArguments) -> Done {
    let written = zfl_report::write(&arguments.folders, arguments.out.as_deref())
        .map_err(|error| Failure::run(&error))?;
    say!("{}", written.display());
    Ok(())
}

/// Reports a run, or a sweep, that has just ended: where. That there is no report is no
/// fault of it.
pub(super) fn at_the_end(folder: &Path, manner: Manner) -> Option<PathBuf> {
    match zfl_report::write(&[folder.to_owned()], None) {
        Ok(path) => Some(path),
        Err(error) => {
            manner.warn(&format!("no report: {error}"));
            None
        }
    }
}
