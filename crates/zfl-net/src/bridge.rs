//! A Linux bridge and taps, in a network namespace of the run's own.
//!
//! The other way to connect a fleet, for those who want to look with the
//! kernel's tools (`nsenter`, `tcpdump -i zfltap7`, `bridge`, `tc`). Everything
//! runs inside the namespace, the coordinator included: it listens on the
//! gateway's address and reaches a device at port 80 of its own. The kernel
//! moves the frames; switch, gateway and link models are not in it.
//!
//! A program that wants it calls [`reexec`] at its start unless [`is_inside`],
//! and then [`Bridge::set_up`]. The namespace and all in it end with the last
//! process inside: nothing is left to be cleaned up, however the run ends.
//!
//! Devices can talk to the gateway only: the taps are isolated ports.

use core::time::Duration;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, geteuid, pidfd_open};
use rustix::time::Timespec;

use crate::address::{AddressPlan, DEVICE_PORT, MacAddress};
use crate::counters::Traffic;

/// The environment variable that marks a process inside the namespace: `1`.
pub const NAMESPACE_MARK: &str = "ZFL_NETWORK_NAMESPACE";

/// The bridge's name.
pub const BRIDGE_NAME: &str = "zfl0";

/// What a tap's name begins with; the device's number follows.
pub const TAP_PREFIX: &str = "zfltap";

/// The ports of a Linux bridge (`net/bridge/br_private.h`, `BR_PORT_BITS`; port
/// 0 is not used).
pub const DEVICES_MAX: usize = 1023;

/// Where taps come from.
const TUN_DEVICE: &str = "/dev/net/tun";

/// Where the kernel counts, for the namespace of who reads it. `/sys/class/net`
/// shows the namespace in which it was mounted.
const INTERFACE_COUNTERS: &str = "/proc/self/net/dev";

/// How long `ip` or `unshare` may take: `ip` makes a thousand taps in seconds.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(60);

/// The bridge could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A program is not installed.
    #[error("`{program}` is not installed (apt-get install {package})")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The system allows no network namespace.
    #[error(
        "no network namespace may be created here: {reasons} (run as root, or allow user \
         namespaces: sysctl -w user.max_user_namespaces=10000, on older Debian also \
         kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; \
         or use the user-space network, which needs none)"
    )]
    NamespaceForbidden {
        /// What was tried and what came of it.
        reasons: String,
    },
    /// The process is in the machine's own network, which is not touched.
    #[error(
        "the bridge is set up only in a network namespace of the run's own \
         ({NAMESPACE_MARK} is not 1)"
    )]
    NotInside,
    /// There are more devices than ports.
    #[error(
        "{devices} devices do not fit a Linux bridge, which has {DEVICES_MAX} ports (use fewer \
         devices, or the user-space network)"
    )]
    TooManyDevices {
        /// The devices asked for.
        devices: usize,
    },
    /// The kernel has no taps to offer.
    #[error(
        "{TUN_DEVICE} is missing (modprobe tun; for a container: --device {TUN_DEVICE}; or use the \
         user-space network)"
    )]
    TunMissing,
    /// The user may not make taps.
    #[error(
        "{TUN_DEVICE} may not be opened: {source} (run as root, or chmod 0666 {TUN_DEVICE}; or use \
         the user-space network)"
    )]
    TunForbidden {
        /// Why.
        source: io::Error,
    },
    /// The kernel refused a part of the bridge.
    #[error("`ip` failed at `{command}`: {message}")]
    Refused {
        /// The command, as one would type it after `ip`.
        command: String,
        /// What `ip` said.
        message: String,
    },
    /// A program did not end in time and was killed.
    #[error("`{program}` did not end within {} s", PROGRAM_DEADLINE.as_secs())]
    Hung {
        /// The program.
        program: String,
    },
    /// Something else failed.
    #[error("the bridge failed to {operation}: {source}")]
    System {
        /// What was attempted.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn failed_to<E: Into<io::Error>>(operation: &'static str) -> impl Fn(E) -> BridgeError {
    move |error| BridgeError::System {
        operation,
        source: error.into(),
    }
}

/// Whether this process runs inside the namespace that [`reexec`] made.
pub fn is_inside() -> bool {
    std::env::var_os(NAMESPACE_MARK).is_some_and(|mark| mark == "1")
}

/// Runs the current program with these arguments in a fresh network namespace,
/// in place of this process: its number, its terminal and its signals stay,
/// and so whatever ends the one ends the other. Returns only when that failed.
pub fn reexec<I, S>(arguments: I) -> BridgeError
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    match reexec_command(arguments) {
        Ok(mut command) => failed_to("run itself in a network namespace")(command.exec()),
        Err(error) => error,
    }
}

/// The command that runs the current program with these arguments in a fresh
/// network namespace.
///
/// An ordinary user gets a user namespace around it, in which it is root. Root
/// gets none where possible: inside one it could not write to other users'
/// folders. (`unshare` becomes the program: there is no process between.)
///
/// # Errors
/// When no namespace may be created, or `unshare` is not installed.
pub fn reexec_command<I, S>(arguments: I) -> Result<Command, BridgeError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let program = std::env::current_exe().map_err(failed_to("find its own program"))?;
    let mut command = Command::new("unshare");
    command
        .args(namespace_flags()?)
        .arg("--")
        .arg(program)
        .args(arguments)
        .env(NAMESPACE_MARK, "1");
    Ok(command)
}

/// The first of `unshare`'s ways to a network namespace that is allowed here.
fn namespace_flags() -> Result<&'static [&'static str], BridgeError> {
    const ROOT: &[&str] = &["--net"];
    const USER: &[&str] = &["--user", "--map-root-user", "--net"];
    let ways: &[&'static [&str]] = if geteuid().is_root() {
        &[ROOT, USER]
    } else {
        &[USER]
    };
    let mut reasons = Vec::new();
    for flags in ways {
        let mut command = Command::new("unshare");
        command.args(*flags).args(["--", "true"]);
        let (status, message) = run("unshare", "util-linux", &mut command, "")?;
        if status.success() {
            return Ok(flags);
        }
        reasons.push(format!("`unshare {}`: {message}", flags.join(" ")));
    }
    Err(BridgeError::NamespaceForbidden {
        reasons: reasons.join("; "),
    })
}

/// The frames of a tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCounters {
    /// Frames the device sent.
    pub from_device: Traffic,
    /// Frames handed to the device.
    pub to_device: Traffic,
    /// Frames dropped on either way.
    pub dropped_frames: u64,
}

/// A bridge with the gateway's address and a tap for every device.
#[derive(Debug)]
pub struct Bridge {
    plan: AddressPlan,
}

impl Bridge {
    /// Makes the bridge, its address and the taps, in this process's namespace.
    ///
    /// # Errors
    /// Outside a namespace of the run's own, without `ip` or `/dev/net/tun`, and
    /// when the kernel refuses.
    pub fn set_up(plan: AddressPlan, seed: u64) -> Result<Self, BridgeError> {
        if !is_inside() {
            return Err(BridgeError::NotInside);
        }
        let devices = plan.devices();
        if devices > DEVICES_MAX {
            return Err(BridgeError::TooManyDevices { devices });
        }
        match OpenOptions::new().read(true).write(true).open(TUN_DEVICE) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(BridgeError::TunForbidden { source: error });
            }
            // ENODEV: the file is there and the kernel's module is not.
            Err(_) => return Err(BridgeError::TunMissing),
        }
        // Or the kernel would greet the devices with IPv6 of its own. Where it
        // has none there is nothing to switch off.
        for scope in ["all", "default"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
        }
        run_ip(&script(&plan, MacAddress::for_gateway(seed)))?;
        Ok(Self { plan })
    }

    /// The tap of a device, for `-netdev tap,ifname=…,script=no,downscript=no`.
    pub fn tap(&self, device: usize) -> Option<String> {
        (device < self.plan.devices()).then(|| tap_name(device))
    }

    /// Where the coordinator must listen: the gateway's address.
    pub const fn coordinator(&self) -> SocketAddrV4 {
        self.plan.coordinator()
    }

    /// Where host programs inside the namespace reach a device.
    pub fn endpoint(&self, device: usize) -> Option<SocketAddr> {
        let address = self.plan.device(device)?;
        Some(SocketAddr::from((address, DEVICE_PORT)))
    }

    /// What the taps have seen until now, by device.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn counters(&self) -> Result<Vec<TapCounters>, BridgeError> {
        let table =
            std::fs::read_to_string(INTERFACE_COUNTERS).map_err(failed_to("read its counters"))?;
        Ok(parse_counters(&table, self.plan.devices()))
    }
}

fn tap_name(device: usize) -> String {
    format!("{TAP_PREFIX}{device}")
}

/// The commands for `ip`, one a line.
fn script(plan: &AddressPlan, mac: MacAddress) -> String {
    let mut lines = vec![
        "link set dev lo up".to_owned(),
        // Without an address of its own a bridge takes the least of its ports'.
        format!("link add name {BRIDGE_NAME} address {mac} type bridge"),
        format!(
            "address add {}/{} dev {BRIDGE_NAME}",
            plan.gateway(),
            plan.prefix_length()
        ),
        format!("link set dev {BRIDGE_NAME} up"),
    ];
    for tap in (0..plan.devices()).map(tap_name) {
        lines.push(format!("tuntap add dev {tap} mode tap"));
        lines.push(format!("link set dev {tap} master {BRIDGE_NAME}"));
        lines.push(format!("link set dev {tap} type bridge_slave isolated on"));
        lines.push(format!("link set dev {tap} up"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Runs all the commands in one process.
fn run_ip(script: &str) -> Result<(), BridgeError> {
    let mut result = Err(BridgeError::MissingProgram {
        program: "ip",
        package: "iproute2",
    });
    // Debian leaves the `sbin` folders out of an ordinary user's path.
    for program in ["ip", "/usr/sbin/ip", "/sbin/ip"] {
        let mut command = Command::new(program);
        command.args(["-batch", "-"]);
        result = run("ip", "iproute2", &mut command, script);
        if !matches!(result, Err(BridgeError::MissingProgram { .. })) {
            break;
        }
    }
    let (status, message) = result?;
    if status.success() {
        return Ok(());
    }
    Err(refusal(script, &message))
}

/// What went wrong, from the end of `ip`'s message: `Command failed -:7`.
fn refusal(script: &str, message: &str) -> BridgeError {
    let (text, line) = message
        .rsplit_once("Command failed -:")
        .unwrap_or((message, ""));
    let command = line
        .trim()
        .parse::<usize>()
        .ok()
        .and_then(|line| script.lines().nth(line.checked_sub(1)?))
        .unwrap_or("-batch -");
    BridgeError::Refused {
        command: command.to_owned(),
        message: text.trim().replace('\n', "; "),
    }
}

/// Runs a program to its end: its status and what it said on standard error.
fn run(
    program: &'static str,
    package: &'static str,
    command: &mut Command,
    input: &str,
) -> Result<(ExitStatus, String), BridgeError> {
    // Files and no pipes, so that nobody can wait for the other.
    let mut stdin = scratch_file(input).map_err(failed_to("make a file in memory"))?;
    let mut stderr = scratch_file("").map_err(failed_to("make a file in memory"))?;
    stdin.rewind().map_err(failed_to("rewind a file"))?;
    let child = command
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(
            stderr
                .try_clone()
                .map_err(failed_to("duplicate a descriptor"))?,
        )
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => BridgeError::MissingProgram { program, package },
            _ => failed_to("start a program")(error),
        })?;
    let status = wait(child, program)?;
    let mut message = Vec::new();
    stderr.rewind().map_err(failed_to("rewind a file"))?;
    stderr
        .read_to_end(&mut message)
        .map_err(failed_to("read what a program said"))?;
    Ok((status, String::from_utf8_lossy(&message).trim().to_owned()))
}

fn scratch_file(content: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("zfl", MemfdFlags::CLOEXEC)?);
    file.write_all(content.as_bytes())?;
    Ok(file)
}

/// Waits for a process, no longer than the deadline.
fn wait(mut child: Child, program: &str) -> Result<ExitStatus, BridgeError> {
    let deadline = Timespec {
        tv_sec: i64::try_from(PROGRAM_DEADLINE.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .map_err(failed_to("watch a process"))?;
    let mut watched = [PollFd::new(&end, PollFlags::IN)];
    if matches!(poll(&mut watched, Some(&deadline)), Ok(0)) {
        // It may have ended just now; then it is waited for all the same.
        let _ = child.kill();
        let _ = child.wait();
        return Err(BridgeError::Hung {
            program: program.to_owned(),
        });
    }
    child.wait().map_err(failed_to("wait for a process"))
}

/// Reads the kernel's table: two lines of heading, then for each interface its
/// name, eight numbers of what it received and eight of what it sent. A tap
/// receives what its device sends.
fn parse_counters(table: &str, devices: usize) -> Vec<TapCounters> {
    let mut counters = vec![TapCounters::default(); devices];
    for line in table.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        let device = name
            .trim()
            .strip_prefix(TAP_PREFIX)
            .and_then(|number| number.parse::<usize>().ok());
        let Some(slot) = device.and_then(|device| counters.get_mut(device)) else {
            continue;
        };
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        let number = |index| numbers.get(index).copied().unwrap_or(0);
        *slot = TapCounters {
            from_device: Traffic {
                bytes: number(0),
                frames: number(1),
            },
            to_device: Traffic {
                bytes: number(8),
                frames: number(9),
            },
            dropped_frames: number(3) + number(11),
        };
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_makes_a_bridge_with_isolated_taps() {
        let plan = AddressPlan::for_fleet(2).unwrap();
        let expected = "\
link set dev lo up
link add name zfl0 address 02:00:00:00:00:01 type bridge
address add 192.0.2.2/24 dev zfl0
link set dev zfl0 up
tuntap add dev zfltap0 mode tap
link set dev zfltap0 master zfl0
link set dev zfltap0 type bridge_slave isolated on
link set dev zfltap0 up
tuntap add dev zfltap1 mode tap
link set dev zfltap1 master zfl0
link set dev zfltap1 type bridge_slave isolated on
link set dev zfltap1 up
";
        assert_eq!(script(&plan, MacAddress([2, 0, 0, 0, 0, 1])), expected);
    }

    #[test]
    fn a_refusal_names_the_command() {
        let error = refusal(
            "first\nsecond\n",
            "RTNETLINK answers: Operation not permitted\nCommand failed -:2",
        );
        assert_eq!(
            error.to_string(),
            "`ip` failed at `second`: RTNETLINK answers: Operation not permitted"
        );
        let error = refusal("first\n", "something new");
        assert_eq!(
            error.to_string(),
            "`ip` failed at `-batch -`: something new"
        );
    }

    #[test]
    fn the_kernels_counters_are_read() {
        let table = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       9       9    9    9    9     9          9         9        9       9    9    9    9     9       9          9
zfltap1:    1000      10    0    3    0     0          0         0     2000      20    0    4    0     0       0          0
zfltap12:       9       9    9    9    9     9          9         9        9       9    9    9    9     9       9          9
";
        let expected = TapCounters {
            from_device: Traffic {
                frames: 10,
                bytes: 1000,
            },
            to_device: Traffic {
                frames: 20,
                bytes: 2000,
            },
            dropped_frames: 7,
        };
        assert_eq!(parse_counters(table, 2), [TapCounters::default(), expected]);
    }

    #[test]
    fn the_machines_own_network_is_left_alone() {
        let plan = AddressPlan::for_fleet(1).unwrap();
        let error = Bridge::set_up(plan, 1).unwrap_err();
        assert!(matches!(error, BridgeError::NotInside), "{error}");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let mut command = Command::new("/nonexistent/ip");
        let error = run("ip", "iproute2", &mut command, "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`ip` is not installed (apt-get install iproute2)"
        );
    }

    #[test]
    fn a_program_is_given_its_input_and_heard() {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; echo \"heard $line\" >&2; exit 3"]);
        let (status, message) = run("sh", "dash", &mut command, "this\n").unwrap();
        assert_eq!((status.code(), message.as_str()), (Some(3), "heard this"));
    }
}
