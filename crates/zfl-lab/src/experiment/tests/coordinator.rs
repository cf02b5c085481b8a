//! The tables `coordinator` and `deadlines`.

use insta::assert_snapshot;

use super::*;

#[test]
fn what_is_done_about_failures_has_its_defaults() {
    let text = format!(
        "{FLEET}[coordinator]\non-failed-round = \"continue\"\nrest-rounds = 2\nstaleness-rounds-max = 3\n[deadlines]\nround-quantile = 0.9\n"
    );
    let patient = experiment(&text, &[]);
    assert_eq!(
        patient.coordinator,
        Coordinator {
            clients_per_round: Some(10),
            quorum: Some(10),
            on_failed_round: OnFailedRound::Continue {
                failed_rounds_max: 3
            },
            rest_rounds: 2,
            rest_rounds_max: 16,
            late_updates: LateUpdates::Use {
                rounds_max: 3,
                exponent: 0.5,
            },
            ..Coordinator::default()
        }
    );
    assert_eq!(
        patient.deadlines.round_past,
        Some(PastDeadline {
            quantile: 0.9,
            factor: 2.0,
        })
    );
    let check = |sets: &[&str], said: &str| {
        let refused = set_refused(FLEET, sets);
        assert!(refused.contains(said), "{refused}");
    };
    check(
        &["coordinator.over-selection=-0.1"],
        "a number from 0 to 10",
    );
    check(
        &["coordinator.on-failed-round=\"retry\""],
        "\"end\" or \"continue\"",
    );
    check(
        &["coordinator.failed-rounds-max=2"],
        "only with coordinator.on-failed-round = \"continue\"",
    );
    check(
        &["coordinator.rest-rounds=9", "coordinator.rest-rounds-max=8"],
        "a whole number from coordinator.rest-rounds to 1000000",
    );
    check(
        &["coordinator.staleness-exponent=1"],
        "only with coordinator.staleness-rounds-max above 0",
    );
    check(
        &["coordinator.staleness-rounds-max=101"],
        "a whole number from 0 to 100; 0 drops late updates",
    );
    check(
        &["deadlines.round-quantile=0"],
        "a number above 0, at most 1",
    );
    check(
        &["deadlines.round-factor=3"],
        "only with deadlines.round-quantile",
    );
}

#[test]
fn the_fleet_sets_the_defaults_of_the_coordinator() {
    let two = experiment(&format!("{FLEET}[[fleet]]\nboard = \"mps2-an385\"\n"), &[]);
    assert_eq!(two.fleet_size(), 11);
    assert_eq!(two.coordinator.clients_per_round, Some(11));
    assert_eq!(two.coordinator.quorum, Some(11));
    let boards: Vec<&str> = two.device_boards().collect();
    assert_eq!(boards.len(), 11);
    assert_eq!(boards[9..], ["mps2-an386", "mps2-an385"]);

    let some = experiment(FLEET, &["coordinator.clients-per-round=4"]);
    assert_eq!(some.coordinator.clients_per_round, Some(4));
    assert_eq!(some.coordinator.quorum, Some(4));
}

#[test]
fn participation_without_a_fleet_comes_from_the_clients() {
    let coordinator = experiment("", &["coordinator.clients-per-round=4"]).coordinator;
    let four = Participation {
        clients_per_round: 4,
        quorum: 4,
    };
    assert_eq!(coordinator.participation(10), Ok(four));
    assert_snapshot!(coordinator.participation(3).unwrap_err(), @"coordinator.clients-per-round is 4, but a round has 3 clients at most: 1 to 3");
    assert_snapshot!(coordinator.participation(0).unwrap_err(), @"no clients: give their number, at least 1");
    let all = experiment("", &[]).coordinator.participation(7);
    assert_eq!(
        all.map(|all| (all.clients_per_round, all.quorum)),
        Ok((7, 7))
    );
}

#[test]
fn clients_that_are_not_there() {
    assert_snapshot!(
        refused(&format!("[coordinator]\nclients-per-round = 11\n{FLEET}")),
        @r"
    trial.toml:2:21: `coordinator.clients-per-round` is 11
    | clients-per-round = 11
    |                     ^^
    help: `coordinator.clients-per-round`: a whole number from 1 to 10, the size of the fleet
    "
    );
    assert_snapshot!(
        refused(&format!("[coordinator]\nclients-per-round = 5\nquorum = 6\n{FLEET}")),
        @r"
    trial.toml:3:10: `coordinator.quorum` is 6
    | quorum = 6
    |          ^
    help: `coordinator.quorum`: a whole number from 1 to 5, coordinator.clients-per-round
    "
    );
    assert_snapshot!(refused(&format!("[coordinator]\nquorum = 11\n{FLEET}")), @r"
    trial.toml:2:10: `coordinator.quorum` is 11
    | quorum = 11
    |          ^^
    help: `coordinator.quorum`: a whole number from 1 to 10, the size of the fleet
    ");
    assert_snapshot!(refused("[coordinator]\ntarget-accuracy = 97\n"), @r"
    trial.toml:2:19: `coordinator.target-accuracy` is 97
    | target-accuracy = 97
    |                   ^^
    help: `coordinator.target-accuracy`: a number above 0, at most 1
    ");
    assert_snapshot!(refused("[coordinator]\ntarget-accuracy = 0.0\n"), @r"
    trial.toml:2:19: `coordinator.target-accuracy` is 0.0
    | target-accuracy = 0.0
    |                   ^^^
    help: `coordinator.target-accuracy`: a number above 0, at most 1
    ");
    let coordinator = |sets| experiment(FLEET, sets).coordinator;
    assert_eq!(coordinator(&[]).target_accuracy, None);
    let sets = &["coordinator.target-accuracy=0.97"];
    assert_eq!(coordinator(sets).target_accuracy, Some(0.97));
    assert_snapshot!(refused(&format!("[coordinator]\nquorum = 0\n{FLEET}")), @r"
    trial.toml:2:10: `coordinator.quorum` is 0
    | quorum = 0
    |          ^
    help: `coordinator.quorum`: a whole number from 1 to 10, the size of the fleet
    ");
}
