//! Instruction counts for trials, whose clients no machine executes.
//!
//! Where an objective needs device time, each workload that the cache folder has no
//! count of is run once on an emulated device before its first trial is: as `zfl
//! calibrate --emulate` does it. Asked for in the order of the trials, so that the
//! counts do not depend on who runs them.

use super::run::Progress;
use super::trial::{Workshop, clear};
use super::{Choice, Objective, SweepError};
use crate::calibrate::{self, CalibrateError};
use crate::probe::{ProbeContext, ProbeError};
use crate::run::RunError;
use crate::task::task;

/// Sees to it that a trial will have device time, if the sweep asks for it; or why it
/// has none.
pub(super) fn see_to(
    trial: u32,
    choice: &Choice,
    workshop: &Workshop<'_>,
    progress: &mut impl FnMut(Progress),
) -> Result<Result<(), String>, SweepError> {
    let mut objectives = workshop.sweep.objectives.iter();
    if !objectives.any(Objective::needs_device_time) {
        return Ok(Ok(()));
    }
    // What is wrong with it is told when it is run.
    let Ok(experiment) = workshop.experiment(choice, 0) else {
        return Ok(Ok(()));
    };
    let data = workshop.data(&experiment)?;
    let Ok(task) = task(&experiment, &data.train) else {
        return Ok(Ok(()));
    };
    let context = ProbeContext {
        search_path: workshop.search_path.clone(),
        firmware: workshop.firmware.clone(),
        launcher: workshop.launcher.clone(),
    };
    let missing = match calibrate::not_counted(&experiment, &task, &context) {
        Ok(missing) if missing.is_empty() => return Ok(Ok(())),
        Ok(missing) => missing,
        Err(error) => return Ok(Err(error.to_string())),
    };
    progress(Progress::Counting {
        trial,
        boards: missing.iter().map(|mcu| mcu.board.clone()).collect(),
    });
    let folder = workshop.folder.join("counting");
    if folder.exists() {
        // Of one that failed.
        clear(&folder)?;
    }
    let runtime = tokio::runtime::Runtime::new().map_err(SweepError::Runtime)?;
    let counted = runtime.block_on(calibrate::count(
        &experiment,
        missing,
        &folder,
        &context,
        || workshop.stopped(),
    ));
    match counted {
        // The counts are what is kept.
        Ok(_) => clear(&folder).map(Ok),
        Err(CalibrateError::Probe(ProbeError::Run(RunError::Interrupted { .. }))) => {
            Err(SweepError::Interrupted {
                folder: workshop.folder.to_owned(),
            })
        }
        Err(error) => Ok(Err(format!("no device time: {error}"))),
    }
}
