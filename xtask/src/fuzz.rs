//! Fuzzes: builds `fuzz/` with the counters that libFuzzer is led by, and lets
//! it search for inputs that break a target's promises.
//!
//! The compiler needs no nightly features for that: the counters are a pass of
//! LLVM. A long run is of an optimised program of which everything is counted;
//! a short one, for CI, is built on the dependencies of the tests, and counts
//! in zfl's own crates only.

use std::io::{self, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::{env, fs, thread};

/// Passes and counters; `fuzz/instrument` has the same.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// No input takes longer, or it is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
/// No target takes more memory, or it is a finding.
const MEMORY_MEBIBYTES_MAX: u32 = 1024;
/// No input is longer.
const INPUT_BYTES_MAX: u32 = 16 << 10;

/// What is fuzzed, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The targets; all where none is named.
    pub(crate) targets: Vec<String>,
    /// Time for each target.
    pub(crate) seconds: u32,
    /// How many run at a time.
    pub(crate) jobs: usize,
    /// For CI: little to build, and always the same seed.
    pub(crate) is_short: bool,
}

/// Why a search found something, or did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such target.
    #[error("unknown target `{name}`, expected one of {known}")]
    UnknownTarget {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A file or folder could not be read or written.
    #[error("failed to {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("failed to run {program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The compiler found errors, and printed them.
    #[error("failed to build the fuzz targets: see the messages above")]
    Build,
    /// The compiler does not say for what it compiles.
    #[error("`rustc -vV` names no host")]
    Host,
    /// Inputs were found that break a promise.
    #[error("{0}")]
    Found(String),
}

impl Error {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// What a search came to.
struct Outcome {
    target: String,
    /// Where libFuzzer's output is.
    log: PathBuf,
    figures: Figures,
    has_passed: bool,
}

/// What libFuzzer says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    /// Edges of the program that were taken.
    edges: u64,
    /// Edges with how often they were taken in an input, in steps.
    features: u64,
    memory_mebibytes: u64,
}

impl Figures {
    fn of(log: &str) -> Self {
        let stat = |name: &str| {
            let line = log.lines().rev().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or(0)
        };
        let status = |name: &str| {
            let mut words = log
                .lines()
                .rev()
                .find(|line| line.starts_with('#') && line.contains(name))
                .unwrap_or_default()
                .split_whitespace();
            words.find(|word| *word == name);
            words
                .next()
                .and_then(|value| value.parse().ok())
                .unwrap_or(0)
        };
        Self {
            executions: stat("stat::number_of_executed_units:"),
            edges: status("cov:"),
            features: status("ft:"),
            memory_mebibytes: stat("stat::peak_rss_mb:"),
        }
    }
}

/// Fuzzes, and prints what it came to as a table.
#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(crate) fn run(project: &Path, options: &Options) -> Result<(), Error> {
    let targets = targets(project, &options.targets)?;
    let program = build(project, options.is_short)?;
    let folder = project.join("target/fuzzing");
    let left = Mutex::new(targets.into_iter().rev().collect::<Vec<_>>());
    let next = || left.lock().ok()?.pop();
    let work = || {
        let mut outcomes = Vec::new();
        while let Some(target) = next() {
            outcomes.push(search(project, &folder, &program, target, options)?);
        }
        Ok(outcomes)
    };
    let mut outcomes = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.jobs.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        let mut outcomes = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(found) => outcomes.extend(found?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, Error>(outcomes)
    })?;
    outcomes.sort_by(|a, b| a.target.cmp(&b.target));
    println!("| target | executions | edges | features | memory | found |");
    println!("|---|---|---|---|---|---|");
    for Outcome {
        target,
        figures,
        has_passed,
        ..
    } in &outcomes
    {
        let found = if *has_passed {
            "nothing"
        } else {
            "**a fault**"
        };
        println!(
            "| {target} | {} | {} | {} | {} MiB | {found} |",
            figures.executions, figures.edges, figures.features, figures.memory_mebibytes
        );
    }
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.has_passed)
        .map(|Outcome { target, log, .. }| {
            format!(
                "target `{target}`: {} ends with the fault and the file of its input; again: \
                 ZFL_FUZZ_TARGET={target} {} FILE",
                log.display(),
                program.display()
            )
        })
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::Found(failed.join("\n"))),
    }
}

/// The targets that were named, or all: each has a corpus.
fn targets(project: &Path, named: &[String]) -> Result<Vec<String>, Error> {
    let corpus = project.join("fuzz/corpus");
    let entries = fs::read_dir(&corpus).map_err(Error::file("read", &corpus))?;
    let mut known: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    known.sort();
    match named.iter().find(|name| !known.contains(name)) {
        Some(name) => Err(Error::UnknownTarget {
            name: name.clone(),
            known: known.join(", "),
        }),
        None if named.is_empty() => Ok(known),
        None => Ok(named.to_vec()),
    }
}

/// Builds the program; where it is.
fn build(project: &Path, is_short: bool) -> Result<PathBuf, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => project.join("target"),
    };
    let mut command = Command::new(cargo);
    command
        .current_dir(project)
        .args(["build", "--package", "zfl-fuzz", "--bin", "zfl-fuzz"])
        .args(["--features", "libfuzzer"]);
    let program = if is_short {
        command.env("RUSTC_WORKSPACE_WRAPPER", project.join("fuzz/instrument"));
        target.join("debug/zfl-fuzz")
    } else {
        // A target by name, or build scripts would be counted in too.
        let host = host()?;
        command
            .env("RUSTFLAGS", INSTRUMENT)
            .args(["--profile", "fuzz", "--target", &host]);
        target.join(host).join("fuzz/zfl-fuzz")
    };
    let status = command.status().map_err(|source| Error::Start {
        program: "cargo".to_owned(),
        source,
    })?;
    match status.success() {
        true => Ok(program),
        false => Err(Error::Build),
    }
}

/// What the compiler compiles for.
fn host() -> Result<String, Error> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .map_err(|source| Error::Start {
            program: "rustc".to_owned(),
            source,
        })?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or(Error::Host)
}

/// Lets libFuzzer search one target. What it finds on its way joins the corpus
/// of the next search, in `target/fuzzing/found`.
fn search(
    project: &Path,
    folder: &Path,
    program: &Path,
    target: String,
    options: &Options,
) -> Result<Outcome, Error> {
    let found = folder.join("found").join(&target);
    fs::create_dir_all(&found).map_err(Error::file("create", &found))?;
    let log = folder.join(format!("{target}.log"));
    let output = fs::File::create(&log).map_err(Error::file("create", &log))?;
    let mut command = Command::new(program);
    command
        .env("ZFL_FUZZ_TARGET", &target)
        .arg(&found)
        .arg(project.join("fuzz/corpus").join(&target))
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MEBIBYTES_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", folder.display()))
        .arg("-print_final_stats=1");
    if options.is_short {
        command.arg("-seed=1");
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .map_err(|source| Error::Start {
            program: program.display().to_string(),
            source,
        })?;
    let mut text = Vec::new();
    fs::File::open(&log)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(Error::file("read", &log))?;
    Ok(Outcome {
        target,
        log,
        figures: Figures::of(&String::from_utf8_lossy(&text)),
        has_passed: status.success(),
    })
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_end() {
        let log = "INFO: seed corpus: files: 5\n\
                   #5\tINITED cov: 90 ft: 95 corp: 5/1Kb exec/s: 0 rss: 30Mb\n\
                   #1048576\tpulse  cov: 188 ft: 249 corp: 57/3768b lim: 16384 exec/s: 4\n\
                   Done 217491 runs in 4 second(s)\n\
                   stat::number_of_executed_units: 217491\n\
                   stat::peak_rss_mb:              32\n";
        let figures = Figures {
            executions: 217_491,
            edges: 188,
            features: 249,
            memory_mebibytes: 32,
        };
        assert_eq!(Figures::of(log), figures);
        assert_eq!(Figures::of(""), Figures::default());
    }

    #[test]
    fn a_target_has_a_corpus() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let all = targets(project, &[]).unwrap();
        assert!(all.contains(&"message".to_owned()), "{all:?}");
        let two = ["task".to_owned(), "idx".to_owned()];
        assert_eq!(targets(project, &two).unwrap(), two);
        let error = targets(project, &["massage".to_owned()]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("unknown target `massage`, expected one of "),
            "{text}"
        );
    }

    #[test]
    fn both_ways_to_build_count_the_same() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let wrapper = fs::read_to_string(project.join("fuzz/instrument")).unwrap();
        for flag in INSTRUMENT.split_whitespace() {
            assert!(wrapper.contains(flag), "{flag}");
        }
    }
}
