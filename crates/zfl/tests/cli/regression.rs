//! Numbers to learn in place of classes.

use std::fmt::Write;
use std::io::{Cursor, Write as _};

use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

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

/// An archive of arrays in double precision, as `numpy.savez` writes it.
fn npz(arrays: &[(&str, &str, &[f64])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, shape, values) in arrays {
        let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}");
        let header = format!("{header:117}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        let values: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let parts = [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), &values];
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&parts.concat()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const CONVOLUTION: &str = r#"
rounds = 3

[model.cnn]
layers = [{ conv = { filters = 4, kernel = 3 } }, { flatten = {} }]

[training]
epochs = 8
batch-size = 5
learning-rate = 0.05

[[fleet]]
count = 3
fidelity = "native"
"#;

/// A convolution learns from pixels how bright a corner of theirs is: from the
/// columns of a table and from an array of images it is the same model.
#[test]
fn a_table_of_pixels_and_an_array_of_images_come_to_the_same_model() {
    const SIDE: u32 = 5;
    const IMAGES: u32 = 200;
    let pixel = |image: u32, at: u32| {
        let level = (image + 3) * (at + 7) * (at + 11) % 97 + image * 29 % 61;
        f64::from(level) / 4.0
    };
    let mut text = String::from("brightness,id");
    for at in 0..SIDE * SIDE {
        let _ = write!(text, ",{}x{}", at / SIDE, at % SIDE);
    }
    let (mut pixels, mut targets) = (Vec::new(), Vec::new());
    for image in 0..IMAGES {
        let own: Vec<f64> = (0..SIDE * SIDE).map(|at| pixel(image, at)).collect();
        let corner = [0, 1, SIDE, SIDE + 1].map(|at| pixel(image, at));
        let brightness = corner.iter().sum::<f64>();
        let _ = write!(text, "\n{brightness},{image}");
        for value in &own {
            let _ = write!(text, ",{value}");
        }
        pixels.extend(own);
        targets.push(brightness);
    }
    let place = Place::new();
    place.write("pixels.csv", text);
    let images = ("images", "200, 5, 5", pixels.as_slice());
    place.write("images.npz", npz(&[images, ("y", "200,", &targets)]));
    let table = "[data.csv]\nfile = \"pixels.csv\"\ntarget = \"brightness\"\nignore = [\"id\"]\n\
        shape = [5, 5]\n";
    let numbers = "[data.npz]\nfile = \"images.npz\"\nsamples = \"images\"\ntarget = \"y\"\n";
    let [table, arrays] = [("table", table), ("arrays", numbers)].map(|(name, data)| {
        place.write("experiment.toml", format!("{CONVOLUTION}\n{data}"));
        native(&place, name, &[], "2")
    });
    assert_eq!(table.checkpoints().len(), 3);
    assert!(table.checkpoints() == arrays.checkpoints());
    for column in ["rmse", "r_squared", "loss"] {
        assert_eq!(table.round_column(column), arrays.round_column(column));
    }
    let number = |key: &str| arrays.summary()[key].as_f64().unwrap();
    assert!(
        number("rmse") < number("initial_rmse") / 2.0,
        "{}",
        arrays.summary()
    );
    let data: Value = serde_json::from_str(&arrays.text("data.json")).unwrap();
    assert_eq!(data["target"]["name"], "y");
    assert_eq!(data["sample_shape"], serde_json::json!([5, 5]));

    // Of other columns than those of the pixels there is no image.
    place.write(
        "experiment.toml",
        format!("{CONVOLUTION}\n[data.csv]\nfile = \"pixels.csv\"\ntarget = \"brightness\"\nshape = [5, 5]\n"),
    );
    let said = finish(place.run("refused", &[])).failed(1);
    assert!(
        said.contains(
            "pixels.csv: a sample of shape [5, 5] has 25 inputs, but 26 columns are left for them; \
             `features` names those that are inputs, `ignore` those that are none"
        ),
        "{said}"
    );
    place.write("images.npz", npz(&[images, ("y", "100, 2", &targets)]));
    place.write("experiment.toml", format!("{CONVOLUTION}\n{numbers}"));
    let said = finish(place.run("refused", &[])).failed(1);
    assert!(
        said.contains(
            "images.npz: array `y` has shape (100, 2); one for each of the 200 samples of `images` is needed: (200)"
        ),
        "{said}"
    );
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
