//! `zfl report`, and the report that every run leaves.

use std::fs;
use std::path::Path;

use crate::support::{Place, finish};

/// Runs the small experiment natively.
fn run(place: &Place, out: &str, sets: &[&str]) -> String {
    let mut command = place.run(out, sets);
    command.args(["--fidelity", "native"]);
    finish(command).succeeded()
}

/// A report; that nothing in it is loaded, and that it has its sections.
#[track_caller]
fn read(path: &Path) -> String {
    let page = fs::read_to_string(path).unwrap();
    for outside in ["<script", "http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Each kind of element is closed as often as it is opened.
    for element in ["svg", "g", "path", "figure", "table", "section", "details"] {
        let count = |tag: String| page.matches(&tag).count();
        let opened = count(format!("<{element} ")) + count(format!("<{element}>"));
        assert_eq!(opened, count(format!("</{element}>")), "{element}");
    }
    page
}

#[test]
fn a_run_leaves_its_report() {
    let place = Place::new();
    let said = run(&place, "out", &["coordinator.clients-per-round=3"]);
    let path = place.path("out").join("report.html");
    assert!(
        said.ends_with(&format!("report     {}\n", path.display())),
        "{said}"
    );
    assert_eq!(said.matches("\nreport ").count(), 1, "{said}");
    let page = read(&path);
    for text in [
        "<h1>small</h1>",
        "completed 3 rounds",
        "accuracy on the test set (share)",
        "loss on the test set (nats)",
        "messages, both directions (kB)",
        "length of a round (ms, host clock)",
        "9 ok",
        "learning-rate = 0.2",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // The last accuracy is written beside its curve.
    let records = crate::support::Records::new(&place.path("out"));
    let accuracy: f64 = records.round_column("accuracy")[2].parse().unwrap();
    assert!(page.contains(&format!(">{accuracy:.4}</text>")));

    // Made anew it is the same.
    let again = place.path("again.html");
    let said = finish(place.zfl(["report", "out", "--out", "again.html"])).succeeded();
    assert_eq!(said, "again.html\n");
    assert!(
        read(&again).replace("<td>out</td>", "")
            == page.replace(&format!("<td>{}</td>", place.path("out").display()), "")
    );
}

#[test]
fn a_run_that_was_cut_off_has_a_report() {
    let place = Place::new();
    run(&place, "out", &[]);
    let out = place.path("out");
    fs::remove_file(out.join("summary.json")).unwrap();
    let rounds = fs::read_to_string(out.join("rounds.csv")).unwrap();
    fs::write(out.join("rounds.csv"), &rounds[..rounds.len() - 30]).unwrap();
    finish(place.zfl(["report", "out"])).succeeded();
    let page = read(&out.join("report.html"));
    assert!(page.contains("was cut off after 2 of 3 rounds"));
    assert!(page.contains("The last row of rounds.csv was cut off in mid-write"));

    // Before its first round there is little to say, and that is said.
    fs::write(out.join("rounds.csv"), "").unwrap();
    fs::write(out.join("clients.csv"), "").unwrap();
    finish(place.zfl(["report", "out"])).succeeded();
    let page = read(&out.join("report.html"));
    assert!(page.contains("No round was completed."));
}

#[test]
fn what_is_no_run_has_no_report() {
    let place = Place::new();
    let said = finish(place.zfl(["report", "nothing"])).failed(1);
    assert_eq!(
        said,
        "error: nothing is not the folder of a run: it has no experiment.toml\n"
    );
    run(&place, "out", &[]);
    let clients = place.path("out").join("clients.csv");
    let text = fs::read_to_string(&clients).unwrap();
    fs::write(&clients, text.replacen("\n1,0,", "\n1,none,", 1)).unwrap();
    let said = finish(place.zfl(["report", "out"])).failed(1);
    assert!(
        said.contains("clients.csv, line 2: column `client`"),
        "{said}"
    );
}

#[test]
fn names_in_records_are_text_in_a_report() {
    let place = Place::new();
    run(&place, "out", &[]);
    let clients = place.path("out").join("clients.csv");
    let text = fs::read_to_string(&clients).unwrap();
    let outcome = text.replacen(",ok,", ",<script>alert(1)</script>,", 1);
    fs::write(&clients, outcome).unwrap();
    finish(place.zfl(["report", "out"])).succeeded();
    let page = read(&place.path("out").join("report.html"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn runs_are_compared() {
    let place = Place::new();
    run(&place, "one", &[]);
    run(&place, "two", &["training.epochs=2"]);
    let said = finish(place.zfl(["report", "one", "two"])).succeeded();
    assert_eq!(said, "report.html\n");
    let page = read(&place.path("report.html"));
    for text in [
        "2 runs, which differ in <code>training.epochs</code>",
        "<th scope=\"col\">epochs 1</th><th scope=\"col\">epochs 2</th>",
        "<th scope=\"row\">training.epochs</th><td>1</td><td>2</td>",
        "messages, both directions (kB)",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let last = |out: &str| -> f64 {
        let records = crate::support::Records::new(&place.path(out));
        records.round_column("accuracy")[2].parse().unwrap()
    };
    for (label, out) in [("epochs 1", "one"), ("epochs 2", "two")] {
        let text = format!("{label}: {:.4}</text>", last(out));
        assert!(page.contains(&text), "{text}");
    }
    let said = finish(place.zfl([vec!["report"], vec!["one"; 25]].concat())).failed(1);
    assert!(said.contains("25 runs are to be compared"), "{said}");
}

/// A sweep as docs/sweeps.md describes it.
fn write_sweep(place: &Place) {
    place.write(
        "sweep/trials.csv",
        "trial,status,rung,rounds,training.epochs,training.arithmetic,accuracy,accuracy_low,\
         accuracy_high,bytes,bytes_low,bytes_high,cpu_seconds,host_seconds,folder,detail\n\
         1,completed,1,4,1,f32,0.8125,0.75,0.875,400,,,2,2,trials/0001,\n\
         2,stopped,0,1,5,fixed,0.5,,,100,,,1,1,trials/0002,\n\
         3,failed,0,0,20,f32,,,,,,,0.5,0.5,trials/0003,without a quorum\n\
         4,running,0,1,2",
    );
    place.write(
        "sweep/front.csv",
        "trial,round,training.epochs,training.arithmetic,accuracy,bytes\n\
         1,4,1,f32,0.8125,400\n1,1,1,f32,0.6,100\n",
    );
    place.write(
        "sweep/summary.json",
        r#"{"kind": "sweep", "name": "small-sweep", "outcome": "completed", "search": "grid",
            "early_stopping": {"rounds_min": 1}, "workers": 2, "host_seconds": 2.5,
            "importance": {"rounds": 1, "trials": 2, "parameters":
                [{"parameter": "training.epochs", "share": 0.625}]},
            "confirmed": [{"trial": 1, "rounds": 4, "is_identical": true, "outcome": "completed",
                "native": {"accuracy": 0.8125}, "emulated": {"accuracy": 0.8125}}]}"#,
    );
    place.write("sweep/sweep.toml", "experiment = \"small.toml\"\n");
}

#[test]
fn a_sweep_has_a_report() {
    let place = Place::new();
    write_sweep(&place);
    finish(place.zfl(["report", "sweep"])).succeeded();
    let page = read(&place.path("sweep").join("report.html"));
    for text in [
        "<h1>small-sweep</h1>",
        "by grid search with early stopping (ASHA); it is completed",
        "1 completed, 1 stopped early, 1 failed",
        "0.8125 [0.7500, 0.8750]",
        "without a quorum",
        "62\u{a0}%",
        "<td>identical</td>",
        "messages, both directions (B)",
        "trial 1, 4 rounds: training.epochs 1, training.arithmetic f32",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // A sweep is not compared with runs.
    run(&place, "one", &[]);
    let said = finish(place.zfl(["report", "one", "sweep"])).failed(1);
    assert!(said.contains("sweep is a sweep's folder"), "{said}");
    // Versions that wrote its summary at the end alone, and it was cut off.
    fs::remove_file(place.path("sweep").join("summary.json")).unwrap();
    finish(place.zfl(["report", "sweep"])).succeeded();
    assert!(read(&place.path("sweep").join("report.html")).contains("it is cut off"));
}
