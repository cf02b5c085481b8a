//! The tables `fleet`.

use insta::assert_snapshot;

use super::*;

#[test]
fn fleets() {
    assert_snapshot!(refused("[[fleet]]\nboard = \"mps2-an368\"\n"), @r#"
    trial.toml:2:9: no board "mps2-an368"
    | board = "mps2-an368"
    |         ^^^^^^^^^^^^
    help: did you mean `mps2-an386`? known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    "#);
    assert_snapshot!(refused("[[fleet]]\nboard = \"stm32\"\n"), @r#"
    trial.toml:2:9: no board "stm32"
    | board = "stm32"
    |         ^^^^^^^
    help: known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    "#);
    assert_snapshot!(refused("[[fleet]]\ncount = 0\n"), @r"
    trial.toml:2:9: `fleet.0.count` is 0
    | count = 0
    |         ^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
    assert_snapshot!(refused("[[fleet]]\ncount = 9999\n[[fleet]]\ncount = 2\n"), @r"
    trial.toml:4:9: 10001 emulated devices up to here
    | count = 2
    |         ^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
}

#[test]
fn fleets_of_native_clients() {
    let text = "[[fleet]]\nfidelity = \"native\"\ncount = 900_000\n[[fleet]]\nboard = \"native\"\nfidelity = \"native\"\n[[fleet]]\nboard = \"mps2-an385\"\ncount = 10_000\n";
    let mut mixed = experiment(text, &[]);
    assert_eq!(mixed.fleet_size(), 910_001);
    let boards = |experiment: &Experiment| -> Vec<String> {
        let boards = experiment.fleet.iter();
        boards.map(|group| group.board.clone()).collect()
    };
    assert_eq!(boards(&mixed), ["native", "native", "mps2-an385"]);
    mixed.set_fidelity(Fidelity::Native);
    assert_eq!(boards(&mixed), ["native"; 3]);
    assert!(
        mixed
            .fleet
            .iter()
            .all(|group| group.fidelity == Fidelity::Native)
    );
    // A board says nothing of a native client, but it must be one.
    let set = experiment(FLEET, &["fleet.0.fidelity=native"]);
    assert_eq!(boards(&set), ["native"]);
    assert_eq!(parse_with(&mixed.to_toml(), &[]).unwrap(), mixed);

    assert_snapshot!(refused("[[fleet]]\nfidelity = \"real\"\n"), @r#"
    trial.toml:2:12: `fleet.0.fidelity` is "real"
    | fidelity = "real"
    |            ^^^^^^
    help: `fleet.*.fidelity`: "emulated" or "native"
    "#);
    assert_snapshot!(refused("[[fleet]]\nboard = \"native\"\n"), @r#"
    trial.toml:2:9: "native" is no board to emulate
    | board = "native"
    |         ^^^^^^^^
    help: for clients without a machine set `fidelity = "native"`
    "#);
    assert_snapshot!(refused(
        "[[fleet]]\nboard = \"mps2-an368\"\nfidelity = \"native\"\n"
    ), @r#"
    trial.toml:2:9: no board "mps2-an368"
    | board = "mps2-an368"
    |         ^^^^^^^^^^^^
    help: did you mean `mps2-an386`? known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    "#);
    assert_snapshot!(refused("[[fleet]]\ncount = 10_001\n"), @r"
    trial.toml:2:9: 10001 emulated devices up to here
    | count = 10_001
    |         ^^^^^^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
    assert_snapshot!(refused(
        "[[fleet]]\ncount = 1_000_001\nfidelity = \"native\"\n"
    ), @r"
    trial.toml:2:9: `fleet.0.count` is 1_000_001
    | count = 1_000_001
    |         ^^^^^^^^^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
    assert_snapshot!(refused(
        "[[fleet]]\ncount = 1_000_000\nfidelity = \"native\"\n[[fleet]]\n"
    ), @r"
    trial.toml:4:1: 1000001 devices up to here
    | [[fleet]]
    | ^^^^^^^^^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
}
