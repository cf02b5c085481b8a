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
    assert_snapshot!(shown(&["links"]), @r#"
    link         up kbps down kbps delay ms jitter ms    loss  queue bytes  MTU bytes  description
    ethernet    no limit   100000?        0         0       0       262144      1500?  Fast Ethernet, 100BASE-TX, to a switch: what a fleet has where nothing else is said
    wifi          20000?    20000?       3?        2?  0.001?       65536?      1500?  Wi-Fi of a microcontroller: 802.11n, 2.4 GHz, one stream, some distance from the access point
    satellite      2000?    10000?      279       10?  0.001?      262144?      1500?  Geostationary satellite, a small terminal
    ble             700?      700?      15?       15?      0?        8192?      1280?  Bluetooth Low Energy, LE 1M, IP over it (RFC 7668), connection interval 30 ms
    lte-m            375       300      50?       25? 0.0001?       65536?      1358?  LTE-M, Cat-M1, half duplex, good coverage, connected
    ieee802154      120?      120?       5?        4?   0.01?        8192?      1280?  IEEE 802.15.4, 2.4 GHz, one hop, 6LoWPAN (RFC 4944)
    nb-iot            62        26     800?      400?  0.001?       16384?      1358?  NB-IoT, Cat-NB1, good coverage, connected

    `fleet.*.link` of an experiment chooses one; a table [link.NAME] makes another.
    `zfl links NAME` has the sources. ? marks what nobody has looked up: docs/links.md.
    "#);
    assert_snapshot!(shown(&["links", "nb-iot"]), @r#"
    nb-iot: NB-IoT, Cat-NB1, good coverage, connected

    rate-up-kbps          62  mbedded.ninja, cellular communication protocols, LTE Cat NB1
    rate-down-kbps        26  mbedded.ninja, cellular communication protocols, LTE Cat NB1
    overhead-bytes        0?  estimate: part of the rate
    burst-bytes           0?  estimate: packets are sent one by one
    delay-ms            800?  estimate: half of the 1.6 s that mbedded.ninja's table gives as the least latency; up to 10 s in poor coverage
    jitter-ms           400?  estimate: the time until the next search space, and repetitions
    loss              0.001?  estimate: one HARQ process with repetitions, RLC above it; reselection of cells is left
    queue-bytes       16384?  estimate: a base station's queue for one device, about 5 s
    mtu-bytes          1358?  3GPP TS 23.060, annex C: link MTU that avoids fragments in the core network, as recalled

    ? marks what nobody has looked up; rates of 0 are without limit. docs/links.md
    "#);
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
