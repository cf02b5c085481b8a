//! Who takes part, and the round that is open.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zfl_nn::Task;
use zfl_proto::Token;
use zfl_proto::message::Metrics;

use crate::payload::Payload;
use crate::strategy::Update;
use crate::{Carry, Outcome};

/// What the coordinator knows of a client that it calls, or that asks.
pub(crate) struct Client {
    pub(crate) id: u32,
    pub(crate) token: Token,
    pub(crate) board: String,
    /// Where it can be called; a client without one asks for its task.
    pub(crate) endpoint: Option<String>,
    /// A fleet host has claimed it, or it has asked for something itself.
    pub(crate) joined: bool,
    /// It has its labels, hence all its data.
    pub(crate) provisioned: bool,
    /// It had its data, and has asked who it is since, or its fleet host has
    /// started it again: it has nothing until it has fetched its labels anew.
    pub(crate) began_anew: bool,
    /// How often it has had its data again without having been lost.
    pub(crate) restarts: u32,
    /// Why it is gone.
    pub(crate) lost: Option<String>,
}

impl Client {
    /// The coordinator calls it in a round: it does not ask itself, and its
    /// part is not decided before it begins.
    pub(crate) fn is_called(&self) -> bool {
        let has_or_gets_its_data = self.provisioned || self.began_anew;
        self.endpoint.is_some() && has_or_gets_its_data && self.lost.is_none()
    }
}

/// Which numbers belong to clients that are played in this process. Nothing
/// is kept for each of these: there may be a million.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalNumbers {
    /// Disjoint and ascending; with each range how many lie before it.
    ranges: Vec<(Range<u32>, u32)>,
    count: u32,
}

impl LocalNumbers {
    /// Those of `ranges` (disjoint, ascending) that are below `client_count`.
    pub(crate) fn new(ranges: &[Range<u32>], client_count: u32) -> Self {
        let mut numbers = Self::default();
        for range in ranges {
            let from = numbers.ranges.last().map_or(0, |(last, _)| last.end);
            let range = range.start.max(from)..range.end.min(client_count);
            if !range.is_empty() {
                let before = numbers.count;
                numbers.count += range.end - range.start;
                numbers.ranges.push((range, before));
            }
        }
        numbers
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The numbers below `client_count` that are not local.
    pub(crate) fn others(&self, client_count: u32) -> impl Iterator<Item = u32> {
        let starts = self.ranges.iter().map(|(range, _)| range.start);
        let ends = self.ranges.iter().map(|(range, _)| range.end);
        let gaps = std::iter::once(0)
            .chain(ends)
            .zip(starts.chain([client_count]));
        gaps.flat_map(|(from, to)| from..to)
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.remote_index(id).is_none()
    }

    /// The place of `id` among the numbers that are not local.
    fn remote_index(&self, id: u32) -> Option<u32> {
        let after = self.ranges.partition_point(|(range, _)| range.start <= id);
        match after.checked_sub(1).and_then(|last| self.ranges.get(last)) {
            None => Some(id),
            Some((range, _)) if range.contains(&id) => None,
            Some((range, before)) => Some(id - before - (range.end - range.start)),
        }
    }
}

/// A client's part in the open round.
pub(crate) struct Slot {
    pub(crate) started: Option<Instant>,
    pub(crate) bytes_down: u64,
    /// Why the last attempt to start it failed.
    pub(crate) trouble: Option<String>,
    pub(crate) decision: Option<Decision>,
}

/// How the round ended for a client.
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    /// Its update was refused for a number that is not finite.
    pub(crate) diverged: bool,
    pub(crate) host_seconds: f64,
    pub(crate) bytes_up: u64,
    pub(crate) metrics: Metrics,
    pub(crate) update: Option<Update>,
}

/// Why a client has no part in a round's mean.
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) diverged: bool,
}

impl Slot {
    pub(crate) fn is_ok(&self) -> bool {
        self.decision
            .as_ref()
            .is_some_and(|decision| decision.outcome == Outcome::Ok)
    }

    /// Host time since the client was started, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.started
            .map_or(0.0, |started| started.elapsed().as_secs_f64())
    }
}

/// The round that is open for updates.
pub(crate) struct OpenRound {
    pub(crate) index: u32,
    /// With the learning rate of the round.
    pub(crate) task: Task,
    pub(crate) global: Arc<Vec<f32>>,
    pub(crate) payload: Arc<Payload>,
    pub(crate) slots: BTreeMap<u32, Slot>,
    /// Slots without a decision.
    pub(crate) undecided: usize,
    /// Updates that are there.
    pub(crate) ok: usize,
    /// So many updates close the round: more clients were selected than it
    /// needs.
    pub(crate) wanted: Option<usize>,
    /// How long a client's part may take.
    pub(crate) part: Duration,
}

impl OpenRound {
    /// A round of `selected`.
    pub(crate) fn new(
        (index, part): (u32, Duration),
        task: Task,
        global: Arc<Vec<f32>>,
        payload: Arc<Payload>,
        selected: &[u32],
    ) -> Self {
        let slot = |id: &u32| {
            let slot = Slot {
                started: None,
                bytes_down: 0,
                trouble: None,
                decision: None,
            };
            (*id, slot)
        };
        Self {
            index,
            task,
            global,
            payload,
            slots: selected.iter().map(slot).collect(),
            undecided: selected.len(),
            ok: 0,
            wanted: None,
            part,
        }
    }

    /// It has all the updates that it needs.
    pub(crate) fn is_full(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.ok >= wanted)
    }

    /// Nothing more is to come of it.
    pub(crate) fn is_over(&self) -> bool {
        self.undecided == 0 || self.is_full()
    }

    /// Decides a client's part; a failure that is there gives way.
    pub(crate) fn decide(&mut self, id: u32, decision: Decision) {
        let is_ok = decision.outcome == Outcome::Ok;
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.decision.replace(decision).is_none() {
            self.undecided -= 1;
        }
        self.ok += usize::from(is_ok);
    }

    /// Decides a failure, unless the client's part is decided already.
    pub(crate) fn fail(&mut self, id: u32, failure: &Failure) -> bool {
        let Some(slot) = self.slots.get(&id).filter(|slot| slot.decision.is_none()) else {
            return false;
        };
        let decision = Decision {
            outcome: failure.outcome,
            detail: failure.detail.clone(),
            diverged: failure.diverged,
            host_seconds: slot.seconds(),
            bytes_up: 0,
            metrics: Metrics::default(),
            update: None,
        };
        self.decide(id, decision);
        true
    }
}

/// A round that is over, as far as updates for it may still be used.
pub(crate) struct PastRound {
    pub(crate) index: u32,
    /// The model that it trained from.
    pub(crate) global: Arc<Vec<f32>>,
    /// Clients that were started and had sent no update when it closed; true
    /// once their update is there.
    pub(crate) waited: BTreeMap<u32, bool>,
}

/// All that changes while the coordinator runs.
pub(crate) struct State {
    /// The clients that are not local, in the order of their numbers.
    pub(crate) remote: Vec<Client>,
    pub(crate) local: LocalNumbers,
    pub(crate) round: Option<OpenRound>,
    /// Clients that have the frozen parameters, as they have sent an update.
    pub(crate) hold_frozen: HashSet<u32>,
    /// The last round that was opened.
    pub(crate) last_round: u32,
    /// The last of those that are over, the latest at the end.
    pub(crate) past: VecDeque<PastRound>,
    pub(crate) carry: Carry,
    /// The client whose part this process has failed to play.
    pub(crate) broken: Option<u32>,
}

impl State {
    /// Whose token this is. Every token is compared, each in constant time.
    pub(crate) fn client_of(&self, token: &Token) -> Option<u32> {
        let mut found = None;
        for client in &self.remote {
            if client.token == *token {
                found = Some(client.id);
            }
        }
        found
    }

    /// Why a client is gone for good.
    pub(crate) fn lost(&self, id: u32) -> Option<&String> {
        match self.client(id) {
            Some(client) => client.lost.as_ref(),
            None => self.carry.lost_local.get(&id),
        }
    }

    /// A client has nothing any more and begins anew. What it was doing is gone
    /// with it; its part in the open round, if that was.
    pub(crate) fn begin_anew(&mut self, id: u32) -> Option<u32> {
        self.hold_frozen.remove(&id);
        let client = self.client_mut(id)?;
        let had_its_data = std::mem::take(&mut client.provisioned);
        client.began_anew |= had_its_data || client.lost.is_some();
        // A client that asks for its task gets it again.
        client.endpoint.as_ref()?;
        let open = self.round.as_ref()?;
        let slot = open.slots.get(&id)?;
        (slot.started.is_some() && slot.decision.is_none()).then_some(open.index)
    }

    /// A client that is not local.
    pub(crate) fn client(&self, id: u32) -> Option<&Client> {
        let index = self.local.remote_index(id)?;
        self.remote.get(usize::try_from(index).ok()?)
    }

    /// A client that is not local, to change.
    pub(crate) fn client_mut(&mut self, id: u32) -> Option<&mut Client> {
        let index = self.local.remote_index(id)?;
        self.remote.get_mut(usize::try_from(index).ok()?)
    }

    /// The open round, if that is `round`.
    pub(crate) fn open(&mut self, round: u32) -> Option<&mut OpenRound> {
        self.round.as_mut().filter(|open| open.index == round)
    }

    /// The client's part in the open round, if that is `round`.
    pub(crate) fn slot_mut(&mut self, round: u32, id: u32) -> Option<&mut Slot> {
        self.open(round)?.slots.get_mut(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
    fn numbers_are_local_or_in_a_row() {
        let check = |ranges: &[Range<u32>], remote: &[u32]| {
            let numbers = LocalNumbers::new(ranges, 10);
            let found: Vec<u32> = (0..10).filter(|id| !numbers.contains(*id)).collect();
            assert_eq!(found, remote, "{ranges:?}");
            assert_eq!(numbers.others(10).collect::<Vec<_>>(), remote);
            assert_eq!(numbers.count() as usize, 10 - remote.len());
            let places: Vec<u32> = (0..10).filter_map(|id| numbers.remote_index(id)).collect();
            assert_eq!(places, (0..remote.len() as u32).collect::<Vec<_>>());
        };
        check(&[], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        check(&[0..10], &[]);
        check(&[0..2, 4..5, 5..6, 9..12], &[2, 3, 6, 7, 8]);
        check(&[3..3, 4..7, 6..8], &[0, 1, 2, 3, 8, 9]);
    }
}
