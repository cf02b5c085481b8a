//! The workloads at native fidelity, beside the reference programs of
//! `bench/reference`: each program in turn, several times over.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::process::{Used, measure};
use super::{Error, Places, megabytes, read_json};

/// How often each program runs; the median counts.
const REPETITIONS: usize = 3;

/// A workload: its reference programs and what `zfl run` is given.
struct Workload {
    /// Of the reference programs, without their extension.
    program: &'static str,
    title: &'static str,
    experiment: &'static str,
    sets: &'static [&'static str],
}

const WORKLOADS: &[Workload] = &[
    Workload {
        program: "w1",
        title: "W1: 784-16-10, 50 clients, all in each of 20 rounds, 5 epochs, batch 600",
        experiment: "examples/mnist.toml",
        sets: &[],
    },
    Workload {
        program: "w2",
        title: "W2: 784-200-200-10, 100 clients, 10 a round, 1 epoch, batch 10, to 97 %",
        experiment: "examples/fedavg-paper/2nn-iid-b10.toml",
        sets: &["training.learning-rate=0.1"],
    },
];

/// What the C programs are built with. The first is what others are compared
/// with, as the faster one; the second computes as zfl may, rounding after
/// each operation.
const C_FLAGS: [&[&str]; 2] = [
    &["-Ofast", "-march=native"],
    &["-O3", "-march=native", "-ffp-contract=off"],
];

/// Who plays a workload.
#[derive(Clone, Debug)]
enum Player {
    /// A C program, built with these of [`C_FLAGS`].
    C { program: PathBuf, flags: String },
    /// A numpy program.
    Numpy { python: String, program: PathBuf },
    /// zfl, with so many threads.
    Zfl { threads: usize },
}

/// The last line of a reference program, or the `summary.json` of zfl.
#[derive(Clone, Copy, Deserialize)]
struct Outcome {
    accuracy: f64,
    rounds: u32,
}

/// A run of a player.
struct Run {
    used: Used,
    outcome: Outcome,
}

/// Runs the workloads and prints a table for each.
pub(super) fn run(places: &Places) -> Result<(), Error> {
    let Some(mnist) = &places.mnist else {
        println!("\nNative workloads need MNIST: `zfl data fetch mnist`");
        return Ok(());
    };
    let python = python();
    for workload in WORKLOADS {
        let mut players = c_programs(places, workload)?;
        if let Some(python) = &python {
            players.push(Player::Numpy {
                python: python.clone(),
                program: places
                    .project
                    .join(format!("bench/reference/{}.py", workload.program)),
            });
        }
        players.extend([1, 2].map(|threads| Player::Zfl { threads }));
        let mut runs: Vec<Vec<Run>> = players.iter().map(|_| Vec::new()).collect();
        for _ in 0..REPETITIONS {
            for (player, runs) in players.iter().zip(&mut runs) {
                runs.push(player.play(places, workload, &mnist.join("mnist"))?);
            }
        }
        print_table(workload, &players, &runs, python.is_some());
    }
    Ok(())
}

/// The Python that has numpy: `ZFL_BENCH_PYTHON`, or the one of the path.
fn python() -> Option<String> {
    let python = std::env::var("ZFL_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    Command::new(&python)
        .args(["-c", "import numpy"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
        .then_some(python)
}

/// Builds the C programs of a workload with the system's compiler; none if it
/// has none.
fn c_programs(places: &Places, workload: &Workload) -> Result<Vec<Player>, Error> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut players = Vec::new();
    for (number, flags) in C_FLAGS.iter().enumerate() {
        let source = format!("bench/reference/{}.c", workload.program);
        let program = places.work.join(format!("{}-{number}", workload.program));
        let mut command = Command::new(&compiler);
        command.current_dir(&places.project).arg("-std=gnu11");
        command.args(*flags).arg(source);
        command.arg("-o").arg(&program).arg("-lm");
        let output = match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(players),
            output => output.map_err(|error| Error::run(&command, &error))?,
        };
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(Error::run(&command, &complaint));
        }
        players.push(Player::C {
            program,
            flags: flags.join(" "),
        });
    }
    Ok(players)
}

impl Player {
    fn name(&self) -> String {
        match self {
            Self::C { flags, .. } => format!("C, {flags}"),
            Self::Numpy { .. } => "numpy".to_owned(),
            Self::Zfl { threads } => format!("zfl --threads {threads}"),
        }
    }

    fn play(
        &self,
        places: &Places,
        workload: &Workload,
        mnist: &std::path::Path,
    ) -> Result<Run, Error> {
        let threads = match self {
            Self::C { program, .. } => return reference(Command::new(program).arg(mnist)),
            Self::Numpy { python, program } => {
                let mut command = Command::new(python);
                command.arg("-B").arg(program).arg(mnist);
                // One thread, as the others: more would only cost more.
                for library in ["OMP", "OPENBLAS", "MKL"] {
                    command.env(format!("{library}_NUM_THREADS"), "1");
                }
                return reference(&mut command);
            }
            Self::Zfl { threads } => threads,
        };
        let folder = places.work.join(format!("{}-zfl", workload.program));
        // A folder of an earlier run; one that is not there is as good.
        let _ = std::fs::remove_dir_all(&folder);
        let mut command = Command::new(&places.zfl);
        command.current_dir(&places.project);
        command.arg("run").arg(workload.experiment);
        command.args(["--fidelity", "native", "--threads", &threads.to_string()]);
        for set in workload.sets {
            command.arg("--set").arg(set);
        }
        command.arg("--out").arg(&folder);
        if let Some(data) = &places.mnist {
            command.arg("--data-dir").arg(data);
        }
        let used = measure(&mut command)?;
        let outcome = read_json(&folder.join("summary.json"))?;
        Ok(Run { used, outcome })
    }
}

/// Runs a reference program, which prints its outcome as a line of JSON.
fn reference(command: &mut Command) -> Result<Run, Error> {
    let used = measure(command)?;
    let outcome = serde_json::from_str(&used.output)
        .map_err(|error| Error::run(command, &format!("it printed `{}`: {error}", used.output)))?;
    Ok(Run { used, outcome })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The medians of a player's runs.
struct Figures {
    cpu_seconds: f64,
    cpu_seconds_per_round: f64,
    wall_seconds: f64,
}

impl Figures {
    fn of(runs: &[Run]) -> Self {
        let cpu_seconds = |run: &Run| run.used.cpu_seconds;
        Self {
            cpu_seconds: median(runs.iter().map(cpu_seconds)),
            cpu_seconds_per_round: median(
                runs.iter()
                    .map(|run| cpu_seconds(run) / f64::from(run.outcome.rounds.max(1))),
            ),
            wall_seconds: median(runs.iter().map(|run| run.used.wall_seconds)),
        }
    }
}

fn print_table(workload: &Workload, players: &[Player], runs: &[Vec<Run>], has_numpy: bool) {
    println!("\n{}\n", workload.title);
    println!(
        "| program | rounds | accuracy | CPU s | times C | CPU s a round | times C | wall s | \
         peak memory, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let figures: Vec<Figures> = runs.iter().map(|runs| Figures::of(runs)).collect();
    let yardstick = match players.first() {
        Some(Player::C { .. }) => figures.first(),
        _ => None,
    };
    let times = |value: f64, of: fn(&Figures) -> f64| {
        yardstick.map_or_else(
            || "–".to_owned(),
            |yardstick| format!("{:.2}", value / of(yardstick)),
        )
    };
    for ((player, figures), runs) in players.iter().zip(&figures).zip(runs) {
        let Some(last) = runs.last() else {
            continue;
        };
        let peak_bytes = runs.iter().map(|run| run.used.peak_bytes).max();
        println!(
            "| {} | {} | {:.4} | {:.2} | {} | {:.4} | {} | {:.2} | {:.1} |",
            player.name(),
            last.outcome.rounds,
            last.outcome.accuracy,
            figures.cpu_seconds,
            times(figures.cpu_seconds, |c| c.cpu_seconds),
            figures.cpu_seconds_per_round,
            times(figures.cpu_seconds_per_round, |c| c.cpu_seconds_per_round),
            figures.wall_seconds,
            megabytes(peak_bytes.unwrap_or(0)),
        );
    }
    if yardstick.is_none() {
        println!("\nC: no compiler; install one, or name it with CC");
    }
    if !has_numpy {
        println!("\nnumpy: not installed; ZFL_BENCH_PYTHON may name a Python that has it");
    }
    let wall_seconds = |wanted: usize| {
        let is_wanted =
            |player: &Player| matches!(player, Player::Zfl { threads } if *threads == wanted);
        let index = players.iter().position(is_wanted)?;
        figures.get(index).map(|figures| figures.wall_seconds)
    };
    if let (Some(one), Some(two)) = (wall_seconds(1), wall_seconds(2)) {
        println!(
            "\nzfl, two threads against one: {:.2} times as fast",
            one / two
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_one_of_the_values() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([1.0].into_iter()), 1.0);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn the_reference_programs_are_there() {
        let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for workload in WORKLOADS {
            for extension in ["c", "py"] {
                let name = format!("bench/reference/{}.{extension}", workload.program);
                assert!(project.join(&name).is_file(), "{name}");
            }
            assert!(project.join(workload.experiment).is_file());
        }
    }
}
