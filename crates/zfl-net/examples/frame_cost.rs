//! What a frame costs in the switch: nanoseconds each way, without the system
//! calls that move it.
//!
//! ```text
//! cargo run --release --package zfl-net --example frame_cost
//! ```
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a tool for developers"
)]

use std::time::{Duration, Instant};

use zfl_net::MacAddress;
use zfl_net::switch::{PortOptions, Switch, SwitchOptions};
use zfl_net::time::NetworkTime;

const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const DEVICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const FRAMES: u32 = 2_000_000;

/// A TCP segment with 1,460 bytes, or one that acknowledges.
fn segment(to_device: bool, number: u32, is_data: bool) -> Vec<u8> {
    let payload_bytes = if is_data { 1460 } else { 0 };
    let mut frame = vec![0; 54 + payload_bytes];
    let (source, destination) = match to_device {
        true => (GATEWAY, DEVICE),
        false => (DEVICE, GATEWAY),
    };
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    let packet_bytes = 40 + payload_bytes as u16;
    frame[16..18].copy_from_slice(&packet_bytes.to_be_bytes());
    frame[23] = 6;
    let (at_source, at_destination) = if to_device { (1, 2) } else { (2, 1) };
    (frame[29], frame[33]) = (at_source, at_destination);
    (frame[35], frame[37]) = (at_source, at_destination);
    let field = if is_data { 38..42 } else { 42..46 };
    frame[field].copy_from_slice(&(number * 1460).to_be_bytes());
    (frame[46], frame[47]) = (0x50, 0x10);
    frame
}

fn main() {
    let mut port = PortOptions::default();
    port.downlink.flight = None;
    port.downlink.link.rate = zfl_net::link::LinkRate::UNLIMITED;
    let options = SwitchOptions {
        gateway: GATEWAY,
        seed: 1,
        peer_traffic: false,
        port,
    };
    let mut switch = Switch::new(options, 1);
    switch.attach(0, Some(DEVICE)).unwrap();
    let (mut down, mut up) = (Duration::ZERO, Duration::ZERO);
    for number in 0..FRAMES {
        let now = NetworkTime::from_micros(u64::from(number));
        let (data, answer) = (segment(true, number, true), segment(false, number, false));
        let begin = Instant::now();
        switch.receive_from_gateway(data, now);
        let handed = switch.pop(0, now);
        let middle = Instant::now();
        switch.receive(0, answer, now);
        let arrived = switch.take_for_gateway();
        up += middle.elapsed();
        down += middle - begin;
        assert!(handed.is_some() && arrived.is_some());
    }
    for (way, time) in [("to the device", down), ("from the device", up)] {
        let each = time.as_nanos() as f64 / f64::from(FRAMES);
        println!("{way:<16} {each:6.1} ns a frame");
    }
}
