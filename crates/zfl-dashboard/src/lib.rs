//! A web page that follows runs as their folders grow.
//!
//! The folder of a run is all that is known of it: what a run writes as it goes on is
//! read where it stopped being read (`follow`), and sent to the browsers that
//! watch, which are told what has changed. Runs that are over, runs of another zfl and
//! the one that this process plays look the same.
//!
//! Nothing here writes, and no request changes anything. What is not here: who may
//! look. The server listens on the loopback interface unless it is told otherwise, and
//! whoever reaches it sees the runs (docs/dashboard.md).

mod assets;
mod costs;
mod details;
mod fleet;
mod follow;
mod http;
mod runs;
mod sweeps;
mod tail;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use zfl_lab::archive::Archive;

use follow::Follower;
use runs::Runs;

/// Connections at a time; a browser has up to six.
pub const CONNECTIONS_MAX: usize = 256;
/// The head of a request must be there so soon after the connection, or after the
/// answer before it.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// A browser must take in some of what it is sent within this time.
pub const UNREAD_DEADLINE: Duration = Duration::from_secs(60);
/// Longest head of a request, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Runs that are kept up with.
const FOLLOWERS_MAX: usize = 32;
/// When the server ends, browsers are told the last within this time.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Pause where no connection can be taken, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} for the dashboard: {source}")]
pub struct DashboardError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    /// The folder of the runs, or of the run.
    root: PathBuf,
    runs: Mutex<Runs>,
    followers: Followers,
    /// True: browsers are told the last.
    closing: watch::Sender<bool>,
}

/// The runs that are kept up with, the one that was asked for last at the end.
#[derive(Debug, Default)]
struct Followers(Mutex<VecDeque<(PathBuf, Arc<Mutex<Follower>>)>>);

impl Followers {
    fn of(&self, archive: &Archive) -> Arc<Mutex<Follower>> {
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = followers
            .iter()
            .position(|(path, _)| path == archive.path());
        let entry = match place.and_then(|place| followers.remove(place)) {
            Some(entry) => entry,
            None => {
                let follower = Arc::new(Mutex::new(Follower::new(archive)));
                (archive.path().to_owned(), follower)
            }
        };
        let follower = entry.1.clone();
        followers.push_back(entry);
        while followers.len() > FOLLOWERS_MAX {
            // Whoever watches it has it still.
            followers.pop_front();
        }
        follower
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Dashboard {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Dashboard {
    /// Listens, to show the runs below a folder, or the run in it. The folder need not
    /// be there yet.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(address: SocketAddr, root: &Path) -> Result<Self, DashboardError> {
        let failed = |source| DashboardError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            shared: Arc::new(Shared {
                root: root.to_owned(),
                runs: Mutex::default(),
                followers: Followers::default(),
                closing: watch::Sender::new(false),
            }),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `end` is there, and then tells everybody who watches how the runs
    /// stand, for at most two seconds.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tokio::select! {
            () = accept(&self.listener, &self.shared, &room) => {}
            () = end => {}
        }
        drop(self.listener);
        self.shared.closing.send_replace(true);
        // All places are free again when all connections have ended.
        let last = room.acquire_many(u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX));
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
    }
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>, room: &Arc<Semaphore>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Where there are too many, the newest is closed.
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        // Where the system does not know it, connections last longer.
        let _ = limit_unread(&stream);
        let shared = shared.clone();
        tokio::spawn(async move {
            connection(&shared, stream).await;
            drop(place);
        });
    }
}

/// A peer that takes in nothing is given up.
fn limit_unread(stream: &TcpStream) -> rustix::io::Result<()> {
    let unread_ms = u32::try_from(UNREAD_DEADLINE.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unread_ms)
}

async fn connection(shared: &Arc<Shared>, stream: TcpStream) {
    let answer = service_fn(|request: Request<Incoming>| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(http::answer(&shared, request.map(Body::new)).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    let mut served = pin!(served);
    let mut closing = shared.closing.subscribe();
    let closed = async {
        let _ = closing.wait_for(|is_closing| *is_closing).await;
    };
    // A browser may leave whenever it likes: how it ended says nothing.
    tokio::select! {
        _ = served.as_mut() => {}
        () = closed => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
