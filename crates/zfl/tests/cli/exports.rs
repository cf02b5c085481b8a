//! Exports, read by the programs that they are for: docs/notebooks.md is followed to
//! the letter.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{DEADLINE, Place, Records, Running, blocks, finish, shell, wait_until};
use crate::texts::without_trailing_blanks;

const DOCUMENT: &str = include_str!("../../../../docs/notebooks.md");
/// Made by scripts/setup.
const PYTHON: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/python/bin/python"
);
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
/// Comes between what two blocks print.
const END_OF_BLOCK: &str = "--- end of block ---\n";

fn python(place: &Place, script: &str) -> Command {
    assert!(
        Path::new(PYTHON).exists(),
        "no {PYTHON}: scripts/setup test makes it"
    );
    let path = place.write("script.py", script);
    let mut command = Command::new(PYTHON);
    command
        .arg(path)
        .current_dir(place.path(""))
        .env("PYTHONWARNINGS", "error::FutureWarning")
        .env("COLUMNS", "100");
    command
}

#[test]
fn notebooks_are_as_documented() {
    let place = Place::new();
    std::os::unix::fs::symlink(EXAMPLES, place.path("examples")).unwrap();
    let mut script = String::new();
    let mut expected = Vec::new();
    for (_, language, block) in blocks(DOCUMENT) {
        match language {
            "sh" => {
                finish(shell(block, &place.path(""))).succeeded();
            }
            "python" => script.push_str(&format!("{block}\nprint({END_OF_BLOCK:?}, end='')\n")),
            "text" => expected.push(block),
            other => panic!("a block of `{other}`"),
        }
    }
    assert!(expected.len() > 5);
    let said = finish(python(&place, &script)).succeeded();
    let said: Vec<String> = said
        .split_terminator(END_OF_BLOCK)
        .map(without_trailing_blanks)
        .collect();
    let expected: Vec<String> = expected.into_iter().map(without_trailing_blanks).collect();
    assert_eq!(said, expected);
}

#[test]
fn a_run_that_was_cut_off_is_exported_later() {
    let place = Place::new();
    let mut command = place.run("runs/a", &[]);
    command.args(["--fidelity", "native"]);
    finish(command).succeeded();
    let run = place.path("runs/a");
    let names = ["rounds.parquet", "clients.parquet"];
    let written = names.map(|name| fs::read(run.join(name)).unwrap());
    assert!(!run.join("events.out.tfevents.zfl").exists());

    for name in names.iter().chain(&["summary.json"]) {
        fs::remove_file(run.join(name)).unwrap();
    }
    let said = finish(place.zfl(["export", "runs", "--tensorboard"])).succeeded();
    assert_eq!(
        said,
        "runs/a/rounds.parquet\nruns/a/clients.parquet\nruns/a/events.out.tfevents.zfl\n"
    );
    assert!(names.map(|name| fs::read(run.join(name)).unwrap()) == written);

    // The last row is not all there.
    let rounds = Records::new(&run).text("rounds.csv");
    let (cut, _) = rounds.trim_end().rsplit_once(',').unwrap();
    fs::write(run.join("rounds.csv"), cut).unwrap();
    finish(place.zfl(["export", "runs/a"])).succeeded();
    let script = "import pandas as pd\n\
        rounds = pd.read_parquet('runs/a/rounds.parquet')\n\
        clients = pd.read_parquet('runs/a/clients.parquet')\n\
        print(len(rounds), len(clients), rounds['round'].dtype, rounds.nic_bytes_in.isna().all())\n\
        table = pd.read_csv('runs/a/clients.csv')\n\
        for column in ['train_loss', 'host_seconds', 'outcome', 'bytes_up']:\n    \
            assert (table[column] == clients[column]).all(), column\n";
    let said = finish(python(&place, script)).succeeded();
    assert_eq!(said, "2 12 int64 True\n");

    fs::write(run.join("clients.csv"), "round,client\nx,1\n").unwrap();
    let said = finish(place.zfl(["export", "runs"])).failed(1);
    assert!(
        said.contains("clients.csv, line 2: column `round` is `x`"),
        "{said}"
    );
}

#[test]
fn an_event_file_grows_with_its_run() {
    let place = Place::new();
    // Until it is interrupted.
    let mut command = place.run("runs/a", &["rounds=1000000"]);
    command.args(["--fidelity", "native", "--tensorboard", "--quiet"]);
    let running = Running::start(command);
    let path = place.path("runs/a/events.out.tfevents.zfl");
    let size = || fs::metadata(&path).map_or(0, |file| file.len());
    let mut last = 0;
    for _ in 0..2 {
        last = wait_until("the event file grows", DEADLINE, || {
            (size() > last).then(size)
        });
    }
    running.signal(Signal::INT);
    running.finish().failed(130);
    // To the last round, each once.
    let grown = fs::read(&path).unwrap();
    finish(place.zfl(["export", "runs", "--tensorboard"])).succeeded();
    assert!(grown == fs::read(&path).unwrap());
}
