//! What is done about clients that are slow, late, or fail.
//!
//! The default is strict: all that are selected are waited for up to the fixed
//! deadline, what comes later is dropped, who failed is drawn again like
//! everybody else, and the first round without a quorum ends the run.
//!
//! All rules but one are functions of who answered in time. The exception is
//! [`AdaptiveDeadline`], which rests on host time, and with it on how busy the
//! host is; a run that uses it, or that selects more clients than it needs, is
//! not the same twice.

use std::time::Duration;

use crate::resume::{Carry, Resting};

/// The shortest deadline that is taken from past rounds: below it a pause of
/// the host's scheduler decides who is late.
pub const ADAPTIVE_DEADLINE_MIN: Duration = Duration::from_millis(100);
/// Times of clients that must be known before a deadline is taken from them.
pub const DURATIONS_MIN: usize = 10;
/// So many times of clients are kept, the latest.
pub const DURATIONS_MAX: usize = 1000;

/// What is done about clients that are slow, late, or fail.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Policy {
    /// Clients that are selected beyond those a round needs, as a part of
    /// them: 0.3 selects 130 %. The round closes with the last update that it
    /// needs.
    ///
    /// K. Bonawitz et al., *Towards Federated Learning at Scale: System
    /// Design*, MLSys 2019, section 2.2 (there 130 %).
    pub over_selection: f64,
    /// A deadline from past rounds, within [`Deadlines::round`](crate::Deadlines::round).
    pub deadline: Option<AdaptiveDeadline>,
    /// What becomes of late updates.
    pub staleness: Staleness,
    /// Who failed is left out for some rounds.
    pub rest: Rest,
    /// So many rounds in a row may fail, and the run goes on; the next that
    /// fails ends it.
    pub failed_rounds_max: u32,
}

/// A client's part may take `factor` × the quantile `quantile` of what the
/// last [`DURATIONS_MAX`] took, once [`DURATIONS_MIN`] are known.
///
/// A client that was late counts with the time that it was waited for. Else
/// those alone that were fast enough would be measured, and the deadline would
/// shrink from round to round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveDeadline {
    /// Above 0, at most 1.
    pub quantile: f64,
    /// At least 1.
    pub factor: f64,
}

impl AdaptiveDeadline {
    /// The deadline after parts that took so long, at most `fixed`.
    pub(crate) fn after(&self, durations_seconds: &[f64], fixed: Duration) -> Duration {
        let mut sorted = durations_seconds.to_vec();
        if sorted.len() < DURATIONS_MIN {
            return fixed;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place among a thousand"
        )]
        let place = (self.quantile * sorted.len() as f64).ceil() as usize;
        let quantile = sorted.get(place.saturating_sub(1)).or(sorted.last());
        let seconds = quantile.copied().unwrap_or(f64::MAX) * self.factor;
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(fixed)
            .max(ADAPTIVE_DEADLINE_MIN)
            .min(fixed)
    }
}

/// What becomes of an update whose round is over.
///
/// It was trained from the global model w_r of its round r, and comes in
/// round t; its *staleness* is τ = t − r. What it adds is its change
/// Δ = x − w_r. It enters round t's mean as w_t + Δ, w_t being the model that
/// round t trains from, with the weight n (1 + τ)^−a: n its samples, a the
/// exponent.
///
/// The weight is the polynomial of C. Xie, S. Koyejo and I. Gupta,
/// *Asynchronous Federated Optimization*, 2019, section 5.2 (there a = 0.5).
/// They mix the model x itself into the newest; here its change is applied to
/// the newest, as in J. Nguyen et al., *Federated Learning with Buffered
/// Asynchronous Aggregation*, AISTATS 2022, so that an old model does not take
/// back what the rounds between have learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Staleness {
    /// Updates that are staler are refused; 0 refuses all.
    pub rounds_max: u32,
    /// a, at least 0; 0 counts late updates like others.
    pub exponent: f64,
}

impl Default for Staleness {
    fn default() -> Self {
        Self {
            rounds_max: 0,
            exponent: 0.5,
        }
    }
}

impl Staleness {
    /// (1 + τ)^−a.
    pub fn weight(&self, staleness: u32) -> f64 {
        libm::pow(1.0 + f64::from(staleness), -self.exponent)
    }
}

/// Who failed in a round is not selected for the next `rounds`; for twice as
/// many when it fails again, and so on up to `rounds_max`. An update in time
/// makes up for all failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// After the first failure; 0: nobody rests.
    pub rounds: u32,
    /// At most.
    pub rounds_max: u32,
}

impl Rest {
    /// Notes that a client failed in `round`.
    pub(crate) fn failed(&self, carry: &mut Carry, client: u32, round: u32) {
        if self.rounds == 0 {
            return;
        }
        let place = carry.place_of_resting(client);
        let failures = match place {
            Ok(place) => carry.resting.get(place).map_or(0, |rest| rest.failures),
            Err(_) => 0,
        };
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        let rounds = self.rounds.saturating_mul(factor);
        let rested = Resting {
            client,
            failures: failures.saturating_add(1),
            until_round: round.saturating_add(rounds.min(self.rounds_max.max(self.rounds))),
        };
        match place {
            Ok(place) => {
                if let Some(rest) = carry.resting.get_mut(place) {
                    *rest = rested;
                }
            }
            Err(place) => carry.resting.insert(place, rested),
        }
    }
}

impl Policy {
    /// How many clients a round selects that needs `wanted`, of `most`.
    pub fn selected_count(&self, wanted: u32, most: u32) -> u32 {
        // 0.3 × 10 is a little above 3, and yet means 3.
        let more = (f64::from(wanted) * self.over_selection - 1e-9).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts of floats saturate"
        )]
        let more = more as u32;
        wanted.saturating_add(more).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_selection_rounds_up() {
        let check = |wanted, over_selection, most, selected| {
            let policy = Policy {
                over_selection,
                ..Policy::default()
            };
            assert_eq!(policy.selected_count(wanted, most), selected);
        };
        check(10, 0.0, 100, 10);
        check(10, 0.3, 100, 13);
        check(3, 0.1, 100, 4);
        check(10, 0.3, 12, 12);
        check(u32::MAX, 9.0, u32::MAX, u32::MAX);
    }

    #[test]
    fn a_deadline_is_a_quantile_of_the_past() {
        let rule = AdaptiveDeadline {
            quantile: 0.9,
            factor: 2.0,
        };
        let fixed = Duration::from_secs(60);
        let times: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(rule.after(&times, fixed), Duration::from_secs(36));
        assert_eq!(rule.after(&times[..9], fixed), fixed, "too few are known");
        assert_eq!(rule.after(&[50.0; 10], fixed), fixed, "the bound");
        assert_eq!(rule.after(&[1e-6; 10], fixed), ADAPTIVE_DEADLINE_MIN);
        assert_eq!(rule.after(&[f64::MAX; 10], fixed), fixed);
        let short = Duration::from_millis(5);
        assert_eq!(rule.after(&[1.0; 10], short), short);
    }

    #[test]
    fn staleness_weighs_less() {
        let staleness = Staleness::default();
        assert_eq!(staleness.weight(0), 1.0);
        assert_eq!(staleness.weight(3), 0.5);
        let equal = Staleness {
            exponent: 0.0,
            ..staleness
        };
        assert_eq!(equal.weight(7), 1.0);
    }

    #[test]
    fn rests_double_up_to_their_bound() {
        let rest = Rest {
            rounds: 2,
            rounds_max: 7,
        };
        let mut carry = Carry::default();
        let mut round = 1;
        let mut rests = Vec::new();
        for _ in 0..40 {
            rest.failed(&mut carry, 5, round);
            rests.push(carry.resting[0].until_round - round);
            round = carry.resting[0].until_round + 1;
        }
        assert_eq!(rests[..4], [2, 4, 7, 7]);
        assert_eq!(rests[39], 7);
        rest.failed(&mut carry, 3, 1);
        let clients: Vec<u32> = carry.resting.iter().map(|rest| rest.client).collect();
        assert_eq!(clients, [3, 5]);
        Rest::default().failed(&mut carry, 4, 1);
        assert_eq!(carry.resting.len(), 2, "nobody rests by default");
    }
}
