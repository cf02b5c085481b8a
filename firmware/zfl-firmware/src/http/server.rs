//! The server for the coordinator's requests: `/ready` and `/start`.

use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_time::{Duration, Timer, with_timeout};
use picoserve::io::Read;
use picoserve::request::Request;
use picoserve::response::{IntoResponse as _, Response, ResponseWriter, StatusCode};
use picoserve::routing::{self, RequestHandlerService, Router};
use picoserve::{Config, ResponseSent, Server, Timeouts};
use zfl_client::Refusal;
use zfl_proto::console::{Event, Fault};
use zfl_proto::http::{DEVICE_PORT, MEDIA_TYPE_JSON, PATH_READY, PATH_START};
use zfl_proto::{RoundIndex, Token};

use crate::console;
use crate::learn::Node;
use crate::sizes::{
    CHUNK_BYTES, HEAD_BYTES_MAX, SERVER_SEND_BYTES, SERVER_SOCKETS, SERVER_WINDOW_BYTES,
};
use crate::text::Text;

/// How long a message may stall on its way.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long a body may take in all: that of a large model over a slow link.
const BODY_MAX: Duration = Duration::from_secs(600);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

const CONFIG: Config = Config::new(Timeouts {
    start_read_request: Duration::from_secs(5),
    persistent_start_read_request: Duration::from_secs(1),
    // For the head, and for the other side to close after the answer: so
    // long can it keep a socket from the next.
    read_request: Duration::from_secs(10),
    write: Duration::from_secs(10),
})
.close_connection_after_response();

/// Serves one connection after another, for ever.
#[embassy_executor::task(pool_size = SERVER_SOCKETS)]
pub(crate) async fn run(stack: Stack<'static>, node: &'static Node) -> ! {
    let mut receive_buffer = [0; SERVER_WINDOW_BYTES];
    let mut send_buffer = [0; SERVER_SEND_BYTES];
    let mut head = [0; HEAD_BYTES_MAX];
    let router = Router::new()
        .route(PATH_READY, routing::get_service(Ready(node)))
        .route(PATH_START, routing::post_service(Start(node)));
    loop {
        let mut socket = TcpSocket::new(stack, &mut receive_buffer, &mut send_buffer);
        socket.set_nagle_enabled(false);
        if socket.accept(DEVICE_PORT).await.is_err() {
            // Only a programming error gets here; do not spin on it.
            Timer::after_secs(1).await;
            continue;
        }
        socket.set_timeout(Some(STALL_MAX));
        socket.set_keep_alive(Some(KEEP_ALIVE_INTERVAL));
        // A broken connection is the other side's loss: what it had begun is
        // undone by the handler.
        let _ = Server::new(&router, &CONFIG, &mut head).serve(socket).await;
    }
}

/// `GET /ready`: can a round start now?
struct Ready(&'static Node);

impl RequestHandlerService for Ready {
    async fn call_request_handler_service<R: Read, W: ResponseWriter<Error = R::Error>>(
        &self,
        (): &(),
        (): (),
        request: Request<'_, R>,
        writer: W,
    ) -> Result<ResponseSent, W::Error> {
        let Self(node) = self;
        let round = round(&request);
        let connection = request.body_connection.finalize().await?;
        let away = round.and_then(|round| Some((round, node.faults().is_away(round)?)));
        if let Some((round, true)) = away {
            let kind = Fault::Away.name();
            console::tell(Event::Injected { round, kind }).await;
        }
        let status = if node.can_start() && away.is_none() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let text = Text::<64>::of(format_args!(
            "{{\"state\":\"{}\",\"round\":{}}}",
            node.state().name(),
            node.round()
        ));
        Response::new(status, text.as_str())
            .with_content_type(MEDIA_TYPE_JSON)
            .write_to(connection, writer)
            .await
    }
}

/// The round that the coordinator asks for, if it says which.
fn round<R: Read>(request: &Request<'_, R>) -> Option<RoundIndex> {
    let query = request.parts.query()?;
    let mut words = query.0.split('&');
    let round = words.find_map(|word| word.strip_prefix("round="))?;
    round.parse().ok().map(RoundIndex)
}

/// `POST /start`: train this model.
struct Start(&'static Node);

impl RequestHandlerService for Start {
    async fn call_request_handler_service<R: Read, W: ResponseWriter<Error = R::Error>>(
        &self,
        (): &(),
        (): (),
        mut request: Request<'_, R>,
        writer: W,
    ) -> Result<ResponseSent, W::Error> {
        let Self(node) = self;
        let outcome = if is_authorized(node, &request) {
            receive(node, &mut request).await?
        } else {
            Outcome::Unauthorized
        };
        // Also reads what is left of the body, so that the other side gets to
        // see the answer instead of a reset.
        let connection = request.body_connection.finalize().await?;
        let (status, text) = match outcome {
            Outcome::Accepted => (StatusCode::ACCEPTED, Text::of(format_args!(""))),
            Outcome::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                Text::<160>::of(format_args!(
                    "the header `Authorization: Bearer` with this client's token is missing or wrong"
                )),
            ),
            Outcome::Refused(refusal) => (status_of(&refusal), Text::of(format_args!("{refusal}"))),
        };
        Response::new(status, text.as_str())
            .write_to(connection, writer)
            .await
    }
}

/// What became of a `/start`.
enum Outcome {
    Accepted,
    Unauthorized,
    Refused(Refusal),
}

fn is_authorized<R: Read>(node: &Node, request: &Request<'_, R>) -> bool {
    let given = request
        .parts
        .headers()
        .get("authorization")
        .and_then(|value| Token::from_authorization(value.as_raw()).ok());
    given.is_some() && given == node.token()
}

async fn receive<R: Read>(node: &Node, request: &mut Request<'_, R>) -> Result<Outcome, R::Error> {
    let incoming = match node.receive_start() {
        Ok(incoming) => incoming,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let mut chunk = [0; CHUNK_BYTES];
    let mut body = request
        .body_connection
        .body()
        .reader()
        .with_different_timeout(BODY_MAX);
    loop {
        let Ok(count) = with_timeout(STALL_MAX, body.read(&mut chunk)).await else {
            // Not all of it: the client says how much is missing.
            break;
        };
        let count = count?;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if let Err(refusal) = incoming.push(bytes) {
            return Ok(Outcome::Refused(refusal));
        }
    }
    Ok(match incoming.finish() {
        Ok(()) => Outcome::Accepted,
        Err(refusal) => Outcome::Refused(refusal),
    })
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Busy => StatusCode::CONFLICT,
        Refusal::DoesNotFit { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    }
}
