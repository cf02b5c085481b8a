//! What this host has and lacks to run a fleet.
//!
//! Each [`Check`] carries the command that mends what is wrong. Printing is
//! the command line's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Board;
use crate::board::DEFAULT_NAME;
use crate::console::printable;
use crate::launch::find_program;
use crate::limits::{self, Need, descriptor_limits};

/// No program that is tried may take longer.
const TRY_DEADLINE: Duration = Duration::from_secs(10);

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Good,
    /// Only part of zfl needs it.
    Partial,
    /// Nothing runs without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What mends it, mostly a command; `None` where nothing is to be done.
    pub remedy: Option<String>,
}

impl Check {
    fn good(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: Status::Good,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn bad(
        name: impl Into<String>,
        status: Status,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            status,
            detail: detail.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// A firmware image, as the caller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareImage {
    /// Name of its board.
    pub board: String,
    /// Where it is, or that it is part of the program; `None` where there is
    /// none.
    pub found: Option<String>,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
}

/// Looks at everything: emulators of `boards`, `images`, what the bridge
/// network needs, and whether there is room for `device_count` devices, with
/// `descriptors_needed` open files: as before a fleet starts.
pub async fn checks(
    boards: &[Board],
    images: &[FirmwareImage],
    device_count: usize,
    descriptors_needed: u64,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut emulators: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
    for board in boards {
        let emulated = emulators.entry(&board.qemu.binary).or_default();
        emulated.push(&board.name);
    }
    for (emulator, boards) in emulators {
        checks.push(of_boards(emulator_check(emulator).await, &boards));
    }
    checks.extend(images.iter().map(image_check));
    checks.push(descriptor_check(
        device_count,
        descriptors_needed,
        descriptor_limits(),
    ));
    checks.extend(limits::needs(device_count).into_iter().map(need_check));
    checks.push(program_check("ip"));
    checks.push(program_check("unshare"));
    checks.push(namespace_check().await);
    checks.push(tun_check(Path::new("/dev/net/tun")));
    checks
}

/// An emulator that only boards other than the default need is not missed by
/// everybody.
fn of_boards(check: Check, boards: &[&str]) -> Check {
    if check.status == Status::Good || boards.contains(&DEFAULT_NAME) {
        return check;
    }
    Check {
        status: Status::Partial,
        detail: format!("{}; needed for {}", check.detail, boards.join(", ")),
        ..check
    }
}

async fn emulator_check(emulator: &Path) -> Check {
    let name = emulator.display().to_string();
    let path = match find_program(emulator) {
        Ok(path) => path,
        Err(error) => {
            let text = error.to_string();
            let (detail, remedy) = text.rsplit_once(": ").unwrap_or((&text, ""));
            return Check::bad(name, Status::Missing, detail, remedy);
        }
    };
    match try_program(&path, &["--version"]).await {
        Ok(output) => {
            let version = output.lines().next().unwrap_or_default();
            version_check(&name, version)
        }
        Err(error) => Check::bad(
            name,
            Status::Missing,
            format!("{} does not run: {error}", path.display()),
            "install it again",
        ),
    }
}

/// Datagram sockets as network (`-netdev dgram`) came with QEMU 7.2.
fn version_check(name: &str, version: &str) -> Check {
    let number = version
        .split_ascii_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1)
        .unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= (7, 2) => {
            Check::good(name, format!("version {number}"))
        }
        (Some(_), Some(_)) => Check::bad(
            name,
            Status::Missing,
            format!("version {number}, older than 7.2"),
            "install QEMU 7.2 or later (Debian 12 has it)",
        ),
        _ => Check::bad(
            name,
            Status::Partial,
            format!("unknown version `{version}`"),
            "install QEMU 7.2 or later (Debian 12 has it)",
        ),
    }
}

fn image_check(image: &FirmwareImage) -> Check {
    let name = format!("firmware for {}", image.board);
    match (&image.found, &image.fault) {
        (Some(_), Some(fault)) => Check::bad(name, Status::Missing, fault, "cargo xtask firmware"),
        (Some(place), None) => Check::good(name, place),
        (None, _) => Check::bad(name, Status::Missing, "not built", "cargo xtask firmware"),
    }
}

fn descriptor_check(
    device_count: usize,
    needed: u64,
    (soft, hard): (Option<u64>, Option<u64>),
) -> Check {
    let name = "open files";
    let shown = |limit: Option<u64>| limit.map_or("no limit".into(), |limit| limit.to_string());
    let detail = format!(
        "{} allowed, can be raised to {}; {needed} are needed for {device_count} devices",
        shown(soft),
        shown(hard)
    );
    if hard.is_none_or(|hard| hard >= needed) {
        Check::good(name, detail)
    } else {
        let remedy = format!("ulimit -n {needed} (as root)");
        Check::bad(name, Status::Partial, detail, remedy)
    }
}

fn need_check(need: Need) -> Check {
    let free = match need.free {
        Some(free) => format!("{free} free"),
        None => "no limit".to_owned(),
    };
    let detail = format!("{free}; {} are needed", need.needed);
    match need.is_met() {
        true => Check::good(need.what, detail),
        false => Check::bad(need.what, Status::Partial, detail, need.remedy),
    }
}

/// A program that only the bridge network needs.
fn program_check(program: &str) -> Check {
    match find_program(Path::new(program)) {
        Ok(path) => Check::good(program, path.display().to_string()),
        Err(error) => {
            let text = error.to_string();
            let (_, remedy) = text.rsplit_once(": ").unwrap_or((&text, ""));
            Check::bad(
                program,
                Status::Partial,
                "not found; `network = \"bridge\"` needs it",
                remedy,
            )
        }
    }
}

async fn namespace_check() -> Check {
    let name = "network namespaces";
    let Ok(unshare) = find_program(Path::new("unshare")) else {
        return Check::bad(
            name,
            Status::Partial,
            "cannot be tried without unshare",
            "apt-get install util-linux",
        );
    };
    let tried = try_program(&unshare, &["--user", "--map-root-user", "--net", "true"]).await;
    match tried {
        Ok(_) => Check::good(name, "a user may make them"),
        Err(_) if try_program(&unshare, &["--net", "true"]).await.is_ok() => {
            Check::good(name, "root may make them")
        }
        Err(error) => Check::bad(
            name,
            Status::Partial,
            format!("not allowed ({error}); `network = \"bridge\"` needs them"),
            namespace_remedy(&|path| std::fs::read_to_string(path).ok()),
        ),
    }
}

/// The switch that forbids user namespaces on this system.
fn namespace_remedy(read: &dyn Fn(&str) -> Option<String>) -> String {
    let has = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    if has("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl -w kernel.unprivileged_userns_clone=1".into()
    } else if has(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".into()
    } else if has("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl -w user.max_user_namespaces=10000".into()
    } else {
        "run as root, or in a container with CAP_SYS_ADMIN".into()
    }
}

fn tun_check(path: &Path) -> Check {
    let name = path.display().to_string();
    match std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
    {
        Ok(_) => Check::good(name, "can be opened"),
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "modprobe tun; mkdir -p /dev/net; mknod -m 666 /dev/net/tun c 10 200"
                }
                std::io::ErrorKind::PermissionDenied => "chmod 666 /dev/net/tun (as root)",
                _ => "modprobe tun",
            };
            Check::bad(
                name,
                Status::Partial,
                format!("{error}; `network = \"bridge\"` needs it"),
                remedy,
            )
        }
    }
}

/// What a program prints, or why it fails.
async fn try_program(path: &PathBuf, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(TRY_DEADLINE, output).await {
        Err(_) => Err(format!("no end within {} s", TRY_DEADLINE.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(output)) if output.status.success() => {
            let first = output.stdout.split(|byte| *byte == b'\n').next();
            Ok(printable(first.unwrap_or_default()))
        }
        Ok(Ok(output)) => Err(printable(output.stderr.trim_ascii())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_emulator_is_told() {
        let check = |version: &str, status: Status| {
            let check = version_check("q", version);
            assert_eq!(check.status, status, "{check:?}");
            assert_eq!(check.remedy.is_none(), status == Status::Good);
        };
        check(
            "QEMU emulator version 7.2.22 (Debian 1:7.2+x)",
            Status::Good,
        );
        check("QEMU emulator version 10.0.0", Status::Good);
        check("QEMU emulator version 7.1.0", Status::Missing);
        check("QEMU emulator version 6.2.0", Status::Missing);
        check("QEMU emulator", Status::Partial);
        check("", Status::Partial);
    }

    #[test]
    fn a_missing_image_says_how_to_build_it() {
        let check = |found: Option<&str>, fault: Option<&str>| {
            image_check(&FirmwareImage {
                board: "mps2-an386".into(),
                found: found.map(Into::into),
                fault: fault.map(Into::into),
            })
        };
        assert_eq!(check(Some("built in"), None).status, Status::Good);
        let unfit = check(Some("built in"), Some("not an ELF file"));
        assert_eq!(unfit.status, Status::Missing);
        assert_eq!(unfit.detail, "not an ELF file");
        let missing = check(None, None);
        assert_eq!(missing.name, "firmware for mps2-an386");
        assert_eq!(missing.remedy.as_deref(), Some("cargo xtask firmware"));
    }

    #[test]
    fn too_few_descriptors_are_told() {
        let good = descriptor_check(200, 2000, (Some(1024), Some(4096)));
        assert_eq!(good.status, Status::Good);
        let bad = descriptor_check(200, 2000, (Some(1024), Some(1024)));
        assert_eq!(bad.status, Status::Partial);
        assert_eq!(bad.remedy.as_deref(), Some("ulimit -n 2000 (as root)"));
        assert_eq!(descriptor_check(9, 2000, (None, None)).status, Status::Good);
    }

    #[test]
    fn what_there_is_too_little_of_is_told() {
        let check = |free| {
            need_check(Need {
                what: "loopback ports".into(),
                needed: 3000,
                free,
                remedy: "more".into(),
            })
        };
        assert_eq!(check(None).detail, "no limit; 3000 are needed");
        assert_eq!(check(Some(3000)).status, Status::Good);
        let short = check(Some(2999));
        assert_eq!(short.status, Status::Partial);
        assert_eq!(short.remedy.as_deref(), Some("more"));
    }

    #[test]
    fn the_switch_that_forbids_namespaces_is_named() {
        let check = |path: &'static str, value: &'static str, expected: &str| {
            let read = move |asked: &str| (asked == path).then(|| value.to_owned());
            assert_eq!(namespace_remedy(&read), expected);
        };
        check(
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0\n",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        );
        check(
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
        check(
            "/proc/sys/user/max_user_namespaces",
            "0\n",
            "sysctl -w user.max_user_namespaces=10000",
        );
        check(
            "/proc/sys/user/max_user_namespaces",
            "99\n",
            "run as root, or in a container with CAP_SYS_ADMIN",
        );
    }

    #[test]
    fn a_missing_tun_says_how_to_make_it() {
        let check = tun_check(Path::new("/nowhere/tun"));
        assert_eq!(check.status, Status::Partial);
        assert!(check.remedy.unwrap().contains("mknod"));
    }

    #[tokio::test]
    async fn everything_that_is_wrong_has_a_remedy() {
        let mut boards = Board::all().unwrap();
        for board in &mut boards {
            if board.platform.is_some() {
                board.qemu.binary = "/nowhere/riscv".into();
            } else {
                board.qemu.binary = "/nowhere/qemu".into();
            }
        }
        let images = [FirmwareImage {
            board: "mps2-an385".into(),
            found: None,
            fault: None,
        }];
        let checks = checks(&boards, &images, 10, 100).await;
        for check in &checks {
            assert_eq!(
                check.status == Status::Good,
                check.remedy.is_none(),
                "{check:?}"
            );
        }
        let missing = checks
            .iter()
            .find(|check| check.name == "/nowhere/qemu")
            .unwrap();
        assert_eq!(missing.detail, "/nowhere/qemu not found");
        assert_eq!(missing.status, Status::Missing);
        // Only some boards need it.
        let partial = checks
            .iter()
            .find(|check| check.name == "/nowhere/riscv")
            .unwrap();
        assert_eq!(
            partial.detail,
            "/nowhere/riscv not found; needed for riscv-virt-rv32imac, riscv-virt-rv32imafc"
        );
        assert_eq!(partial.status, Status::Partial);
    }
}
