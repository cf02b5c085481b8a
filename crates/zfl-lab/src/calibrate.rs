//! Profiles from measurements, and instruction counts for native clients.

use std::path::{Path, PathBuf};

use zfl_machine::Mcu;
use zfl_machine::catalogue::{CatalogueError, Figure};
use zfl_machine::mcu::Cycles;
use zfl_nn::Task;

use crate::experiment::Experiment;
use crate::firmware::FirmwareError;
use crate::kind::cycles_of;
use crate::learnt::{self, Book, Learnt, LearntError};
use crate::probe::{self, First, ProbeContext, ProbeError, Probed};
use crate::run::{self, RunError};

/// Why nothing was calibrated.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// No such microcontroller.
    #[error(transparent)]
    Mcu(#[from] CatalogueError),
    /// The device did not do its round.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The experiment cannot be prepared.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No firmware for its board.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// What was learnt cannot be kept.
    #[error(transparent)]
    Learnt(#[from] LearntError),
    /// Nothing was counted.
    #[error("the device counted no instructions: set time.counting = \"instructions\"")]
    NotCounted,
    /// A measurement that no processor could give.
    #[error(
        "{seconds} s for {instructions} instructions at {clock_hz} Hz are {cycles:.3} cycles each; \
         allowed are 0.25 to 1000: is the measurement of this experiment's client-round?"
    )]
    Impossible {
        /// What was measured.
        seconds: f64,
        /// What was counted.
        instructions: u64,
        /// The profile's clock.
        clock_hz: f64,
        /// What follows.
        cycles: f64,
    },
    /// Nobody stands for a microcontroller.
    #[error("no entry of the fleet has `mcu = \"…\"`: nothing to learn for")]
    NoMcu,
    /// The profile cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A profile scaled to a measurement.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// The new profile.
    pub mcu: Mcu,
    /// Instructions of the training, counted on the emulated board.
    pub instructions: u64,
    /// Seconds by the profile as it was.
    pub seconds_before: f64,
    /// Cycles per instruction as measured.
    pub cycles: f64,
}

/// Scales the profile of `mcu` so that training client 0's share for one round takes
/// `seconds`, as was measured on a part. Its instructions are counted on an emulated
/// device of the same board with all the board's memory.
///
/// # Errors
/// When the device fails, or the measurement is impossible.
pub async fn to_measurement(
    experiment: &Experiment,
    mcu: &str,
    seconds: f64,
    folder: &Path,
    context: &ProbeContext,
    interrupted: impl Future<Output = ()>,
) -> Result<Calibrated, CalibrateError> {
    let mcu = Mcu::find(mcu)?;
    let samples = First::of(experiment, &context.search_path)?.samples;
    let probed = one(experiment, samples, &mcu, folder, context, interrupted).await?;
    let instructions = probed
        .instructions_training
        .ok_or(CalibrateError::NotCounted)?;
    let kind = cycles_of(experiment);
    let seconds_before = mcu.device_seconds(instructions, kind);
    let cycles = mcu.cycles(kind).value * seconds / seconds_before;
    if !(0.25..=1000.0).contains(&cycles) {
        return Err(CalibrateError::Impossible {
            seconds,
            instructions,
            clock_hz: mcu.clock_hz.value,
            cycles,
        });
    }
    let figure = Figure {
        value: cycles,
        source: format!(
            "measured: {seconds} s for one client-round of {} ({} samples, {} epochs, \
             {instructions} instructions counted on {})",
            experiment.name, probed.samples, experiment.training.epochs, mcu.board
        ),
        is_verified: true,
    };
    let mut calibrated = mcu;
    calibrated.name.push_str("-measured");
    calibrated.description.push_str(", scaled to a measurement");
    match kind {
        Cycles::F32 => calibrated.cycles_per_instruction.f32 = figure,
        Cycles::Fixed => calibrated.cycles_per_instruction.fixed = figure,
    }
    Ok(Calibrated {
        mcu: calibrated,
        instructions,
        seconds_before,
        cycles,
    })
}

/// Writes a profile to a new file.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn write(mcu: &Mcu, path: &Path) -> Result<(), CalibrateError> {
    std::fs::File::create_new(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, mcu.to_toml().as_bytes()))
        .map_err(|source| CalibrateError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Learns for each board of the experiment's microcontrollers what a client-round
/// takes, for native clients to have device time; each board with what a round of
/// client 0 took.
///
/// # Errors
/// When a device fails, or what it counted cannot be kept.
pub async fn by_emulation<I: Future<Output = ()>>(
    experiment: &Experiment,
    folder: &Path,
    context: &ProbeContext,
    interruption: impl Fn() -> I,
) -> Result<(Vec<(String, Probed)>, PathBuf), CalibrateError> {
    let all = boards(experiment)?;
    count(experiment, all, folder, context, interruption).await
}

/// Boards of the experiment's microcontrollers, each once, by one of its parts.
fn boards(experiment: &Experiment) -> Result<Vec<Mcu>, CalibrateError> {
    let mut boards: Vec<Mcu> = Vec::new();
    let names = experiment
        .fleet
        .iter()
        .filter_map(|group| group.mcu.as_deref());
    for name in names {
        let mcu = Mcu::find(name)?;
        if boards.iter().all(|known| known.board != mcu.board) {
            boards.push(mcu);
        }
    }
    match boards.is_empty() {
        true => Err(CalibrateError::NoMcu),
        false => Ok(boards),
    }
}

/// Those of the experiment's boards for which nothing is known of this task.
pub(crate) fn not_counted(
    experiment: &Experiment,
    task: &Task,
    context: &ProbeContext,
) -> Result<Vec<Mcu>, CalibrateError> {
    let book = Book::open(&context.search_path)?;
    let mut missing = Vec::new();
    for mcu in boards(experiment)? {
        if book.get(&key(experiment, task, &mcu, context)?).is_none() {
            missing.push(mcu);
        }
    }
    Ok(missing)
}

fn key(
    experiment: &Experiment,
    task: &Task,
    mcu: &Mcu,
    context: &ProbeContext,
) -> Result<String, CalibrateError> {
    let image = context.firmware.image(&mcu.board)?;
    let data = run::data_name(experiment);
    Ok(learnt::key(&mcu.board, &image, &data, task))
}

/// [`by_emulation`] for these boards.
pub(crate) async fn count<I: Future<Output = ()>>(
    experiment: &Experiment,
    boards: Vec<Mcu>,
    folder: &Path,
    context: &ProbeContext,
    interruption: impl Fn() -> I,
) -> Result<(Vec<(String, Probed)>, PathBuf), CalibrateError> {
    let First { samples, task, .. } = First::of(experiment, &context.search_path)?;
    let mut book = Book::open(&context.search_path)?;
    let mut learnt_of = Vec::new();
    let mut file = None;
    for mcu in boards {
        let folder = folder.join(&mcu.board);
        let probed = one(experiment, samples, &mcu, &folder, context, interruption()).await?;
        let training = probed
            .instructions_training
            .ok_or(CalibrateError::NotCounted)?;
        let passes =
            f64::from(probed.samples.max(1)) * f64::from(experiment.training.epochs.max(1));
        let learnt = Learnt {
            training_per_sample: as_f64(training) / passes,
            other: as_f64(probed.instructions_other.unwrap_or(0)),
        };
        let key = key(experiment, &task, &mcu, context)?;
        file = Some(book.put(key, learnt)?.to_owned());
        learnt_of.push((mcu.board, probed));
    }
    Ok((learnt_of, file.ok_or(CalibrateError::NoMcu)?))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// A client-round on the board of a microcontroller, with all the board's memory.
async fn one(
    experiment: &Experiment,
    samples: u32,
    mcu: &Mcu,
    folder: &Path,
    context: &ProbeContext,
    interrupted: impl Future<Output = ()>,
) -> Result<Probed, CalibrateError> {
    let group = probe::group(&mcu.board, None);
    let (experiment, context) = (experiment.clone(), context.clone());
    let folder = folder.to_owned();
    Ok(probe::probe(experiment, samples, group, folder, context, interrupted).await?)
}
