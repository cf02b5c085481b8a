//! Serves a coordinator, plays clients, waits for events.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request as HttpRequest, State as Context};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use zfl_client::{Client, Refusal, Request, State};
use zfl_nn::Progress;
use zfl_proto::Token;
use zfl_proto::http::{MEDIA_TYPE_BINARY, MEDIA_TYPE_JSON};
use zfl_proto::message::{Checksum, DeviceMetrics, Encoding, Kind, Metrics, UpdateHeader};
use zfl_proto::{ClientId, RoundIndex};
use zfl_server::{
    Coordinator, CoordinatorError, Event, LocalPart, Options, RoundRecord, Shares, TestSet,
};

use crate::problem::{self, Course, Patterns};

/// What a test waits for is there long before.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {} s", DEADLINE.as_secs()),
    }
}

/// A coordinator that is served on a loopback port.
pub(crate) struct Served {
    pub(crate) coordinator: Coordinator,
    pub(crate) address: SocketAddr,
    pub(crate) tokens: BTreeMap<u32, Token>,
    events: mpsc::UnboundedReceiver<Event>,
    pub(crate) history: Vec<Event>,
    pub(crate) clients: JoinSet<()>,
    run: Option<JoinHandle<Result<Arc<Vec<f32>>, CoordinatorError>>>,
}

impl Served {
    pub(crate) async fn new(options: Options) -> Self {
        let shares = Patterns::of_clients(options.plan.client_count);
        Self::of(options, shares, problem::test_set()).await
    }

    pub(crate) async fn of(options: Options, shares: impl Shares, test: TestSet) -> Self {
        Self::with_local(options, shares, test, None).await
    }

    /// Some clients are played in this process.
    pub(crate) async fn with_local(
        options: Options,
        shares: impl Shares,
        test: TestSet,
        local: Option<LocalPart>,
    ) -> Self {
        let (coordinator, events) = Coordinator::with_local(options, shares, test, local).unwrap();
        let listener = Coordinator::listen(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = JoinSet::new();
        clients.spawn(coordinator.serve(listener));
        Self {
            tokens: coordinator.tokens().into_iter().collect(),
            coordinator,
            address,
            events,
            history: Vec::new(),
            clients,
            run: None,
        }
    }

    /// Begins the rounds.
    pub(crate) fn run(&mut self) {
        let coordinator = self.coordinator.clone();
        self.run = Some(tokio::spawn(async move { coordinator.run().await }));
    }

    /// How the rounds ended; the events up to there are in the history.
    pub(crate) async fn end(&mut self) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        let run = self.run.take().unwrap();
        let ended = soon("the end of the run", run).await.unwrap();
        while let Ok(event) = self.events.try_recv() {
            self.history.push(event);
        }
        ended
    }

    /// Waits for an event.
    pub(crate) async fn event<T>(
        &mut self,
        what: &str,
        mut test: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        loop {
            let event = soon(what, self.events.recv()).await.unwrap();
            let found = test(&event);
            self.history.push(event);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Waits until a round is open; its clients.
    pub(crate) async fn round_started(&mut self) -> (u32, Vec<u32>) {
        self.event("the start of a round", |event| match event {
            Event::RoundStarted { round, clients } => Some((*round, clients.clone())),
            _ => None,
        })
        .await
    }

    /// Waits until a client's part in the round is decided: outcome, detail.
    pub(crate) async fn finished(&mut self, wanted: u32) -> (&'static str, String) {
        self.event("the client's outcome", |event| match event {
            Event::ClientFinished {
                client,
                outcome,
                detail,
                ..
            } if *client == wanted => Some((outcome.name(), detail.clone())),
            _ => None,
        })
        .await
    }

    /// How a client's part in the round was decided, if it is by now.
    pub(crate) fn finished_by_now(&mut self, wanted: u32) -> Option<(&'static str, String)> {
        let mut found = None;
        while let Ok(event) = self.events.try_recv() {
            if let Event::ClientFinished {
                client,
                outcome,
                detail,
                ..
            } = &event
                && *client == wanted
            {
                found = Some((outcome.name(), detail.clone()));
            }
            self.history.push(event);
        }
        found
    }

    pub(crate) fn records(&self) -> Vec<RoundRecord> {
        self.history
            .iter()
            .filter_map(|event| match event {
                Event::RoundCompleted { record, .. } => Some(record.clone()),
                _ => None,
            })
            .collect()
    }

    /// What the run came to.
    pub(crate) fn course(&self) -> Course {
        let mut course = Course {
            accuracies: Vec::new(),
            hashes: Vec::new(),
        };
        for event in &self.history {
            match event {
                Event::Initial {
                    quality,
                    model_sha256,
                } => course.add(quality.accuracy.unwrap(), model_sha256.clone()),
                Event::RoundCompleted { record, .. } => {
                    course.add(
                        record.quality.accuracy.unwrap(),
                        record.model_sha256.clone(),
                    );
                }
                _ => {}
            }
        }
        course
    }

    /// Of round `round`, each selected client's outcome and detail.
    pub(crate) fn outcomes(&self, round: usize) -> Vec<(u32, &'static str, String)> {
        self.records()[round - 1]
            .clients
            .iter()
            .map(|client| (client.client, client.outcome.name(), client.detail.clone()))
            .collect()
    }

    pub(crate) fn link(&self, client: u32) -> Link {
        Link {
            base: format!("http://{}", self.address),
            token: self.tokens[&client].to_string(),
            id: client,
            http: http_client(),
        }
    }

    /// Plays a client in pull mode until the test is over.
    pub(crate) fn pull(&mut self, client: u32) {
        let link = self.link(client);
        self.clients.spawn(pull(link, None));
    }

    /// As [`Served::pull`], in this place in the order of every round.
    pub(crate) fn pull_in_turn(&mut self, client: u32, turn: Turn) {
        let link = self.link(client);
        self.clients.spawn(pull(link, Some(turn)));
    }

    /// Brings devices as a fleet host does; their numbers.
    pub(crate) async fn claim(&self, endpoints: &[SocketAddr]) -> Vec<u32> {
        let devices: Vec<Value> = endpoints
            .iter()
            .map(|endpoint| json!({"board": "by-hand", "endpoint": endpoint.to_string()}))
            .collect();
        let answer = self
            .fleet_post("/fleet", json!({ "devices": devices }).to_string())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let clients = answer.json()["clients"].clone();
        for client in clients.as_array().unwrap() {
            let id = client["id"].as_u64().unwrap() as u32;
            assert_eq!(client["token"], self.tokens[&id].to_string());
        }
        clients
            .as_array()
            .unwrap()
            .iter()
            .map(|client| client["id"].as_u64().unwrap() as u32)
            .collect()
    }

    pub(crate) async fn fleet_post(&self, path: &str, body: String) -> Answer {
        let request = http_client()
            .post(format!("http://{}{path}", self.address))
            .header(
                AUTHORIZATION,
                format!("Bearer {}", self.coordinator.fleet_key()),
            )
            .body(body);
        Answer::of(request).await
    }

    /// A device that is called, and its number.
    pub(crate) async fn device(&mut self, change: impl FnOnce(&mut Device)) -> u32 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ids = self.claim(&[listener.local_addr().unwrap()]).await;
        let mut device = Device::new(self.link(ids[0]));
        change(&mut device);
        let router = device.router();
        self.clients
            .spawn(async move { axum::serve(listener, router).await.unwrap() });
        device.provision().await;
        ids[0]
    }
}

pub(crate) fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    async fn try_of(request: reqwest::RequestBuilder) -> Option<Self> {
        let response = soon("an answer", request.send()).await.ok()?;
        let media_type = response.headers().get(CONTENT_TYPE);
        Some(Self {
            status: response.status().as_u16(),
            media_type: media_type.map_or("", |v| v.to_str().unwrap()).to_owned(),
            body: soon("a body", response.bytes()).await.ok()?,
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A client's way to the coordinator.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) base: String,
    pub(crate) token: String,
    pub(crate) id: u32,
    pub(crate) http: reqwest::Client,
}

impl Link {
    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http
            .get(format!("{}{path}", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
    }

    pub(crate) fn post(&self, path: &str, media_type: &str) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}{path}", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, media_type)
    }

    fn binary(&self, path: &str) -> reqwest::RequestBuilder {
        self.get(path).header(ACCEPT, MEDIA_TYPE_BINARY)
    }

    /// `GET /start`, waiting for a round; the task as JSON.
    pub(crate) async fn task(&self) -> Value {
        let answer = Answer::of(self.get(&format!("/start?id={}&wait=60", self.id))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Says that the client has its data, without taking a task.
    pub(crate) async fn provision(&self) {
        let answer = Answer::of(self.get(&format!("/training-labels?id={}", self.id))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) async fn post_json(&self, body: &Value) -> Answer {
        self.post_text(&body.to_string()).await
    }

    pub(crate) async fn post_text(&self, body: &str) -> Answer {
        let path = format!("/results?id={}", self.id);
        Answer::of(self.post(&path, MEDIA_TYPE_JSON).body(body.to_owned())).await
    }

    pub(crate) async fn post_binary(&self, body: Vec<u8>) -> Answer {
        let path = format!("/results?id={}", self.id);
        Answer::of(self.post(&path, MEDIA_TYPE_BINARY).body(body)).await
    }
}

/// An update in binary form.
pub(crate) fn update(
    client: u32,
    round: u32,
    parameters: &[f32],
    change: impl FnOnce(&mut UpdateHeader),
) -> Vec<u8> {
    let payload: Vec<u8> = parameters.iter().flat_map(|p| p.to_le_bytes()).collect();
    let mut header = UpdateHeader {
        client: ClientId(client),
        round: RoundIndex(round),
        sample_count: problem::share_size(client),
        metrics: Metrics::default(),
        encoding: Encoding::F32,
        payload_bytes: u32::try_from(payload.len()).unwrap(),
        payload_crc32: Checksum::of(&payload),
    };
    change(&mut header);
    [header.encode().as_slice(), &payload].concat()
}

/// A client's place in the order in which updates are sent.
#[derive(Clone)]
pub(crate) struct Turn {
    sent: Arc<watch::Sender<usize>>,
    place: usize,
    client_count: usize,
}

impl Turn {
    /// For each client its place.
    pub(crate) fn of_order(order: &[u32]) -> Vec<(u32, Self)> {
        let sent = Arc::new(watch::Sender::new(0));
        order
            .iter()
            .enumerate()
            .map(|(place, client)| {
                let turn = Self {
                    sent: Arc::clone(&sent),
                    place,
                    client_count: order.len(),
                };
                (*client, turn)
            })
            .collect()
    }

    async fn wait(&self) {
        let mut sent = self.sent.subscribe();
        let mine = sent.wait_for(|sent| sent % self.client_count == self.place);
        drop(soon("the client's turn", mine).await.unwrap());
    }

    fn pass(&self) {
        self.sent.send_modify(|sent| *sent += 1);
    }
}

/// Gives a client a message.
fn feed(client: &mut Client<'_>, kind: Kind, bytes: &[u8]) -> Result<(), Refusal> {
    client.receive(kind)?;
    client.receive_bytes(bytes)?;
    client.receive_end()
}

/// What a client asks for while it has no data; `None` when it has.
fn provisioning(request: Request) -> Option<(String, Kind)> {
    match request {
        Request::Id => Some(("/id".to_owned(), Kind::Assignment)),
        Request::TrainingData(id) => Some((format!("/training-data?id={id}"), Kind::Samples)),
        Request::TrainingLabels(id) => Some((format!("/training-labels?id={id}"), Kind::Labels)),
        Request::Results(_) => None,
    }
}

fn whole_update(client: &Client<'_>) -> Vec<u8> {
    let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
    [header.as_slice(), payload].concat()
}

/// The real client, asking for its tasks.
async fn pull(link: Link, turn: Option<Turn>) {
    let mut arena = vec![0u64; 4096];
    let mut client = Client::new(&mut arena);
    loop {
        let Some(request) = client.next_request() else {
            if client.state() == State::Training {
                while client.train(50).unwrap() == Progress::Working {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            let path = format!("/start?id={}&wait=60", link.id);
            // The test may be over.
            let Some(answer) = Answer::try_of(link.binary(&path)).await else {
                return;
            };
            match answer.status {
                200 => feed(&mut client, Kind::Start, &answer.body).unwrap(),
                status => assert_eq!(status, 204, "{}", answer.text()),
            }
            continue;
        };
        match provisioning(request) {
            Some((path, kind)) => {
                let answer = Answer::of(link.binary(&path)).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.media_type, MEDIA_TYPE_BINARY);
                feed(&mut client, kind, &answer.body).unwrap();
            }
            None => {
                if let Some(turn) = &turn {
                    turn.wait().await;
                }
                let answer = link.post_binary(whole_update(&client)).await;
                // A model that has diverged is refused, as it should be.
                let is_taken = matches!(answer.status, 200 | 422);
                assert!(is_taken, "{}", answer.text());
                client.reported();
                if let Some(turn) = &turn {
                    turn.pass();
                }
            }
        }
    }
}

/// The real client behind a little HTTP server, waiting to be called.
#[derive(Clone)]
pub(crate) struct Device {
    link: Link,
    client: Arc<Mutex<Client<'static>>>,
    /// So often `/start` answers 409 before it is looked at.
    pub(crate) busy_count: Arc<Mutex<u32>>,
    /// Its part in rounds, beside that of others.
    pub(crate) together: Arc<Together>,
}

/// How many devices have their part in a round at a time.
#[derive(Default)]
pub(crate) struct Together {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Together {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Device {
    fn new(link: Link) -> Self {
        Self {
            link,
            client: Arc::new(Mutex::new(client_of(4096))),
            busy_count: Arc::new(Mutex::new(0)),
            together: Arc::default(),
        }
    }

    /// Gives the device less memory.
    pub(crate) fn shrink(&mut self, arena_bytes: usize) {
        self.client = Arc::new(Mutex::new(client_of(arena_bytes / 8)));
    }

    fn router(&self) -> axum::Router {
        axum::Router::new()
            .route("/ready", get(ready))
            .route("/start", post(start))
            .with_state(self.clone())
    }

    async fn provision(&self) {
        loop {
            let request = self.client.lock().unwrap().next_request();
            let Some((path, kind)) = request.and_then(provisioning) else {
                return;
            };
            let answer = Answer::of(self.link.binary(&path)).await;
            feed(&mut self.client.lock().unwrap(), kind, &answer.body).unwrap();
        }
    }

    async fn train(self) {
        loop {
            let progress = self.client.lock().unwrap().train(50).unwrap();
            if progress == Progress::Done {
                break;
            }
            tokio::task::yield_now().await;
        }
        let update = whole_update(&self.client.lock().unwrap());
        // Before the coordinator can know, and call the next.
        self.together.end();
        let answer = self.link.post_binary(update).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.client.lock().unwrap().reported();
    }
}

/// A client that lives as long as the test.
fn client_of(arena_words: usize) -> Client<'static> {
    Client::new(Box::leak(vec![0u64; arena_words].into_boxed_slice()))
}

async fn ready(Context(device): Context<Device>) -> (StatusCode, String) {
    let client = device.client.lock().unwrap();
    let state = client.state();
    let status = match state {
        State::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let round = client.round().0;
    (
        status,
        json!({"state": state.name(), "round": round}).to_string(),
    )
}

async fn start(
    Context(device): Context<Device>,
    headers: HeaderMap,
    request: HttpRequest,
) -> (StatusCode, String) {
    let token = Token::from_authorization(headers[AUTHORIZATION].as_bytes()).unwrap();
    if token.to_string() != device.link.token {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    if let Ok(mut count) = device.busy_count.lock()
        && *count > 0
    {
        *count -= 1;
        return (StatusCode::CONFLICT, "busy with a round".to_owned());
    }
    if let Err(refusal) = feed(&mut device.client.lock().unwrap(), Kind::Start, &body) {
        let status = match refusal {
            Refusal::Busy | Refusal::NotReady => StatusCode::CONFLICT,
            Refusal::DoesNotFit { .. } => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::BAD_REQUEST,
        };
        return (status, refusal.to_string());
    }
    device.together.begin();
    tokio::spawn(device.clone().train());
    (StatusCode::ACCEPTED, String::new())
}

/// Sends bytes as they are and reads the answer to its end.
pub(crate) async fn raw(address: SocketAddr, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for part in parts {
        // The other side may have answered and closed already.
        if stream.write_all(part).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = soon("a raw answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
