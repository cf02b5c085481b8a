//! The tables `link`.

use std::time::Duration;

use insta::assert_snapshot;

use super::*;

/// The link of the fleet of a file.
fn link(text: &str, sets: &[&str]) -> Link {
    let experiment = experiment(text, sets);
    experiment.link(&experiment.fleet[0]).unwrap()
}

#[test]
fn links() {
    let of_fleet = |name: &str| format!("[[fleet]]\nlink = \"{name}\"\n");
    let ethernet = Link::built_in("ethernet").unwrap();
    let wifi = Link::built_in("wifi").unwrap();
    assert_eq!(link("[[fleet]]\n", &[]), ethernet);
    assert_eq!(link(&of_fleet("wifi"), &[]), wifi);

    // A table begins with Ethernet, a built-in link or another table, whichever
    // is written first.
    let text = "[[fleet]]\nlink = \"b\"\n[link.b]\nbased-on = \"a\"\nloss = 0.2\n\
        [link.a]\nbased-on = \"wifi\"\nloss = 0.1\ndelay-ms = 40\n";
    let expected = Link {
        loss: 0.2,
        delay_ms: 40.0,
        ..wifi
    };
    assert_eq!(link(text, &[]), expected);

    // A `--set` makes a link of its own, or changes one.
    let lossy = Link {
        loss: 0.1,
        ..ethernet
    };
    let sets = ["fleet.0.link=lossy", "link.lossy.loss=0.1"];
    assert_eq!(link("[[fleet]]\n", &sets), lossy);
    let sets = ["link.b.outages.0={from-s=1,for-s=2}", "link.a.delay-ms=50"];
    let expected = Link {
        delay_ms: 50.0,
        outages: vec![Outage {
            from: Duration::from_secs(1),
            lasts: Duration::from_secs(2),
        }],
        ..expected
    };
    assert_eq!(link(text, &sets), expected);

    let bursts = "[link.a.burst-loss]\nbegin = 0.01\nend = 0.25\n";
    let text = format!("{bursts}[link.b]\nbased-on = \"a\"\nburst-loss = {{ end = 0.5 }}\n");
    let expected = BurstLoss {
        begin: 0.01,
        end: 0.5,
        loss: 1.0,
    };
    assert_eq!(experiment(&text, &[]).links["b"].burst_loss, Some(expected));
}

#[test]
fn impossible_links() {
    assert_snapshot!(refused("[[fleet]]\nlink = \"wiffi\"\n[link.own]\n"), @r#"
    trial.toml:2:8: no link "wiffi"
    | link = "wiffi"
    |        ^^^^^^^
    help: did you mean `wifi`? known links: own, ethernet, wifi, satellite, ble, lte-m, ieee802154, nb-iot; or a table [link.NAME]
    "#);
    assert_snapshot!(refused("[link.wifi]\nloss = 0.1\n"), @r#"
    trial.toml:1:1: `wifi` is the name of a built-in link
    | [link.wifi]
    | ^^^^^^^^^^^
    help: give yours another name, and `based-on = "wifi"` to begin with its figures
    "#);
    assert_snapshot!(refused("[link.My_Link]\n"), @r"
    trial.toml:1:1: `My_Link` is not a name for a link
    | [link.My_Link]
    | ^^^^^^^^^^^^^^
    help: 1 to 64 of the characters a-z, 0-9 and -
    ");
    assert_snapshot!(refused("[link.a]\nbased-on = \"b\"\n[link.b]\nbased-on = \"a\"\n"), @r#"
    trial.toml:4:12: links are based on each other: a, b
    | based-on = "a"
    |            ^^^
    help: one of them must be based on a built-in link, or on none
    "#);
    assert_snapshot!(refused("[link.a]\nbased-on = \"none\"\n"), @r#"
    trial.toml:2:12: no link "none"
    | based-on = "none"
    |            ^^^^^^
    help: known links: a, ethernet, wifi, satellite, ble, lte-m, ieee802154, nb-iot; or a table [link.NAME]
    "#);
    assert_snapshot!(refused("[link.a]\nloss = 1.5\n"), @r"
    trial.toml:2:8: `link.a.loss` is 1.5
    | loss = 1.5
    |        ^^^
    help: `link.NAME.loss`: a number from 0 to 1
    ");
    assert_snapshot!(refused("[link.a]\nloss = nan\n"), @r"
    trial.toml:2:8: `link.a.loss` is nan
    | loss = nan
    |        ^^^
    help: `link.NAME.loss`: a number from 0 to 1
    ");
    assert_snapshot!(refused("[link.a]\nlos = 0.5\n"), @r"
    trial.toml:2:1: unknown key `los` in `link.a`
    | los = 0.5
    | ^^^
    help: did you mean `loss`? allowed in `link.a`: based-on, rate-up-kbps, rate-down-kbps, overhead-bytes, burst-bytes, delay-ms, jitter-ms, reorder, loss, burst-loss, duplicate, corrupt, queue-bytes, mtu-bytes, outages, outage-cycle
    ");
    assert_snapshot!(refused("[link.a]\ndelay-ms = 10\njitter-ms = 11\n"), @r"
    trial.toml:3:13: jitter of 11 ms with a delay of 10 ms
    | jitter-ms = 11
    |             ^^
    help: `link.a.jitter-ms`: the delay is uniform in delay-ms ± jitter-ms, so that jitter-ms is at most delay-ms
    ");
    assert_snapshot!(refused("[link.a]\nbased-on = \"ble\"\ndelay-ms = 10\n"), @r"
    trial.toml:3:12: jitter of 15 ms with a delay of 10 ms
    | delay-ms = 10
    |            ^^
    help: `link.a.delay-ms`: the delay is uniform in delay-ms ± jitter-ms, so that jitter-ms is at most delay-ms
    ");
    assert_snapshot!(refused("[link.a.burst-loss]\nbegin = 0.5\n"), @r"
    trial.toml:1:1: `link.a.burst-loss`: missing key `end`
    | [link.a.burst-loss]
    | ^^^^^^^^^^^^^^^^^^^
    help: `link.NAME.burst-loss`: a table with begin and end, and if need be loss
    ");
    assert_snapshot!(refused("[link.a]\nmtu-bytes = 100\n"), @r"
    trial.toml:2:13: `link.a.mtu-bytes` is 100
    | mtu-bytes = 100
    |             ^^^
    help: `link.NAME.mtu-bytes`: a whole number from 128 to 1500
    ");
    assert_snapshot!(refused("[link.a]\noutages = [{ from-s = 1, for-s = -2 }]\n"), @r"
    trial.toml:2:34: `link.a.outages.0.for-s` is -2
    | outages = [{ from-s = 1, for-s = -2 }]
    |                                  ^^
    help: `link.NAME.outages.*.for-s`: seconds from 0 to 31536000
    ");
    assert_snapshot!(refused("[link.a]\noutage-cycle = { every-s = 5, for-s = 5 }\n"), @r"
    trial.toml:2:16: outages of 5 s every 5 s
    | outage-cycle = { every-s = 5, for-s = 5 }
    |                ^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `link.a.outage-cycle.for-s`: seconds from 0, less than every-s
    ");
    assert_snapshot!(set_refused("", &["link.a.loss=2"]), @r"
    --set link.a.loss=2: `link.a.loss` is 2
    | link.a.loss=2
    |             ^
    help: `link.NAME.loss`: a number from 0 to 1
    ");
    assert_snapshot!(refused("network = \"bridge\"\n[[fleet]]\nlink = \"wifi\"\n"), @r#"
    trial.toml:3:8: `fleet.0.link` is "wifi", but `network` is "bridge"
    | link = "wifi"
    |        ^^^^^^
    help: a bridge passes frames as the kernel does and has no links: use `network = "switch"`, or leave the link out
    "#);
}
