//! `--fidelity native`: the same models without a machine.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::runs::SMALL_HASH;
use crate::support::{Place, Records, Running, finish, idx};

/// A run of [`crate::support::SMALL`] in one process, where no emulator can be
/// found.
fn native(place: &Place, out: &str, sets: &[&str], threads: &str) -> std::process::Command {
    let mut command = place.run(out, sets);
    command
        .args(["--fidelity", "native", "--threads", threads])
        .env("PATH", place.path("nothing"));
    command
}

#[test]
fn native_and_emulated_runs_are_equal() {
    let place = Place::new();
    let emulated = place.completed_run("emulated", &[]);
    for threads in ["1", "2", "7"] {
        let said = finish(native(&place, threads, &[], threads)).succeeded();
        assert!(said.contains("records in "), "{said}");
        let records = Records::new(&place.path(threads));
        assert_eq!(records.final_hash(), *SMALL_HASH);
        assert!(records.checkpoints() == emulated.checkpoints());
        for column in ["accuracy", "loss", "bytes_down", "bytes_up", "clients_ok"] {
            let columns = [&records, &emulated].map(|records| records.round_column(column));
            assert_eq!(columns[0], columns[1], "{column}");
        }
        for (row, emulated) in records.clients().iter().zip(emulated.clients()) {
            for column in "round,client,outcome,samples,train_loss,train_accuracy,bytes_down,\
                           bytes_up,arena_peak_bytes,detail"
                .split(',')
            {
                assert_eq!(row[column], emulated[column], "{column}");
            }
            assert_eq!(row["board"], "native");
            assert!(row["host_seconds"].parse::<f64>().unwrap() > 0.0, "{row:?}");
            for column in ["nic_bytes_in", "nic_frames_out", "stack_peak_bytes"] {
                assert_eq!(row[column], "0", "{column}");
            }
            assert_eq!(row["device_clock_seconds"], "0.0");
        }
        let summary = records.summary();
        assert_eq!(summary["outcome"], "completed");
        assert_eq!(summary["clients"], 4);
        assert_eq!(summary["updates_ok"], 12);
        assert_eq!(summary["emulators"], serde_json::Value::Null);
        // Nothing listens, and there is nobody to wait for.
        for name in ["listening", "client-provisioned"] {
            assert!(records.events_named(name).is_empty(), "{name}");
        }
    }
}

/// A hundred thousand clients of one sample each, a hundred a round, in a
/// quarter of the memory that is allowed them.
#[test]
fn clients_that_are_not_selected_take_no_memory() {
    const CLIENTS: u32 = 100_000;
    let place = Place::new();
    let classes: Vec<u8> = (0..4).cycle().take(CLIENTS as usize).collect();
    let samples: Vec<u8> = classes
        .iter()
        .flat_map(|class| {
            let mut sample = [0; 16];
            sample[usize::from(*class) * 4..][..4].fill(200);
            sample
        })
        .collect();
    place.write("samples", idx(&[CLIENTS, 4, 4], &samples));
    place.write("labels", idx(&[CLIENTS], &classes));
    place.write(
        "experiment.toml",
        r#"
name = "many"
seed = 1
rounds = 20

[data.idx]
train-images = "samples"
train-labels = "labels"
test-images = "samples"
test-labels = "labels"

[partition.iid]

[model.mlp]
hidden = [16]

[training]
epochs = 5
batch-size = 1
learning-rate = 0.2

[strategy.fed-avg]

[coordinator]
clients-per-round = 100

[[fleet]]
fidelity = "native"
count = 100_000
"#,
    );
    let zfl = place.run("out", &["name=many"]);
    // In KiB: anonymous memory, the heap included.
    let mut limited = std::process::Command::new("/bin/sh");
    limited
        .args(["-c", r#"ulimit -d 262144 && exec "$@""#, "sh"])
        .arg(zfl.get_program())
        .args(zfl.get_args())
        .current_dir(place.path(""));
    finish(limited).succeeded();
    let records = Records::new(&place.path("out"));
    let summary = records.summary();
    assert_eq!(summary["clients"], CLIENTS);
    assert_eq!(summary["updates_ok"], 2000);
    assert_eq!(summary["accuracy"], 1.0);
}

/// Every kind of layer, optimiser and arithmetic: five rounds on emulated
/// devices and five natively end in the same checkpoints.
#[test]
fn every_model_is_the_same_on_devices() {
    let cnn = "model.cnn.layers=[{conv={filters=4,kernel=3,padding=1}},{max-pool={size=2}},\
               {conv={filters=6,kernel=3,stride=2,padding=1,activation=\"tanh\"}},\
               {average-pool={size=2}},{flatten={}},{dense={outputs=8,activation=\"leaky-relu\"}}]";
    let models: [(&str, &str, &[&str]); 5] = [
        ("mlp", "mps2-an386", &["model.mlp.hidden=[16]"]),
        ("cnn", "mps2-an386", &[cnn]),
        (
            "optimiser",
            "mps2-an500",
            &[
                "model.mlp.activation=\"sigmoid\"",
                "training.momentum=0.9",
                "training.nesterov=true",
                "training.weight-decay=0.001",
                "training.clip-norm=0.5",
                "training.proximal=0.01",
                "training.learning-rate=0.05",
                "training.loss=\"mean-squared-error\"",
                "training.schedule.cosine={}",
            ],
        ),
        (
            "fixed",
            "mps2-an385",
            &["training.arithmetic=\"fixed\"", "training.weight-bits=16"],
        ),
        (
            "frozen",
            "mps2-an385",
            &[
                "model.mlp.frozen=[\"dense0\"]",
                "training.arithmetic=\"fixed\"",
            ],
        ),
    ];
    let place = Place::new();
    for (name, board, sets) in models {
        let fleet = format!("fleet=[{{board=\"{board}\",count=2}}]");
        let mut all = vec!["rounds=5", "partition.iid.samples-per-client=60", &fleet];
        all.extend(sets);
        let emulated = place.completed_run(&format!("{name}-emulated"), &all);
        let out = format!("{name}-native");
        finish(native(&place, &out, &all, "2")).succeeded();
        let records = Records::new(&place.path(&out));
        assert!(records.checkpoints() == emulated.checkpoints(), "{name}");
        assert_eq!(records.checkpoints().len(), 5);
        for column in ["accuracy", "bytes_down", "bytes_up"] {
            let columns = [&records, &emulated].map(|records| records.round_column(column));
            assert_eq!(columns[0], columns[1], "{name}: {column}");
        }
    }
}

#[test]
fn a_mixed_fleet_gives_the_same_model() {
    let place = Place::new();
    let fleet = r#"fleet=[{board="mps2-an386",count=1},{fidelity="native",count=2},{board="mps2-an385",count=1}]"#;
    let records = place.completed_run("out", &[fleet]);
    assert_eq!(records.final_hash(), *SMALL_HASH);
    let clients = records.clients();
    for (row, board) in clients.iter().zip(
        ["mps2-an386", "native", "native", "mps2-an385"]
            .iter()
            .cycle(),
    ) {
        assert_eq!(row["board"], *board);
        assert_eq!(row["nic_bytes_in"] == "0", *board == "native", "{row:?}");
    }
    assert_eq!(records.events_named("client-provisioned").len(), 2);
    assert_eq!(records.events_named("device-boot").len(), 2);
}

/// Shares of other sizes, other labels and other noise are the same for devices.
#[test]
fn uneven_shares_give_the_same_model() {
    let place = Place::new();
    let dealt = ["partition.dirichlet.alpha=0.3", "feature-noise.sigma=0.5"];
    let emulated = place.completed_run("emulated", &dealt);
    let run = |out: &str, sets: &[&str]| {
        finish(native(&place, out, sets, "2")).succeeded();
        Records::new(&place.path(out))
    };
    let records = run("native", &dealt);
    assert!(records.checkpoints() == emulated.checkpoints());
    assert_eq!(
        records.text("partition.csv"),
        emulated.text("partition.csv")
    );
    // Who holds what is what was trained on.
    let held = records.table("partition.csv");
    assert_eq!(held.len(), 4);
    for row in records.clients() {
        let client: usize = row["client"].parse().unwrap();
        assert_eq!(row["samples"], held[client]["samples"]);
    }
    // The noise makes a difference, but not to who holds what.
    let quiet = run("quiet", &dealt[..1]);
    assert_ne!(quiet.final_hash(), records.final_hash());
    assert_eq!(quiet.text("partition.csv"), records.text("partition.csv"));
}

/// A table is bytes by the time that a device sees it.
#[test]
fn a_table_gives_the_same_model() {
    let place = Place::new();
    let sensors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sensors");
    let table = std::fs::read(sensors.join("sensors.csv")).unwrap();
    place.write("sensors.csv", table);
    let sets = [
        "data={csv={label=\"state\",group=\"motor\"}}",
        "data.csv.file=sensors.csv",
        "partition.natural={}",
    ];
    let emulated = place.completed_run("emulated", &sets);
    finish(native(&place, "native", &sets, "2")).succeeded();
    let records = Records::new(&place.path("native"));
    assert!(records.checkpoints() == emulated.checkpoints());
    assert_eq!(records.text("data.json"), emulated.text("data.json"));
    let data: serde_json::Value = serde_json::from_str(&records.text("data.json")).unwrap();
    assert_eq!(data["class_names"][3], "unbalance");
    assert_eq!(data["group_names"][11], "motor-12");
    assert_eq!(data["inputs"][0]["name"], "speed_rpm");
    assert_eq!(data["inputs"][0]["maximum"], 3000.0);
    // It learns more than to call everything normal.
    let accuracy = records.round_column("accuracy");
    let last: f64 = accuracy.last().unwrap().parse().unwrap();
    assert!(last > 0.55, "{accuracy:?}");
}

#[test]
fn a_native_run_is_interrupted() {
    let place = Place::new();
    // Minutes of training for each client.
    let sets = ["training.epochs=10000", "training.batch-size=1"];
    let mut running = Running::start(native(&place, "out", &sets, "2"));
    running.wait_for_line("records in ");
    let events = place.path("out").join("events.jsonl");
    crate::support::wait_until("the first round", Duration::from_secs(60), || {
        let events = std::fs::read_to_string(&events).ok()?;
        events.contains("round-started").then_some(())
    });
    running.signal(Signal::INT);
    let began = Instant::now();
    let said = running.finish().failed(130);
    assert!(began.elapsed() < Duration::from_secs(5), "{said}");
    assert!(said.contains("interrupted in round 1 of 3"), "{said}");
    let records = Records::new(&place.path("out"));
    assert_eq!(records.events().last().unwrap()["event"], "ended");
    assert_eq!(records.summary()["rounds"], 0);
}

/// The learning rate is fit for the first rounds, and not for the later ones.
#[test]
fn a_divergence_is_told() {
    let place = Place::new();
    let sets = ["training.learning-rate=1e30"];
    let fidelities = [
        ("native", native(&place, "native", &sets, "2")),
        ("emulated", place.run("emulated", &sets)),
    ];
    for (name, command) in fidelities {
        let said = finish(command).failed(1);
        let expected = "error: round 1: the model diverged: the update of client 0 holds a number \
                        that is not finite (learning rate 1e30 is probably too high)";
        assert!(said.contains(expected), "{said}");
        let records = Records::new(&place.path(name));
        let outcome = records.summary()["outcome"].as_str().unwrap().to_owned();
        assert!(expected.ends_with(&outcome), "{outcome}");
        let clients = records.clients();
        assert_eq!(clients.len(), 4);
        for row in clients {
            assert_eq!(row["outcome"], "rejected");
            assert!(row["detail"].ends_with("not a finite number"), "{row:?}");
        }
        assert_eq!(records.events().last().unwrap()["event"], "ended");
    }
}

#[test]
fn too_few_samples_are_told_before_a_run() {
    let place = Place::new();
    let fleet = r#"fleet=[{board="mps2-an386",count=2000}]"#;
    let said = finish(native(&place, "out", &[fleet], "2")).failed(1);
    assert!(said.contains("2000 clients for 1438 samples"), "{said}");
    assert!(!place.path("out").exists());
    let said = finish(native(&place, "out", &[], "0")).failed(2);
    assert!(said.contains("--threads"), "{said}");
}
