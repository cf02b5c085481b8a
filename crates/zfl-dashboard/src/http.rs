//! What is asked for, and what is answered.
//!
//! Everything is read; nothing changes by a request. A page of another site can neither
//! read the answers (the same origin's alone, and the `Host` must be an address or
//! `localhost`, which no other site's name is) nor bring scripts of its own into the
//! page (`Content-Security-Policy`).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use tower_service::Service;

use crate::Shared;
use crate::assets::{ASSETS, Asset};
use crate::details;
use crate::follow::{Cursor, Follower, Run};
use crate::runs::{self, Listed, Settings};
use crate::sweeps;

/// A viewer is told so often, at most.
const TICK: Duration = Duration::from_millis(250);
/// And so often where nobody plays the run.
const TICK_AT_REST: Duration = Duration::from_secs(1);
/// A viewer of whom nothing is heard gets a sign of life so often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// A viewer must take in what it is sent within this time.
const UNREAD_DEADLINE: Duration = Duration::from_secs(30);
/// Messages that may wait for a viewer.
const MESSAGES_MAX: usize = 4;

/// Nothing but what comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Answers a request.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Body>) -> Response {
    let mut response = match refusal(&request) {
        Some(refusal) => refusal.into_response(),
        None => match router(shared.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is refused, if it is.
fn refusal(request: &Request<Body>) -> Option<(StatusCode, String)> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let method = request.method();
        return Some((
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} is not possible: the dashboard only shows\n"),
        ));
    }
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_address(host) {
        return Some((
            StatusCode::FORBIDDEN,
            format!(
                "`{host}` is no address: ask for the dashboard by an IP address or localhost\n"
            ),
        ));
    }
    None
}

/// Whether a `Host` is an IP address or `localhost`. The names of other sites, which
/// may be made to lead here, are not.
fn is_address(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port.strip_prefix(':').or(Some(""))),
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_port = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    is_port && (name == "localhost" || name.parse::<IpAddr>().is_ok())
}

fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/api/runs", get(list))
        .route("/api/sweep", get(sweep))
        .route("/api/run", get(run))
        .route("/api/rounds", get(rounds))
        .route("/api/round", get(round))
        .route("/api/client", get(client))
        .route("/api/console", get(console))
        .route("/api/stream", get(stream));
    for asset in &ASSETS {
        router = router.route(asset.path, get(move || async move { asset_answer(asset) }));
    }
    router.with_state(shared)
}

fn asset_answer(asset: &'static Asset) -> Response {
    let content_type = HeaderValue::from_static(asset.content_type);
    ([(header::CONTENT_TYPE, content_type)], asset.bytes).into_response()
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let content_type = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    let text = format!("{error}\n");
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

fn not_found(what: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("there is no {what}\n")).into_response()
}

/// Reads files on a thread that may wait for them.
async fn blocking(read: impl FnOnce() -> Response + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(read).await {
        Ok(response) => response,
        Err(error) => failed(&error),
    }
}

/// Which run, and what of it.
#[derive(Deserialize)]
struct Asked {
    run: String,
    #[serde(default)]
    round: u32,
    #[serde(default)]
    client: u32,
    #[serde(default)]
    log: String,
    #[serde(default)]
    from: u64,
}

/// Answers with what `read` makes of the run that is asked for.
async fn of_run(
    shared: Arc<Shared>,
    asked: Asked,
    read: impl FnOnce(&zfl_lab::archive::Archive, &Asked, &Shared) -> Response + Send + 'static,
) -> Response {
    blocking(move || match runs::resolve(&shared.root, &asked.run) {
        Some(archive) => read(&archive, &asked, &shared),
        None => not_found("such run"),
    })
    .await
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    #[derive(Serialize)]
    struct Answer {
        folder: String,
        now: u64,
        runs: Vec<Listed>,
        sweeps: Vec<sweeps::Listed>,
    }
    blocking(move || {
        let (runs, sweeps) = locked(&shared.runs).list(&shared.root);
        json(&Answer {
            folder: shared.root.display().to_string(),
            now: runs::now_seconds(),
            runs,
            sweeps,
        })
    })
    .await
}

/// Which sweep, and what is known of it.
#[derive(Deserialize)]
struct AskedSweep {
    sweep: String,
    #[serde(default)]
    version: String,
}

/// A sweep, or `null` where the version is the one that is known.
async fn sweep(State(shared): State<Arc<Shared>>, Query(asked): Query<AskedSweep>) -> Response {
    blocking(move || {
        let Some(archive) = runs::resolve_sweep(&shared.root, &asked.sweep) else {
            return not_found("such sweep");
        };
        let read = match sweeps::version(&archive) {
            Ok(version) if version == asked.version => Ok(None),
            Ok(_) => sweeps::read(&archive).map(Some),
            Err(error) => Err(error),
        };
        match read {
            Ok(sweep) => json(&sweep),
            Err(error) => failed(&error),
        }
    })
    .await
}

/// Nothing is half-changed where a lock is held.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    #[derive(Serialize)]
    struct Answer {
        settings: Settings,
        summary: Value,
    }
    of_run(shared, asked, |archive, _, _| {
        let summary = std::fs::read(archive.path().join("summary.json")).unwrap_or_default();
        match archive.settings() {
            Ok(settings) => json(&Answer {
                settings,
                summary: serde_json::from_slice(&summary).unwrap_or_default(),
            }),
            Err(error) => failed(&error),
        }
    })
    .await
}

async fn rounds(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    #[derive(Serialize)]
    struct Answer<'a, R> {
        run: &'a Run,
        rounds: R,
    }
    of_run(shared, asked, |archive, _, shared| {
        let follower = shared.followers.of(archive);
        let mut follower = locked(&follower);
        follower.poll();
        json(&Answer {
            run: follower.run(),
            rounds: follower.all_rounds(),
        })
    })
    .await
}

async fn round(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    of_run(shared, asked, |archive, asked, shared| {
        let follower = shared.followers.of(archive);
        let place = locked(&follower).place(asked.round);
        match details::round(archive.path(), asked.round, place) {
            Ok(detail) => json(&detail),
            Err(error) => failed(&error),
        }
    })
    .await
}

async fn client(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    of_run(shared, asked, |archive, asked, shared| {
        let follower = shared.followers.of(archive);
        let device = locked(&follower).fleet.device_of(asked.client);
        match details::client(archive.path(), asked.client, device) {
            Ok(detail) => json(&detail),
            Err(error) => failed(&error),
        }
    })
    .await
}

async fn console(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    of_run(shared, asked, |archive, asked, _| {
        match details::console(archive.path(), &asked.log, asked.from) {
            Ok(Some(piece)) => json(&piece),
            Ok(None) => not_found("such console"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => not_found("such console"),
            Err(error) => failed(&error),
        }
    })
    .await
}

/// Server-sent events: what changes, as long as the viewer listens.
async fn stream(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let Some(archive) = runs::resolve(&shared.root, &asked.run) else {
        return not_found("such run");
    };
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()?.parse().ok());
    let (sender, body) = Channel::<Bytes>::new(MESSAGES_MAX);
    let viewer = Viewer {
        follower: shared.followers.of(&archive),
        cursor: last.unwrap_or_default(),
        told: None,
        sender,
        spoken: Instant::now(),
    };
    let watched = shared.clone();
    tokio::spawn(async move {
        // A viewer that leaves misses nothing that is not in the folder.
        let _ = viewer.tell(&watched).await;
    });
    let content_type = HeaderValue::from_static("text/event-stream");
    ([(header::CONTENT_TYPE, content_type)], Body::new(body)).into_response()
}

/// Somebody who watches a run.
struct Viewer {
    follower: Arc<Mutex<Follower>>,
    cursor: Cursor,
    told: Option<Run>,
    sender: Sender<Bytes>,
    /// When it was told something last.
    spoken: Instant,
}

/// The viewer has left.
struct Left;

impl Viewer {
    async fn tell(mut self, shared: &Shared) -> Result<(), Left> {
        let mut closing = shared.closing.subscribe();
        self.send("retry: 1000\n\n".to_owned()).await?;
        loop {
            let is_closing = *closing.borrow_and_update();
            let (mut cursor, mut told) = (self.cursor, self.told.take());
            let follower = self.follower.clone();
            let read = tokio::task::spawn_blocking(move || {
                let mut follower = locked(&follower);
                match is_closing {
                    true => follower.poll_at_once(),
                    false => follower.poll(),
                }
                let update = follower.update(&mut cursor, &mut told);
                // Serialised here: it may be long.
                let message = update.map(|update| {
                    let text = serde_json::to_string(&update).unwrap_or_default();
                    (text, update.has_more)
                });
                let is_played = follower.run().standing == "running";
                (cursor, told, message, is_played)
            });
            let Ok((cursor, told, message, is_played)) = read.await else {
                return Err(Left);
            };
            (self.cursor, self.told) = (cursor, told);
            if let Some((text, has_more)) = message {
                let id = self.cursor;
                self.send(format!("id: {id}\nevent: update\ndata: {text}\n\n"))
                    .await?;
                if has_more {
                    continue;
                }
            } else if self.spoken.elapsed() > SIGN_OF_LIFE {
                self.send(": here\n\n".to_owned()).await?;
            }
            if is_closing {
                return self.send("event: bye\ndata: {}\n\n".to_owned()).await;
            }
            let tick = match is_played {
                true => TICK,
                false => TICK_AT_REST,
            };
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                _ = closing.changed() => {}
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Left> {
        self.spoken = Instant::now();
        let sent = self.sender.send_data(Bytes::from(text));
        match tokio::time::timeout(UNREAD_DEADLINE, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_hosts() {
        for host in [
            "localhost",
            "localhost:8090",
            "127.0.0.1:8090",
            "192.0.2.7",
            "[::1]:8090",
            "[::1]",
        ] {
            assert!(is_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80x",
            "[::1",
            "::1]",
        ] {
            assert!(!is_address(host), "{host}");
        }
    }
}
