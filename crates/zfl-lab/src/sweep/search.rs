//! Which combinations are tried next.

use std::collections::HashSet;

use tpe::{TpeOptimizerBuilder, histogram_estimator, parzen_estimator};
use zfl_seed::{Purpose, Stream};

use super::objective::Score;
use super::space::{self, Choice, Parameter, Values};
use super::{Search, TRIALS_MAX};

/// Draws that may come to what was tried before, in a row.
const REPEATED_MAX: u32 = 200;
/// After so many of them, TPE draws at random.
const REPEATED_TPE_MAX: u32 = 20;
/// The part of the trials that count as good (γ of Bergstra et al., *Algorithms for
/// Hyper-Parameter Optimization*, NIPS 2011; recalled).
const GOOD_PART: f64 = 0.2;

/// What is known of a trial.
pub(super) struct Observation<'a> {
    pub(super) choice: &'a Choice,
    /// By rung.
    pub(super) scores: &'a [Score],
}

/// Makes combinations, each once.
pub(super) struct Searcher<'s> {
    parameters: &'s [Parameter],
    search: &'s Search,
    stream: Stream,
    /// What is left of a grid, the next last.
    left: Vec<(u32, Choice)>,
    made: u32,
    seen: HashSet<Vec<String>>,
}

impl<'s> Searcher<'s> {
    /// `is_shuffled`: a grid is gone through in an order at random, so that trials
    /// that are compared early stand for all.
    pub(super) fn new(
        parameters: &'s [Parameter],
        search: &'s Search,
        seed: u64,
        is_shuffled: bool,
    ) -> Self {
        let mut stream = Stream::new(seed, Purpose::SweepSearch, 0);
        let most = usize::try_from(TRIALS_MAX).unwrap_or(usize::MAX);
        let mut left: Vec<(u32, Choice)> = match search {
            // It was counted when the file was read.
            Search::Grid => space::grid(parameters, most).unwrap_or_default(),
            Search::Random { .. } | Search::Tpe { .. } => Vec::new(),
        }
        .into_iter()
        .zip(1..)
        .map(|(choice, number)| (number, choice))
        .collect();
        match is_shuffled {
            true => stream.shuffle(&mut left),
            false => left.reverse(),
        }
        Self {
            parameters,
            search,
            stream,
            left,
            made: 0,
            seen: HashSet::new(),
        }
    }

    /// How many there will be, at most.
    pub(super) fn count(&self) -> usize {
        match self.search {
            Search::Grid => self.left.len(),
            Search::Random { trials } | Search::Tpe { trials, .. } => {
                usize::try_from(*trials).unwrap_or(usize::MAX)
            }
        }
    }

    /// The next combination and its number, from 1; `None` when there is no other.
    pub(super) fn next(&mut self, observed: &[Observation<'_>]) -> Option<(u32, Choice)> {
        let (trials, random_trials) = match self.search {
            Search::Grid => return self.left.pop(),
            Search::Random { trials } => (*trials, *trials),
            Search::Tpe {
                trials,
                random_trials,
            } => (*trials, *random_trials),
        };
        if self.made >= trials {
            return None;
        }
        for repeated in 0..REPEATED_MAX {
            let is_model = self.made >= random_trials && repeated < REPEATED_TPE_MAX;
            let choice = match is_model {
                true => self.model(observed, random_trials),
                false => space::draw(self.parameters, &mut self.stream),
            };
            if self.seen.insert(choice.cells()) {
                self.made += 1;
                return Some((self.made, choice));
            }
        }
        None
    }

    /// A combination by the model: for each parameter the value for which good trials
    /// are most dense against the others.
    fn model(&mut self, observed: &[Observation<'_>], enough: u32) -> Choice {
        // The highest rung on which there are trials enough to tell good from bad.
        let enough = usize::try_from(enough).unwrap_or(usize::MAX);
        let on_rung = |rung: usize| {
            let reached = observed.iter().filter(|trial| trial.scores.len() > rung);
            reached.count()
        };
        let rung = (0..)
            .take_while(|rung| *rung == 0 || on_rung(*rung) >= enough)
            .last()
            .unwrap_or(0);
        let stream = &mut self.stream;
        space::choose(self.parameters, |index, parameter| {
            let place = ask(index, parameter, observed, rung, stream);
            match place.and_then(|place| parameter.values.at(place)) {
                Some(value) => Some(value),
                // A space that the estimator has nothing to say on.
                None => space::draw(std::slice::from_ref(parameter), stream)
                    .values
                    .pop()
                    .flatten(),
            }
        })
    }
}

/// Asks the estimator for one parameter.
fn ask(
    index: usize,
    parameter: &Parameter,
    observed: &[Observation<'_>],
    rung: usize,
    stream: &mut Stream,
) -> Option<f64> {
    let (from, to) = parameter.values.axis();
    let range = tpe::range(from, to).ok()?;
    let estimator = match parameter.values {
        Values::List(_) => histogram_estimator(),
        Values::Range { .. } => parzen_estimator(),
    };
    let mut builder = TpeOptimizerBuilder::new();
    let mut optimizer = builder.gamma(GOOD_PART).build(estimator, range).ok()?;
    for trial in observed {
        let Some(score) = trial.scores.get(rung) else {
            continue;
        };
        let value = trial.choice.values.get(index).and_then(Option::as_ref);
        let place = value.and_then(|value| parameter.values.place(value));
        let Some(place) = place else { continue };
        // Inside: the end of a range is not in it for the estimator.
        let place = place.clamp(from, to.next_down());
        let cost = score.cost.unwrap_or(f64::INFINITY);
        optimizer.tell(place, cost).ok()?;
    }
    optimizer.ask(stream).ok()
}
