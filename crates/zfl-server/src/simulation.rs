//! Runs against clients that misbehave in every way, in virtual time.
//!
//! Remote clients ask the HTTP interface without sockets in between, local
//! ones are played by tasks; both do what a stream of numbers says: answer, in
//! time or late, twice, with nonsense, not at all, or go and come back. Nothing
//! here waits for a clock on the wall, so that a seed that fails fails again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use zfl_nn::{Activation, Format, Hyperparameters, Initialisation, Loss, Model, Task};
use zfl_proto::message::{Checksum, Encoding, Metrics, UpdateHeader};
use zfl_proto::{ClientId, RoundIndex};
use zfl_seed::{Purpose, Stream};

use crate::strategy::{Update, fed_avg};
use crate::{
    AdaptiveDeadline, Carry, Coordinator, CoordinatorError, Deadlines, Event, Initial, LocalCall,
    LocalClients, LocalPart, LocalRound, Options, Outcome, Plan, Policy, Rest, RoundRecord,
    Schedule, Shares, Staleness, Targets, TestSet,
};

const REMOTE_COUNT: u32 = 8;
const CLIENT_COUNT: u32 = 12;
const READY: Duration = Duration::from_secs(20);
const ROUND: Duration = Duration::from_secs(10);
const THREADS: usize = 2;
const SEEDS: u64 = 150;

struct NoData;

impl Shares for NoData {
    fn input_count(&self) -> u32 {
        2
    }
    fn class_count(&self) -> u32 {
        2
    }
    fn value_scale(&self) -> f32 {
        1.0
    }
    fn sample_count(&self, client: u32) -> u32 {
        client + 1
    }
    fn samples(&self, client: u32) -> Vec<u8> {
        vec![1; client as usize * 2 + 2]
    }
    fn targets(&self, client: u32) -> Targets {
        Targets::Labels(vec![0; client as usize + 1])
    }
}

fn model() -> Model {
    Model::mlp(2, &[2], Activation::Relu, Loss::CrossEntropy).unwrap()
}

/// What a client has learnt in a round: the same number everywhere.
fn learnt(client: u32, round: u32) -> Vec<f32> {
    let value = ((client * 31 + round * 7) % 13) as f32 * 0.1 - 0.6;
    vec![value; model().parameter_count()]
}

fn message(client: u32, round: u32, parameters: &[f32]) -> (Vec<u8>, Vec<u8>) {
    let payload: Vec<u8> = parameters.iter().flat_map(|p| p.to_le_bytes()).collect();
    let header = UpdateHeader {
        client: ClientId(client),
        round: RoundIndex(round),
        sample_count: client + 1,
        metrics: Metrics::default(),
        encoding: Encoding::F32,
        payload_bytes: payload.len() as u32,
        payload_crc32: Checksum::of(&payload),
    };
    (header.encode().as_slice().to_vec(), payload)
}

/// What a client does with its task.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Answers,
    AnswersTwice,
    AnswersLate,
    AnswersNonsenseFirst,
    AnswersWhatIsNotFinite,
    RepeatsTheLastRound,
    IsSilent,
    IsLostAndComesBack,
    IsLost,
}

const DEEDS: [Deed; 9] = [
    Deed::Answers,
    Deed::AnswersTwice,
    Deed::AnswersLate,
    Deed::AnswersNonsenseFirst,
    Deed::AnswersWhatIsNotFinite,
    Deed::RepeatsTheLastRound,
    Deed::IsSilent,
    Deed::IsLostAndComesBack,
    Deed::IsLost,
];

/// Good and bad clients are half of each.
fn deed(stream: &mut Stream) -> Deed {
    match stream.below(2) {
        0 => Deed::Answers,
        _ => DEEDS[stream.below(DEEDS.len() as u32) as usize],
    }
}

/// A time within a round, in virtual milliseconds: seldom do two clients act at
/// the same, when chance decides who is first.
fn moment(stream: &mut Stream) -> Duration {
    Duration::from_millis(u64::from(stream.below(9_000)))
}

/// A client that asks for its tasks.
struct Remote {
    id: u32,
    token: String,
    router: Router,
    coordinator: Coordinator,
    stream: Stream,
    last: Option<u32>,
}

impl Remote {
    async fn ask(&mut self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", zfl_proto::http::MEDIA_TYPE_BINARY)
            .body(Body::from(body))
            .unwrap();
        let Ok(response) = self.router.call(request).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, body.to_vec())
    }

    async fn provision(&mut self) {
        for path in ["/id", "/training-data", "/training-labels"] {
            let path = format!("{path}?id={}", self.id);
            assert_eq!(self.ask("GET", &path, Vec::new()).await.0, StatusCode::OK);
        }
    }

    async fn send(&mut self, round: u32, parameters: &[f32]) -> StatusCode {
        let (header, payload) = message(self.id, round, parameters);
        let path = format!("/results?id={}", self.id);
        self.ask("POST", &path, [header, payload].concat()).await.0
    }

    /// Plays rounds until the run is over.
    async fn play(mut self) {
        // Some are not ready in time.
        let slowness = if self.stream.below(4) == 0 { 4 } else { 1 };
        let boot = moment(&mut self.stream) * slowness;
        sleep(boot).await;
        self.provision().await;
        loop {
            let path = format!("/start?id={}&wait=60", self.id);
            let (status, body) = self.ask("GET", &path, Vec::new()).await;
            if status != StatusCode::OK {
                assert_eq!(status, StatusCode::NO_CONTENT);
                continue;
            }
            let task: Value = serde_json::from_slice(&body).unwrap();
            let round = task["round"].as_u64().unwrap() as u32;
            let deed = deed(&mut self.stream);
            let pause = moment(&mut self.stream);
            sleep(pause).await;
            self.act(round, deed).await;
            self.last = Some(round);
            // It does not ask for the same task again and again.
            let pause = moment(&mut self.stream);
            sleep(pause).await;
        }
    }

    async fn act(&mut self, round: u32, deed: Deed) {
        let good = learnt(self.id, round);
        match deed {
            Deed::Answers => {
                self.send(round, &good).await;
            }
            Deed::AnswersTwice => {
                let first = self.send(round, &good).await;
                let second = self.send(round, &good).await;
                // The second never counts once the first has.
                assert!(first != StatusCode::OK || second == StatusCode::CONFLICT);
            }
            Deed::AnswersLate => {
                sleep(ROUND).await;
                self.send(round, &good).await;
            }
            Deed::AnswersNonsenseFirst => {
                let path = format!("/results?id={}", self.id);
                let nonsense = self.ask("POST", &path, b"ZFL1 and so on".to_vec()).await;
                assert_eq!(nonsense.0, StatusCode::BAD_REQUEST);
                assert_ne!(self.send(round, &[1.0]).await, StatusCode::OK);
                self.send(round, &good).await;
            }
            Deed::AnswersWhatIsNotFinite => {
                let bad = vec![f32::NAN; good.len()];
                assert_ne!(self.send(round, &bad).await, StatusCode::OK);
            }
            Deed::RepeatsTheLastRound => {
                if let Some(last) = self.last {
                    let old = learnt(self.id, last);
                    self.send(last, &old).await;
                }
                self.send(round, &good).await;
            }
            Deed::IsSilent => sleep(ROUND * 2).await,
            Deed::IsLostAndComesBack => {
                self.coordinator.client_lost(self.id, "fell over");
                let pause = moment(&mut self.stream);
                sleep(pause).await;
                self.provision().await;
            }
            Deed::IsLost => {
                self.coordinator.client_lost(self.id, "is gone");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Clients of this process, each a task.
struct Locals(Mutex<Stream>);

impl LocalClients for Locals {
    fn play(&self, round: Arc<LocalRound>) {
        for _ in 0..THREADS {
            let mut seeds = self.0.lock().unwrap();
            let mut stream = Stream::new(seeds.next_u32().into(), Purpose::Partition, 0);
            let round = Arc::clone(&round);
            tokio::spawn(async move {
                while let Some(call) = round.next_call() {
                    let deed = deed(&mut stream);
                    sleep(moment(&mut stream)).await;
                    answer(call, deed).await;
                }
            });
        }
    }
}

async fn answer(call: LocalCall, deed: Deed) {
    let header = zfl_proto::message::StartHeader::decode(call.header()).unwrap();
    let (client, round) = (call.client(), header.round.0);
    let (header, payload) = match deed {
        Deed::AnswersWhatIsNotFinite => message(client, round, &[f32::INFINITY; 6]),
        _ => message(client, round, &learnt(client, round)),
    };
    match deed {
        Deed::IsSilent => {
            // A thread looks now and then whether it is still waited for.
            while call.is_wanted() {
                sleep(Duration::from_secs(1)).await;
            }
        }
        Deed::IsLost => call.refuse("cannot".to_owned()),
        Deed::AnswersLate => {
            sleep(ROUND * 3).await;
            call.receive(&header, &payload).answer();
        }
        _ => call.receive(&header, &payload).answer(),
    }
}

fn options(seed: u64) -> Options {
    let mut stream = Stream::new(seed, Purpose::Partition, u32::MAX);
    let clients_per_round = stream.below(8) + 3;
    let over_selection = f64::from(stream.below(3)) * 0.3;
    let is_adaptive = stream.below(2) == 0;
    Options {
        plan: Plan {
            seed,
            task: Task {
                model: model(),
                hyperparameters: Hyperparameters::sgd(1, 1, 0.1),
                format: Format::F32,
            },
            initial: Initial::Drawn(Initialisation::Auto),
            rounds: 12,
            client_count: CLIENT_COUNT,
            clients_per_round,
            quorum: stream.below(clients_per_round) + 1,
            policy: Policy {
                over_selection,
                deadline: is_adaptive.then_some(AdaptiveDeadline {
                    quantile: 0.8,
                    factor: 1.5,
                }),
                staleness: Staleness {
                    rounds_max: stream.below(4),
                    exponent: 0.5,
                },
                rest: Rest {
                    rounds: stream.below(3),
                    rounds_max: 4,
                },
                failed_rounds_max: stream.below(5),
            },
            schedule: Schedule::Constant,
            target_accuracy: None,
            resume: None,
        },
        deadlines: Deadlines {
            ready: READY,
            round: ROUND,
        },
        parallel: None,
        threads: THREADS,
    }
}

/// Native clients take turns, and each turn has its time.
fn turns() -> u32 {
    (CLIENT_COUNT - REMOTE_COUNT).div_ceil(THREADS as u32)
}

/// What a run came to.
struct Told {
    events: Vec<Event>,
    ended: Result<Arc<Vec<f32>>, CoordinatorError>,
}

/// Plays a run; no longer than the sum of its deadlines.
async fn run(seed: u64) -> (Options, Told) {
    let options = options(seed);
    let test = TestSet {
        samples: vec![1, 0, 0, 1],
        targets: Targets::Labels(vec![0, 1]),
        target_unit: 1.0,
        value_scale: 1.0,
    };
    let numbers = Stream::new(seed, Purpose::Partition, u32::MAX - 1);
    let local = LocalPart {
        numbers: vec![
            REMOTE_COUNT..REMOTE_COUNT + 1,
            REMOTE_COUNT + 1..CLIENT_COUNT,
        ],
        clients: Box::new(Locals(Mutex::new(numbers))),
    };
    let (coordinator, mut receiver) =
        Coordinator::with_local(options.clone(), NoData, test, Some(local)).unwrap();
    let mut clients = JoinSet::new();
    for (id, token) in coordinator.tokens() {
        let remote = Remote {
            id,
            token: token.to_string(),
            router: crate::http::router(coordinator.shared()),
            coordinator: coordinator.clone(),
            stream: Stream::new(seed, Purpose::Partition, id),
            last: None,
        };
        clients.spawn(remote.play());
    }
    // A round waits for clients, and then for its updates.
    let longest = READY + options.plan.rounds * (ROUND + ROUND * turns());
    let ended = timeout(longest, coordinator.run()).await;
    let ended = ended.unwrap_or_else(|_| panic!("a stall of more than {longest:?}"));
    // Nobody has panicked, which would have looked like a client that is gone.
    while let Some(client) = clients.try_join_next() {
        client.unwrap();
    }
    drop(clients);
    let mut events = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        events.push(event);
    }
    (options, Told { events, ended })
}

/// The rounds of a run, as they must have been.
struct Checker<'a> {
    plan: &'a Plan,
    /// The model that each round trained from.
    globals: BTreeMap<u32, Arc<Vec<f32>>>,
    carry: Carry,
    open: Option<(u32, Vec<u32>)>,
    finished: BTreeMap<u32, Outcome>,
    used: BTreeSet<(u32, u32)>,
    last: u32,
    failed_in_a_row: u32,
}

impl Checker<'_> {
    fn started(&mut self, round: u32, clients: &[u32]) {
        assert!(self.open.is_none());
        assert_eq!(round, self.last + 1);
        let plan = self.plan;
        assert!(clients.is_sorted() && clients.len() >= plan.quorum as usize);
        // Whoever rests is there because there are no others.
        let rested = clients.iter().filter(|id| self.carry.rests_in(**id, round));
        assert!(rested.count() == 0 || clients.len() == plan.quorum as usize);
        self.open = Some((round, clients.to_vec()));
        self.finished.clear();
    }

    fn finished(&mut self, round: u32, client: u32, outcome: Outcome) {
        let (open, clients) = self.open.as_ref().unwrap();
        assert!(*open == round && clients.contains(&client));
        let before = self.finished.insert(client, outcome);
        assert_ne!(before, Some(Outcome::Ok), "nothing follows an update");
        assert!(before.is_none() || outcome == Outcome::Ok);
    }

    /// A round is over: what a completed and a failed one have in common.
    fn over(&mut self, record: &RoundRecord) {
        assert_eq!(record.round, self.last + 1);
        self.last = record.round;
        let selected = match self.open.take() {
            Some((round, selected)) => {
                assert_eq!(round, record.round);
                selected
            }
            // There were no clients for it.
            None => Vec::new(),
        };
        let recorded: Vec<u32> = record.clients.iter().map(|client| client.client).collect();
        assert_eq!(recorded, selected, "each has one outcome");
        let longest = ROUND * turns();
        assert!(record.host_seconds < longest.as_secs_f64() + 0.1);
        for client in &record.clients {
            assert_eq!(self.finished.get(&client.client), Some(&client.outcome));
        }
    }

    fn completed(&mut self, record: &RoundRecord, model: &[f32], carry: &Carry) {
        let round = record.round;
        self.over(record);
        let plan = self.plan;
        let ok = record.ok_count();
        assert!(ok >= plan.quorum as usize);
        if record.clients.len() > plan.clients_per_round as usize {
            assert!(ok <= plan.clients_per_round as usize);
        }
        let global = Arc::clone(&self.globals[&round]);
        let mut updates = Vec::new();
        for client in record.clients.iter().filter(|c| c.outcome == Outcome::Ok) {
            updates.push(Update {
                client: client.client,
                sample_count: client.client + 1,
                staleness_weight: 1.0,
                parameters: learnt(client.client, round),
            });
        }
        for late in &record.late {
            assert!(self.used.insert((late.client, late.round)), "used once");
            let staleness = round - late.round;
            assert!((1..=plan.policy.staleness.rounds_max).contains(&staleness));
            let weight = 1.0 / f64::from(1 + staleness).sqrt();
            assert!((late.weight - weight).abs() < 1e-15);
            assert!(updates.iter().all(|update| update.client != late.client));
            let base = &self.globals[&late.round];
            let change = learnt(late.client, late.round);
            let change = change.iter().zip(base.iter()).map(|(x, w)| x - w);
            updates.push(Update {
                client: late.client,
                sample_count: late.client + 1,
                staleness_weight: late.weight,
                parameters: global.iter().zip(change).map(|(w, d)| w + d).collect(),
            });
        }
        assert_eq!(fed_avg::aggregate(&mut updates).as_deref(), Some(model));
        assert_eq!(carry.failed_rounds, 0);
        self.failed_in_a_row = 0;
        self.carry = carry.clone();
        self.globals.insert(round + 1, Arc::new(model.to_vec()));
    }

    fn failed(&mut self, record: &RoundRecord, model: &[f32], carry: Option<&Carry>) {
        self.over(record);
        assert!(record.ok_count() < self.plan.quorum as usize);
        assert!(record.late.is_empty());
        assert_eq!(model, self.globals[&record.round].as_slice());
        self.failed_in_a_row += 1;
        let goes_on = self.failed_in_a_row <= self.plan.policy.failed_rounds_max;
        assert_eq!(carry.is_some(), goes_on);
        if let Some(carry) = carry {
            assert_eq!(carry.failed_rounds, self.failed_in_a_row);
            self.carry = carry.clone();
        }
        let global = Arc::clone(&self.globals[&record.round]);
        self.globals.insert(record.round + 1, global);
    }
}

/// What happened, to see that the campaign reaches it.
#[derive(Debug, Default)]
struct Seen {
    outcomes: BTreeSet<&'static str>,
    completed: u32,
    failed: u32,
    late: u32,
    back: u32,
    ended: u32,
}

fn check(options: &Options, told: &Told, seen: &mut Seen) {
    let plan = &options.plan;
    let mut initial = vec![0.0; model().parameter_count()];
    let mut stream = Stream::new(plan.seed, Purpose::InitialWeights, 0);
    model()
        .initialise(&mut initial, Initialisation::Auto, &mut stream)
        .unwrap();
    let mut checker = Checker {
        plan,
        globals: BTreeMap::from([(1, Arc::new(initial))]),
        carry: Carry::default(),
        open: None,
        finished: BTreeMap::new(),
        used: BTreeSet::new(),
        last: 0,
        failed_in_a_row: 0,
    };
    for event in &told.events {
        match event {
            Event::RoundStarted { round, clients } => checker.started(*round, clients),
            Event::ClientFinished {
                round,
                client,
                outcome,
                ..
            } => {
                seen.outcomes.insert(outcome.name());
                checker.finished(*round, *client, *outcome);
            }
            Event::RoundCompleted {
                record,
                parameters,
                carry,
            } => {
                seen.completed += 1;
                seen.late += record.late.len() as u32;
                checker.completed(record, parameters, carry);
            }
            Event::RoundFailed {
                record,
                parameters,
                carry,
                ..
            } => {
                seen.failed += 1;
                checker.failed(record, parameters, carry.as_ref());
            }
            Event::ClientBack { .. } => seen.back += 1,
            _ => {}
        }
    }
    match &told.ended {
        Ok(model) => {
            assert_eq!(checker.last, plan.rounds);
            assert_eq!(*model, checker.globals[&(plan.rounds + 1)]);
        }
        Err(error) => {
            seen.ended += 1;
            let is_at_once = matches!(error, CoordinatorError::TooFewClients { .. });
            assert!(is_at_once || checker.failed_in_a_row > plan.policy.failed_rounds_max);
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn no_run_stalls_whatever_its_clients_do() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let (options, told) = runtime().block_on(run(seed));
        check(&options, &told, &mut seen);
    }
    println!("{seen:?}");
    // A campaign in which something never happens shows nothing of it.
    assert_eq!(
        seen.outcomes.iter().copied().collect::<Vec<_>>(),
        [
            "crashed",
            "late",
            "ok",
            "rejected",
            "surplus",
            "unreachable"
        ]
    );
    let counts = [
        seen.completed,
        seen.failed,
        seen.late,
        seen.back,
        seen.ended,
    ];
    assert!(counts.iter().all(|count| *count >= 10), "{seen:?}");
}

/// The same seed gives the same run.
#[test]
fn a_seed_fails_again() {
    let names = || {
        let (_, told) = runtime().block_on(run(3));
        let name = |event: &Event| match event {
            Event::ClientFinished {
                round,
                client,
                outcome,
                ..
            } => Some(format!("{round} {client} {}", outcome.name())),
            Event::RoundCompleted { record, .. } => Some(record.model_sha256.clone()),
            _ => None,
        };
        told.events.iter().filter_map(name).collect::<Vec<_>>()
    };
    let once = names();
    assert!(once.len() > 10);
    assert_eq!(once, names());
}

/// Where nobody is left, a round waits as long as one may take, and no longer.
#[test]
fn a_round_waits_so_long_for_clients_to_come_back() {
    let mut options = options(1);
    options.plan.quorum = options.plan.clients_per_round;
    options.plan.policy.failed_rounds_max = 2;
    options.deadlines.ready = Duration::ZERO;
    let test = TestSet {
        samples: vec![1, 0],
        targets: Targets::Labels(vec![0]),
        target_unit: 1.0,
        value_scale: 1.0,
    };
    runtime().block_on(async {
        let (coordinator, _events) = Coordinator::new(options, NoData, test).unwrap();
        for client in 0..CLIENT_COUNT {
            coordinator.client_lost(client, "is gone");
        }
        let began = Instant::now();
        let error = coordinator.run().await.unwrap_err();
        assert!(matches!(
            error,
            CoordinatorError::TooManyFailed { failed: 3, .. }
        ));
        let waited = began.elapsed();
        let most = ROUND * 3 + Duration::from_millis(100);
        assert!((ROUND * 3..most).contains(&waited), "{waited:?}");
    });
}
