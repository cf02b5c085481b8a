//! Which compiler builds the firmware.
//!
//! Either rustup's, with a precompiled `core` for each target, or Debian's,
//! which has none and compiles `core` from its source package. Rustup is
//! preferred where its targets are there or can be had; the variable
//! [`VARIABLE`] forces one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, io, thread};

/// Forces a toolchain: `rustup` or `debian`.
pub(crate) const VARIABLE: &str = "ZFL_FIRMWARE_TOOLCHAIN";

/// The oldest compiler that builds the firmware; `rust-version` in
/// `firmware/Cargo.toml`.
const RUST_MINOR_MIN: u32 = 93;

/// How long rustup may take to download targets: where there is no network
/// it would otherwise try for minutes.
const TARGET_ADD_MAX: Duration = Duration::from_secs(120);

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "ld.lld";
/// Where Debian's source package puts the standard library, below the sysroot.
const LIBRARY_SOURCE: &str = "lib/rustlib/src/rust/library/Cargo.lock";
const DEBIAN_REMEDY: &str = "sudo apt-get install rustc-web cargo-web rust-web-src lld";

/// A way to compile for the boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Rustup's, with the targets installed.
    Rustup {
        /// Its cargo.
        cargo: PathBuf,
        /// Its compiler.
        rustc: PathBuf,
    },
    /// Debian's, which builds `core` as well.
    Debian,
}

/// Why a toolchain cannot be used: what is missing and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    what: String,
    remedy: String,
}

impl Missing {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (remedy: {})", self.what, self.remedy)
    }
}

/// Why there is no toolchain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// The variable has another value.
    #[error("{VARIABLE} is `{0}`, expected `rustup` or `debian`")]
    Variable(String),
    /// The one that was asked for cannot be used.
    #[error("{VARIABLE} asks for {name}: {missing}")]
    Forced {
        /// Which.
        name: &'static str,
        /// Why not.
        missing: Missing,
    },
    /// None can be used.
    #[error("no toolchain for the firmware\n  rustup: {rustup}\n  Debian: {debian}")]
    None {
        /// Why not rustup's.
        rustup: Missing,
        /// Why not Debian's.
        debian: Missing,
    },
}

impl Toolchain {
    /// Finds one for `targets`; asks rustup to install what it lacks.
    ///
    /// # Errors
    /// When there is none, or not the one that the variable names.
    pub(crate) fn find(project: &Path, targets: &[&str]) -> Result<Self, Error> {
        choose(
            env::var(VARIABLE).ok().as_deref(),
            || find_rustup(project, targets),
            find_debian,
        )
    }

    /// Its cargo, told to build for `target` with this toolchain and no other:
    /// what the cargo that runs us left in the environment is cleared.
    pub(crate) fn cargo_build(&self, target: &str, profile: &str) -> Command {
        let mut command = Command::new(match self {
            Self::Rustup { cargo, .. } => cargo,
            Self::Debian => Path::new(DEBIAN_CARGO),
        });
        for name in [
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "LD_LIBRARY_PATH",
        ] {
            command.env_remove(name);
        }
        command.args(["build", "--profile", profile, "--target", target]);
        match self {
            Self::Rustup { rustc, .. } => {
                command.env("RUSTC", rustc);
            }
            Self::Debian => {
                command.env_remove("RUSTUP_TOOLCHAIN");
                command.env("RUSTC", DEBIAN_RUSTC);
                // `-Z` options on a stable compiler.
                command.env("RUSTC_BOOTSTRAP", "1");
                command.env(linker_variable(target), DEBIAN_LINKER);
                command.args(["-Z", "build-std=core"]);
            }
        }
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup { rustc, .. } => write!(f, "rustup ({})", rustc.display()),
            Self::Debian => write!(f, "Debian ({DEBIAN_RUSTC}, core built from source)"),
        }
    }
}

/// The variable by which cargo is told the linker for `target`.
fn linker_variable(target: &str) -> String {
    let key = target.to_uppercase().replace(['-', '.'], "_");
    format!("CARGO_TARGET_{key}_LINKER")
}

/// The one that is forced, else rustup's, else Debian's. Neither is looked
/// for unless it is wanted.
fn choose(
    forced: Option<&str>,
    rustup: impl FnOnce() -> Result<Toolchain, Missing>,
    debian: impl FnOnce() -> Result<Toolchain, Missing>,
) -> Result<Toolchain, Error> {
    match forced {
        Some("rustup") => rustup().map_err(|missing| Error::Forced {
            name: "rustup",
            missing,
        }),
        Some("debian") => debian().map_err(|missing| Error::Forced {
            name: "Debian's compiler",
            missing,
        }),
        None | Some("") => {
            rustup().or_else(|rustup| debian().map_err(|debian| Error::None { rustup, debian }))
        }
        Some(other) => Err(Error::Variable(other.to_owned())),
    }
}

fn find_rustup(project: &Path, targets: &[&str]) -> Result<Toolchain, Missing> {
    let absent = || {
        Missing::new(
            "there is no working rustup",
            "install it from https://rustup.rs",
        )
    };
    let rustup = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(arguments).current_dir(project);
        output(&mut command)
    };
    let installed = rustup(&["target", "list", "--installed"]).ok_or_else(absent)?;
    let wanted: Vec<&str> = targets
        .iter()
        .filter(|target| !installed.lines().any(|line| line.trim() == **target))
        .copied()
        .collect();
    if !wanted.is_empty() {
        let mut command = Command::new("rustup");
        command
            .args(["target", "add"])
            .args(&wanted)
            .current_dir(project);
        eprintln!("xtask: rustup target add {}", wanted.join(" "));
        if !matches!(succeeds_within(&mut command, TARGET_ADD_MAX), Ok(true)) {
            return Err(Missing::new(
                format!("rustup could not install {}", wanted.join(" ")),
                format!("rustup target add {}", wanted.join(" ")),
            ));
        }
    }
    let which = |program: &str| {
        rustup(&["which", program])
            .map(|path| PathBuf::from(path.trim()))
            .ok_or_else(absent)
    };
    let (cargo, rustc) = (which("cargo")?, which("rustc")?);
    check_version(&rustc).map_err(|what| Missing::new(what, "rustup update"))?;
    Ok(Toolchain::Rustup { cargo, rustc })
}

fn find_debian() -> Result<Toolchain, Missing> {
    let missing = |what: String| Missing::new(what, DEBIAN_REMEDY);
    for program in [DEBIAN_CARGO, DEBIAN_RUSTC] {
        if !Path::new(program).exists() {
            return Err(missing(format!("there is no {program}")));
        }
    }
    check_version(Path::new(DEBIAN_RUSTC)).map_err(missing)?;
    let sysroot = output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))
        .ok_or_else(|| missing(format!("{DEBIAN_RUSTC} does not run")))?;
    let source = Path::new(sysroot.trim()).join(LIBRARY_SOURCE);
    if fs::metadata(&source).is_err() {
        return Err(missing(format!("there is no {}", source.display())));
    }
    if output(Command::new(DEBIAN_LINKER).arg("--version")).is_none() {
        return Err(missing(format!("there is no linker {DEBIAN_LINKER}")));
    }
    Ok(Toolchain::Debian)
}

/// What a program prints; `None` when it fails or does not exist.
fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// Whether a program ends well within `limit`; kills it where it does not end.
fn succeeds_within(command: &mut Command, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let mut child = command.stdin(Stdio::null()).spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a compiler is new enough; the error says what it is.
fn check_version(rustc: &Path) -> Result<(), String> {
    let text = output(Command::new(rustc).arg("--version"))
        .ok_or_else(|| format!("{} does not run", rustc.display()))?;
    match minor_version(&text) {
        Some(minor) if minor >= RUST_MINOR_MIN => Ok(()),
        _ => Err(format!(
            "{} is `{}`, the firmware needs 1.{RUST_MINOR_MIN} or newer",
            rustc.display(),
            text.trim()
        )),
    }
}

/// 95 of `rustc 1.95.0 (...)`.
fn minor_version(text: &str) -> Option<u32> {
    let version = text.strip_prefix("rustc 1.")?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(what: &str) -> Missing {
        Missing::new(what, "x")
    }

    fn rustup() -> Toolchain {
        Toolchain::Rustup {
            cargo: "cargo".into(),
            rustc: "rustc".into(),
        }
    }

    #[test]
    fn rustup_goes_first_and_debian_is_not_looked_for() {
        let chosen = choose(None, || Ok(rustup()), || panic!("looked for Debian's"));
        assert_eq!(chosen, Ok(rustup()));
        let chosen = choose(None, || Err(missing("a")), || Ok(Toolchain::Debian));
        assert_eq!(chosen, Ok(Toolchain::Debian));
    }

    #[test]
    fn the_variable_forces_one() {
        let chosen = choose(
            Some("debian"),
            || panic!("looked for rustup's"),
            || Ok(Toolchain::Debian),
        );
        assert_eq!(chosen, Ok(Toolchain::Debian));
        let chosen = choose(
            Some("rustup"),
            || Err(missing("a")),
            || panic!("looked for Debian's"),
        );
        assert!(matches!(chosen, Err(Error::Forced { name: "rustup", .. })));
        let chosen = choose(Some("gcc"), || Ok(rustup()), || Ok(Toolchain::Debian));
        assert_eq!(chosen, Err(Error::Variable("gcc".to_owned())));
    }

    #[test]
    fn without_any_the_error_names_both_remedies() {
        let chosen = choose(None, || Err(missing("no a")), || Err(missing("no b")));
        let text = chosen.unwrap_err().to_string();
        assert!(text.contains("no a (remedy: x)") && text.contains("no b (remedy: x)"));
    }

    #[test]
    fn a_target_with_a_dot_has_a_variable_too() {
        assert_eq!(
            linker_variable("thumbv8m.main-none-eabihf"),
            "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_LINKER"
        );
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(
            minor_version("rustc 1.95.0 (59807616e 2026-04-14)"),
            Some(95)
        );
        assert_eq!(minor_version("rustc 1.100.0-nightly"), Some(100));
        assert_eq!(minor_version("gcc 12"), None);
    }

    #[test]
    fn the_version_is_that_of_the_manifest() {
        let manifest = include_str!("../../firmware/Cargo.toml");
        assert!(manifest.contains(&format!("rust-version = \"1.{RUST_MINOR_MIN}\"")));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let begin = Instant::now();
        let ended = succeeds_within(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(!ended.unwrap());
        assert!(begin.elapsed() < Duration::from_secs(30));
        let ended = succeeds_within(&mut Command::new("true"), Duration::from_secs(30));
        assert!(ended.unwrap());
    }
}
