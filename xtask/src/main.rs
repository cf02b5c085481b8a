//! Project chores, run as `cargo xtask TASK`.
//!
//! | task | what it does |
//! |---|---|
//! | `firmware [--board NAME]...` | builds the firmware images of all or some boards |
//! | `bench [emulated\|native]` | runs the workloads of `docs/benchmarks.md`, or those of one kind, and prints their figures |
//! | `fuzz [--target NAME]... [--seconds N] [--jobs N] [--short]` | searches for inputs that break the targets of `fuzz/` |
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that reports to a terminal"
)]

mod bench;
mod firmware;
mod fuzz;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask firmware [--board NAME]...\n       cargo xtask bench [emulated|native]\n       \
     cargo xtask fuzz [--target NAME]... [--seconds N] [--jobs N] [--short]";

/// Why a chore failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The command line makes no sense.
    #[error("{0}\n{USAGE}")]
    Usage(String),
    /// Building firmware failed.
    #[error(transparent)]
    Firmware(#[from] firmware::Error),
    /// The benchmarks failed.
    #[error(transparent)]
    Bench(#[from] bench::Error),
    /// Fuzzing failed, or found something.
    #[error(transparent)]
    Fuzz(#[from] fuzz::Error),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Error> {
    match arguments.split_first() {
        Some((task, rest)) if task == "firmware" => {
            firmware::build(&project_folder(), &board_names(rest)?)?;
            Ok(())
        }
        Some((task, rest)) if task == "bench" => {
            bench::run(&project_folder(), bench_kind(rest)?)?;
            Ok(())
        }
        Some((task, rest)) if task == "fuzz" => {
            fuzz::run(&project_folder(), &fuzz_options(rest)?)?;
            Ok(())
        }
        Some((task, _)) if matches!(task.as_str(), "help" | "--help" | "-h") => {
            eprintln!("{USAGE}");
            Ok(())
        }
        Some((task, _)) => Err(Error::Usage(format!(
            "unknown task `{task}`, expected `firmware`, `bench` or `fuzz`"
        ))),
        None => Err(Error::Usage("no task given".to_owned())),
    }
}

/// The folder of the root workspace, wherever the task was called from.
fn project_folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The kind of workloads to run; `None`: all.
fn bench_kind(arguments: &[String]) -> Result<Option<bench::Kind>, Error> {
    match arguments {
        [] => Ok(None),
        [kind] if kind == "emulated" => Ok(Some(bench::Kind::Emulated)),
        [kind] if kind == "native" => Ok(Some(bench::Kind::Native)),
        [first, rest @ ..] => {
            let unexpected = rest.first().unwrap_or(first);
            Err(Error::Usage(format!("unexpected argument `{unexpected}`")))
        }
    }
}

/// Time for each target where none is given: for whoever waits for it, and for
/// CI.
const FUZZ_SECONDS: u32 = 60;
const FUZZ_SECONDS_SHORT: u32 = 3;

fn fuzz_options(arguments: &[String]) -> Result<fuzz::Options, Error> {
    let (mut targets, mut seconds, mut jobs, mut is_short) = (Vec::new(), None, None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        if name == "--short" && value.is_none() {
            is_short = true;
            continue;
        }
        if !matches!(name, "--target" | "--seconds" | "--jobs") {
            return Err(Error::Usage(format!("unexpected argument `{argument}`")));
        }
        let value = value.or_else(|| rest.next().cloned()).unwrap_or_default();
        if name == "--target" {
            targets.push(value);
            continue;
        }
        let count = value.parse::<u32>().ok().filter(|count| *count > 0);
        let Some(count) = count else {
            return Err(Error::Usage(format!(
                "`{name}` needs a number from 1, not `{value}`"
            )));
        };
        match name {
            "--seconds" => seconds = Some(count),
            _ => jobs = Some(count),
        }
    }
    Ok(fuzz::Options {
        targets,
        seconds: seconds.unwrap_or(if is_short {
            FUZZ_SECONDS_SHORT
        } else {
            FUZZ_SECONDS
        }),
        jobs: jobs.map_or_else(fuzz::processors, |jobs| jobs as usize),
        is_short,
    })
}

/// The values of `--board NAME` and `--board=NAME`.
fn board_names(arguments: &[String]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = if argument == "--board" {
            rest.next().map(String::as_str)
        } else {
            match argument.strip_prefix("--board=") {
                Some(name) => Some(name),
                None => {
                    return Err(Error::Usage(format!("unexpected argument `{argument}`")));
                }
            }
        };
        match name {
            Some(name) if !name.is_empty() => names.push(name.to_owned()),
            _ => return Err(Error::Usage("`--board` needs a name".to_owned())),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Vec<String>, Error> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        board_names(&arguments)
    }

    #[test]
    fn boards_are_named_in_either_form() {
        assert_eq!(parse("").unwrap(), [""; 0]);
        assert_eq!(parse("--board a --board=b").unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_benchmark_is_of_one_kind_or_of_all() {
        let parse = |line: &str| {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            bench_kind(&arguments).map_err(|error| error.to_string())
        };
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("native"), Ok(Some(bench::Kind::Native)));
        assert_eq!(parse("emulated"), Ok(Some(bench::Kind::Emulated)));
        for line in ["both", "native both"] {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with("unexpected argument `both`"), "{error}");
        }
    }

    #[test]
    fn what_is_fuzzed_is_chosen() {
        let parse = |line: &str| {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            fuzz_options(&arguments).map_err(|error| error.to_string())
        };
        let options = parse("--target idx --seconds=600 --target=task --jobs 2").unwrap();
        assert_eq!(
            options,
            fuzz::Options {
                targets: vec!["idx".to_owned(), "task".to_owned()],
                seconds: 600,
                jobs: 2,
                is_short: false,
            }
        );
        assert_eq!(parse("").unwrap().seconds, FUZZ_SECONDS);
        assert_eq!(parse("--short").unwrap().seconds, FUZZ_SECONDS_SHORT);
        for (line, expected) in [
            ("--seconds", "`--seconds` needs a number from 1, not ``"),
            ("--jobs 0", "`--jobs` needs a number from 1, not `0`"),
            ("--short=1", "unexpected argument `--short=1`"),
            ("idx", "unexpected argument `idx`"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }

    #[test]
    fn nonsense_is_told() {
        for (line, expected) in [
            ("--board", "`--board` needs a name"),
            ("--board=", "`--board` needs a name"),
            ("--bord a", "unexpected argument `--bord`"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }
}
