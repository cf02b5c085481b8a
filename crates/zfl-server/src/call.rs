//! Calls from the coordinator to a client: `GET /ready`, `POST /start`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::time::Instant;
use zfl_proto::http::{MEDIA_TYPE_BINARY, PATH_READY, PATH_START};

use crate::coordinator::Shared;
use crate::registry::State;
use crate::{Event, Outcome};

/// A call that takes longer than this is tried again.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// First pause before a call is tried again; it doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(500);
/// Of a client's refusal, as many bytes are read and told.
const REFUSAL_BYTES_MAX: usize = 300;

/// Calls clients.
#[derive(Clone)]
pub(crate) struct Caller {
    shared: Arc<Shared>,
    http: reqwest::Client,
}

/// What became of a call.
enum Answer {
    Taken,
    /// Try again; why it was not taken.
    Later(String),
    /// Never; why.
    Refused(String),
}

impl Caller {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            // A device must not be able to send the coordinator elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            // Devices close the connection after each exchange.
            .pool_max_idle_per_host(0)
            .timeout(CALL_DEADLINE)
            .build()?;
        Ok(Self { shared, http })
    }

    /// Plays a client's part in a round: starts it and waits until it is
    /// decided, at `deadline` by failing it.
    pub(crate) async fn play(&self, round: u32, id: u32, deadline: Instant) {
        let start = async {
            self.start(round, id).await;
            // Its update, a loss or the deadline ends its part.
            std::future::pending::<()>().await;
        };
        let decided = |state: &mut State| is_decided(state, round, id);
        tokio::select! {
            () = start => {}
            // A call that gets no answer must not hold up the next client.
            _ = self.shared.wait_for(deadline, decided) => {}
        }
        self.give_up(round, id, None);
    }

    /// Ends a client's part, unless it is decided: for this reason, or else as
    /// its time is up.
    pub(crate) fn give_up(&self, round: u32, id: u32, reason: Option<&str>) {
        let trouble = match self.shared.state().slot_mut(round, id) {
            Some(slot) if slot.decision.is_none() => slot.trouble.take(),
            _ => return,
        };
        let (outcome, detail) = match (trouble, reason) {
            (Some(trouble), _) => (Outcome::Unreachable, trouble),
            (None, Some(reason)) => (Outcome::Late, reason.to_owned()),
            (None, None) => {
                let part = self.shared.options.deadlines.round.as_secs_f64();
                (Outcome::Late, format!("no update within {part} s"))
            }
        };
        self.shared.fail(round, id, outcome, detail);
    }

    /// Starts a client's round, or says in its slot why not. Tries until it
    /// is dropped.
    pub(crate) async fn start(&self, round: u32, id: u32) {
        let (endpoint, token, provisioned, lost) = {
            let state = self.shared.state();
            let Some(client) = state.client(id) else {
                return;
            };
            (
                client.endpoint.clone(),
                client.token,
                client.provisioned,
                client.lost.clone(),
            )
        };
        if let Some(reason) = lost {
            return self.shared.fail(round, id, Outcome::Crashed, reason);
        }
        if !provisioned {
            let detail = format!(
                "did not fetch its training data within {} s",
                self.shared.options.deadlines.ready.as_secs_f64()
            );
            return self.shared.fail(round, id, Outcome::Unreachable, detail);
        }
        // A client without an endpoint asks for its task.
        let Some(endpoint) = endpoint else { return };
        let Some((body, payload_bytes)) = self.message(round, id) else {
            return;
        };
        let mut pause = PAUSE_FIRST;
        loop {
            let answer = match self.ready(&endpoint).await {
                Answer::Taken => {
                    self.mark_started(round, id, payload_bytes);
                    self.post(&endpoint, &token.to_string(), body.clone()).await
                }
                later => later,
            };
            match answer {
                Answer::Taken => return self.note(round, id, None),
                Answer::Refused(detail) => {
                    return self.shared.fail(round, id, Outcome::Rejected, detail);
                }
                // The deadline ends this; it then tells the last trouble.
                Answer::Later(detail) => self.note(round, id, Some(detail)),
            }
            if self.settled(round, id, pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// Waits for a pause; true when the client's part was decided meanwhile.
    async fn settled(&self, round: u32, id: u32, pause: Duration) -> bool {
        let decided = |state: &mut State| is_decided(state, round, id);
        self.shared
            .wait_for(Instant::now() + pause, decided)
            .await
            .is_some()
    }

    /// The start message as one body.
    fn message(&self, round: u32, id: u32) -> Option<(Vec<u8>, usize)> {
        let state = self.shared.state();
        let open = state.round.as_ref().filter(|open| open.index == round)?;
        let payload = open.payload.for_client(state.hold_frozen.contains(&id));
        let header = self.shared.start_header(open, id, payload);
        let body = [header.as_slice(), payload.0].concat();
        let length = body.len();
        Some((body, length))
    }

    fn mark_started(&self, round: u32, id: u32, bytes: usize) {
        if let Some(slot) = self.shared.state().slot_mut(round, id) {
            slot.started = Some(std::time::Instant::now());
            slot.bytes_down = u64::try_from(bytes).unwrap_or(u64::MAX);
        }
    }

    fn note(&self, round: u32, id: u32, trouble: Option<String>) {
        if let Some(slot) = self.shared.state().slot_mut(round, id) {
            slot.trouble = trouble;
        }
    }

    async fn ready(&self, endpoint: &str) -> Answer {
        let url = format!("http://{endpoint}{PATH_READY}");
        match self.http.get(url).send().await {
            Ok(response) if response.status().is_success() => Answer::Taken,
            Ok(response) => Answer::Later(format!("/ready answered {}", response.status())),
            Err(error) => Answer::Later(format!("/ready: {}", root_cause(&error))),
        }
    }

    async fn post(&self, endpoint: &str, token: &str, body: Vec<u8>) -> Answer {
        let url = format!("http://{endpoint}{PATH_START}");
        let sent = self
            .http
            .post(url)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, MEDIA_TYPE_BINARY)
            .body(body)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Answer::Later(format!("/start: {}", root_cause(&error))),
        };
        match response.status().as_u16() {
            200..=299 => Answer::Taken,
            status @ (409 | 503) => Answer::Later(format!("/start answered {status}")),
            status => {
                let text = refusal_text(response).await;
                Answer::Refused(format!("/start answered {status}: {text}"))
            }
        }
    }
}

/// Whether nothing more is to come of a client's part in a round.
fn is_decided(state: &mut State, round: u32, id: u32) -> Option<()> {
    match state.slot_mut(round, id) {
        Some(slot) => slot.decision.is_some().then_some(()),
        None => Some(()),
    }
}

/// What a client says of its refusal: bounded, one line, printable.
async fn refusal_text(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= REFUSAL_BYTES_MAX {
            bytes.truncate(REFUSAL_BYTES_MAX);
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The innermost cause: `error sending request` says nothing.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Tells that a client is gone, in its slot of the open round as well.
pub(crate) fn lose(shared: &Shared, id: u32, reason: &str) {
    let round = {
        let mut state = shared.state();
        let Some(client) = state.client_mut(id) else {
            return;
        };
        if client.lost.is_some() {
            return;
        }
        client.lost = Some(reason.to_owned());
        state.last_round
    };
    shared.tell(Event::ClientLost {
        client: id,
        reason: reason.to_owned(),
    });
    shared.fail(round, id, Outcome::Crashed, reason.to_owned());
    shared.changed();
}
