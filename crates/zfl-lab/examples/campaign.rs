//! Runs a campaign of faults: experiments in which everything goes wrong at
//! random, each with the `zfl` given, and audits what they have recorded.
//!
//! ```text
//! campaign ZFL native|emulated [--seed FIRST] [--runs COUNT] [--jobs COUNT] [--out FOLDER]
//! ```
//!
//! A run fails the campaign when it does not end in its time, ends otherwise
//! than by an error that says why, panics, leaves a process behind, or has a
//! fault that is not accounted for. Its folder stays, and the command that
//! repeats it is printed.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that reports to a terminal"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zfl_lab::campaign::{self, Audit};
use zfl_lab::experiment::Fidelity;

const USAGE: &str = "usage: campaign ZFL native|emulated [--seed FIRST] [--runs COUNT] \
                     [--jobs COUNT] [--out FOLDER]";

/// How often it looks whether a run has ended.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// How long the processes of a run may take to go once it has ended.
const GONE_DEADLINE: Duration = Duration::from_secs(2);

struct Campaign {
    zfl: PathBuf,
    fidelity: Fidelity,
    first: u64,
    runs: u64,
    jobs: usize,
    out: PathBuf,
}

impl Campaign {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let [zfl, kind, rest @ ..] = arguments else {
            return Err("too few arguments".to_owned());
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // Native runs wait for late updates most of the time; emulated ones keep
        // the processors busy, and have deadlines.
        let (fidelity, runs, jobs) = match kind.as_str() {
            "native" => (Fidelity::Native, 200, 2 * processors),
            "emulated" => (Fidelity::Emulated, 20, 1),
            other => return Err(format!("`{other}`, expected native or emulated")),
        };
        let mut campaign = Self {
            zfl: zfl.into(),
            fidelity,
            first: 1,
            runs,
            jobs,
            out: std::env::temp_dir().join("zfl-campaign").join(kind),
        };
        for pair in rest.chunks(2) {
            let [key, value] = pair else {
                return Err(format!("`{}` needs a value", pair.join(" ")));
            };
            let number = || {
                let number = value.parse::<u64>();
                number.map_err(|_| format!("{key} `{value}`: expected a whole number"))
            };
            match key.as_str() {
                "--seed" => campaign.first = number()?,
                "--runs" => campaign.runs = number()?,
                "--jobs" => campaign.jobs = usize::try_from(number()?.max(1)).unwrap_or(1),
                "--out" => campaign.out = value.into(),
                _ => return Err(format!("unexpected argument `{key}`")),
            }
        }
        Ok(campaign)
    }

    /// How long one run may take: its rounds' deadlines several times over.
    fn deadline(&self) -> Duration {
        match self.fidelity {
            Fidelity::Native => Duration::from_secs(90),
            Fidelity::Emulated => Duration::from_secs(400),
        }
    }

    /// Runs one experiment and audits it.
    fn run(&self, number: u64) -> Result<Audit, String> {
        let failed = |what: &str, error: std::io::Error| format!("failed to {what}: {error}");
        let folder = self.out.join(format!("{number}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| failed("clear its folder", error))?;
        }
        let experiment = campaign::write(number, self.fidelity, &folder)
            .map_err(|error| failed("write the experiment", error))?;
        let records = folder.join("run");
        let said = folder.join("said.txt");
        let file = std::fs::File::create(&said).map_err(|error| failed("write its log", error))?;
        let errors = file
            .try_clone()
            .map_err(|error| failed("write its log", error))?;
        let mut child = Command::new(&self.zfl)
            .arg("run")
            .arg(&experiment)
            .arg("--out")
            .arg(&records)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed("start zfl", error))?;
        let end = Instant::now() + self.deadline();
        let status = loop {
            match child
                .try_wait()
                .map_err(|error| failed("wait for zfl", error))?
            {
                Some(status) => break status,
                None if Instant::now() < end => std::thread::sleep(LOOK_PERIOD),
                None => {
                    // It may have ended meanwhile; either way it stalled.
                    let _ = child.kill();
                    let _ = child.wait();
                    let seconds = self.deadline().as_secs();
                    return Err(format!("stalled: it had not ended after {seconds} s"));
                }
            }
        };
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        if text.contains("panicked at") {
            return Err("a panic".to_owned());
        }
        // 1 is a run that ends with an error, such as too few clients.
        if !matches!(status.code(), Some(0 | 1)) {
            return Err(format!("zfl ended by {status}"));
        }
        no_process_left(&records)?;
        let audit = campaign::audit(&records).map_err(|error| error.to_string())?;
        match (status.success(), audit.outcome.as_str()) {
            (true, "completed") => {}
            (false, outcome) if is_told(outcome) => {}
            (_, outcome) => return Err(format!("{status}, and the summary says `{outcome}`")),
        }
        // Only what has failed is looked at again.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(audit)
    }
}

/// Whether a run may end so: for want of clients or of updates, or because of
/// poison.
fn is_told(outcome: &str) -> bool {
    ["the quorum is", "the model diverged"]
        .iter()
        .any(|told| outcome.contains(told))
}

/// Waits until no process names something in the folder of a run.
fn no_process_left(records: &Path) -> Result<(), String> {
    let folder = records.display().to_string();
    let end = Instant::now() + GONE_DEADLINE;
    loop {
        let Some(left) = process_of(&folder) else {
            return Ok(());
        };
        if Instant::now() >= end {
            return Err(format!("process {left} is left"));
        }
        std::thread::sleep(LOOK_PERIOD);
    }
}

fn process_of(folder: &str) -> Option<String> {
    let entries = std::fs::read_dir("/proc").ok()?;
    entries.map_while(Result::ok).find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.parse::<u32>().ok()?;
        // Those that end meanwhile have none.
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line)
            .contains(folder)
            .then_some(name)
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let campaign = match Campaign::parse(&arguments) {
        Ok(campaign) => campaign,
        Err(error) => {
            eprintln!("error: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let totals = Mutex::new((BTreeMap::<&str, usize>::new(), BTreeMap::<bool, u64>::new()));
    let failures = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= campaign.runs {
                break;
            }
            let number = campaign.first.wrapping_add(run);
            match campaign.run(number) {
                Ok(audit) => {
                    let count: usize = audit.injected.values().sum();
                    println!("{number}: {count} faults; {}", audit.outcome);
                    if let Ok((kinds, ends)) = totals.lock().as_deref_mut() {
                        for (kind, count) in audit.injected {
                            *kinds.entry(kind).or_default() += count;
                        }
                        *ends.entry(audit.outcome == "completed").or_default() += 1;
                    }
                }
                Err(error) => {
                    println!("{number}: FAILED: {error}");
                    if let Ok(mut failures) = failures.lock() {
                        failures.push(number);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..campaign.jobs {
            scope.spawn(worker);
        }
    });
    let (kinds, ends) = totals.into_inner().unwrap_or_default();
    println!("faults that took effect:");
    for (kind, count) in &kinds {
        println!("  {kind:<16} {count}");
    }
    let ended = |completed: bool| ends.get(&completed).copied().unwrap_or_default();
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort_unstable();
    println!(
        "{} runs from seed {} in {:.0} s: {} completed, {} ended early and said why, {} failed",
        campaign.runs,
        campaign.first,
        began.elapsed().as_secs_f64(),
        ended(true),
        ended(false),
        failures.len()
    );
    for number in &failures {
        let kind = campaign.fidelity.name();
        println!(
            "failed: {} (repeat: make campaign CAMPAIGN='{kind} --seed {number} --runs 1')",
            campaign.out.join(number.to_string()).display()
        );
    }
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
