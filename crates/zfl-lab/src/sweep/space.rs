//! What is tried: parameters, their values, and combinations of them.

use zfl_seed::Stream;

/// A key of the experiment, and what it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The key, as `--set` takes it.
    pub key: String,
    /// Its values.
    pub values: Values,
    /// It is set only where all of these hold.
    pub when: Vec<Condition>,
}

/// The values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One of these; never empty.
    List(Vec<toml::Value>),
    /// Any number between two.
    Range {
        /// The smallest.
        from: f64,
        /// The largest; above `from`.
        to: f64,
        /// Spread over the logarithm; then `from` is above 0.
        is_log: bool,
        /// Whole numbers only.
        is_whole: bool,
    },
}

/// That an earlier parameter has one of some values.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Its place in the space.
    pub parameter: usize,
    /// The values.
    pub values: Vec<toml::Value>,
}

/// A combination: a value for each parameter, `None` where its condition is not met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// In the order of the parameters.
    pub values: Vec<Option<toml::Value>>,
}

impl Choice {
    /// What it sets, as `--set` takes it.
    pub fn sets(&self, parameters: &[Parameter]) -> Vec<String> {
        let set = |(parameter, value): (&Parameter, &Option<toml::Value>)| {
            let value = value.as_ref()?;
            Some(format!("{}={value}", parameter.key))
        };
        parameters
            .iter()
            .zip(&self.values)
            .filter_map(set)
            .collect()
    }

    /// The values as a table has them: text without quotes, nothing for none.
    pub fn cells(&self) -> Vec<String> {
        let cell = |value: &Option<toml::Value>| value.as_ref().map(cell).unwrap_or_default();
        self.values.iter().map(cell).collect()
    }
}

/// A value as a table has it.
fn cell(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

impl Values {
    /// A number of the range as a value.
    fn number(value: f64, is_whole: bool) -> toml::Value {
        #[expect(clippy::cast_possible_truncation, reason = "rounded, and saturates")]
        match is_whole {
            true => toml::Value::Integer(value.round() as i64),
            false => toml::Value::Float(value),
        }
    }

    /// Numbers of this range as values, each once.
    pub(super) fn listed(&self, numbers: &[f64]) -> Vec<toml::Value> {
        let is_whole = matches!(self, Self::Range { is_whole: true, .. });
        let mut values: Vec<toml::Value> = numbers
            .iter()
            .map(|number| Self::number(*number, is_whole))
            .collect();
        values.dedup();
        values
    }

    /// Values that stand for all: those of a list, the ends of a range.
    pub(super) fn examples(&self) -> Vec<toml::Value> {
        match self {
            Self::List(values) => values.clone(),
            Self::Range {
                from, to, is_whole, ..
            } => vec![Self::number(*from, *is_whole), Self::number(*to, *is_whole)],
        }
    }

    /// Whether this is one of the values.
    pub(super) fn may_be(&self, value: &toml::Value) -> bool {
        match self {
            Self::List(values) => values.contains(value),
            Self::Range { .. } => false,
        }
    }

    /// Where a value is on the parameter's axis: the number in its list, or the
    /// (logarithm of the) number.
    pub(super) fn place(&self, value: &toml::Value) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
            Self::List(values) => values
                .iter()
                .position(|other| other == value)
                .map(|index| index as f64),
            Self::Range { is_log, .. } => {
                let number = match value {
                    toml::Value::Float(number) => *number,
                    #[expect(clippy::cast_precision_loss, reason = "the nearest is meant")]
                    toml::Value::Integer(number) => *number as f64,
                    _ => return None,
                };
                Some(match is_log {
                    true => libm::log(number),
                    false => number,
                })
            }
        }
    }

    /// The axis: from, to. The latter is not on it in a list.
    pub(super) fn axis(&self) -> (f64, f64) {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
            Self::List(values) => (0.0, values.len() as f64),
            Self::Range {
                from, to, is_log, ..
            } => match is_log {
                true => (libm::log(*from), libm::log(*to)),
                false => (*from, *to),
            },
        }
    }

    /// The value at a place of the axis.
    pub(super) fn at(&self, place: f64) -> Option<toml::Value> {
        match self {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a place in the list, and saturates"
            )]
            Self::List(values) => {
                let index = (place.max(0.0) as usize).min(values.len().saturating_sub(1));
                values.get(index).cloned()
            }
            Self::Range {
                from,
                to,
                is_log,
                is_whole,
            } => {
                let number = match is_log {
                    true => libm::exp(place),
                    false => place,
                };
                Some(Self::number(number.clamp(*from, *to), *is_whole))
            }
        }
    }
}

/// The numbers from one to another in steps; `None` where there are more than `most`.
pub(super) fn stepped(from: f64, to: f64, step: f64, most: usize) -> Option<Vec<f64>> {
    // A last step that only rounding keeps below the end counts.
    let slack = step * 1e-9;
    let mut numbers = Vec::new();
    let mut index = 0.0;
    loop {
        let number = step.mul_add(index, from);
        if number > to + slack {
            return Some(numbers);
        }
        if numbers.len() == most {
            return None;
        }
        numbers.push(tidy(number.min(to)));
        index += 1.0;
    }
}

/// So many numbers at equal distances, ends included.
pub(super) fn spaced(from: f64, to: f64, is_log: bool, count: u32) -> Vec<f64> {
    let last = count.saturating_sub(1).max(1);
    let number = |index: u32| {
        if index == 0 {
            return from;
        }
        if index >= last {
            return to;
        }
        let part = f64::from(index) / f64::from(last);
        tidy(match is_log {
            true => from * libm::pow(to / from, part),
            false => (to - from).mul_add(part, from),
        })
    };
    (0..count).map(number).collect()
}

/// Rounded to six significant digits, as somebody would write it.
fn tidy(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

/// A uniform number in [0, 1).
fn unit(stream: &mut Stream) -> f64 {
    f64::from(stream.next_u32()) / 4_294_967_296.0
}

/// Whether the conditions of a parameter hold.
fn is_active(parameter: &Parameter, values: &[Option<toml::Value>]) -> bool {
    parameter.when.iter().all(|condition| {
        let value = values.get(condition.parameter).and_then(Option::as_ref);
        value.is_some_and(|value| condition.values.contains(value))
    })
}

/// Makes a combination: `choose` gives the value of each parameter that has one.
pub(super) fn choose(
    parameters: &[Parameter],
    mut choose: impl FnMut(usize, &Parameter) -> Option<toml::Value>,
) -> Choice {
    let mut values = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let value = match is_active(parameter, &values) {
            true => choose(index, parameter),
            false => None,
        };
        values.push(value);
    }
    Choice { values }
}

/// A combination at random.
pub(super) fn draw(parameters: &[Parameter], stream: &mut Stream) -> Choice {
    choose(parameters, |_, parameter| {
        let (from, to) = parameter.values.axis();
        let place = (to - from).mul_add(unit(stream), from);
        parameter.values.at(place)
    })
}

/// All combinations, the last parameter changing fastest; `None` where there are more
/// than `most`. Ranges count with their ends.
pub(super) fn grid(parameters: &[Parameter], most: usize) -> Option<Vec<Choice>> {
    let mut grid = vec![Choice::default()];
    for parameter in parameters {
        let values = parameter.values.examples();
        let mut next = Vec::new();
        for choice in grid {
            let values: Vec<Option<toml::Value>> = match is_active(parameter, &choice.values) {
                true => values.iter().cloned().map(Some).collect(),
                false => vec![None],
            };
            for value in values {
                let mut longer = choice.clone();
                longer.values.push(value);
                next.push(longer);
                if next.len() > most {
                    return None;
                }
            }
        }
        grid = next;
    }
    Some(grid)
}
