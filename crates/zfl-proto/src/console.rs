//! The lines of a device's serial console.
//!
//! The host types a [`Command`] at the [`PROMPT`]; the device prints
//! [`Event`]s among whatever else it has to say. An event is a line that
//! begins with [`EVENT_PREFIX`].

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use crate::{ClientId, RoundIndex, Token};

/// What a device prints when it takes a command.
pub const PROMPT: &str = "zfl> ";
/// How a line begins that a program is meant to read.
pub const EVENT_PREFIX: &str = "@zfl ";
/// No command is longer, in bytes.
pub const COMMAND_BYTES_MAX: usize = 192;

/// A device knows no more faults that are to come.
pub const FAULTS_MAX: usize = 8;

/// What the commands are, for `help`.
pub const HELP: &str = "\
help                                   this text\n\
run <ipv4>/<prefix> coordinator=<ipv4>:<port> token=<32 hex digits> [instruction-ns=<n>]\n\
    [arena-bytes=<n>]\n\
                                       join the network and learn\n\
stats                                  counters and memory\n\
fault <round> away|quit|mute|hold|tell|truncate|duplicate|nan|negate\n\
fault <round> slow|scale|random <thousandths>\n\
fault <round> late <milliseconds>      go wrong in a round on purpose\n\
crash panic|fault|stack|hang [in-training]\n\
                                       end this device on purpose, now or when it trains";

/// What can be typed at the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// An empty line.
    Nothing,
    /// Lists the commands.
    Help,
    /// Joins the network and serves as a client.
    Run(RunOptions),
    /// Prints counters.
    Stats,
    /// Goes wrong on purpose once the round is there.
    Fault(RoundIndex, Fault),
    /// Ends the device on purpose, to see how that is told.
    Crash {
        /// In which way.
        how: Crash,
        /// Not before it trains: in the next piece of its work.
        in_training: bool,
    },
}

/// How to [`Command::Crash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// A Rust panic.
    Panic,
    /// A processor fault.
    Fault,
    /// More stack than there is.
    Stack,
    /// Interrupts off, for ever.
    Hang,
}

/// How a device goes wrong in one round, where it is told to ([`Command::Fault`]).
/// Numbers are thousandths and milliseconds, so that the line needs no
/// fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Takes no part: says that it is not ready.
    Away,
    /// Gives its training up in the middle, and is ready for the next round.
    Quit,
    /// Trains, and keeps the update to itself.
    Mute,
    /// Stands still in the middle of its training until it is ended.
    Hold,
    /// Says when its training begins: whoever reads the console does the rest.
    Tell,
    /// Pauses while it trains, so that the training takes so many thousandths
    /// of its time.
    Slow(u32),
    /// Sends parameters that are no numbers.
    Nan,
    /// Sends the parameters with the opposite sign.
    Negate,
    /// Sends the parameters times so many thousandths.
    Scale(u32),
    /// Sends random parameters, of so many thousandths at most.
    Random(u32),
    /// Sends a body that ends in the middle of the parameters.
    Truncate,
    /// Sends its update twice.
    Duplicate,
    /// Waits so many milliseconds before it sends its update.
    Late(u32),
}

impl Fault {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Quit => "quit",
            Self::Mute => "mute",
            Self::Hold => "hold",
            Self::Tell => "tell",
            Self::Slow(_) => "slow",
            Self::Nan => "nan",
            Self::Negate => "negate",
            Self::Scale(_) => "scale",
            Self::Random(_) => "random",
            Self::Truncate => "truncate",
            Self::Duplicate => "duplicate",
            Self::Late(_) => "late",
        }
    }

    fn parse(words: &mut Words<'_>) -> Result<Self, CommandError> {
        let (column, word) = words.next();
        let mut number = || {
            let (column, word) = words.next();
            let number = word.parse();
            number.map_err(|_| expected(column, "a whole number from 0 to 4294967295"))
        };
        Ok(match word {
            "away" => Self::Away,
            "quit" => Self::Quit,
            "mute" => Self::Mute,
            "hold" => Self::Hold,
            "tell" => Self::Tell,
            "slow" => Self::Slow(number()?),
            "nan" => Self::Nan,
            "negate" => Self::Negate,
            "scale" => Self::Scale(number()?),
            "random" => Self::Random(number()?),
            "truncate" => Self::Truncate,
            "duplicate" => Self::Duplicate,
            "late" => Self::Late(number()?),
            _ => return Err(expected(column, "a fault that `help` lists")),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Slow(number)
            | Self::Scale(number)
            | Self::Random(number)
            | Self::Late(number) => {
                write!(f, " {number}")
            }
            _ => Ok(()),
        }
    }
}

/// What a device needs to know to take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The device's own address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 1 to 30 bits.
    pub prefix_bits: u8,
    /// Where the coordinator is.
    pub coordinator: SocketAddrV4,
    /// The client's secret.
    pub token: Token,
    /// How long an instruction takes by the device's clock, in nanoseconds, 1
    /// to [`INSTRUCTION_NS_MAX`]; `None` where time does not follow the
    /// instructions.
    pub instruction_ns: Option<u32>,
    /// How much of its arena the device may use, in bytes: less than there is
    /// where it stands for a part with less memory. `None`: all.
    pub arena_bytes: Option<u32>,
}

/// An instruction takes no longer, in nanoseconds.
pub const INSTRUCTION_NS_MAX: u32 = 1 << 20;

impl fmt::Display for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "run {}/{} coordinator={} token={}",
            self.address, self.prefix_bits, self.coordinator, self.token
        )?;
        if let Some(instruction_ns) = self.instruction_ns {
            write!(f, " instruction-ns={instruction_ns}")?;
        }
        if let Some(arena_bytes) = self.arena_bytes {
            write!(f, " arena-bytes={arena_bytes}")?;
        }
        Ok(())
    }
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// Where, in bytes from 1.
    pub column: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}", self.column, self.expected)
    }
}

impl core::error::Error for CommandError {}

/// The words of a line with their columns.
struct Words<'a> {
    line: &'a str,
    offset: usize,
}

impl<'a> Words<'a> {
    /// The next word and its column; at the end, an empty word.
    fn next(&mut self) -> (usize, &'a str) {
        let rest = self.line.get(self.offset..).unwrap_or("");
        let trimmed = rest.trim_start();
        let start = self.offset + (rest.len() - trimmed.len());
        let length = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        self.offset = start + length;
        (start + 1, &trimmed[..length])
    }
}

impl Command {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// Says at which column what was expected.
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let mut words = Words { line, offset: 0 };
        let (column, word) = words.next();
        let command = match word {
            "" => Self::Nothing,
            "help" => Self::Help,
            "stats" => Self::Stats,
            "run" => Self::Run(RunOptions::parse(&mut words)?),
            "fault" => {
                let (column, word) = words.next();
                let round = word.parse().map_err(|_| expected(column, "a round"))?;
                Self::Fault(RoundIndex(round), Fault::parse(&mut words)?)
            }
            "crash" => {
                let how = match words.next() {
                    (_, "panic") => Crash::Panic,
                    (_, "fault") => Crash::Fault,
                    (_, "stack") => Crash::Stack,
                    (_, "hang") => Crash::Hang,
                    (column, _) => return Err(expected(column, "panic, fault, stack or hang")),
                };
                let in_training = match words.next() {
                    (_, "") => false,
                    (_, "in-training") => true,
                    (column, _) => return Err(expected(column, "in-training or the end")),
                };
                Self::Crash { how, in_training }
            }
            _ => return Err(expected(column, "help, run, stats, fault or crash")),
        };
        match words.next() {
            (_, "") => Ok(command),
            (column, _) => Err(expected(column, "the end of the line")),
        }
    }
}

const fn expected(column: usize, expected: &'static str) -> CommandError {
    CommandError { column, expected }
}

impl RunOptions {
    fn parse(words: &mut Words<'_>) -> Result<Self, CommandError> {
        let (column, word) = words.next();
        let (address, prefix) = word
            .split_once('/')
            .ok_or(expected(column, "an address as 192.0.2.10/24"))?;
        let address = address
            .parse()
            .map_err(|_| expected(column, "an IPv4 address"))?;
        let prefix_bits = prefix
            .parse()
            .ok()
            .filter(|bits| (1..=30).contains(bits))
            .ok_or(expected(
                column + word.len() - prefix.len(),
                "a prefix length of 1 to 30",
            ))?;
        let (column, word) = words.next();
        let coordinator = word
            .strip_prefix("coordinator=")
            .and_then(|value| value.parse().ok())
            .ok_or(expected(column, "coordinator=<ipv4>:<port>"))?;
        let (column, word) = words.next();
        let token = word
            .strip_prefix("token=")
            .and_then(|value| value.parse().ok())
            .ok_or(expected(column, "token=<32 hexadecimal digits>"))?;
        let (mut instruction_ns, mut arena_bytes) = (None, None);
        loop {
            let (column, word) = words.next();
            if word.is_empty() {
                break;
            }
            if let Some(value) = word.strip_prefix("instruction-ns=") {
                let value = value.parse().ok();
                instruction_ns = Some(
                    value
                        .filter(|ns| (1..=INSTRUCTION_NS_MAX).contains(ns))
                        .ok_or(expected(column, "instruction-ns=<1 to 1048576>"))?,
                );
            } else if let Some(value) = word.strip_prefix("arena-bytes=") {
                let value = value.parse().ok();
                arena_bytes = Some(value.ok_or(expected(column, "arena-bytes=<0 to 4294967295>"))?);
            } else {
                return Err(expected(column, "instruction-ns=, arena-bytes= or the end"));
            }
        }
        Ok(Self {
            address,
            prefix_bits,
            coordinator,
            token,
            instruction_ns,
            arena_bytes,
        })
    }
}

/// What a device tells about itself, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The firmware runs.
    Boot {
        /// Which board it was built for.
        board: &'a str,
        /// Its version.
        version: &'a str,
        /// Memory for data and model, in bytes.
        arena_bytes: u32,
    },
    /// The coordinator told it who it is.
    Assigned(ClientId),
    /// It has its share of the data and serves.
    Ready {
        /// Who it is.
        client: ClientId,
        /// Samples in its share.
        sample_count: u32,
    },
    /// It trains.
    Training(RoundIndex),
    /// The coordinator has its update.
    Reported(RoundIndex),
    /// It goes wrong in this round as it was told to, and how.
    Injected {
        /// Which round.
        round: RoundIndex,
        /// The word of the [`Fault`].
        kind: &'a str,
    },
    /// Something failed; the device goes on.
    Failed(&'a str),
    /// A Rust panic; the machine stops after a few more lines.
    Panic(&'a str),
    /// A processor fault; the machine stops after a few more lines.
    Fault(&'a str),
    /// Counters as `key=value` words.
    Stats(&'a str),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EVENT_PREFIX)?;
        match self {
            Self::Boot {
                board,
                version,
                arena_bytes,
            } => write!(
                f,
                "boot board={board} version={version} arena={arena_bytes}"
            ),
            Self::Assigned(client) => write!(f, "assigned client={client}"),
            Self::Ready {
                client,
                sample_count,
            } => write!(f, "ready client={client} samples={sample_count}"),
            Self::Training(round) => write!(f, "training round={round}"),
            Self::Reported(round) => write!(f, "reported round={round}"),
            Self::Injected { round, kind } => write!(f, "injected round={round} kind={kind}"),
            Self::Failed(text) => write!(f, "failed {text}"),
            Self::Panic(text) => write!(f, "panic {text}"),
            Self::Fault(text) => write!(f, "fault {text}"),
            Self::Stats(text) => write!(f, "stats {text}"),
        }
    }
}

impl<'a> Event<'a> {
    /// Reads a line without its end; `None` where it is no event, or none
    /// that this version knows.
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix(EVENT_PREFIX)?.trim_end();
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match name {
            "boot" => {
                let mut fields = Fields(rest);
                Self::Boot {
                    board: fields.text("board")?,
                    version: fields.text("version")?,
                    arena_bytes: fields.number("arena")?,
                }
            }
            "assigned" => Self::Assigned(ClientId(Fields(rest).number("client")?)),
            "ready" => {
                let mut fields = Fields(rest);
                Self::Ready {
                    client: ClientId(fields.number("client")?),
                    sample_count: fields.number("samples")?,
                }
            }
            "training" => Self::Training(RoundIndex(Fields(rest).number("round")?)),
            "reported" => Self::Reported(RoundIndex(Fields(rest).number("round")?)),
            "injected" => {
                let mut fields = Fields(rest);
                Self::Injected {
                    round: RoundIndex(fields.number("round")?),
                    kind: fields.text("kind")?,
                }
            }
            "failed" => Self::Failed(rest),
            "panic" => Self::Panic(rest),
            "fault" => Self::Fault(rest),
            "stats" => Self::Stats(rest),
            _ => return None,
        })
    }
}

/// `key=value` words, in their order.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        word.strip_prefix(key)?.strip_prefix('=')
    }

    fn number(&mut self, key: &str) -> Option<u32> {
        self.text(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: &str =
        "run 192.0.2.10/24 coordinator=192.0.2.2:8080 token=000102030405060708090a0b0c0d0e0f";

    #[test]
    fn a_run_command_survives_its_text() {
        let Ok(Command::Run(options)) = Command::parse(RUN) else {
            panic!("{:?}", Command::parse(RUN));
        };
        assert_eq!(options.to_string(), RUN);
        assert!(RUN.len() <= COMMAND_BYTES_MAX);
        assert_eq!(options.prefix_bits, 24);
    }

    #[test]
    fn a_bad_command_says_where() {
        let check = |line: &str, column: usize, what: &str| {
            let error = Command::parse(line).unwrap_err();
            assert_eq!((error.column, error.expected), (column, what), "{line}");
        };
        check("fly", 1, "help, run, stats, fault or crash");
        check("  help me", 8, "the end of the line");
        check("run", 4, "an address as 192.0.2.10/24");
        check("run 1.2.3/24 ", 5, "an IPv4 address");
        check("run 1.2.3.4/31 x", 13, "a prefix length of 1 to 30");
        check("run 1.2.3.4/24 x", 16, "coordinator=<ipv4>:<port>");
        check("crash softly", 7, "panic, fault, stack or hang");
        check("fault soon nan", 7, "a round");
        check("fault 3 naan", 9, "a fault that `help` lists");
        check("fault 3 late", 13, "a whole number from 0 to 4294967295");
        check("fault 3 nan 7", 13, "the end of the line");
        check("crash panic soon", 13, "in-training or the end");
        check("crash panic in-training now", 25, "the end of the line");
        check(
            &RUN.replace("0e0f", "0e0g"),
            46,
            "token=<32 hexadecimal digits>",
        );
    }

    #[test]
    fn a_fault_survives_its_text() {
        for fault in [
            Fault::Away,
            Fault::Quit,
            Fault::Mute,
            Fault::Hold,
            Fault::Tell,
            Fault::Slow(2500),
            Fault::Nan,
            Fault::Negate,
            Fault::Scale(10_000),
            Fault::Random(500),
            Fault::Truncate,
            Fault::Duplicate,
            Fault::Late(u32::MAX),
        ] {
            let line = std::format!("fault 4294967295 {fault}");
            let round = RoundIndex(u32::MAX);
            assert_eq!(Command::parse(&line), Ok(Command::Fault(round, fault)));
            assert!(HELP.contains(fault.name()), "{fault}");
        }
    }

    #[test]
    fn a_crash_is_now_or_in_training() {
        for (line, in_training) in [("crash stack", false), (" crash  stack in-training ", true)] {
            let how = Crash::Stack;
            assert_eq!(
                Command::parse(line),
                Ok(Command::Crash { how, in_training })
            );
        }
    }

    #[test]
    fn an_event_survives_its_text() {
        for event in [
            Event::Boot {
                board: "mps2-an386",
                version: "0.1.0",
                arena_bytes: 4_000_000,
            },
            Event::Assigned(ClientId(7)),
            Event::Ready {
                client: ClientId(7),
                sample_count: 120,
            },
            Event::Training(RoundIndex(3)),
            Event::Reported(RoundIndex(3)),
            Event::Injected {
                round: RoundIndex(3),
                kind: "slow",
            },
            Event::Failed("no route to the coordinator"),
            Event::Panic("at x.rs:3: no"),
            Event::Fault("bus fault"),
            Event::Stats("uptime_us=12"),
        ] {
            assert_eq!(Event::parse(&event.to_string()), Some(event));
        }
        for line in ["", "zfl> ", "@zfl ", "@zfl ready client=x", "@zfl dance"] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(@zfl |run )?[ -~é]{0,60}") {
            let _ = Command::parse(&line);
            let _ = Event::parse(&line);
        }
    }
}
