//! The counters of the firmware, which are read off its frames: compiled from
//! the firmware's source, as they need nothing of a board.

// Of another workspace, whose packages are for boards.
#[path = "../../../firmware/zfl-firmware/src/meter.rs"]
mod firmware;

use firmware::{Counters, Tally};

use crate::input::Input;

/// Of Ethernet.
const HEADER_BYTES: usize = 14;
/// Where the address is that a packet goes to.
const DESTINATION: usize = HEADER_BYTES + 16;

/// Frames one after another; the first byte of each says which way it goes.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut tally = Tally::default();
    let (mut frames, mut sum) = ([0, 0], [0, 0]);
    while !input.is_empty() {
        let is_sent = input.byte() & 1 == 1;
        let frame = input.block();
        frames[usize::from(is_sent)] += 1;
        sum[usize::from(is_sent)] += frame.len() as u64;
        let before = tally.counters();
        if is_sent {
            sent(&mut tally, frame);
        } else {
            tally.received(frame);
        }
        only_one_way_has_counted(before, tally.counters(), is_sent);
    }
    let counted = tally.counters();
    assert_eq!([counted.frames_in, counted.frames_out], frames);
    assert_eq!([counted.bytes_in, counted.bytes_out], sum);
    assert!(counted.segments_in <= counted.frames_in);
    assert!(counted.segments_out <= counted.frames_out);
    assert!(counted.segments_retransmitted <= counted.segments_out);
}

/// A frame that goes out twice without another in between is sent again the
/// second time, unless it takes no place in its stream.
fn sent(tally: &mut Tally, frame: &[u8]) {
    let before = tally.counters();
    tally.sent(frame);
    let once = tally.counters();
    let is_segment = once.segments_out > before.segments_out;
    let is_again = once.segments_retransmitted > before.segments_retransmitted;
    assert!(is_segment || !is_again);
    // A place for a connection that has none yet looks as if it had one of port
    // 0 to port 0 of address 0, which no stack makes.
    let ports = HEADER_BYTES + usize::from(frame.get(HEADER_BYTES).unwrap_or(&0) & 15) * 4;
    let has_ports = [ports, DESTINATION]
        .iter()
        .any(|at| frame.get(*at..at + 4) != Some(&[0; 4]));
    if is_again && has_ports {
        // So it would be for a meter that has seen nothing else.
        let mut other = Tally::default();
        other.sent(frame);
        assert_eq!(other.counters().segments_retransmitted, 0);
        other.sent(frame);
        assert_eq!(other.counters().segments_retransmitted, 1);
    }
}

fn only_one_way_has_counted(before: Counters, after: Counters, is_sent: bool) {
    let out = |counters: Counters| Counters {
        frames_in: 0,
        bytes_in: 0,
        segments_in: 0,
        ..counters
    };
    let into = |counters: Counters| Counters {
        frames_in: counters.frames_in,
        bytes_in: counters.bytes_in,
        segments_in: counters.segments_in,
        ..Counters::default()
    };
    let unchanged = if is_sent { into } else { out };
    assert_eq!(unchanged(before), unchanged(after));
}
