//! What a machine does, and how it ended.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use zfl_proto::ClientId;

use super::MachineError;
use crate::console::ConsoleEvent;
use crate::usage::Usage;

/// So many of a console's last lines are kept for a report.
pub const LAST_LINES_MAX: usize = 40;

/// What a machine does. The last three are final.
#[derive(Clone, Debug, PartialEq)]
pub enum MachineState {
    /// The emulator was started; no prompt yet.
    Booting,
    /// The firmware waits for commands.
    Prompt,
    /// The firmware is busy; the event is its last.
    Running(ConsoleEvent),
    /// The client has its data, or has reported, and waits for a round.
    Ready,
    /// The firmware panicked or faulted.
    Crashed(Arc<Crash>),
    /// A deadline passed, and the machine was killed.
    Hung(Arc<Hang>),
    /// The emulator ended otherwise.
    Exited(Arc<Exit>),
}

impl MachineState {
    /// Whether the machine has ended.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Crashed(_) | Self::Hung(_) | Self::Exited(_))
    }

    /// How the machine ended, if it has.
    pub fn error(&self) -> Option<MachineError> {
        Some(match self {
            Self::Crashed(crash) => MachineError::Crashed(Crash::clone(crash)),
            Self::Hung(hang) => MachineError::Hung(Hang::clone(hang)),
            Self::Exited(exit) => MachineError::Exited(Exit::clone(exit)),
            Self::Booting | Self::Prompt | Self::Running(_) | Self::Ready => return None,
        })
    }

    /// The state's name, for records and displays.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Prompt => "prompt",
            Self::Running(_) => "running",
            Self::Ready => "ready",
            Self::Crashed(_) => "crashed",
            Self::Hung(_) => "hung",
            Self::Exited(_) => "exited",
        }
    }
}

/// The last that is known of a machine that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// The console's last lines, before those of the crash itself.
    pub last_lines: Vec<String>,
    /// The client that it was, once it knew.
    pub client: Option<ClientId>,
    /// What it did, by the last event that says so.
    pub last_event: Option<ConsoleEvent>,
    /// From its start, in host time.
    pub after: Duration,
}

/// A panic, a fault or a lockup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {device}: {cause} (log: {})", log.display())]
pub struct Crash {
    /// The device's index.
    pub device: u32,
    /// What the firmware, or of a lockup the emulator, says about it.
    pub cause: String,
    /// The lines that tell more: registers, status and stack by the firmware,
    /// or of a lockup what the emulator says.
    pub dump: Vec<String>,
    /// What went before.
    pub moments: Arc<Moments>,
    /// Where the console is kept.
    pub log: PathBuf,
}

/// A missed deadline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "device {device}: no {what} within {deadline_ms} ms of {since}{} (log: {})",
    moments.last_lines.last().map(|line| format!(", last line `{line}`")).unwrap_or_default(),
    log.display()
)]
pub struct Hang {
    /// The device's index.
    pub device: u32,
    /// What was waited for.
    pub what: &'static str,
    /// From when the deadline counts.
    pub since: &'static str,
    /// The deadline.
    pub deadline_ms: u64,
    /// What went before.
    pub moments: Arc<Moments>,
    /// Where the console is kept.
    pub log: PathBuf,
}

/// The end of an emulator without a crash of the firmware.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "device {device}: {}{}{} (log: {})",
    if *is_requested { "stopped, " } else { "" },
    how_it_ended(*status),
    emulator_lines.last().map(|line| format!(": {line}")).unwrap_or_default(),
    log.display()
)]
pub struct Exit {
    /// The device's index.
    pub device: u32,
    /// Whether it was asked to.
    pub is_requested: bool,
    /// The emulator's status.
    pub status: ExitStatus,
    /// The last lines of what the emulator said.
    pub emulator_lines: Vec<String>,
    /// Where the console is kept.
    pub log: PathBuf,
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("emulator ended with status {code}"),
        (None, Some(signal)) => match signal {
            6 => "emulator aborted".into(),
            9 => "emulator was killed".into(),
            25 => "emulator wrote too long a log".into(),
            _ => format!("emulator ended by signal {signal}"),
        },
        (None, None) => "emulator ended".into(),
    }
}

/// A machine that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineReport {
    /// The device's index.
    pub device: u32,
    /// Its final state.
    pub state: MachineState,
    /// What its process used, to the end.
    pub usage: Usage,
    /// How many bytes it printed.
    pub console_bytes: u64,
    /// How many of its events were not passed on, because there were too many
    /// in a second.
    pub events_dropped: u64,
    /// Why its console log is not whole, if it is not.
    pub log_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_says_what_when_and_where() {
        let mut hang = Hang {
            device: 7,
            what: "console output",
            since: "boot",
            deadline_ms: 5000,
            moments: Arc::default(),
            log: "runs/x/console/device-007.log".into(),
        };
        assert_eq!(
            hang.to_string(),
            "device 7: no console output within 5000 ms of boot (log: runs/x/console/device-007.log)"
        );
        hang.what = "`ready` event";
        hang.since = "the `run` command";
        Arc::make_mut(&mut hang.moments).last_lines = vec!["@zfl assigned client=7".into()];
        assert_eq!(
            hang.to_string(),
            "device 7: no `ready` event within 5000 ms of the `run` command, last line `@zfl assigned client=7` (log: runs/x/console/device-007.log)"
        );
    }

    #[test]
    fn an_exit_says_how() {
        let check = |raw: i32, is_requested: bool, lines: &[&str], expected: &str| {
            let exit = Exit {
                device: 0,
                is_requested,
                status: ExitStatus::from_raw(raw),
                emulator_lines: lines.iter().map(ToString::to_string).collect(),
                log: "l".into(),
            };
            assert_eq!(exit.to_string(), format!("device 0: {expected} (log: l)"));
        };
        check(0, false, &[], "emulator ended with status 0");
        check(0, true, &[], "stopped, emulator ended with status 0");
        check(
            3 << 8,
            false,
            &["a", "b"],
            "emulator ended with status 3: b",
        );
        check(9, true, &[], "stopped, emulator was killed");
        check(6, false, &["oh"], "emulator aborted: oh");
        check(11, false, &[], "emulator ended by signal 11");
    }
}
