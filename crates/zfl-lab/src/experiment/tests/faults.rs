//! The tables `faults`.

use insta::assert_snapshot;

use super::*;

#[test]
fn faults_are_checked() {
    const FAULTS: &str = "[faults.flaky]\ncrash = 0.1\nreboot = 0.1\nreboot-keeps-data = true\n";
    let native = "[[fleet]]\nfidelity = \"native\"\nfaults = \"flaky\"\n";
    let flaky = experiment(&format!("{FAULTS}{native}"), &[]);
    let model = &flaky.faults["flaky"];
    assert_eq!(model.probability(FaultKind::Crash), 0.1);
    assert_eq!(model.probability(FaultKind::Hang), 0.0);
    assert_eq!(flaky.fleet[0].faults.as_deref(), Some("flaky"));

    assert_snapshot!(refused("[faults.a]\ncrash = 1.5\n"), @r"
    trial.toml:2:9: `faults.a.crash` is 1.5
    | crash = 1.5
    |         ^^^
    help: `faults.NAME.crash`: a number from 0 to 1
    ");
    assert_snapshot!(refused("[faults.a]\ncrush = 1\n"), @r"
    trial.toml:2:1: unknown key `crush` in `faults.a`
    | crush = 1
    | ^^^^^
    help: did you mean `crash`? allowed in `faults.a`: drop-out-before, drop-out-during, drop-out-after, availability-trace, availability-on-rounds, availability-off-rounds, crash, hang, reboot, reboot-after-s, reboot-keeps-data, slow-down, slow-down-factor, brown-out, brown-out-s, poison, poison-kind, poison-factor, nan, truncate, duplicate, late, late-s
    ");
    assert_snapshot!(refused("[faults.Flaky]\n"), @r"
    trial.toml:1:1: `Flaky` is no name for faults
    | [faults.Flaky]
    | ^^^^^^^^^^^^^^
    help: a name is 1 to 64 of the characters a-z, 0-9 and -
    ");
    assert_snapshot!(refused("[faults.a]\nlate-s = 0\n"), @r"
    trial.toml:2:10: `faults.a.late-s` is 0
    | late-s = 0
    |          ^
    help: `faults.NAME.late-s`: seconds from 0.001 to 86400
    ");
    assert_snapshot!(refused("[faults.a]\nslow-down-factor = 0.5\n"), @r"
    trial.toml:2:20: `faults.a.slow-down-factor` is 0.5
    | slow-down-factor = 0.5
    |                    ^^^
    help: `faults.NAME.slow-down-factor`: a number from 1 to 1000000
    ");
    assert_snapshot!(refused("[faults.a]\npoison-kind = \"arsenic\"\n"), @r#"
    trial.toml:2:15: `faults.a.poison-kind` is "arsenic"
    | poison-kind = "arsenic"
    |               ^^^^^^^^^
    help: `faults.NAME.poison-kind`: "sign-flip", "scale" or "random"
    "#);
    assert_snapshot!(refused("[faults.a]\navailability-on-rounds = 3\n"), @r"
    trial.toml:2:26: `faults.a.availability-on-rounds` without `faults.a.availability-off-rounds`
    | availability-on-rounds = 3
    |                          ^
    help: `faults.NAME.availability-on-rounds`: a whole number of rounds from 1 to 1000000
    ");
    assert_snapshot!(refused("[faults.a]\navailability-trace = \"a\"\navailability-off-rounds = 3\n"), @r#"
    trial.toml:2:22: `faults.a.availability-trace` beside a duty cycle
    | availability-trace = "a"
    |                      ^^^
    help: `faults.NAME.availability-trace`: the path of a CSV file with the columns client,from,to, in quotes
    "#);
    assert_snapshot!(refused("[[fleet]]\nfaults = \"flaky\"\n"), @r#"
    trial.toml:2:10: no faults "flaky"
    | faults = "flaky"
    |          ^^^^^^^
    help: define them in a table [faults.NAME]
    "#);
    assert_snapshot!(refused(&format!("{FAULTS}[[fleet]]\nfaults = \"flakey\"\n")), @r#"
    trial.toml:6:10: no faults "flakey"
    | faults = "flakey"
    |          ^^^^^^^^
    help: the file has: flaky
    "#);
    // A board without memory that outlives it.
    experiment(&format!("{FAULTS}[[fleet]]\nfaults = \"flaky\"\n"), &[]);
    let small = "[[fleet]]\nmcu = \"lm3s6965\"\nfaults = \"flaky\"\n";
    assert_snapshot!(refused(&format!("{FAULTS}{small}")), @r#"
    trial.toml:7:10: `fleet.0.faults`: a device of board lm3s6965evb loses its data when it reboots
    | faults = "flaky"
    |          ^^^^^^^
    help: it has no memory that outlives it: leave `reboot-keeps-data` out, choose another board, or make the clients native
    "#);
    experiment(&format!("{}{small}", FAULTS.replace("true", "false")), &[]);
    experiment(
        &format!("{}{small}", FAULTS.replace("reboot = 0.1", "reboot = 0")),
        &[],
    );
    assert_snapshot!(set_refused("[faults.a]\nnan = 0.1\n[[fleet]]\nfaults = \"a\"\n", &["training.arithmetic=fixed"]), @r#"
    trial.toml:4:10: `fleet.0.faults`: fixed point has no NaN
    | faults = "a"
    |          ^^^
    help: leave `nan` out, or train with training.arithmetic = "f32"
    "#);
}
