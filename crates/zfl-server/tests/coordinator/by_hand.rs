//! The `curl` session of `docs/http.md`, as it stands there.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;

use zfl_nn::{Activation, Format, Hyperparameters, Initialisation, Loss, Model, Task};
use zfl_server::{Deadlines, Initial, Options, Plan, Schedule, Shares, Targets, TestSet};

use crate::harness::{Served, soon};
use crate::problem::NEVER;

/// The toy of the document: three samples of four inputs, two classes.
struct Toy;

const SAMPLES: [u8; 12] = [16, 0, 16, 0, 0, 16, 0, 16, 16, 0, 8, 0];
const LABELS: [u8; 3] = [0, 1, 0];

impl Shares for Toy {
    fn input_count(&self) -> u32 {
        4
    }
    fn class_count(&self) -> u32 {
        2
    }
    fn value_scale(&self) -> f32 {
        0.0625
    }
    fn sample_count(&self, _: u32) -> u32 {
        3
    }
    fn samples(&self, _: u32) -> Vec<u8> {
        SAMPLES.to_vec()
    }
    fn targets(&self, _: u32) -> Targets {
        Targets::Labels(LABELS.to_vec())
    }
}

/// A step of the session: what is typed, and what is said to come of it.
struct Step {
    typed: String,
    shown: Option<String>,
}

/// The `sh` blocks of a section, each with the block that follows it.
fn session(document: &str, heading: &str) -> Vec<Step> {
    let (_, section) = document.split_once(heading).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for (index, part) in section.split("\n```").enumerate() {
        let (kind, text) = part.split_once('\n').unwrap_or((part, ""));
        // Outside and inside take turns.
        match (index % 2, kind) {
            (1, "sh") => steps.push(Step {
                typed: text.to_owned(),
                shown: None,
            }),
            (1, "json" | "text") => steps.last_mut().unwrap().shown = Some(text.to_owned()),
            (1, _) => panic!("a block of kind `{kind}` in the session"),
            _ => {}
        }
    }
    steps
}

#[tokio::test]
async fn the_documented_session_works() {
    let curl = std::process::Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if curl.is_err() {
        eprintln!("skipped: there is no `curl` on this machine");
        return;
    }
    let options = Options {
        plan: Plan {
            seed: 1,
            task: Task {
                model: Model::mlp(4, &[2], Activation::Relu, Loss::CrossEntropy).unwrap(),
                hyperparameters: Hyperparameters::sgd(1, 3, 0.5),
                format: Format::F32,
            },
            initial: Initial::Drawn(Initialisation::Auto),
            rounds: 1,
            client_count: 1,
            clients_per_round: 1,
            quorum: 1,
            policy: zfl_server::Policy::default(),
            schedule: Schedule::Constant,
            target_accuracy: None,
            resume: None,
        },
        deadlines: Deadlines {
            ready: NEVER,
            round: NEVER,
        },
        parallel: None,
        threads: 1,
    };
    let test = TestSet {
        samples: SAMPLES.to_vec(),
        targets: Targets::Labels(LABELS.to_vec()),
        target_unit: 1.0,
        value_scale: 0.0625,
    };
    let mut served = Served::of(options, Toy, test).await;
    served.run();

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http.md");
    let document = std::fs::read_to_string(path).unwrap();
    let steps = session(&document, "\n## Playing a client with curl\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("by-hand")).unwrap();
    let tokens = format!("client,token\n0,{}\n", served.tokens[&0]);
    std::fs::write(folder.path().join("by-hand/tokens.csv"), tokens).unwrap();
    let mut script = "set -eu\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        let base = format!("http://{}", served.address);
        let typed = step.typed.replace("http://127.0.0.1:8080", &base);
        write!(script, "{{\n{typed}\n}} >shown-{index} 2>&1\n").unwrap();
    }
    let shell = tokio::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("no_proxy", "*")
        .kill_on_drop(true)
        .output();
    let output = soon("the end of the session", shell).await.unwrap();
    let mut shown_count = 0;
    for (index, step) in steps.iter().enumerate() {
        let found = std::fs::read_to_string(folder.path().join(format!("shown-{index}")));
        let found = found.unwrap_or_default();
        assert!(output.status.success(), "{}: {found}", step.typed);
        if let Some(shown) = &step.shown {
            assert_eq!(found.trim(), shown.trim(), "{}", step.typed);
            shown_count += 1;
        }
    }
    assert!(
        shown_count >= 6,
        "the document shows only {shown_count} answers"
    );

    // The parameters went out and came back without losing a bit.
    served.end().await.unwrap();
    let hashes = served.course().hashes;
    assert_eq!(hashes.len(), 2);
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(served.outcomes(1), [(0, "ok", String::new())]);
}
