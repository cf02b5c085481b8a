//! What of this host a fleet takes, and whether there is so much: open files,
//! processes, ports, memory.
//!
//! Looked at before anything is started. A machine that the system refuses
//! half-way through a thousand tells neither how many would have been possible
//! nor what to change.

use std::collections::HashSet;
use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a machine holds open in this process: console, process, log.
pub const DESCRIPTORS_PER_MACHINE: u64 = 3;

/// What else a process has open: standard streams, event loops, libraries,
/// the files of a run, and what passes through while a machine starts.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Threads of an emulator: its event loop, its processor, its reclaimer of
/// memory. The system counts each as a process.
pub const THREADS_PER_MACHINE: u64 = 3;

/// Threads that this process itself may start.
const THREADS_RESERVED: u64 = 64;

/// Loopback ports besides the one of each device: connections between the
/// gateway and the coordinator, each for a minute longer than it lasts.
pub const PORTS_RESERVED: u64 = 2048;

/// Memory of an emulator that has its data, where it shares with many others
/// (PSS): 13.2 MiB of an mps2-an386 with the digits, and a little less before
/// it first trains.
pub const MACHINE_BYTES: u64 = 13 << 20;

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// There is too little room for a fleet on this host.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// Of open files.
    #[error(transparent)]
    Descriptors(#[from] DescriptorLimitError),
    /// Of something else.
    #[error("{} {} are needed for {devices} devices and {} are free: {}", need.needed, need.what, need.free.unwrap_or(u64::MAX), need.remedy)]
    Short {
        /// The size of the fleet.
        devices: usize,
        /// What is too little.
        need: Box<Need>,
    },
}

/// Something that a fleet takes of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is, in the plural.
    pub what: String,
    /// How many the fleet takes.
    pub needed: u64,
    /// How many there are to be had; `None` where nothing bounds them, or
    /// nothing says how.
    pub free: Option<u64>,
    /// The command that gives more.
    pub remedy: String,
}

impl Need {
    /// Whether there are enough.
    pub fn is_met(&self) -> bool {
        self.free.is_none_or(|free| free >= self.needed)
    }
}

/// Makes sure that this host has room for a fleet of `devices`, which has
/// `descriptors` files open; raises the soft limit on these where it must.
///
/// # Errors
/// What there is too little of, with the command that gives more.
pub fn ensure_room(devices: usize, descriptors: u64) -> Result<(), RoomError> {
    ensure_descriptors(descriptors)?;
    match needs(devices).into_iter().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => Err(RoomError::Short {
            devices,
            need: Box::new(need),
        }),
    }
}

/// What a fleet of `devices` takes of this host besides open files.
pub fn needs(devices: usize) -> Vec<Need> {
    let is_root = rustix::process::geteuid().is_root();
    let host = Host {
        read: &|path| fs::read_to_string(path).ok(),
        // Root's processes are not counted (getrlimit(2)).
        process_limit: getrlimit(Resource::Nproc)
            .current
            .filter(|_| !is_root)
            .map(|limit| limit.saturating_sub(threads_of_user())),
    };
    host.needs(devices as u64)
}

/// Threads of all processes of this user.
fn threads_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::getuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let threads = processes.flatten().filter_map(|process| {
        let is_process = process.file_name().to_str()?.parse::<u32>().is_ok();
        if !is_process || process.metadata().ok()?.uid() != user {
            return None;
        }
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        number_after(&status, "Threads:")
    });
    threads.sum()
}

/// The number that follows `label` at the start of a line.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What the system says of itself.
struct Host<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    /// Processes that this user may still start, where there is a limit.
    process_limit: Option<u64>,
}

impl Host<'_> {
    fn needs(&self, devices: u64) -> Vec<Need> {
        let threads = devices * THREADS_PER_MACHINE + THREADS_RESERVED;
        let mut needs = vec![Need {
            what: "processes of this user".into(),
            needed: threads,
            free: self.process_limit,
            remedy: format!(
                "run `ulimit -u {}` in this shell first (as root, or with a higher nproc in \
                 /etc/security/limits.conf)",
                self.threads_in_use().unwrap_or(0) + threads
            ),
        }];
        for limit in ["threads-max", "pid_max"] {
            let path = format!("/proc/sys/kernel/{limit}");
            let allowed = self.number(&path);
            let in_use = self.threads_in_use();
            needs.push(Need {
                what: format!("processes of this system (kernel.{limit})"),
                needed: threads,
                free: allowed
                    .zip(in_use)
                    .map(|(allowed, in_use)| allowed.saturating_sub(in_use)),
                remedy: format!(
                    "sysctl -w kernel.{limit}={} (as root)",
                    in_use.unwrap_or(0) + threads
                ),
            });
        }
        needs.push(self.pids_of_group(threads));
        needs.push(self.ports(devices));
        needs.push(self.memory(devices));
        needs
    }

    fn number(&self, path: &str) -> Option<u64> {
        (self.read)(path)?.trim().parse().ok()
    }

    /// Threads of all processes: the fourth field, `running/all`, of
    /// `/proc/loadavg`.
    fn threads_in_use(&self) -> Option<u64> {
        let load = (self.read)("/proc/loadavg")?;
        let (_, all) = load.split_ascii_whitespace().nth(3)?.split_once('/')?;
        all.parse().ok()
    }

    /// The folders of the control group for `controller` and of those around
    /// it, from the innermost (cgroups(7), both versions).
    fn groups(&self, controller: &str) -> Vec<String> {
        let text = (self.read)("/proc/self/cgroup").unwrap_or_default();
        let mut groups = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let root = match controllers {
                "" => CGROUPS.to_owned(),
                _ if controllers.split(',').any(|name| name == controller) => {
                    format!("{CGROUPS}/{controller}")
                }
                _ => continue,
            };
            let mut path = path.trim_end_matches('/');
            loop {
                groups.push(format!("{root}{path}"));
                match path.rsplit_once('/') {
                    Some((parent, _)) => path = parent,
                    None => break,
                }
            }
        }
        groups
    }

    fn pids_of_group(&self, threads: u64) -> Need {
        // The tightest of the groups.
        let free = |group: &String| {
            // A group without limit says `max`.
            let allowed = self.number(&format!("{group}/pids.max"))?;
            let in_use = self.number(&format!("{group}/pids.current"))?;
            Some((allowed.saturating_sub(in_use), in_use, group.clone()))
        };
        let tightest = self.groups("pids").iter().filter_map(free).min();
        let (free, in_use, group) = match tightest {
            Some((free, in_use, group)) => (Some(free), in_use, group),
            None => (None, 0, CGROUPS.to_owned()),
        };
        Need {
            what: "processes of this control group".into(),
            needed: threads,
            free,
            remedy: format!(
                "echo {} > {group}/pids.max (as root; of a container: --pids-limit)",
                in_use + threads
            ),
        }
    }

    /// Ports that the system gives away by itself (ip(7)): the gateway listens
    /// on one for each device.
    fn ports(&self, devices: u64) -> Need {
        let range = (self.read)("/proc/sys/net/ipv4/ip_local_port_range").and_then(|range| {
            let mut ends = range.split_ascii_whitespace().map(str::parse::<u64>);
            Some(ends.next()?.ok()?..=ends.next()?.ok()?)
        });
        let free = range.map(|range| {
            let sockets = (self.read)("/proc/net/tcp").unwrap_or_default();
            let taken: HashSet<u64> = sockets
                .lines()
                .filter_map(local_port)
                .filter(|port| range.contains(port))
                .collect();
            (range.end() + 1)
                .saturating_sub(*range.start())
                .saturating_sub(taken.len() as u64)
        });
        Need {
            what: "loopback ports".into(),
            needed: devices + PORTS_RESERVED,
            free,
            remedy: "sysctl -w net.ipv4.ip_local_port_range='1024 65535' (as root)".into(),
        }
    }

    fn memory(&self, devices: u64) -> Need {
        let whole = (self.read)("/proc/meminfo").and_then(|memory| {
            let kilobytes = number_after(&memory, "MemAvailable:")?
                + number_after(&memory, "SwapFree:").unwrap_or(0);
            Some(kilobytes * 1024)
        });
        let of_group = |group: &String| {
            let number = |names: [&str; 2]| {
                let number = |name| self.number(&format!("{group}/{name}"));
                names.into_iter().find_map(number)
            };
            let allowed = number(["memory.max", "memory.limit_in_bytes"])?;
            let in_use = number(["memory.current", "memory.usage_in_bytes"])?;
            // Files that the system drops when it needs their memory.
            let cached = (self.read)(&format!("{group}/memory.stat"))
                .and_then(|stat| number_after(&stat, "inactive_file "))
                .unwrap_or(0);
            Some(allowed.saturating_sub(in_use.saturating_sub(cached)))
        };
        let groups = self.groups("memory");
        let free = whole.into_iter().chain(groups.iter().filter_map(of_group));
        let free = free.min().map(|bytes| bytes >> 20);
        let each = MACHINE_BYTES >> 20;
        let needed = devices * each;
        let missing = needed.saturating_sub(free.unwrap_or(needed)).div_ceil(1024);
        Need {
            what: "MiB of memory".into(),
            needed,
            free,
            remedy: format!(
                "start at most {} devices, or add swap (as root): fallocate -l {missing}G /swap \
                 && chmod 600 /swap && mkswap /swap && swapon /swap",
                free.unwrap_or(0) / each
            ),
        }
    }
}

/// The local port of a line of `/proc/net/tcp`: `N: ADDRESS:PORT …`, in
/// hexadecimal.
fn local_port(line: &str) -> Option<u64> {
    let (_, port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
    u64::from_str_radix(port, 16).ok()
}

/// The limit is too low and cannot be raised from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "{needed} open files are needed and {allowed} allowed: run `ulimit -n {needed}` in this shell first (as root, or with a higher nofile in /etc/security/limits.conf)"
)]
pub struct DescriptorLimitError {
    /// How many are needed.
    pub needed: u64,
    /// The hard limit.
    pub allowed: u64,
}

/// How many files may be open now: the soft and the hard limit; `None` is
/// without limit.
pub fn descriptor_limits() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Makes sure that `needed` files can be open, raising the soft limit as far
/// as the hard one where it must.
///
/// # Errors
/// If the hard limit is lower than `needed`.
pub fn ensure_descriptors(needed: u64) -> Result<(), DescriptorLimitError> {
    let limit = getrlimit(Resource::Nofile);
    let fits = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if fits(limit.current) {
        return Ok(());
    }
    let error = |allowed: Option<u64>| DescriptorLimitError {
        needed,
        allowed: allowed.unwrap_or(u64::MAX),
    };
    if !fits(limit.maximum) {
        return Err(error(limit.maximum));
    }
    // Only as far as needed: some programs walk every descriptor there may be,
    // and the machines inherit the limit.
    let raised = Rlimit {
        current: Some(needed),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| error(limit.current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_as_far_as_needed() {
        let (soft, hard) = descriptor_limits();
        let soft = soft.unwrap();
        ensure_descriptors(soft).unwrap();
        assert_eq!(descriptor_limits().0, Some(soft));
        if hard.is_none_or(|hard| hard > soft) {
            ensure_descriptors(soft + 1).unwrap();
            assert_eq!(descriptor_limits(), (Some(soft + 1), hard));
        }
    }

    #[test]
    fn more_than_the_hard_limit_is_an_error_with_its_remedy() {
        let error = ensure_descriptors(u64::MAX - 1).unwrap_err().to_string();
        assert!(
            error.contains("run `ulimit -n 18446744073709551614`"),
            "{error}"
        );
    }

    /// What a host with these files says of a thousand devices.
    fn needs_of(files: &[(&str, &str)], process_limit: Option<u64>) -> Vec<Need> {
        let read = |asked: &str| {
            let found = files.iter().find(|(path, _)| *path == asked);
            found.map(|(_, text)| (*text).to_owned())
        };
        let host = Host {
            read: &read,
            process_limit,
        };
        host.needs(1000)
    }

    /// The one need that is not met: its message as a fleet's error.
    fn short(files: &[(&str, &str)], process_limit: Option<u64>) -> String {
        let mut short = needs_of(files, process_limit);
        short.retain(|need| !need.is_met());
        assert_eq!(short.len(), 1, "{short:?}");
        let need = Box::new(short.remove(0));
        RoomError::Short {
            devices: 1000,
            need,
        }
        .to_string()
    }

    const LOAD: (&str, &str) = ("/proc/loadavg", "0.1 0.2 0.3 2/500 4711\n");

    #[test]
    fn a_host_that_says_nothing_bounds_nothing() {
        assert!(needs_of(&[], None).iter().all(Need::is_met));
    }

    #[test]
    fn each_limit_is_told_with_the_command_that_raises_it() {
        let check = |files: &[(&str, &str)], process_limit, expected: &[&str]| {
            let text = short(files, process_limit);
            for part in expected {
                assert!(text.contains(part), "{text} lacks {part}");
            }
        };
        check(
            &[LOAD],
            Some(1000),
            &[
                "3064 processes of this user are needed for 1000 devices and 1000 are free",
                "`ulimit -u 3564`",
            ],
        );
        check(
            &[LOAD, ("/proc/sys/kernel/threads-max", "3000\n")],
            None,
            &["and 2500 are free", "sysctl -w kernel.threads-max=3564"],
        );
        check(
            &[LOAD, ("/proc/sys/kernel/pid_max", "3000\n")],
            None,
            &["sysctl -w kernel.pid_max=3564"],
        );
        check(
            &[
                ("/proc/self/cgroup", "0::/user.slice/of/it\n"),
                ("/sys/fs/cgroup/user.slice/of/it/pids.max", "max\n"),
                ("/sys/fs/cgroup/user.slice/pids.max", "2000\n"),
                ("/sys/fs/cgroup/user.slice/pids.current", "100\n"),
            ],
            None,
            &[
                "1900 are free",
                "echo 3164 > /sys/fs/cgroup/user.slice/pids.max",
            ],
        );
        check(
            &[
                ("/proc/self/cgroup", "8:cpu,pids:/\n"),
                ("/sys/fs/cgroup/pids/pids.max", "2000\n"),
                ("/sys/fs/cgroup/pids/pids.current", "0\n"),
            ],
            None,
            &["echo 3064 > /sys/fs/cgroup/pids/pids.max"],
        );
        check(
            &[
                ("/proc/sys/net/ipv4/ip_local_port_range", "40000\t41999\n"),
                (
                    "/proc/net/tcp",
                    "  sl  local_address rem_address   st\n   \
                     0: 0100007F:9C40 00000000:0000 0A\n   1: 0100007F:0050 00000000:0000 0A\n",
                ),
            ],
            None,
            &[
                "3048 loopback ports",
                "1999 are free",
                "ip_local_port_range=",
            ],
        );
        check(
            &[(
                "/proc/meminfo",
                "MemAvailable: 8388608 kB\nSwapFree: 1048576 kB\n",
            )],
            None,
            &[
                "13000 MiB of memory",
                "9216 are free: start at most 708 devices",
                "fallocate -l 4G /swap",
            ],
        );
        check(
            &[
                ("/proc/meminfo", "MemAvailable: 99999999 kB\n"),
                ("/proc/self/cgroup", "4:memory:/box\n"),
                (
                    "/sys/fs/cgroup/memory/box/memory.limit_in_bytes",
                    "1073741824",
                ),
                (
                    "/sys/fs/cgroup/memory/box/memory.usage_in_bytes",
                    "1073741824",
                ),
                (
                    "/sys/fs/cgroup/memory/box/memory.stat",
                    "inactive_file 536870912\n",
                ),
            ],
            None,
            &["512 are free"],
        );
    }

    #[test]
    fn this_host_has_room_for_a_device() {
        let needs = needs(1);
        assert!(needs.iter().all(Need::is_met), "{needs:?}");
        assert!(threads_of_user() > 0);
    }
}
