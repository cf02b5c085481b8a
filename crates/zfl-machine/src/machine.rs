//! One emulated machine: its start, its console, its end.
//!
//! [`Machine::boot`] starts the emulator and a supervisor task, which keeps
//! every byte of the console in a file, follows the [`MachineState`] and
//! enforces the deadlines. A machine that misses one is killed; the error says
//! what was waited for and where its log is. The final state never changes,
//! and the [`MachineReport`] comes after the process was waited for.

mod consoles;
mod state;
mod supervisor;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use zfl_proto::console::{COMMAND_BYTES_MAX, RunOptions};

use crate::board::{InstructionCounting, MachineArguments, NicArgument};
use crate::console::{ConsoleLog, DeviceEvent, LOG_BYTES_MAX};
use crate::launch::{Launch, LaunchError, Launcher, find_program};
use crate::usage::Usage;
use crate::{Board, MacAddress, Ram};

use consoles::Request;
pub use consoles::{AttachError, Attachment, Consoles};
pub use state::{Crash, Exit, Hang, LAST_LINES_MAX, MachineReport, MachineState, Moments};
use supervisor::Supervisor;

/// How the network controller of a machine is connected.
#[derive(Debug)]
pub enum Nic {
    /// By a datagram socket, a frame each; the other end is the switch's.
    Socket(OwnedFd),
    /// By a tap of the host's.
    Tap {
        /// The tap's name.
        interface: String,
    },
}

/// How long each step of a machine may take, in host time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From start to the first byte on the console.
    pub first_output: Duration,
    /// From start to the prompt.
    pub prompt: Duration,
    /// From a command to its answer.
    pub command: Duration,
    /// From the `run` command to the `ready` event.
    pub ready: Duration,
    /// From a panic or fault to the end of the machine.
    pub crash: Duration,
    /// From a request to stop to the kill.
    pub stop: Duration,
}

impl Deadlines {
    /// For a machine that a debugger halts: nothing but its stop has a deadline
    /// that anybody would live to see.
    #[must_use]
    pub const fn for_debugger(self) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            first_output: DAY,
            prompt: DAY,
            command: DAY,
            ready: DAY,
            crash: DAY,
            stop: self.stop,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_output: Duration::from_secs(10),
            prompt: Duration::from_secs(15),
            command: Duration::from_secs(10),
            ready: Duration::from_secs(60),
            crash: Duration::from_secs(2),
            stop: Duration::from_secs(1),
        }
    }
}

/// A machine to boot.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// The device's index in its fleet, from 0: names its logs.
    pub device: u32,
    /// How often the device was started before: names its logs, too.
    pub restarts: u32,
    /// What it is.
    pub board: Board,
    /// Its firmware image.
    pub firmware: PathBuf,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Folder of its logs, `device-NNN.log` and `device-NNN.qemu.log`, after its
    /// first restart `device-NNN-1.log` and so on. Must exist.
    pub console_folder: PathBuf,
    /// How long its steps may take.
    pub deadlines: Deadlines,
    /// Whether its time follows its instructions.
    pub instruction_counting: InstructionCounting,
    /// Where people can come to its console, if they can.
    pub consoles: Option<Consoles>,
    /// A Unix socket that the emulator makes for a debugger; the machine waits
    /// there before its first instruction.
    pub debugger: Option<PathBuf>,
    /// Its RAM, as large as its board's `memory.kept`, where that outlives it;
    /// what the machine before it had left is still there.
    pub ram: Option<Ram>,
}

impl MachineSpec {
    /// Where the bytes of the console are kept.
    pub fn console_log(&self) -> PathBuf {
        self.console_folder.join(format!("{}.log", self.name()))
    }

    /// Where the emulator's own messages are kept; no file where it has none.
    pub fn emulator_log(&self) -> PathBuf {
        self.console_folder
            .join(format!("{}.qemu.log", self.name()))
    }

    fn name(&self) -> String {
        match self.restarts {
            0 => format!("device-{:03}", self.device),
            restarts => format!("device-{:03}-{restarts}", self.device),
        }
    }
}

/// Why a machine does not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MachineError {
    /// It could not be started.
    #[error("device {device}: {reason}")]
    NotStarted {
        /// The device's index.
        device: u32,
        /// Why, with the remedy where it is known.
        reason: String,
    },
    /// Its firmware panicked or faulted, or its processor locked up.
    #[error(transparent)]
    Crashed(#[from] Crash),
    /// It missed a deadline, and was killed.
    #[error(transparent)]
    Hung(#[from] Hang),
    /// Its emulator ended.
    #[error(transparent)]
    Exited(#[from] Exit),
    /// It has not answered a command in time. It goes on.
    #[error("device {device}: no answer to `{command}` within {deadline_ms} ms (log: {})", log.display())]
    NoAnswer {
        /// The device's index.
        device: u32,
        /// What was typed.
        command: String,
        /// The deadline.
        deadline_ms: u64,
        /// Where its console is kept.
        log: PathBuf,
    },
    /// It does not take a command. It goes on.
    #[error("device {device}: `{command}` refused: {reason}")]
    Refused {
        /// The device's index.
        device: u32,
        /// What was typed.
        command: String,
        /// What it says about it.
        reason: String,
    },
    /// A line that cannot be typed.
    #[error(
        "device {device}: a command of {length} bytes that {reason}; allowed are {COMMAND_BYTES_MAX} printable bytes"
    )]
    BadCommand {
        /// The device's index.
        device: u32,
        /// Its length.
        length: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A command while another has no answer yet, or a second `run`.
    #[error("device {device}: busy with `{command}`")]
    Busy {
        /// The device's index.
        device: u32,
        /// What it is busy with.
        command: String,
    },
    /// The supervisor is gone, with the event loop that ran it.
    #[error("device {device}: its supervisor has ended")]
    NoSupervisor {
        /// The device's index.
        device: u32,
    },
}

/// A running machine. It is killed when this is dropped.
#[derive(Debug)]
pub struct Machine {
    device: u32,
    process: u32,
    state: watch::Receiver<MachineState>,
    report: watch::Receiver<Option<MachineReport>>,
    requests: mpsc::Sender<Request>,
}

impl Machine {
    /// Starts a machine. It is then [`MachineState::Booting`].
    ///
    /// `nic` is its end of the network, `events` gets what it says in the console's grammar; nobody needs to
    /// listen.
    ///
    /// # Errors
    /// [`MachineError::NotStarted`] if the emulator or the firmware is
    /// missing, or the system refuses a file or a process.
    pub async fn boot(
        launcher: &Launcher,
        spec: MachineSpec,
        nic: Nic,
        events: broadcast::Sender<DeviceEvent>,
    ) -> Result<Self, MachineError> {
        let device = spec.device;
        Self::try_boot(launcher, spec, nic, events)
            .await
            .map_err(|error| MachineError::NotStarted {
                device,
                reason: error.to_string(),
            })
    }

    async fn try_boot(
        launcher: &Launcher,
        spec: MachineSpec,
        nic: Nic,
        events: broadcast::Sender<DeviceEvent>,
    ) -> Result<Self, StartError> {
        let program = find_program(&spec.board.qemu.binary)?;
        std::fs::File::open(&spec.firmware).map_err(|source| StartError::Firmware {
            path: spec.firmware.clone(),
            source,
        })?;
        let file = |path: PathBuf| move |source| StartError::Log { path, source };
        let console_log = spec.console_log();
        let log = ConsoleLog::create(&console_log, LOG_BYTES_MAX).map_err(file(console_log))?;
        let emulator_log = spec.emulator_log();
        let stderr = std::fs::File::create(&emulator_log).map_err(file(emulator_log))?;
        let (console, stdout) = std::os::unix::net::UnixStream::pair()?;
        console.set_nonblocking(true)?;
        let console = tokio::net::UnixStream::from_std(console)?;

        let arguments = spec.board.arguments(&MachineArguments {
            firmware: &spec.firmware,
            nic: match &nic {
                Nic::Socket(_) => NicArgument::Inherited,
                Nic::Tap { interface } => NicArgument::Tap { interface },
            },
            mac: spec.mac,
            instruction_counting: spec.instruction_counting,
            debugger: spec.debugger.as_deref(),
            ram: spec.ram.as_ref(),
        });
        let console_log = spec.console_log();
        let emulator_log = spec.emulator_log();
        let process = launcher
            .spawn(Launch {
                program,
                arguments,
                stdin: match nic {
                    Nic::Socket(descriptor) => Some(descriptor),
                    Nic::Tap { .. } => None,
                },
                stdout: stdout.into(),
                stderr,
            })
            .await?;

        let (state_sender, state) = watch::channel(MachineState::Booting);
        let (report_sender, report) = watch::channel(None);
        let (requests, inbox) = mpsc::channel(8);
        if let Some(consoles) = &spec.consoles {
            consoles.register(spec.device, &requests);
        }
        let machine = Self {
            device: spec.device,
            process: process.id(),
            state,
            report,
            requests,
        };
        let supervisor = Supervisor::new(
            supervisor::Setup {
                device: spec.device,
                deadlines: spec.deadlines,
                console_log,
                emulator_log,
            },
            process,
            console,
            log,
            state_sender,
            events,
        );
        tokio::spawn(async move {
            let report = supervisor.run(inbox).await;
            report_sender.send_replace(Some(report));
        });
        Ok(machine)
    }

    /// The device's index in its fleet.
    pub const fn device(&self) -> u32 {
        self.device
    }

    /// The number of its process, for people; it may have ended.
    pub const fn process(&self) -> u32 {
        self.process
    }

    /// What it does now.
    pub fn state(&self) -> MachineState {
        self.state.borrow().clone()
    }

    /// Follows what it does.
    pub fn watch(&self) -> watch::Receiver<MachineState> {
        self.state.clone()
    }

    /// Waits for the prompt, as long as its deadline allows.
    ///
    /// # Errors
    /// How the machine ended instead.
    pub async fn wait_prompt(&self) -> Result<(), MachineError> {
        self.wait_for(|state| !matches!(state, MachineState::Booting))
            .await
    }

    /// Waits until the machine is ready, as long as its deadline allows; for
    /// ever where [`Machine::run`] was not called.
    ///
    /// # Errors
    /// How the machine ended instead.
    pub async fn wait_ready(&self) -> Result<(), MachineError> {
        self.wait_for(|state| matches!(state, MachineState::Ready))
            .await
    }

    async fn wait_for(&self, reached: impl Fn(&MachineState) -> bool) -> Result<(), MachineError> {
        let mut state = self.state.clone();
        let state = state
            .wait_for(|state| state.is_final() || reached(state))
            .await
            .map_err(|_| self.no_supervisor())?;
        match state.error() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Types a line and waits for its answer: the lines between its echo and
    /// the next prompt, without events.
    ///
    /// # Errors
    /// [`MachineError::NoAnswer`] after the deadline, [`MachineError::Refused`]
    /// if a line of the answer begins with `error: `; the machine goes on. How
    /// it ended, if it does.
    pub async fn command(&self, line: &str) -> Result<Vec<String>, MachineError> {
        self.send(line, |line, reply| Request::Command { line, reply })
            .await
    }

    /// Types the `run` command and waits for its answer; the device then joins
    /// its network and reports in its own time. A device without an answer, or
    /// that is not ready in time, is hung.
    ///
    /// # Errors
    /// [`MachineError::Refused`], after which it waits at its prompt. How the
    /// machine ended instead.
    pub async fn run(&self, options: &RunOptions) -> Result<(), MachineError> {
        self.send(&options.to_string(), |line, reply| Request::Run {
            line,
            reply,
        })
        .await?;
        Ok(())
    }

    async fn send(
        &self,
        line: &str,
        request: impl FnOnce(String, oneshot::Sender<Result<Vec<String>, MachineError>>) -> Request,
    ) -> Result<Vec<String>, MachineError> {
        check_line(self.device, line)?;
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(request(line.into(), reply)).await;
        if sent.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        // The machine has ended; how is known by then, or a moment later.
        self.wait_for(MachineState::is_final).await?;
        Err(self.no_supervisor())
    }

    /// Whether it hangs: what it said and did last, if it does not answer a
    /// command within the deadline. `None` of one that answers, is busy with
    /// another command, or has ended.
    ///
    /// Keeps the machine until then, so it can be awaited elsewhere.
    pub fn silence(&self) -> impl Future<Output = Option<Moments>> + Send + use<> {
        let requests = self.requests.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            let line = "stats".to_owned();
            let request = Request::Command { line, reply };
            requests.send(request).await.ok()?;
            let Err(MachineError::NoAnswer { .. }) = answer.await.ok()? else {
                return None;
            };
            let (reply, answer) = oneshot::channel();
            requests.send(Request::Moments { reply }).await.ok()?;
            answer.await.ok()
        }
    }

    /// What its process uses: processor time now, and the most memory that was
    /// ever sampled, for which this takes a sample.
    pub async fn usage(&self) -> Usage {
        self.sample(true).await
    }

    /// As [`Machine::usage`], without the sample of its memory.
    pub async fn processor_time(&self) -> Usage {
        self.sample(false).await
    }

    async fn sample(&self, with_memory: bool) -> Usage {
        let (reply, answer) = oneshot::channel();
        let request = Request::Sample { with_memory, reply };
        if self.requests.send(request).await.is_ok()
            && let Ok(usage) = answer.await
        {
            return usage;
        }
        // One that takes no requests has ended, and has its report.
        self.ended()
            .await
            .map_or_else(|_| Usage::default(), |report| report.usage)
    }

    /// Stops the machine where it stands, for good: the host gives it no time any
    /// more. It can only be ended.
    pub async fn freeze(&self) {
        // One that takes no requests has ended.
        let _ = self.requests.send(Request::Signal(Signal::STOP)).await;
    }

    /// Ends the machine at once, as if its power had failed. It is then
    /// [`MachineState::Exited`].
    pub async fn kill(&self) {
        // One that takes no requests has ended.
        let _ = self.requests.send(Request::Signal(Signal::KILL)).await;
    }

    /// Asks the emulator to end, kills it if it does not, and waits until its
    /// process is gone: at most [`Deadlines::stop`] and a moment. Also the way
    /// to the report of a machine that has ended.
    ///
    /// # Errors
    /// [`MachineError::NoSupervisor`] if the event loop shuts down meanwhile.
    pub async fn stop(&self) -> Result<MachineReport, MachineError> {
        self.request_stop().await;
        self.ended().await
    }

    /// As [`Machine::stop`], without the wait for the end.
    pub async fn request_stop(&self) {
        // One that takes no requests has ended.
        let _ = self.requests.send(Request::Stop).await;
    }

    /// Waits until the machine has ended and its process was waited for.
    ///
    /// # Errors
    /// [`MachineError::NoSupervisor`] if the event loop shuts down meanwhile.
    pub async fn ended(&self) -> Result<MachineReport, MachineError> {
        let mut report = self.report.clone();
        let report = report
            .wait_for(Option::is_some)
            .await
            .map_err(|_| self.no_supervisor())?;
        report.clone().ok_or_else(|| self.no_supervisor())
    }

    const fn no_supervisor(&self) -> MachineError {
        MachineError::NoSupervisor {
            device: self.device,
        }
    }
}

/// Checks that a line can be typed.
fn check_line(device: u32, line: &str) -> Result<(), MachineError> {
    let reason = if line.len() > COMMAND_BYTES_MAX {
        "is too long"
    } else if line.is_empty() || !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        "is not printable"
    } else {
        return Ok(());
    };
    Err(MachineError::BadCommand {
        device,
        length: line.len(),
        reason,
    })
}

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("failed to read firmware {}: {source} (build it with `cargo xtask firmware`)", path.display())]
    Firmware {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("failed to create log {}: {source}", path.display())]
    Log {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("failed to make the console's socket: {0}")]
    Console(#[from] std::io::Error),
}
