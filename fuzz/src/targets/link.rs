//! Links, as the catalogue's files and as tables of an experiment: what is read
//! makes a port that a frame passes or is counted at; what is refused is told
//! with its place.

use std::time::Duration;

use zfl_lab::experiment::{Experiment, Link};
use zfl_machine::LinkProfile;
use zfl_net::MacAddress;
use zfl_net::switch::{PortOptions, Switch, SwitchOptions};
use zfl_net::time::NetworkTime;

/// Before the tables.
const EXPERIMENT: &str = include_str!("../../../examples/digits.toml");

/// Each frame arrives once, and a copy of it.
const POLLS_MAX: u32 = 12;

/// Reads `bytes` as either.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match LinkProfile::parse("file", &text) {
        Ok(profile) => {
            for (name, figure) in profile.figures() {
                assert!(figure.value.is_finite() && figure.value >= 0.0, "{name}");
            }
            link_holds(&Link::from(&profile));
        }
        Err(error) => crate::targets::board::refusal_holds(&text, error),
    }
    let file = format!("{EXPERIMENT}\n{text}");
    match Experiment::parse(&file, "file.toml", &[], &["mps2-an386"]) {
        Ok(experiment) => {
            for (name, link) in &experiment.links {
                assert!(!LinkProfile::names().any(|known| known == name));
                link_holds(link);
            }
        }
        Err(error) => crate::targets::experiment::refusal_holds(&error),
    }
}

fn link_holds(link: &Link) {
    assert!(link.jitter_ms <= link.delay_ms);
    assert!(link.mtu_bytes >= 128 && link.queue_bytes >= 1);
    assert!(
        link.outage_cycle
            .is_none_or(|cycle| cycle.lasts < cycle.every)
    );
    let options = SwitchOptions {
        gateway: MacAddress([2, 0, 0, 0, 0, 0xff]),
        seed: 1,
        peer_traffic: false,
        port: PortOptions::default(),
    };
    let mut switch = Switch::new(options, 1);
    switch.set_port(0, link.port_options());
    switch
        .attach(0, Some(MacAddress([2, 0, 0, 0, 0, 1])))
        .expect("a port that is free");
    // To everybody, at the beginning and a year later.
    let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 0], &[0; 50]].concat();
    let mut now = NetworkTime::ZERO;
    for _ in 0..2 {
        for _ in 0..3 {
            switch.receive(0, frame.clone(), now);
        }
        for _ in 0..POLLS_MAX {
            let Some(due) = switch.poll_at(0) else {
                break;
            };
            now = now.max(due);
            switch.poll(0, now);
            while switch.take_for_gateway().is_some() {}
        }
        assert_eq!(switch.poll_at(0), None, "frames stay on their way");
        now = now + Duration::from_secs(31_536_000);
    }
    let counters = switch.counters(0).expect("a port");
    assert_eq!(
        counters.to_switch.frames + counters.drops.total(),
        counters.from_device.frames + counters.uplink.duplicated
    );
}
