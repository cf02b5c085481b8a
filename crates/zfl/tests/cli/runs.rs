//! Whole runs: the same seed gives the same model, on every board, on the
//! host, in one process or in two, on the switch or on a bridge.

use std::sync::LazyLock;

use zfl_client::Client;
use zfl_lab::experiment::{Data, Experiment};
use zfl_nn::{Initialisation, Progress};
use zfl_proto::message::{
    Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Encoding, Kind, StartHeader,
};
use zfl_proto::{ClientId, RoundIndex};
use zfl_seed::{Purpose, Stream};
use zfl_server::strategy::{Update, fed_avg};

use crate::support::{Place, Records, SMALL, check_none_left, finish};

const BOARDS: [&str; 8] = [
    "lm3s6965evb",
    "mps2-an385",
    "mps2-an386",
    "mps2-an500",
    "mps2-an505",
    "mps3-an547",
    "riscv-virt-rv32imac",
    "riscv-virt-rv32imafc",
];

/// The final model of [`SMALL`] as the host computes it, as a hash.
pub(crate) static SMALL_HASH: LazyLock<String> =
    LazyLock::new(|| train_on_host(&Experiment::parse(SMALL, "small", &[], &BOARDS).unwrap()));

#[test]
fn a_seed_decides_a_run() {
    let place = Place::new();
    let first = place.completed_run("first", &[]);
    let second = place.completed_run("second", &[]);
    let other = place.completed_run("other", &["seed=2"]);
    check_records(&first);
    check_none_left(&first.folder);

    for column in ["accuracy", "loss", "model_sha256"] {
        let columns = [&first, &second, &other].map(|records| records.round_column(column));
        assert_eq!(columns[0], columns[1], "{column}");
        assert_ne!(columns[0], columns[2], "{column}");
    }
    // Not `assert_eq`: nobody reads so many bytes.
    assert!(first.checkpoints() == second.checkpoints());
    assert!(first.checkpoints() != other.checkpoints());
    let accuracy: f64 = first.round_column("accuracy")[2].parse().unwrap();
    assert!(accuracy > 0.8, "{accuracy}");
}

/// Everything that a run of [`SMALL`] must have written.
fn check_records(records: &Records) {
    let columns = |name: &str| -> Vec<String> {
        let text = records.text(name);
        let header = text.lines().next().unwrap();
        header.split(',').map(str::to_owned).collect()
    };
    let rounds = columns("rounds.csv");
    for column in "round,accuracy,loss,clients_selected,clients_ok,bytes_down,bytes_up,host_seconds"
        .split(',')
    {
        assert!(rounds.contains(&column.to_owned()), "{column}: {rounds:?}");
    }
    let clients = columns("clients.csv");
    for column in "round,client,board,outcome,samples,train_loss,host_seconds,nic_bytes_in,\
                   nic_bytes_out,stack_peak_bytes,arena_peak_bytes"
        .split(',')
    {
        assert!(
            clients.contains(&column.to_owned()),
            "{column}: {clients:?}"
        );
    }
    assert_eq!(records.round_column("round"), ["1", "2", "3"]);
    assert_eq!(records.round_column("clients_ok"), ["4", "4", "4"]);

    let clients = records.clients();
    assert_eq!(clients.len(), 12);
    for row in &clients {
        assert_eq!(
            [&*row["board"], &*row["outcome"], &*row["detail"]],
            ["mps2-an386", "ok", ""]
        );
        for column in ["samples", "train_loss", "host_seconds", "stack_peak_bytes"] {
            assert!(
                row[column].parse::<f64>().unwrap() > 0.0,
                "{column} {row:?}"
            );
        }
        // The frames of a round hold at least the messages of the round.
        for (bytes, message) in [
            ("nic_bytes_in", "bytes_down"),
            ("nic_bytes_out", "bytes_up"),
        ] {
            let number = |column: &str| row[column].parse::<u64>().unwrap();
            assert!(number(bytes) > number(message), "{bytes}: {row:?}");
        }
    }
    let samples: u32 = clients[..4]
        .iter()
        .map(|row| row["samples"].parse::<u32>().unwrap())
        .sum();
    assert_eq!(samples, 1438, "each training sample is at one client");

    let summary = records.summary();
    assert_eq!(summary["outcome"], "completed");
    assert_eq!(summary["rounds"], 3);
    assert_eq!(summary["target_accuracy_round"], serde_json::Value::Null);
    assert_eq!(summary["updates_ok"], 12);
    assert_eq!(summary["model_sha256"], records.final_hash());
    assert!(summary["emulators"]["cpu_seconds"].as_f64().unwrap() > 0.0);

    let events = records.events();
    assert_eq!(events.first().unwrap()["event"], "listening");
    assert_eq!(events.last().unwrap()["event"], "ended");
    for (name, count) in [
        ("device-boot", 4),
        ("client-provisioned", 4),
        ("round-started", 3),
        ("client-finished", 12),
        ("round-completed", 3),
    ] {
        assert_eq!(records.events_named(name).len(), count, "{name}");
    }
    for device in 0..4 {
        let log = records.text(&format!("console/device-00{device}.log"));
        assert!(log.contains("@zfl boot board=mps2-an386 version="), "{log}");
        assert!(log.contains("@zfl ready client="), "{log}");
    }
    let written = Experiment::from_file(&records.folder.join("experiment.toml"), &[], &BOARDS);
    let experiment = Experiment::parse(SMALL, "small", &[], &BOARDS).unwrap();
    assert_eq!(written.unwrap(), experiment);

    let checkpoints = records.checkpoints();
    let names: Vec<&String> = checkpoints.keys().collect();
    let expected = [1, 2, 3].map(|round| format!("round-{round:04}.safetensors"));
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    let last = safetensors::SafeTensors::deserialize(&checkpoints[&expected[2]]).unwrap();
    for (name, shape) in [
        ("dense0.weight", vec![64, 16]),
        ("dense0.bias", vec![16]),
        ("dense1.weight", vec![16, 10]),
        ("dense1.bias", vec![10]),
    ] {
        assert_eq!(last.tensor(name).unwrap().shape(), shape, "{name}");
    }
}

/// Each board at least once. Of the board with 64 KiB there are more devices,
/// for a quarter of the digits does not fit it.
#[test]
fn every_board_gives_the_bits_of_the_host() {
    let place = Place::new();
    let fleets: [&[(&str, u32)]; 3] = [
        &[
            ("mps2-an500", 1),
            ("mps2-an385", 1),
            ("mps2-an386", 1),
            ("mps2-an505", 1),
        ],
        &[
            ("riscv-virt-rv32imafc", 1),
            ("mps3-an547", 1),
            ("riscv-virt-rv32imac", 2),
        ],
        &[("lm3s6965evb", 4), ("mps2-an386", 4)],
    ];
    for board in BOARDS {
        let is_there = fleets
            .iter()
            .flat_map(|fleet| fleet.iter())
            .any(|(there, _)| *there == board);
        assert!(is_there, "{board}");
    }
    for (index, fleet) in fleets.iter().enumerate() {
        let groups: Vec<String> = fleet
            .iter()
            .map(|(board, count)| format!("{{board={board:?},count={count}}}"))
            .collect();
        let set = format!("fleet=[{}]", groups.join(","));
        let sets = [set];
        let experiment = Experiment::parse(SMALL, "small", &sets, &BOARDS).unwrap();
        let records = place.completed_run(&format!("run-{index}"), &[&sets[0]]);
        assert_eq!(
            records.final_hash(),
            train_on_host(&experiment),
            "{fleet:?}"
        );
    }
}

#[test]
fn how_many_train_at_a_time_changes_no_bit() {
    let place = Place::new();
    for parallel in ["1", "3", "4"] {
        let set = format!("parallel={parallel}");
        let records = place.completed_run(parallel, &[&set]);
        assert_eq!(records.final_hash(), *SMALL_HASH, "{set}");
    }
}

#[test]
fn the_halves_apart_give_the_same_model() {
    let place = Place::new();
    let [server, fleet] = place.halves(&[]);
    server.finish().succeeded();
    // It notices that its coordinator has ended.
    let said = fleet.finish().succeeded();
    assert!(
        said.contains("stopped: the coordinator has ended"),
        "{said}"
    );
    check_none_left(&place.path("fleet"));

    let records = Records::new(&place.path("server"));
    assert_eq!(records.final_hash(), *SMALL_HASH);
    assert_eq!(records.summary()["emulators"], serde_json::Value::Null);
    for row in records.clients() {
        // As the devices report them: no switch is there to ask.
        assert_ne!(row["nic_bytes_in"], "0", "{row:?}");
    }
    let log = Records::new(&place.path("fleet")).text("console/device-003.log");
    assert!(log.contains("@zfl reported round=3"), "{log}");
}

#[test]
fn a_bridge_gives_the_same_model() {
    let place = Place::new();
    let records = match finish(place.run("bridge", &["network=bridge"])) {
        finished if finished.status.success() => Records::new(&place.path("bridge")),
        finished => {
            let said = finished.failed(1);
            // What the machine does not allow, in the words of `zfl-net`.
            let is_forbidden = [
                "no network namespace may be created here",
                "/dev/net/tun is missing",
                "/dev/net/tun may not be opened",
            ]
            .iter()
            .any(|reason| said.contains(reason));
            assert!(is_forbidden, "{said}");
            return println!("skipped: {said}");
        }
    };
    check_none_left(&records.folder);
    assert_eq!(records.final_hash(), *SMALL_HASH);
    for row in records.clients() {
        assert_ne!(row["nic_bytes_in"], "0", "{row:?}");
    }
}

/// Plays all rounds of an experiment in this process; the final model's hash.
fn train_on_host(experiment: &Experiment) -> String {
    let Data::Digits { test_share } = experiment.data else {
        panic!("only digits")
    };
    let data = zfl_data::digits::load(experiment.seed, test_share).unwrap();
    let client_count = experiment.fleet_size();
    let partition = zfl_data::Scheme::Iid
        .partition(&data.train, client_count as usize, experiment.seed)
        .unwrap();
    let (inputs, classes) = (data.train.input_count(), data.train.class_count());
    let task = zfl_lab::task::task(experiment, &data.train).unwrap();
    let mut global = vec![0.0; task.model.parameter_count()];
    let mut stream = Stream::new(experiment.seed, Purpose::InitialWeights, 0);
    task.model
        .initialise(&mut global, Initialisation::Auto, &mut stream)
        .unwrap();

    let mut arenas = vec![vec![0u64; 1 << 16]; client_count as usize];
    let mut clients: Vec<Client<'_>> = (0u32..)
        .zip(&mut arenas)
        .map(|(id, arena)| {
            let share = partition.client(id as usize).unwrap();
            let samples: Vec<u8> = share
                .iter()
                .flat_map(|index| data.train.sample(*index as usize).unwrap().to_vec())
                .collect();
            let labels: Vec<u8> = share
                .iter()
                .map(|index| data.train.label(*index as usize).unwrap())
                .collect();
            let sample_count = labels.len() as u32;
            let mut client = Client::new(arena);
            let assignment = Assignment {
                client: ClientId(id),
                sample_count,
            };
            feed(
                &mut client,
                Kind::Assignment,
                assignment.encode().as_slice(),
                &[],
            );
            for (kind, part, payload) in [
                (Kind::Samples, DataPart::Samples, samples),
                (Kind::Labels, DataPart::Labels, labels),
            ] {
                let header = DataHeader {
                    part,
                    client: ClientId(id),
                    sample_count,
                    input_count: inputs as u32,
                    class_count: classes as u32,
                    value_scale: data.train.value_scale(),
                    payload_crc32: Checksum::of(&payload),
                };
                feed(&mut client, kind, header.encode().as_slice(), &payload);
            }
            client
        })
        .collect();

    let task_bytes = task.encode();
    for round in 1..=experiment.rounds {
        let payload: Vec<u8> = global
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut updates: Vec<Update> = (0u32..)
            .zip(&mut clients)
            .map(|(id, client)| {
                let header = StartHeader {
                    client: ClientId(id),
                    round: RoundIndex(round),
                    seed: experiment.seed,
                    task: task_bytes.as_slice(),
                    encoding: Encoding::F32,
                    payload_bytes: payload.len() as u32,
                    payload_crc32: Checksum::of(&payload),
                };
                feed(client, Kind::Start, header.encode().as_slice(), &payload);
                while client.train(1000).unwrap() == Progress::Working {}
                let (_, weights) = client.update(DeviceMetrics::default()).unwrap();
                let parameters = weights
                    .chunks_exact(4)
                    .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                    .collect();
                client.reported();
                Update {
                    client: id,
                    sample_count: client.sample_count(),
                    staleness_weight: 1.0,
                    parameters,
                }
            })
            .collect();
        global = fed_avg::aggregate(&mut updates).unwrap();
    }
    zfl_server::checkpoint::hash(&global)
}

fn feed(client: &mut Client<'_>, kind: Kind, header: &[u8], payload: &[u8]) {
    client.receive(kind).unwrap();
    client.receive_bytes(header).unwrap();
    client.receive_bytes(payload).unwrap();
    client.receive_end().unwrap();
}

/// Instructions in training are the same in every run, whatever the devices
/// beside it do; network and system are not.
#[test]
fn instructions_are_counted() {
    let place = Place::new();
    let counted = |out: &str, sets: &[&str]| -> Vec<u64> {
        let rows = place.completed_run(out, sets).clients();
        rows.iter()
            .map(|row| {
                let other: u64 = row["instructions_other"].parse().unwrap();
                assert!((10_000..100_000_000).contains(&other), "{row:?}");
                let clock: f64 = row["device_clock_seconds"].parse().unwrap();
                let training: u64 = row["instructions_training"].parse().unwrap();
                // 128 ns each, and there is more than training.
                assert!(clock > training as f64 * 128e-9, "{row:?}");
                training
            })
            .collect()
    };
    let first = counted("first", &[]);
    assert_eq!(first.len(), 12);
    assert_eq!(counted("second", &[]), first);
    // The same training, and a different one beside it.
    let half = "fleet=[{board=\"mps2-an386\",count=2},{board=\"mps2-an385\",count=2}]";
    let mixed = counted("mixed", &[half]);
    assert_eq!(mixed[..2], first[..2]);
    assert!(mixed[2] > 4 * first[2]);

    let rows = place.completed_run("off", &["time.counting=off"]).clients();
    for row in rows {
        assert_eq!(row["instructions_training"], "");
        assert_eq!(row["instructions_other"], "");
    }
}

/// Each counter has its own way: 20 MHz of the FPGAIO, the watchdog, `minstret`.
#[test]
fn instructions_are_exact_with_every_counter() {
    let place = Place::new();
    let fleet = "fleet=[{board=\"riscv-virt-rv32imafc\",count=2},\
                 {board=\"mps3-an547\",count=2},{board=\"lm3s6965evb\",count=4}]";
    let counted = |out: &str| -> Vec<u64> {
        let rows = place.completed_run(out, &[fleet, "rounds=1"]).clients();
        rows.iter()
            .map(|row| row["instructions_training"].parse().unwrap())
            .collect()
    };
    let first = counted("first");
    assert_eq!(first.len(), 8);
    assert_eq!(counted("second"), first);
    // Without an FPU there are many more.
    assert!(
        first[..4].iter().all(|count| 4 * count < first[4]),
        "{first:?}"
    );
}

const EPOCHS_PAST_THE_WRAP: u32 = 20;

/// The counter of the boards has 32 bits: at 25 MHz it wraps after 172 s.
#[test]
fn counting_survives_the_wrap_of_the_counter() {
    let place = Place::new();
    let trained = |out: &str, epochs: u32| -> (u64, f64) {
        let epochs = format!("training.epochs={epochs}");
        let one = "fleet=[{board=\"mps2-an385\",count=1}]";
        let rows = place
            .completed_run(out, &[&epochs, one, "rounds=1"])
            .clients();
        let number = |column: &str| rows[0][column].clone();
        (
            number("instructions_training").parse().unwrap(),
            number("device_clock_seconds").parse().unwrap(),
        )
    };
    let (few, _) = trained("few", 1);
    let (many, seconds) = trained("many", EPOCHS_PAST_THE_WRAP);
    assert!(seconds > 180.0, "{seconds}");
    let ratio = many as f64 / few as f64 / f64::from(EPOCHS_PAST_THE_WRAP);
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}
