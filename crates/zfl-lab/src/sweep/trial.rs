//! A trial: a normal run, as far as it is to go.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statrs::distribution::{ContinuousCDF, StudentsT};
use tokio::sync::{mpsc, watch};
use zfl_data::{SearchPath, TrainTest};
use zfl_machine::LauncherProgram;

use super::confirm;
use super::objective::{Objective, Point, Score};
use super::space::Choice;
use super::{Sweep, SweepError};
use crate::archive::{Archive, ArchiveError, DeviceCost, Standing};
use crate::cpu::{CpuTime, thread_time};
use crate::experiment::{Data, Experiment, Fidelity};
use crate::firmware::FirmwareSource;
use crate::run::{self, FleetContext, ResumeError, RunError, TrialContext};

/// Data sets that are kept at a time.
const DATA_SETS_MAX: usize = 4;
/// Of the two-sided confidence interval: 97.5 %.
const QUANTILE: f64 = 0.975;

/// What has become of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has all its rounds.
    Completed,
    /// It was not worth more.
    Stopped,
    /// Its run failed.
    Failed,
    /// Its values together are no experiment.
    Impossible,
    /// It is not over.
    Running,
}

impl Status {
    /// As the table spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Impossible => "impossible",
            Self::Running => "running",
        }
    }
}

/// A mean over the repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// The ends of its 95 % confidence interval, where there are several repeats.
    pub interval: Option<(f64, f64)>,
}

impl Figure {
    /// Of the values of all repeats; `None` where one has none.
    #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
    pub(super) fn new(values: &[Option<f64>]) -> Option<Self> {
        let values: Vec<f64> = values.iter().copied().collect::<Option<_>>()?;
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        let freedom = count - 1.0;
        let interval = match StudentsT::new(0.0, 1.0, freedom) {
            Ok(student) if freedom >= 1.0 => {
                let squares = values.iter().map(|value| (value - mean) * (value - mean));
                let deviation = libm::sqrt(squares.sum::<f64>() / freedom);
                let half = student.inverse_cdf(QUANTILE) * deviation / libm::sqrt(count);
                Some((mean - half, mean + half))
            }
            _ => None,
        };
        (!values.is_empty()).then_some(Self { mean, interval })
    }
}

/// A trial as it stands.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its number, from 1.
    pub number: u32,
    /// What it tries.
    pub choice: Choice,
    /// What has become of it.
    pub status: Status,
    /// The highest rung that it has come to, from 0.
    pub rung: usize,
    /// Rounds that it has.
    pub rounds: u32,
    /// The value of each objective.
    pub figures: Vec<Option<Figure>>,
    /// How good it is.
    pub score: Score,
    /// The value of the first objective and of [`Sweep::of_models`], by rung.
    pub by_rung: Vec<[Option<f64>; 2]>,
    /// Processor time.
    pub cpu_time: Duration,
    /// Wall time.
    pub host_time: Duration,
    /// Why it failed; empty otherwise.
    pub detail: String,
}

impl Trial {
    /// One that has not run yet.
    pub(super) fn new(number: u32, choice: Choice, objectives: usize) -> Self {
        Self {
            number,
            choice,
            status: Status::Running,
            rung: 0,
            rounds: 0,
            figures: vec![None; objectives],
            score: Score::WORST,
            by_rung: Vec::new(),
            cpu_time: Duration::ZERO,
            host_time: Duration::ZERO,
            detail: String::new(),
        }
    }

    /// Which of two is better: that comes first.
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let order = self.score.compare(&other.score);
        order.then(self.number.cmp(&other.number))
    }

    /// Whether it has a value of the first objective, or at least a model.
    pub fn counts(&self) -> bool {
        matches!(
            self.status,
            Status::Completed | Status::Stopped | Status::Running
        ) && self.rounds > 0
    }
}

/// What all trials share.
pub(super) struct Workshop<'s> {
    pub(super) sweep: &'s Sweep,
    /// The sweep's folder.
    pub(super) folder: &'s Path,
    pub(super) search_path: &'s SearchPath,
    pub(super) firmware: &'s FirmwareSource,
    pub(super) launcher: &'s LauncherProgram,
    /// Ends all runs.
    pub(super) stop: watch::Receiver<bool>,
    data: Mutex<Vec<(Data, u64, TrainTest)>>,
}

/// What a job came to.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// The rounds of each repeat; or why it failed.
    pub(super) rounds: Result<Vec<Vec<Point>>, String>,
    pub(super) cpu_time: Duration,
    pub(super) host_time: Duration,
}

impl Done {
    /// It was not run at all.
    pub(super) fn failed(detail: String) -> Self {
        Self {
            rounds: Err(detail),
            cpu_time: Duration::ZERO,
            host_time: Duration::ZERO,
        }
    }
}

impl<'s> Workshop<'s> {
    pub(super) fn new(
        sweep: &'s Sweep,
        folder: &'s Path,
        (search_path, firmware, launcher): (
            &'s SearchPath,
            &'s FirmwareSource,
            &'s LauncherProgram,
        ),
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            sweep,
            folder,
            search_path,
            firmware,
            launcher,
            stop,
            data: Mutex::default(),
        }
    }

    /// The run of a trial, from the sweep's folder; repeats count from 0.
    pub(super) fn run_folder(&self, trial: u32, repeat: u32) -> PathBuf {
        let folder = Path::new("trials");
        match self.sweep.repeats {
            1 => folder.join(format!("{trial:04}")),
            _ => folder.join(format!("{trial:04}-{}", repeat + 1)),
        }
    }

    /// The data of an experiment, loaded once.
    pub(super) fn data(&self, experiment: &Experiment) -> Result<TrainTest, RunError> {
        // Held while they are loaded, so that nobody else does so too.
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let known = data
            .iter()
            .find(|(of, seed, _)| *of == experiment.data && *seed == experiment.seed);
        if let Some((_, _, found)) = known {
            return Ok(found.clone());
        }
        let loaded = run::load(experiment, self.search_path)?;
        if data.len() >= DATA_SETS_MAX {
            data.remove(0);
        }
        data.push((experiment.data.clone(), experiment.seed, loaded.clone()));
        Ok(loaded)
    }

    /// Looks for what the sweep will need, before it begins: the data that all trials
    /// share, and what boots devices, to count or to confirm. What depends on the
    /// space, the trials find out.
    pub(super) fn check(&self, is_resumed: bool) -> Result<(), SweepError> {
        // The values of a trial may be missing in the file: then it is no experiment.
        let Ok(experiment) = self.sweep.base.experiment(&[]) else {
            return Ok(());
        };
        let sweep = self.sweep;
        let has = |start| {
            sweep
                .parameters
                .iter()
                .any(|one| one.key.starts_with(start))
        };
        if !is_resumed && !has("data.") {
            self.data(&experiment)?;
        }
        if has("fleet") {
            return Ok(());
        }
        let is_timed = sweep.objectives.iter().any(Objective::needs_device_time);
        match is_timed || sweep.confirm > 0 {
            true => Ok(run::check_devices(
                &confirm::emulated(experiment),
                self.firmware,
            )?),
            false => Ok(()),
        }
    }

    /// The experiment of a trial, as its file has it: with its fidelities.
    pub(super) fn experiment(
        &self,
        choice: &Choice,
        repeat: u32,
    ) -> Result<Experiment, crate::experiment::ExperimentError> {
        let sets = choice.sets(&self.sweep.parameters);
        let mut experiment = self.sweep.base.experiment(&sets)?;
        experiment.seed = experiment.seed.saturating_add(u64::from(repeat));
        Ok(experiment)
    }

    /// Work in a round of a trial, in products of weights and samples.
    pub(super) fn round_work(&self, experiment: &Experiment) -> Result<u128, RunError> {
        let data = self.data(experiment)?;
        let task = crate::task::task(experiment, &data.train)?;
        let clients = experiment.fleet_size();
        let participation = experiment.coordinator.participation(clients)?;
        let samples = data.train.labels().len() / usize::try_from(clients.max(1)).unwrap_or(1);
        let factors = [
            usize::try_from(participation.clients_per_round).unwrap_or(usize::MAX),
            usize::try_from(experiment.training.epochs).unwrap_or(usize::MAX),
            samples.max(1),
            task.model.parameter_count(),
        ];
        Ok(factors
            .iter()
            .map(|factor| u128::try_from(*factor).unwrap_or(u128::MAX))
            .fold(1, u128::saturating_mul))
    }

    /// Plays a trial up to a round, in all its repeats.
    pub(super) fn play(
        &self,
        trial: u32,
        choice: &Choice,
        rounds_until: u32,
    ) -> Result<Done, SweepError> {
        let (mut cpu_time, mut host_time) = (Duration::ZERO, Duration::ZERO);
        let mut repeats = Vec::new();
        for repeat in 0..self.sweep.repeats {
            let mut experiment = match self.experiment(choice, repeat) {
                Ok(experiment) => experiment,
                Err(error) => {
                    return Ok(Done {
                        rounds: Err(error.to_string()),
                        cpu_time,
                        host_time,
                    });
                }
            };
            experiment.set_fidelity(Fidelity::Native);
            let folder = self.folder.join(self.run_folder(trial, repeat));
            let data = self.data(&experiment)?;
            let (began, cpu_began) = (Instant::now(), thread_time());
            let cpu = CpuTime::default();
            let played = self.play_run(&experiment, &folder, rounds_until, data, &cpu);
            cpu_time += cpu.total() + thread_time().saturating_sub(cpu_began);
            host_time += began.elapsed();
            if let Some(detail) = played? {
                return Ok(Done {
                    rounds: Err(detail),
                    cpu_time,
                    host_time,
                });
            }
            repeats.push(self.points(&folder, rounds_until)?);
        }
        Ok(Done {
            rounds: Ok(repeats),
            cpu_time,
            host_time,
        })
    }

    /// Plays one run up to a round, from where it stands; why it failed, if it did.
    fn play_run(
        &self,
        experiment: &Experiment,
        folder: &Path,
        rounds_until: u32,
        data: TrainTest,
        cpu: &CpuTime,
    ) -> Result<Option<String>, SweepError> {
        let last = last_round(folder)?;
        let is_over = last > 0 && Archive::open(folder)?.standing()? == Standing::Completed;
        if last >= rounds_until || is_over {
            return Ok(None);
        }
        let is_begun = last > 0;
        if !is_begun && folder.exists() {
            // It was cut off before there was anything in it.
            clear(folder)?;
        }
        let play = |is_resumed| {
            let context = run::Context {
                folder: folder.to_owned(),
                is_resumed,
                search_path: self.search_path.clone(),
                clients: None,
                listen: None,
                fleet: Some(self.fleet()),
                threads: 1,
                trial: Some(TrialContext {
                    rounds_until,
                    data: Some(data.clone()),
                    cpu_time: cpu.clone(),
                }),
            };
            self.block_on(experiment, context, cpu)
        };
        let mut played = play(is_begun)?;
        if let Err(RunError::Resume(ResumeError::Damaged { .. } | ResumeError::NoRun { .. })) =
            played
        {
            // The machine went down while it was written: it begins anew.
            clear(folder)?;
            played = play(false)?;
        }
        match played {
            Ok(_) => Ok(None),
            Err(RunError::Interrupted { .. }) => Err(SweepError::Interrupted {
                folder: self.folder.to_owned(),
            }),
            Err(
                error @ (RunError::Coordinator(_)
                | RunError::Participation(_)
                | RunError::Partition(_)
                | RunError::Task(_)
                | RunError::Faults(_)
                | RunError::Misfit { .. }
                | RunError::TooFewFit { .. }),
            ) => Ok(Some(error.to_string())),
            // It is nothing of this trial alone.
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn fleet(&self) -> FleetContext {
        FleetContext {
            firmware: self.firmware.clone(),
            launcher: self.launcher.clone(),
            capture: None,
            debugged: None,
        }
    }

    /// Until the sweep is to end.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.clone();
        async move {
            if stop.wait_for(|is_over| *is_over).await.is_err() {
                // Nobody can stop it any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Plays a run on this thread, whose helpers add their processor time when they
    /// end: before this returns.
    fn block_on(
        &self,
        experiment: &Experiment,
        context: run::Context,
        cpu: &CpuTime,
    ) -> Result<Result<run::Summary, RunError>, SweepError> {
        let helpers = cpu.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_stop(move || helpers.add(thread_time()))
            .build()
            .map_err(SweepError::Runtime)?;
        let stopped = self.stopped();
        let (progress, receiver) = mpsc::unbounded_channel();
        drop(receiver);
        Ok(runtime.block_on(run::run(experiment, context, progress, stopped)))
    }

    /// The rounds of a run, up to one.
    pub(super) fn points(&self, folder: &Path, until: u32) -> Result<Vec<Point>, ArchiveError> {
        let archive = Archive::open(folder)?;
        let needs_cost = self
            .sweep
            .objectives
            .iter()
            .any(Objective::needs_device_time);
        let costs = match needs_cost {
            true => archive.costs()?,
            false => Default::default(),
        };
        let mut points: Vec<Point> = Vec::new();
        for row in archive.rounds()?.rows {
            if row.round > until {
                break;
            }
            let before = points.last();
            let cost: DeviceCost = costs.get(&row.round).copied().unwrap_or_default();
            // A round that is not known makes all that follow unknown.
            let sum = |before: Option<Option<f64>>, cost: Option<f64>| {
                Some(before.unwrap_or(Some(0.0))? + cost?)
            };
            points.push(Point {
                round: row.round,
                accuracy: row.accuracy,
                rmse: row.rmse,
                loss: row.loss,
                bytes: before.map_or(0, |point| point.bytes) + row.bytes_down + row.bytes_up,
                device_seconds: sum(
                    before.map(|point| point.device_seconds),
                    cost.device_seconds,
                ),
                energy_mj: sum(before.map(|point| point.energy_mj), cost.energy_mj),
            });
        }
        Ok(points)
    }
}

/// The last round that a run has written down; 0 where there is none, or no run.
pub(super) fn last_round(folder: &Path) -> Result<u32, ArchiveError> {
    // It is made after the experiment is written.
    if !folder.join("rounds.csv").is_file() {
        return Ok(0);
    }
    let rounds = Archive::open(folder)?.rounds()?;
    Ok(rounds.rows.last().map_or(0, |row| row.round))
}

/// Removes what is left of a run.
pub(super) fn clear(folder: &Path) -> Result<(), SweepError> {
    std::fs::remove_dir_all(folder).map_err(|source| {
        SweepError::Folder(super::FolderError::Write {
            path: folder.to_owned(),
            source,
        })
    })
}
