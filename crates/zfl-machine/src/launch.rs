//! Processes that do not outlive this one.
//!
//! The kernel kills a machine when the thread that started it ends, for which
//! the machine has to ask itself (`PR_SET_PDEATHSIG`) after it was forked and
//! before it becomes the emulator. So this program starts itself with a hidden
//! subcommand, which is [`exec_machine`]: it asks, and then becomes the
//! emulator. The [`Launcher`] starts all machines from one thread that lives
//! as long as any of them, and also waits for them: no zombie stays.
//!
//! The death signal survives `execve`, except of a program that gains
//! privileges by it (prctl(2)); emulators do not.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use tokio::sync::oneshot;

use crate::console::LOG_BYTES_MAX;
use crate::usage::Usage;

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("{program} not found: {remedy}")]
    NotFound {
        /// What was looked for.
        program: String,
        /// What mends it.
        remedy: String,
    },
    /// The system refuses another process.
    #[error("failed to start {}: {source}{}", program.display(), start_remedy(source))]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread that starts processes does not run.
    #[error("failed to start {}: the launcher thread has ended", program.display())]
    NoThread {
        /// The program.
        program: PathBuf,
    },
}

fn start_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock => " (too many processes: raise `ulimit -u`)",
        io::ErrorKind::OutOfMemory => " (too little memory: start fewer devices)",
        _ => "",
    }
}

/// The package of Debian that has a program.
pub(crate) fn package(program: &str) -> Option<&'static str> {
    Some(match program {
        "qemu-system-arm" => "qemu-system-arm",
        "qemu-system-riscv32" | "qemu-system-riscv64" => "qemu-system-misc",
        "ip" => "iproute2",
        "unshare" => "util-linux",
        _ => return None,
    })
}

/// The file of a program: looked up on the PATH where it has no `/`.
///
/// # Errors
/// [`LaunchError::NotFound`] with the command that installs it.
pub fn find_program(program: &Path) -> Result<PathBuf, LaunchError> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    find_program_in(program, &search)
}

fn find_program_in(program: &Path, search: &OsStr) -> Result<PathBuf, LaunchError> {
    let runs = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let name = program.to_string_lossy();
    let found = if name.contains('/') {
        Some(program.to_path_buf()).filter(runs)
    } else {
        std::env::split_paths(search)
            .map(|folder| folder.join(program))
            .find(runs)
    };
    found.ok_or_else(|| LaunchError::NotFound {
        remedy: match package(&name) {
            Some(package) => format!("apt-get install {package}"),
            None if name.contains('/') => "there is no such program file".into(),
            None => "it is not on the PATH".into(),
        },
        program: name.into_owned(),
    })
}

/// Becomes a machine; the hidden half of [`Launcher`].
///
/// `arguments` are those that the launcher gave after its leading ones: the
/// process number of the parent, the program, and the program's arguments.
/// Returns only if that fails.
pub fn exec_machine(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    match try_exec_machine(arguments) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_exec_machine(
    arguments: impl IntoIterator<Item = OsString>,
) -> io::Result<std::convert::Infallible> {
    let usage = || io::Error::other("usage: exec-machine PARENT PROGRAM ARGUMENT…");
    let mut arguments = arguments.into_iter();
    let parent: i32 = arguments
        .next()
        .and_then(|parent| parent.to_str()?.parse().ok())
        .ok_or_else(usage)?;
    let program = arguments.next().ok_or_else(usage)?;

    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above; then no signal comes.
    // Process 1 can be a parent like any other (in a container), so what
    // counts is whether it is still the same.
    if Pid::as_raw(rustix::process::getppid()) != parent {
        return Err(io::Error::other(format!(
            "the process {parent} that starts this machine has ended"
        )));
    }
    // A huge page for each of the emulator's small regions would nearly
    // double its memory. A kernel that does not know this only costs memory.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // An emulator that aborts (a guest in lockup does that to it) leaves no
    // core file, and one that complains without end does not fill the disk.
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, LOG_BYTES_MAX)?;
    Err(Command::new(program).args(arguments).exec())
}

/// Lowers a limit to `value`.
fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let value = Some(hard.map_or(value, |hard| hard.min(value)));
    let limit = Rlimit {
        current: value,
        maximum: value,
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

/// How this program starts [`exec_machine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LauncherProgram {
    /// The program.
    pub path: PathBuf,
    /// What leads it there: the hidden subcommand.
    pub leading_arguments: Vec<OsString>,
}

impl LauncherProgram {
    /// This very program with `subcommand`.
    ///
    /// # Errors
    /// If the system does not say which program this is.
    pub fn this_program(subcommand: impl Into<OsString>) -> io::Result<Self> {
        // Not `current_exe`: its path is wrong once the file was replaced,
        // as a build does.
        let path = PathBuf::from("/proc/self/exe");
        path.metadata()?;
        Ok(Self {
            path,
            leading_arguments: vec![subcommand.into()],
        })
    }
}

/// A process to start.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: File,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessEnd {
    pub(crate) status: ExitStatus,
    /// Its processor time, to the end.
    pub(crate) usage: Usage,
}

/// A process to start, and who is told that it was.
struct Request {
    launch: Launch,
    reply: oneshot::Sender<Result<Started, LaunchError>>,
}

/// A process that was started.
struct Started {
    id: u32,
    descriptor: Arc<OwnedFd>,
    end: oneshot::Receiver<ProcessEnd>,
}

/// Starts processes and waits for them, all on one thread. It ends with the
/// last clone of this and the last process.
#[derive(Clone, Debug)]
pub struct Launcher {
    line: Arc<Line>,
}

/// The way to the thread.
#[derive(Debug)]
struct Line {
    requests: mpsc::Sender<Request>,
    /// The thread sleeps in `poll`: a byte says that there is a request, the
    /// end that there will be none.
    wake: UnixStream,
}

impl Launcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses a thread or a socket.
    pub fn start(program: LauncherProgram) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let keeper = Keeper {
            program,
            inbox,
            woken,
            children: Vec::new(),
        };
        std::thread::Builder::new()
            .name("zfl-launcher".into())
            .spawn(move || keeper.serve())?;
        Ok(Self {
            line: Arc::new(Line { requests, wake }),
        })
    }

    /// Starts a process.
    pub(crate) async fn spawn(&self, launch: Launch) -> Result<Process, LaunchError> {
        let program = launch.program.clone();
        let gone = || LaunchError::NoThread {
            program: program.clone(),
        };
        let (reply, answer) = oneshot::channel();
        self.line
            .requests
            .send(Request { launch, reply })
            .map_err(|_| gone())?;
        // A full socket has bytes in it that wake the thread as well.
        let _ = (&self.line.wake).write(&[1]);
        let started = answer.await.map_err(|_| gone())??;
        Ok(Process {
            id: started.id,
            descriptor: started.descriptor,
            end: started.end,
            _launcher: self.clone(),
        })
    }
}

/// The thread that starts processes and waits for them.
struct Keeper {
    program: LauncherProgram,
    inbox: mpsc::Receiver<Request>,
    woken: UnixStream,
    children: Vec<Running>,
}

/// A process that was not yet waited for, so that its number is its own.
struct Running {
    child: Child,
    /// Readable once the process has ended (pidfd_open(2)).
    descriptor: Arc<OwnedFd>,
    end: oneshot::Sender<ProcessEnd>,
}

impl Keeper {
    fn serve(mut self) {
        while let Ok((is_woken, ended)) = self.sleep() {
            // From the back, so that the places before stay right.
            for place in ended.into_iter().rev() {
                wait_for(self.children.swap_remove(place));
            }
            if is_woken && !self.take_requests() {
                break;
            }
        }
        // Nobody can ask about these any more.
        for running in self.children {
            let _ = rustix::process::pidfd_send_signal(&*running.descriptor, Signal::KILL);
            wait_for(running);
        }
    }

    /// Sleeps until there is something to do: whether the line was used, and
    /// the places of the processes that have ended.
    fn sleep(&self) -> rustix::io::Result<(bool, Vec<usize>)> {
        let mut descriptors: Vec<PollFd<'_>> = [PollFd::new(&self.woken, PollFlags::IN)]
            .into_iter()
            .chain(
                self.children
                    .iter()
                    .map(|running| PollFd::new(&running.descriptor, PollFlags::IN)),
            )
            .collect();
        rustix::io::retry_on_intr(|| poll(&mut descriptors, None))?;
        let mut happened = descriptors
            .iter()
            .map(|descriptor| !descriptor.revents().is_empty());
        let is_woken = happened.next().unwrap_or(false);
        let ended = happened
            .enumerate()
            .filter_map(|(place, happened)| happened.then_some(place))
            .collect();
        Ok((is_woken, ended))
    }

    /// Starts what was asked for; `false` when the line was dropped.
    fn take_requests(&mut self) -> bool {
        let is_open = !matches!(self.woken.read(&mut [0; 64]), Ok(0));
        while let Ok(Request { launch, reply }) = self.inbox.try_recv() {
            match self.start(launch) {
                Ok((started, running)) => {
                    self.children.push(running);
                    if reply.send(Ok(started)).is_err()
                        && let Some(running) = self.children.last()
                    {
                        // Whoever asked does not wait any more.
                        let _ =
                            rustix::process::pidfd_send_signal(&*running.descriptor, Signal::KILL);
                    }
                }
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            }
        }
        is_open
    }

    fn start(&self, launch: Launch) -> Result<(Started, Running), LaunchError> {
        let program = launch.program.clone();
        let error = |source| LaunchError::Start { program, source };
        let mut child = match spawn(&self.program, launch) {
            Ok(child) => child,
            Err(source) => return Err(error(source)),
        };
        let id = child.id();
        let opened = Pid::from_raw(id.cast_signed())
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
        let descriptor = match opened {
            Ok(descriptor) => Arc::new(descriptor),
            Err(source) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error(source.into()));
            }
        };
        let (sender, end) = oneshot::channel();
        let started = Started {
            id,
            descriptor: Arc::clone(&descriptor),
            end,
        };
        let running = Running {
            child,
            descriptor,
            end: sender,
        };
        Ok((started, running))
    }
}

/// Waits for a process that has ended or was killed, and tells its owner.
fn wait_for(mut running: Running) {
    let mut usage = Usage::default();
    // Until it was waited for it has its processor time.
    usage.sample_cpu(running.child.id());
    // Nobody else waits for it, so there is a status; if the system says
    // otherwise, the end is an unknown one.
    let status = running.child.wait().unwrap_or_default();
    // The owner may have dropped it.
    let _ = running.end.send(ProcessEnd { status, usage });
}

fn spawn(program: &LauncherProgram, launch: Launch) -> io::Result<Child> {
    Command::new(&program.path)
        .args(&program.leading_arguments)
        .arg(std::process::id().to_string())
        .arg(&launch.program)
        .args(launch.arguments)
        .stdin(launch.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(launch.stdout)
        .stderr(launch.stderr)
        // Ctrl-C is for this program, which then stops the machines in order.
        .process_group(0)
        .spawn()
}

/// A running process; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    descriptor: Arc<OwnedFd>,
    end: oneshot::Receiver<ProcessEnd>,
    // The thread must live as long as what it has started.
    _launcher: Launcher,
}

impl Process {
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal; a process that has ended takes it in silence.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&*self.descriptor, signal);
    }

    /// Waits until the process has ended and was waited for. To be called no
    /// more once it has returned.
    pub(crate) async fn ended(&mut self) -> ProcessEnd {
        // Without the thread there is no process either: the kernel kills
        // what the thread started.
        (&mut self.end).await.unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_or_by_its_path() {
        let shell = find_program(Path::new("sh")).unwrap();
        assert!(shell.is_absolute(), "{shell:?}");
        assert_eq!(find_program(&shell).unwrap(), shell);
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let error = |program: &str| {
            find_program_in(Path::new(program), OsStr::new("/nowhere:/proc"))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("qemu-system-arm"),
            "qemu-system-arm not found: apt-get install qemu-system-arm"
        );
        assert_eq!(
            error("/nowhere/qemu-system-arm"),
            "/nowhere/qemu-system-arm not found: there is no such program file"
        );
        assert_eq!(
            error("qemu-system-none"),
            "qemu-system-none not found: it is not on the PATH"
        );
        // A folder and a file that does not run are no programs.
        assert!(error("/etc").contains("not found"));
        assert!(error("/etc/passwd").contains("not found"));
    }

    #[test]
    fn the_launcher_refuses_what_is_no_machine() {
        for arguments in [vec![], vec!["x"], vec!["1"]] {
            let error = exec_machine(arguments.into_iter().map(OsString::from));
            assert!(error.to_string().starts_with("usage: "), "{error}");
        }
    }
}
