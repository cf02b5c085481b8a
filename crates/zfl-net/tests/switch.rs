//! Properties of the switch under any sequence of events: no frame is
//! duplicated, invented or reordered, and the counters add up.

use std::collections::HashMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use zfl_net::address::MacAddress;
use zfl_net::counters::DropReason;
use zfl_net::frame::{FRAME_BYTES_MAX, HEADER_BYTES};
use zfl_net::lane::FlightOptions;
use zfl_net::link::LinkRate;
use zfl_net::switch::{PortOptions, Switch, SwitchOptions};
use zfl_net::time::NetworkTime;

const PORTS: usize = 4;
const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0xff, 0xff, 0xff]);

fn mac(port: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, port as u8])
}

#[derive(Clone, Copy, Debug)]
enum Address {
    Port(usize),
    Gateway,
    Everybody,
    Nobody,
}

impl Address {
    fn mac(self) -> MacAddress {
        match self {
            Self::Port(port) => mac(port),
            Self::Gateway => GATEWAY,
            Self::Everybody => MacAddress::BROADCAST,
            Self::Nobody => MacAddress([2, 9, 9, 9, 9, 9]),
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    FromDevice {
        port: usize,
        source: Address,
        destination: Address,
        bytes: usize,
    },
    FromGateway {
        destination: Address,
        bytes: usize,
    },
    /// The caller follows the clock this far, in microseconds.
    Run(u64),
    Detach(usize),
    Attach(usize),
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        4 => (0..PORTS).prop_map(Address::Port),
        4 => Just(Address::Gateway),
        1 => Just(Address::Everybody),
        1 => Just(Address::Nobody),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = || prop_oneof![0..100usize, 1400..=FRAME_BYTES_MAX + 10];
    prop_oneof![
        4 => (0..PORTS, address(), address(), bytes(), any::<bool>()).prop_map(
            |(port, source, destination, bytes, honest)| Event::FromDevice {
                port,
                source: if honest { Address::Port(port) } else { source },
                destination,
                bytes,
            }
        ),
        4 => (address(), bytes())
            .prop_map(|(destination, bytes)| Event::FromGateway { destination, bytes }),
        3 => (0..5_000u64).prop_map(Event::Run),
        1 => (0..PORTS).prop_map(Event::Detach),
        1 => (0..PORTS).prop_map(Event::Attach),
    ]
}

fn options() -> impl Strategy<Value = SwitchOptions> {
    let rate = prop_oneof![
        Just(LinkRate::UNLIMITED),
        Just(LinkRate::megabits_per_second(100)),
        Just(LinkRate::bits_per_second(250_000)),
    ];
    let flight = prop_oneof![Just(None), Just(Some(FlightOptions::LAN9118))];
    let burst = prop_oneof![Just(0usize), Just(8_192)];
    let queue = 1_000..20_000usize;
    (any::<bool>(), rate.clone(), rate, burst, flight, queue).prop_map(
        |(peer_traffic, up, down, burst_bytes, flight, queue_bytes_max)| {
            let mut port = PortOptions::default();
            port.uplink.link.rate = up;
            port.uplink.queue_bytes_max = queue_bytes_max;
            port.downlink.link.rate = down;
            port.downlink.link.burst_bytes = burst_bytes;
            port.downlink.queue_bytes_max = queue_bytes_max;
            port.downlink.flight = flight;
            SwitchOptions {
                gateway: GATEWAY,
                seed: 1,
                peer_traffic,
                port,
            }
        },
    )
}

/// A frame with a number in it, where there is room for one.
fn frame(source: MacAddress, destination: MacAddress, bytes: usize, number: u32) -> Vec<u8> {
    let mut frame = vec![0; bytes.max(HEADER_BYTES + 4)];
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&number.to_be_bytes());
    frame.truncate(bytes);
    frame
}

/// Moves everything that is due, in the order of time, as a caller with a
/// perfect clock does.
#[derive(Default)]
struct World {
    now: NetworkTime,
    /// What arrived, in order: at the gateway from each port, at each port.
    at_gateway: Vec<Vec<Vec<u8>>>,
    at_port: Vec<Vec<(NetworkTime, Vec<u8>)>>,
}

impl World {
    fn collect(&mut self, switch: &mut Switch) {
        while let Some((port, frame)) = switch.take_for_gateway() {
            self.at_gateway[port].push(frame);
        }
        for port in 0..PORTS {
            while let Some(frame) = switch.pop(port, self.now) {
                self.at_port[port].push((self.now, frame));
            }
        }
    }

    fn run_until(&mut self, switch: &mut Switch, end: NetworkTime) {
        loop {
            self.collect(switch);
            let next = (0..PORTS).filter_map(|port| switch.poll_at(port)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            // Something due now would have been moved.
            assert!(next > self.now, "the switch stands still at {next:?}");
            self.now = next;
            for port in 0..PORTS {
                switch.poll(port, next);
            }
        }
        self.now = self.now.max(end);
    }
}

/// Whether `arrived` is `sent` with some left out.
fn is_subsequence(arrived: &[Vec<u8>], sent: &[Vec<u8>]) -> bool {
    let mut sent = sent.iter();
    arrived.iter().all(|frame| sent.any(|other| other == frame))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn frames_are_conserved(options in options(), events in vec(event(), 1..150)) {
        let mut switch = Switch::new(options.clone(), PORTS);
        for port in 0..PORTS {
            switch.attach(port, Some(mac(port))).unwrap();
        }
        let mut world = World {
            at_gateway: vec![Vec::new(); PORTS],
            at_port: vec![Vec::new(); PORTS],
            ..World::default()
        };
        // What was sent, by sender (the gateway last), in order.
        let mut sent = vec![Vec::new(); PORTS + 1];
        // Frames that the gateway addressed to an attached port.
        let mut for_port = [0u64; PORTS];

        for (number, event) in (0..).zip(events) {
            match event {
                Event::FromDevice { port, source, destination, bytes } => {
                    let frame = frame(source.mac(), destination.mac(), bytes, number);
                    sent[port].push(frame.clone());
                    switch.receive(port, frame, world.now);
                }
                Event::FromGateway { destination, bytes } => {
                    // The gateway sends no broken frames.
                    let bytes = bytes.clamp(HEADER_BYTES + 4, FRAME_BYTES_MAX);
                    for (port, count) in for_port.iter_mut().enumerate() {
                        let addressed = match destination {
                            Address::Port(to) => to == port,
                            Address::Everybody => true,
                            Address::Gateway | Address::Nobody => false,
                        };
                        *count += u64::from(addressed && switch.is_attached(port));
                    }
                    let frame = frame(GATEWAY, destination.mac(), bytes, number);
                    sent[PORTS].push(frame.clone());
                    switch.receive_from_gateway(frame, world.now);
                }
                Event::Run(microseconds) => {
                    let end = world.now + Duration::from_micros(microseconds);
                    world.run_until(&mut switch, end);
                }
                Event::Detach(port) => switch.detach(port),
                Event::Attach(port) => switch.attach(port, Some(mac(port))).unwrap(),
            }
            world.collect(&mut switch);
        }
        world.run_until(&mut switch, NetworkTime::from_millis(1_000_000_000));

        let mut from_devices = [0u64; PORTS];
        for port in 0..PORTS {
            let counters = switch.counters(port).unwrap();
            prop_assert_eq!(switch.poll_at(port), None, "a frame was forgotten");

            // The gateway gets what the port sent, each frame once, in order,
            // and only what is honest and for it.
            let arrived = &world.at_gateway[port];
            prop_assert!(is_subsequence(arrived, &sent[port]));
            for frame in arrived {
                prop_assert_eq!(&frame[6..12], &mac(port).0);
                let group = frame[0] & 1 == 1;
                prop_assert!(group || frame[..6] == GATEWAY.0);
            }

            // So does a device, of each sender; of other devices only if that
            // is permitted, and never of itself.
            let mut by_sender: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
            for (_, frame) in &world.at_port[port] {
                by_sender.entry(frame[6..12].to_vec()).or_default().push(frame.clone());
            }
            for (sender, frames) in by_sender {
                let index = if sender == GATEWAY.0 { PORTS } else { usize::from(sender[5]) };
                prop_assert!(is_subsequence(&frames, &sent[index]));
                prop_assert!(index != port);
                prop_assert!(index == PORTS || options.peer_traffic);
                if index < PORTS {
                    from_devices[port] += frames.len() as u64;
                }
            }

            let bytes = |frames: &[Vec<u8>]| frames.iter().map(|frame| frame.len() as u64).sum();
            let sent_bytes: u64 = bytes(&sent[port]);
            prop_assert_eq!(counters.from_device.frames, sent[port].len() as u64);
            prop_assert_eq!(counters.from_device.bytes, sent_bytes);
            prop_assert_eq!(counters.to_device.frames, world.at_port[port].len() as u64);
        }

        if !options.peer_traffic {
            // Then each frame has one way only, and the sums are exact.
            for (port, &addressed) in for_port.iter().enumerate() {
                let counters = switch.counters(port).unwrap();
                let accounted = world.at_gateway[port].len() as u64
                    + counters.to_device.frames
                    + counters.drops.total();
                prop_assert_eq!(counters.from_device.frames + addressed, accounted);
                prop_assert_eq!(counters.from_switch.frames, addressed);
                let arrived = world.at_gateway[port].len() as u64;
                prop_assert!(counters.to_switch.frames >= arrived);
                prop_assert!(counters.to_switch.frames <= counters.from_device.frames);
            }
        }
    }

    #[test]
    fn a_device_is_never_given_more_than_its_fifo_holds(
        sizes in vec(20..=FRAME_BYTES_MAX, 1..100),
        pauses in vec(0..300u64, 100),
    ) {
        let mut port = PortOptions::default();
        port.downlink.queue_bytes_max = usize::MAX;
        let flight = FlightOptions::LAN9118;
        let mut switch = Switch::new(
            SwitchOptions { gateway: GATEWAY, seed: 1, peer_traffic: false, port },
            PORTS,
        );
        switch.attach(0, Some(mac(0))).unwrap();
        let mut world = World {
            at_gateway: vec![Vec::new(); PORTS],
            at_port: vec![Vec::new(); PORTS],
            ..World::default()
        };
        for (number, (&bytes, pause)) in (0..).zip(sizes.iter().zip(pauses)) {
            switch.receive_from_gateway(frame(GATEWAY, mac(0), bytes, number), world.now);
            let end = world.now + Duration::from_micros(pause);
            world.run_until(&mut switch, end);
        }
        world.run_until(&mut switch, NetworkTime::from_millis(1_000_000));
        let arrived = &world.at_port[0];
        prop_assert_eq!(arrived.len(), sizes.len());
        // A device that reads only when nothing has come for as long as
        // the switch waits.
        let (mut held, mut last) = (0, NetworkTime::ZERO);
        for (at, frame) in arrived {
            if at.since(last) >= flight.quiet {
                held = 0;
            }
            held += (frame.len() + 4).next_multiple_of(4);
            last = *at;
            prop_assert!(held <= flight.bytes_max);
        }
        prop_assert_eq!(switch.counters(0).unwrap().drops.get(DropReason::DownlinkQueueFull), 0);
    }
}
