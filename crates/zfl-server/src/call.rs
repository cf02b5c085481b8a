//! Calls from the coordinator to a client: `GET /ready`, `POST /start`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::time::Instant;
use zfl_proto::http::{MEDIA_TYPE_BINARY, PATH_READY, PATH_START};

use crate::coordinator::{FAR, Shared};
use crate::registry::State;
use crate::{Event, Outcome};

/// A call that takes longer than this is tried again.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// First pause before a call is tried again; it doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(500);
/// A client that refuses its start message so often, for a reason that may
/// pass, is not asked again.
const REFUSALS_MAX: u32 = 3;
/// A call may take this much longer for each KiB of its body: the slowest links
/// carry as much.
const CALL_DEADLINE_PER_KIB: Duration = Duration::from_secs(1);
/// A client that begins anew more often than this, and is never lost, is not
/// told of any more: it can do so as often as it likes.
const RESTARTS_TOLD_MAX: u32 = 100;
/// Of a client's refusal, as many bytes are read and told.
const REFUSAL_BYTES_MAX: usize = 300;

const BEGAN_ANEW: &str = "has begun anew and does not have its data yet";

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
    /// Why not. Where that is not final, the message may have been damaged on
    /// its way, or the client may be in a passing trouble.
    Refused {
        detail: String,
        is_final: bool,
    },
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

    /// Ends a client's part, unless it is decided: as this, or else as its time
    /// is up.
    pub(crate) fn give_up(&self, round: u32, id: u32, instead: Option<(Outcome, &str)>) {
        let (trouble, part) = {
            let mut state = self.shared.state();
            let Some(open) = state.open(round) else {
                return;
            };
            let part = open.part.as_secs_f64();
            match open.slots.get_mut(&id) {
                Some(slot) if slot.decision.is_none() => (slot.trouble.take(), part),
                _ => return,
            }
        };
        let (outcome, detail) = match (instead, trouble) {
            (Some((Outcome::Surplus, detail)), _) => (Outcome::Surplus, detail.to_owned()),
            (_, Some(trouble)) => (Outcome::Unreachable, trouble),
            (Some((outcome, detail)), None) => (outcome, detail.to_owned()),
            (None, None) => (Outcome::Late, format!("no update within {part} s")),
        };
        self.shared.fail(round, id, outcome, detail);
    }

    /// Starts a client's round, or says in its slot why not. Tries until it
    /// is dropped.
    pub(crate) async fn start(&self, round: u32, id: u32) {
        let (endpoint, token, provisioned, began_anew, lost) = {
            let state = self.shared.state();
            let Some(client) = state.client(id) else {
                return;
            };
            (
                client.endpoint.clone(),
                client.token,
                client.provisioned,
                client.began_anew,
                client.lost.clone(),
            )
        };
        if let Some(reason) = lost {
            return self.shared.fail(round, id, Outcome::Crashed, reason);
        }
        if began_anew && endpoint.is_some() {
            self.note(round, id, Some(BEGAN_ANEW.to_owned()));
            let has_its_data = |state: &mut State| state.client(id)?.provisioned.then_some(());
            // The deadline of its part ends this.
            self.shared
                .wait_for(Instant::now() + FAR, has_its_data)
                .await;
            self.note(round, id, None);
        } else if !provisioned && !began_anew {
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
        let mut refusals = 0;
        loop {
            let answer = match self.ready(&endpoint, round).await {
                Answer::Taken => {
                    self.mark_started(round, id, payload_bytes);
                    self.post(&endpoint, &token.to_string(), body.clone()).await
                }
                later => later,
            };
            match answer {
                Answer::Taken => return self.note(round, id, None),
                Answer::Refused {
                    detail,
                    is_final: true,
                } => return self.shared.fail(round, id, Outcome::Rejected, detail),
                Answer::Refused { detail, .. } => {
                    refusals += 1;
                    if refusals >= REFUSALS_MAX {
                        return self.shared.fail(round, id, Outcome::Rejected, detail);
                    }
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
            slot.started = Some(Instant::now());
            slot.bytes_down = u64::try_from(bytes).unwrap_or(u64::MAX);
        }
    }

    fn note(&self, round: u32, id: u32, trouble: Option<String>) {
        if let Some(slot) = self.shared.state().slot_mut(round, id) {
            slot.trouble = trouble;
        }
    }

    async fn ready(&self, endpoint: &str, round: u32) -> Answer {
        let url = format!("http://{endpoint}{PATH_READY}?round={round}");
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
            .timeout(call_deadline(body.len()))
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
                Answer::Refused {
                    detail: format!("/start answered {status}: {text}"),
                    is_final: !matches!(status, 400 | 408 | 429 | 500 | 502 | 504),
                }
            }
        }
    }
}

/// How long a call with a body of so many bytes may take.
fn call_deadline(bytes: usize) -> Duration {
    let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
    CALL_DEADLINE + CALL_DEADLINE_PER_KIB.saturating_mul(kib)
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
        client.began_anew = false;
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

/// A client has nothing any more, or has yet to say what: it asks who it is, or
/// its fleet host has started it again. A client that was lost takes part again
/// once it has its data.
pub(crate) fn begin_anew(shared: &Shared, id: u32) {
    let was_started_in = shared.state().begin_anew(id);
    if let Some(round) = was_started_in {
        // Its training is gone. To start it again would be to wait for a
        // device that has just failed.
        let detail = "began anew after it was started".to_owned();
        shared.fail(round, id, Outcome::Crashed, detail);
    }
    shared.changed();
}

/// A client has its data.
pub(crate) fn provisioned(shared: &Shared, id: u32) {
    let event = {
        let mut state = shared.state();
        let Some(client) = state.client_mut(id) else {
            return;
        };
        // Not by a request that was on its way when it was lost.
        if client.lost.is_some() && !client.began_anew {
            return;
        }
        if std::mem::replace(&mut client.provisioned, true) {
            return;
        }
        let was_lost = client.lost.take().is_some();
        client.restarts += u32::from(!was_lost && client.began_anew);
        match std::mem::take(&mut client.began_anew) {
            true if !was_lost && client.restarts > RESTARTS_TOLD_MAX => None,
            true => Some(Event::ClientBack { client: id }),
            false => Some(Event::ClientProvisioned { client: id }),
        }
    };
    event.into_iter().for_each(|event| shared.tell(event));
    shared.changed();
}
