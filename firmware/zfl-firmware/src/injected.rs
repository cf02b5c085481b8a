//! Faults on purpose: what the device is to do wrong in which round, as the
//! console's `fault` command says.
//!
//! A fault that takes effect is told on the console, before anything can come
//! of it.

use core::cell::Cell;

use zfl_proto::RoundIndex;
use zfl_proto::console::{FAULTS_MAX, Fault};

/// A fault that is to come.
#[derive(Clone, Copy)]
struct Planned {
    round: RoundIndex,
    fault: Fault,
    /// It takes effect, and that was told.
    is_told: bool,
}

/// The faults that are to come: the last so many that were typed.
pub(crate) struct Faults([Cell<Option<Planned>>; FAULTS_MAX]);

impl Faults {
    pub(crate) const fn new() -> Self {
        Self([const { Cell::new(None) }; FAULTS_MAX])
    }

    /// Plans a fault; where there is no more room, in place of that of the
    /// earliest round, which is over if they are typed in the order of rounds.
    pub(crate) fn plan(&self, round: RoundIndex, fault: Fault) {
        let earliest = self.0.iter().min_by_key(|place| {
            // Empty places first.
            place.get().map(|planned| planned.round)
        });
        if let Some(place) = earliest {
            place.set(Some(Planned {
                round,
                fault,
                is_told: false,
            }));
        }
    }

    /// Takes a fault of this round that `is_meant`.
    pub(crate) fn take(
        &self,
        round: RoundIndex,
        is_meant: impl Fn(Fault) -> bool,
    ) -> Option<Fault> {
        let place = self.place(round, is_meant)?;
        Some(place.take()?.fault)
    }

    /// Whether the device takes no part in a round; and whether that is new.
    pub(crate) fn is_away(&self, round: RoundIndex) -> Option<bool> {
        let place = self.place(round, |fault| fault == Fault::Away)?;
        let planned = place.get()?;
        place.set(Some(Planned {
            is_told: true,
            ..planned
        }));
        Some(!planned.is_told)
    }

    fn place(
        &self,
        round: RoundIndex,
        is_meant: impl Fn(Fault) -> bool,
    ) -> Option<&Cell<Option<Planned>>> {
        self.0.iter().find(|place| {
            place
                .get()
                .is_some_and(|planned| planned.round == round && is_meant(planned.fault))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: fn(Fault) -> bool = |fault| fault == Fault::Away;
    const ANY: fn(Fault) -> bool = |_| true;

    #[test]
    fn a_fault_takes_effect_once_in_its_round() {
        let faults = Faults::new();
        faults.plan(RoundIndex(3), Fault::Slow(2000));
        faults.plan(RoundIndex(3), Fault::Nan);
        assert_eq!(faults.take(RoundIndex(2), ANY), None);
        assert_eq!(faults.take(RoundIndex(3), AWAY), None);
        let is_nan = |fault| fault == Fault::Nan;
        assert_eq!(faults.take(RoundIndex(3), is_nan), Some(Fault::Nan));
        assert_eq!(faults.take(RoundIndex(3), ANY), Some(Fault::Slow(2000)));
        assert_eq!(faults.take(RoundIndex(3), ANY), None);
    }

    #[test]
    fn it_is_away_for_all_of_a_round_and_tells_once() {
        let faults = Faults::new();
        faults.plan(RoundIndex(3), Fault::Away);
        assert_eq!(faults.is_away(RoundIndex(2)), None);
        assert_eq!(faults.is_away(RoundIndex(3)), Some(true));
        assert_eq!(faults.is_away(RoundIndex(3)), Some(false));
        assert_eq!(faults.is_away(RoundIndex(4)), None);
    }

    #[test]
    fn the_earliest_makes_room() {
        let faults = Faults::new();
        let rounds = 0..2 * FAULTS_MAX as u32;
        for round in rounds.clone() {
            faults.plan(RoundIndex(round), Fault::Away);
        }
        let known: Vec<u32> = rounds
            .filter(|round| faults.take(RoundIndex(*round), AWAY).is_some())
            .collect();
        assert_eq!(known, (8..16).collect::<Vec<_>>());
    }
}
