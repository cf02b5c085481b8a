use std::path::Path;

use super::*;

pub(crate) const ROUND_HEADER: &str = "round,accuracy,loss,clients_selected,clients_ok,faults,outcome,\
    late_updates,bytes_down,bytes_up,host_seconds,model_sha256,drops,retransmissions_up\n";

/// `rounds.csv` of a run that learns a number, with its error after each round.
pub(crate) fn rounds_of_numbers(errors: &[&str]) -> String {
    let mut text = ROUND_HEADER.replace("loss,", "loss,rmse,r_squared,");
    for (number, error) in (1..).zip(errors) {
        let row = round(number, "");
        text.push_str(&row.replacen(",0.5,", &format!(",0.5,{error},0.25,"), 1));
    }
    text
}

/// The folder of a run with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("experiment.toml", "name = \"a\"\n"), ("rounds.csv", "")]
        .iter()
        .chain(files)
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub(crate) fn archive(folder: &tempfile::TempDir) -> Archive {
    Archive::open(folder.path()).unwrap()
}

pub(crate) fn round(number: u32, accuracy: &str) -> String {
    format!("{number},{accuracy},0.5,3,2,0,completed,0,100,200,1.5,ab{number},4,1\n")
}

#[test]
fn a_row_that_is_not_all_there_is_left_out_and_said() {
    let text = [
        ROUND_HEADER,
        &round(1, "0.25"),
        &round(2, "NaN"),
        &round(3, ""),
    ]
    .concat();
    for bytes in 0..=text.len() {
        let cut = text.get(..bytes).unwrap();
        let folder = folder(&[("rounds.csv", cut)]);
        let table = archive(&folder).rounds().unwrap();
        let lines = cut.matches('\n').count();
        assert_eq!(table.rows.len(), lines.saturating_sub(1), "{cut:?}");
        assert_eq!(
            table.is_cut_off,
            !cut.is_empty() && !cut.ends_with('\n'),
            "{cut:?}"
        );
    }
    let folder = folder(&[("rounds.csv", &text)]);
    let rows = archive(&folder).rounds().unwrap().rows;
    let accuracies: Vec<_> = rows.iter().map(|row| row.accuracy).collect();
    assert_eq!(accuracies[0], Some(0.25));
    assert!(accuracies[1].unwrap().is_nan());
    assert_eq!(accuracies[2], None);
}

#[test]
fn a_newline_in_the_last_cell_is_no_end() {
    let header = "round,client,outcome,samples,host_seconds,device_clock_seconds,bytes_down,\
        bytes_up,stack_peak_bytes,arena_peak_bytes,detail,new_column\n";
    let row = "1,2,crashed,10,0.5,0.25,1,2,3,4,\"panic\nat line 7, of it\",x\n";
    for cut in ["1,2,crashed,10,0.5,0.25,1,2,3,4,\"panic\n", "1,2,"] {
        let folder = folder(&[("clients.csv", &format!("{header}{row}{cut}"))]);
        let table = archive(&folder).clients().unwrap().collect_table().unwrap();
        assert!(table.is_cut_off);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(
            table.rows[0].detail.as_deref(),
            Some("panic\nat line 7, of it")
        );
        assert_eq!(table.rows[0].mcu, None);
    }
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let folder = folder(&[("rounds.csv", text)]);
    let error = archive(&folder).rounds().unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert!(error.contains("rounds.csv, line "), "{error}");
}

#[test]
fn what_makes_no_sense_has_its_place() {
    let broken = round(2, "0.5").replace("100,200", "100,-2");
    check_error(
        &[ROUND_HEADER, &round(1, "0.5"), &broken].concat(),
        "line 3: column `bytes_up` is `-2`: invalid digit",
    );
    // Not the last row: nobody was cut off there.
    check_error(
        &[ROUND_HEADER, "1,0.5\n", &round(2, "0.5")].concat(),
        "line 2: 2 cells in place of 14",
    );
    check_error("round,loss\n1,2\n", "line 1: there is no column `clients");
    check_error(
        &[ROUND_HEADER, &round(1, "most of it")].concat(),
        "column `accuracy` is `most of it`: invalid float",
    );
}

#[test]
fn a_run_is_known_by_its_files() {
    let nothing = tempfile::tempdir().unwrap();
    let error = Archive::open(nothing.path()).unwrap_err().to_string();
    assert!(error.ends_with("it has no experiment.toml"), "{error}");
    assert_eq!(find(nothing.path()).unwrap(), []);
    assert!(find(&nothing.path().join("none")).is_err());

    for name in ["b-001", "a/a-002", "a/a-001", "a/a-001/inside"] {
        let path = nothing.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("experiment.toml"), "").unwrap();
        std::fs::write(path.join("rounds.csv"), "").unwrap();
    }
    std::os::unix::fs::symlink(nothing.path(), nothing.path().join("a/loop")).unwrap();
    let found = find(nothing.path()).unwrap();
    let names: Vec<&Path> = found
        .iter()
        .map(|archive| archive.path().strip_prefix(nothing.path()).unwrap())
        .collect();
    assert_eq!(
        names,
        ["a/a-001", "a/a-002", "b-001"].map(Path::new).as_slice()
    );
    assert_eq!(find(&nothing.path().join("b-001")).unwrap().len(), 1);
}

#[test]
fn a_run_stands_as_it_was_left() {
    let folder = folder(&[]);
    let archive = archive(&folder);
    assert_eq!(archive.standing().unwrap(), Standing::CutOff);
    let lock = File::open(folder.path().join("experiment.toml")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(archive.standing().unwrap(), Standing::Running);
    drop(lock);
    let summary = folder.path().join("summary.json");
    std::fs::write(&summary, "{\"outcome\":\"completed\",\"accuracy\":0.5}").unwrap();
    assert_eq!(archive.standing().unwrap(), Standing::Completed);
    assert_eq!(archive.summary().unwrap().unwrap().accuracy, Some(0.5));
    std::fs::write(&summary, "{\"outcome\":\"a round failed\"}").unwrap();
    let ended = Standing::Ended("a round failed".to_owned());
    assert_eq!(archive.standing().unwrap(), ended);
    for none in ["{}", "", "[1]"] {
        std::fs::write(&summary, none).unwrap();
        let error = archive.standing().unwrap_err().to_string();
        assert!(error.contains("summary.json"), "{error}");
    }
}

#[test]
fn settings_are_keys_and_values() {
    let experiment = "rounds = 3\n[model.mlp]\nhidden = [30, 10]\n\
        [[fleet]]\ncount = 2\n[[fleet]]\ncount = 4\n[links]\n";
    let folder = folder(&[("experiment.toml", experiment)]);
    let settings = archive(&folder).settings().unwrap();
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    assert_eq!(
        settings,
        [
            ("fleet.0.count", "2"),
            ("fleet.1.count", "4"),
            ("links", "{}"),
            ("model.mlp.hidden", "[30, 10]"),
            ("rounds", "3"),
        ]
    );
}

#[test]
fn experiments_differ_where_a_key_does() {
    let settings = [
        "a = 1\nb = 2\n",
        "a = 1\nb = 3\n",
        "a = 1\nb = 3\n[c]\nd = [1]",
    ];
    let settings = settings.map(|text| {
        archive(&folder(&[("experiment.toml", text)]))
            .settings()
            .unwrap()
    });
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(
        differences(&settings),
        [
            Difference {
                key: "b".to_owned(),
                values: vec![text("2"), text("3"), text("3")],
            },
            Difference {
                key: "c.d".to_owned(),
                values: vec![None, None, text("[1]")],
            },
        ]
    );
    assert_eq!(differences(&settings[..1]), []);
}

#[test]
fn a_run_at_a_glance() {
    let experiment =
        "name = \"a\"\nseed = 7\nrounds = 9\n[[fleet]]\ncount = 2\n[[fleet]]\ncount = 4\n";
    let rounds = [ROUND_HEADER, &round(1, "0.75"), "2,0.7"].concat();
    let folder = folder(&[("experiment.toml", experiment), ("rounds.csv", &rounds)]);
    let overview = archive(&folder).overview().unwrap();
    assert_eq!((&*overview.name, overview.seed), ("a", Some(7)));
    assert_eq!(
        (overview.totals.rounds, overview.rounds_planned),
        (1, Some(9))
    );
    assert_eq!((overview.clients, overview.standing), (Some(6), "cut off"));
    assert!(overview.began_unix_seconds.unwrap() > 1_700_000_000);
}

#[test]
fn events_are_read_up_to_a_line_that_is_cut_off() {
    let one = "{\"host_seconds\":0.5,\"event\":\"round-started\",\"round\":1,\"clients\":[2,3]}\n";
    let folder = folder(&[("events.jsonl", &format!("{one}{{\"host_sec"))]);
    let mut events = archive(&folder).events().unwrap();
    let event = events.next().unwrap().unwrap();
    assert_eq!((event.host_seconds, &*event.event), (0.5, "round-started"));
    assert_eq!(event.fields["round"], 1);
    assert!(event.fields.get("event").is_none());
    assert!(events.next().is_none());
    assert!(events.is_cut_off());

    let path = folder.path().join("events.jsonl");
    std::fs::write(&path, format!("{one}null\n{one}")).unwrap();
    let events: Vec<_> = archive(&folder).events().unwrap().collect();
    assert_eq!(events.len(), 3);
    let error = events[1].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("events.jsonl, line 2: not an event"),
        "{error}"
    );
}

#[test]
fn shares_have_a_column_a_class() {
    let folder = folder(&[("partition.csv", "client,samples,0,1\n0,5,2,3\n1,4,4,0\n2,")]);
    let mut shares = archive(&folder).partition().unwrap();
    assert_eq!(shares.classes(), ["0", "1"]);
    let rows: Vec<Share> = shares.by_ref().collect::<Result<_, _>>().unwrap();
    assert!(shares.is_cut_off());
    assert_eq!(rows.len(), 2);
    let second = Share {
        client: 1,
        samples: 4,
        by_class: vec![4, 0],
    };
    assert_eq!(rows[1], second);

    let path = folder.path().join("partition.csv");
    std::fs::write(&path, "client,samples,0\n0,5,many\n").unwrap();
    let error = archive(&folder).partition().unwrap().next().unwrap();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("line 2: `many` is not a count"), "{error}");
    std::fs::remove_file(path).unwrap();
    assert!(archive(&folder).partition().unwrap().next().is_none());
}

#[test]
fn totals_are_those_of_the_tables() {
    let clients = "round,device_seconds,energy_mj\n1,2.5,10\n1,4,20\n1,,\n3,1.5,\n";
    let failed = round(3, "0.75").replace("completed", "failed");
    let rounds = [ROUND_HEADER, &round(1, "0.75"), &round(2, "0.5"), &failed].concat();
    let files = [
        ("experiment.toml", "[[fleet]]\nmcu = \"nrf52840\"\n"),
        ("rounds.csv", &rounds),
        ("clients.csv", clients),
    ];
    let folder = folder(&files);
    let totals = archive(&folder).totals().unwrap();
    assert_eq!(
        totals,
        Totals {
            rounds: 3,
            rounds_failed: 1,
            accuracy: Some(0.75),
            accuracy_best: Some(0.75),
            accuracy_best_round: Some(1),
            loss: Some(0.5),
            rmse: None,
            rmse_best: None,
            rmse_best_round: None,
            bytes_down: 300,
            bytes_up: 600,
            updates_ok: 6,
            updates_selected: 9,
            retransmissions: Some(3),
            drops: Some(12),
            host_seconds: 4.5,
            model_sha256: "ab3".to_owned(),
            // The longest of the first round, and the only one of the third.
            cost: DeviceCost {
                device_seconds: Some(5.5),
                energy_mj: Some(30.0),
            },
        }
    );
}

#[test]
fn totals_of_numbers_have_their_error() {
    let text = rounds_of_numbers(&["3.5", "1.25", "1.25", "2"]);
    let totals = archive(&folder(&[("rounds.csv", &text)])).totals().unwrap();
    assert_eq!(totals.accuracy, None);
    assert_eq!(totals.rmse, Some(2.0));
    assert_eq!(totals.rmse_best, Some(1.25));
    assert_eq!(totals.rmse_best_round, Some(2));
}

/// A table that was damaged may say anything.
#[test]
fn totals_and_fleets_have_a_largest_number() {
    let most = u64::MAX.to_string();
    let damaged = round(1, "0.5").replace("100,200", &format!("{most},{most}"));
    let text = [ROUND_HEADER, &damaged, &damaged].concat();
    let fleet = "[[fleet]]\ncount = 9223372036854775807\n".repeat(3);
    let folder = folder(&[("rounds.csv", &text), ("experiment.toml", &fleet)]);
    let overview = archive(&folder).overview().unwrap();
    assert_eq!(overview.totals.bytes_down, u64::MAX);
    assert_eq!(overview.totals.bytes_up, u64::MAX);
    assert_eq!(overview.clients, Some(u64::MAX));
}

/// A file that was damaged is quoted on one line, and steers no terminal.
#[test]
fn an_error_is_plain() {
    let row = round(1, "0.5").replace("0.5,3", "\u{1b}[2J\u{7f},3");
    let folder = folder(&[
        ("rounds.csv", &[ROUND_HEADER, &row].concat()),
        ("experiment.toml", "name = \"a\"\nrounds\u{1b} = 3\n"),
        ("summary.json", "{\"outcome\u{7f}\u{9b}\": \n}"),
    ]);
    let run = archive(&folder);
    let told = [
        run.totals().unwrap_err(),
        run.experiment().unwrap_err(),
        run.summary().unwrap_err(),
    ];
    for error in told {
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    let error = run.experiment().unwrap_err().to_string();
    assert!(error.contains("experiment.toml: line 2: "), "{error}");
}
