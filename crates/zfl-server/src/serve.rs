//! Connections: who may have how many, and how long they may be silent.
//!
//! Whoever connects may be anybody. Until a connection brings a request with a
//! token that is known, it is one of [`STRANGERS_MAX`]: when there are more,
//! the oldest of them is closed. A client sends its request as soon as it is
//! connected, so that those that send nothing are in nobody's way, however
//! many they are. With its first request a connection becomes the client's,
//! which may have [`CONNECTIONS_PER_CLIENT_MAX`].
//!
//! A connection on which no request comes is closed after [`HEAD_DEADLINE`],
//! whether it is new or has been used; a peer that does not read its answer,
//! after [`UNREAD_DEADLINE`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONNECTION};
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower_service::Service;
use zfl_proto::Token;

use crate::RefusalKind;
use crate::coordinator::Shared;
use crate::refusals::Refusal;

/// So many connections may have brought no request of a client or a fleet host.
pub const STRANGERS_MAX: usize = 256;
/// So many connections may a client have.
pub const CONNECTIONS_PER_CLIENT_MAX: u32 = 8;
/// And so many the holders of the fleet key together.
pub const CONNECTIONS_OF_FLEET_MAX: u32 = 256;
/// The head of a request must be there so soon after the connection, or after
/// the answer before it.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// A peer must take in some of what it is sent within this time.
pub const UNREAD_DEADLINE: Duration = Duration::from_secs(60);
/// Longest head, and most that is read ahead of a body, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Pause where no connection can be taken, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Client(u32),
    Fleet,
}

impl Owner {
    /// Whose token a request has, if that is known.
    fn of(shared: &Shared, headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(AUTHORIZATION)?;
        let token = Token::from_authorization(value.as_bytes()).ok()?;
        if token == shared.fleet_key {
            return Some(Self::Fleet);
        }
        shared.state().client_of(&token).map(Self::Client)
    }

    fn connections_max(self) -> u32 {
        match self {
            Self::Client(_) => CONNECTIONS_PER_CLIENT_MAX,
            Self::Fleet => CONNECTIONS_OF_FLEET_MAX,
        }
    }
}

/// The connections that there are.
#[derive(Default)]
struct Connections {
    /// Those that nobody knows, in the order in which they came; what is sent
    /// closes one.
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
    owned: HashMap<Owner, u32>,
    next: u64,
}

#[derive(Default)]
struct Doors(Mutex<Connections>);

impl Doors {
    /// Nothing is half-changed where the lock is held.
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in; the oldest stranger makes room.
    fn enter(self: &Arc<Self>) -> (Arc<Guest>, oneshot::Receiver<()>) {
        let (close, closed) = oneshot::channel();
        let mut connections = self.lock();
        while connections.strangers.len() >= STRANGERS_MAX {
            // One that has ended meanwhile does not hear it.
            let oldest = connections.strangers.pop_first();
            oldest.map(|(_, close)| close.send(()));
        }
        let number = connections.next;
        connections.next += 1;
        connections.strangers.insert(number, close);
        let guest = Guest {
            doors: Arc::clone(self),
            number,
            owner: Mutex::new(None),
            is_used: AtomicBool::new(false),
        };
        (Arc::new(guest), closed)
    }
}

/// A connection, until it ends.
struct Guest {
    doors: Arc<Doors>,
    number: u64,
    owner: Mutex<Option<Owner>>,
    /// It has brought a request.
    is_used: AtomicBool,
}

impl Guest {
    fn owner(&self) -> MutexGuard<'_, Option<Owner>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is this owner's from now on; false where it has too many.
    fn belongs_to(&self, owner: Owner) -> bool {
        let mut mine = self.owner();
        // A connection stays whose it was: nobody's allowance is used twice.
        if mine.is_some() {
            return true;
        }
        let mut connections = self.doors.lock();
        let count = connections.owned.entry(owner).or_default();
        if *count >= owner.connections_max() {
            return false;
        }
        *count += 1;
        connections.strangers.remove(&self.number);
        *mine = Some(owner);
        true
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let owner = self.owner().take();
        let mut connections = self.doors.lock();
        connections.strangers.remove(&self.number);
        let Some(owner) = owner else { return };
        if let Some(count) = connections.owned.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                connections.owned.remove(&owner);
            }
        }
    }
}

/// Serves connections until it is dropped; those that are there then end by
/// themselves.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, router: Router) {
    let doors = Arc::<Doors>::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // One that went away at once, or no descriptor is left: the
            // silent will give some back.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Where the system does not know it, connections last longer.
        let _ = limit_unread(&stream);
        let (guest, closed) = doors.enter();
        let (shared, router) = (Arc::clone(&shared), router.clone());
        tokio::spawn(async move {
            if let Some(refusal) = connection(&shared, stream, router, guest, closed).await {
                shared.refuse(None, "connection", refusal);
            }
        });
    }
}

/// A peer that takes in nothing is given up.
fn limit_unread(stream: &TcpStream) -> rustix::io::Result<()> {
    let unread_ms = u32::try_from(UNREAD_DEADLINE.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unread_ms)
}

/// Serves one connection to its end; why it is refused, if it is.
async fn connection(
    shared: &Arc<Shared>,
    stream: TcpStream,
    router: Router,
    guest: Arc<Guest>,
    closed: oneshot::Receiver<()>,
) -> Option<Refusal> {
    let answer = service_fn(|request| answer(shared, &guest, router.clone(), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    let make_room = async {
        if closed.await.is_err() {
            // It is somebody's.
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = make_room => {
            let reason = "closed: too many connections without a known token";
            return Some(Refusal::new(RefusalKind::Crowded, reason));
        }
    };
    let is_used = guest.is_used.load(Ordering::Relaxed);
    match ended {
        Err(error) if error.is_parse() => Some(Refusal::new(RefusalKind::Malformed, error)),
        Err(error) if error.is_timeout() => {
            let seconds = HEAD_DEADLINE.as_secs();
            let reason = format!("closed: no request within {seconds} s");
            let kind = match is_used {
                true => RefusalKind::Idle,
                false => RefusalKind::Silent,
            };
            Some(Refusal::new(kind, reason))
        }
        // Its peer has closed it when it had done with it.
        _ if is_used => None,
        _ => Some(Refusal::new(
            RefusalKind::Silent,
            "closed by its sender before there was a request",
        )),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    guest: &Guest,
    mut router: Router,
    request: Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    guest.is_used.store(true, Ordering::Relaxed);
    let owner = Owner::of(shared, request.headers());
    if owner.is_some_and(|owner| !guest.belongs_to(owner)) {
        let client = owner.and_then(|owner| match owner {
            Owner::Client(id) => Some(id),
            Owner::Fleet => None,
        });
        let most = owner.map_or(0, Owner::connections_max);
        let reason = format!("more than {most} connections with this token");
        let refusal = Refusal::new(RefusalKind::Crowded, reason);
        let refusal = shared.refuse(client, "connection", refusal);
        let mut response = refusal.into_response();
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        return Ok(response);
    }
    router.call(request.map(Body::new)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_gives_up_who_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        limit_unread(&stream).unwrap();
        let set_ms = rustix::net::sockopt::tcp_user_timeout(&stream).unwrap();
        assert_eq!(Duration::from_millis(set_ms.into()), UNREAD_DEADLINE);
    }
}
