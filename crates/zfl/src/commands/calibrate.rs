//! `zfl calibrate`: profiles from measurements, counts for native clients.

use std::path::PathBuf;

use zfl_lab::calibrate::{self, CalibrateError};
use zfl_lab::probe::ProbeError;
use zfl_lab::run::RunError;

use super::platforms::context;
use super::run::{interruption, read};
use super::{Done, Failure, next_folder, runtime};
use crate::arguments::CalibrateArguments;

impl From<CalibrateError> for Failure {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Probe(ProbeError::Run(error @ RunError::Interrupted { .. })) => {
                error.into()
            }
            CalibrateError::Mcu(_)
            | CalibrateError::NoMcu
            | CalibrateError::NotCounted
            | CalibrateError::Impossible { .. } => Self::Usage(error.to_string()),
            _ => Self::run(&error),
        }
    }
}

/// `zfl calibrate`
pub(crate) fn calibrate(arguments: &CalibrateArguments) -> Done {
    let experiment = read(&arguments.probe.experiment, &[])?;
    let context = context(&arguments.probe)?;
    let folder = match &arguments.probe.experiment.out {
        Some(folder) => folder.clone(),
        None => next_folder(&format!("{}-calibration", experiment.name)),
    };
    let runtime = runtime()?;
    let (Some(mcu), Some(seconds)) = (&arguments.mcu, arguments.measured) else {
        let (learnt, file) = runtime.block_on(calibrate::by_emulation(
            &experiment,
            &folder,
            &context,
            interruption,
        ))?;
        for (board, probed) in learnt {
            let counted = |count: Option<u64>| count.unwrap_or(0);
            say!(
                "{board}: {} instructions in training {} samples, {} beside it",
                counted(probed.instructions_training),
                probed.samples,
                counted(probed.instructions_other)
            );
        }
        say!("kept in {}", file.display());
        return Ok(());
    };
    let calibrated = runtime.block_on(async {
        let interrupted = interruption();
        let measured = calibrate::to_measurement;
        measured(&experiment, mcu, seconds, &folder, &context, interrupted).await
    })?;
    let path = match &arguments.profile {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}.toml", calibrated.mcu.name)),
    };
    calibrate::write(&calibrated.mcu, &path)?;
    say!(
        "{} instructions in training, counted on {}",
        calibrated.instructions,
        calibrated.mcu.board
    );
    say!(
        "profile: {:.4} s, measured: {seconds} s: {:.3} cycles an instruction",
        calibrated.seconds_before,
        calibrated.cycles
    );
    say!(
        "written to {0}; use it with mcu = \"./{0}\"",
        path.display()
    );
    Ok(())
}
