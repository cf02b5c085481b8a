//! What is better: objectives, their values after each round, the Pareto front.

use std::cmp::Ordering;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Share of the test set that is classified rightly.
    Accuracy,
    /// Where a number is learnt: the root of the mean squared error on the test set, in
    /// the number's unit.
    Rmse,
    /// Mean loss on the test set.
    Loss,
    /// Bodies of all start messages and updates.
    Bytes,
    /// Rounds.
    Rounds,
    /// Device time: of the slowest client of each round.
    DeviceSeconds,
    /// Energy of all clients.
    EnergyMillijoules,
}

impl Measure {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Accuracy,
        Self::Rmse,
        Self::Loss,
        Self::Bytes,
        Self::Rounds,
        Self::DeviceSeconds,
        Self::EnergyMillijoules,
    ];
    /// Those that only grow from round to round.
    pub const COSTS: [Self; 4] = [
        Self::Bytes,
        Self::Rounds,
        Self::DeviceSeconds,
        Self::EnergyMillijoules,
    ];

    /// As the file spells it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Rmse => "rmse",
            Self::Loss => "loss",
            Self::Bytes => "bytes",
            Self::Rounds => "rounds",
            Self::DeviceSeconds => "device-seconds",
            Self::EnergyMillijoules => "energy-mj",
        }
    }

    /// As columns spell it.
    const fn column(self) -> &'static str {
        match self {
            // `rounds` alone is a column of every table.
            Self::Rounds => "rounds_used",
            Self::DeviceSeconds => "device_seconds",
            Self::EnergyMillijoules => "energy_mj",
            Self::Accuracy | Self::Rmse | Self::Loss | Self::Bytes => self.key(),
        }
    }

    /// Whether it is of the model, not what the model costs.
    pub const fn is_quality(self) -> bool {
        matches!(self, Self::Accuracy | Self::Rmse | Self::Loss)
    }

    /// What tells models apart where an objective does not: accuracy, or the error of a
    /// number.
    pub const fn of_models(learns_number: bool) -> Self {
        match learns_number {
            true => Self::Rmse,
            false => Self::Accuracy,
        }
    }

    /// Its unit; empty where it has none, or the data set's.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Accuracy | Self::Rmse => "",
            Self::Loss => "nat",
            Self::Bytes => "bytes",
            Self::Rounds => "rounds",
            Self::DeviceSeconds => "s of device time",
            Self::EnergyMillijoules => "mJ",
        }
    }

    /// Whether more is better.
    pub const fn is_maximised(self) -> bool {
        matches!(self, Self::Accuracy)
    }
}

/// What may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Of what.
    pub cost: Measure,
    /// How much; above 0.
    pub most: f64,
}

/// How good a model has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// By which measure: accuracy or rmse.
    pub measure: Measure,
    /// At least this, or at most where less is better.
    pub value: f64,
}

/// What is to be made large or small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
    /// How good the model is after the last round, or the last within a budget.
    Quality {
        /// By which measure.
        measure: Measure,
        /// Within what.
        within: Option<Budget>,
    },
    /// What it took to the last round, or to the first that reaches a target.
    Cost {
        /// Of what.
        cost: Measure,
        /// The target.
        target: Option<Target>,
    },
}

/// A run after one of its rounds. Costs are those of all rounds so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Which round.
    pub round: u32,
    /// Accuracy on the test set.
    pub accuracy: Option<f64>,
    /// Error of a number there.
    pub rmse: Option<f64>,
    /// Loss there.
    pub loss: f64,
    /// Bytes so far.
    pub bytes: u64,
    /// Device time so far.
    pub device_seconds: Option<f64>,
    /// Energy so far.
    pub energy_mj: Option<f64>,
}

impl Point {
    /// What a measure says of it.
    fn measure(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Accuracy => self.accuracy,
            Measure::Rmse => self.rmse.filter(|error| error.is_finite()),
            Measure::Loss => Some(self.loss).filter(|loss| loss.is_finite()),
            #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^53")]
            Measure::Bytes => Some(self.bytes as f64),
            Measure::Rounds => Some(f64::from(self.round)),
            Measure::DeviceSeconds => self.device_seconds,
            Measure::EnergyMillijoules => self.energy_mj,
        }
    }
}

impl Target {
    fn is_reached(&self, point: &Point) -> bool {
        point
            .measure(self.measure)
            .is_some_and(|value| match self.measure.is_maximised() {
                true => value >= self.value,
                false => value <= self.value,
            })
    }
}

impl Objective {
    /// A measure after the last round.
    pub const fn plain(measure: Measure) -> Self {
        match measure.is_quality() {
            true => Self::Quality {
                measure,
                within: None,
            },
            false => Self::Cost {
                cost: measure,
                target: None,
            },
        }
    }

    /// What is measured.
    pub const fn measure(&self) -> Measure {
        match self {
            Self::Quality { measure, .. } => *measure,
            Self::Cost { cost, .. } => *cost,
        }
    }

    /// The name of its column.
    pub fn name(&self) -> String {
        let name = self.measure().column();
        match self {
            Self::Quality {
                within: Some(Budget { cost, most }),
                ..
            } => format!("{name}_within_{most}_{}", cost.key().replace('-', "_")),
            Self::Cost {
                cost,
                target: Some(Target { measure, value }),
            } => format!(
                "{}_to_{}_{value}",
                cost.key().replace('-', "_"),
                measure.key()
            ),
            _ => name.to_owned(),
        }
    }

    /// Whether it needs device time, or the energy that follows from it.
    pub fn needs_device_time(&self) -> bool {
        let needs =
            |measure| matches!(measure, Measure::DeviceSeconds | Measure::EnergyMillijoules);
        match self {
            Self::Quality { within, .. } => within.is_some_and(|budget| needs(budget.cost)),
            Self::Cost { cost, .. } => needs(*cost),
        }
    }

    /// Whether doing nothing is best.
    pub const fn is_trivial(&self) -> bool {
        matches!(self, Self::Cost { target: None, .. })
    }

    /// Its value for a run that ends with the last of these rounds, which are in their
    /// order; `None` where it has none.
    pub fn value(&self, points: &[Point]) -> Option<f64> {
        match self {
            Self::Quality { measure, within } => {
                let is_within = |point: &&Point| match within {
                    None => true,
                    Some(budget) => point
                        .measure(budget.cost)
                        .is_some_and(|used| used <= budget.most),
                };
                points.iter().rev().find(is_within)?.measure(*measure)
            }
            Self::Cost { cost, target } => {
                let point = match target {
                    None => points.last(),
                    Some(target) => points.iter().find(|point| target.is_reached(point)),
                };
                point?.measure(*cost)
            }
        }
    }

    /// Which of two values is better: `Less` is the first.
    fn compare(&self, one: f64, other: f64) -> Ordering {
        match self.measure().is_maximised() {
            true => other.total_cmp(&one),
            false => one.total_cmp(&other),
        }
    }
}

/// How good a trial is: by the first objective and, where that has no value, by how
/// far it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Less is better; `None`: there is none.
    pub cost: Option<f64>,
    /// How good its model is after the last round, where more is better: the accuracy,
    /// or the error of a number below 0.
    pub quality: Option<f64>,
}

impl Score {
    /// Of a trial that failed.
    pub(super) const WORST: Self = Self {
        cost: None,
        quality: None,
    };

    /// Of an objective's value, and that of what tells models apart.
    pub(super) fn new(
        first: &Objective,
        value: Option<f64>,
        of_model: (Measure, Option<f64>),
    ) -> Self {
        let less_is_better = |measure: Measure, value: f64| match measure.is_maximised() {
            true => -value,
            false => value,
        };
        let (measure, quality) = of_model;
        Self {
            cost: value.map(|value| less_is_better(first.measure(), value)),
            quality: quality.map(|value| -less_is_better(measure, value)),
        }
    }

    /// Better first.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let or_most = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
        let quality = |score: &Self| or_most(score.quality.map(|quality| -quality));
        or_most(self.cost)
            .total_cmp(&or_most(other.cost))
            .then(quality(self).total_cmp(&quality(other)))
    }
}

/// A candidate of the front: a trial that ends after one of its rounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    /// The trial.
    pub(super) trial: u32,
    /// The round.
    pub(super) round: u32,
    /// A value of each objective.
    pub(super) values: Vec<f64>,
}

/// Candidates of which none is worse than another in everything.
#[derive(Debug, Default)]
pub(super) struct Front {
    candidates: Vec<Candidate>,
}

impl Front {
    /// Takes a candidate in, unless another is at least as good in everything; drops
    /// those that it beats.
    pub(super) fn add(&mut self, objectives: &[Objective], new: Candidate) {
        let is_beaten = |one: &Candidate, by: &Candidate| {
            let mut values = objectives.iter().zip(by.values.iter().zip(&one.values));
            values.all(|(objective, (by, one))| objective.compare(*by, *one).is_le())
        };
        // Of equal ones the first trial stays, whatever the order they come in.
        let gives_way = |one: &Candidate, to: &Candidate| {
            is_beaten(one, to)
                && (!is_beaten(to, one) || (to.trial, to.round) < (one.trial, one.round))
        };
        if self.candidates.iter().any(|other| gives_way(&new, other)) {
            return;
        }
        self.candidates.retain(|other| !gives_way(other, &new));
        self.candidates.push(new);
    }

    /// The best in the first objective first.
    pub(super) fn sorted(&self, objectives: &[Objective]) -> Vec<Candidate> {
        let mut sorted = self.candidates.clone();
        sorted.sort_by(|one, other| {
            let values = objectives.iter().zip(one.values.iter().zip(&other.values));
            let by_value = values
                .map(|(objective, (one, other))| objective.compare(*one, *other))
                .find(|order| order.is_ne());
            by_value.unwrap_or_else(|| (one.trial, one.round).cmp(&(other.trial, other.round)))
        });
        sorted
    }
}
