//! The client on its device: what moves bytes between HTTP and the client's
//! arena, and trains in between.
//!
//! Server, learner and console run as tasks of one thread and share the
//! [`Node`]; none holds the client across an `await`, but for an update on its
//! way out.

use core::cell::{Cell, RefCell};

use embassy_executor::Spawner;
use embassy_futures::yield_now;
use embassy_net::Stack;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant, Timer};
use zfl_client::{Client, Refusal, Request, State, Tamper};
use zfl_proto::console::{Crash, Event, Fault, RunOptions};
use zfl_proto::http::{PATH_ID, PATH_RESULTS, PATH_TRAINING_DATA, PATH_TRAINING_LABELS};
use zfl_proto::message::{DeviceMetrics, Kind};
use zfl_proto::{RoundIndex, ShareRecord, Token};

use crate::counting::InstructionClock;
use crate::drivers::{executor, memory, timer};
use crate::fault;
use crate::http::request::{Answer, Coordinator, RequestError};
use crate::injected::Faults;
use crate::meter::{Counters, SharedTally};
use crate::net;
use crate::sizes::{KEEPS_SHARE, SERVER_SOCKETS};
use crate::text::Text;
use crate::{console, http};

/// How long training holds the processor before others get their turn: a
/// fraction of the 100 ms within which `/ready` is to be answered.
const TURN_US: u64 = 5_000;
/// Units of work in the first turn, before their speed is known.
const TURN_UNITS_FIRST: usize = 1;
const TURN_UNITS_MAX: usize = 4096;

const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(8);
/// Attempts to report an update before the device gives that round up.
const REPORT_ATTEMPTS_MAX: u32 = 8;

/// What the tasks share.
pub(crate) struct Node {
    client: RefCell<Client<'static>>,
    token: Cell<Option<Token>>,
    /// A `/start` is arriving: its connection owns the client's incoming side.
    is_receiving: Cell<bool>,
    joined: Signal<NoopRawMutex, RunOptions>,
    started: Signal<NoopRawMutex, ()>,
    tally: Option<&'static SharedTally>,
    /// How long an instruction takes, if that is known.
    instruction_ns: Cell<Option<u32>>,
    /// When the round's message began to arrive.
    round_begin: Cell<Mark>,
    /// What is to go wrong on purpose.
    faults: Faults,
    /// How the next piece of training is to end the device.
    crash: Cell<Option<Crash>>,
}

/// A moment, in ticks of the clock.
#[derive(Clone, Copy, Default)]
struct Mark {
    ticks: u64,
    /// How many of them the device had slept.
    slept_ticks: u64,
}

impl Mark {
    fn now() -> Self {
        Self {
            ticks: timer::ticks(),
            slept_ticks: executor::slept_ticks(),
        }
    }

    /// Ticks since then in which the device did something.
    fn busy_ticks(&self) -> u64 {
        let now = Self::now();
        let slept = now.slept_ticks.saturating_sub(self.slept_ticks);
        now.ticks.saturating_sub(self.ticks).saturating_sub(slept)
    }
}

/// What a training took.
#[derive(Clone, Copy, Default)]
struct Effort {
    /// From its beginning to its end.
    us: u64,
    /// In training alone; 0 where they are not counted.
    instructions: u64,
}

impl Node {
    /// A node that has not joined anything.
    pub(crate) const fn new(client: Client<'static>, tally: Option<&'static SharedTally>) -> Self {
        Self {
            client: RefCell::new(client),
            token: Cell::new(None),
            is_receiving: Cell::new(false),
            joined: Signal::new(),
            started: Signal::new(),
            tally,
            instruction_ns: Cell::new(None),
            round_begin: Cell::new(Mark {
                ticks: 0,
                slept_ticks: 0,
            }),
            faults: Faults::new(),
            crash: Cell::new(None),
        }
    }

    /// What is to go wrong on purpose.
    pub(crate) const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Whether there is a NIC.
    pub(crate) const fn has_network(&self) -> bool {
        self.tally.is_some()
    }

    /// Joins the network as `options` say; `false` when it did before.
    pub(crate) fn join(&self, options: RunOptions) -> bool {
        if self.token.get().is_some() {
            return false;
        }
        self.token.set(Some(options.token));
        self.instruction_ns.set(options.instruction_ns);
        if let Some(bytes) = options.arena_bytes {
            // Wider than 32 bits nowhere.
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            self.client.borrow_mut().limit(bytes);
        }
        if let Some(instruction_ns) = options.instruction_ns {
            timer::count_instructions(instruction_ns);
        }
        self.joined.signal(options);
        true
    }

    /// Ends the device in this way in the next piece of its training.
    pub(crate) fn crash_in_training(&self, how: Crash) {
        self.crash.set(Some(how));
    }

    /// The client's secret, once it is known.
    pub(crate) fn token(&self) -> Option<Token> {
        self.token.get()
    }

    /// What the client is doing.
    pub(crate) fn state(&self) -> State {
        self.client.borrow().state()
    }

    /// The round that it is in, or was in last.
    pub(crate) fn round(&self) -> RoundIndex {
        self.client.borrow().round()
    }

    /// Size of its arena.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.client.borrow().arena_bytes()
    }

    /// Whether a `/start` would be accepted now.
    pub(crate) fn can_start(&self) -> bool {
        self.state() == State::Ready && !self.is_receiving.get()
    }

    /// What the NIC's meter counted.
    pub(crate) fn counters(&self) -> Counters {
        self.tally
            .map_or_else(Counters::default, |tally| tally.borrow().counters())
    }

    fn instruction_clock(&self) -> InstructionClock {
        InstructionClock::new(timer::tick_hz(), self.instruction_ns.get())
    }

    /// What an update says of its device, without the training's own figures.
    pub(crate) fn device_metrics(&self) -> DeviceMetrics {
        let counters = self.counters();
        DeviceMetrics {
            training_us: 0,
            training_instructions: 0,
            other_instructions: 0,
            nic_bytes_in: counters.bytes_in,
            nic_bytes_out: counters.bytes_out,
            nic_frames_in: counters.frames_in,
            nic_frames_out: counters.frames_out,
            stack_peak_bytes: saturate(memory::stack_peak_bytes()),
            arena_peak_bytes: saturate(self.client.borrow().arena_peak_bytes()),
            segments_in: counters.segments_in,
            segments_out: counters.segments_out,
            segments_retransmitted: counters.segments_retransmitted,
        }
    }

    /// Begins to receive a `/start`; only one at a time.
    ///
    /// # Errors
    /// When another one arrives, or the client is not ready.
    pub(crate) fn receive_start(&self) -> Result<IncomingStart<'_>, Refusal> {
        if self.is_receiving.get() {
            return Err(Refusal::Busy);
        }
        let mut client = self.client.try_borrow_mut().map_err(|_| Refusal::Busy)?;
        client.receive(Kind::Start)?;
        self.is_receiving.set(true);
        self.round_begin.set(Mark::now());
        Ok(IncomingStart { node: self })
    }
}

fn saturate(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A `/start` on its way in. Dropped before its end, the client forgets it.
pub(crate) struct IncomingStart<'a> {
    node: &'a Node,
}

impl IncomingStart<'_> {
    /// Takes in the next bytes of the message.
    pub(crate) fn push(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.node.client.borrow_mut().receive_bytes(bytes)
    }

    /// The message is complete: train.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        self.node.client.borrow_mut().receive_end()?;
        self.node.started.signal(());
        Ok(())
    }
}

impl Drop for IncomingStart<'_> {
    fn drop(&mut self) {
        // After a good end there is nothing left to forget.
        self.node.client.borrow_mut().abandon();
        self.node.is_receiving.set(false);
    }
}

/// Does what the client wants done, for ever.
#[embassy_executor::task]
pub(crate) async fn run(stack: Stack<'static>, node: &'static Node, spawner: Spawner) -> ! {
    let options = node.joined.wait().await;
    net::configure(stack, options.address, options.prefix_bits);
    // Not before, for tasks that wait for an address together keep each other
    // awake: embassy-net has room for one such waker.
    for _ in 0..SERVER_SOCKETS {
        // The pool has as many places.
        if let Ok(token) = http::server::run(stack, node) {
            spawner.spawn(token);
        }
    }
    let record = match KEEPS_SHARE {
        true => memory::take_record(),
        false => &mut [],
    };
    if KEEPS_SHARE && let Some(record) = ShareRecord::decode(record) {
        node.client.borrow_mut().recall(&record);
    }
    let mut coordinator = Coordinator::new(stack, options.coordinator, options.token);
    let mut effort = Effort::default();
    loop {
        let request = node.client.borrow().next_request();
        match request {
            Some(Request::Results(id)) => {
                let path = Text::<48>::of(format_args!("{PATH_RESULTS}?id={id}"));
                let form = prepare(node).await;
                if let Some(form) = form {
                    report(node, &mut coordinator, path.as_str(), effort, form).await;
                }
            }
            Some(request) => {
                let mut retry_after = RETRY_FIRST;
                while let Err(error) = fetch(node, &mut coordinator, request).await {
                    console::tell_failed(format_args!("{error}")).await;
                    Timer::after(retry_after).await;
                    retry_after = (retry_after * 2).min(RETRY_LAST);
                }
                if KEEPS_SHARE {
                    note_share(node, record);
                }
                announce(node, request).await;
            }
            None => {
                if node.state() != State::Training {
                    node.started.wait().await;
                }
                if node.state() == State::Training {
                    console::tell(Event::Training(node.round())).await;
                    effort = train(node).await;
                }
            }
        }
    }
}

/// Asks for what the client lacks and streams the answer into its arena.
async fn fetch(
    node: &Node,
    coordinator: &mut Coordinator,
    request: Request,
) -> Result<(), RequestError> {
    let (kind, path) = match request {
        Request::Id => (Kind::Assignment, Text::<48>::of(format_args!("{PATH_ID}"))),
        Request::TrainingData(id) => (
            Kind::Samples,
            Text::of(format_args!("{PATH_TRAINING_DATA}?id={id}")),
        ),
        Request::TrainingLabels(id) => (
            Kind::Labels,
            Text::of(format_args!("{PATH_TRAINING_LABELS}?id={id}")),
        ),
        // Reported, not fetched.
        Request::Results(_) => return Ok(()),
    };
    let begun = node.client.borrow_mut().receive(kind);
    begun.map_err(RequestError::Refused)?;
    let held = match KEEPS_SHARE {
        true => node.client.borrow().recalled(),
        false => None,
    };
    let received = coordinator
        .get(path.as_str(), held, |bytes| {
            node.client.borrow_mut().receive_bytes(bytes)
        })
        .await;
    let mut client = node.client.borrow_mut();
    match received {
        Ok(Answer::NotModified) if KEEPS_SHARE => client.keep().map_err(RequestError::Refused),
        Ok(_) => client.receive_end().map_err(RequestError::Refused),
        Err(error) => {
            client.abandon();
            Err(error)
        }
    }
}

/// Notes the share for the time after a reboot, once the client has it.
fn note_share(node: &Node, place: &mut [u8]) {
    let record = node.client.borrow().record();
    if let Some(record) = record
        && let Some(place) = place.first_chunk_mut()
    {
        *place = record.encode();
    }
}

async fn announce(node: &Node, request: Request) {
    let (id, sample_count) = {
        let client = node.client.borrow();
        (client.id(), client.sample_count())
    };
    let Some(client) = id else {
        return;
    };
    match request {
        Request::Id => console::tell(Event::Assigned(client)).await,
        Request::TrainingLabels(_) => {
            console::tell(Event::Ready {
                client,
                sample_count,
            })
            .await;
        }
        Request::TrainingData(_) | Request::Results(_) => {}
    }
}

/// Takes a fault that is to take effect now, and tells it.
async fn inject(node: &Node, is_meant: impl Fn(Fault) -> bool) -> Option<Fault> {
    let round = node.round();
    let fault = node.faults.take(round, is_meant)?;
    let kind = fault.name();
    console::tell(Event::Injected { round, kind }).await;
    Some(fault)
}

/// Trains to the end of the round, giving way between turns.
async fn train(node: &Node) -> Effort {
    inject(node, |fault| fault == Fault::Tell).await;
    let slow = inject(node, |fault| matches!(fault, Fault::Slow(_))).await;
    let begin = Instant::now();
    let clock = node.instruction_clock();
    let mut budget = TURN_UNITS_FIRST;
    let mut instructions = 0u64;
    let mut trained_us = 0u64;
    while node.state() == State::Training {
        if let Some(how) = node.crash.take() {
            fault::crash(how);
        }
        // Undisturbed, so that what is counted is training and nothing else.
        let (turn, turn_ticks) = critical_section::with(|_| {
            let begin = timer::ticks();
            let turn = node.client.borrow_mut().train(budget);
            (turn, timer::ticks().saturating_sub(begin))
        });
        instructions = instructions.saturating_add(clock.instructions(turn_ticks));
        if let Err(refusal) = turn {
            console::tell_failed(format_args!("training: {refusal}")).await;
        }
        // The speed of the turn just done gives the size of the next. The
        // result does not depend on how the work is divided.
        let turn_us = clock.microseconds(turn_ticks);
        if turn_us < TURN_US / 2 {
            budget = (budget * 2).min(TURN_UNITS_MAX);
        } else if turn_us > TURN_US {
            budget = (budget / 2).max(1);
        }
        // Now that it has begun, and is not over yet.
        if inject(node, |fault| fault == Fault::Hold).await.is_some() {
            core::future::pending::<()>().await;
        }
        if inject(node, |fault| fault == Fault::Quit).await.is_some() {
            node.client.borrow_mut().give_up();
        }
        yield_now().await;
        if let Some(Fault::Slow(thousandths)) = slow {
            // Until as much time has gone by as the whole would have taken so
            // far: a pause that was too long makes the next shorter.
            trained_us = trained_us.saturating_add(turn_us);
            let slow_us = trained_us.saturating_mul(u64::from(thousandths)) / 1000;
            let until = begin.checked_add(Duration::from_micros(slow_us));
            Timer::at(until.unwrap_or(Instant::MAX)).await;
        }
    }
    Effort {
        us: begin.elapsed().as_micros(),
        instructions,
    }
}

/// How an update is sent.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Whole,
    /// The first half of the parameters.
    Half,
    /// Whole, and again when the coordinator has it.
    Twice,
}

/// Does to the update what is to go wrong with it; `None`: it is not sent.
async fn prepare(node: &Node) -> Option<Form> {
    let is_of_update = |fault: Fault| {
        !matches!(
            fault,
            Fault::Away | Fault::Quit | Fault::Hold | Fault::Tell | Fault::Slow(_)
        )
    };
    let tamper = |tamper| node.client.borrow_mut().tamper(tamper);
    match inject(node, is_of_update).await {
        Some(Fault::Mute) => {
            node.client.borrow_mut().give_up();
            return None;
        }
        Some(Fault::Truncate) => return Some(Form::Half),
        Some(Fault::Duplicate) => return Some(Form::Twice),
        Some(Fault::Late(milliseconds)) => {
            Timer::after_millis(u64::from(milliseconds)).await;
        }
        Some(Fault::Nan) => tamper(Tamper::Nan),
        Some(Fault::Negate) => tamper(Tamper::Negate),
        Some(Fault::Scale(thousandths)) => tamper(Tamper::Scale(ratio(thousandths))),
        Some(Fault::Random(thousandths)) => tamper(Tamper::Random(ratio(thousandths))),
        // Not of the update.
        Some(Fault::Away | Fault::Quit | Fault::Hold | Fault::Tell | Fault::Slow(_)) | None => {}
    }
    Some(Form::Whole)
}

#[expect(clippy::cast_precision_loss, reason = "nearest is near enough")]
fn ratio(thousandths: u32) -> f32 {
    thousandths as f32 / 1000.0
}

/// Sends the update once, from where the weights lie.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "a client that reports changes no more; `receive_start` alone could ask, and only tries"
)]
async fn send_update(
    node: &Node,
    coordinator: &mut Coordinator,
    path: &str,
    device: DeviceMetrics,
    form: Form,
) -> Result<(), RequestError> {
    let client = node.client.borrow();
    match client.update(device) {
        Some((header, weights)) => {
            let sent = match form {
                Form::Half => weights.len() / 2,
                Form::Whole | Form::Twice => weights.len(),
            };
            let weights = weights.get(..sent).unwrap_or(weights);
            coordinator.post(path, [header.as_slice(), weights]).await
        }
        None => Ok(()),
    }
}

/// Sends the update until the coordinator took or refused it.
async fn report(
    node: &Node,
    coordinator: &mut Coordinator,
    path: &str,
    effort: Effort,
    form: Form,
) {
    let round = node.round();
    let busy_ticks = node.round_begin.get().busy_ticks();
    let busy_instructions = node.instruction_clock().instructions(busy_ticks);
    let mut retry_after = RETRY_FIRST;
    for _ in 0..REPORT_ATTEMPTS_MAX {
        let device = DeviceMetrics {
            training_us: effort.us,
            training_instructions: effort.instructions,
            other_instructions: busy_instructions.saturating_sub(effort.instructions),
            ..node.device_metrics()
        };
        let sent = send_update(node, coordinator, path, device, form).await;
        match sent {
            Ok(()) => {
                if form == Form::Twice {
                    // Refused, if the coordinator is right.
                    let again = send_update(node, coordinator, path, device, form).await;
                    if let Err(error) = again {
                        console::tell_failed(format_args!("round {round}: {error}")).await;
                    }
                }
                node.client.borrow_mut().reported();
                console::tell(Event::Reported(round)).await;
                return;
            }
            Err(error) => {
                console::tell_failed(format_args!("round {round}: {error}")).await;
                if !error.is_temporary() {
                    break;
                }
            }
        }
        Timer::after(retry_after).await;
        retry_after = (retry_after * 2).min(RETRY_LAST);
    }
    // The round goes on without this update; the device is there for the next.
    node.client.borrow_mut().reported();
}
