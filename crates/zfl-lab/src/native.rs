//! Clients that are played in this process: `zfl-client` on the host.
//!
//! A client is fed the very messages that a device would receive and says the
//! very update that a device would send; only sockets and HTTP are left out.
//! A fixed number of threads play the clients of a round, each one client at a
//! time. A client comes to be when it is first selected. Its memory is kept
//! for its next round as long as there is room ([`KEPT_BYTES_MAX`]); else it
//! is made anew from the shared data set, with the same result.
//!
//! Who is kept is not changed later on: selection is uniform, so those that
//! came first are as good as any, and where all are selected in each round, a
//! cache that evicts the least recently used would never hit.
//!
//! # Faults
//!
//! A fault that leaves no update is answered at once and without training:
//! nothing else could come of it, and waiting for a deadline would cost host
//! time and change no result. What comes later is held by one thread ([`Later`])
//! while the threads go on. A client that hangs stays so, and cannot be reached
//! in later rounds; one that crashes is lost, as its device would be. Nobody
//! waits for a reboot: between two rounds no time passes for a native client.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zfl_client::{Client, Parked, Refusal};
use zfl_nn::{BLOCK_FAST, NonZeroBuffer, Progress};
use zfl_proto::ClientId;
use zfl_proto::message::{Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Kind};
use zfl_server::{LocalCall, LocalClients, LocalRound, Outcome, Shares};

use crate::cpu::{self, CpuTime};
use crate::data::{PartitionedShares, saturate};
use crate::experiment::FAULT_TIME_MAX;
use crate::faults::{Fault, Injector};
use crate::later::Later;

/// Most bytes of memory of clients that do not train at the moment.
pub(crate) const KEPT_BYTES_MAX: usize = 256 << 20;
/// Units of training between two looks whether the round still goes on.
const TURN_UNITS: usize = 64;

/// Words of memory that lie so that vectors load them at once.
const LINE_WORDS: usize = 8;

/// The memory of a client; what it is given begins with a line of the cache.
#[derive(Default)]
struct Arena(Vec<u64>);

impl Arena {
    /// Zeros straight from the system, which cost nothing until they are used.
    fn new(words: usize) -> Self {
        Self(vec![0; words + LINE_WORDS])
    }

    fn words(&mut self) -> &mut [u64] {
        let start = self.0.as_ptr().align_offset(LINE_WORDS * size_of::<u64>());
        let end = self.0.len().saturating_sub(LINE_WORDS) + start;
        self.0.get_mut(start..end).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

/// A client between two rounds.
struct Native {
    arena: Arena,
    client: Parked,
    /// Where its samples are not 0.
    non_zero: NonZeroBuffer,
}

impl Native {
    /// Bytes that it takes.
    fn bytes(&self) -> usize {
        self.arena.bytes() + self.non_zero.bytes()
    }
}

/// The clients that are kept.
struct Kept {
    clients: HashMap<u32, Native>,
    bytes: usize,
    bytes_max: usize,
    /// Of clients that were not kept, for the next that is made.
    spare: Vec<(Arena, NonZeroBuffer)>,
}

impl Kept {
    fn take(&mut self, id: u32) -> Option<Native> {
        let native = self.clients.remove(&id)?;
        self.bytes -= native.bytes();
        Some(native)
    }

    fn put(&mut self, id: u32, native: Native) {
        // It is there where its last round ended, at the deadline, before it.
        self.take(id);
        let bytes = self.bytes + native.bytes();
        if bytes <= self.bytes_max {
            self.bytes = bytes;
            self.clients.insert(id, native);
        } else {
            // At most one for each thread.
            self.spare.push((native.arena, native.non_zero));
        }
    }
}

/// What is to be done.
#[derive(Default)]
struct Posted {
    round: Option<Arc<LocalRound>>,
    /// Counts the rounds that were posted.
    version: u64,
    is_closed: bool,
}

/// What the threads share.
struct Inner {
    shares: PartitionedShares,
    kept: Mutex<Kept>,
    posted: Mutex<Posted>,
    changed: Condvar,
    faults: Injector,
    /// Clients that stand still, and since which round.
    hung: Mutex<HashMap<u32, u32>>,
    /// Only where anything goes wrong.
    later: Option<Later>,
}

/// Threads that play clients; they end with this.
pub(crate) struct NativeClients {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

/// Nothing is half-changed where a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NativeClients {
    /// Starts `thread_count` threads; each adds its processor time to `cpu_time` when
    /// it ends.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn start(
        shares: PartitionedShares,
        thread_count: usize,
        kept_bytes_max: usize,
        faults: Injector,
        cpu_time: Option<CpuTime>,
    ) -> io::Result<Self> {
        let later = match faults.plan().is_empty() {
            true => None,
            false => Some(Later::start()?),
        };
        let mut pool = Self {
            inner: Arc::new(Inner {
                shares,
                kept: Mutex::new(Kept {
                    clients: HashMap::new(),
                    bytes: 0,
                    bytes_max: kept_bytes_max,
                    spare: Vec::new(),
                }),
                posted: Mutex::default(),
                changed: Condvar::new(),
                faults,
                hung: Mutex::default(),
                later,
            }),
            threads: Vec::new(),
        };
        for index in 0..thread_count.max(1) {
            let inner = Arc::clone(&pool.inner);
            let cpu_time = cpu_time.clone();
            let thread = std::thread::Builder::new()
                .name(format!("native-{index}"))
                .spawn(move || {
                    inner.work();
                    if let Some(cpu_time) = cpu_time {
                        cpu_time.add(cpu::thread_time());
                    }
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }
}

impl LocalClients for NativeClients {
    fn play(&self, round: Arc<LocalRound>) {
        let mut posted = lock(&self.inner.posted);
        posted.round = Some(round);
        posted.version += 1;
        self.inner.changed.notify_all();
    }
}

impl Drop for NativeClients {
    fn drop(&mut self) {
        lock(&self.inner.posted).is_closed = true;
        self.inner.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has told the coordinator by the call it dropped.
            let _ = thread.join();
        }
    }
}

impl Inner {
    /// Plays clients of round after round, until all is over.
    fn work(&self) {
        let mut version = 0;
        while let Some(round) = self.next_round(&mut version) {
            while let Some(call) = round.next_call() {
                self.play(call);
            }
        }
    }

    /// Waits for a round that this thread has not seen.
    fn next_round(&self, version: &mut u64) -> Option<Arc<LocalRound>> {
        let mut posted = lock(&self.posted);
        loop {
            if posted.is_closed {
                return None;
            }
            if posted.version != *version {
                *version = posted.version;
                return posted.round.clone();
            }
            posted = self
                .changed
                .wait(posted)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Plays one client's part in a round.
    fn play(&self, call: LocalCall) {
        let (id, round) = (call.client(), call.round());
        let began = Instant::now();
        if let Some(since) = lock(&self.hung).get(&id).copied() {
            return call.fail(Outcome::Unreachable, format!("hangs since round {since}"));
        }
        let faults = self.faults.plan().part(id, round);
        let call = match faults.as_slice() {
            [fault] => match self.end_early(call, *fault) {
                Some(call) => call,
                None => return,
            },
            _ => call,
        };
        let kept = lock(&self.kept).take(id);
        let native = match kept {
            Some(native) => Ok(native),
            None => self.provision(id),
        };
        let started = native.and_then(|native| {
            let Native {
                mut arena,
                client,
                non_zero,
            } = native;
            let client = deliver(client, &mut arena, |client| {
                match feed(client, Kind::Start, call.header(), [call.payload()]) {
                    // It was made anew since it was sent them.
                    Err(Refusal::FrozenMissing) => {
                        let (header, payload) = call.whole();
                        feed(client, Kind::Start, header, [payload])
                    }
                    fed => fed,
                }
            })?;
            Ok(Native {
                arena,
                client,
                non_zero,
            })
        });
        let Native {
            mut arena,
            client,
            non_zero,
        } = match started {
            Ok(native) => native,
            Err(refusal) => return call.refuse(refusal.to_string()),
        };
        let mut client = client.resume(arena.words());
        loop {
            match client.train_with(TURN_UNITS, Some(non_zero.view())) {
                Ok(Progress::Done) => break,
                Ok(Progress::Working) if call.is_wanted() => {}
                Ok(Progress::Working) => return,
                Err(refusal) => return call.refuse(refusal.to_string()),
            }
        }
        let device = DeviceMetrics {
            arena_peak_bytes: saturate(client.arena_peak_bytes()),
            ..DeviceMetrics::default()
        };
        if !call.is_wanted() {
            return;
        }
        for fault in &faults {
            self.faults.tell(round, id, fault.kind());
            if let Fault::Falsify(_, tamper) = fault {
                client.tamper(*tamper);
            }
        }
        let is_truncated = faults.contains(&Fault::Truncate);
        let update = match client.update(device) {
            Some((header, payload)) => {
                let sent = match is_truncated {
                    true => payload.len() / 2,
                    false => payload.len(),
                };
                call.receive(header.as_slice(), payload.get(..sent).unwrap_or(payload))
            }
            None => return call.refuse("no update after its training".to_owned()),
        };
        client.reported();
        let client = client.park();
        let native = Native {
            arena,
            client,
            non_zero,
        };
        // Before the answer, which may begin a round that selects it again.
        lock(&self.kept).put(id, native);
        if faults.contains(&Fault::Duplicate) {
            return update.answer_twice();
        }
        match (due(&faults, began, Instant::now()), &self.later) {
            (Some(due), Some(later)) => later.answer(update, due),
            _ => update.answer(),
        }
    }

    /// Ends a part of which no update comes; gives it back otherwise.
    fn end_early(&self, call: LocalCall, fault: Fault) -> Option<LocalCall> {
        let (id, round) = (call.client(), call.round());
        let outcome = match fault {
            Fault::Unavailable | Fault::DropOutBefore => Outcome::Unreachable,
            Fault::Crash | Fault::Reboot { .. } => Outcome::Crashed,
            Fault::Hang | Fault::DropOutDuring | Fault::DropOutAfter => Outcome::Late,
            Fault::BrownOut(_)
            | Fault::Falsify(..)
            | Fault::Truncate
            | Fault::Duplicate
            | Fault::Late(_)
            | Fault::SlowDown(_) => return Some(call),
        };
        self.faults.tell(round, id, fault.kind());
        let reason = format!("injected fault: {}", fault.kind().name());
        match fault {
            Fault::Crash => {
                lock(&self.kept).take(id);
                call.lose(reason);
                return None;
            }
            Fault::Reboot { keeps_data, .. } if !keeps_data => {
                lock(&self.kept).take(id);
            }
            Fault::Hang => {
                lock(&self.kept).take(id);
                lock(&self.hung).insert(id, round);
            }
            _ => {}
        }
        call.fail(outcome, reason);
        None
    }

    /// Makes a client and gives it its share.
    fn provision(&self, id: u32) -> Result<Native, Refusal> {
        let shares = &self.shares;
        let assignment = Assignment {
            client: ClientId(id),
            sample_count: shares.sample_count(id),
        };
        let header = |part, payload_crc32| {
            DataHeader {
                part,
                client: ClientId(id),
                sample_count: shares.sample_count(id),
                input_count: shares.input_count(),
                class_count: shares.class_count(),
                value_scale: shares.value_scale(),
                payload_crc32,
            }
            .encode()
        };
        let mut checksum = Checksum::new();
        shares.rows(id).for_each(|row| checksum.update(row));
        let samples = header(DataPart::Samples, checksum.finish());
        let targets = shares.targets(id);
        let (part, labels) = targets.payload();
        let label_header = header(part, Checksum::of(&labels));

        let spare = lock(&self.kept).spare.pop();
        let (mut arena, mut non_zero) = spare.unwrap_or_default();
        let client = Client::with_block(arena.words(), BLOCK_FAST).park();
        let client = deliver(client, &mut arena, |client| {
            feed(client, Kind::Assignment, assignment.encode().as_slice(), [])
        })?;
        let client = deliver(client, &mut arena, |client| {
            feed(client, Kind::Samples, samples.as_slice(), shares.rows(id))
        })?;
        let client = deliver(client, &mut arena, |client| {
            feed(client, Kind::Labels, label_header.as_slice(), [&*labels])
        })?;
        let mut client = client.resume(arena.words());
        let input_count = usize::try_from(shares.input_count()).unwrap_or(usize::MAX);
        // Samples that are too wide for it are trained on without.
        if non_zero.find(client.samples(), input_count).is_err() {
            non_zero = NonZeroBuffer::default();
        }
        let client = client.park();
        Ok(Native {
            arena,
            client,
            non_zero,
        })
    }
}

/// When an update leaves, if not at once: its training began and ended then.
fn due(faults: &[Fault], began: Instant, ended: Instant) -> Option<Instant> {
    let mut due = None;
    for fault in faults {
        let start = due.unwrap_or(ended);
        due = match fault {
            Fault::SlowDown(factor) => {
                let took = ended.saturating_duration_since(began).as_secs_f64();
                let took = Duration::try_from_secs_f64(took * f64::from(*factor));
                began.checked_add(took.unwrap_or(FAULT_TIME_MAX))
            }
            Fault::Late(after) => start.checked_add(*after),
            // What is sent meanwhile is sent again when the link is back.
            Fault::BrownOut(outage) => Some(start.max(began + *outage)),
            _ => due,
        };
    }
    due
}

/// Gives a client a message, and more memory where it says that it has too
/// little: a host has no board to fit.
fn deliver(
    client: Parked,
    arena: &mut Arena,
    message: impl Fn(&mut Client<'_>) -> Result<(), Refusal>,
) -> Result<Parked, Refusal> {
    let mut client = client.resume(arena.words());
    let needed_bytes = match message(&mut client) {
        Ok(()) => return Ok(client.park()),
        Err(Refusal::DoesNotFit { needed_bytes, .. }) => needed_bytes,
        Err(refusal) => return Err(refusal),
    };
    let client = client.park();
    let mut larger = Arena::new(needed_bytes.div_ceil(size_of::<u64>()));
    let kept = arena.words();
    if let Some(copy) = larger.words().get_mut(..kept.len()) {
        copy.copy_from_slice(kept);
    }
    *arena = larger;
    let mut client = client.resume(arena.words());
    message(&mut client)?;
    Ok(client.park())
}

fn feed<'p>(
    client: &mut Client<'_>,
    kind: Kind,
    header: &[u8],
    payload: impl IntoIterator<Item = &'p [u8]>,
) -> Result<(), Refusal> {
    client.receive(kind)?;
    client.receive_bytes(header)?;
    for piece in payload {
        client.receive_bytes(piece)?;
    }
    client.receive_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfl_data::Scheme;
    use zfl_nn::{Activation, Format, Hyperparameters, Initialisation, Loss, Model, Task};
    use zfl_server::{Coordinator, Deadlines, Initial, LocalPart, Options, Plan, Schedule};

    use crate::data::test_set;
    use crate::faults::FaultPlan;

    fn nothing() -> Injector {
        Injector::new(FaultPlan::default()).0
    }

    /// Trains ten clients, four in each round; the final model, and the bytes
    /// that are kept then.
    async fn run(threads: usize, kept_bytes_max: usize) -> (Vec<f32>, usize) {
        let data = zfl_data::digits::load(1, 0.2).unwrap();
        let partition = Scheme::Iid.partition(&data.train, 10, 1).unwrap();
        let test = test_set(&data);
        let shares = PartitionedShares::new(data.train, partition);
        let clients =
            NativeClients::start(shares.clone(), threads, kept_bytes_max, nothing(), None).unwrap();
        let inner = Arc::clone(&clients.inner);
        let day = Duration::from_secs(86_400);
        let options = Options {
            plan: Plan {
                seed: 1,
                task: Task {
                    model: Model::mlp(64, &[16, 10], Activation::Relu, Loss::CrossEntropy).unwrap(),
                    hyperparameters: Hyperparameters::sgd(2, 10, 0.1),
                    format: Format::F32,
                },
                initial: Initial::Drawn(Initialisation::Auto),
                rounds: 6,
                client_count: 10,
                clients_per_round: 4,
                quorum: 4,
                policy: zfl_server::Policy::default(),
                schedule: Schedule::Constant,
                target_accuracy: None,
                resume: None,
            },
            deadlines: Deadlines {
                ready: day,
                round: day,
            },
            parallel: None,
            threads,
        };
        let local = LocalPart {
            numbers: vec![0..3, 3..10],
            clients: Box::new(clients),
        };
        let (coordinator, _events) =
            Coordinator::with_local(options, shares, test, Some(local)).unwrap();
        let model = coordinator.run().await.unwrap();
        drop(coordinator);
        // All threads have ended, and nobody holds more than allowed.
        let kept = lock(&inner.kept);
        let bytes: usize = kept.clients.values().map(Native::bytes).sum();
        assert_eq!(kept.bytes, bytes);
        assert!(bytes <= kept_bytes_max);
        assert_eq!(kept.clients.is_empty(), kept_bytes_max == 0);
        assert!(kept.spare.len() <= threads);
        (Arc::unwrap_or_clone(model), bytes)
    }

    #[tokio::test]
    async fn neither_threads_nor_what_is_kept_change_a_bit() {
        let (reference, bytes) = run(1, usize::MAX).await;
        for (threads, kept_bytes_max) in [(1, 0), (3, 0), (2, bytes / 2), (3, usize::MAX)] {
            let (model, _) = run(threads, kept_bytes_max).await;
            assert!(model == reference, "{threads} threads, {kept_bytes_max}");
        }
    }
}
