//! Which parameter mattered: how much of the variance its values explain.
//!
//! The share of a parameter is its main effect in the sense of functional ANOVA
//! (F. Hutter, H. Hoos, K. Leyton-Brown, *An Efficient Approach for Assessing
//! Hyperparameter Importance*, ICML 2014; recalled): the variance of the means of its
//! values, over the variance of all. It is estimated from the trials themselves, with
//! the correction ε² for how many values there are (T. Kelley, *An Unbiased Correlation
//! Ratio Measure*, PNAS 21, 1935; recalled).

use std::collections::BTreeMap;

use super::space::{Parameter, Values};

/// Bins of the values of a range.
const BINS: usize = 5;

/// The share of each parameter, 0 to 1. `trials` are combinations, by place on each
/// parameter's axis (`None`: it is not set), with what came of them.
pub(super) fn shares(parameters: &[Parameter], trials: &[(Vec<Option<f64>>, f64)]) -> Vec<f64> {
    let of = |(index, parameter): (usize, &Parameter)| {
        let places: Vec<Option<f64>> = trials
            .iter()
            .map(|(places, _)| places.get(index).copied().flatten())
            .collect();
        let groups = match parameter.values {
            Values::List(_) => places
                .iter()
                .map(|place| place.map(f64::to_bits))
                .collect::<Vec<_>>(),
            Values::Range { .. } => binned(&places),
        };
        let mut values: BTreeMap<Option<u64>, Vec<f64>> = BTreeMap::new();
        for (group, (_, value)) in groups.iter().zip(trials) {
            values.entry(*group).or_default().push(*value);
        }
        share(&values.into_values().collect::<Vec<_>>())
    };
    parameters.iter().enumerate().map(of).collect()
}

/// Which bin of equal counts each place is in.
fn binned(places: &[Option<f64>]) -> Vec<Option<u64>> {
    let mut sorted: Vec<f64> = places.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let bin = |place: f64| {
        let rank = sorted.partition_point(|other| *other < place);
        let bin = rank * BINS / sorted.len().max(1);
        u64::try_from(bin).unwrap_or(u64::MAX)
    };
    places.iter().map(|place| place.map(bin)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// ε² of values in groups, at least 0.
#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
fn share(groups: &[Vec<f64>]) -> f64 {
    let all: Vec<f64> = groups.iter().flatten().copied().collect();
    let square = |value: f64| value * value;
    let grand = mean(&all);
    let total: f64 = all.iter().map(|value| square(value - grand)).sum();
    let within: f64 = groups
        .iter()
        .map(|group| {
            let mean = mean(group);
            group.iter().map(|value| square(value - mean)).sum::<f64>()
        })
        .sum();
    let freedom = all.len().saturating_sub(groups.len());
    if total <= 0.0 || freedom == 0 {
        return 0.0;
    }
    let correction = groups.len().saturating_sub(1) as f64 * within / freedom as f64;
    ((total - within - correction) / total).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(key: &str, count: i64) -> Parameter {
        Parameter {
            key: key.to_owned(),
            values: Values::List((0..count).map(toml::Value::Integer).collect()),
            when: Vec::new(),
        }
    }

    /// `value` of all combinations of 3 × 4 values.
    fn check(value: impl Fn(f64, f64) -> f64, expected: [f64; 2]) {
        let mut trials = Vec::new();
        for one in 0..3 {
            for other in 0..4 {
                let (one, other) = (f64::from(one), f64::from(other));
                trials.push((vec![Some(one), Some(other)], value(one, other)));
            }
        }
        let found = shares(&[parameter("a", 3), parameter("b", 4)], &trials);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_parameter_that_decides_alone_has_all() {
        check(|one, _| one, [1.0, 0.0]);
        check(|_, other| other * other, [0.0, 1.0]);
        check(|_, _| 3.0, [0.0, 0.0]);
    }

    #[test]
    fn what_two_decide_is_divided_as_their_variances() {
        // Sums of squares: a 12 × 2/3 = 8, b 12 × 5/4 = 15. The correction takes
        // (k − 1) × within ÷ (n − k) of each: 2 × 15/9 and 3 × 8/8.
        check(
            |one, other| one + other,
            [(8.0 - 30.0 / 9.0) / 23.0, (15.0 - 3.0) / 23.0],
        );
    }

    #[test]
    fn a_range_is_binned() {
        let range = Parameter {
            values: Values::Range {
                from: 0.0,
                to: 1.0,
                is_log: false,
                is_whole: false,
            },
            ..parameter("a", 1)
        };
        let trials: Vec<_> = (0..50)
            .map(|index| {
                let place = f64::from(index) / 50.0;
                (vec![Some(place)], place)
            })
            .collect();
        let found = shares(&[range], &trials);
        assert!(found[0] > 0.9, "{found:?}");
    }
}
