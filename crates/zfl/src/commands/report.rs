//! `zfl report`, and the report that every run leaves.

use std::path::Path;

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

/// The report at the end of a run. That there is none is no failure of the run.
pub(super) fn at_the_end(folder: &Path, manner: Manner) {
    if let Err(error) = zfl_report::write_run(folder, None) {
        manner.warn(&format!("no report: {error}"));
    }
}
