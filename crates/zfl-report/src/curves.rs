//! How good a model is, by what it cost to make it.

use crate::chart::Axis;
use crate::collect::{Round, Run};
use crate::number::{Clock, Unit};

/// A measure of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    /// Share of the test set that is classified rightly.
    Accuracy,
    /// Root of the mean squared error, in the target's unit.
    RootMeanSquaredError,
    /// Mean loss on the test set.
    Loss,
}

impl Quality {
    /// What says most about a run.
    pub(crate) fn of(run: &Run) -> Self {
        let any = |value: fn(&Round) -> Option<f64>| {
            run.rounds.iter().any(|round| value(round).is_some())
        };
        if any(|round| round.rmse) {
            Self::RootMeanSquaredError
        } else if any(|round| round.accuracy) || run.rounds.is_empty() {
            Self::Accuracy
        } else {
            Self::Loss
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::RootMeanSquaredError => "root mean squared error",
            Self::Loss => "loss",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Accuracy => "Accuracy",
            Self::RootMeanSquaredError => "Root mean squared error",
            Self::Loss => "Loss",
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Accuracy => Unit::Share,
            Self::RootMeanSquaredError | Self::Loss => Unit::Plain,
        }
    }

    pub(crate) fn axis(self, run: &Run) -> Axis {
        match self {
            Self::Accuracy => Axis::new("accuracy on the test set", Unit::Share),
            Self::RootMeanSquaredError => {
                let unit = Unit::Named("unit of the target".to_owned());
                Axis::new("root mean squared error", unit).with_zero()
            }
            Self::Loss => {
                let is_entropy = run
                    .text_setting("training.loss")
                    .is_none_or(|loss| loss.contains("entropy"));
                match is_entropy {
                    true => Axis::new("loss on the test set", Unit::Named("nats".to_owned())),
                    false => Axis::new("loss on the test set", Unit::Plain),
                }
                .with_zero()
            }
        }
    }

    pub(crate) const fn colour(self) -> usize {
        match self {
            Self::Accuracy | Self::RootMeanSquaredError => 0,
            Self::Loss => 1,
        }
    }

    pub(crate) const fn value(self, round: &Round) -> Option<f64> {
        match self {
            Self::Accuracy => round.accuracy,
            Self::RootMeanSquaredError => round.rmse,
            Self::Loss => Some(round.loss),
        }
    }
}

/// What rounds cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Rounds,
    /// Of message bodies, both directions.
    Bytes,
    /// Of the slowest client of each round.
    DeviceTime,
    /// Of all clients.
    Energy,
}

impl Cost {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Rounds => "round",
            Self::Bytes => "bytes",
            Self::DeviceTime => "device time",
            Self::Energy => "energy",
        }
    }

    pub(crate) fn axis(self) -> Axis {
        match self {
            Self::Rounds => Axis::new("round", Unit::Plain),
            Self::Bytes => Axis::new("messages, both directions", Unit::Bytes),
            Self::DeviceTime => Axis::time("device time", Clock::Device),
            Self::Energy => Axis::new("energy, all clients", Unit::Millijoules),
        }
    }
}

/// Whether a run says what it cost.
pub(crate) fn has(run: &Run, cost: Cost) -> bool {
    match cost {
        Cost::Rounds | Cost::Bytes => true,
        Cost::DeviceTime => run.parts.values().any(|parts| parts.device_max > 0.0),
        Cost::Energy => run.parts.values().any(|parts| parts.energy_mj.is_some()),
    }
}

/// Points of cost, added up, and quality; the first is before training, where that
/// is known.
pub(crate) fn curve(run: &Run, quality: Quality, cost: Cost) -> Vec<(f64, f64)> {
    let before = match quality {
        Quality::Accuracy => run.initial.accuracy,
        Quality::RootMeanSquaredError => run.initial.rmse,
        Quality::Loss => run.initial.loss,
    };
    let mut sum = 0.0;
    let mut points: Vec<(f64, f64)> = before.map(|value| (0.0, value)).into_iter().collect();
    for round in &run.rounds {
        let parts = run.parts.get(&round.round);
        match cost {
            Cost::Rounds => sum = f64::from(round.round),
            Cost::Bytes => sum += round.bytes_down as f64 + round.bytes_up as f64,
            Cost::DeviceTime => sum += parts.map_or(0.0, |parts| parts.device_max),
            Cost::Energy => sum += parts.and_then(|parts| parts.energy_mj).unwrap_or(0.0),
        }
        points.push((sum, quality.value(round).unwrap_or(f64::NAN)));
    }
    points
}
