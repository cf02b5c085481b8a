//! The counters of the firmware, which are read off its frames, beside those of
//! the switch: compiled from the firmware's source, as they need nothing of a
//! board.

// Of another workspace, whose packages are for boards.
#[path = "../../../firmware/zfl-firmware/src/meter.rs"]
mod firmware;

use firmware::Tally;
use zfl_net::frame::{FRAME_BYTES_MAX, HEADER_BYTES};
use zfl_net::switch::{PortOptions, Switch, SwitchOptions};
use zfl_net::time::NetworkTime;
use zfl_net::{MacAddress, PortCounters};

use crate::input::Input;
use crate::packet::{IPV4, Segment};

const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xff]);
const DEVICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
/// Between frames: the link has passed the one before.
const PAUSE_MS: u64 = 100;
/// Where a packet's source is, which for a device is always the same, and its
/// destination.
const SOURCE: usize = HEADER_BYTES + 12;
const DESTINATION: usize = HEADER_BYTES + 16;
/// The firmware follows no more connections.
const FLOWS_MAX: usize = 8;

/// Frames one after another; the first byte of each says which way it goes.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut tally = Tally::default();
    let mut switch = Switch::new(
        SwitchOptions {
            gateway: GATEWAY,
            seed: 1,
            peer_traffic: false,
            port: PortOptions::default(),
        },
        1,
    );
    switch
        .attach(0, Some(DEVICE))
        .expect("an address of its own");
    let mut now_ms = 0;
    let mut flows = Vec::new();
    while !input.is_empty() {
        let how = input.byte();
        let is_sent = how & 1 == 1;
        let addresses = match is_sent {
            true => [GATEWAY.0, DEVICE.0],
            false => [DEVICE.0, GATEWAY.0],
        };
        let frame = frame(how, addresses, &mut input);
        now_ms += PAUSE_MS;
        let now = NetworkTime::from_millis(now_ms);
        if is_sent {
            let Some(flow) = flow(&frame) else {
                continue;
            };
            if !flows.contains(&flow) {
                if flows.len() == FLOWS_MAX {
                    continue;
                }
                flows.push(flow);
            }
            tally.sent(&frame);
            switch.receive(0, frame, now);
            while switch.take_for_gateway().is_some() {}
        } else {
            tally.received(&frame);
            switch.receive_from_gateway(frame, now);
            let later = NetworkTime::from_millis(now_ms + PAUSE_MS / 2);
            assert!(switch.pop(0, later).is_some());
        }
        let counters = switch.counters(0).expect("a port");
        both_have_counted(&tally, &counters);
    }
}

/// A frame as the input says, of which the device may be the sender.
fn frame(how: u8, addresses: [[u8; 6]; 2], input: &mut Input<'_>) -> Vec<u8> {
    let rest = if how & 2 == 2 {
        let (port, flags) = (u16::from(input.byte() & 3), input.byte());
        let segment = Segment {
            source: ([192, 0, 2, 10].into(), 1024 + port),
            destination: ([192, 0, 2, 2].into(), 8080),
            sequence: u32::from(input.byte()).wrapping_sub(64),
            acknowledgement: 0,
            flags,
        };
        [&IPV4.to_be_bytes(), segment.packet(0, input).as_slice()].concat()
    } else {
        input.block().to_vec()
    };
    let mut frame = [addresses.concat(), rest].concat();
    frame.resize(frame.len().clamp(HEADER_BYTES, FRAME_BYTES_MAX), 0);
    if let Some(source) = frame.get_mut(SOURCE..SOURCE + 4) {
        source.copy_from_slice(&[192, 0, 2, 10]);
    }
    frame
}

/// What tells the connections of a device apart. `None` for a place without a
/// connection: port 0 to port 0 of address 0, which no stack makes.
fn flow(frame: &[u8]) -> Option<[Vec<u8>; 2]> {
    let ports = HEADER_BYTES + usize::from(frame.get(HEADER_BYTES).unwrap_or(&0) & 15) * 4;
    let flow = [ports, DESTINATION].map(|at| frame.get(at..at + 4).unwrap_or_default().to_vec());
    (flow != [[0; 4], [0; 4]]).then_some(flow)
}

fn both_have_counted(tally: &Tally, switch: &PortCounters) {
    let device = tally.counters();
    assert_eq!(u64::from(device.frames_out), switch.from_device.frames);
    assert_eq!(device.bytes_out, switch.from_device.bytes);
    assert_eq!(u64::from(device.frames_in), switch.to_device.frames);
    assert_eq!(device.bytes_in, switch.to_device.bytes);
    assert_eq!(u64::from(device.segments_in), switch.segments_to_device);
    let tcp = &switch.tcp_from_device;
    assert_eq!(u64::from(device.segments_out), tcp.segments);
    assert_eq!(
        u64::from(device.segments_retransmitted),
        tcp.retransmissions
    );
}
