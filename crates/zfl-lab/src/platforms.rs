//! What each board and microcontroller would take for an experiment: one device of
//! each does one client-round.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zfl_machine::board::is_path;
use zfl_machine::catalogue::{CatalogueError, Figure};
use zfl_machine::mcu::Cycles;
use zfl_machine::{Board, Mcu, nearest};

use crate::experiment::Experiment;
use crate::kind::{Kind, KindError, cycles_of};
use crate::probe::{self, First, ProbeContext, ProbeError, Probed, group};
use crate::run::RunError;
use crate::size::{ArenaSize, arena_size};

/// What a platform takes for a client-round. Bytes, unless a name says otherwise.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Platform {
    /// The microcontroller, else the board.
    pub name: String,
    /// The emulated board.
    pub board: String,
    /// `yes`; `no`; `unknown` where the device could not be asked.
    pub fits: &'static str,
    /// What does not fit or went wrong.
    pub detail: String,
    /// Code and constants.
    pub flash_needed: Option<u64>,
    /// What there is for them.
    pub flash_available: u64,
    /// Stack, statics and the client's memory.
    pub ram_needed: u64,
    /// What there is for them.
    pub ram_available: u64,
    /// Samples and labels of the share, with their order.
    pub data: usize,
    /// Weights and biases.
    pub weights: usize,
    /// Gradients, activations, error signals and the optimiser's state.
    pub workspace: usize,
    /// High-water mark of the stack.
    pub stack_peak: Option<u32>,
    /// Network buffers and other statics.
    pub network: Option<u64>,
    /// Instructions in training, counted.
    pub instructions_training: Option<u64>,
    /// Instructions beside it: network and system, counted.
    pub instructions_other: Option<u64>,
    /// Device time of the round by the profile.
    pub device_seconds: Option<f64>,
    /// Energy of the round by the profile, in millijoules.
    pub energy_mj: Option<f64>,
    /// Body of the update.
    pub update: Option<u64>,
    /// SHA-256 of the model after the round.
    pub model_sha256: Option<String>,
    /// Figures of the profile that nobody has looked up in their source.
    pub unverified: Vec<&'static str>,
    /// Whether device time rests on one of them.
    pub seconds_are_unverified: bool,
    /// Whether energy rests on one of them.
    pub energy_is_unverified: bool,
    /// The device failed, or could not be started.
    pub failed: bool,
}

/// Why platforms cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum PlatformsError {
    /// No such board or microcontroller.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// Neither board nor microcontroller.
    #[error("no board or microcontroller `{name}`{guess} (`zfl boards` lists them)")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The closest name, if one is close, in words.
        guess: String,
    },
    /// A damaged image.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// The experiment cannot be prepared.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A comparison was cut off.
    #[error("the comparison was cut off: {0}")]
    CutOff(#[from] tokio::task::JoinError),
}

/// The boards and microcontrollers of this program, those that the experiment names
/// beside; each as board and profile.
///
/// # Errors
/// When one is wrong.
pub fn all(experiment: &Experiment) -> Result<Vec<Subject>, PlatformsError> {
    let mut subjects = Vec::new();
    for board in Board::names() {
        subjects.push((board.to_owned(), None));
    }
    for mcu in Mcu::all() {
        let mcu = mcu?;
        subjects.push((mcu.board, Some(mcu.name)));
    }
    for group in &experiment.fleet {
        let subject = (group.board.clone(), group.mcu.clone());
        if group.board != crate::experiment::NATIVE_BOARD && !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    Ok(subjects)
}

/// Board, and microcontroller that it stands for.
pub type Subject = (String, Option<String>);

/// Board or microcontroller by its name or path.
///
/// # Errors
/// When there is neither.
pub fn named(name: &str) -> Result<Subject, PlatformsError> {
    if Board::find(name).is_ok() {
        return Ok((name.to_owned(), None));
    }
    match Mcu::find(name) {
        Ok(mcu) => Ok((mcu.board, Some(name.to_owned()))),
        Err(error) if is_path(name) => Err(error.into()),
        Err(_) => {
            let known = Board::names().chain(Mcu::names());
            Err(PlatformsError::Unknown {
                name: name.to_owned(),
                guess: nearest(name, known)
                    .map(|guess| format!(", did you mean `{guess}`?"))
                    .unwrap_or_default(),
            })
        }
    }
}

/// Lets a device of each of `subjects` do a client-round, so many at a time; `folder`
/// gets a run's folder for each. In the order of the subjects. `done` is told of each.
///
/// # Errors
/// When the experiment cannot be prepared. A device that fails has its row.
pub async fn compare<I>(
    experiment: &Experiment,
    subjects: &[Subject],
    folder: &Path,
    context: &ProbeContext,
    at_once: usize,
    interruption: impl Fn() -> I,
    mut done: impl FnMut(&Platform),
) -> Result<Vec<Platform>, PlatformsError>
where
    I: Future<Output = ()> + Send + 'static,
{
    let first = First::of(experiment, &context.search_path)?;
    let samples = first.samples;
    let share = usize::try_from(samples).unwrap_or(usize::MAX);
    let arena = arena_size(&first.task, share, first.sample);
    let cycles = cycles_of(experiment);
    let places = Arc::new(Semaphore::new(at_once.max(1)));
    let mut probes = JoinSet::new();
    let mut platforms = Vec::new();
    for (board, mcu) in subjects {
        let group = group(board, mcu.as_deref());
        let Some(kind) = Kind::of(&group, &context.firmware)? else {
            continue;
        };
        let mut platform = begin(&kind, &arena, cycles);
        let folder = folder.join(&platform.name);
        let misfit = kind.misfit(u64::try_from(arena.needed_bytes).unwrap_or(u64::MAX));
        let (experiment, context) = (experiment.clone(), context.clone());
        let (places, interrupted) = (Arc::clone(&places), interruption());
        let index = platforms.len();
        if let Some(reason) = misfit {
            platform.fits = "no";
            platform.detail = reason;
            done(&platform);
            platforms.push(platform);
            continue;
        }
        platforms.push(platform);
        probes.spawn(async move {
            // Never closed.
            let _place = places.acquire().await;
            let probed =
                probe::probe(experiment, samples, group, folder, context, interrupted).await;
            (index, probed)
        });
    }
    while let Some(probed) = probes.join_next().await {
        let (index, probed) = probed?;
        if let Err(ProbeError::Run(error @ RunError::Interrupted { .. })) = probed {
            return Err(error.into());
        }
        if let Some(platform) = platforms.get_mut(index) {
            end(platform, probed);
            done(platform);
        }
    }
    Ok(platforms)
}

fn begin(kind: &Kind, arena: &ArenaSize, cycles: Cycles) -> Platform {
    let stack_bytes = u64::from(kind.board.memory.stack_bytes);
    let statics = kind.image.map(|image| image.ram_bytes);
    let arena_bytes = u64::try_from(arena.needed_bytes).unwrap_or(u64::MAX);
    let has_part = kind.mcu.is_some();
    let unverified: Vec<&'static str> = kind
        .mcu
        .as_ref()
        .map(|mcu| mcu.unverified().collect())
        .unwrap_or_default();
    let of_seconds = |mcu: &Mcu| {
        let figures: [&Figure; 2] = [mcu.cycles(cycles), &mcu.clock_hz];
        figures.iter().any(|figure| !figure.is_verified)
    };
    let seconds_are_unverified = kind.mcu.as_ref().is_some_and(of_seconds);
    let of_energy = [
        "supply-volts",
        "active-amperes",
        "link-joules-per-byte-sent",
        "link-joules-per-byte-received",
    ];
    Platform {
        name: kind.name().to_owned(),
        board: kind.board.name.clone(),
        fits: "unknown",
        flash_needed: kind.image.map(|image| image.flash_bytes),
        flash_available: kind.limits.flash_bytes,
        ram_needed: stack_bytes + statics.unwrap_or(0) + arena_bytes,
        ram_available: if has_part {
            kind.limits.ram_bytes
        } else {
            kind.limits.ram_bytes + kind.limits.arena_bytes
        },
        data: arena.samples_bytes + arena.labels_bytes + arena.batch_order_bytes,
        weights: arena.weights_bytes,
        workspace: arena.gradients_bytes + arena.activations_bytes + arena.optimiser_bytes,
        network: statics,
        seconds_are_unverified,
        energy_is_unverified: seconds_are_unverified
            || unverified.iter().any(|name| of_energy.contains(name)),
        unverified,
        ..Platform::default()
    }
}

fn end(platform: &mut Platform, probed: Result<Probed, ProbeError>) {
    let probed = match probed {
        Ok(probed) => probed,
        Err(error) => {
            platform.failed = true;
            platform.detail = error.to_string();
            return;
        }
    };
    platform.fits = "yes";
    platform.stack_peak = Some(probed.stack_peak_bytes);
    platform.instructions_training = probed.instructions_training;
    platform.instructions_other = probed.instructions_other;
    platform.device_seconds = probed.device_seconds;
    platform.energy_mj = probed.energy_mj;
    platform.update = Some(probed.bytes_up);
    platform.model_sha256 = Some(probed.model_sha256);
}
