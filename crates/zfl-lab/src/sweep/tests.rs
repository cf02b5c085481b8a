//! Sweeps of the digits, and their parts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tokio::sync::watch;
use zfl_data::SearchPath;
use zfl_machine::LauncherProgram;
use zfl_seed::{Purpose, Stream};

use super::objective::{Candidate, Front, Score};
use super::schedule::Scheduler;
use super::search::{Observation, Searcher};
use super::*;
use crate::archive::{Archive, Standing, SweepArchive};
use crate::firmware::FirmwareSource;

const BOARDS: [&str; 1] = ["mps2-an386"];

const DIGITS: &str = r#"
rounds = 4
[data.digits]
[partition.iid]
[model.mlp]
hidden = []
[training]
epochs = 1
batch-size = 20
learning-rate = 0.2
[strategy.fed-avg]
[[fleet]]
count = 4
fidelity = "native"
"#;

/// Twelve trials, most of which are stopped.
const GRID: &str = r#"
experiment = "digits.toml"
[space]
training.epochs = [1, 3]
training.learning-rate = { log-range = [0.01, 1.0], points = 3 }
coordinator.clients-per-round = [1, 4]
[search.grid]
[early-stopping.asha]
reduction-factor = 2
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new(sweep: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::write(place.path("digits.toml"), DIGITS).unwrap();
        let numbers = DIGITS.replace(
            "[data.digits]",
            "[data.csv]\nfile = \"numbers.csv\"\ntarget = \"y\"",
        );
        std::fs::write(place.path("numbers.toml"), numbers).unwrap();
        let mut rows = "x,z,y\n".to_owned();
        for row in 0..100 {
            let (x, z) = (row * 37 % 101, row * 53 % 89);
            rows.push_str(&format!("{x},{z},{}\n", 200 + 3 * x - z));
        }
        std::fs::write(place.path("numbers.csv"), rows).unwrap();
        std::fs::write(place.path("sweep.toml"), sweep).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self) -> Result<Sweep, ExperimentError> {
        Sweep::from_file(&self.path("sweep.toml"), &BOARDS)
    }

    fn context(&self, out: &str, workers: usize, is_resumed: bool) -> Context {
        Context {
            folder: self.path(out),
            is_resumed,
            search_path: SearchPath::default(),
            firmware: FirmwareSource::default(),
            launcher: LauncherProgram::this_program("unused").unwrap(),
            workers,
        }
    }

    /// Runs a sweep until so many jobs have been told of.
    fn run(
        &self,
        sweep: &Sweep,
        context: &Context,
        jobs: usize,
    ) -> (Result<Summary, SweepError>, usize) {
        let (stop, stopped) = watch::channel(false);
        let mut told = 0;
        let ended = run(
            sweep,
            context,
            |progress| {
                if let Progress::Job { is_past: false, .. } = progress {
                    told += 1;
                    if told == jobs {
                        stop.send(true).unwrap();
                    }
                }
            },
            stopped,
        );
        (ended, told)
    }

    fn completed(&self, sweep: &Sweep, out: &str, workers: usize) -> Summary {
        let context = self.context(out, workers, false);
        self.run(sweep, &context, usize::MAX).0.unwrap()
    }

    /// A table without what depends on the host.
    fn table(&self, out: &str, name: &str) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(self.path(out).join(name)).unwrap();
        let mut rows: Vec<BTreeMap<String, String>> =
            reader.deserialize().map(Result::unwrap).collect();
        for row in &mut rows {
            row.retain(|column, _| !["cpu_seconds", "host_seconds"].contains(&column.as_str()));
        }
        rows
    }

    /// Checks that two sweeps have come to the same.
    #[track_caller]
    fn check_same(&self, one: &str, other: &str) {
        for name in ["trials.csv", "front.csv"] {
            assert_eq!(self.table(one, name), self.table(other, name), "{name}");
        }
        for name in ["best.toml", "sweep.toml"] {
            let text = |out| std::fs::read_to_string(self.path(out).join(name)).unwrap();
            assert_eq!(text(one), text(other), "{name}");
        }
    }

    fn hashes(&self, out: &str, trial: &str) -> Vec<String> {
        let archive = Archive::open(&self.path(out).join("trials").join(trial)).unwrap();
        let rows = archive.rounds().unwrap().rows;
        rows.into_iter().map(|row| row.model_sha256).collect()
    }
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let tpe = "[search.tpe]\ntrials = 10\nrandom-trials = 3";
    for sweep in [GRID.to_owned(), GRID.replace("[search.grid]", tpe)] {
        let place = Place::new(&sweep);
        let sweep = place.read().unwrap();
        let one = place.completed(&sweep, "one", 1);
        let three = place.completed(&sweep, "three", 3);
        place.check_same("one", "three");
        assert_eq!(one.best, three.best);
        assert_eq!(one.importance, three.importance);
        assert!(one.trials.stopped > 0, "{:?}", one.trials);
    }
}

#[test]
fn a_trial_that_goes_on_is_a_run_that_never_paused() {
    let place = Place::new(GRID);
    let mut sweep = place.read().unwrap();
    let stopped = place.completed(&sweep, "asha", 2);
    sweep.early_stopping = None;
    let all = place.completed(&sweep, "grid", 2);
    assert_eq!((all.trials.completed, all.trials.all), (12, 12));
    assert!(stopped.trials.completed >= 1);
    // 1, 2 and 4 rounds: whoever has 4 was resumed twice.
    for row in place.table("asha", "trials.csv") {
        let trial = format!("{:0>4}", row["trial"]);
        let (paused, whole) = (place.hashes("asha", &trial), place.hashes("grid", &trial));
        assert_eq!(paused.len().to_string(), row["rounds"]);
        assert_eq!(paused[..], whole[..paused.len()]);
        let checkpoints = place
            .path("asha")
            .join("trials")
            .join(&trial)
            .join("checkpoints");
        let checkpoints = std::fs::read_dir(checkpoints).unwrap().count();
        assert_eq!(checkpoints, 1, "trial {trial}");
    }
    let cpu = |out| {
        let mut reader = csv::Reader::from_path(place.path(out).join("trials.csv")).unwrap();
        let rows: Vec<BTreeMap<String, String>> =
            reader.deserialize().map(Result::unwrap).collect();
        let seconds = rows
            .iter()
            .map(|row| row["cpu_seconds"].parse::<f64>().unwrap());
        assert!(seconds.clone().all(|seconds| seconds > 0.0));
        seconds.sum::<f64>()
    };
    // The sum of what each took is what the summary says, and no more than all.
    for (out, summary) in [("asha", &stopped), ("grid", &all)] {
        assert!((cpu(out) - summary.cpu_seconds).abs() < 0.05, "{out}");
        assert!(summary.cpu_seconds <= summary.process_cpu_seconds, "{out}");
    }
}

#[test]
fn a_sweep_goes_on_where_it_was_cut_off() {
    let place = Place::new(GRID);
    let sweep = place.read().unwrap();
    place.completed(&sweep, "whole", 2);
    let (ended, told) = place.run(&sweep, &place.context("cut", 2, false), 7);
    assert!(
        matches!(ended, Err(SweepError::Interrupted { .. })),
        "{ended:?}"
    );
    // A line that was being written.
    let jobs = place.path("cut").join("jobs.jsonl");
    let mut text = std::fs::read_to_string(&jobs).unwrap();
    text.push_str("{\"trial\":");
    std::fs::write(&jobs, text).unwrap();
    let resumed = Sweep::from_folder_of(&place.path("cut"), &BOARDS)
        .unwrap()
        .unwrap();
    let (ended, more) = place.run(&resumed, &place.context("cut", 1, true), usize::MAX);
    assert_eq!(ended.unwrap().outcome, "completed");
    let all = std::fs::read_to_string(place.path("whole").join("jobs.jsonl")).unwrap();
    assert!(told >= 7 && more >= 1 && told + more <= all.lines().count());
    place.check_same("whole", "cut");
    let again = place
        .run(&resumed, &place.context("cut", 1, true), usize::MAX)
        .0;
    let error = again.unwrap_err().to_string();
    assert!(
        error.contains("is complete: there is nothing to resume"),
        "{error}"
    );
}

#[test]
fn a_folder_has_one_sweep() {
    let place = Place::new(GRID);
    let sweep = place.read().unwrap();
    let context = place.context("out", 1, false);
    let mut inside = None;
    let (_stop, stopped) = watch::channel(false);
    run(
        &sweep,
        &context,
        |_| {
            inside.get_or_insert_with(|| {
                let again = place.context("out", 1, true);
                let (ended, _) = place.run(&sweep, &again, usize::MAX);
                ended.unwrap_err().to_string()
            });
        },
        stopped,
    )
    .unwrap();
    assert!(inside.unwrap().contains("another zfl writes there"));
    let error = place.run(&sweep, &context, usize::MAX).0.unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
}

#[test]
fn a_trial_that_fails_is_an_outcome() {
    let sweep = r#"
        experiment = "digits.toml"
        repeats = 2
        [space]
        training.weight-decay = [0.0, 1e30]
        coordinator.clients-per-round = [2, 4]
        coordinator.quorum = [1, 4]
    "#;
    let place = Place::new(sweep);
    let summary = place.completed(&place.read().unwrap(), "out", 2);
    // Two clients cannot be a quorum of four; weights that decay so much grow past all bounds.
    let TrialCounts {
        all,
        completed,
        failed,
        impossible,
        ..
    } = summary.trials;
    assert_eq!((all, completed, failed, impossible), (8, 3, 3, 2));
    for row in place.table("out", "trials.csv") {
        let detail = match row["status"].as_str() {
            "completed" => "",
            "failed" => "diverged",
            "impossible" => "`coordinator.quorum` is 4",
            other => panic!("{other}"),
        };
        assert!(row["detail"].contains(detail) && detail.is_empty() == row["detail"].is_empty());
        let is_ok = row["status"] == "completed";
        assert_eq!(row["accuracy_low"].is_empty(), !is_ok);
        if is_ok {
            let number = |column: &str| row[column].parse::<f64>().unwrap();
            assert!(number("accuracy_low") <= number("accuracy"));
            assert!(number("accuracy") <= number("accuracy_high"));
            // Two seeds are two runs.
            let trial = format!("{:0>4}", row["trial"]);
            let [one, two] = [1, 2].map(|repeat| place.hashes("out", &format!("{trial}-{repeat}")));
            assert_ne!(one, two);
        }
    }
}

#[test]
fn a_sweep_of_nothing_but_failures_says_so() {
    let sweep = "experiment = \"digits.toml\"\n[space]\ntraining.weight-decay = [1e30, 2e30]";
    let place = Place::new(sweep);
    let sweep = place.read().unwrap();
    let ended = place
        .run(&sweep, &place.context("out", 1, false), usize::MAX)
        .0;
    let error = ended.unwrap_err().to_string();
    assert!(
        error.starts_with("none of 2 trials came to a result; the first: "),
        "{error}"
    );
    let text = std::fs::read_to_string(place.path("out").join("summary.json")).unwrap();
    assert!(text.contains("none of 2 trials"), "{text}");
}

#[test]
fn a_sweep_says_how_it_stands_while_it_goes_on() {
    let place = Place::new(GRID);
    let sweep = place.read().unwrap();
    let context = place.context("out", 1, false);
    let archive = || SweepArchive::open(&place.path("out")).unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut planned = 0;
    let ended = run(
        &sweep,
        &context,
        |progress| match progress {
            Progress::Began { trials, .. } => planned = trials,
            _ => {
                assert_eq!(archive().standing().unwrap(), Standing::Running);
                let summary = archive().summary().unwrap().unwrap();
                assert_eq!(summary.outcome, "running");
                assert_eq!(summary.trials.planned, planned);
                assert_eq!(summary.objectives.len(), sweep.objectives.len());
                archive().overview().unwrap();
                stop.send(true).unwrap();
            }
        },
        stopped,
    );
    assert!(matches!(ended, Err(SweepError::Interrupted { .. })));
    let Standing::Ended(reason) = archive().standing().unwrap() else {
        panic!("{:?}", archive().standing());
    };
    assert!(reason.starts_with("interrupted"), "{reason}");
    let overview = archive().overview().unwrap();
    assert!(overview.trials.over() < planned);

    // Killed, it would have said no more than that it goes on.
    let path = place.path("out").join("summary.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let killed = text.replace(
        &format!("\"outcome\": \"{reason}"),
        "\"outcome\": \"running",
    );
    assert_ne!(text, killed);
    std::fs::write(&path, killed).unwrap();
    assert_eq!(archive().standing().unwrap(), Standing::CutOff);

    let context = place.context("out", 1, true);
    let summary = place.run(&sweep, &context, usize::MAX).0.unwrap();
    assert_eq!(archive().standing().unwrap(), Standing::Completed);
    let overview = archive().overview().unwrap();
    assert_eq!(overview.trials, summary.trials);
    assert_eq!(overview.best, summary.best);
    assert_eq!(overview.objectives, summary.objectives);
}

/// Checks what is said of a sweep with this changed in it.
#[track_caller]
fn check_mistake(from: &str, to: &str, line_column: (usize, usize), message: &str, help: &str) {
    assert!(GRID.contains(from), "{from}");
    check_mistake_of(&GRID.replacen(from, to, 1), line_column, message, help);
}

#[track_caller]
fn check_mistake_of(sweep: &str, line_column: (usize, usize), message: &str, help: &str) {
    let place = Place::new(sweep);
    let error = place.read().unwrap_err();
    assert_eq!(error.line_column(), Some(line_column), "{error}");
    assert!(error.message().contains(message), "{error}");
    let found = error.help().unwrap_or_default();
    assert!(found.contains(help), "{found}");
}

#[test]
fn mistakes_are_told_with_their_place() {
    check_mistake(
        "training.epochs = [1, 3]",
        "training.epoch = [1, 3]",
        (4, 10),
        "unknown key `epoch` in `training`",
        "did you mean `epochs`?",
    );
    check_mistake(
        "epochs = [1, 3]",
        "epochs = [1, 0]",
        (4, 23),
        "`training.epochs` is 0",
        "10000",
    );
    check_mistake(
        "epochs = [1, 3]",
        "epochs = []",
        (4, 19),
        "has 0 values",
        "1 to 1000",
    );
    check_mistake(
        "epochs = [1, 3]",
        "epochs = [1, 1]",
        (4, 23),
        "has 1 twice",
        "leave one",
    );
    check_mistake(
        "epochs = [1, 3]",
        "epochs = 1",
        (4, 19),
        "which is no choice",
        "a list",
    );
    check_mistake(
        "[0.01, 1.0], points = 3",
        "[0.01, 1.0]",
        (5, 40),
        "a grid needs values",
        "add `points = N`",
    );
    check_mistake(
        "[0.01, 1.0]",
        "[0.0, 1.0]",
        (5, 40),
        "log-range = [0, 1]",
        "above 0",
    );
    check_mistake(
        "points = 3",
        "point = 3",
        (5, 53),
        "unknown key `point`",
        "`points`?",
    );
    check_mistake(
        "[search.grid]",
        "[search.gird]",
        (7, 9),
        "unknown key `gird`",
        "`grid`?",
    );
    check_mistake(
        "coordinator.clients-per-round = [1, 4]",
        "seed = [1, 2]",
        (6, 1),
        "`seed` is not for a space",
        "repeats",
    );
    check_mistake(
        "reduction-factor = 2",
        "reduction-factor = 1",
        (9, 20),
        "is 1",
        "2 to 100",
    );
    check_mistake(
        "reduction-factor = 2",
        "rounds-min = 4",
        (8, 1),
        "one rung",
        "less than",
    );
    check_mistake(
        "digits.toml",
        "",
        (2, 14),
        "`experiment` is empty",
        "path of an exper",
    );
    check_mistake(
        "digits.toml",
        "nowhere.toml",
        (2, 14),
        "No such file",
        "path of an exper",
    );
    check_mistake(
        "[search.grid]",
        "[[objectives]]\naccuracy = { within-byte = 9 }",
        (8, 14),
        "unknown key `within-byte`",
        "`within-bytes`?",
    );
    check_mistake(
        "[search.grid]",
        "[[objectives]]\nbytes = {}",
        (8, 1),
        "a trial that does nothing needs least",
        "to-accuracy",
    );
    check_mistake(
        "[search.grid]",
        "[[objectives]]\ndevice-seconds = { to-accuracy = 0.9 }",
        (8, 1),
        "needs a microcontroller",
        "zfl boards",
    );
    check_mistake(
        "coordinator.clients-per-round = [1, 4]",
        "training.weight-bits = { list = [8, 16], when = { \"training.epoch\" = [1] } }",
        (6, 51),
        "`training.epoch` is no parameter above it",
        "did you mean `training.epochs`?",
    );
    check_mistake(
        "[space]",
        "[spaces]",
        (3, 2),
        "unknown key `spaces`",
        "did you mean `space`?",
    );
}

#[test]
fn objectives_fit_what_is_learned() {
    let digits = "experiment = \"digits.toml\"\nspace.training.epochs = [1, 2]\n";
    let numbers = digits.replace("digits.toml", "numbers.toml");
    for (sweep, place, message, help) in [
        (
            "[[objectives]]\nrmse = {}",
            (4, 1),
            "`rmse`: the experiment learns classes",
            "`accuracy` in place",
        ),
        (
            "[[objectives]]\nbytes = { to-rmse = 2 }",
            (4, 11),
            "`rmse`: the experiment learns classes",
            "`accuracy` in place",
        ),
    ] {
        check_mistake_of(&[digits, sweep].concat(), place, message, help);
    }
    for (sweep, place, message, help) in [
        (
            "[[objectives]]\naccuracy = {}",
            (4, 1),
            "`accuracy`: the experiment learns a number",
            "`rmse` in place",
        ),
        (
            "[[objectives]]\nrounds = { to-accuracy = 0.9 }",
            (4, 12),
            "`accuracy`: the experiment learns a number",
            "`rmse` in place",
        ),
        (
            "[[objectives]]\nrounds = { to-rmse = 0 }",
            (4, 22),
            "`to-rmse` is 0",
            "above 0",
        ),
        (
            "[[objectives]]\nbytes = {}",
            (4, 1),
            "a trial that does nothing needs least",
            "to-rmse = 0.9",
        ),
    ] {
        check_mistake_of(&[&numbers, sweep].concat(), place, message, help);
    }
}

#[test]
fn a_sweep_of_numbers_finds_the_least_error() {
    let place = Place::new(
        "experiment = \"numbers.toml\"\n[space]\ntraining.learning-rate = [1e-6, 0.1]\n",
    );
    let sweep = place.read().unwrap();
    let names: Vec<String> = sweep.objectives.iter().map(Objective::name).collect();
    assert_eq!(names, ["rmse", "bytes"]);
    let summary = place.completed(&sweep, "default", 1);
    let objective = &summary.objectives[0];
    assert_eq!((&*objective.name, objective.is_maximised), ("rmse", false));
    let best = summary.best.as_ref().unwrap();
    assert_eq!(best.trial, 2);
    let error = best.objectives["rmse"].unwrap();
    let rows = place.table("default", "trials.csv");
    assert!(rows[0]["rmse"].parse::<f64>().unwrap() > error);
    assert_eq!(summary.importance.objective, "rmse");

    // No trial comes so far: the one with the least error is the best all the same.
    let text = "experiment = \"numbers.toml\"\n\
        objectives = [{ bytes = { to-rmse = 1e-3 } }, { rmse = { within-rounds = 2 } }]\n\
        [space]\ntraining.learning-rate = [1e-6, 0.1]\n";
    std::fs::write(place.path("sweep.toml"), text).unwrap();
    let sweep = place.read().unwrap();
    let names: Vec<String> = sweep.objectives.iter().map(Objective::name).collect();
    assert_eq!(names, ["bytes_to_rmse_0.001", "rmse_within_2_rounds"]);
    let summary = place.completed(&sweep, "target", 1);
    let best = summary.best.as_ref().unwrap();
    assert_eq!(
        (best.trial, best.objectives["bytes_to_rmse_0.001"]),
        (2, None)
    );
    assert_eq!(summary.importance.objective, "rmse");
    std::fs::write(place.path("written.toml"), folder::to_toml(&sweep)).unwrap();
    let written = Sweep::from_file(&place.path("written.toml"), &BOARDS).unwrap();
    assert_eq!(written.objectives, sweep.objectives);
}

#[test]
fn an_empty_space_is_refused() {
    for (space, message) in [
        ("", "missing table `space`"),
        ("[space]", "`space` is empty"),
    ] {
        let place = Place::new(&format!("experiment = \"digits.toml\"\n{space}"));
        let error = place.read().unwrap_err();
        assert!(error.message().contains(message), "{error}");
    }
}

#[test]
fn a_sweep_is_written_as_it_was_read() {
    let sweep = r#"
        experiment = "digits.toml"
        seed = 7
        repeats = 3
        confirm = 2
        confirm-rounds = 1
        width = 9
        objectives = [
            { accuracy = { within-bytes = 1000000 } },
            { bytes = { to-accuracy = 0.9 } },
            { rounds = {} },
        ]
        [space]
        training.arithmetic = ["f32", "fixed"]
        training.weight-bits = { list = [8, 16], when = { "training.arithmetic" = ["fixed"] } }
        training.momentum = { range = [0.0, 0.9], step = 0.3 }
        training.batch-size = { log-range = [5, 80] }
        partition = [{ iid = {} }, { shards = { per-client = 2 } }]
        model.mlp.hidden = [[], [16]]
        [search.tpe]
        trials = 20
    "#;
    let place = Place::new(sweep);
    let sweep = place.read().unwrap();
    let names: Vec<String> = sweep.objectives.iter().map(Objective::name).collect();
    let expected = [
        "accuracy_within_1000000_bytes",
        "bytes_to_accuracy_0.9",
        "rounds_used",
    ];
    assert_eq!(names, expected);
    let momentum = &sweep.parameters[2].values;
    let steps = [0.0, 0.3, 0.6, 0.9].map(toml::Value::Float).to_vec();
    assert_eq!(*momentum, Values::List(steps));
    std::fs::write(place.path("written.toml"), folder::to_toml(&sweep)).unwrap();
    let written = Sweep::from_file(&place.path("written.toml"), &BOARDS).unwrap();
    let same_name = Sweep {
        name: sweep.name.clone(),
        ..written
    };
    assert_eq!(same_name, sweep);
}

#[test]
fn the_documents_show_sweeps() {
    let document = include_str!("../../../../docs/sweeps.md");
    let (_, example) = document.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let sweep = Place::new(example).read().unwrap();
    // Weights of f32 have no number of bits.
    let grid = space::grid(&sweep.parameters, 1000).unwrap();
    assert_eq!(grid.len(), 3 * 2 * 5 * (1 + 2));
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    for (name, trials) in [("sweep-digits.toml", 48), ("sweep-mnist.toml", 240)] {
        let sweep = Sweep::from_file(&Path::new(examples).join(name), &BOARDS).unwrap();
        let grid = space::grid(&sweep.parameters, 1000).unwrap();
        assert_eq!(grid.len(), trials, "{name}");
        assert!(sweep.early_stopping.is_some(), "{name}");
    }
}

fn parameter(key: &str, values: Values) -> Parameter {
    Parameter {
        key: key.to_owned(),
        values,
        when: Vec::new(),
    }
}

/// Plays trials whose score is known: `quality` of a trial after some rounds.
fn simulate(
    count: i64,
    asha: Asha,
    rounds: u32,
    quality: impl Fn(u32, u32) -> f64,
) -> BTreeMap<u32, u32> {
    let numbers = Values::List((0..count).map(toml::Value::Integer).collect());
    let parameters = [parameter("a", numbers)];
    let searcher = Searcher::new(&parameters, &Search::Grid, 1, true);
    let mut scheduler = Scheduler::new(searcher, asha.rungs(rounds), asha.reduction_factor, 4);
    let mut reached = BTreeMap::new();
    loop {
        while let Some(job) = scheduler.next(|trial, _| Some(u128::from(trial % 7 + 1))) {
            // From rung to rung, none left out.
            let before = reached.insert(job.trial, job.rounds_until);
            let rungs = asha.rungs(rounds);
            assert_eq!(before, job.rung.checked_sub(1).map(|rung| rungs[rung]));
        }
        let Some(due) = scheduler.due() else {
            return reached;
        };
        let quality = quality(due.trial, due.rounds_until);
        scheduler.finish(Some(Score {
            cost: Some(-quality),
            quality: None,
        }));
    }
}

#[test]
fn halving_leaves_few_and_the_best() {
    let asha = Asha {
        rounds_min: 1,
        reduction_factor: 4,
    };
    assert_eq!(asha.rungs(64), [1, 4, 16, 64]);
    assert_eq!(asha.rungs(50), [1, 4, 16, 50]);
    let reached = simulate(256, asha, 64, |trial, _| f64::from(trial));
    let at_least = |rounds: u32| {
        reached
            .values()
            .filter(|reached| **reached >= rounds)
            .count()
    };
    assert_eq!(reached[&256], 64);
    assert_eq!(at_least(1), 256);
    // A quarter; and those that were among the best of the first that came.
    assert!((64..=80).contains(&at_least(4)), "{}", at_least(4));
    assert!((16..=20).contains(&at_least(16)), "{}", at_least(16));
    assert!((4..=5).contains(&at_least(64)), "{}", at_least(64));
}

#[test]
fn a_failed_trial_never_goes_on() {
    let parameters = [parameter(
        "a",
        Values::List((0..8).map(toml::Value::Integer).collect()),
    )];
    let searcher = Searcher::new(&parameters, &Search::Grid, 1, false);
    let mut scheduler = Scheduler::new(searcher, vec![1, 2], 2, 2);
    let mut jobs = 0;
    loop {
        while scheduler.next(|_, _| Some(1)).is_some() {
            jobs += 1;
        }
        if scheduler.due().is_none() {
            break;
        }
        scheduler.finish(None);
    }
    assert_eq!(jobs, 8);
}

/// The mean cost of the last half of the trials of a search. `reaches`: up to which cost
/// the objective has a value; above, the model's quality alone tells trials apart.
fn mean_cost(search: &Search, seed: u64, reaches: f64) -> f64 {
    let rate = Values::Range {
        from: 1e-4,
        to: 1.0,
        is_log: true,
        is_whole: false,
    };
    let kinds = Values::List((0..4).map(toml::Value::Integer).collect());
    let parameters = [parameter("rate", rate), parameter("kind", kinds)];
    let mut searcher = Searcher::new(&parameters, search, seed, false);
    let mut past: Vec<(Choice, [Score; 1])> = Vec::new();
    let mut costs = Vec::new();
    loop {
        let observed: Vec<Observation<'_>> = past
            .iter()
            .map(|(choice, scores)| Observation { choice, scores })
            .collect();
        let Some((_, choice)) = searcher.next(&observed) else {
            break;
        };
        let place = |index: usize| {
            let value = choice.values[index].as_ref().unwrap();
            parameters[index].values.place(value).unwrap()
        };
        // Best at a rate of 0.01, of kind 2.
        let (rate, kind) = (place(0) - libm::log(0.01), place(1) - 2.0);
        let cost = rate * rate + kind * kind;
        let score = Score {
            cost: Some(cost).filter(|cost| *cost <= reaches),
            quality: Some(1.0 / (1.0 + cost)),
        };
        past.push((choice, [score]));
        costs.push(cost);
    }
    let last = &costs[costs.len() / 2..];
    last.iter().sum::<f64>() / last.len() as f64
}

#[test]
fn the_model_based_search_learns_where_to_look() {
    let tpe = Search::Tpe {
        trials: 60,
        random_trials: 10,
    };
    let random = Search::Random { trials: 60 };
    for seed in 1..=5 {
        for reaches in [f64::INFINITY, 0.1] {
            let [tpe, random] = [&tpe, &random].map(|search| mean_cost(search, seed, reaches));
            assert!(tpe < random / 2.0, "seed {seed}: {tpe} {random}");
        }
    }
}

#[test]
fn a_search_tries_nothing_twice() {
    let parameters = [parameter(
        "a",
        Values::List((0..5).map(toml::Value::Integer).collect()),
    )];
    for search in [
        Search::Random { trials: 100 },
        Search::Tpe {
            trials: 100,
            random_trials: 2,
        },
    ] {
        let mut searcher = Searcher::new(&parameters, &search, 1, false);
        let mut cells: Vec<Vec<String>> = std::iter::from_fn(|| searcher.next(&[]))
            .map(|(_, choice)| choice.cells())
            .collect();
        cells.sort();
        cells.dedup();
        assert_eq!(cells.len(), 5);
    }
}

fn point(round: u32, accuracy: f64, bytes: u64) -> Point {
    Point {
        round,
        accuracy: Some(accuracy),
        rmse: Some(10.0 * (1.0 - accuracy)),
        loss: 1.0 - accuracy,
        bytes,
        device_seconds: None,
        energy_mj: None,
    }
}

#[test]
fn objectives_are_what_they_say() {
    let points = [point(1, 0.5, 100), point(2, 0.9, 200), point(3, 0.8, 300)];
    let within = |cost, most| Objective::Quality {
        measure: Measure::Accuracy,
        within: Some(Budget { cost, most }),
    };
    let reached = |cost, accuracy| Objective::Cost {
        cost,
        target: Some(Target {
            measure: Measure::Accuracy,
            value: accuracy,
        }),
    };
    let within_error = |value| Objective::Cost {
        cost: Measure::Bytes,
        target: Some(Target {
            measure: Measure::Rmse,
            value,
        }),
    };
    for (objective, expected) in [
        (Objective::plain(Measure::Accuracy), Some(0.8)),
        (Objective::plain(Measure::Bytes), Some(300.0)),
        (within(Measure::Bytes, 250.0), Some(0.9)),
        (within(Measure::Rounds, 1.0), Some(0.5)),
        (within(Measure::Bytes, 99.0), None),
        (reached(Measure::Bytes, 0.9), Some(200.0)),
        (reached(Measure::Rounds, 0.5), Some(1.0)),
        (reached(Measure::Bytes, 0.95), None),
        // Errors are 5, 1 and 2.
        (within_error(4.0), Some(200.0)),
        (within_error(5.0), Some(100.0)),
        (within_error(0.5), None),
        (Objective::plain(Measure::DeviceSeconds), None),
    ] {
        assert_eq!(objective.value(&points), expected, "{}", objective.name());
    }
    assert_eq!(Objective::plain(Measure::Loss).value(&[]), None);
}

#[test]
fn an_interval_is_students() {
    // t of two degrees of freedom is 4.3027 at 97.5 %; the deviation is 1.
    let figure = Figure::new(&[Some(1.0), Some(2.0), Some(3.0)]).unwrap();
    let (low, high) = figure.interval.unwrap();
    let half = 4.302_652_73 / 3f64.sqrt();
    assert!((low - (2.0 - half)).abs() < 1e-6 && (high - (2.0 + half)).abs() < 1e-6);
    let single = Figure::new(&[Some(1.0)]).unwrap();
    assert_eq!((single.mean, single.interval), (1.0, None));
    assert_eq!(Figure::new(&[Some(1.0), None]), None);
}

proptest! {
    #[test]
    fn the_front_is_what_nothing_beats(
        values in prop::collection::vec((0u8..6, 0u8..6), 1..40),
        seed: u64,
    ) {
        let objectives = [Objective::plain(Measure::Accuracy), Objective::plain(Measure::Bytes)];
        let candidates: Vec<Candidate> = (1..).zip(&values)
            .map(|(trial, (accuracy, bytes))| Candidate {
                trial,
                round: 1,
                values: vec![f64::from(*accuracy), f64::from(*bytes)],
            })
            .collect();
        let mut expected: Vec<u32> = candidates.iter()
            .filter(|one| !candidates.iter().any(|other| {
                let [accuracy, bytes] = [0, 1].map(|index| {
                    other.values[index].total_cmp(&one.values[index])
                });
                let is_as_good = accuracy.is_ge() && bytes.is_le();
                is_as_good && (accuracy.is_gt() || bytes.is_lt() || other.trial < one.trial)
            }))
            .map(|one| one.trial)
            .collect();
        // In any order.
        let mut shuffled = candidates.clone();
        Stream::new(seed, Purpose::SweepCheck, 0).shuffle(&mut shuffled);
        let mut front = Front::default();
        for candidate in shuffled {
            front.add(&objectives, candidate);
        }
        let sorted = front.sorted(&objectives);
        prop_assert!(sorted.is_sorted_by(|one, other| one.values[0] > other.values[0]));
        let mut found: Vec<u32> = sorted.iter().map(|candidate| candidate.trial).collect();
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}
