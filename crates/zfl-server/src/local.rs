//! Clients that are played in this process, without sockets and HTTP.
//!
//! The coordinator hands a [`LocalRound`] to whoever implements
//! [`LocalClients`]; its threads take one [`LocalCall`] after another from it.
//! A call holds the start message as it would be sent and takes the update as
//! it would be received, so that encoding, checks and byte counts are those
//! of a device. No call waits in a queue: what is not taken exists as a number
//! alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use zfl_proto::message::HeaderBytes;

use crate::coordinator::Shared;
use crate::payload::Payload;
use crate::refusals::Refusal;
use crate::update::Report;
use crate::{Event, Outcome, update};

/// The word for the board of a client that is played in this process.
pub const BOARD_NATIVE: &str = "native";

/// Plays clients in this process.
pub trait LocalClients: Send + Sync + 'static {
    /// Begins to play a round and returns at once: threads call
    /// [`LocalRound::next_call`] until there is none.
    fn play(&self, round: Arc<LocalRound>);
}

/// A round for the local clients among those selected.
pub struct LocalRound {
    shared: Arc<Shared>,
    index: u32,
    clients: Vec<u32>,
    next: AtomicUsize,
    is_over: AtomicBool,
}

impl LocalRound {
    pub(crate) fn new(shared: Arc<Shared>, index: u32, clients: Vec<u32>) -> Self {
        Self {
            shared,
            index,
            clients,
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// The next client to play; `None` when all are taken or the round is
    /// over. Its host time counts from here.
    pub fn next_call(self: &Arc<Self>) -> Option<LocalCall> {
        if self.is_over.load(Ordering::Acquire) {
            return None;
        }
        let client = *self
            .clients
            .get(self.next.fetch_add(1, Ordering::Relaxed))?;
        let mut state = self.shared.state();
        let holds_frozen = state.hold_frozen.contains(&client);
        let open = state.open(self.index)?;
        let payload = Arc::clone(&open.payload);
        let header = self
            .shared
            .start_header(open, client, payload.for_client(holds_frozen));
        let whole = self
            .shared
            .start_header(open, client, payload.for_client(false));
        if let Some(slot) = open.slots.get_mut(&client) {
            let bytes_down = header.as_slice().len() + payload.for_client(holds_frozen).0.len();
            slot.started = Some(tokio::time::Instant::now());
            slot.bytes_down = u64::try_from(bytes_down).unwrap_or(u64::MAX);
        }
        drop(state);
        Some(LocalCall {
            round: Arc::clone(self),
            client,
            header,
            whole,
            payload,
            holds_frozen,
            is_answered: false,
        })
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// One client's part in a round. Dropped without an answer while the round
/// goes on, i.e. in a panic, it ends the run.
pub struct LocalCall {
    round: Arc<LocalRound>,
    client: u32,
    header: HeaderBytes,
    whole: HeaderBytes,
    payload: Arc<Payload>,
    holds_frozen: bool,
    is_answered: bool,
}

impl LocalCall {
    /// Whose part it is.
    pub fn client(&self) -> u32 {
        self.client
    }

    /// In which round.
    pub fn round(&self) -> u32 {
        self.round.index
    }

    /// Header of the start message.
    pub fn header(&self) -> &[u8] {
        self.header.as_slice()
    }

    /// Payload of the start message: the global model.
    pub fn payload(&self) -> &[u8] {
        self.payload.for_client(self.holds_frozen).0
    }

    /// Header and payload with the frozen parameters, for a client that had
    /// them and was made anew since.
    pub fn whole(&self) -> (&[u8], &[u8]) {
        (self.whole.as_slice(), self.payload.for_client(false).0)
    }

    /// Whether the round still goes on. Ask between pieces of the training,
    /// and drop the call when it does not.
    pub fn is_wanted(&self) -> bool {
        !self.round.is_over.load(Ordering::Acquire)
    }

    /// Receives an update, as it would be sent. The client is free from here;
    /// the round knows of the update once it is [answered](LocalUpdate::answer)
    /// with.
    pub fn receive(self, header: &[u8], payload: &[u8]) -> LocalUpdate {
        LocalUpdate {
            report: update::decode(self.client, header, payload),
            call: self,
        }
    }

    /// Answers that the client cannot train, and why.
    pub fn refuse(self, reason: String) {
        self.fail(Outcome::Rejected, reason);
    }

    /// Answers that no update will come. One that is [`Outcome::Unreachable`]
    /// was never sent the start message.
    pub fn fail(mut self, outcome: Outcome, reason: String) {
        self.is_answered = true;
        let (shared, round) = (&self.round.shared, self.round.index);
        if outcome == Outcome::Unreachable
            && let Some(slot) = shared.state().slot_mut(round, self.client)
        {
            slot.bytes_down = 0;
        }
        shared.fail(round, self.client, outcome, reason);
    }

    /// Answers that the client is gone for good: it is selected no more.
    pub fn lose(self, reason: String) {
        let shared = Arc::clone(&self.round.shared);
        let client = self.client;
        shared
            .state()
            .carry
            .lost_local
            .insert(client, reason.clone());
        self.fail(Outcome::Crashed, reason.clone());
        shared.tell(Event::ClientLost { client, reason });
    }
}

/// An update that has been received.
#[must_use = "a call that is not answered ends the run"]
pub struct LocalUpdate {
    call: LocalCall,
    report: Result<Report, Refusal>,
}

impl LocalUpdate {
    /// Answers the call with the update. The next round may begin at once, and
    /// with it the next call of the same client.
    pub fn answer(self) {
        let Self { mut call, report } = self;
        call.is_answered = true;
        let shared = &call.round.shared;
        let taken = report.and_then(|report| update::take(shared, call.client, report));
        if let Err(refusal) = taken {
            let refusal = shared.refuse(Some(call.client), "native update", refusal);
            // It may have failed already, with the reason.
            shared.fail(
                call.round.index,
                call.client,
                Outcome::Rejected,
                refusal.reason,
            );
        }
    }

    /// As [`LocalUpdate::answer`], with an update that arrives twice.
    pub fn answer_twice(self) {
        let report = self.report.as_ref().ok().cloned();
        let (shared, client) = (Arc::clone(&self.call.round.shared), self.call.client);
        self.answer();
        if let Some(Err(refusal)) = report.map(|report| update::take(&shared, client, report)) {
            shared.refuse(Some(client), "native update", refusal);
        }
    }
}

impl Drop for LocalCall {
    fn drop(&mut self) {
        if !self.is_answered && self.is_wanted() {
            self.round.shared.break_off(self.client);
        }
    }
}
