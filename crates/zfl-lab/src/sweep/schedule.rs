//! Who runs next, and how far: ASHA over virtual workers.
//!
//! Asynchronous successive halving (L. Li et al., *A System for Massively Parallel
//! Hyperparameter Tuning*, MLSys 2020, algorithm 2; recalled): whoever is free takes
//! the best trial of the highest rung that is among the best 1/η of its rung and has
//! not gone on; where there is none, a new trial.
//!
//! What is free, and what is known by then, is decided by *virtual* workers, for whom a
//! job takes as long as there is work in it. Nothing here depends on which real job
//! ends first, so that a sweep has one result. Without early stopping there is one rung,
//! the last round.

use std::collections::BTreeMap;

use super::objective::Score;
use super::search::{Observation, Searcher};
use super::space::Choice;

/// A piece of a trial: from where it stands to a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) trial: u32,
    pub(super) rung: usize,
    /// The round of the rung.
    pub(super) rounds_until: u32,
}

/// A job that a virtual worker has.
struct Running {
    job: Job,
    /// When it ends, in units of work.
    ends: u128,
}

/// A trial.
struct Standing {
    choice: Choice,
    /// Units of work in a round.
    round_work: u128,
    /// By rung.
    scores: Vec<Score>,
    has_failed: bool,
}

/// A trial on a rung.
struct Entry {
    score: Score,
    trial: u32,
    has_gone_on: bool,
}

/// Decides what is run.
pub(super) struct Scheduler<'s> {
    searcher: Searcher<'s>,
    /// Rounds, ascending; the last is that of a whole trial.
    rungs: Vec<u32>,
    reduction_factor: usize,
    width: usize,
    now: u128,
    /// In the order in which they were begun.
    running: Vec<Running>,
    trials: BTreeMap<u32, Standing>,
    /// On each rung, the best first.
    reached: Vec<Vec<Entry>>,
    is_exhausted: bool,
}

impl<'s> Scheduler<'s> {
    /// `rungs` are rounds in ascending order.
    pub(super) fn new(
        searcher: Searcher<'s>,
        rungs: Vec<u32>,
        reduction_factor: u32,
        width: usize,
    ) -> Self {
        Self {
            searcher,
            reached: rungs.iter().map(|_| Vec::new()).collect(),
            rungs,
            reduction_factor: usize::try_from(reduction_factor).unwrap_or(usize::MAX),
            width,
            now: 0,
            running: Vec::new(),
            trials: BTreeMap::new(),
            is_exhausted: false,
        }
    }

    /// The next job, where a virtual worker is free and there is one. `begin` is given
    /// each new trial and says how much work is in a round of it; `None` where it cannot
    /// be run.
    pub(super) fn next(
        &mut self,
        mut begin: impl FnMut(u32, &Choice) -> Option<u128>,
    ) -> Option<Job> {
        if self.running.len() >= self.width {
            return None;
        }
        if let Some(job) = self.promotion() {
            return Some(self.start(job));
        }
        while !self.is_exhausted {
            let observed: Vec<Observation<'_>> = self
                .trials
                .values()
                .map(|trial| Observation {
                    choice: &trial.choice,
                    scores: &trial.scores,
                })
                .collect();
            let Some((trial, choice)) = self.searcher.next(&observed) else {
                self.is_exhausted = true;
                break;
            };
            let Some(round_work) = begin(trial, &choice) else {
                continue;
            };
            self.trials.insert(
                trial,
                Standing {
                    choice,
                    round_work,
                    scores: Vec::new(),
                    has_failed: false,
                },
            );
            let rounds_until = self.rungs.first().copied()?;
            return Some(self.start(Job {
                trial,
                rung: 0,
                rounds_until,
            }));
        }
        None
    }

    /// The best that may go on, of the highest rung.
    fn promotion(&mut self) -> Option<Job> {
        for (rung, entries) in self.reached.iter_mut().enumerate().rev() {
            let Some(rounds_until) = self.rungs.get(rung + 1).copied() else {
                continue;
            };
            let best = entries.len() / self.reduction_factor.max(1);
            let trials = &self.trials;
            let found = entries.iter_mut().take(best).find(|entry| {
                let has_failed = trials
                    .get(&entry.trial)
                    .is_none_or(|trial| trial.has_failed);
                !entry.has_gone_on && !has_failed
            });
            if let Some(entry) = found {
                entry.has_gone_on = true;
                return Some(Job {
                    trial: entry.trial,
                    rung: rung + 1,
                    rounds_until,
                });
            }
        }
        None
    }

    fn start(&mut self, job: Job) -> Job {
        let from = match job.rung {
            0 => 0,
            rung => self.rungs.get(rung - 1).copied().unwrap_or(0),
        };
        let rounds = u128::from(job.rounds_until.saturating_sub(from));
        let round_work = self
            .trials
            .get(&job.trial)
            .map_or(1, |trial| trial.round_work);
        self.running.push(Running {
            job,
            ends: self.now.saturating_add(rounds.saturating_mul(round_work)),
        });
        job
    }

    /// The place of the job that ends next: of those that end together, the first begun.
    fn place(&self) -> Option<usize> {
        let mut running = self.running.iter().enumerate();
        let first = running.next()?;
        let next = running.fold(first, |best, other| match other.1.ends < best.1.ends {
            true => other,
            false => best,
        });
        Some(next.0)
    }

    /// The job whose result decides what follows; `None` when nothing runs.
    pub(super) fn due(&self) -> Option<Job> {
        let running = self.running.get(self.place()?)?;
        Some(running.job)
    }

    /// The job that is due has ended; without a score it has failed.
    pub(super) fn finish(&mut self, score: Option<Score>) {
        let Some(place) = self.place() else { return };
        let Running { job, ends } = self.running.remove(place);
        self.now = ends;
        let Some(trial) = self.trials.get_mut(&job.trial) else {
            return;
        };
        trial.has_failed |= score.is_none();
        let score = score.unwrap_or(Score::WORST);
        trial.scores.push(score);
        let Some(entries) = self.reached.get_mut(job.rung) else {
            return;
        };
        let place = entries.partition_point(|entry| {
            let order = entry.score.compare(&score);
            order.then(entry.trial.cmp(&job.trial)).is_lt()
        });
        entries.insert(
            place,
            Entry {
                score,
                trial: job.trial,
                has_gone_on: false,
            },
        );
    }
}
