//! How the learning rate changes from round to round.
//!
//! A pure function of the rate of the experiment and the round, computed in
//! `f64` with `libm` and rounded to `f32` once, so that it has the same bits
//! on every host. Whoever trains is told the rate of the round and knows
//! nothing of the schedule.

/// A schedule of the learning rate. Rounds count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// The same in each round.
    #[default]
    Constant,
    /// `rate × factor^⌊(round − 1) ∕ every⌋`
    Step {
        /// Rounds of one step; 0 counts as 1.
        every: u32,
        /// What each step multiplies with.
        factor: f64,
    },
    /// `rate × factor^(round − 1)`
    Exponential {
        /// What each round multiplies with.
        factor: f64,
    },
    /// `minimum + (rate − minimum) ∕ 2 × (1 + cos(π (round − 1) ∕ (rounds − 1)))`:
    /// from the rate in round 1 to the minimum in the last.
    ///
    /// I. Loshchilov and F. Hutter, *SGDR: Stochastic Gradient Descent with
    /// Warm Restarts*, ICLR 2017, equation 5, without restarts.
    Cosine {
        /// The rate of the last round.
        minimum: f64,
        /// How many rounds there are.
        rounds: u32,
    },
    /// `rate × round ∕ rounds` up to round `rounds`, then the rate.
    WarmUp {
        /// The first round with the whole rate; 0 counts as 1.
        rounds: u32,
    },
}

impl Schedule {
    /// The learning rate of a round; `initial` is that of the experiment.
    #[expect(clippy::cast_possible_truncation, reason = "the one rounding")]
    pub fn learning_rate(&self, initial: f32, round: u32) -> f32 {
        let rate = f64::from(initial);
        let before = round.saturating_sub(1);
        let scheduled = match *self {
            Self::Constant => return initial,
            Self::Step { every, factor } => {
                rate * libm::pow(factor, (before / every.max(1)).into())
            }
            Self::Exponential { factor } => rate * libm::pow(factor, before.into()),
            Self::Cosine { minimum, rounds } => {
                let last = rounds.saturating_sub(1);
                let part = match last {
                    0 => 0.0,
                    _ => f64::from(before.min(last)) / f64::from(last),
                };
                let cosine = libm::cos(std::f64::consts::PI * part);
                minimum + (rate - minimum) / 2.0 * (1.0 + cosine)
            }
            Self::WarmUp { rounds } => {
                let rounds = rounds.max(1);
                rate * (f64::from(round.min(rounds)) / f64::from(rounds))
            }
        };
        scheduled as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates of the first rounds, with an initial rate of 0.8.
    fn check<const N: usize>(schedule: Schedule, expected: [f64; N]) {
        for (round, expected) in (1..).zip(expected) {
            let found = schedule.learning_rate(0.8, round);
            assert!(
                (f64::from(found) - expected).abs() < 1e-7,
                "{schedule:?}, round {round}: {found} for {expected}"
            );
        }
    }

    #[test]
    fn rates_follow_their_formulas() {
        check(Schedule::Constant, [0.8, 0.8]);
        check(
            Schedule::Step {
                every: 2,
                factor: 0.5,
            },
            [0.8, 0.8, 0.4, 0.4, 0.2],
        );
        check(Schedule::Exponential { factor: 0.5 }, [0.8, 0.4, 0.2]);
        check(
            Schedule::Cosine {
                minimum: 0.0,
                rounds: 5,
            },
            [0.8, 0.682_842_712, 0.4, 0.117_157_287, 0.0, 0.0],
        );
        check(
            Schedule::Cosine {
                minimum: 0.4,
                rounds: 3,
            },
            [0.8, 0.6, 0.4],
        );
        check(Schedule::WarmUp { rounds: 4 }, [0.2, 0.4, 0.6, 0.8, 0.8]);
    }

    #[test]
    fn the_edges_are_rates() {
        for schedule in [
            Schedule::Step {
                every: 0,
                factor: 1.0,
            },
            Schedule::Cosine {
                minimum: 0.0,
                rounds: 1,
            },
            Schedule::Cosine {
                minimum: 0.0,
                rounds: 0,
            },
            Schedule::WarmUp { rounds: 0 },
            Schedule::WarmUp { rounds: 1 },
        ] {
            check(schedule, [0.8]);
        }
        let gone = Schedule::Exponential { factor: 0.5 }.learning_rate(0.8, u32::MAX);
        assert_eq!(gone, 0.0);
        // Untouched, bit for bit.
        assert_eq!(Schedule::Constant.learning_rate(0.1, 7), 0.1);
        let cosine = Schedule::Cosine {
            minimum: 0.0,
            rounds: 9,
        };
        assert_eq!(cosine.learning_rate(0.1, 1), 0.1);
        // Never below 0, whatever the rounding of the cosine.
        assert!(cosine.learning_rate(0.1, 9) >= 0.0);
    }
}
