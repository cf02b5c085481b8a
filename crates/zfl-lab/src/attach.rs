//! The way from `zfl console` to a device of a running fleet.
//!
//! A fleet host listens at the Unix socket `console.sock` in its folder, which
//! its user alone can open. Whoever connects sends a line `attach DEVICE LINES`
//! and is answered `ok`, or `error: ` and why not; from then on lines go both
//! ways. Who closes their half is still shown the answers to what they typed,
//! and then the end.
//!
//! An address of such a socket has 107 bytes, a path may have 4095: both sides
//! name it by the open folder (`/proc/self/fd/N/console.sock`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zfl_machine::machine::Consoles;

/// The socket's name in the folder of a run.
const SOCKET: &str = "console.sock";

/// So many people can be at the consoles of a fleet.
const ATTACHED_MAX: usize = 16;

/// So long it may take to say which device is meant, or to take a line.
const PEER_DEADLINE: Duration = Duration::from_secs(5);

/// No typed line is longer: more than any command.
const TYPED_BYTES_MAX: u64 = 1024;

/// The answer to a request that is granted.
const GRANTED: &str = "ok";

/// The open socket of a fleet host. It goes when this is dropped.
pub(crate) struct ConsoleSocket {
    path: PathBuf,
    _server: JoinSet<()>,
}

impl ConsoleSocket {
    /// Listens in the folder of a run.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn listen(folder: &Path, consoles: Consoles) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        // Of a run in this folder that was killed.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = listener(folder)?;
        let mut server = JoinSet::new();
        server.spawn(serve(listener, consoles));
        Ok(Self {
            path,
            _server: server,
        })
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        // One that stays refuses whoever comes, and is replaced.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The socket's address, good as long as the folder is open.
fn address(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

fn listener(folder: &Path) -> io::Result<UnixListener> {
    let folder = File::open(folder)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before it has a name, so that nobody else can ever open it.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(address(&folder))?)?;
    rustix::net::listen(&socket, 16)?;
    UnixListener::from_std(socket.into())
}

async fn serve(listener: UnixListener, consoles: Consoles) {
    let places = Arc::new(Semaphore::new(ATTACHED_MAX));
    let mut people = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, say: others come later.
            tokio::time::sleep(PEER_DEADLINE).await;
            continue;
        };
        while people.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            // Whoever is refused sees the end of the connection.
            continue;
        };
        let consoles = consoles.clone();
        people.spawn(async move {
            let (reader, writer) = stream.into_split();
            // Whoever is gone needs no answer.
            let _ = attend(reader, writer, &consoles).await;
            drop(place);
        });
    }
}

/// One person at a console.
async fn attend(
    reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    consoles: &Consoles,
) -> io::Result<()> {
    let mut reader = tokio::io::BufReader::new(reader);
    let request = timeout(PEER_DEADLINE, read_line(&mut reader)).await??;
    let attached = match parse_request(request.as_deref().unwrap_or_default()) {
        Some((device, lines)) => consoles
            .attach(device, lines)
            .await
            .map_err(|error| error.to_string()),
        None => Err("expected `attach DEVICE LINES`".to_owned()),
    };
    let place = match attached {
        Ok(place) => place,
        Err(reason) => return write_line(&mut writer, &format!("error: {reason}")).await,
    };
    write_line(&mut writer, GRANTED).await?;
    let (mut shown, keyboard) = place.split();
    let typing = async {
        while let Ok(Some(line)) = read_line(&mut reader).await {
            if !keyboard.line(line).await {
                break;
            }
        }
        keyboard.end().await;
    };
    let showing = async {
        while let Some(line) = shown.recv().await {
            write_line(&mut writer, &line).await?;
        }
        Ok(())
    };
    // Who types no more is shown the rest; who is shown no more cannot type.
    let mut typing = std::pin::pin!(typing);
    let mut showing = std::pin::pin!(showing);
    tokio::select! {
        () = &mut typing => showing.await,
        shown = &mut showing => shown,
    }
}

fn parse_request(line: &str) -> Option<(u32, usize)> {
    let (device, lines) = line.strip_prefix("attach ")?.split_once(' ')?;
    Some((device.parse().ok()?, lines.parse().ok()?))
}

/// The next line, without its end; what is too long is cut into several.
async fn read_line(reader: &mut tokio::io::BufReader<OwnedReadHalf>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut bounded = reader.take(TYPED_BYTES_MAX);
    if bounded.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line);
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn write_line(writer: &mut OwnedWriteHalf, line: &str) -> io::Result<()> {
    timeout(
        PEER_DEADLINE,
        writer.write_all(format!("{line}\n").as_bytes()),
    )
    .await?
}

/// Why nobody can be attached.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// There is no such folder.
    #[error("failed to open folder {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No run has devices there now.
    #[error(
        "no devices run in {}: the run has ended, has not started its fleet yet, or is native",
        folder.display()
    )]
    NotRunning {
        /// Where.
        folder: PathBuf,
    },
    /// It has ended meanwhile, or too many are attached.
    #[error("failed to reach the devices in {}: {source}", folder.display())]
    Connection {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host says no.
    #[error("{0}")]
    Refused(String),
}

/// Attaches to the console of a device of the run in `folder`; shows its last
/// `lines` first. Lines go both ways over what this gives.
///
/// # Errors
/// When no devices run there, or there is no such device.
pub fn attach(
    folder: &Path,
    device: u32,
    lines: usize,
) -> Result<BufReader<UnixStream>, ConsoleError> {
    let open = File::open(folder).map_err(|source| ConsoleError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    let failed = |source: io::Error| match source.kind() {
        // Never there, gone, or left behind by a run that was killed.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConsoleError::NotRunning {
            folder: folder.to_owned(),
        },
        _ => ConsoleError::Connection {
            folder: folder.to_owned(),
            source,
        },
    };
    let mut stream = UnixStream::connect(address(&open)).map_err(failed)?;
    stream
        .set_read_timeout(Some(PEER_DEADLINE))
        .map_err(failed)?;
    writeln!(stream, "attach {device} {lines}").map_err(failed)?;
    let mut reader = BufReader::new(stream);
    let mut answer = String::new();
    reader.read_line(&mut answer).map_err(failed)?;
    let answer = answer.trim_end();
    match answer.strip_prefix("error: ") {
        Some(reason) => Err(ConsoleError::Refused(reason.to_owned())),
        None if answer == GRANTED => Ok(reader),
        None => Err(ConsoleError::Refused(format!(
            "{ATTACHED_MAX} are attached to devices of this run already"
        ))),
    }
}

/// The folder in `runs` whose devices were started last.
pub fn newest(runs: &Path) -> Option<PathBuf> {
    let started = |folder: &PathBuf| folder.join(SOCKET).metadata().ok()?.modified().ok();
    let folders = std::fs::read_dir(runs).ok()?;
    let folders = folders.map_while(Result::ok).map(|entry| entry.path());
    let running = folders.filter_map(|folder| Some((started(&folder)?, folder)));
    running.max().map(|(_, folder)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_of_any_length_has_a_socket_for_its_user_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("x".repeat(200)).join("y");
        std::fs::create_dir_all(&folder).unwrap();
        // Left behind.
        std::fs::write(folder.join(SOCKET), "").unwrap();
        let socket = ConsoleSocket::listen(&folder, Consoles::new(2)).unwrap();
        let mode = socket.path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            newest(&temporary.path().join("x".repeat(200))),
            Some(folder.clone())
        );
        let refused = |device| {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || {
                attach(&folder, device, 0).err().unwrap().to_string()
            })
        };
        assert_eq!(
            refused(2).await.unwrap(),
            "there is no device 2: the fleet has devices 0 to 1"
        );
        assert_eq!(refused(1).await.unwrap(), "device 1 has not started yet");
        drop(socket);
        let error = refused(1).await.unwrap();
        assert!(error.starts_with("no devices run in "), "{error}");
        assert_eq!(newest(temporary.path()), None);
    }

    #[test]
    fn a_request_names_device_and_lines() {
        assert_eq!(parse_request("attach 3 40"), Some((3, 40)));
        for line in [
            "",
            "attach",
            "attach 3",
            "attach -3 4",
            "detach 3 4",
            "attach 3 4 5",
        ] {
            assert_eq!(parse_request(line), None, "{line}");
        }
    }
}
