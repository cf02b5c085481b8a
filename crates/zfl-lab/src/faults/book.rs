//! Which faults took effect in the rounds that are not over, and whether the
//! outcomes fit.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use zfl_server::Outcome;

use super::Injected;
use crate::experiment::FaultKind;

/// Keeps account of faults until their round is over.
pub(crate) struct FaultBook {
    injected: mpsc::UnboundedReceiver<Injected>,
    /// By round and client.
    open: BTreeMap<(u32, u32), Vec<FaultKind>>,
    /// The last round that is over.
    over: u32,
}

impl FaultBook {
    pub(crate) fn new(injected: mpsc::UnboundedReceiver<Injected>) -> Self {
        Self {
            injected,
            open: BTreeMap::new(),
            over: 0,
        }
    }

    /// A fault that was not taken in before, and whether its round was over
    /// before it took effect: of a client that was late, or surplus. Nothing of
    /// its part can have come of it then.
    pub(crate) fn next(&mut self) -> Option<(Injected, bool)> {
        let injected = self.injected.try_recv().ok()?;
        let is_over = injected.round <= self.over;
        if !is_over {
            let part = self.open.entry((injected.round, injected.client));
            part.or_default().push(injected.kind);
        }
        Some((injected, is_over))
    }

    /// Faults of a round.
    pub(crate) fn count(&self, round: u32) -> usize {
        let parts = self.open.range((round, 0)..=(round, u32::MAX));
        parts.map(|(_, kinds)| kinds.len()).sum()
    }

    /// The faults of a part that is over.
    pub(crate) fn close(&mut self, round: u32, client: u32) -> Vec<FaultKind> {
        self.open.remove(&(round, client)).unwrap_or_default()
    }

    /// Ends a round; its faults that no part was closed with.
    pub(crate) fn end(&mut self, round: u32) -> Vec<Injected> {
        self.over = self.over.max(round);
        let later = match round.checked_add(1) {
            Some(next) => self.open.split_off(&(next, 0)),
            None => BTreeMap::new(),
        };
        let left = std::mem::replace(&mut self.open, later);
        let each = left.into_iter().flat_map(|((round, client), kinds)| {
            kinds.into_iter().map(move |kind| Injected {
                round,
                client,
                kind,
            })
        });
        each.collect()
    }
}

/// Those that the outcome does not fit.
pub(crate) fn unfit(kinds: &[FaultKind], outcome: Outcome) -> impl Iterator<Item = FaultKind> {
    let unfit = move |kind: &FaultKind| !kind.outcomes().contains(&outcome);
    kinds.iter().copied().filter(unfit)
}

/// The words for several, as `clients.csv` has them.
pub(crate) fn names(kinds: &[FaultKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    names.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_accounted_for() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut book = FaultBook::new(receiver);
        let told = [
            (1, 3, FaultKind::SlowDown),
            (1, 3, FaultKind::Late),
            (1, 4, FaultKind::Crash),
            (2, 3, FaultKind::Nan),
        ];
        for (round, client, kind) in told {
            let injected = Injected {
                round,
                client,
                kind,
            };
            sender.send(injected).unwrap();
            assert_eq!(book.next(), Some((injected, false)));
        }
        assert_eq!(book.next(), None);
        assert_eq!((book.count(1), book.count(2), book.count(3)), (3, 1, 0));
        let kinds = book.close(1, 3);
        assert_eq!(names(&kinds), "slow-down+late");
        assert_eq!(unfit(&kinds, Outcome::Ok).count(), 0);
        assert_eq!(
            unfit(&kinds, Outcome::Rejected).collect::<Vec<_>>(),
            [FaultKind::Late]
        );
        assert_eq!(book.close(1, 3), []);
        let left = Injected {
            round: 1,
            client: 4,
            kind: FaultKind::Crash,
        };
        assert_eq!(book.end(1), [left]);
        sender.send(left).unwrap();
        assert_eq!(book.next(), Some((left, true)));
        assert_eq!(book.count(1), 0);
        assert_eq!(book.close(2, 3), [FaultKind::Nan]);
    }
}
