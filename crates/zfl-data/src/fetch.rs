//! Downloading a data set into the cache folder, checked by SHA-256.
//!
//! Each file is fetched from the first mirror that gives it whole: into a
//! temporary file beside its place, checked, then renamed, so that the folder
//! never holds half a file. A file already there is checked and kept. What is
//! checked is the unpacked content: mirrors pack the same data differently.
//!
//! Every size is bounded by the size expected, every wait by a deadline, a
//! server that sends a byte now and then included. Nothing is resumed: the
//! largest file is 10 MB. Fetching blocks its thread.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;
use ureq::http::Uri;

use crate::folder::MNIST;
use crate::unpack::{Fault, Unpacked};

/// What a file may be larger packed than unpacked: gzip's own bytes.
const PACKING_BYTES_MAX: u64 = 64 << 10;

/// One step of a download or a check.
const CHUNK_BYTES: usize = 64 << 10;

/// A file to fetch, and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name, appended to a mirror's base URL, and in the folder.
    pub name: String,
    /// Bytes of its content, unpacked.
    pub content_bytes: u64,
    /// SHA-256 of its content, unpacked, in lower-case hexadecimal.
    pub content_sha256: String,
}

/// A data set to fetch, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSet {
    /// Its name.
    pub name: String,
    /// Its files.
    pub files: Vec<RemoteFile>,
    /// Base URLs of mirrors, tried in order.
    pub base_urls: Vec<String>,
}

/// MNIST: name, bytes and SHA-256 of the unpacked content. The MD5 sums of the
/// same contents, as other projects publish them, are:
///
/// | file | MD5 |
/// |---|---|
/// | train-images | 6bbc9ace898e44ae57da46a324031adb |
/// | train-labels | a25bea736e30d166cdddb491f175f624 |
/// | t10k-images | 2646ac647ad5339dbf082846283269ea |
/// | t10k-labels | 27ae3e4e09519cfbb04c329615203637 |
const MNIST_FILES: [(&str, u64, &str); 4] = [
    (
        "train-images-idx3-ubyte.gz",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
];

const MNIST_BASE_URLS: [&str; 2] = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
];

impl RemoteSet {
    /// MNIST from its public mirrors, 11.6 MB.
    pub fn mnist() -> Self {
        let file = |(name, content_bytes, content_sha256): (&str, u64, &str)| RemoteFile {
            name: name.to_owned(),
            content_bytes,
            content_sha256: content_sha256.to_owned(),
        };
        Self {
            name: MNIST.to_owned(),
            files: MNIST_FILES.map(file).to_vec(),
            base_urls: MNIST_BASE_URLS.map(str::to_owned).to_vec(),
        }
    }

    /// The set of that name; `None` if there is none to fetch.
    pub fn named(name: &str) -> Option<Self> {
        (name == MNIST).then(Self::mnist)
    }

    /// The same files from other mirrors.
    #[must_use]
    pub fn with_base_urls(mut self, base_urls: Vec<String>) -> Self {
        self.base_urls = base_urls;
        self
    }
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a connection, TLS included; also for the name's address.
    pub connect: Duration,
    /// For the answer's head, and for each further byte of its body.
    pub silence: Duration,
    /// For one file from one mirror, all in all.
    pub file: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(20),
            file: Duration::from_secs(15 * 60),
        }
    }
}

/// Where a fetch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file in question.
    pub file: &'a str,
    /// Its position among the files, from 0.
    pub file_index: usize,
    /// How many files there are.
    pub file_count: usize,
    /// What happens to it.
    pub step: Step<'a>,
}

/// What happens to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step<'a> {
    /// It was there and its checksum is right.
    AlreadyThere,
    /// Bytes arrive.
    Receiving {
        /// From where.
        url: &'a str,
        /// How many so far.
        received_bytes: u64,
        /// How many the server says there are.
        total_bytes: Option<u64>,
    },
    /// This mirror failed; the next one, if any, is tried.
    MirrorFailed {
        /// Which, and why.
        attempt: &'a Attempt,
    },
    /// It has arrived, its checksum is right, it is in place.
    Done {
        /// Bytes received.
        received_bytes: u64,
    },
}

/// What a fetch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReport {
    /// The folder of the data set.
    pub folder: PathBuf,
    /// Files downloaded.
    pub downloaded_count: usize,
    /// Files that were there.
    pub kept_count: usize,
    /// Bytes received for the files downloaded.
    pub received_bytes: u64,
}

/// A try at one mirror that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The address tried.
    pub url: String,
    /// Why it failed.
    pub failure: Failure,
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.url, self.failure)
    }
}

/// Why a mirror failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server has something else to say.
    #[error("the server answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// A deadline passed.
    #[error("no answer in time ({waiting_for}, {received_bytes} bytes received)")]
    Deadline {
        /// What was waited for.
        waiting_for: &'static str,
        /// Bytes of the body that had arrived.
        received_bytes: u64,
    },
    /// The address or the connection is at fault.
    #[error("the connection failed after {received_bytes} bytes: {reason}")]
    Connection {
        /// Bytes of the body that had arrived.
        received_bytes: u64,
        /// What is known.
        reason: String,
    },
    /// Fewer bytes than announced.
    #[error("truncated: expected {expected_bytes} bytes, got {received_bytes}")]
    Truncated {
        /// As the server announced.
        expected_bytes: u64,
        /// As arrived.
        received_bytes: u64,
    },
    /// More bytes than the file can have.
    #[error("larger than the {bytes_max} bytes it can have")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// It does not unpack.
    #[error("not sound: {reason}")]
    Damaged {
        /// What is known.
        reason: String,
    },
    /// It is another file.
    #[error("wrong checksum: expected SHA-256 {expected}, got {found}")]
    Checksum {
        /// In hexadecimal.
        expected: String,
        /// In hexadecimal.
        found: String,
    },
}

/// A data set that could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The folder cannot be made or written to.
    #[error("failed to write to {}: {reason}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No mirror was given.
    #[error("no mirror to fetch `{name}` from: give at least one base URL")]
    NoMirror {
        /// The data set.
        name: String,
    },
    /// All mirrors failed.
    #[error(
        "failed to fetch {file}: {}; try again, give another mirror's base URL, or put the file into {} yourself",
        Attempts(attempts), folder.display()
    )]
    AllMirrorsFailed {
        /// The file.
        file: String,
        /// Where it was to go.
        folder: PathBuf,
        /// Each mirror with its failure.
        attempts: Vec<Attempt>,
    },
    /// The progress callback asked to stop.
    #[error("fetching {file} was cancelled")]
    Cancelled {
        /// The file that was being fetched.
        file: String,
    },
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, attempt) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(formatter, "{separator}{attempt}")?;
        }
        Ok(())
    }
}

/// Fetches what `folder` lacks of `set`; see the module. `progress` is called
/// at least once per file and ends the fetch by [`ControlFlow::Break`].
///
/// # Errors
/// [`FetchError`] names the file and each mirror's failure. Files fetched
/// before stay.
pub fn fetch(
    set: &RemoteSet,
    folder: &Path,
    deadlines: Deadlines,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<FetchReport, FetchError> {
    fs::create_dir_all(folder).map_err(|error| write_error(folder, &error))?;
    let mut report = FetchReport {
        folder: folder.to_owned(),
        downloaded_count: 0,
        kept_count: 0,
        received_bytes: 0,
    };
    for (file_index, file) in set.files.iter().enumerate() {
        let mut tell = |step: Step<'_>| {
            let flow = progress(Progress {
                file: &file.name,
                file_index,
                file_count: set.files.len(),
                step,
            });
            match flow {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(FetchError::Cancelled {
                    file: file.name.clone(),
                }),
            }
        };
        if is_there(&folder.join(&file.name), file) {
            report.kept_count += 1;
            tell(Step::AlreadyThere)?;
            continue;
        }
        let received_bytes = fetch_file(set, file, folder, deadlines, &mut tell)?;
        report.downloaded_count += 1;
        report.received_bytes += received_bytes;
        tell(Step::Done { received_bytes })?;
    }
    Ok(report)
}

type Tell<'a> = dyn FnMut(Step<'_>) -> Result<(), FetchError> + 'a;

/// One file from the first mirror that gives it whole; the bytes received.
fn fetch_file(
    set: &RemoteSet,
    file: &RemoteFile,
    folder: &Path,
    deadlines: Deadlines,
    tell: &mut Tell<'_>,
) -> Result<u64, FetchError> {
    let mut attempts = Vec::new();
    for base_url in &set.base_urls {
        let url = format!("{}/{}", base_url.trim_end_matches('/'), file.name);
        match fetch_from(&url, file, folder, deadlines, tell) {
            Ok(received_bytes) => return Ok(received_bytes),
            Err(Stop::Fetch(error)) => return Err(error),
            Err(Stop::Mirror(failure)) => {
                let attempt = Attempt { url, failure };
                tell(Step::MirrorFailed { attempt: &attempt })?;
                attempts.push(attempt);
            }
        }
    }
    Err(if attempts.is_empty() {
        FetchError::NoMirror {
            name: set.name.clone(),
        }
    } else {
        FetchError::AllMirrorsFailed {
            file: file.name.clone(),
            folder: folder.to_owned(),
            attempts,
        }
    })
}

/// What ends the work on a file at one mirror.
enum Stop {
    /// The mirror: another may do better.
    Mirror(Failure),
    /// The disk or the user: no mirror mends that.
    Fetch(FetchError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Mirror(failure)
    }
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

fn fetch_from(
    url: &str,
    file: &RemoteFile,
    folder: &Path,
    deadlines: Deadlines,
    tell: &mut Tell<'_>,
) -> Result<u64, Stop> {
    let response = agent(url, deadlines)
        .get(url)
        .call()
        .map_err(|error| failure_of(error, 0))?;
    // 203 to 206 are successes too, but not this file.
    let status = response.status().as_u16();
    if status != 200 {
        return Err(Failure::Status { status }.into());
    }
    let mut body = response.into_body();
    let total_bytes = body.content_length();
    let bytes_max = file.content_bytes + PACKING_BYTES_MAX;
    if total_bytes.is_some_and(|total| total > bytes_max) {
        return Err(Failure::TooLarge { bytes_max }.into());
    }

    let mut temporary = temporary_file(folder)?;
    let mut reader = body.as_reader();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received_bytes = 0;
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                let failure = failure_of(ureq::Error::from(error), received_bytes);
                return Err(match (failure, total_bytes) {
                    (Failure::Connection { .. }, Some(expected_bytes))
                        if received_bytes < expected_bytes =>
                    {
                        Failure::Truncated {
                            expected_bytes,
                            received_bytes,
                        }
                    }
                    (failure, _) => failure,
                }
                .into());
            }
        };
        received_bytes += count as u64;
        if received_bytes > bytes_max {
            return Err(Failure::TooLarge { bytes_max }.into());
        }
        temporary
            .write_all(chunk.get(..count).unwrap_or_default())
            .map_err(|error| write_error(temporary.path(), &error))?;
        tell(Step::Receiving {
            url,
            received_bytes,
            total_bytes,
        })?;
    }
    temporary
        .as_file()
        .sync_all()
        .map_err(|error| write_error(temporary.path(), &error))?;

    let written =
        File::open(temporary.path()).map_err(|error| write_error(temporary.path(), &error))?;
    check_content(written, file)?;
    let place = folder.join(&file.name);
    temporary
        .persist(&place)
        .map_err(|error| write_error(&place, &error.error))?;
    Ok(received_bytes)
}

/// A file beside its later place (so that a rename suffices), readable by all
/// whom the user's mask allows; gone when dropped.
fn temporary_file(folder: &Path) -> Result<NamedTempFile, FetchError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fetch-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(|error| write_error(folder, &error))
}

fn agent(url: &str, deadlines: Deadlines) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .timeout_resolve(Some(deadlines.connect))
        .timeout_connect(Some(deadlines.connect))
        .timeout_send_request(Some(deadlines.silence))
        .timeout_recv_response(Some(deadlines.silence))
        .timeout_per_read(Some(deadlines.silence))
        .timeout_global(Some(deadlines.file))
        .user_agent(concat!("zfl/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        // A proxy of the environment would look for it on its own machine.
        config = config.proxy(None);
    }
    config.build().new_agent()
}

fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>();
    let host = uri.as_ref().ok().and_then(Uri::host).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn failure_of(error: ureq::Error, received_bytes: u64) -> Failure {
    match error {
        ureq::Error::StatusCode(status) => Failure::Status { status },
        ureq::Error::Timeout(timeout) => Failure::Deadline {
            waiting_for: match timeout {
                ureq::Timeout::Resolve => "looking up the host name",
                ureq::Timeout::Connect => "connecting",
                ureq::Timeout::Global => "the whole file",
                _ if received_bytes > 0 => "the next bytes",
                _ => "the response",
            },
            received_bytes,
        },
        error => Failure::Connection {
            received_bytes,
            reason: error.to_string(),
        },
    }
}

fn is_there(path: &Path, file: &RemoteFile) -> bool {
    path.is_file() && File::open(path).is_ok_and(|reader| check_content(reader, file).is_ok())
}

/// Unpacks `reader`, at most to the size expected, and compares the checksum.
fn check_content(reader: impl Read, file: &RemoteFile) -> Result<(), Failure> {
    let damaged = |fault: Fault| Failure::Damaged {
        reason: match fault {
            Fault::Read { reason } => reason,
            Fault::GzipTruncated { packed_bytes } => {
                format!("the gzip data ends early, after {packed_bytes} bytes")
            }
            Fault::GzipCorrupt {
                packed_offset,
                reason,
            } => format!("corrupt gzip data at byte {packed_offset}: {reason}"),
        },
    };
    let mut input = Unpacked::new(reader).map_err(damaged)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut content_bytes = 0;
    loop {
        let count = input.fill(&mut chunk).map_err(damaged)?;
        if count == 0 {
            break;
        }
        content_bytes += count as u64;
        if content_bytes > file.content_bytes {
            return Err(Failure::TooLarge {
                bytes_max: file.content_bytes,
            });
        }
        hash.update(chunk.get(..count).unwrap_or_default());
    }
    let found = hexadecimal(&hash.finalize());
    if found == file.content_sha256 {
        Ok(())
    } else {
        Err(Failure::Checksum {
            expected: file.content_sha256.clone(),
            found,
        })
    }
}

fn write_error(path: &Path, error: &std::io::Error) -> FetchError {
    FetchError::Write {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::testing::mnist_data_dir;

    /// How a server answers a request.
    #[derive(Clone)]
    enum Answer {
        /// Status 200 and the whole body.
        Whole(Vec<u8>),
        /// The body without a length, ended by closing the connection.
        Unmeasured(Vec<u8>),
        /// A length of the whole body, then only a part of it.
        Part(Vec<u8>, usize),
        /// An error status with a page.
        Status(u16),
        /// Silence after the request.
        Hang,
        /// Silence after the head and a part of the body.
        HangAfter(Vec<u8>, usize),
        /// Another address.
        Redirect(String),
    }

    struct Server {
        base_url: String,
        /// The path of each request, in order.
        requests: Receiver<String>,
    }

    impl Server {
        /// Serves every request alike, each connection on a thread of its own.
        fn start(answer: Answer) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base_url = format!("http://{}/set/", listener.local_addr().unwrap());
            let (sender, requests) = channel();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (stream, answer, sender) =
                        (stream.unwrap(), answer.clone(), sender.clone());
                    thread::spawn(move || {
                        let mut reader = BufReader::new(stream.try_clone().unwrap());
                        let _ = sender.send(request_path(&mut reader));
                        // The client may well be gone before the end.
                        let _ = respond(stream, reader, &answer);
                    });
                }
            });
            Self { base_url, requests }
        }

        fn requests(&self) -> Vec<String> {
            self.requests.try_iter().collect()
        }
    }

    fn request_path(reader: &mut impl BufRead) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            lines.push(line);
        }
        let request = lines.first().map_or("", String::as_str);
        request.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn respond(
        mut stream: TcpStream,
        mut reader: BufReader<TcpStream>,
        answer: &Answer,
    ) -> std::io::Result<()> {
        let head = |length: usize| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
        };
        // Returns when the client hangs up: no clock needed.
        let mut wait_for_the_client = || reader.read_to_end(&mut Vec::new()).map(drop);
        match answer {
            Answer::Whole(body) => {
                stream.write_all(head(body.len()).as_bytes())?;
                stream.write_all(body)
            }
            Answer::Unmeasured(body) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                stream.write_all(body)
            }
            Answer::Part(body, length) => {
                stream.write_all(head(body.len()).as_bytes())?;
                stream.write_all(&body[..*length])
            }
            Answer::Status(status) => write!(
                stream,
                "HTTP/1.1 {status} No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone"
            ),
            Answer::Hang => wait_for_the_client(),
            Answer::HangAfter(body, length) => {
                stream.write_all(head(body.len()).as_bytes())?;
                stream.write_all(&body[..*length])?;
                wait_for_the_client()
            }
            Answer::Redirect(base_url) => write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {base_url}{FILE}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
        }
    }

    const FILE: &str = "data.gz";

    fn content() -> Vec<u8> {
        // Does not shrink much: its packed form spans several reads.
        let mut stream = zfl_seed::Stream::new(1, zfl_seed::Purpose::Partition, 0);
        (0..200_000).map(|_| stream.next_u32() as u8).collect()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn set(base_urls: &[&str]) -> RemoteSet {
        RemoteSet {
            name: "set".into(),
            files: vec![RemoteFile {
                name: FILE.into(),
                content_bytes: content().len() as u64,
                content_sha256: hexadecimal(&Sha256::digest(content())),
            }],
            base_urls: base_urls.iter().map(|url| (*url).to_owned()).collect(),
        }
    }

    /// Long enough for a busy machine, short enough for the test of a hang.
    const DEADLINES: Deadlines = Deadlines {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(10),
        file: Duration::from_secs(60),
    };

    const SHORT: Deadlines = Deadlines {
        silence: Duration::from_secs(2),
        ..DEADLINES
    };

    fn fetch_quietly(
        set: &RemoteSet,
        folder: &Path,
        deadlines: Deadlines,
    ) -> Result<FetchReport, FetchError> {
        fetch(set, folder, deadlines, &mut |_| ControlFlow::Continue(()))
    }

    fn file_names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The failure of the only mirror, which leaves nothing behind.
    fn check_failure(answer: Answer, deadlines: Deadlines) -> Failure {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(answer);
        let error = fetch_quietly(&set(&[&server.base_url]), folder.path(), deadlines);
        assert_eq!(file_names(folder.path()), [""; 0]);
        match error {
            Err(FetchError::AllMirrorsFailed { file, attempts, .. }) => {
                assert_eq!(file, FILE);
                let [attempt] = &attempts[..] else {
                    panic!("{attempts:?}");
                };
                assert_eq!(attempt.url, format!("{}{FILE}", server.base_url));
                attempt.failure.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_file_arrives_once() {
        for answer in [
            Answer::Whole(gzip(&content())),
            Answer::Unmeasured(gzip(&content())),
            // A mirror may serve it unpacked: the content counts.
            Answer::Whole(content()),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("made/on/the/way");
            let server = Server::start(answer);
            let set = set(&[&server.base_url]);
            let mut received = Vec::new();
            let mut last = None;
            let report = fetch(&set, &folder, DEADLINES, &mut |progress| {
                assert_eq!(
                    (progress.file, progress.file_index, progress.file_count),
                    (FILE, 0, 1)
                );
                match progress.step {
                    Step::Receiving { received_bytes, .. } => received.push(received_bytes),
                    Step::Done { received_bytes } => last = Some(received_bytes),
                    step => panic!("{step:?}"),
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!((report.downloaded_count, report.kept_count), (1, 0));
            assert_eq!(last, Some(report.received_bytes));
            assert!(received.is_sorted() && received.len() > 1, "{received:?}");
            assert_eq!(received.last(), last.as_ref());
            assert_eq!(file_names(&folder), [FILE]);
            assert_eq!(server.requests(), [format!("/set/{FILE}")]);

            let report = fetch_quietly(&set, &folder, DEADLINES).unwrap();
            assert_eq!((report.downloaded_count, report.kept_count), (0, 1));
            assert_eq!(server.requests(), [""; 0]);
        }
    }

    #[test]
    fn a_damaged_file_in_the_folder_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(FILE);
        fs::write(&place, &gzip(&content())[..1000]).unwrap();
        let server = Server::start(Answer::Whole(gzip(&content())));
        fetch_quietly(&set(&[&server.base_url]), folder.path(), DEADLINES).unwrap();
        assert_eq!(fs::read(&place).unwrap(), gzip(&content()));
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut other = content();
        other[7] ^= 1;
        match check_failure(Answer::Whole(gzip(&other)), DEADLINES) {
            Failure::Checksum { expected, found } => {
                assert_eq!(expected, hexadecimal(&Sha256::digest(content())));
                assert_eq!(found, hexadecimal(&Sha256::digest(&other)));
            }
            failure => panic!("{failure:?}"),
        }
    }

    #[test]
    fn a_truncated_body_is_refused() {
        let whole = gzip(&content());
        assert_eq!(
            check_failure(Answer::Part(whole.clone(), 150_000), DEADLINES),
            Failure::Truncated {
                expected_bytes: whole.len() as u64,
                received_bytes: 150_000
            }
        );
        // Without a length only the content tells.
        assert_eq!(
            check_failure(Answer::Unmeasured(whole[..150_000].to_vec()), DEADLINES),
            Failure::Damaged {
                reason: "the gzip data ends early, after 150000 bytes".into()
            }
        );
    }

    #[test]
    fn a_corrupt_body_is_refused() {
        let mut packed = gzip(&content());
        let crc = packed.len() - 8;
        packed[crc] ^= 1;
        match check_failure(Answer::Whole(packed), DEADLINES) {
            Failure::Damaged { reason } => assert!(reason.starts_with("corrupt gzip"), "{reason}"),
            failure => panic!("{failure:?}"),
        }
    }

    #[test]
    fn a_body_too_large_is_refused() {
        let bytes_max = content().len() as u64 + PACKING_BYTES_MAX;
        let large = vec![0; bytes_max as usize + 1];
        for answer in [Answer::Whole(large.clone()), Answer::Unmeasured(large)] {
            assert_eq!(
                check_failure(answer, DEADLINES),
                Failure::TooLarge { bytes_max }
            );
        }
    }

    #[test]
    fn a_gzip_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 16 << 20]);
        assert_eq!(
            check_failure(Answer::Whole(bomb), DEADLINES),
            Failure::TooLarge {
                bytes_max: content().len() as u64
            }
        );
    }

    #[test]
    fn an_error_status_is_told() {
        for status in [404, 500, 204] {
            assert_eq!(
                check_failure(Answer::Status(status), DEADLINES),
                Failure::Status { status }
            );
        }
    }

    #[test]
    fn a_silent_server_meets_the_deadline() {
        assert_eq!(
            check_failure(Answer::Hang, SHORT),
            Failure::Deadline {
                waiting_for: "the response",
                received_bytes: 0
            }
        );
        assert_eq!(
            check_failure(Answer::HangAfter(gzip(&content()), 100_000), SHORT),
            Failure::Deadline {
                waiting_for: "the next bytes",
                received_bytes: 100_000
            }
        );
    }

    #[test]
    fn the_whole_file_has_a_deadline_too() {
        let deadlines = Deadlines {
            file: Duration::from_secs(2),
            ..DEADLINES
        };
        assert_eq!(
            check_failure(Answer::HangAfter(gzip(&content()), 10), deadlines),
            Failure::Deadline {
                waiting_for: "the whole file",
                received_bytes: 10
            }
        );
    }

    #[test]
    fn a_port_nobody_listens_on_is_told() {
        // The client's end of a connection: a port in use, so nobody else gets
        // it, on which nobody listens.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = connection.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let set = set(&[&format!("http://{address}")]);
        match fetch_quietly(&set, folder.path(), DEADLINES) {
            Err(FetchError::AllMirrorsFailed { attempts, .. }) => assert!(matches!(
                attempts[..],
                [Attempt {
                    failure: Failure::Connection {
                        received_bytes: 0,
                        ..
                    },
                    ..
                }]
            )),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_next_mirror_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let bad = Server::start(Answer::Status(503));
        let good = Server::start(Answer::Whole(gzip(&content())));
        // With and without a slash at the end.
        let set = set(&[&bad.base_url, good.base_url.trim_end_matches('/')]);
        let mut failed = Vec::new();
        fetch(&set, folder.path(), DEADLINES, &mut |progress| {
            if let Step::MirrorFailed { attempt } = progress.step {
                failed.push(attempt.to_string());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(
            failed,
            [format!(
                "{}{FILE}: the server answered with status 503",
                bad.base_url
            )]
        );
        assert_eq!(good.requests(), [format!("/set/{FILE}")]);
    }

    #[test]
    fn a_redirect_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let good = Server::start(Answer::Whole(gzip(&content())));
        let redirecting = Server::start(Answer::Redirect(good.base_url.clone()));
        fetch_quietly(&set(&[&redirecting.base_url]), folder.path(), DEADLINES).unwrap();
        assert_eq!(good.requests(), [format!("/set/{FILE}")]);
    }

    #[test]
    fn the_callback_cancels() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(Answer::HangAfter(gzip(&content()), 100_000));
        let result = fetch(
            &set(&[&server.base_url]),
            folder.path(),
            DEADLINES,
            &mut |_| ControlFlow::Break(()),
        );
        assert_eq!(result, Err(FetchError::Cancelled { file: FILE.into() }));
        assert_eq!(file_names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_before_any_request() {
        let file = NamedTempFile::new().unwrap();
        let server = Server::start(Answer::Whole(gzip(&content())));
        let folder = file.path().join("below-a-file");
        assert!(matches!(
            fetch_quietly(&set(&[&server.base_url]), &folder, DEADLINES),
            Err(FetchError::Write { path, .. }) if path == folder
        ));
        assert_eq!(server.requests(), [""; 0]);
    }

    #[test]
    fn the_error_names_each_mirror_and_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [404, 503].map(|status| Server::start(Answer::Status(status)));
        let set = set(&[&first.base_url, &second.base_url]);
        assert_eq!(
            fetch_quietly(&set, folder.path(), DEADLINES)
                .unwrap_err()
                .to_string(),
            format!(
                "failed to fetch {FILE}: {}{FILE}: the server answered with status 404; \
                 {}{FILE}: the server answered with status 503; try again, give another \
                 mirror's base URL, or put the file into {} yourself",
                first.base_url,
                second.base_url,
                folder.path().display()
            )
        );
    }

    #[test]
    fn no_mirror_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            fetch_quietly(&set(&[]), folder.path(), DEADLINES)
                .unwrap_err()
                .to_string(),
            "no mirror to fetch `set` from: give at least one base URL"
        );
    }

    #[test]
    fn loopback_addresses_are_known() {
        for (url, expected) in [
            ("http://127.0.0.1:8000/mnist/", true),
            ("http://localhost/", true),
            ("http://[::1]:80/", true),
            ("https://storage.googleapis.com/cvdf-datasets/mnist/", false),
            ("http://192.0.2.1/", false),
            ("not a url", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }

    /// The sums in this file against real files, in both kinds.
    #[test]
    fn the_sums_of_mnist_are_right() {
        let Some(folder) = mnist_data_dir() else {
            return;
        };
        let md5_sums = [
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ];
        for (file, md5) in RemoteSet::mnist().files.iter().zip(md5_sums) {
            let path = folder.join("mnist").join(&file.name);
            assert_eq!(check_content(File::open(&path).unwrap(), file), Ok(()));
            let mut content = vec![0; file.content_bytes as usize];
            let mut input = Unpacked::new(File::open(&path).unwrap()).unwrap();
            assert_eq!(input.fill(&mut content), Ok(content.len()));
            assert_eq!(hexadecimal(&md5::Md5::digest(&content)), md5);
        }
    }

    /// MNIST itself, from a server that has the real files.
    #[test]
    fn mnist_is_fetched_and_loads() {
        let Some(data_dir) = mnist_data_dir() else {
            return;
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let path = request_path(&mut reader);
                let body = fs::read(data_dir.join("mnist").join(&path[1..])).unwrap();
                respond(stream, reader, &Answer::Whole(body)).unwrap();
            }
        });
        let cache = tempfile::tempdir().unwrap();
        let search_path = crate::SearchPath {
            cache_dir: Some(cache.path().to_owned()),
            ..crate::SearchPath::default()
        };
        let folder = search_path.cache_folder(MNIST).unwrap();
        let set = RemoteSet::mnist().with_base_urls(vec![base_url]);
        let report = fetch_quietly(&set, &folder, DEADLINES).unwrap();
        assert_eq!(report.downloaded_count, 4);
        let loaded = crate::load(MNIST, &crate::LoadOptions::new(search_path, 1)).unwrap();
        assert_eq!(loaded.train.sample_count(), 60_000);
    }
}
