//! The gateway and its TCP/IP stack under arbitrary frames of a device, with a
//! clock of its own: it answers the device alone, holds a bounded number of
//! connections, and none for ever.

use std::net::Ipv4Addr;
use std::time::Duration;

use zfl_net::MacAddress;
use zfl_net::frame::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, HEADER_BYTES};
use zfl_net::gateway::GatewayOptions;
use zfl_net::gateway::lone::LoneGateway;
use zfl_net::link::Probability;
use zfl_net::switch::PortOptions;
use zfl_net::time::NetworkTime;

use crate::input::Input;
use crate::packet::{ARP, IP_BYTES, IPV4, Segment, half, pseudo, sum, word};

const DEVICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const OPTIONS: GatewayOptions = GatewayOptions {
    connections_per_device_max: 3,
    buffer_bytes: 2048,
    connect_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(120),
};
/// Steps that connect, which the system pays for.
const CONNECTS_MAX: usize = 4;
/// Frames that a call may answer with: what the buffers hold in segments that
/// are as small as can be asked for, and resets.
const FRAMES_MAX: usize = 3 * 2048 + 64;
/// Times that it is asked for what is left.
const CALLS_MAX: usize = 10_000;
/// Ports of the device, so that segments meet their connections.
const DEVICE_PORTS: [u16; 4] = [80, 40_000, 40_001, 0];

/// The first byte says whether the link loses frames, and each step begins with
/// one that says what is done.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut bench = Bench::new(input.byte() & 1 == 1);
    while !input.is_empty() {
        bench.step(&mut input);
    }
    bench.drain();
}

/// What the device knows of one of its ports' connection.
#[derive(Clone, Copy, Default)]
struct Peer {
    port: u16,
    /// What is expected next of the device, and of the gateway.
    sequence: u32,
    acknowledged: u32,
}

struct Bench {
    gateway: LoneGateway,
    now: NetworkTime,
    peers: [Peer; DEVICE_PORTS.len()],
    received: u64,
    connects: usize,
}

impl Bench {
    fn new(loses: bool) -> Self {
        let mut port = PortOptions::default();
        if loses {
            // Its stack is in haste then.
            port.uplink.link.loss = Probability::new(0.1);
        }
        Self {
            gateway: LoneGateway::new(OPTIONS, DEVICE, &port).expect("sockets of the system"),
            now: NetworkTime::ZERO,
            peers: Default::default(),
            received: 0,
            connects: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.byte();
        match step & 7 {
            0 => {
                let frame = input.block().to_vec();
                self.send(frame);
            }
            1..=3 => {
                let frame = self.segment(input);
                self.send(frame);
            }
            4 => {
                let passed = Duration::from_millis(u64::from(input.word()));
                self.now = self.now + passed;
            }
            5 if self.connects < CONNECTS_MAX => {
                self.connects += 1;
                self.gateway.connect().expect("the listener is there");
            }
            6 => {
                self.gateway.exchange(input.block());
            }
            7 if step >> 3 == 0 => self.gateway.hang_up(),
            7 if step >> 3 == 1 => self.gateway.finish(),
            _ => {
                let frame = self.arp(input.byte());
                self.send(frame);
            }
        }
        self.service();
    }

    /// As the switch gives frames: with a header, and none too long.
    fn send(&mut self, mut frame: Vec<u8>) {
        frame.resize(frame.len().clamp(HEADER_BYTES, FRAME_BYTES_MAX), 0);
        self.received += 1;
        self.gateway.receive(frame, self.now);
    }

    fn service(&mut self) {
        let frames = self.gateway.service(self.now).expect("the poller works");
        assert!(frames.len() <= FRAMES_MAX, "{} frames", frames.len());
        for frame in frames {
            self.is_for_device(&frame);
        }
        let connections = self.gateway.connections();
        assert!(connections <= OPTIONS.connections_per_device_max);
        let (ignored, counters) = self.gateway.counters();
        assert!(ignored <= self.received);
        assert!(counters.to_device as usize <= self.connects);
        let begun = counters.from_device + counters.to_device;
        assert!(counters.from_device <= self.received);
        assert!(connections as u64 <= begun);
    }

    fn addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        let plan = self.gateway.plan();
        (plan.gateway(), plan.device(0).expect("a device"))
    }

    /// A frame is well-formed, of the gateway, for the device.
    fn is_for_device(&mut self, frame: &[u8]) {
        assert!((FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame.len()));
        assert_eq!(frame[..6], DEVICE.0);
        assert_eq!(frame[6..12], self.gateway.mac().0);
        let (gateway, device) = self.addresses();
        let kind = half(frame, 12);
        let packet = &frame[HEADER_BYTES..];
        if kind == ARP {
            assert_eq!(packet[14..18], gateway.octets());
            assert_eq!(packet[24..28], device.octets());
            return;
        }
        assert_eq!(kind, IPV4);
        let packet = &packet[..usize::from(half(packet, 2))];
        assert_eq!(packet[0], 0x45);
        assert_eq!(sum(&packet[..IP_BYTES], 0), 0xffff);
        assert_eq!(packet[12..16], gateway.octets());
        assert_eq!(packet[16..20], device.octets());
        assert_eq!(packet[9], 6, "TCP and nothing else");
        let segment = &packet[IP_BYTES..];
        assert_eq!(sum(segment, pseudo(packet)), 0xffff);
        let (from, to) = (half(segment, 0), half(segment, 2));
        let header_bytes = usize::from(segment[12] >> 4) * 4;
        let length = segment[header_bytes..].len() as u32 + u32::from(segment[13] & 1);
        let length = length + u32::from(segment[13] >> 1 & 1);
        let place = DEVICE_PORTS.iter().position(|port| *port == to);
        if let Some(peer) = place.and_then(|place| self.peers.get_mut(place)) {
            *peer = Peer {
                port: from,
                sequence: word(segment, 8),
                acknowledged: word(segment, 4).wrapping_add(length),
            };
        }
    }

    /// A segment of the device with checksums that are right: near what the
    /// gateway expects, or not.
    fn segment(&self, input: &mut Input<'_>) -> Vec<u8> {
        let (how, flags) = (input.byte(), input.byte());
        let place = usize::from(how & 3);
        let peer = self.peers[place];
        // Of a few bytes either way, or of many.
        let shift = u32::from(how >> 4 & 3) * 8;
        let near = |offset: u8| (i32::from(offset as i8) as u32) << shift;
        let sequence = peer.sequence.wrapping_add(near(input.byte()));
        let acknowledged = peer.acknowledged.wrapping_add(near(input.byte()));
        let option_bytes = usize::from(how >> 6) * 4;
        let (gateway, device) = self.addresses();
        let to = match how & 0x0c {
            0 => 8080,
            _ => peer.port,
        };
        let segment = Segment {
            source: (device, DEVICE_PORTS[place]),
            destination: (gateway, to),
            sequence,
            acknowledgement: acknowledged,
            flags,
        };
        let packet = segment.packet(option_bytes, input);
        self.framed(IPV4, &packet)
    }

    /// An ARP packet of the device, or nearly one.
    fn arp(&self, how: u8) -> Vec<u8> {
        let (gateway, device) = self.addresses();
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, how & 3];
        packet.extend(DEVICE.0);
        packet.extend(if how & 4 == 0 { device } else { gateway }.octets());
        packet.extend([0; 6]);
        packet.extend(if how & 8 == 0 { gateway } else { device }.octets());
        self.framed(ARP, &packet)
    }

    fn framed(&self, kind: u16, packet: &[u8]) -> Vec<u8> {
        let mac = self.gateway.mac();
        [&mac.0, &DEVICE.0, kind.to_be_bytes().as_slice(), packet].concat()
    }

    /// Nothing more comes: all connections end, as every wait does.
    fn drain(&mut self) {
        self.gateway.hang_up();
        let mut calls = 0;
        self.service();
        while let Some(at) = self.gateway.wake_at() {
            calls += 1;
            assert!(calls < CALLS_MAX, "it is never done");
            self.now = self.now.max(at);
            self.service();
        }
        assert_eq!(self.gateway.connections(), 0);
    }
}
