//! The task that watches one machine until its process was waited for.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use zfl_proto::ClientId;

use super::consoles::{Attached, Request, Typed, Watchers};
use super::{
    Crash, Deadlines, Exit, Hang, LAST_LINES_MAX, MachineError, MachineReport, MachineState,
    Moments, check_line,
};
use crate::console::{
    ConsoleEvent, ConsoleItem, ConsoleLog, ConsoleParser, DeviceEvent, printable,
};
use crate::launch::{Process, ProcessEnd};
use crate::usage::Usage;

/// More events than this in a second are not passed on: one mad device must
/// not push everybody's events out of the channel.
const EVENTS_PER_SECOND_MAX: u32 = 200;

/// So much of an answer to a command is kept.
const ANSWER_LINES_MAX: usize = 200;

/// So many lines of a crash are kept: more than the firmware prints.
const CRASH_LINES_MAX: usize = 256;

/// The firmware's last line after a crash.
const CRASH_END: &str = "end";

/// So much is searched for the echo of a command, and a line more.
const ECHO_BYTES_MAX: usize = 4096;

/// What an emulator that has ended still left in its socket is read within
/// this time; nobody holds the other end any more, so it is there at once.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// So much of the end of the emulator's own messages is looked at.
const EMULATOR_LOG_TAIL_BYTES: u64 = 16 << 10;

type Answer = Result<Vec<String>, MachineError>;

/// Who typed a command.
#[derive(Debug)]
enum Typist {
    /// The owner of the machine, who waits for the answer.
    Owner(oneshot::Sender<Answer>),
    /// Somebody at the console, by their number.
    Watcher(u64),
}

/// What the supervisor is told once.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) device: u32,
    pub(super) deadlines: Deadlines,
    pub(super) console_log: PathBuf,
    pub(super) emulator_log: PathBuf,
}

/// A typed command without its answer.
#[derive(Debug)]
struct Pending {
    line: String,
    typist: Typist,
    is_run: bool,
    /// What may be its echo; an event can come in the middle of it.
    echo: String,
    echo_seen: bool,
    answer: Vec<String>,
    deadline: Instant,
}

impl Pending {
    /// How errors call it: `run` has the client's secret in its line.
    fn name(&self) -> String {
        if self.is_run {
            "run".into()
        } else {
            self.line.clone()
        }
    }

    /// Takes a line that is no event: the echo, or a part of it, and then the
    /// answer.
    ///
    /// Gives whose echo it was, if it was one.
    fn take_line(&mut self, text: &str) -> Option<&Typist> {
        if self.echo_seen {
            if self.answer.len() < ANSWER_LINES_MAX {
                self.answer.push(text.into());
            }
            return None;
        }
        if self.echo.len() > ECHO_BYTES_MAX {
            self.echo.clear();
        }
        self.echo.push_str(text);
        self.echo_seen = self.echo.ends_with(&self.line);
        Some(&self.typist)
    }
}

/// How a machine will be said to have ended, decided before it has.
#[derive(Debug)]
enum Verdict {
    Crash {
        cause: String,
        /// The lines behind it.
        dump: Vec<String>,
        is_complete: bool,
    },
    Hang(Hang),
    Stop,
}

#[derive(Debug)]
pub(super) struct Supervisor {
    setup: Setup,
    process: Process,
    console: UnixStream,
    log: ConsoleLog,
    parser: ConsoleParser,
    state: watch::Sender<MachineState>,
    events: broadcast::Sender<DeviceEvent>,

    console_is_open: bool,
    console_bytes: u64,
    outgoing: Vec<u8>,
    last_lines: VecDeque<String>,
    client: Option<ClientId>,
    last_event: Option<ConsoleEvent>,
    pending: Option<Pending>,
    /// A command of the owner that waits until one typed at the console is
    /// answered.
    waiting: Option<Request>,
    watchers: Watchers,
    verdict: Option<Verdict>,

    booted: Instant,
    is_at_prompt: bool,
    ready_deadline: Option<Instant>,
    kill_deadline: Option<Instant>,

    events_window: Instant,
    events_in_window: u32,
    events_dropped: u64,
    usage: Usage,
}

impl Supervisor {
    pub(super) fn new(
        setup: Setup,
        process: Process,
        console: UnixStream,
        log: ConsoleLog,
        state: watch::Sender<MachineState>,
        events: broadcast::Sender<DeviceEvent>,
    ) -> Self {
        let now = Instant::now();
        Self {
            setup,
            process,
            console,
            log,
            parser: ConsoleParser::default(),
            state,
            events,
            console_is_open: true,
            console_bytes: 0,
            outgoing: Vec::new(),
            last_lines: VecDeque::with_capacity(LAST_LINES_MAX),
            client: None,
            last_event: None,
            pending: None,
            waiting: None,
            watchers: Watchers::new(),
            verdict: None,
            booted: now,
            is_at_prompt: false,
            ready_deadline: None,
            kill_deadline: None,
            events_window: now,
            events_in_window: 0,
            events_dropped: 0,
            usage: Usage::default(),
        }
    }

    /// Watches until the process has ended and was waited for.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> MachineReport {
        let mut buffer = vec![0; 4096];
        let mut owner_is_there = true;
        let end = loop {
            let deadline = self.next_deadline();
            tokio::select! {
                end = self.process.ended() => break end,
                read = self.console.readable(), if self.console_is_open => {
                    let read = read.and_then(|()| self.console.try_read(&mut buffer));
                    self.take_read(read, &buffer);
                }
                written = self.console.writable(), if !self.outgoing.is_empty() => {
                    let written = written.and_then(|()| self.console.try_write(&self.outgoing));
                    self.take_written(written);
                }
                request = requests.recv(), if owner_is_there => match request {
                    Some(request) => self.take_request(request),
                    None => {
                        owner_is_there = false;
                        self.verdict.get_or_insert(Verdict::Stop);
                        self.process.signal(Signal::KILL);
                    }
                },
                typed = self.watchers.typed(), if self.is_at_prompt && self.pending.is_none() => {
                    self.take_typed(typed);
                }
                () = sleep_until(deadline.unwrap_or(self.booted)), if deadline.is_some() => {
                    self.take_deadline(Instant::now());
                }
            }
        };
        self.finish(end, &mut buffer).await
    }

    /// Reads what is left, and turns the end of the process into a report.
    async fn finish(mut self, end: ProcessEnd, buffer: &mut [u8]) -> MachineReport {
        let drain_deadline = Instant::now() + DRAIN_DEADLINE;
        while self.console_is_open {
            let left = drain_deadline.saturating_duration_since(Instant::now());
            match timeout(left, self.console.read(buffer)).await {
                Ok(read) => self.take_read(read, buffer),
                Err(_) => break,
            }
        }
        let mut items = Vec::new();
        self.parser.finish(|item| items.push(item));
        for item in items {
            self.take_item(item);
        }

        let emulator_lines = emulator_lines(&self.setup.emulator_log);
        let moments = self.moments();
        let state = final_state(
            self.setup.device,
            self.setup.console_log,
            self.verdict,
            end.status,
            moments,
            emulator_lines,
        );
        if let Some(error) = state.error() {
            self.watchers.show(None, &format!("zfl: {error}"));
            if let Some(Pending {
                typist: Typist::Owner(reply),
                ..
            }) = self.pending
            {
                // Whoever asked may have given up.
                let _ = reply.send(Err(error));
            }
        }
        self.state.send_replace(state.clone());
        MachineReport {
            device: self.setup.device,
            state,
            usage: Usage {
                pss_bytes_max: self.usage.pss_bytes_max,
                ..end.usage
            },
            console_bytes: self.console_bytes,
            events_dropped: self.events_dropped,
            log_error: self.log.error(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.verdict.is_some() {
            return self.kill_deadline;
        }
        let boot = (!self.is_at_prompt).then(|| self.booted + self.boot_deadline().1);
        let pending = self.pending.as_ref().map(|pending| pending.deadline);
        [boot, pending, self.ready_deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// What a booting machine is waited for, and how long.
    fn boot_deadline(&self) -> (&'static str, Duration) {
        if self.console_bytes == 0 {
            ("console output", self.setup.deadlines.first_output)
        } else {
            ("prompt", self.setup.deadlines.prompt)
        }
    }

    fn take_deadline(&mut self, now: Instant) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if self.verdict.is_some() {
            if passed(self.kill_deadline) {
                self.kill_deadline = None;
                self.process.signal(Signal::KILL);
            }
            return;
        }
        let (boot_what, boot_deadline) = self.boot_deadline();
        if !self.is_at_prompt && self.booted + boot_deadline <= now {
            self.hang(boot_what, "boot", boot_deadline);
        } else if passed(self.ready_deadline) {
            self.hang(
                "`ready` event",
                "the `run` command",
                self.setup.deadlines.ready,
            );
        } else if passed(self.pending.as_ref().map(|pending| pending.deadline))
            && let Some(pending) = self.pending.take()
        {
            let deadline = self.setup.deadlines.command;
            if pending.is_run {
                // The end of the machine is the answer.
                self.pending = Some(pending);
                self.hang("answer", "the `run` command", deadline);
            } else {
                let error = MachineError::NoAnswer {
                    device: self.setup.device,
                    command: pending.line,
                    deadline_ms: milliseconds(deadline),
                    log: self.setup.console_log.clone(),
                };
                self.reply(pending.typist, Err(error));
            }
        }
    }

    fn hang(&mut self, what: &'static str, since: &'static str, deadline: Duration) {
        self.verdict = Some(Verdict::Hang(Hang {
            device: self.setup.device,
            what,
            since,
            deadline_ms: milliseconds(deadline),
            moments: Arc::new(self.moments()),
            log: self.setup.console_log.clone(),
        }));
        self.process.signal(Signal::KILL);
    }

    /// What is known of it now.
    fn moments(&self) -> Moments {
        Moments {
            last_lines: self.last_lines.iter().cloned().collect(),
            client: self.client,
            last_event: self.last_event.clone(),
            after: self.booted.elapsed(),
        }
    }

    fn take_read(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        let bytes = match read {
            Ok(0) => {
                self.console_is_open = false;
                return;
            }
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return;
            }
            // The emulator closed its end, or is ending.
            Err(_) => {
                self.console_is_open = false;
                return;
            }
        };
        self.console_bytes += bytes.len() as u64;
        // Written without a buffer of ours, so that nothing is lost if this
        // process is killed. A few hundred bytes into the page cache: not
        // worth another thread.
        self.log.write(bytes);
        let mut items = Vec::new();
        self.parser.push(bytes, |item| items.push(item));
        for item in items {
            self.take_item(item);
        }
    }

    fn take_written(&mut self, written: io::Result<usize>) {
        match written {
            Ok(length) => {
                self.outgoing.drain(..length.min(self.outgoing.len()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A closed console answers nothing: the deadline tells.
            Err(_) => self.outgoing.clear(),
        }
    }

    fn take_item(&mut self, item: ConsoleItem) {
        let event = item.event();
        match item {
            ConsoleItem::Prompt => {
                self.is_at_prompt = true;
                if *self.state.borrow() == MachineState::Booting {
                    self.state.send_replace(MachineState::Prompt);
                }
                if self
                    .pending
                    .as_ref()
                    .is_some_and(|pending| pending.echo_seen)
                {
                    self.answer();
                }
            }
            ConsoleItem::Line { text, .. } => {
                let echo_of = match &mut self.pending {
                    Some(pending) if event.is_none() => pending.take_line(&text),
                    _ => None,
                };
                // Who types sees that already.
                let except = match echo_of {
                    Some(Typist::Watcher(number)) => Some(*number),
                    _ => None,
                };
                if let Some(Verdict::Crash {
                    dump, is_complete, ..
                }) = &mut self.verdict
                {
                    *is_complete |= text == CRASH_END;
                    if dump.len() < CRASH_LINES_MAX && !*is_complete {
                        dump.push(text);
                    }
                    return;
                }
                self.watchers.show(except, &text);
                if self.last_lines.len() == LAST_LINES_MAX {
                    self.last_lines.pop_front();
                }
                self.last_lines.push_back(text);
            }
        }
        if let Some(event) = event {
            self.take_event(event);
        }
    }

    fn take_event(&mut self, event: ConsoleEvent) {
        // First: who waits for a state has heard by then what led to it.
        self.tell(&event);
        match &event {
            ConsoleEvent::Panic(text) => self.crash(format!("panic {text}")),
            ConsoleEvent::Fault(text) => self.crash(format!("fault: {text}")),
            ConsoleEvent::Ready { .. } | ConsoleEvent::Reported(_) => {
                self.ready_deadline = None;
                self.state.send_replace(MachineState::Ready);
            }
            ConsoleEvent::Assigned(_) | ConsoleEvent::Training(_) | ConsoleEvent::Failed(_) => {
                self.state
                    .send_replace(MachineState::Running(event.clone()));
            }
            // A boot line comes before the prompt, counters at any time.
            ConsoleEvent::Boot { .. } | ConsoleEvent::Stats(_) => {}
        }
        match &event {
            // Said at any time, and what it does is something else.
            ConsoleEvent::Stats(_) | ConsoleEvent::Panic(_) | ConsoleEvent::Fault(_) => {}
            _ => self.last_event = Some(event.clone()),
        }
        if let ConsoleEvent::Assigned(client) | ConsoleEvent::Ready { client, .. } = &event {
            self.client = Some(*client);
        }
    }

    /// Tells whoever listens, as far as a device may talk.
    fn tell(&mut self, event: &ConsoleEvent) {
        let now = Instant::now();
        if now.saturating_duration_since(self.events_window) >= Duration::from_secs(1) {
            self.events_window = now;
            self.events_in_window = 0;
        }
        if self.events_in_window == EVENTS_PER_SECOND_MAX {
            self.events_dropped += 1;
            return;
        }
        self.events_in_window += 1;
        // Nobody needs to listen.
        let _ = self.events.send(DeviceEvent {
            device: self.setup.device,
            host_time: now.into_std(),
            event: event.clone(),
        });
    }

    /// The first cause counts; the machine may still print its registers.
    fn crash(&mut self, cause: String) {
        if self.verdict.is_none() {
            self.verdict = Some(Verdict::Crash {
                cause,
                dump: Vec::new(),
                is_complete: false,
            });
            self.kill_deadline = Some(Instant::now() + self.setup.deadlines.crash);
        }
    }

    fn take_request(&mut self, request: Request) {
        match request {
            Request::Command { .. } | Request::Run { .. }
                if self.waiting.is_none()
                    && self
                        .pending
                        .as_ref()
                        .is_some_and(|pending| matches!(pending.typist, Typist::Watcher(_))) =>
            {
                self.waiting = Some(request);
            }
            Request::Command { line, reply } => {
                self.type_line(line, Typist::Owner(reply), false);
            }
            Request::Run { line, reply } => self.type_line(line, Typist::Owner(reply), true),
            Request::Attach {
                lines,
                attached: Attached { shown, reply },
            } => {
                let start = self.last_lines.len().saturating_sub(lines);
                let last_lines = self.last_lines.iter().skip(start);
                // Whoever asked may have given up.
                let _ = reply.send(self.watchers.add(shown, last_lines));
            }
            Request::Moments { reply } => {
                let _ = reply.send(self.moments());
            }
            Request::Sample { with_memory, reply } => {
                self.usage.sample_cpu(self.process.id());
                if with_memory {
                    self.usage.sample_pss(self.process.id());
                }
                let _ = reply.send(self.usage);
            }
            Request::Stop => {
                if self.verdict.is_none() {
                    // Takes milliseconds, which add up in a fleet: only where
                    // nobody has asked before.
                    if self.usage.pss_bytes_max == 0 {
                        self.usage.sample_pss(self.process.id());
                    }
                    self.verdict = Some(Verdict::Stop);
                    self.kill_deadline = Some(Instant::now() + self.setup.deadlines.stop);
                    self.process.signal(Signal::TERM);
                }
            }
        }
    }

    /// Takes what somebody typed at the console.
    fn take_typed(&mut self, typed: Typed) {
        match typed {
            Typed::End(number) => self.watchers.remove(number),
            Typed::Line(number, line) => {
                let refusal = match line.split_whitespace().next() {
                    // Twice it would confuse the device and whoever waits for it.
                    Some("run") => Some("`run` is typed by zfl alone".to_owned()),
                    // Ends nothing and answers nothing: a prompt comes by itself.
                    None => return,
                    Some(_) => check_line(self.setup.device, &line)
                        .err()
                        .map(|error| error.to_string()),
                };
                match refusal {
                    Some(reason) => self.watchers.tell(number, &format!("zfl: {reason}")),
                    None => self.type_line(line, Typist::Watcher(number), false),
                }
            }
        }
    }

    fn type_line(&mut self, line: String, typist: Typist, is_run: bool) {
        if let Some(pending) = &self.pending {
            let error = MachineError::Busy {
                device: self.setup.device,
                command: pending.name(),
            };
            self.reply(typist, Err(error));
            return;
        }
        let now = Instant::now();
        self.outgoing.extend(line.as_bytes());
        self.outgoing.push(b'\n');
        if is_run {
            self.ready_deadline = Some(now + self.setup.deadlines.ready);
        }
        self.pending = Some(Pending {
            line,
            typist,
            is_run,
            echo: String::new(),
            echo_seen: false,
            answer: Vec::new(),
            deadline: now + self.setup.deadlines.command,
        });
    }

    /// The pending command has its answer.
    fn answer(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let refusal = pending
            .answer
            .iter()
            .find_map(|line| line.strip_prefix("error: "));
        let answer = match refusal {
            None => Ok(pending.answer),
            Some(reason) => {
                if pending.is_run {
                    self.ready_deadline = None;
                }
                Err(MachineError::Refused {
                    device: self.setup.device,
                    command: pending.name(),
                    reason: reason.into(),
                })
            }
        };
        self.reply(pending.typist, answer);
    }

    /// Hands an answer to whoever typed the command; who types at the console
    /// has seen its lines.
    fn reply(&mut self, typist: Typist, answer: Answer) {
        match (typist, answer) {
            (Typist::Owner(reply), answer) => {
                // Whoever asked may have given up.
                let _ = reply.send(answer);
            }
            (Typist::Watcher(number), Err(error @ MachineError::NoAnswer { .. })) => {
                self.watchers.tell(number, &format!("zfl: {error}"));
            }
            (Typist::Watcher(_), _) => {}
        }
        if self.pending.is_none()
            && let Some(request) = self.waiting.take()
        {
            self.take_request(request);
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn final_state(
    device: u32,
    log: PathBuf,
    verdict: Option<Verdict>,
    status: ExitStatus,
    moments: Moments,
    emulator_lines: Vec<String>,
) -> MachineState {
    let crash = |cause: String, dump, log| {
        MachineState::Crashed(Arc::new(Crash {
            device,
            cause,
            dump,
            moments: Arc::new(moments),
            log,
        }))
    };
    let is_requested = match verdict {
        Some(Verdict::Crash { cause, dump, .. }) => return crash(cause, dump, log),
        Some(Verdict::Hang(hang)) => return MachineState::Hung(Arc::new(hang)),
        Some(Verdict::Stop) => true,
        None => false,
    };
    // QEMU aborts when the guest's processor locks up, or when firmware does
    // to a device what the device model takes for a fault.
    let guest_fault = emulator_lines
        .iter()
        .find(|line| line.contains("qemu: fatal: ") || line.contains("qemu: hardware error: "));
    if !is_requested && let Some(cause) = guest_fault {
        let cause = cause.trim().to_owned();
        return crash(cause, emulator_lines, log);
    }
    MachineState::Exited(Arc::new(Exit {
        device,
        is_requested,
        status,
        emulator_lines,
        log,
    }))
}

/// The last lines of the emulator's messages; removes the file where there
/// are none.
fn emulator_lines(path: &Path) -> Vec<String> {
    let tail = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            length.saturating_sub(EMULATOR_LOG_TAIL_BYTES),
        ))?;
        let mut tail = Vec::new();
        file.take(EMULATOR_LOG_TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail = tail().unwrap_or_default();
    if tail.is_empty() {
        // Best effort: an empty file that stays does no harm.
        let _ = std::fs::remove_file(path);
    }
    let lines: Vec<String> = tail
        .split(|byte| *byte == b'\n')
        .map(printable)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LAST_LINES_MAX)..].to_vec()
}
