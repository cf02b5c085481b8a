//! Numbers to learn in place of classes.

use std::fmt::Write;

use serde_json::Value;

use crate::support::{Place, Records, finish};

/// Rows whose `flow` follows from the two inputs, but not by a straight line.
fn table() -> String {
    let mut text = String::from("pressure,valve,note,flow\n");
    for row in 0..300u32 {
        let (pressure, valve) = (f64::from(row * 37 % 101), f64::from(row * 53 % 89));
        let flow = 200.0 + pressure * valve / 20.0;
        let _ = writeln!(text, "{pressure},{valve},row {row},{flow}");
    }
    text
}

const EXPERIMENT: &str = r#"
rounds = 4

[data.csv]
file = "flows.csv"
target = "flow"
ignore = ["note"]

[model.mlp]
hidden = [12]

[training]
epochs = 10
batch-size = 5
learning-rate = 0.1

[[fleet]]
board = "mps2-an386"
count = 2

[[fleet]]
board = "lm3s6965evb"
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("flows.csv", table());
    place.write("experiment.toml", EXPERIMENT);
    place
}

/// As [`Place::run`], natively.
fn native(place: &Place, out: &str, sets: &[&str], threads: &str) -> Records {
    let mut command = place.run(out, sets);
    command.args(["--fidelity", "native", "--threads", threads]);
    finish(command).succeeded();
    Records::new(&place.path(out))
}

/// The smallest board among them, which has kilobytes left.
#[test]
fn devices_learn_a_number_as_native_clients_do() {
    let place = place();
    let fixed: &[&str] = &["training.arithmetic=\"fixed\"", "training.weight-bits=16"];
    for (name, sets) in [("float", &[][..]), ("fixed", fixed)] {
        let emulated = place.completed_run(&format!("{name}-emulated"), sets);
        for threads in ["1", "3"] {
            let records = native(&place, &format!("{name}-{threads}"), sets, threads);
            assert!(records.checkpoints() == emulated.checkpoints(), "{name}");
            assert_eq!(records.checkpoints().len(), 4);
            for column in ["rmse", "r_squared", "loss", "bytes_down", "bytes_up"] {
                let columns = [&records, &emulated].map(|records| records.round_column(column));
                assert_eq!(columns[0], columns[1], "{name}: {column}");
            }
            for (row, emulated) in records.clients().iter().zip(emulated.clients()) {
                for column in ["train_loss", "train_accuracy", "arena_peak_bytes"] {
                    assert_eq!(row[column], emulated[column], "{name}: {column}");
                }
                assert_eq!(row["train_accuracy"], "");
            }
        }
        assert_eq!(emulated.round_column("accuracy"), [""; 4], "{name}");
        let summary = emulated.summary();
        assert_eq!(summary["accuracy"], Value::Null);
        let number = |key: &str| summary[key].as_f64().unwrap();
        // `flow` spans 440, and its deviation is about 100.
        assert!(number("rmse") < 40.0, "{name}: {summary}");
        assert!(number("initial_rmse") > 80.0, "{name}: {summary}");
        assert!(number("r_squared") > 0.85, "{name}: {summary}");
    }
}

#[test]
fn the_error_of_a_number_is_told_in_its_unit() {
    let place = place();
    let mut command = place.run("told", &[]);
    command.args(["--fidelity", "native"]);
    let said = finish(command).succeeded();
    let summary = Records::new(&place.path("told")).summary();
    let rmse = summary["rmse"].as_f64().unwrap();
    assert!(
        said.contains(&format!("\nrmse       {rmse:.4} (before")),
        "{said}"
    );
    assert!(said.contains("\nR²         0."), "{said}");
    assert!(!said.contains("accuracy"), "{said}");
    // Whoever uses the model turns its output back into the unit by it.
    let data: Value =
        serde_json::from_str(&Records::new(&place.path("told")).text("data.json")).unwrap();
    assert_eq!(data["target"]["name"], "flow");
    let deviation = data["target"]["deviation"].as_f64().unwrap();
    let loss = summary["loss"].as_f64().unwrap();
    assert_eq!(rmse, deviation * (2.0 * loss).sqrt());
}

#[test]
fn the_error_of_a_number_is_listed_and_compared() {
    let place = place();
    for (run, sets) in [("runs/a", &[][..]), ("runs/b", &["training.epochs=1"])] {
        native(&place, run, sets, "1");
    }
    let said = |arguments: &[&str]| finish(place.zfl(arguments.iter().copied())).succeeded();
    let words = |text: &str, first: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(first));
        let line = line.unwrap_or_else(|| panic!("no line `{first}`:\n{text}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    let last = |run: &str, column: &str| -> String {
        let column = Records::new(&place.path(run)).round_column(column);
        format!("{:.4}", column.last().unwrap().parse::<f64>().unwrap())
    };
    let listed = said(&["list"]);
    assert_eq!(
        words(&listed, "run ")[3..7],
        ["rmse", "best", "loss", "clients"]
    );
    let row = words(&listed, "runs/a");
    assert_eq!(row[3], last("runs/a", "rmse"));
    assert_eq!(row[5], last("runs/a", "loss"));
    let compared = said(&["compare", "runs/a", "runs/b"]);
    let errors = ["runs/a", "runs/b"].map(|run| last(run, "rmse"));
    assert_eq!(words(&compared, "rmse ")[1..], errors);
    assert!(compared.contains("\nbest rmse "), "{compared}");
    assert!(!compared.contains("accuracy"), "{compared}");

    // Beside one of classes both have their columns.
    place.write("experiment.toml", crate::support::SMALL);
    native(&place, "runs/c", &[], "1");
    let listed = said(&["list"]);
    assert_eq!(
        words(&listed, "run ")[3..8],
        ["accuracy", "best", "rmse", "best", "loss"]
    );
    assert_eq!(words(&listed, "runs/a")[3..6], ["–", "–", &*row[3]]);
    assert_eq!(words(&listed, "runs/c")[5..7], ["–", "–"]);
}

/// Schemes that deal out classes deal out tenths of the values.
#[test]
fn numbers_are_shared_out_unevenly() {
    let place = place();
    let sets = ["partition.shards.per-client=2", "feature-noise.sigma=0.02"];
    let records = native(&place, "uneven", &sets, "2");
    assert_eq!(records.summary()["outcome"], "completed");
    assert_eq!(records.round_column("rmse").len(), 4);
    let dealt = records.table("partition.csv");
    assert_eq!(dealt.len(), 3);
    let page = records.text("report.html");
    assert!(page.contains("samples by client and tenth"));
    assert!(page.contains("tenths of the values in the mean"));
    assert!(page.contains("root mean squared error (unit of the target)"));
    // 240 rows, 80 for each: a shard of 40 is of one to three tenths.
    for row in dealt {
        assert_eq!(row["samples"], "80");
        let tenths = (0..10).filter(|tenth| row[&tenth.to_string()] != "0");
        assert!((2..=6).contains(&tenths.count()), "{row:?}");
    }
}

#[test]
fn what_is_no_number_to_learn_is_refused() {
    let place = place();
    let refused = |sets: &[&str], code| {
        let mut command = place.run("refused", sets);
        command.args(["--fidelity", "native"]);
        finish(command).failed(code)
    };
    let said = refused(
        &["data.csv.target=\"note\"", "data.csv.ignore=[\"flow\"]"],
        1,
    );
    assert!(
        said.contains(
            "flows.csv: line 2, column `note`: `row 0` is not a number; what `target` names is \
             one, and a column of classes is named by `label`"
        ),
        "{said}"
    );
    place.write(
        "flows.csv",
        "pressure,note,flow\n1,a,2.5\n2,b,2.5\n3,c,2.5\n4,d,2.5\n5,e,2.5\n",
    );
    let said = refused(&[], 1);
    assert!(
        said.contains("`flow` is 2.5 in every sample, there is nothing to learn"),
        "{said}"
    );
}
