//! The coordinator's HTTP interface: whatever is asked of it, a request that is
//! refused changes nothing, and a round ends as it should.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use axum::http::{Request, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tower_service::Service;
use zfl_nn::{Activation, Format, Hyperparameters, Initialisation, Loss, Model, Task};
use zfl_proto::http::{MEDIA_TYPE_BINARY, MEDIA_TYPE_JSON};
use zfl_proto::message::{Checksum, Encoding, Metrics, PREFIX_BYTES, Prefix, UpdateHeader};
use zfl_proto::{ClientId, RoundIndex, Token};
use zfl_server::{
    Coordinator, CoordinatorError, Deadlines, Event, FleetAnswer, FleetRequest, Initial, Options,
    Plan, Policy, Schedule, Shares, Targets, TestSet,
};

use crate::input::Input;

const CLIENTS: u32 = 2;
const INPUTS: usize = 2;
const CLASSES: usize = 2;
const SAMPLES: u32 = 3;
/// Longer than all steps of an input wait, in the clock of the runtime.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// An answer is no longer: the largest is a message to a client.
const ANSWER_BYTES_MAX: usize = 1 << 16;

/// Its clock stands until all wait, and jumps to the next deadline then.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
});

/// The first byte says whether a round is open or devices are awaited, and each
/// step is a request.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let open = input.byte() & 1 == 0;
    RUNTIME.block_on(async {
        let mut bench = Bench::new();
        if open {
            bench.open().await;
            while !input.is_empty() {
                bench.step(&mut input).await;
            }
            bench.close().await;
        } else {
            // Nobody calls the devices, whose addresses may be anywhere.
            while !input.is_empty() {
                bench.step(&mut input).await;
            }
        }
    });
}

struct Toy;

impl Shares for Toy {
    fn input_count(&self) -> u32 {
        INPUTS as u32
    }
    fn class_count(&self) -> u32 {
        CLASSES as u32
    }
    fn value_scale(&self) -> f32 {
        0.5
    }
    fn sample_count(&self, _: u32) -> u32 {
        SAMPLES
    }
    fn samples(&self, _: u32) -> Vec<u8> {
        vec![1; SAMPLES as usize * INPUTS]
    }
    fn targets(&self, _: u32) -> Targets {
        Targets::Labels(vec![1; SAMPLES as usize])
    }
}

fn options() -> Options {
    let widths = [CLASSES];
    Options {
        plan: Plan {
            seed: 1,
            task: Task {
                model: Model::mlp(INPUTS, &widths, Activation::Identity, Loss::CrossEntropy)
                    .expect("a model"),
                hyperparameters: Hyperparameters::sgd(1, 2, 0.5),
                format: Format::F32,
            },
            initial: Initial::Drawn(Initialisation::Auto),
            rounds: 1,
            client_count: CLIENTS,
            clients_per_round: CLIENTS,
            quorum: CLIENTS,
            policy: Policy::default(),
            schedule: Schedule::Constant,
            target_accuracy: None,
            resume: None,
        },
        deadlines: Deadlines {
            ready: NEVER,
            round: NEVER,
        },
        parallel: None,
        threads: 1,
    }
}

type Run = tokio::task::JoinHandle<Result<Arc<Vec<f32>>, CoordinatorError>>;

struct Bench {
    coordinator: Coordinator,
    router: Router,
    events: UnboundedReceiver<Event>,
    tokens: Vec<Token>,
    run: Option<Run>,
    /// Clients whose update was accepted.
    accepted: [bool; CLIENTS as usize],
    /// Whether a client was told that its update cannot count, or is gone.
    failed: [bool; CLIENTS as usize],
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            run.abort();
        }
    }
}

/// Who asks, by the number of its token: clients, the fleet host, nobody.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Client(u32),
    Fleet,
    Nobody,
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Bench {
    fn new() -> Self {
        let test = TestSet {
            samples: vec![1; INPUTS],
            targets: Targets::Labels(vec![1]),
            target_unit: 1.0,
            value_scale: 0.5,
        };
        let (coordinator, events) = Coordinator::new(options(), Toy, test).expect("a coordinator");
        Self {
            router: coordinator.router(),
            tokens: coordinator
                .tokens()
                .into_iter()
                .map(|(_, token)| token)
                .collect(),
            coordinator,
            events,
            run: None,
            accepted: Default::default(),
            failed: Default::default(),
        }
    }

    /// Two clients get their data and round 1 begins.
    async fn open(&mut self) {
        for client in 0..CLIENTS {
            for path in ["/id", "/training-data", "/training-labels"] {
                let answer = self.get(client, path).await;
                assert_eq!(answer.status, StatusCode::OK);
            }
        }
        let coordinator = self.coordinator.clone();
        self.run = Some(tokio::spawn(async move { coordinator.run().await }));
        loop {
            match self.events.recv().await {
                Some(Event::RoundStarted { .. }) => return,
                Some(_) => {}
                None => panic!("no round began"),
            }
        }
    }

    async fn get(&mut self, client: u32, path: &str) -> Answer {
        let request = Request::get(format!("{path}?id={client}"))
            .header(AUTHORIZATION, self.authorization(Who::Client(client)))
            .body(Body::empty());
        self.ask(request.expect("a request")).await
    }

    fn authorization(&self, who: Who) -> String {
        match who {
            Who::Client(client) => format!("Bearer {}", self.tokens[client as usize]),
            Who::Fleet => format!("Bearer {}", self.coordinator.fleet_key()),
            Who::Nobody => format!("Bearer {}", Token::new([7; Token::BYTES])),
        }
    }

    async fn ask(&mut self, request: Request<Body>) -> Answer {
        let answer = match self.router.call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status();
        let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
        Answer {
            status,
            body: body.expect("an answer of a bounded length"),
        }
    }

    /// What anybody may know, and how many requests were refused.
    async fn status(&mut self) -> (serde_json::Value, u64) {
        let request = Request::get("/status").body(Body::empty());
        let answer = self.ask(request.expect("a request")).await;
        let mut status: serde_json::Value =
            serde_json::from_slice(&answer.body).expect("the status is JSON");
        let refused = status["refused"].take();
        let counts = refused.as_object().expect("counts by kind").values();
        (status, counts.filter_map(serde_json::Value::as_u64).sum())
    }

    /// Refusals that were told since the last time.
    fn told(&mut self) -> u64 {
        let mut count = 0;
        while let Ok(event) = self.events.try_recv() {
            count += u64::from(matches!(event, Event::Refused { .. }));
        }
        count
    }

    async fn step(&mut self, input: &mut Input<'_>) {
        let Some(asked) = self.request(input) else {
            return;
        };
        let Asked {
            request,
            who,
            path,
            body,
        } = asked;
        self.told();
        let (before, refused_before) = self.status().await;
        let answer = self.ask(request).await;
        let (after, refused) = self.status().await;
        let told = self.told();
        let status = answer.status;
        assert!(!status.is_server_error(), "{status}: {:?}", answer.body);
        if status.is_client_error() {
            let why: serde_json::Value =
                serde_json::from_slice(&answer.body).expect("a refusal is JSON");
            assert!(why["error"].as_str().is_some_and(|why| !why.is_empty()));
            // A client that shows its token is there, whatever else it says.
            if !matches!(who, Who::Client(_)) {
                assert_eq!(before, after, "a refused request changed something");
            }
        }
        let expected = u64::from(status.is_client_error());
        assert_eq!(
            (refused - refused_before, told),
            (expected, expected),
            "{status}"
        );
        match (path, who) {
            ("/results", Who::Client(client)) => self.result(client, status),
            ("/lost" | "/back", Who::Fleet) if status == StatusCode::NO_CONTENT => {
                // Which one, the query says.
                self.failed = [true; CLIENTS as usize];
            }
            // It begins anew, and has failed where it was in the midst of it.
            ("/id", Who::Client(client)) if status == StatusCode::OK => {
                self.failed[client as usize] = true;
            }
            ("/fleet", Who::Fleet) if status == StatusCode::OK => {
                let asked: FleetRequest = serde_json::from_slice(&body).expect("it was taken");
                let answer: FleetAnswer = serde_json::from_slice(&answer.body).expect("JSON");
                assert_eq!(asked.devices.len(), answer.clients.len());
                assert!(answer.clients.is_sorted_by(|a, b| a.id < b.id));
                assert!(self.run.is_none() || answer.clients.is_empty());
            }
            (_, Who::Nobody) => {
                assert!(
                    status.is_client_error() || path == "/status",
                    "{path}: {status}"
                );
            }
            _ => {}
        }
    }

    fn result(&mut self, client: u32, status: StatusCode) {
        let client = client as usize;
        match status {
            StatusCode::OK => {
                assert!(!self.accepted[client], "an update counted twice");
                self.accepted[client] = true;
            }
            StatusCode::UNPROCESSABLE_ENTITY => self.failed[client] = true,
            _ => assert!(status.is_client_error()),
        }
    }

    /// A request as the input says; `None` where there is no such request.
    fn request(&self, input: &mut Input<'_>) -> Option<Asked> {
        let (what, who, how) = (input.byte(), input.byte(), input.byte());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = match what & 7 {
            0 => "/id",
            1 => "/training-data",
            2 => "/training-labels",
            3 => "/start",
            4 => "/results",
            5 => "/fleet",
            6 if who & 0x80 == 0 => "/lost",
            6 => "/back",
            _ => &*text(input.block()),
        };
        let method = match what >> 3 & 3 {
            0 if (4..=6).contains(&(what & 7)) => "POST",
            0 | 1 => "GET",
            2 => "POST",
            _ => "PUT",
        };
        let (who, authorization) = match who & 7 {
            0 | 1 => (Who::Client(0), None),
            2 | 3 => (Who::Client(1), None),
            4 | 5 => (Who::Fleet, None),
            6 => (Who::Nobody, None),
            _ => (Who::Nobody, Some(input.block().to_vec())),
        };
        let authorization = authorization.unwrap_or_else(|| self.authorization(who).into());
        let query = match what >> 5 {
            0 | 1 => match who {
                Who::Client(client) => format!("?id={client}"),
                _ => "?id=0".to_owned(),
            },
            2 => "?id=1".to_owned(),
            3 => String::new(),
            4 => "?id=0&wait=60".to_owned(),
            _ => format!("?{}", text(input.block())),
        };
        let content_type = match how & 3 {
            0 => MEDIA_TYPE_BINARY.into(),
            1 => MEDIA_TYPE_JSON.into(),
            2 => Vec::new(),
            _ => input.block().to_vec(),
        };
        let accept = if how & 4 == 0 {
            MEDIA_TYPE_BINARY
        } else {
            "*/*"
        };
        let length = (how & 8 == 8).then(|| u64::from(input.word()) << (how >> 4));
        let mut body = input.block().to_vec();
        if let (Who::Client(client), 0) = (who, how & 0x40) {
            mend(&mut body, client);
        }
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}{query}"))
            .header(AUTHORIZATION, HeaderValue::from_bytes(&authorization).ok()?)
            .header(CONTENT_TYPE, HeaderValue::from_bytes(&content_type).ok()?)
            .header(ACCEPT, accept);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        let body = Bytes::from(body);
        let request = request.body(Body::from(body.clone())).ok()?;
        let path = match request.uri().path() {
            "/results" => "/results",
            "/fleet" => "/fleet",
            "/lost" => "/lost",
            "/back" => "/back",
            "/id" => "/id",
            "/status" => "/status",
            _ => "",
        };
        Some(Asked {
            request,
            who,
            path,
            body,
        })
    }

    /// Both clients do what is left for them to do, and the round ends.
    async fn close(&mut self) {
        for client in 0..CLIENTS {
            let (accepted, failed) = (self.accepted[client as usize], self.failed[client as usize]);
            let given = self.get(client, "/start").await.status;
            let update = update(client);
            let request = Request::post(format!("/results?id={client}"))
                .header(AUTHORIZATION, self.authorization(Who::Client(client)))
                .header(CONTENT_TYPE, MEDIA_TYPE_BINARY)
                .body(Body::from(update));
            let status = self.ask(request.expect("a request")).await.status;
            if accepted {
                assert_eq!(status, StatusCode::CONFLICT);
            } else if failed {
                // It still counts, unless the round is over.
                assert!(
                    matches!(status, StatusCode::OK | StatusCode::CONFLICT),
                    "{status}"
                );
                self.accepted[client as usize] = status == StatusCode::OK;
            } else {
                assert_eq!((given, status), (StatusCode::OK, StatusCode::OK));
                self.accepted[client as usize] = true;
            }
        }
        let run = self.run.take().expect("a run");
        let ended = tokio::time::timeout(NEVER / 2, run).await;
        match ended.expect("a round ends").expect("a run without a panic") {
            Ok(model) => {
                assert_eq!(self.accepted, [true; CLIENTS as usize]);
                assert!(model.iter().all(|value| value.is_finite()));
            }
            Err(CoordinatorError::Quorum { ok, .. }) => {
                assert!(ok < CLIENTS as usize && self.failed.contains(&true));
            }
            // The mean of what is finite need not be.
            Err(CoordinatorError::Diverged { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What is sent, and what of it the answer is held against.
struct Asked {
    request: Request<Body>,
    who: Who,
    path: &'static str,
    body: Bytes,
}

/// Makes an update one of the client's that is whole.
fn mend(body: &mut [u8], client: u32) {
    let Ok(prefix) = Prefix::decode(body) else {
        return;
    };
    let Some(payload) = body.get(prefix.header_bytes..) else {
        return;
    };
    let checksum = Checksum::of(payload).to_le_bytes();
    body[8..12].copy_from_slice(&client.to_le_bytes());
    body[PREFIX_BYTES - 4..PREFIX_BYTES].copy_from_slice(&checksum);
}

/// An update that counts; also a seed.
pub(crate) fn update(client: u32) -> Vec<u8> {
    let payload = vec![0; (INPUTS + 1) * CLASSES * size_of::<f32>()];
    let header = UpdateHeader {
        client: ClientId(client),
        round: RoundIndex(1),
        sample_count: SAMPLES,
        metrics: Metrics::default(),
        encoding: Encoding::F32,
        payload_bytes: payload.len() as u32,
        payload_crc32: Checksum::of(&payload),
    };
    [header.encode().as_slice(), &payload].concat()
}
