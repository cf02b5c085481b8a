//! Requests to the coordinator.

use core::fmt;
use core::net::SocketAddrV4;

use embassy_net::tcp::{ConnectError, TcpSocket};
use embassy_net::{IpEndpoint, Stack};
use embassy_time::{Duration, TimeoutError, with_timeout};
use embedded_io_async::{Read as _, Write as _};
use reqwless::request::{Method, Request, RequestBody, RequestBuilder as _};
use reqwless::response::Response;
use zfl_client::Refusal;
use zfl_proto::Token;
use zfl_proto::http::MEDIA_TYPE_BINARY;

use super::{CHUNK_BYTES, HEAD_BYTES_MAX};
use crate::net::{CLIENT_SEND_BYTES, CLIENT_WINDOW_BYTES};
use crate::text::Text;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the coordinator may say nothing, or take nothing.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long an unanswered segment is repeated.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What is kept of the reason that a refusal gives.
const REASON_BYTES_MAX: usize = 160;

/// Why a request came to nothing.
pub(crate) enum RequestError {
    /// No connection.
    Connect(ConnectError),
    /// The connection ended early.
    Connection,
    /// A step took too long.
    Timeout(&'static str),
    /// What came back is no HTTP response that this understands.
    Response(reqwless::Error),
    /// The response says nothing of its length, or ended before it.
    Length,
    /// The coordinator refused.
    Status {
        /// The status code.
        code: u16,
        /// What it said.
        reason: Text<REASON_BYTES_MAX>,
    },
    /// The client refused what came.
    Refused(Refusal),
}

impl RequestError {
    /// Whether asking again could help: not when the coordinator understood
    /// and refused.
    pub(crate) const fn is_temporary(&self) -> bool {
        !matches!(
            self,
            Self::Status {
                code: 400..=499,
                ..
            }
        )
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection to the coordinator: {error:?}"),
            Self::Connection => f.write_str("connection to the coordinator lost"),
            Self::Timeout(what) => write!(f, "coordinator too slow to {what}"),
            Self::Response(error) => write!(f, "unintelligible response: {error:?}"),
            Self::Length => f.write_str("response ends early or gives no Content-Length"),
            Self::Status { code, reason } => {
                write!(
                    f,
                    "coordinator refused with status {code}: {}",
                    reason.as_str()
                )
            }
            Self::Refused(refusal) => write!(f, "response of the coordinator: {refusal}"),
        }
    }
}

/// Gives reqwless a body's length; the bytes follow by our own hand, with a
/// deadline for every piece.
struct Length(usize);

impl RequestBody for Length {
    fn len(&self) -> Option<usize> {
        Some(self.0)
    }

    async fn write<W: embedded_io_async::Write>(&self, _: &mut W) -> Result<(), W::Error> {
        Ok(())
    }
}

/// The coordinator, as the only one whom a device asks.
pub(crate) struct Coordinator {
    stack: Stack<'static>,
    address: SocketAddrV4,
    host: Text<24>,
    authorization: Text<40>,
    receive_buffer: [u8; CLIENT_WINDOW_BYTES],
    send_buffer: [u8; CLIENT_SEND_BYTES],
}

impl Coordinator {
    /// The coordinator at `address`, which knows this client by `token`.
    pub(crate) fn new(stack: Stack<'static>, address: SocketAddrV4, token: Token) -> Self {
        Self {
            stack,
            address,
            host: Text::of(format_args!("{address}")),
            authorization: Text::of(format_args!("Bearer {token}")),
            receive_buffer: [0; CLIENT_WINDOW_BYTES],
            send_buffer: [0; CLIENT_SEND_BYTES],
        }
    }

    /// `GET` of `path`; the response's body goes to `sink` as it comes.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        sink: impl FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), RequestError> {
        self.exchange(Method::GET, path, [&[], &[]], sink).await
    }

    /// `POST` to `path` of a body in two parts, sent from where they lie; the
    /// response's body is ignored.
    pub(crate) async fn post(&mut self, path: &str, body: [&[u8]; 2]) -> Result<(), RequestError> {
        self.exchange(Method::POST, path, body, |_| Ok(())).await
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: [&[u8]; 2],
        sink: impl FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), RequestError> {
        let mut socket =
            TcpSocket::new(self.stack, &mut self.receive_buffer, &mut self.send_buffer);
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(SILENCE_MAX));
        socket.set_keep_alive(Some(KEEP_ALIVE_INTERVAL));
        with_timeout(CONNECT_MAX, socket.connect(IpEndpoint::from(self.address)))
            .await
            .map_err(|TimeoutError| RequestError::Timeout("connect"))?
            .map_err(RequestError::Connect)?;
        let headers = [
            ("Authorization", self.authorization.as_str()),
            ("Accept", MEDIA_TYPE_BINARY),
            ("Content-Type", MEDIA_TYPE_BINARY),
            ("Connection", "close"),
        ];
        let done = async {
            send(
                &mut socket,
                method,
                path,
                self.host.as_str(),
                &headers,
                body,
            )
            .await?;
            receive(&mut socket, method, sink).await
        }
        .await;
        match done {
            // The coordinator has all and closes too.
            Ok(()) => socket.close(),
            Err(_) => socket.abort(),
        }
        // What is left to be said is a FIN or RST; whether it arrives changes
        // nothing here.
        let _ = with_timeout(Duration::from_secs(1), socket.flush()).await;
        done
    }
}

async fn send(
    socket: &mut TcpSocket<'_>,
    method: Method,
    path: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: [&[u8]; 2],
) -> Result<(), RequestError> {
    // Named in full, for `RequestBody` has a `len` too.
    let body_bytes = body.iter().map(|part| <[u8]>::len(part)).sum();
    let head = Request::new(method, path).host(host).headers(headers);
    let write_head = async {
        match method {
            Method::GET => head.build().write_header(socket).await,
            _ => {
                head.body(Length(body_bytes))
                    .build()
                    .write_header(socket)
                    .await
            }
        }
    };
    with_timeout(STALL_MAX, write_head)
        .await
        .map_err(|TimeoutError| RequestError::Timeout("take the request"))?
        .map_err(RequestError::Response)?;
    for piece in body.into_iter().flat_map(|part| part.chunks(CHUNK_BYTES)) {
        with_timeout(STALL_MAX, socket.write_all(piece))
            .await
            .map_err(|TimeoutError| RequestError::Timeout("take the request"))?
            .map_err(|_| RequestError::Connection)?;
    }
    Ok(())
}

async fn receive(
    socket: &mut TcpSocket<'_>,
    method: Method,
    mut sink: impl FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<(), RequestError> {
    let mut head = [0; HEAD_BYTES_MAX];
    let response = with_timeout(STALL_MAX, Response::read(socket, method, &mut head))
        .await
        .map_err(|TimeoutError| RequestError::Timeout("answer"))?
        .map_err(RequestError::Response)?;
    let code = response.status.0;
    let mut remaining = response.content_length.ok_or(RequestError::Length)?;
    let mut body = response.body().reader();
    let is_success = (200..300).contains(&code);
    let mut reason = Text::of(format_args!(""));
    let mut chunk = [0; CHUNK_BYTES];
    while remaining > 0 {
        // Never asks for more than is left: reqwless would count below zero.
        let (buffer, _) = chunk.split_at_mut(remaining.min(CHUNK_BYTES));
        let count = with_timeout(STALL_MAX, body.read(buffer))
            .await
            .map_err(|TimeoutError| RequestError::Timeout("answer"))?
            .map_err(RequestError::Response)?;
        let bytes = buffer.get(..count).unwrap_or(&[]);
        if bytes.is_empty() {
            return Err(RequestError::Length);
        }
        remaining -= bytes.len();
        if is_success {
            sink(bytes).map_err(RequestError::Refused)?;
        } else {
            reason = Text::of(format_args!(
                "{}",
                core::str::from_utf8(bytes).unwrap_or("(no text)")
            ));
            break;
        }
    }
    if is_success {
        Ok(())
    } else {
        Err(RequestError::Status { code, reason })
    }
}
