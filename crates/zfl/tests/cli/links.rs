//! Links: what they do to a run, and what `zfl links` says.

use insta::assert_snapshot;

use crate::runs::SMALL_HASH;
use crate::support::{Place, finish};

/// TCP repairs what a link does: the model is that of the run without loss, to
/// the bit. Every frame is lost with a probability of 10 %, each way.
#[test]
fn a_lossy_link_changes_no_bit() {
    let place = Place::new();
    let records = place.completed_run(
        "lossy",
        &["parallel=4", "fleet.0.link=lossy", "link.lossy.loss=0.1"],
    );
    assert_eq!(records.final_hash(), *SMALL_HASH);
    assert_eq!(records.round_column("clients_ok"), ["4", "4", "4"]);
    let written = records.text("experiment.toml");
    assert!(written.contains("[link.lossy]"), "{written}");
    assert!(written.contains("\nloss = 0.1\n"), "{written}");
}

/// As do copies, changed bits, late and overtaken frames, small packets, a slow
/// rate and an outage while the devices start.
#[test]
fn a_link_with_everything_changes_no_bit() {
    let place = Place::new();
    let sets = [
        "parallel=4",
        "fleet.0.link=bad",
        "link.bad.based-on=wifi",
        "link.bad.rate-down-kbps=2000",
        "link.bad.reorder=true",
        "link.bad.duplicate=0.05",
        "link.bad.corrupt=0.02",
        "link.bad.mtu-bytes=576",
        "link.bad.burst-loss={begin=0.005,end=0.5}",
        "link.bad.outages=[{from-s=0,for-s=1.5}]",
    ];
    let records = place.completed_run("bad", &sets);
    assert_eq!(records.final_hash(), *SMALL_HASH);
    assert_eq!(records.round_column("clients_ok"), ["4", "4", "4"]);
}

#[test]
fn a_link_of_native_clients_is_warned_of() {
    let place = Place::new();
    let mut command = place.run("out", &["fleet.0.link=wifi", "rounds=1"]);
    command.args(["--fidelity", "native"]);
    let done = finish(command);
    assert!(
        done.stderr
            .contains("link wifi changes nothing for 4 native clients: they send no frames"),
        "{}",
        done.stderr
    );
    done.succeeded();
}

#[test]
fn a_bridge_has_no_links() {
    let place = Place::new();
    let said = finish(place.run("out", &["network=bridge", "fleet.0.link=wifi"])).failed(2);
    assert_snapshot!(said, @r#"
     x --set fleet.0.link=wifi: `fleet.0.link` is wifi, but `network` is "bridge"
      ,-[--set:1:14]
    1 | fleet.0.link=wifi
      :              ^^^^
      `----
     help: a bridge passes frames as the kernel does and has no links: use `network = "switch"`, or leave the link out
    "#);
}

#[test]
fn links_are_listed_with_their_sources() {
    let place = Place::new();
    let shown = |arguments: &[&str]| finish(place.zfl(arguments.iter().copied())).succeeded();
    assert_snapshot!(shown(&["links"]), @"");
    assert_snapshot!(shown(&["links", "nb-iot"]), @"");
    let json: serde_json::Value = serde_json::from_str(&shown(&["links", "--json"])).unwrap();
    let names: Vec<&str> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["name"].as_str().unwrap())
        .collect();
    let known: Vec<&str> = zfl_machine::LinkProfile::names().collect();
    assert_eq!(names, known);
    let json = shown(&["links", "satellite", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["figures"]["delay_ms"]["value"], 279.0);
    assert_eq!(json["figures"]["delay_ms"]["unverified"], false);

    let said = finish(place.zfl(["links", "wiffi"])).failed(2);
    assert_snapshot!(said, @"error: no link `wiffi`, did you mean `wifi`?; known links: ethernet, wifi, satellite, ble, lte-m, ieee802154, nb-iot");
    let fleet = [
        "fleet",
        "--coordinator",
        "http://127.0.0.1:1",
        "--link",
        "own",
        "--key",
    ];
    let mut command = place.zfl(fleet);
    command.arg("00112233445566778899aabbccddeeff");
    let said = finish(command).failed(2);
    assert_snapshot!(said, @"error: --link: no link `own`; known links: ethernet, wifi, satellite, ble, lte-m, ieee802154, nb-iot");
}
