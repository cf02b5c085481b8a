//! A sweep from beginning to end.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zfl_data::SearchPath;
use zfl_machine::LauncherProgram;

use super::folder::{
    COMPLETED, EarlyStopping, FolderError, Importance, ObjectiveInfo, PastJobs, RUNNING, Share,
    Summary, SweepFolder, TrialCounts, Winner,
};
use super::importance;
use super::objective::{Candidate, Front, Measure, Objective, Point, Score};
use super::schedule::{Job, Scheduler};
use super::search::Searcher;
use super::space::Choice;
use super::trial::{Done, Figure, Status, Trial, Workshop};
use super::{Search, Sweep};
use super::{confirm, counting};
use crate::archive::ArchiveError;
use crate::cpu::process_time;
use crate::experiment::ExperimentError;
use crate::firmware::FirmwareSource;
use crate::run::RunError;

/// Tables are written no more often while trials run.
const TABLES_PERIOD: Duration = Duration::from_secs(1);

/// What a sweep needs besides its file.
pub struct Context {
    /// The sweep's folder; it must not exist, or be empty, unless the sweep in it is
    /// resumed.
    pub folder: PathBuf,
    /// Goes on with the sweep in the folder, which is this one.
    pub is_resumed: bool,
    /// Where data sets are looked for.
    pub search_path: SearchPath,
    /// Where firmware images come from: for what confirms the best, and for device time.
    pub firmware: FirmwareSource,
    /// How this program starts machines.
    pub launcher: LauncherProgram,
    /// Trials that run at a time, each on a thread; at least 1. The result does not
    /// depend on it.
    pub workers: usize,
}

/// What is going on, for a display.
#[derive(Clone, Debug)]
pub enum Progress {
    /// It begins, or goes on.
    Began {
        /// Trials at most.
        trials: usize,
        /// Jobs that were carried out before.
        jobs_before: usize,
    },
    /// A trial has come to a rung, or failed.
    Job {
        /// The trial.
        trial: Box<Trial>,
        /// Trials that were begun.
        begun: usize,
        /// Trials at most.
        trials: usize,
        /// Whether it was carried out before the sweep was resumed.
        is_past: bool,
    },
    /// An emulated device counts the instructions of a trial's workload.
    Counting {
        /// The trial's number.
        trial: u32,
        /// On which boards.
        boards: Vec<String>,
    },
    /// A trial is run again, emulated.
    Confirming {
        /// Its number.
        trial: u32,
        /// How many rounds.
        rounds: u32,
    },
}

/// Why a sweep ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Its folder cannot be had.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A trial cannot be run, and neither can the others.
    #[error(transparent)]
    Run(Box<RunError>),
    /// What a trial has recorded cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No event loop for a run.
    #[error("failed to start the event loop of a trial: {0}")]
    Runtime(std::io::Error),
    /// No threads for the trials.
    #[error("failed to start {workers} threads for trials: {source}; ask for fewer with --workers")]
    Threads {
        /// How many.
        workers: usize,
        /// Why not.
        source: std::io::Error,
    },
    /// An objective needs what nothing says.
    #[error(
        "trial {trial} has no device time, which `{objective}` needs: not all its clients stand \
         for a microcontroller (docs/device-time.md)"
    )]
    NoDeviceTime {
        /// The trial.
        trial: u32,
        /// The objective.
        objective: String,
    },
    /// There is nothing to call the best.
    #[error("none of {trials} trials came to a result; the first: {first}")]
    NoResult {
        /// How many were begun.
        trials: usize,
        /// Why the first did not.
        first: String,
    },
    /// It was asked to end.
    #[error("interrupted; what was recorded is in {}", folder.display())]
    Interrupted {
        /// The sweep's folder.
        folder: PathBuf,
    },
    /// A worker ended before its time, which is a fault of zfl.
    #[error("the sweep was cut off: a thread that runs trials has ended")]
    CutOff,
}

impl From<RunError> for SweepError {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl SweepError {
    /// Whether the sweep in the folder can be resumed.
    pub fn can_go_on(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::CutOff => true,
            Self::Folder(error) => matches!(error, FolderError::Write { .. }),
            Self::Run(error) => error.can_go_on(),
            _ => false,
        }
    }
}

impl Sweep {
    /// The sweep in a folder that is resumed; `known_boards` are the names of the
    /// catalogue.
    ///
    /// # Errors
    /// When there is none, or its files say something wrong.
    pub fn from_folder_of(
        folder: &std::path::Path,
        known_boards: &[&str],
    ) -> Result<Result<Self, ExperimentError>, FolderError> {
        let (file, base) = SweepFolder::texts(folder)?;
        Ok(Self::from_folder(&file, &base, known_boards))
    }
}

/// What a worker is asked for.
struct Order {
    job: Job,
    choice: Choice,
}

type Answer = (Job, Result<Done, SweepError>);

/// Runs a sweep to its end, or until `stop` says so. Blocks; the answer comes on this
/// thread, and so does `progress`.
///
/// # Errors
/// When it cannot be started, something that is not of one trial alone goes wrong, or
/// it is interrupted. What was recorded until then is in the folder.
pub fn run(
    sweep: &Sweep,
    context: &Context,
    mut progress: impl FnMut(Progress),
    stop: watch::Receiver<bool>,
) -> Result<Summary, SweepError> {
    let parts = (&context.search_path, &context.firmware, &context.launcher);
    let workshop = Workshop::new(sweep, &context.folder, parts, stop);
    workshop.check(context.is_resumed)?;
    let (folder, past) = match context.is_resumed {
        true => SweepFolder::resume(&context.folder, sweep.confirm)?,
        false => (
            SweepFolder::create(&context.folder, sweep)?,
            PastJobs::new(),
        ),
    };
    let before = folder.past_summary().unwrap_or_default();
    let mut book = Book {
        sweep,
        workshop: &workshop,
        folder,
        past,
        trials: BTreeMap::new(),
        front: Front::default(),
        planned: 0,
        began: Instant::now(),
        host_seconds_before: before.host_seconds,
        tables_written: None,
        workers: context.workers.max(1),
    };
    let ended = search(&mut book, &mut progress).and_then(|()| book.settle());
    book.write_tables()?;
    book.write_best()?;
    let confirmed = match &ended {
        Ok(()) => confirm::all(&book.best(), &workshop, &mut progress),
        Err(_) => Ok(Vec::new()),
    };
    let (ended, confirmed) = match (ended, confirmed) {
        (Ok(()), Ok(confirmed)) => (Ok(()), confirmed),
        (Ok(()), Err(error)) => (Err(error), Vec::new()),
        (Err(error), _) => (Err(error), Vec::new()),
    };
    let outcome = match &ended {
        Ok(()) => COMPLETED.to_owned(),
        Err(error) => error.to_string(),
    };
    let summary = Summary {
        confirmed,
        ..book.summary(outcome)
    };
    book.folder.summary(&summary)?;
    ended.map(|()| summary)
}

/// Plays all trials, as the scheduler says.
fn search(book: &mut Book<'_>, progress: &mut impl FnMut(Progress)) -> Result<(), SweepError> {
    let sweep = book.sweep;
    let is_compared = sweep.early_stopping.is_some();
    let searcher = Searcher::new(&sweep.parameters, &sweep.search, sweep.seed, is_compared);
    let trials = searcher.count();
    progress(Progress::Began {
        trials,
        jobs_before: book.past.len(),
    });
    book.planned = trials;
    // Of one that is resumed there are tables, which say more until all is decided anew.
    if book.past.is_empty() {
        book.write_tables()?;
    }
    // Where nothing depends on what came of other trials, all may run at once.
    let width = match (&sweep.search, is_compared) {
        (Search::Grid | Search::Random { .. }, false) => book.workers.saturating_mul(4),
        _ => usize::try_from(sweep.width).unwrap_or(usize::MAX),
    };
    let factor = sweep.early_stopping.map_or(2, |asha| asha.reduction_factor);
    let mut scheduler = Scheduler::new(searcher, sweep.rungs(), factor, width);
    let workshop = book.workshop;
    let workers = book.workers;
    let (orders, order) = mpsc::channel::<Order>();
    let order = Arc::new(Mutex::new(order));
    let (answers, answer) = mpsc::channel::<Answer>();
    std::thread::scope(|scope| {
        for index in 0..workers {
            let (order, answers) = (Arc::clone(&order), answers.clone());
            let work = move || {
                loop {
                    // Whoever holds the lock waits; the others wait for the lock.
                    let next = order.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Order { job, choice }) = next else {
                        return;
                    };
                    let done = workshop.play(job.trial, &choice, job.rounds_until);
                    if answers.send((job, done)).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new()
                .name(format!("trial-{index}"))
                .spawn_scoped(scope, work)
                .map_err(|source| SweepError::Threads { workers, source })?;
        }
        drop(answers);
        let played = play(book, &mut scheduler, (&orders, &answer), trials, progress);
        // What is still asked for is no longer needed.
        drop(orders);
        played
    })
}

/// Hands out jobs and takes in what comes of them, in the order of the scheduler.
fn play(
    book: &mut Book<'_>,
    scheduler: &mut Scheduler<'_>,
    (orders, answers): (&mpsc::Sender<Order>, &mpsc::Receiver<Answer>),
    trials: usize,
    progress: &mut impl FnMut(Progress),
) -> Result<(), SweepError> {
    let mut early: HashMap<(u32, usize), Done> = HashMap::new();
    loop {
        let mut failure = None;
        while let Some(job) = scheduler.next(|trial, choice| {
            book.begin(trial, choice).unwrap_or_else(|error| {
                failure = Some(error);
                None
            })
        }) {
            if let Some(done) = book.past(&job)? {
                early.insert((job.trial, job.rung), done);
            } else {
                let choice = book.choice(job.trial);
                match counting::see_to(job.trial, &choice, book.workshop, progress)? {
                    Ok(()) => orders
                        .send(Order { job, choice })
                        .map_err(|_| SweepError::CutOff)?,
                    Err(detail) => {
                        let done = Done::failed(detail);
                        book.folder.job(job.trial, job.rounds_until, &done)?;
                        early.insert((job.trial, job.rung), done);
                    }
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let Some(due) = scheduler.due() else {
            return Ok(());
        };
        let done = loop {
            if let Some(done) = early.remove(&(due.trial, due.rung)) {
                break done;
            }
            let (job, done) = answers.recv().map_err(|_| SweepError::CutOff)?;
            let done = done?;
            book.folder.job(job.trial, job.rounds_until, &done)?;
            early.insert((job.trial, job.rung), done);
        };
        let is_past = book.past.contains_key(&(due.trial, due.rounds_until));
        scheduler.finish(book.take(due, &done)?);
        if let Some(trial) = book.trials.get(&due.trial) {
            progress(Progress::Job {
                trial: Box::new(trial.clone()),
                begun: book.trials.len(),
                trials,
                is_past,
            });
        }
        let is_due = book
            .tables_written
            .is_none_or(|at| at.elapsed() >= TABLES_PERIOD);
        if is_due && !is_past {
            book.write_tables()?;
        }
    }
}

/// What is known of all trials.
struct Book<'s> {
    sweep: &'s Sweep,
    workshop: &'s Workshop<'s>,
    folder: SweepFolder,
    past: PastJobs,
    trials: BTreeMap<u32, Trial>,
    front: Front,
    /// Trials at most.
    planned: usize,
    began: Instant,
    host_seconds_before: f64,
    tables_written: Option<Instant>,
    workers: usize,
}

impl Book<'_> {
    /// A new trial; the work in a round of it, `None` where it is impossible.
    fn begin(&mut self, number: u32, choice: &Choice) -> Result<Option<u128>, SweepError> {
        let mut trial = Trial::new(number, choice.clone(), self.sweep.objectives.len());
        let work = match self.workshop.experiment(choice, 0) {
            Ok(experiment) => match self.workshop.round_work(&experiment) {
                Ok(work) => Ok(work),
                Err(error @ (RunError::Task(_) | RunError::Participation(_))) => {
                    Err(error.to_string())
                }
                Err(error) => return Err(error.into()),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(detail) = &work {
            trial.status = Status::Impossible;
            trial.detail.clone_from(detail);
        }
        self.trials.insert(number, trial);
        Ok(work.ok())
    }

    fn choice(&self, trial: u32) -> Choice {
        let trial = self.trials.get(&trial);
        trial.map(|trial| trial.choice.clone()).unwrap_or_default()
    }

    /// What came of a job that was carried out before.
    fn past(&self, job: &Job) -> Result<Option<Done>, SweepError> {
        let Some(past) = self.past.get(&(job.trial, job.rounds_until)) else {
            return Ok(None);
        };
        let rounds = match &past.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok((0..self.sweep.repeats)
                .map(|repeat| {
                    let folder = self.workshop.run_folder(job.trial, repeat);
                    let folder = self.workshop.folder.join(folder);
                    self.workshop.points(&folder, job.rounds_until)
                })
                .collect::<Result<Vec<_>, ArchiveError>>()?),
        };
        Ok(Some(Done {
            rounds,
            cpu_time: past.cpu_time,
            host_time: past.host_time,
        }))
    }

    /// Takes in what came of a job; `None`: it failed.
    fn take(&mut self, job: Job, done: &Done) -> Result<Option<Score>, SweepError> {
        let (sweep, front) = (self.sweep, &mut self.front);
        let Some(trial) = self.trials.get_mut(&job.trial) else {
            return Ok(None);
        };
        trial.cpu_time += done.cpu_time;
        trial.host_time += done.host_time;
        let repeats = match &done.rounds {
            Ok(repeats) => repeats,
            Err(detail) => {
                trial.status = Status::Failed;
                trial.detail.clone_from(detail);
                trial.by_rung.push([None; 2]);
                return Ok(None);
            }
        };
        // Repeats may have ended early, at a target accuracy.
        let rounds = repeats.iter().map(|points| points.len()).min().unwrap_or(0);
        let values = |objective: &Objective, rounds: usize| {
            let value = |points: &Vec<Point>| objective.value(points.get(..rounds)?);
            Figure::new(&repeats.iter().map(value).collect::<Vec<_>>())
        };
        let last_round = |rounds: usize| {
            let point = repeats
                .first()
                .and_then(|points| points.get(..rounds)?.last());
            point.map_or(0, |point| point.round)
        };
        for count in 1..=rounds {
            let round = last_round(count);
            if round <= trial.rounds {
                continue;
            }
            let figures: Option<Vec<f64>> = sweep
                .objectives
                .iter()
                .map(|objective| Some(values(objective, count)?.mean))
                .collect();
            if let Some(values) = figures {
                front.add(
                    &sweep.objectives,
                    Candidate {
                        trial: job.trial,
                        round,
                        values,
                    },
                );
            }
        }
        trial.rung = job.rung;
        trial.rounds = last_round(rounds);
        trial.figures = sweep
            .objectives
            .iter()
            .map(|objective| values(objective, rounds))
            .collect();
        let missing = sweep
            .objectives
            .iter()
            .zip(&trial.figures)
            .find(|(objective, figure)| objective.needs_device_time() && figure.is_none());
        if let Some((objective, _)) = missing
            && repeats
                .iter()
                .flatten()
                .any(|point| point.device_seconds.is_none())
        {
            return Err(SweepError::NoDeviceTime {
                trial: job.trial,
                objective: objective.name(),
            });
        }
        let first = trial.figures.first().copied().flatten();
        let first = first.map(|figure| figure.mean);
        let quality = values(&Objective::plain(sweep.of_models), rounds);
        let quality = quality.map(|figure| figure.mean);
        trial.by_rung.push([first, quality]);
        if let Some(objective) = sweep.objectives.first() {
            trial.score = Score::new(objective, first, (sweep.of_models, quality));
        }
        let is_last = job.rung + 1 == sweep.rungs().len();
        trial.status = match is_last {
            true => Status::Completed,
            false => Status::Running,
        };
        Ok(Some(trial.score))
    }

    /// The search is over.
    fn settle(&mut self) -> Result<(), SweepError> {
        for trial in self.trials.values_mut() {
            if trial.status == Status::Running {
                trial.status = Status::Stopped;
            }
        }
        if self.best().is_empty() {
            let first = self.trials.values().next();
            return Err(SweepError::NoResult {
                trials: self.trials.len(),
                first: first.map(|trial| trial.detail.clone()).unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// The trials that came to something, the best first.
    fn best(&self) -> Vec<&Trial> {
        let mut best: Vec<&Trial> = self
            .trials
            .values()
            .filter(|trial| trial.counts())
            .collect();
        best.sort_by(|one, other| one.compare(other));
        best
    }

    /// Writes the tables and how all stands: whoever follows the sweep reads them.
    fn write_tables(&mut self) -> Result<(), SweepError> {
        let run_folder = |trial: &Trial| self.workshop.run_folder(trial.number, 0);
        self.folder
            .trials(self.sweep, self.trials.values(), run_folder)?;
        let cells = |trial: u32| self.choice(trial).cells();
        let front = self.front.sorted(&self.sweep.objectives);
        self.folder.front(self.sweep, &front, cells)?;
        self.folder.summary(&self.summary(RUNNING.to_owned()))?;
        self.tables_written = Some(Instant::now());
        Ok(())
    }

    /// Writes the experiment of the best trial, where there is one.
    fn write_best(&self) -> Result<(), SweepError> {
        if let Some(trial) = self.best().first()
            && let Ok(experiment) = self.workshop.experiment(&trial.choice, 0)
        {
            self.folder.best(&experiment.to_toml())?;
        }
        Ok(())
    }

    fn summary(&self, outcome: String) -> Summary {
        let sweep = self.sweep;
        let count = |status| {
            let trials = self.trials.values();
            trials.filter(|trial| trial.status == status).count()
        };
        let names: Vec<String> = sweep.objectives.iter().map(Objective::name).collect();
        let best = self.best().first().map(|trial| {
            let keys = sweep
                .parameters
                .iter()
                .map(|parameter| parameter.key.clone());
            let cells = keys.zip(trial.choice.cells());
            let means = trial.figures.iter().map(|figure| Some((*figure)?.mean));
            Winner {
                trial: trial.number,
                rounds: trial.rounds,
                parameters: cells.filter(|(_, value)| !value.is_empty()).collect(),
                objectives: names.iter().cloned().zip(means).collect(),
            }
        });
        let cpu: Duration = self.trials.values().map(|trial| trial.cpu_time).sum();
        Summary {
            kind: "sweep".to_owned(),
            name: sweep.name.clone(),
            outcome,
            folder: self.folder.path().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: sweep.seed,
            search: sweep.search.name().to_owned(),
            early_stopping: sweep.early_stopping.map(|asha| EarlyStopping {
                rounds_min: asha.rounds_min,
                reduction_factor: asha.reduction_factor,
                width: sweep.width,
                rungs: sweep.rungs(),
            }),
            repeats: sweep.repeats,
            rounds: sweep.rounds,
            parameters: sweep
                .parameters
                .iter()
                .map(|parameter| parameter.key.clone())
                .collect(),
            objectives: sweep
                .objectives
                .iter()
                .map(|objective| ObjectiveInfo {
                    name: objective.name(),
                    unit: match (objective.measure(), sweep.of_models) {
                        // Not an entropy.
                        (Measure::Loss, Measure::Rmse) => String::new(),
                        (measure, _) => measure.unit().to_owned(),
                    },
                    is_maximised: objective.measure().is_maximised(),
                })
                .collect(),
            trials: TrialCounts {
                all: self.trials.len(),
                planned: self.planned,
                completed: count(Status::Completed),
                stopped: count(Status::Stopped),
                failed: count(Status::Failed),
                impossible: count(Status::Impossible),
            },
            best,
            front_points: self.front.sorted(&sweep.objectives).len(),
            importance: self.importance(),
            confirmed: Vec::new(),
            cpu_seconds: cpu.as_secs_f64(),
            process_cpu_seconds: process_time().as_secs_f64(),
            host_seconds: self.host_seconds_before + self.began.elapsed().as_secs_f64(),
            workers: self.workers,
        }
    }

    /// What mattered, after the rounds of the first rung, which all have.
    fn importance(&self) -> Importance {
        let parameters = &self.sweep.parameters;
        // Of a target that not all have reached, how good the models are says more.
        let first: Vec<&[Option<f64>; 2]> = self
            .trials
            .values()
            .filter_map(|trial| trial.by_rung.first())
            .filter(|values| values.iter().any(Option::is_some))
            .collect();
        let is_reached = first.iter().all(|[objective, _]| objective.is_some());
        let objective = match self.sweep.objectives.first() {
            Some(objective) if is_reached => objective.name(),
            _ => Objective::plain(self.sweep.of_models).name(),
        };
        let trials: Vec<(Vec<Option<f64>>, f64)> = self
            .trials
            .values()
            .filter_map(|trial| {
                let [value, quality] = *trial.by_rung.first()?;
                let value = if is_reached { value? } else { quality? };
                let values = trial.choice.values.iter().zip(parameters);
                let place = values
                    .map(|(value, parameter)| parameter.values.place(value.as_ref()?))
                    .collect();
                Some((place, value))
            })
            .collect();
        let shares = importance::shares(parameters, &trials);
        let mut shares: Vec<Share> = parameters
            .iter()
            .zip(shares)
            .map(|(parameter, share)| Share {
                parameter: parameter.key.clone(),
                share,
            })
            .collect();
        shares.sort_by(|one, other| other.share.total_cmp(&one.share));
        Importance {
            objective,
            rounds: self.sweep.rungs().first().copied().unwrap_or(0),
            trials: trials.len(),
            parameters: shares,
        }
    }
}
