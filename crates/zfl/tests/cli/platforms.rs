//! Microcontrollers: what fits them, what a round takes, and where that is from.

use crate::support::{Place, Records, Row, check_none_left, finish};

/// Rows of `zfl platforms --csv`, by title.
fn rows(csv: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn platforms_are_compared() {
    let place = Place::new();
    let mut command = place.zfl(["platforms", "experiment.toml", "--csv"]);
    for name in ["mps2-an385", "nrf52840", "stm32h743", "stm32f103"] {
        command.args(["--only", name]);
    }
    command.arg("--out").arg(place.path("platforms"));
    let finished = finish(command);
    assert!(finished.stderr.contains("4/4 "), "{}", finished.stderr);
    let rows = rows(&finished.succeeded());
    check_none_left(&place.path("platforms"));
    let column = |title: &str| -> Vec<&str> { rows.iter().map(|row| &*row[title]).collect() };
    assert_eq!(
        column("platform"),
        ["mps2-an385", "nrf52840", "stm32h743", "stm32f103"]
    );
    assert_eq!(column("fits"), ["yes", "yes", "yes", "no"]);
    let hashes = column("model_sha256");
    assert_eq!(hashes[0].len(), 64);
    assert_eq!(hashes[..3], [hashes[0]; 3]);
    // The two cores with an FPU execute the same image.
    let instructions = column("instructions_training");
    assert_eq!(instructions[1], instructions[2]);
    assert_ne!(instructions[0], instructions[1]);
    // At 480 MHz and less than half the cycles.
    let seconds: Vec<f64> = column("device_seconds")[1..3]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    assert!(
        seconds[1] > 0.0 && seconds[1] * 7.5 < seconds[0],
        "{seconds:?}"
    );
    assert_eq!(column("device_seconds")[0], "");
    assert!(rows[1]["unverified"].contains("active-amperes"));
    let reason = &rows[3]["detail"];
    assert!(
        reason.contains("does not fit stm32f103: needs "),
        "{reason}"
    );
    let whole = |row: usize, title: &str| rows[row][title].parse::<u64>().unwrap();
    let parts = [
        "data_bytes",
        "weights_bytes",
        "workspace_bytes",
        "network_bytes",
    ];
    let parts: u64 = parts.iter().map(|title| whole(1, title)).sum();
    // Beside them the stack, and nothing of note.
    let rest = whole(1, "ram_bytes") - parts;
    assert!((24_576..24_576 + 64).contains(&rest), "{rest}");
}

#[test]
fn an_unknown_platform_is_told_with_the_nearest() {
    let place = Place::new();
    let said = finish(place.zfl(["platforms", "experiment.toml", "--only", "nrf5284"])).failed(2);
    assert_eq!(
        said,
        "error: no board or microcontroller `nrf5284`, did you mean `nrf52840`? (`zfl boards` \
         lists them)\n"
    );
}

#[test]
fn what_does_not_fit_takes_no_part() {
    let place = Place::new();
    let fleet =
        r#"fleet=[{mcu="stm32f103",count=1},{mcu="nrf52840",count=2},{count=1,ram-bytes=90000}]"#;
    let sets = [fleet, "rounds=2"];
    let finished = finish(place.run("out", &sets));
    let said = finished.stderr.clone();
    finished.succeeded();
    check_none_left(&place.path("out"));
    for client in [0, 3] {
        let warning = format!("warning: client {client}: does not fit ");
        assert!(said.contains(&warning), "{said}");
    }
    let records = Records::new(&place.path("out"));
    let rows = records.clients();
    let clients: Vec<&str> = rows.iter().map(|row| &*row["client"]).collect();
    assert_eq!(clients, ["1", "2", "1", "2"]);
    for row in &rows {
        assert_eq!((&*row["outcome"], &*row["mcu"]), ("ok", "nrf52840"));
        assert_eq!(
            row["device_basis"],
            "counted instructions × estimated cycles"
        );
        for column in ["device_seconds", "energy_mj", "flash_bytes"] {
            assert!(
                row[column].parse::<f64>().unwrap() > 0.0,
                "{column}: {row:?}"
            );
        }
    }
    let misfits = records.summary()["misfits"].clone();
    assert_eq!(misfits[0]["client"], 0);
    assert_eq!(misfits[1]["client"], 3);
    let reason = misfits[1]["reason"].as_str().unwrap();
    assert!(
        reason.contains("of RAM, for data, model and workspace"),
        "{reason}"
    );
    assert_eq!(records.events_named("client-lost").len(), 2);

    let fail = r#"fleet=[{mcu="stm32f103",count=1,on-misfit="fail"},{mcu="nrf52840",count=2}]"#;
    let said = finish(place.run("fail", &[fail])).failed(1);
    assert!(said.contains("client 0 does not fit stm32f103"), "{said}");
    let none = r#"fleet=[{mcu="stm32f103",count=2}]"#;
    let said = finish(place.run("none", &[none])).failed(1);
    assert!(said.contains("0 of 2 clients have the memory"), "{said}");
    assert!(!place.path("none").exists());
}

/// The device itself refuses what its part has no room for.
#[test]
fn a_device_has_no_more_memory_than_its_part() {
    let place = Place::new();
    let exact = place.completed_run("exact", &[]);
    let arena: u32 = exact.clients()[0]["arena_peak_bytes"].parse().unwrap();
    let sizes = finish(place.size(&["--json"])).succeeded();
    let sizes: serde_json::Value = serde_json::from_str(&sizes).unwrap();
    let firmware = sizes["boards"][0]["ram"]["needed_bytes"].as_u64().unwrap();
    let of = |bytes: u64| format!("fleet=[{{count=4,ram-bytes={bytes}}}]");
    let enough = firmware + u64::from(arena);
    let records = place.completed_run("enough", &[&of(enough)]);
    assert_eq!(records.final_hash(), exact.final_hash());
    for device in 0..4 {
        let log = records.text(&format!("console/device-00{device}.log"));
        assert!(log.contains(&format!(" arena-bytes={arena}")), "{log}");
    }
    // Shares differ by a sample: some devices still have enough.
    let misfits = place.completed_run("less", &[&of(enough - 8)]).summary()["misfits"].clone();
    let reason = misfits[0]["reason"].as_str().unwrap();
    assert!(reason.ends_with(": 8 too many"), "{reason}");
}

#[test]
fn profiles_follow_measurements() {
    let place = Place::new();
    let calibrate = |arguments: &[&str]| {
        let mut command = place.zfl(["calibrate", "experiment.toml", "--mcu", "nrf52840"]);
        command.args(arguments);
        finish(command)
    };
    let profile = ["--profile", "mine.toml", "--out", "runs/first"];
    let said = calibrate(&[&["--measured", "seconds=0.25"], &profile[..]].concat()).succeeded();
    assert!(said.contains("measured: 0.25 s"), "{said}");
    let text = std::fs::read_to_string(place.path("mine.toml")).unwrap();
    assert!(
        text.contains("measured: 0.25 s for one client-round of small"),
        "{text}"
    );
    // It is not written over.
    let said = calibrate(&["--measured", "seconds=1", "--profile", "mine.toml"]).failed(1);
    assert!(said.contains("failed to write mine.toml"), "{said}");
    let said = calibrate(&["--measured", "seconds=1e9", "--profile", "no.toml"]).failed(2);
    assert!(
        said.contains("cycles each; allowed are 0.25 to 1000"),
        "{said}"
    );
    let said = calibrate(&["--measured", "weeks=1"]).failed(2);
    assert!(said.contains("expected seconds=S"), "{said}");

    let fleet = r#"fleet=[{mcu="./mine.toml",count=4}]"#;
    let records = place.completed_run("measured", &[fleet, "rounds=1"]);
    let row = &records.clients()[0];
    assert_eq!(
        row["device_basis"],
        "counted instructions × verified cycles"
    );
    let instructions = |column: &str| row[column].parse::<f64>().unwrap();
    let training = instructions("instructions_training");
    let expected = 0.25 * (1.0 + instructions("instructions_other") / training);
    let seconds: f64 = row["device_seconds"].parse().unwrap();
    assert!(
        (seconds / expected - 1.0).abs() < 1e-6,
        "{seconds} {expected}"
    );
}

#[test]
fn native_clients_have_the_time_of_a_device() {
    let place = Place::new();
    let fleet = r#"fleet=[{mcu="nrf52840",fidelity="native",count=4}]"#;
    let finished = finish(place.run("before", &[fleet]));
    let said = finished.stderr.clone();
    finished.succeeded();
    assert!(said.contains("`zfl calibrate FILE --emulate`"), "{said}");
    assert_eq!(
        Records::new(&place.path("before")).clients()[0]["device_seconds"],
        ""
    );

    let mut command = place.zfl(["calibrate", "experiment.toml", "--emulate", "--set", fleet]);
    command.arg("--out").arg(place.path("calibration"));
    let said = finish(command).succeeded();
    assert!(said.contains("mps2-an386: "), "{said}");
    let emulated = r#"fleet=[{mcu="nrf52840",count=4}]"#;
    let [native, emulated] = [("native", fleet), ("emulated", emulated)]
        .map(|(name, fleet)| place.completed_run(name, &[fleet]).clients());
    for (native, emulated) in native.iter().zip(&emulated) {
        assert_eq!(
            native["device_basis"],
            "learnt instructions × estimated cycles"
        );
        let seconds = |row: &Row| -> f64 { row["device_seconds"].parse().unwrap() };
        let ratio = seconds(native) / seconds(emulated);
        // Other samples have more or fewer inputs that are not 0.
        assert!((0.95..1.05).contains(&ratio), "{ratio}");
    }

    let said = finish(place.zfl(["calibrate", "experiment.toml", "--emulate"])).failed(2);
    assert!(said.contains("no entry of the fleet has `mcu"), "{said}");
}
