//! Requests to the coordinator.
//!
//! A small client of our own over httparse. reqwless was tried: it brings the
//! crates of a TLS stack along even without that feature, counts below zero
//! when a body is longer than announced, and takes a body that ends early for
//! whole.

use core::fmt::{self, Write as _};
use core::net::SocketAddrV4;

use embassy_net::tcp::{ConnectError, TcpSocket};
use embassy_net::{IpEndpoint, Stack};
use embassy_time::{Duration, TimeoutError, with_timeout};
use embedded_io_async::Write as _;
use static_cell::ConstStaticCell;
use zfl_client::Refusal;
use zfl_proto::Token;
use zfl_proto::http::{EntityTag, MEDIA_TYPE_BINARY};

use crate::sizes::{
    CHUNK_BYTES, CLIENT_SEND_BYTES, CLIENT_WINDOW_BYTES, HEAD_BYTES_MAX, KEEPS_SHARE,
};
use crate::text::Text;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the coordinator may say nothing, or take nothing.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long an unanswered segment is repeated.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long to see to it that the connection ends well.
const CLOSE_MAX: Duration = Duration::from_secs(1);

const LINE_END: &str = "\r\n";

/// Room for the head of a request.
type Head = heapless::String<512>;

/// The status of an answer without a body: the tag in the request still holds.
const NOT_MODIFIED: u16 = 304;

/// Header fields of a response that are looked at.
const FIELDS_MAX: usize = 32;

/// What is kept of the reason that a refusal gives.
const REASON_BYTES_MAX: usize = 96;

/// Why a request came to nothing.
pub(crate) enum RequestError {
    /// No connection.
    Connect(ConnectError),
    /// The connection ended early.
    Connection,
    /// A step took too long.
    Timeout(&'static str),
    /// What came back is no HTTP response.
    Response(httparse::Error),
    /// The response's head is longer than [`HEAD_BYTES_MAX`].
    Head,
    /// The response does not say how long it is, or is not that long.
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
            Self::Response(error) => write!(f, "no HTTP response: {error}"),
            Self::Head => write!(f, "head of the response exceeds {HEAD_BYTES_MAX} bytes"),
            Self::Length => f.write_str("Content-Length of the response is missing or wrong"),
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

/// What the coordinator answers where it does what it was asked.
pub(crate) enum Answer {
    /// With a body.
    Body,
    /// That what the tag stands for is what was asked for.
    NotModified,
}

/// The coordinator, as the only one whom a device asks.
pub(crate) struct Coordinator {
    stack: Stack<'static>,
    address: SocketAddrV4,
    token: Token,
    receive_buffer: &'static mut [u8; CLIENT_WINDOW_BYTES],
    send_buffer: &'static mut [u8; CLIENT_SEND_BYTES],
}

impl Coordinator {
    /// The coordinator at `address`, which knows this client by `token`. There
    /// is one: its buffers are static and never pass over the stack.
    pub(crate) fn new(stack: Stack<'static>, address: SocketAddrV4, token: Token) -> Self {
        static RECEIVE: ConstStaticCell<[u8; CLIENT_WINDOW_BYTES]> =
            ConstStaticCell::new([0; CLIENT_WINDOW_BYTES]);
        static SEND: ConstStaticCell<[u8; CLIENT_SEND_BYTES]> =
            ConstStaticCell::new([0; CLIENT_SEND_BYTES]);
        Self {
            stack,
            address,
            token,
            receive_buffer: RECEIVE.take(),
            send_buffer: SEND.take(),
        }
    }

    /// `GET` of `path`, unless it is still what `held` stands for; the response's
    /// body goes to `sink` as it comes.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        held: Option<EntityTag>,
        sink: impl FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<Answer, RequestError> {
        let head = match held {
            Some(tag) if KEEPS_SHARE => {
                let field = format_args!("If-None-Match: {tag}{LINE_END}");
                self.head("GET", path, field)
            }
            _ => self.head("GET", path, format_args!("")),
        };
        self.exchange(head.as_str(), [&[], &[]], sink).await
    }

    /// `POST` to `path` of a body in two parts, sent from where they lie; the
    /// response's body is ignored.
    pub(crate) async fn post(&mut self, path: &str, body: [&[u8]; 2]) -> Result<(), RequestError> {
        let length: usize = body.iter().map(|part| part.len()).sum();
        let fields = format_args!(
            "Content-Type: {MEDIA_TYPE_BINARY}{LINE_END}Content-Length: {length}{LINE_END}"
        );
        let head = self.head("POST", path, fields);
        match self.exchange(head.as_str(), body, |_| Ok(())).await? {
            // No answer to this.
            Answer::NotModified if KEEPS_SHARE => Err(RequestError::Status {
                code: NOT_MODIFIED,
                reason: Text::from_bytes(&[]),
            }),
            _ => Ok(()),
        }
    }

    fn head(&self, method: &str, path: &str, fields: fmt::Arguments<'_>) -> Head {
        let Self { address, token, .. } = self;
        let mut head = Head::new();
        // Long enough for every path and length there is.
        let _ = write!(
            head,
            "{method} {path} HTTP/1.1{LINE_END}\
             Host: {address}{LINE_END}\
             Authorization: Bearer {token}{LINE_END}\
             Accept: {MEDIA_TYPE_BINARY}{LINE_END}\
             Connection: close{LINE_END}\
             {fields}{LINE_END}"
        );
        head
    }

    async fn exchange(
        &mut self,
        head: &str,
        body: [&[u8]; 2],
        sink: impl FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<Answer, RequestError> {
        let mut socket = TcpSocket::new(self.stack, self.receive_buffer, self.send_buffer);
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(SILENCE_MAX));
        socket.set_keep_alive(Some(KEEP_ALIVE_INTERVAL));
        with_timeout(CONNECT_MAX, socket.connect(IpEndpoint::from(self.address)))
            .await
            .map_err(|TimeoutError| RequestError::Timeout("connect"))?
            .map_err(RequestError::Connect)?;
        let done = async {
            send(&mut socket, head.as_bytes()).await?;
            for part in body {
                send(&mut socket, part).await?;
            }
            receive(&mut socket, sink).await
        }
        .await;
        match done {
            // The coordinator has all and closes too.
            Ok(_) => socket.close(),
            Err(_) => socket.abort(),
        }
        // What is left to be said is a FIN or RST; whether it arrives changes
        // nothing here.
        let _ = with_timeout(CLOSE_MAX, socket.flush()).await;
        done
    }
}

async fn send(socket: &mut TcpSocket<'_>, bytes: &[u8]) -> Result<(), RequestError> {
    // In pieces, for the deadline is that of a stall.
    for piece in bytes.chunks(CHUNK_BYTES) {
        with_timeout(STALL_MAX, socket.write_all(piece))
            .await
            .map_err(|TimeoutError| RequestError::Timeout("take the request"))?
            .map_err(|_| RequestError::Connection)?;
    }
    Ok(())
}

/// The bytes that came next, at least one.
async fn read<'b>(
    socket: &mut TcpSocket<'_>,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], RequestError> {
    let count = with_timeout(STALL_MAX, socket.read(buffer))
        .await
        .map_err(|TimeoutError| RequestError::Timeout("answer"))?
        .map_err(|_| RequestError::Connection)?;
    match buffer.get(..count) {
        None | Some([]) => Err(RequestError::Connection),
        Some(bytes) => Ok(bytes),
    }
}

/// What the head of a response says.
struct ResponseHead {
    code: u16,
    content_bytes: usize,
    /// Its own length.
    head_bytes: usize,
}

const fn is_not_modified(code: u16) -> bool {
    KEEPS_SHARE && code == NOT_MODIFIED
}

/// `None` while the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<ResponseHead>, RequestError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let head_bytes = match response.parse(bytes).map_err(RequestError::Response)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(head_bytes) => head_bytes,
    };
    let code = response.code.unwrap_or(0);
    if is_not_modified(code) {
        // It has no body, whatever it says.
        return Ok(Some(ResponseHead {
            code,
            content_bytes: 0,
            head_bytes,
        }));
    }
    let content_bytes = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| core::str::from_utf8(field.value).ok()?.trim().parse().ok())
        .ok_or(RequestError::Length)?;
    Ok(Some(ResponseHead {
        code,
        content_bytes,
        head_bytes,
    }))
}

async fn receive(
    socket: &mut TcpSocket<'_>,
    mut sink: impl FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<Answer, RequestError> {
    let mut buffer = [0; HEAD_BYTES_MAX];
    let mut filled = 0;
    let head = loop {
        let rest = buffer.get_mut(filled..).unwrap_or(&mut []);
        if rest.is_empty() {
            return Err(RequestError::Head);
        }
        filled += read(socket, rest).await?.len();
        if let Some(head) = parse(buffer.get(..filled).unwrap_or(&[]))? {
            break head;
        }
    };
    let first = buffer.get(head.head_bytes..filled).unwrap_or(&[]);
    let mut remaining = head
        .content_bytes
        .checked_sub(first.len())
        .ok_or(RequestError::Length)?;
    if is_not_modified(head.code) {
        return Ok(Answer::NotModified);
    }
    if !(200..300).contains(&head.code) {
        // Of its reason the beginning will do.
        let mut reason = Text::from_bytes(first);
        if first.is_empty() && remaining > 0 {
            reason = Text::from_bytes(read(socket, &mut buffer).await?);
        }
        return Err(RequestError::Status {
            code: head.code,
            reason,
        });
    }
    sink(first).map_err(RequestError::Refused)?;
    while remaining > 0 {
        // Never asks for more than is announced.
        let (rest, _) = buffer.split_at_mut(remaining.min(HEAD_BYTES_MAX));
        let bytes = read(socket, rest).await?;
        remaining -= bytes.len();
        sink(bytes).map_err(RequestError::Refused)?;
    }
    Ok(Answer::Body)
}
