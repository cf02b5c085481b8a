//! The HTTP interface of the coordinator (`docs/http.md`).
//!
//! A request is refused before it changes anything: first the token, then the
//! id, then the size, then the contents.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zfl_proto::http::{
    EntityTag, MEDIA_TYPE_BINARY, MEDIA_TYPE_JSON, PATH_ID, PATH_RESULTS, PATH_START,
    PATH_TRAINING_DATA, PATH_TRAINING_LABELS,
};
use zfl_proto::message::{
    Assignment, Checksum, DataHeader, DataPart, Encoding, HEADER_BYTES_MAX, Metrics,
};
use zfl_proto::{ClientId, Token};

use crate::call::{begin_anew, lose, provisioned};
use crate::coordinator::Shared;
use crate::refusals::Refusal;
use crate::update::{Report, Taken, take};
use crate::{RefusalKind, Targets, json, update};

/// A body must be there within this time, and a second more for each KiB that
/// it may have: the slowest links carry as much.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// Longest that `GET /start` waits for a round.
const WAIT_SECONDS_MAX: u64 = 60;
/// Largest body of `POST /fleet`, in bytes.
const FLEET_BYTES_MAX: usize = 4 << 20;
/// Largest body of `POST /lost`, in bytes.
const LOST_BYTES_MAX: usize = 4096;
/// A number of a JSON update has at most so many characters.
const JSON_NUMBER_BYTES_MAX: usize = 32;
/// Of a request that nobody serves, so much is told.
const REQUEST_NAME_CHARS_MAX: usize = 100;
/// The rest of a JSON update has at most so many.
const JSON_FRAME_BYTES_MAX: usize = 4096;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(PATH_ID, get(id))
        .route(PATH_TRAINING_DATA, get(training_data))
        .route(PATH_TRAINING_LABELS, get(training_labels))
        .route(PATH_START, get(start))
        .route(PATH_RESULTS, post(results))
        .route("/status", get(status))
        .route("/fleet", post(fleet))
        .route("/lost", post(lost))
        .route("/back", post(back))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json::Refused { error: self.reason };
        (self.kind.status(), axum::Json(body)).into_response()
    }
}

#[derive(Deserialize)]
struct IdQuery {
    id: u32,
}

#[derive(Deserialize)]
struct StartQuery {
    id: u32,
    /// How long to wait for a round, in seconds.
    #[serde(default)]
    wait: u64,
}

type Context = State<Arc<Shared>>;
/// A query that is looked at after the token.
type MaybeQuery<Q> = Result<Query<Q>, QueryRejection>;

async fn unknown_path(State(shared): Context, method: Method, uri: Uri) -> Refusal {
    let reason = format!("no such path: {}", uri.path());
    let refusal = Refusal::new(RefusalKind::NotFound, reason);
    shared.refuse(None, &request_name(&method, &uri), refusal)
}

async fn wrong_method(State(shared): Context, method: Method, uri: Uri) -> Refusal {
    let reason = format!("{} does not take {method}", uri.path());
    let refusal = Refusal::new(RefusalKind::Method, reason);
    shared.refuse(None, &request_name(&method, &uri), refusal)
}

/// A request as it is told: bounded, as nobody knows whose it is.
fn request_name(method: &Method, uri: &Uri) -> String {
    format!("{method} {}", uri.path())
        .chars()
        .take(REQUEST_NAME_CHARS_MAX)
        .collect()
}

/// The token of a request.
fn token(headers: &HeaderMap) -> Result<Token, Refusal> {
    let value = headers.get(AUTHORIZATION).ok_or_else(|| {
        Refusal::new(
            RefusalKind::Token,
            "no token: send `Authorization: Bearer <token>`",
        )
    })?;
    Token::from_authorization(value.as_bytes())
        .map_err(|error| Refusal::new(RefusalKind::Token, error))
}

/// Who asks.
fn authenticate(shared: &Shared, headers: &HeaderMap) -> Result<u32, Refusal> {
    let token = token(headers)?;
    shared
        .state()
        .client_of(&token)
        .ok_or_else(|| Refusal::new(RefusalKind::Token, "unknown token"))
}

/// Who asks on behalf of itself, and its query. A refusal is told.
fn authorize<Q>(
    shared: &Shared,
    headers: &HeaderMap,
    query: MaybeQuery<Q>,
    id_of: fn(&Q) -> u32,
    request: &str,
) -> Result<(u32, Q), Refusal> {
    let client =
        authenticate(shared, headers).map_err(|refusal| shared.refuse(None, request, refusal))?;
    let told_of_client = |refusal| shared.refuse(Some(client), request, refusal);
    let Query(query) = query.map_err(|error| told_of_client(bad_query(&error)))?;
    let id = id_of(&query);
    if id != client {
        return Err(told_of_client(Refusal::new(
            RefusalKind::Identity,
            format!("id {id} does not belong to this token"),
        )));
    }
    // A fleet host must not be given the number of a client that is here.
    if let Some(client) = shared.state().client_mut(client) {
        client.joined = true;
    }
    Ok((client, query))
}

fn bad_query(error: &QueryRejection) -> Refusal {
    Refusal::new(RefusalKind::Malformed, error.body_text())
}

/// The media type that a header names, without parameters.
fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether the client lists the binary form among those that it takes.
fn wants_binary(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|accepted| media_type(accepted).eq_ignore_ascii_case(MEDIA_TYPE_BINARY))
}

fn binary(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE_BINARY)], bytes).into_response()
}

fn as_json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => ([(CONTENT_TYPE, MEDIA_TYPE_JSON)], bytes).into_response(),
        Err(error) => Refusal::new(RefusalKind::Internal, error).into_response(),
    }
}

async fn id(State(shared): Context, headers: HeaderMap) -> Result<Response, Refusal> {
    let id = authenticate(&shared, &headers)
        .map_err(|refusal| shared.refuse(None, "GET /id", refusal))?;
    if let Some(client) = shared.state().client_mut(id) {
        client.joined = true;
    }
    begin_anew(&shared, id);
    let samples = shared.shares.sample_count(id);
    Ok(if wants_binary(&headers) {
        let message = Assignment {
            client: ClientId(id),
            sample_count: samples,
        };
        binary(message.encode().as_slice().to_vec())
    } else {
        as_json(&json::Assignment { id, samples })
    })
}

/// Whether the client says that it has what the tag stands for, by this or by
/// `*`: tags are compared weakly here (RFC 9110, section 13.1.2). What is no
/// list of tags names none.
fn has(headers: &HeaderMap, tag: EntityTag) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.strip_prefix("W/").unwrap_or(tag)
    }
    let tag = tag.to_string();
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|given| given == "*" || opaque(given) == opaque(&tag))
}

/// Half of a client's share: in the form that it wants, or not at all where it
/// has it.
fn half_of_share(
    headers: &HeaderMap,
    header: DataHeader,
    payload: &[u8],
    for_people: impl FnOnce() -> Response,
) -> Response {
    let tag = header.tag();
    let response = if has(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if wants_binary(headers) {
        binary([header.encode().as_slice(), payload].concat())
    } else {
        for_people()
    };
    ([(ETAG, tag.to_string())], response).into_response()
}

fn data_header(shared: &Shared, id: u32, part: DataPart, payload: &[u8]) -> DataHeader {
    DataHeader {
        part,
        client: ClientId(id),
        sample_count: shared.shares.sample_count(id),
        input_count: shared.shares.input_count(),
        class_count: shared.shares.class_count(),
        value_scale: shared.shares.value_scale(),
        payload_crc32: Checksum::of(payload),
    }
}

async fn training_data(
    State(shared): Context,
    query: MaybeQuery<IdQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (id, _) = authorize(
        &shared,
        &headers,
        query,
        |query| query.id,
        "GET /training-data",
    )?;
    let samples = shared.shares.samples(id);
    let header = data_header(&shared, id, DataPart::Samples, &samples);
    Ok(half_of_share(&headers, header, &samples, || {
        let width = usize::try_from(header.input_count).unwrap_or(usize::MAX);
        as_json(&json::Samples {
            id,
            samples: header.sample_count,
            inputs: header.input_count,
            value_scale: header.value_scale,
            data: samples.chunks(width.max(1)).collect(),
        })
    }))
}

async fn training_labels(
    State(shared): Context,
    query: MaybeQuery<IdQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (id, _) = authorize(
        &shared,
        &headers,
        query,
        |query| query.id,
        "GET /training-labels",
    )?;
    let targets = shared.shares.targets(id);
    let (part, payload) = targets.payload();
    let header = data_header(&shared, id, part, &payload);
    let samples = header.sample_count;
    let response = half_of_share(&headers, header, &payload, || match &targets {
        Targets::Labels(labels) => as_json(&json::Labels {
            id,
            samples,
            classes: header.class_count,
            labels,
        }),
        Targets::Values(values) => as_json(&json::Values {
            id,
            samples,
            values,
        }),
    });
    provisioned(&shared, id);
    Ok(response)
}

/// `GET /start?id=&wait=`: the task of a client that cannot be called. 204
/// when there is none (yet).
async fn start(
    State(shared): Context,
    query: MaybeQuery<StartQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (id, query) = authorize(&shared, &headers, query, |query| query.id, "GET /start")?;
    // To ask for a task is to be ready for one.
    provisioned(&shared, id);
    let wait = Duration::from_secs(query.wait.min(WAIT_SECONDS_MAX));
    let binary_form = wants_binary(&headers);
    let task = shared
        .wait_for(Instant::now() + wait, |state| {
            let open = state.round.as_mut()?;
            let slot = open.slots.get_mut(&id)?;
            if slot.decision.is_some() {
                return None;
            }
            slot.started.get_or_insert_with(Instant::now);
            let payload = open.payload.for_client(false);
            let header = shared.start_header(open, id, payload);
            let payload = Arc::clone(&open.payload);
            Some((
                open.index,
                open.task,
                Arc::clone(&open.global),
                header,
                payload,
            ))
        })
        .await;
    let Some((round, task, global, header, payload)) = task else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let body = if binary_form {
        [header.as_slice(), payload.for_client(false).0].concat()
    } else {
        let seed = shared.options.plan.seed;
        match serde_json::to_vec(&json::Start::new(id, round, seed, &task, &global)) {
            Ok(body) => body,
            Err(error) => return Err(Refusal::new(RefusalKind::Internal, error)),
        }
    };
    if let Some(slot) = shared.state().slot_mut(round, id) {
        slot.bytes_down = u64::try_from(body.len()).unwrap_or(u64::MAX);
    }
    let media_type = if binary_form {
        MEDIA_TYPE_BINARY
    } else {
        MEDIA_TYPE_JSON
    };
    Ok(([(CONTENT_TYPE, media_type)], body).into_response())
}

/// The body of a request, bounded in size and time.
async fn body(request: Request, bytes_max: usize) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            RefusalKind::TooLarge,
            format!("body is larger than {bytes_max} bytes"),
        )
    };
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    let kib = u64::try_from(bytes_max / 1024).unwrap_or(u64::MAX);
    let deadline = BODY_DEADLINE.saturating_add(Duration::from_secs(kib));
    match tokio::time::timeout(deadline, to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            if error.into_inner().is::<LengthLimitError>() {
                Err(too_large())
            } else {
                // The sender is gone and will not see this; the events will.
                Err(Refusal::new(
                    RefusalKind::Malformed,
                    "body was cut off by its sender",
                ))
            }
        }
        Err(_) => Err(Refusal::new(
            RefusalKind::TooSlow,
            format!("body was not there within {} s", deadline.as_secs()),
        )),
    }
}

async fn results(
    State(shared): Context,
    query: MaybeQuery<IdQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    const REQUEST: &str = "POST /results";
    let (id, _) = authorize(&shared, request.headers(), query, |query| query.id, REQUEST)?;
    let taken = match receive(&shared, id, request).await {
        Ok(report) => {
            let round = report.round;
            take(&shared, id, report).map(|taken| (taken, round))
        }
        Err(refusal) => Err(refusal),
    };
    match taken {
        Ok((taken, round)) => Ok(as_json(&json::Accepted {
            outcome: match taken {
                Taken::InTime => "accepted",
                Taken::Late => "accepted-late",
            },
            round,
        })),
        Err(refusal) => Err(shared.refuse(Some(id), REQUEST, refusal)),
    }
}

/// Reads an update and checks what can be checked without the round.
async fn receive(shared: &Shared, id: u32, request: Request) -> Result<Report, Refusal> {
    let parameter_count = shared.model.parameter_count();
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| media_type(value).to_ascii_lowercase())
        .unwrap_or_default();
    match content_type.as_str() {
        MEDIA_TYPE_BINARY => {
            let payload_bytes = parameter_count * size_of::<f32>();
            let bytes = body(request, HEADER_BYTES_MAX + payload_bytes).await?;
            binary_report(id, &bytes)
        }
        MEDIA_TYPE_JSON => {
            let bytes_max = JSON_FRAME_BYTES_MAX + parameter_count * JSON_NUMBER_BYTES_MAX;
            let bytes = body(request, bytes_max).await?;
            json_report(&bytes)
        }
        _ => Err(Refusal::new(
            RefusalKind::MediaType,
            format!("content type must be {MEDIA_TYPE_BINARY} or {MEDIA_TYPE_JSON}"),
        )),
    }
}

fn binary_report(id: u32, bytes: &[u8]) -> Result<Report, Refusal> {
    // A later version's header may be longer than the one known here.
    let (header, payload) = bytes
        .split_at_checked(update::header_bytes(bytes)?)
        .unwrap_or((bytes, &[]));
    update::decode(id, header, payload)
}

fn json_report(bytes: &[u8]) -> Result<Report, Refusal> {
    let update: json::Update = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::new(RefusalKind::Malformed, error))?;
    Ok(Report {
        round: update.round,
        sample_count: update.samples,
        encoding: Encoding::F32,
        parameters: update.parameters,
        metrics: Metrics {
            loss_last_epoch: update.train_loss,
            ..Metrics::default()
        },
        bytes: bytes.len(),
    })
}

async fn status(State(shared): Context) -> Response {
    let state = shared.state();
    let count = |test: fn(&crate::registry::Client) -> bool| {
        state.remote.iter().filter(|client| test(client)).count()
    };
    // Those that are played in this process are there unless they are lost.
    let local = usize::try_from(state.local.count()).unwrap_or(usize::MAX);
    let lost_local = state.carry.lost_local.len();
    as_json(&json::Status {
        round: state.last_round,
        rounds: shared.options.plan.rounds,
        clients: local + state.remote.len(),
        clients_joined: local + count(|client| client.joined),
        clients_ready: local.saturating_sub(lost_local)
            + count(|client| client.provisioned && client.lost.is_none()),
        clients_lost: lost_local + count(|client| client.lost.is_some()),
        refused: shared.refusals.counts(),
    })
}

/// A request that only a fleet host may make.
fn authorize_fleet(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    if token(headers)? == shared.fleet_key {
        Ok(())
    } else {
        Err(Refusal::new(RefusalKind::Token, "unknown fleet key"))
    }
}

/// `POST /fleet`: a fleet host brings devices and is told who they are.
async fn fleet(State(shared): Context, request: Request) -> Result<Response, Refusal> {
    const REQUEST: &str = "POST /fleet";
    let claimed = async {
        authorize_fleet(&shared, request.headers())?;
        let bytes = body(request, FLEET_BYTES_MAX).await?;
        let asked: json::FleetRequest = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::new(RefusalKind::Malformed, error))?;
        claim(&shared, asked)
    };
    match claimed.await {
        Ok(answer) => Ok(as_json(&answer)),
        Err(refusal) => Err(shared.refuse(None, REQUEST, refusal)),
    }
}

/// Gives the devices the lowest numbers that are free, or none of them any.
fn claim(shared: &Shared, asked: json::FleetRequest) -> Result<json::FleetAnswer, Refusal> {
    for (index, device) in asked.devices.iter().enumerate() {
        if !is_host_and_port(&device.endpoint) {
            return Err(Refusal::new(
                RefusalKind::Impossible,
                format!(
                    "endpoint `{}` of device {index} is not <host>:<port>",
                    device.endpoint
                ),
            ));
        }
    }
    let mut state = shared.state();
    let free: Vec<u32> = state
        .remote
        .iter()
        .filter(|client| !client.joined && client.lost.is_none())
        .map(|client| client.id)
        .take(asked.devices.len())
        .collect();
    if free.len() < asked.devices.len() {
        return Err(Refusal::new(
            RefusalKind::NotExpected,
            format!(
                "{} devices for {} free places of {} clients",
                asked.devices.len(),
                free.len(),
                state.remote.len()
            ),
        ));
    }
    let mut clients = Vec::new();
    for (id, device) in free.into_iter().zip(asked.devices) {
        if let Some(client) = state.client_mut(id) {
            client.joined = true;
            client.board = device.board;
            client.endpoint = Some(device.endpoint);
            clients.push(json::FleetMember {
                id,
                token: client.token.to_string(),
            });
        }
    }
    Ok(json::FleetAnswer { clients })
}

/// An endpoint becomes part of a URL: nothing else may be in it.
fn is_host_and_port(endpoint: &str) -> bool {
    endpoint.parse::<Authority>().is_ok_and(|authority| {
        authority.port_u16().is_some()
            && !authority.host().is_empty()
            && !authority.as_str().contains('@')
    })
}

/// The client that a fleet host speaks of, and what it says.
async fn of_fleet(
    shared: &Shared,
    query: MaybeQuery<IdQuery>,
    request: Request,
) -> Result<(u32, Bytes), Refusal> {
    authorize_fleet(shared, request.headers())?;
    let Query(IdQuery { id }) = query.map_err(|error| bad_query(&error))?;
    if shared.state().client(id).is_none() {
        let reason = format!("there is no client {id}");
        return Err(Refusal::new(RefusalKind::NotFound, reason));
    }
    Ok((id, body(request, LOST_BYTES_MAX).await?))
}

/// `POST /lost?id=`: a fleet host says that a device is gone; the body says
/// why.
async fn lost(
    State(shared): Context,
    query: MaybeQuery<IdQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    match of_fleet(&shared, query, request).await {
        Ok((id, reason)) => {
            lose(&shared, id, &String::from_utf8_lossy(&reason));
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(refusal) => Err(shared.refuse(None, "POST /lost", refusal)),
    }
}

/// `POST /back?id=`: a fleet host says that it has started a device again.
async fn back(
    State(shared): Context,
    query: MaybeQuery<IdQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    match of_fleet(&shared, query, request).await {
        Ok((id, _)) => {
            begin_anew(&shared, id);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(refusal) => Err(shared.refuse(None, "POST /back", refusal)),
    }
}
