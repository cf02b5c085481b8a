//! Many trials of one experiment: what is best, what it costs, which key matters.
//!
//! - `file` reads the sweep file; `space` is what is tried, `search` in which order.
//! - `schedule` decides who runs next and how far, as if the machine were another;
//!   `trial` carries it out.
//! - `objective` says what is better, `importance` what made the difference.
//! - `folder` writes the sweep's folder, `confirm` runs the best emulated, `counting`
//!   has an emulated device count what device time rests on.
//!
//! docs/sweeps.md is the reference.

mod confirm;
mod counting;
mod file;
mod folder;
mod importance;
mod objective;
mod run;
mod schedule;
mod search;
mod space;
#[cfg(test)]
mod tests;
mod trial;

use std::path::PathBuf;

pub(crate) use folder::{BEST, COMPLETED, FRONT, RUNNING, SUMMARY, SWEEP, TRIALS};
pub use folder::{
    Confirmed, ConfirmedRun, EarlyStopping, FolderError, Importance, ObjectiveInfo, Share, Summary,
    TrialCounts, Winner,
};
pub use objective::{Budget, Measure, Objective, Point, Target};
pub use run::{Context, Progress, SweepError, run};
pub use space::{Choice, Condition, Parameter, Values};
pub use trial::{Figure, Status, Trial};

use crate::experiment::{Experiment, ExperimentError};

/// Most trials of a sweep.
pub const TRIALS_MAX: u32 = 10_000;
/// Most runs of a trial.
pub const REPEATS_MAX: u32 = 100;
/// Most virtual workers.
pub const WIDTH_MAX: u32 = 1024;

/// A checked sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// What it is called: `[a-z0-9-]`.
    pub name: String,
    /// Of what the search leaves to chance.
    pub seed: u64,
    /// Runs of each trial; at least 1.
    pub repeats: u32,
    /// Virtual workers; at least 1.
    pub width: u32,
    /// So many of the best are run emulated.
    pub confirm: u32,
    /// Rounds of those runs; `None`: as many as the trial has.
    pub confirm_rounds: Option<u32>,
    /// Rounds of a trial that is not stopped.
    pub rounds: u32,
    /// What is tried.
    pub base: Base,
    /// What is changed in it; never empty.
    pub parameters: Vec<Parameter>,
    /// How.
    pub search: Search,
    /// Which trials are stopped early.
    pub early_stopping: Option<Asha>,
    /// What is better; never empty.
    pub objectives: Vec<Objective>,
    /// What tells models apart: accuracy, or rmse where a number is learnt.
    pub of_models: Measure,
}

/// The experiment of a sweep, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Where the file is, or was: its paths count from there.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
    /// Names of the catalogue of boards.
    pub boards: Vec<String>,
}

impl Base {
    /// The experiment with these changes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn experiment(&self, sets: &[String]) -> Result<Experiment, ExperimentError> {
        let boards: Vec<&str> = self.boards.iter().map(String::as_str).collect();
        Experiment::parse_at(&self.text, &self.path, sets, &boards)
    }
}

/// How combinations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Every one.
    Grid,
    /// At random.
    Random {
        /// So many.
        trials: u32,
    },
    /// By a tree-structured Parzen estimator.
    Tpe {
        /// So many.
        trials: u32,
        /// The first of them at random.
        random_trials: u32,
    },
}

impl Search {
    /// As the file spells it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random { .. } => "random",
            Self::Tpe { .. } => "tpe",
        }
    }
}

/// Early stopping by asynchronous successive halving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asha {
    /// Rounds of every trial; at least 1.
    pub rounds_min: u32,
    /// One of so many goes on from a rung, with as many times the rounds; at least 2.
    pub reduction_factor: u32,
}

impl Asha {
    /// The rounds of its rungs, ascending; the last is `rounds`.
    pub fn rungs(&self, rounds: u32) -> Vec<u32> {
        let mut rungs = Vec::new();
        let mut next = self.rounds_min;
        while next < rounds {
            rungs.push(next);
            next = next.saturating_mul(self.reduction_factor.max(2));
        }
        rungs.push(rounds);
        rungs
    }
}

impl Sweep {
    /// The first combinations that it tries, for `fuzz/`.
    #[cfg(feature = "fuzz")]
    #[doc(hidden)]
    pub fn combinations(&self, most: usize) -> Vec<Choice> {
        let is_shuffled = self.early_stopping.is_some();
        let mut searcher =
            search::Searcher::new(&self.parameters, &self.search, self.seed, is_shuffled);
        let tried = std::iter::from_fn(|| searcher.next(&[]));
        tried.take(most).map(|(_, choice)| choice).collect()
    }

    /// The rounds of its rungs, ascending.
    pub fn rungs(&self) -> Vec<u32> {
        match &self.early_stopping {
            Some(asha) => asha.rungs(self.rounds),
            None => vec![self.rounds],
        }
    }
}
