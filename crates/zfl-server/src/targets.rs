//! What the model's outputs are compared with, and how near they come.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zfl_nn::Evaluation;
use zfl_proto::message::DataPart;

/// What the model's outputs are compared with: one for each sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Classes.
    Labels(Vec<u8>),
    /// Values to learn, finite.
    Values(Vec<f32>),
}

impl Targets {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Labels(labels) => labels.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload of the message that they are sent in, and its kind.
    pub fn payload(&self) -> (DataPart, Cow<'_, [u8]>) {
        match self {
            Self::Labels(labels) => (DataPart::Labels, Cow::Borrowed(labels)),
            Self::Values(values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (DataPart::Values, Cow::Owned(bytes.collect()))
            }
        }
    }

    /// Those from `start` to before `end`; `None` beyond the last.
    pub(crate) fn piece(&self, start: usize, end: usize) -> Option<zfl_nn::Targets<'_>> {
        Some(match self {
            Self::Labels(labels) => zfl_nn::Targets::Labels(labels.get(start..end)?),
            Self::Values(values) => zfl_nn::Targets::Values(values.get(start..end)?),
        })
    }
}

/// How near a model comes to values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Root of the mean squared error, in the values' unit.
    pub rmse: f64,
    /// 1 less the squared errors over the squared distances of the values from
    /// their mean: 1 is perfect, 0 no better than the mean. `None` where all
    /// values are equal.
    pub r_squared: Option<f64>,
}

/// How well a model does on the test set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Share of the samples classified rightly; `None` where values are learnt.
    pub accuracy: Option<f64>,
    /// How near it comes to them then.
    pub fit: Option<Fit>,
    /// Mean loss: cross-entropy in nats, or half the squared error.
    pub loss: f64,
}

impl Quality {
    /// What an evaluation says. `unit`: what 1 of a value means.
    pub(crate) fn of(evaluation: &Evaluation, targets: &Targets, unit: f64) -> Self {
        let loss = evaluation.loss();
        let Targets::Values(values) = targets else {
            return Self {
                accuracy: Some(evaluation.accuracy()),
                fit: None,
                loss,
            };
        };
        let count = values.len().max(1) as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let square = |value: &f32| (f64::from(*value) - mean).powi(2);
        let variance = values.iter().map(square).sum::<f64>() / count;
        // A sample's loss is half its squared error.
        let error = 2.0 * loss;
        Self {
            accuracy: None,
            fit: Some(Fit {
                rmse: unit * error.sqrt(),
                r_squared: (variance > 0.0).then(|| 1.0 - error / variance),
            }),
            loss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_in_the_unit_of_the_values() {
        let targets = Targets::Values(vec![-1.0, 0.0, 1.0, 2.0]);
        // Errors of 1, 0, 0 and 1: half their squares are 0.5, 0, 0 and 0.5.
        let evaluation = Evaluation {
            sample_count: 4,
            correct_count: 0,
            loss_sum: 1.0,
        };
        let quality = Quality::of(&evaluation, &targets, 10.0);
        assert_eq!((quality.accuracy, quality.loss), (None, 0.25));
        let fit = quality.fit.unwrap();
        assert_eq!(fit.rmse, 10.0 * 0.5f64.sqrt());
        // The values lie 1.5, 0.5, 0.5 and 1.5 from their mean.
        assert_eq!(fit.r_squared, Some(1.0 - 2.0 / 5.0));
        let one = Targets::Values(vec![3.0]);
        let quality = Quality::of(&evaluation, &one, 10.0);
        assert_eq!(quality.fit.unwrap().r_squared, None);
    }

    #[test]
    fn classes_have_an_accuracy() {
        let evaluation = Evaluation {
            sample_count: 4,
            correct_count: 3,
            loss_sum: 1.0,
        };
        let quality = Quality::of(&evaluation, &Targets::Labels(vec![0; 4]), 1.0);
        assert_eq!((quality.accuracy, quality.fit), (Some(0.75), None));
    }

    #[test]
    fn values_are_sent_as_little_endian_floats() {
        let values = Targets::Values(vec![1.0, -2.0]);
        let (part, payload) = values.payload();
        assert_eq!(part, DataPart::Values);
        assert_eq!(*payload, [0, 0, 128, 63, 0, 0, 0, 192]);
    }
}
