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
