//! The built-in links, measured by traffic through the switch under virtual
//! time: rate, delay and loss are what their files say.
//!
//! Rate and delay may be 2 % off. Of what is left to chance, the error of the
//! sample is allowed where it is larger: five standard deviations, with a fixed
//! seed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers fail as tests do"
)]

use std::time::Duration;

use zfl_lab::experiment::Link;
use zfl_machine::LinkProfile;
use zfl_net::MacAddress;
use zfl_net::counters::{DropReason, LinkCounters};
use zfl_net::frame::HEADER_BYTES;
use zfl_net::switch::{Switch, SwitchOptions};
use zfl_net::time::NetworkTime;

const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0xff, 0xff, 0xff]);
const DEVICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

#[derive(Clone, Copy, Debug)]
enum Way {
    Up,
    Down,
}

/// One device behind a link, of which one direction is used. It reads what it
/// is given at once.
struct World {
    switch: Switch,
    way: Way,
    now: NetworkTime,
    /// When each frame arrived.
    arrivals: Vec<NetworkTime>,
}

impl World {
    fn new(link: &Link, way: Way) -> Self {
        let mut port = link.port_options();
        port.downlink.flight = None;
        let options = SwitchOptions {
            gateway: GATEWAY,
            seed: 1,
            peer_traffic: false,
            port,
        };
        let mut switch = Switch::new(options, 1);
        switch.attach(0, Some(DEVICE)).unwrap();
        Self {
            switch,
            way,
            now: NetworkTime::ZERO,
            arrivals: Vec::new(),
        }
    }

    fn send(&mut self, bytes: usize) {
        let (source, destination) = match self.way {
            Way::Up => (DEVICE, GATEWAY),
            Way::Down => (GATEWAY, DEVICE),
        };
        let mut frame = vec![0x5a; bytes];
        frame[..6].copy_from_slice(&destination.0);
        frame[6..12].copy_from_slice(&source.0);
        match self.way {
            Way::Up => self.switch.receive(0, frame, self.now),
            Way::Down => self.switch.receive_from_gateway(frame, self.now),
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.switch.poll(0, self.now);
        while self.switch.take_for_gateway().is_some() {
            self.arrivals.push(self.now);
        }
        while self.switch.pop(0, self.now).is_some() {
            self.arrivals.push(self.now);
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.switch.poll_at(0).filter(|next| *next <= end) {
            self.now = next;
            self.collect();
        }
        self.now = end;
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.switch.counters(0).unwrap().drops.get(reason)
    }

    fn link(&self) -> LinkCounters {
        let counters = self.switch.counters(0).unwrap();
        match self.way {
            Way::Up => counters.uplink,
            Way::Down => counters.downlink,
        }
    }
}

/// Kilobits that pass each second while the queue is never empty.
fn measured_rate_kbps(link: &Link, way: Way, rate_kbps: f64) -> f64 {
    // The largest frames; the rate is for their bytes and what the link adds.
    let bytes = HEADER_BYTES + usize::from(link.mtu_bytes);
    let bits = (bytes as f64 + f64::from(link.overhead_bytes)) * 8.0;
    let mut world = World::new(link, way);
    // A tenth more than fits.
    let gap = Duration::from_secs_f64(bits / (rate_kbps * 1100.0));
    for _ in 0..4_000 {
        world.send(bytes);
        world.run_for(gap);
    }
    let full = [DropReason::UplinkQueueFull, DropReason::DownlinkQueueFull];
    assert!(full.iter().any(|full| world.drops(*full) > 0), "never full");
    // Without the first, when a burst may have passed.
    let from = 200;
    let span = world.arrivals.last().unwrap().since(world.arrivals[from]);
    let passed = (world.arrivals.len() - from - 1) as f64;
    // What is lost has taken its time all the same.
    passed / (1.0 - link.loss) * bits / span.as_secs_f64() / 1e3
}

/// Mean delay of frames that find the link empty, in milliseconds, from the last
/// bit sent. Nothing is lost here.
fn measured_delay_ms(link: &Link, way: Way, frames: usize) -> f64 {
    let link = Link {
        loss: 0.0,
        burst_bytes: 0,
        ..link.clone()
    };
    let mut world = World::new(&link, way);
    let mut sum = Duration::ZERO;
    for _ in 0..frames {
        let sent = world.now;
        world.arrivals.clear();
        world.send(60);
        world.run_for(Duration::from_secs(5));
        let [arrival] = world.arrivals[..] else {
            panic!("{} frames of one", world.arrivals.len());
        };
        sum += arrival.since(sent);
    }
    // The link was busy with one frame at a time.
    assert_eq!(world.link().busy, sum);
    (sum - world.link().airtime).as_secs_f64() * 1e3 / frames as f64
}

fn measured_loss(link: &Link, way: Way, frames: usize) -> f64 {
    let mut world = World::new(link, way);
    for _ in 0..frames {
        world.send(60);
        world.run_for(Duration::from_millis(50));
    }
    world.run_for(Duration::from_secs(10));
    let lost = world.drops(DropReason::Lost);
    assert_eq!(lost as usize + world.arrivals.len(), frames);
    lost as f64 / frames as f64
}

#[test]
fn rate_delay_and_loss_of_every_built_in_link_are_its_figures() {
    const DELAYS: usize = 2_000;
    const LOSSES: usize = 40_000;
    println!("link         way        kbps   measured  delay ms  measured      loss  measured");
    for name in LinkProfile::names() {
        let link = Link::built_in(name).unwrap();
        for way in [Way::Up, Way::Down] {
            let rate_kbps = match way {
                Way::Up => link.rate_up_kbps,
                Way::Down => link.rate_down_kbps,
            };
            let rate = match rate_kbps > 0.0 {
                true => measured_rate_kbps(&link, way, rate_kbps),
                // Of a link without limit there is none to measure.
                false => 0.0,
            };
            let delay = measured_delay_ms(&link, way, DELAYS);
            let loss = measured_loss(&link, way, LOSSES);
            println!(
                "{name:<11} {way:>4?} {rate_kbps:>11} {rate:>10.2} {:>9} {delay:>9.3} {:>9} {loss:>9.5}",
                link.delay_ms, link.loss
            );
            assert!(
                (rate - rate_kbps).abs() <= 0.02 * rate_kbps,
                "{name} {way:?}: {rate}"
            );
            // Uniform in ± jitter: a deviation of jitter/√3.
            let error = 5.0 * link.jitter_ms / (3.0 * DELAYS as f64).sqrt();
            let allowed = error.max(0.02 * link.delay_ms);
            assert!(
                (delay - link.delay_ms).abs() <= allowed,
                "{name} {way:?}: {delay} ms"
            );
            let error = 5.0 * (link.loss * (1.0 - link.loss) / LOSSES as f64).sqrt();
            let allowed = error.max(0.02 * link.loss);
            assert!(
                (loss - link.loss).abs() <= allowed,
                "{name} {way:?}: {loss}"
            );
        }
    }
}

#[test]
fn a_link_without_limit_passes_everything_at_once() {
    let ethernet = Link::built_in("ethernet").unwrap();
    assert_eq!(ethernet.rate_up_kbps, 0.0);
    let mut world = World::new(&ethernet, Way::Up);
    for _ in 0..1_000 {
        world.send(1514);
    }
    assert_eq!(world.arrivals, [NetworkTime::ZERO; 1_000]);
}
