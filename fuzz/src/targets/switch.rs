//! The switch under arbitrary frames and a clock of its own: every frame is
//! accounted for, and none reaches whom it should not.

use std::time::Duration;

use zfl_net::counters::Traffic;
use zfl_net::frame::{FRAME_BYTES_MAX, HEADER_BYTES};
use zfl_net::link::{BurstLoss, LinkOptions, LinkRate, Outage, OutageCycle, Probability};
use zfl_net::switch::{PortOptions, Switch, SwitchOptions};
use zfl_net::time::NetworkTime;
use zfl_net::{DropReason, MacAddress, PortCounters};

use crate::input::Input;
use crate::packet::{IPV4, Segment};

const PORTS: usize = 3;
/// Stands for the gateway, where frames come from.
const GATEWAY_PORT: usize = 0xff;
const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xff]);
/// Times that the ports are asked for what they have left.
const DRAIN_CALLS_MAX: usize = 100_000;

/// What went in and came out, as seen from outside.
#[derive(Default)]
struct Seen {
    from_device: [(u64, u64); PORTS],
    to_device: [(u64, u64); PORTS],
    /// Frames of the gateway, and copies of frames to a group, for a port.
    copies: u64,
    to_gateway: u64,
}

struct Bench {
    switch: Switch,
    peer_traffic: bool,
    now_us: u64,
    /// The address of each port's device, once it is known.
    addresses: [Option<MacAddress>; PORTS],
    seen: Seen,
}

/// The first byte says how the switch is set up, and each step begins with one
/// that says what is done and at which port.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let setup = input.byte();
    let mut bench = Bench::new(setup, &mut input);
    while !input.is_empty() {
        bench.step(&mut input);
    }
    bench.drain();
    bench.frames_are_accounted_for();
}

fn address(port: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, port as u8])
}

fn is_group(frame: &[u8]) -> bool {
    frame[0] & 1 == 1
}

impl Bench {
    fn new(setup: u8, input: &mut Input<'_>) -> Self {
        let peer_traffic = setup & 1 == 1;
        let mut port = PortOptions::default();
        if setup & 2 == 2 {
            port.uplink.queue_bytes_max = 3000;
            port.downlink.queue_bytes_max = 3000;
        }
        if setup & 8 == 8 {
            port.uplink.link = link(input);
            port.downlink.link = link(input);
        }
        let options = SwitchOptions {
            gateway: GATEWAY,
            seed: u64::from(setup),
            peer_traffic,
            port,
        };
        let mut switch = Switch::new(options, PORTS);
        let addresses = std::array::from_fn(|port| (setup & 4 == 0).then(|| address(port)));
        for (port, address) in addresses.iter().enumerate() {
            let attached = switch.attach(port, *address);
            attached.expect("an address of its own");
        }
        Self {
            addresses,
            switch,
            peer_traffic,
            now_us: 0,
            seen: Seen::default(),
        }
    }

    fn now(&self) -> NetworkTime {
        NetworkTime::from_micros(self.now_us)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.byte();
        // One port more than there are.
        let port = usize::from(step >> 6);
        match step & 7 {
            0 => {
                let frame = frame(port, input);
                self.send(port, frame);
            }
            1 | 2 => {
                let from = if step & 7 == 1 { port } else { GATEWAY_PORT };
                let frame = match step & 8 {
                    0 => frame(from, input),
                    _ => segment(from, input),
                };
                if from == GATEWAY_PORT {
                    self.send_from_gateway(frame);
                } else {
                    self.send(from, frame);
                }
            }
            3 => self.now_us += u64::from(input.word()),
            4 => {
                self.switch.poll(port, self.now());
                self.take_for_gateway();
            }
            5 => while self.pop(port) {},
            6 => self.attach(port, input.byte()),
            _ => {
                let bytes = FRAME_BYTES_MAX + 1 + usize::from(input.byte());
                self.switch.receive_oversize(port, bytes);
                self.count_from(port, bytes);
            }
        }
        assert!(self.switch.take_touched().is_none_or(|port| port < PORTS));
    }

    fn count_from(&mut self, port: usize, bytes: usize) {
        if let Some((frames, sum)) = self.seen.from_device.get_mut(port) {
            *frames += 1;
            *sum += bytes as u64;
        }
    }

    fn send(&mut self, port: usize, frame: Vec<u8>) {
        self.count_from(port, frame.len());
        self.learn(port, &frame);
        self.switch.receive(port, frame, self.now());
        self.take_for_gateway();
    }

    fn send_from_gateway(&mut self, frame: Vec<u8>) {
        let before = self.totals();
        let is_group = frame.len() >= HEADER_BYTES && is_group(&frame);
        let has_header = frame.len() >= HEADER_BYTES;
        let attached = (0..PORTS).filter(|port| self.switch.is_attached(*port));
        let attached = attached.count() as u64;
        self.switch.receive_from_gateway(frame.clone(), self.now());
        if is_group {
            self.seen.copies += attached;
        } else if has_header {
            // For one port or for none, which shows in what is counted and in
            // what comes out when all has been waited for.
            let owner = (0..PORTS).find(|port| self.owns(*port, &frame));
            self.seen.copies += u64::from(owner.is_some());
        }
        assert_eq!(self.totals().0, before.0, "it is no frame of a device");
    }

    /// The first frame of a device tells its address, unless it is another's.
    fn learn(&mut self, port: usize, frame: &[u8]) {
        if !self.switch.is_attached(port)
            || self.addresses[port].is_some()
            || !(HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frame.len())
        {
            return;
        }
        let Some(source) = frame[6..].first_chunk::<6>() else {
            return;
        };
        let source = MacAddress(*source);
        let taken = source == GATEWAY || self.addresses.contains(&Some(source));
        if !source.is_group() && !taken {
            self.addresses[port] = Some(source);
        }
    }

    /// Whether a frame is for a port's device.
    fn owns(&self, port: usize, frame: &[u8]) -> bool {
        self.addresses[port].is_some_and(|address| frame[..6] == address.0)
    }

    fn attach(&mut self, port: usize, how: u8) {
        // In place of the one before, in any case.
        if let Some(address) = self.addresses.get_mut(port) {
            *address = None;
        }
        let wanted = match how & 3 {
            0 => {
                self.switch.detach(port);
                return;
            }
            1 => Some(address(usize::from(how >> 6))),
            2 if how & 4 == 0 => Some(GATEWAY),
            2 => Some(MacAddress::BROADCAST),
            _ => None,
        };
        let can = port < PORTS
            && wanted.is_none_or(|address| {
                let taken = address == GATEWAY || self.addresses.contains(&Some(address));
                !address.is_group() && !taken
            });
        assert_eq!(self.switch.attach(port, wanted).is_ok(), can);
        assert_eq!(self.switch.is_attached(port), can);
        if can {
            self.addresses[port] = wanted;
        }
    }

    /// What has come for the gateway comes from whom it says.
    fn take_for_gateway(&mut self) {
        while let Some((port, frame)) = self.switch.take_for_gateway() {
            assert!((HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frame.len()));
            assert!(is_group(&frame) || frame[..6] == GATEWAY.0);
            assert!(frame[6] & 1 == 0, "a group has sent something");
            assert!(frame[6..12] != GATEWAY.0);
            self.seen.to_gateway += 1;
            if is_group(&frame) && self.peer_traffic {
                let others = (0..PORTS).filter(|to| *to != port && self.switch.is_attached(*to));
                self.seen.copies += others.count() as u64;
            }
        }
    }

    fn pop(&mut self, port: usize) -> bool {
        let now = self.now();
        let front = self.switch.front(port, now).map(<[u8]>::to_vec);
        let is_due = self.switch.poll_at(port).is_some_and(|at| at <= now);
        let popped = self.switch.pop(port, now);
        assert_eq!(front, popped);
        let Some(frame) = popped else {
            return false;
        };
        assert!(is_due, "nothing was due");
        let (frames, bytes) = &mut self.seen.to_device[port];
        *frames += 1;
        *bytes += frame.len() as u64;
        assert!(is_group(&frame) || self.owns(port, &frame));
        if !self.peer_traffic {
            assert_eq!(frame[6..12], GATEWAY.0, "a device reached another");
        }
        true
    }

    /// Waits until nothing is on its way.
    fn drain(&mut self) {
        let mut calls = 0;
        while let Some(at) = (0..PORTS)
            .filter_map(|port| self.switch.poll_at(port))
            .min()
        {
            calls += 1;
            assert!(calls < DRAIN_CALLS_MAX, "it is never done");
            self.now_us = self.now_us.max(at.as_nanos().div_ceil(1000));
            for port in 0..PORTS {
                self.switch.poll(port, self.now());
                self.take_for_gateway();
                while self.pop(port) {}
                let next = self.switch.uplink_at(port);
                assert!(
                    next.is_none_or(|at| at > self.now()),
                    "uplink_at({port}) lies"
                );
            }
        }
    }

    fn counters(&self) -> impl Iterator<Item = PortCounters> {
        (0..PORTS).filter_map(|port| self.switch.counters(port))
    }

    /// Frames that came from devices, and frames that were dropped.
    fn totals(&self) -> (u64, u64) {
        self.counters().fold((0, 0), |(frames, drops), counters| {
            (
                frames + counters.from_device.frames,
                drops + counters.drops.total(),
            )
        })
    }

    fn frames_are_accounted_for(&mut self) {
        let is = |counted: &Traffic, (frames, bytes): (u64, u64)| {
            assert_eq!((counted.frames, counted.bytes), (frames, bytes));
        };
        let entered: u64 = self
            .counters()
            .map(|counters| counters.from_switch.frames)
            .sum();
        assert!(entered >= self.seen.copies);
        assert!(self.peer_traffic || entered == self.seen.copies);
        let mut out = self.seen.to_gateway;
        for (port, counters) in self.counters().enumerate() {
            is(&counters.from_device, self.seen.from_device[port]);
            is(&counters.to_device, self.seen.to_device[port]);
            out += counters.to_device.frames;
            let drops = &counters.drops;
            let sum: u64 = DropReason::ALL.map(|reason| drops.get(reason)).iter().sum();
            assert_eq!(drops.total(), sum);
            segments_are_counted(&counters);
        }
        for port in 0..PORTS {
            let times = self.switch.take_round_trips(port);
            for times in [times.from_device, times.from_switch] {
                assert!(times.min_ns <= times.max_ns);
                assert!(
                    times.sum_ns >= times.max_ns && times.count <= times.sum_ns.max(times.count)
                );
                assert!(times.max_ns <= self.now().as_nanos());
            }
            assert_eq!(self.switch.take_round_trips(port), Default::default());
        }
        let (from_devices, dropped) = self.totals();
        let links = |counters: PortCounters| [counters.uplink, counters.downlink];
        let twice = self.counters().flat_map(links).map(|link| link.duplicated);
        let twice: u64 = twice.sum();
        assert_eq!(from_devices + self.seen.copies + twice, out + dropped);
    }
}

/// A frame of the input, with the addresses that its first byte says.
fn frame(from: usize, input: &mut Input<'_>) -> Vec<u8> {
    let how = input.byte();
    let mut frame = input.block().to_vec();
    if how & 4 == 4 {
        // As a real one: long enough.
        frame.resize(frame.len().max(60), 0);
    }
    if frame.len() >= HEADER_BYTES {
        match how & 3 {
            0 => frame[..6].copy_from_slice(&GATEWAY.0),
            1 => frame[..6].copy_from_slice(&MacAddress::BROADCAST.0),
            2 => frame[..6].copy_from_slice(&address(usize::from(how >> 6)).0),
            _ => {}
        }
        match from {
            GATEWAY_PORT => frame[6..12].copy_from_slice(&GATEWAY.0),
            from if how & 8 == 0 => frame[6..12].copy_from_slice(&address(from).0),
            _ => {}
        }
    }
    frame
}

/// What is counted of TCP is a part of what is counted of frames.
fn segments_are_counted(counters: &PortCounters) {
    for (link, entered, left) in [
        (counters.uplink, counters.from_device, counters.to_switch),
        (counters.downlink, counters.from_switch, counters.to_device),
    ] {
        assert!(left.frames <= entered.frames + link.duplicated);
        assert!(link.duplicated <= entered.frames);
        assert!(link.corrupted <= entered.frames && link.clamped <= entered.frames);
    }
    assert!(counters.segments_to_device <= counters.to_device.frames);
    for (tcp, frames, acknowledgements) in [
        (
            counters.tcp_from_device,
            counters.from_device,
            counters.to_device,
        ),
        (
            counters.tcp_from_switch,
            counters.from_switch,
            counters.to_switch,
        ),
    ] {
        assert!(tcp.segments <= frames.frames);
        assert!(tcp.data_segments <= tcp.segments);
        assert!(tcp.retransmissions <= tcp.segments);
        assert!(tcp.resets <= tcp.segments);
        assert!(tcp.data_segments <= tcp.payload_bytes && tcp.payload_bytes <= frames.bytes);
        assert!(tcp.new_payload_bytes <= tcp.payload_bytes);
        assert!(tcp.duplicate_acknowledgements <= acknowledgements.frames);
    }
    let opening = &counters.at_opening;
    assert!(opening.from_device.frames <= counters.from_device.frames);
    assert!(opening.segments_from_device <= counters.tcp_from_device.segments);
    assert!(opening.segments_to_device <= counters.segments_to_device);
}

/// A segment between a device and the gateway, on one of two connections, near
/// the beginning of its stream.
fn segment(from: usize, input: &mut Input<'_>) -> Vec<u8> {
    let (how, flags) = (input.byte(), input.byte());
    let device = |port: usize| {
        (
            [192, 0, 2, 10 + port as u8].into(),
            1024 + u16::from(how & 1),
        )
    };
    let gateway = ([192, 0, 2, 2].into(), 8080);
    let (source, destination, addresses) = if from == GATEWAY_PORT {
        let to = usize::from(how >> 6);
        (gateway, device(to), [address(to).0, GATEWAY.0])
    } else {
        (device(from), gateway, [GATEWAY.0, address(from).0])
    };
    let segment = Segment {
        source,
        destination,
        // On both sides of where numbers begin anew.
        sequence: u32::from(input.byte()).wrapping_sub(64),
        acknowledgement: u32::from(input.byte()).wrapping_sub(64),
        flags,
    };
    let packet = segment.packet(0, input);
    [addresses.concat(), IPV4.to_be_bytes().to_vec(), packet].concat()
}

/// A link that is as bad as the input says.
fn link(input: &mut Input<'_>) -> LinkOptions {
    let how = input.byte();
    let rate = match input.word() {
        0 => LinkRate::UNLIMITED,
        rate => LinkRate::bits_per_second(u64::from(rate) << (how & 15)),
    };
    let mut link = LinkOptions::wire(rate, usize::from(input.word()));
    let chance = |input: &mut Input<'_>| Probability::new(f64::from(input.byte()) / 255.0);
    let time = |input: &mut Input<'_>| Duration::from_micros(u64::from(input.word()));
    link.delay = time(input);
    link.jitter = time(input).min(link.delay);
    link.reorder = how & 0x10 == 0x10;
    link.loss = chance(input);
    link.duplicate = chance(input);
    link.corrupt = chance(input);
    link.mtu_bytes = 68 + usize::from(input.word() % 1433);
    if how & 0x20 == 0x20 {
        link.burst_loss = Some(BurstLoss {
            begin: chance(input),
            end: chance(input),
            loss: chance(input),
        });
    }
    if how & 0x40 == 0x40 {
        let window = Outage {
            from: time(input),
            lasts: time(input),
        };
        link.outages.windows.push(window);
    }
    if how & 0x80 == 0x80 {
        let every = time(input) + Duration::from_millis(1);
        let lasts = time(input).min(every - Duration::from_micros(1));
        link.outages.cycle = Some(OutageCycle { every, lasts });
    }
    link
}
