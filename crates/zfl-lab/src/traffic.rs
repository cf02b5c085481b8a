//! What passed between a device and the network, as rows of the records.
//!
//! Two tell of it: the network, which sees every frame of a local fleet, and the
//! device, which says in each update what it has counted since it booted. A row
//! has both, and for the device's figures those of the network at the same
//! moment: when the connection was opened that the update came by.

use std::time::Duration;

use zfl_net::counters::{Crossed, DropReason, Traffic};
use zfl_net::switch::PortRoundTrips;
use zfl_net::{PortCounters, RoundTrips, TcpCounters};
use zfl_proto::message::DeviceMetrics;

use crate::archive::{FleetRow, ReportRow, TrafficRow};

/// Frames of a device since its network began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Bytes towards the device.
    pub bytes_in: u64,
    /// Bytes from the device.
    pub bytes_out: u64,
    /// Frames towards the device.
    pub frames_in: u64,
    /// Frames from the device.
    pub frames_out: u64,
}

/// What was added. Who starts anew counts from 0.
fn added(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

impl Frames {
    pub(crate) const fn new(to_device: Traffic, from_device: Traffic) -> Self {
        Self {
            bytes_in: to_device.bytes,
            bytes_out: from_device.bytes,
            frames_in: to_device.frames,
            frames_out: from_device.frames,
        }
    }

    /// What a device says of itself.
    pub(crate) fn told(device: &DeviceMetrics) -> Self {
        Self {
            bytes_in: device.nic_bytes_in,
            bytes_out: device.nic_bytes_out,
            frames_in: u64::from(device.nic_frames_in),
            frames_out: u64::from(device.nic_frames_out),
        }
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            bytes_in: added(self.bytes_in, before.bytes_in),
            bytes_out: added(self.bytes_out, before.bytes_out),
            frames_in: added(self.frames_in, before.frames_in),
            frames_out: added(self.frames_out, before.frames_out),
        }
    }
}

/// All that a local network has seen of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its frames since the network began.
    pub frames: Frames,
    /// What the switch knows besides; `None` on a bridge, where the kernel moves
    /// the frames.
    pub wire: Option<Wire>,
}

/// What the switch knows of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Since the network began.
    pub counters: PortCounters,
    /// Since they were last asked for.
    pub round_trips: PortRoundTrips,
}

/// What a link's model drops by itself.
const BY_LINK: [DropReason; 3] = [DropReason::Lost, DropReason::Outage, DropReason::TooLarge];

impl TrafficRow {
    /// What was added between two moments. The round-trip times are those of
    /// `now`.
    pub(crate) fn between(before: &Seen, now: &Seen) -> Self {
        let row = Self::of_frames(&now.frames.since(&before.frames));
        let Some(Wire {
            counters,
            round_trips,
        }) = &now.wire
        else {
            return row;
        };
        let then = before.wire.unwrap_or_default().counters;
        // Of a part of the counters, how many more there are now.
        let more = |of: fn(&PortCounters) -> u64| Some(added(of(counters), of(&then)));
        let down = |of: fn(&TcpCounters) -> u64| {
            let (now, then) = (&counters.tcp_from_switch, &then.tcp_from_switch);
            Some(added(of(now), of(then)))
        };
        let up = |of: fn(&TcpCounters) -> u64| {
            let (now, then) = (&counters.tcp_from_device, &then.tcp_from_device);
            Some(added(of(now), of(then)))
        };
        let drops = |reason| added(counters.drops.get(reason), then.drops.get(reason));
        let queues = [
            drops(DropReason::DownlinkQueueFull),
            drops(DropReason::UplinkQueueFull),
        ];
        let down_of = |counters: &PortCounters, reason| counters.drops_to_device.get(reason);
        let links_down: u64 = BY_LINK
            .iter()
            .map(|reason| added(down_of(counters, *reason), down_of(&then, *reason)))
            .sum();
        let links: u64 = BY_LINK.into_iter().map(drops).sum();
        let all = added(counters.drops.total(), then.drops.total());
        let seconds = |of: fn(&PortCounters) -> Duration| {
            Some(of(counters).saturating_sub(of(&then)).as_secs_f64())
        };
        let (of_switch, of_device) = (&round_trips.from_switch, &round_trips.from_device);
        Self {
            nic_segments_in: more(|counters| counters.segments_to_device),
            nic_segments_out: up(|tcp| tcp.segments),
            switch_bytes_in: more(|counters| counters.to_switch.bytes),
            switch_bytes_out: more(|counters| counters.from_switch.bytes),
            switch_frames_in: more(|counters| counters.to_switch.frames),
            switch_frames_out: more(|counters| counters.from_switch.frames),
            switch_segments_out: down(|tcp| tcp.segments),
            data_segments_down: down(|tcp| tcp.data_segments),
            data_segments_up: up(|tcp| tcp.data_segments),
            retransmissions_down: down(|tcp| tcp.retransmissions),
            retransmissions_up: up(|tcp| tcp.retransmissions),
            duplicate_acks_down: down(|tcp| tcp.duplicate_acknowledgements),
            duplicate_acks_up: up(|tcp| tcp.duplicate_acknowledgements),
            goodput_bytes_down: down(|tcp| tcp.new_payload_bytes),
            goodput_bytes_up: up(|tcp| tcp.new_payload_bytes),
            resets_down: down(|tcp| tcp.resets),
            resets_up: up(|tcp| tcp.resets),
            host_rtt_down_ms_mean: mean_ms(of_switch),
            host_rtt_down_ms_min: ms(of_switch, of_switch.min_ns),
            host_rtt_down_ms_max: ms(of_switch, of_switch.max_ns),
            host_rtt_down_count: Some(of_switch.count),
            host_rtt_up_ms_mean: mean_ms(of_device),
            host_rtt_up_ms_min: ms(of_device, of_device.min_ns),
            host_rtt_up_ms_max: ms(of_device, of_device.max_ns),
            host_rtt_up_count: Some(of_device.count),
            drops_link_down: Some(links_down),
            drops_link_up: Some(links.saturating_sub(links_down)),
            drops_queue_down: Some(queues[0]),
            drops_queue_up: Some(queues[1]),
            drops_switch: Some(all.saturating_sub(links + queues.iter().sum::<u64>())),
            link_seconds_down: seconds(|counters| counters.downlink.busy),
            link_seconds_up: seconds(|counters| counters.uplink.busy),
            link_airtime_seconds_down: seconds(|counters| counters.downlink.airtime),
            link_airtime_seconds_up: seconds(|counters| counters.uplink.airtime),
            ..row
        }
    }

    /// Frames alone: of a bridge, or as a device tells them.
    pub(crate) fn of_frames(frames: &Frames) -> Self {
        Self {
            nic_bytes_in: frames.bytes_in,
            nic_bytes_out: frames.bytes_out,
            nic_frames_in: frames.frames_in,
            nic_frames_out: frames.frames_out,
            ..Self::default()
        }
    }

    /// Bytes of the frames that the device sent.
    pub(crate) const fn bytes_out(&self) -> u64 {
        self.nic_bytes_out
    }

    /// Bytes of the frames that it was handed.
    pub(crate) const fn bytes_in(&self) -> u64 {
        self.nic_bytes_in
    }
}

/// One of the times, where there are any.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a round")]
fn ms(round_trips: &RoundTrips, ns: u64) -> Option<f64> {
    (round_trips.count > 0).then_some(ns as f64 / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a round")]
fn mean_ms(round_trips: &RoundTrips) -> Option<f64> {
    let RoundTrips { count, sum_ns, .. } = round_trips;
    (*count > 0).then(|| *sum_ns as f64 / *count as f64 / 1e6)
}

impl FleetRow {
    /// The sums of all devices.
    pub(crate) fn of(devices: impl IntoIterator<Item = TrafficRow>) -> Self {
        let mut all = Self::default();
        for row in devices {
            let drops = [
                row.drops_link_down,
                row.drops_link_up,
                row.drops_queue_down,
                row.drops_queue_up,
                row.drops_switch,
            ];
            for (sum, value) in [
                (&mut all.nic_bytes_in, Some(row.nic_bytes_in)),
                (&mut all.nic_bytes_out, Some(row.nic_bytes_out)),
                (&mut all.nic_frames_in, Some(row.nic_frames_in)),
                (&mut all.nic_frames_out, Some(row.nic_frames_out)),
                (&mut all.segments_down, row.switch_segments_out),
                (&mut all.segments_up, row.nic_segments_out),
                (&mut all.retransmissions_down, row.retransmissions_down),
                (&mut all.retransmissions_up, row.retransmissions_up),
                (&mut all.drops, drops.into_iter().sum()),
            ] {
                if let Some(value) = value {
                    *sum.get_or_insert(0) += value;
                }
            }
        }
        all
    }
}

/// What was counted at a device's end since it booted, by the device or by the
/// switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    frames: Frames,
    segments_in: u64,
    segments_out: u64,
    retransmissions: u64,
}

impl Counted {
    fn told(device: &DeviceMetrics) -> Self {
        Self {
            frames: Frames::told(device),
            segments_in: u64::from(device.segments_in),
            segments_out: u64::from(device.segments_out),
            retransmissions: u64::from(device.segments_retransmitted),
        }
    }

    fn observed(crossed: &Crossed) -> Self {
        Self {
            frames: Frames::new(crossed.to_device, crossed.from_device),
            segments_in: crossed.segments_to_device,
            segments_out: crossed.segments_from_device,
            retransmissions: crossed.retransmissions_from_device,
        }
    }

    /// Whether this counts from a later start than `before`.
    const fn is_anew(&self, before: &Self) -> bool {
        self.frames.frames_out < before.frames.frames_out
    }

    fn since(&self, before: &Self) -> Self {
        if self.is_anew(before) {
            return *self;
        }
        Self {
            frames: self.frames.since(&before.frames),
            segments_in: added(self.segments_in, before.segments_in),
            segments_out: added(self.segments_out, before.segments_out),
            retransmissions: added(self.retransmissions, before.retransmissions),
        }
    }
}

/// The last report of a device, to count from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reports {
    told: Counted,
    observed: Option<Counted>,
    /// Frames handed to its NIC of which it knew nothing, at most so far: those
    /// that it had not read yet are no drops, and are known later.
    unknown_frames_max: u64,
}

impl Reports {
    /// Frames that the device tells of since its last report.
    pub(crate) fn frames(&self, device: &DeviceMetrics) -> Frames {
        Counted::told(device).since(&self.told).frames
    }

    /// Takes in what a device says in an update; `wire` of the switch, where it
    /// is a local one.
    pub(crate) fn add(&mut self, device: &DeviceMetrics, wire: Option<&Wire>) -> ReportRow {
        let told = Counted::told(device);
        if told.frames.frames_out == 0 {
            // It does not count.
            return ReportRow::default();
        }
        let observed = wire.map(|wire| Counted::observed(&wire.counters.at_opening));
        let before = *self;
        self.told = told;
        self.observed = observed;
        let own = told.since(&before.told);
        // Clients that know nothing of segments say 0.
        let knows_segments = told.segments_out > 0;
        let of_segments = |count: u64| knows_segments.then_some(count);
        let mut row = ReportRow {
            device_bytes_in: Some(own.frames.bytes_in),
            device_bytes_out: Some(own.frames.bytes_out),
            device_frames_in: Some(own.frames.frames_in),
            device_frames_out: Some(own.frames.frames_out),
            device_segments_in: of_segments(own.segments_in),
            device_segments_out: of_segments(own.segments_out),
            device_retransmissions: of_segments(own.retransmissions),
            ..ReportRow::default()
        };
        let Some(observed) = observed else {
            return row;
        };
        let observed_before = before.observed.unwrap_or_default();
        if told.is_anew(&before.told) != observed.is_anew(&observed_before) {
            // It booted anew by itself, and the switch does not know when.
            self.unknown_frames_max = unknown(&observed, &told);
            return row;
        }
        let seen = observed.since(&observed_before);
        row.observed_bytes_in = Some(seen.frames.bytes_in);
        row.observed_bytes_out = Some(seen.frames.bytes_out);
        row.observed_frames_in = Some(seen.frames.frames_in);
        row.observed_frames_out = Some(seen.frames.frames_out);
        row.observed_segments_in = Some(seen.segments_in);
        row.observed_segments_out = Some(seen.segments_out);
        row.observed_retransmissions = Some(seen.retransmissions);
        if told.is_anew(&before.told) {
            self.unknown_frames_max = 0;
        }
        let unknown = unknown(&observed, &told);
        row.drops_nic = Some(unknown.saturating_sub(self.unknown_frames_max));
        self.unknown_frames_max = self.unknown_frames_max.max(unknown);
        row
    }
}

/// Frames that were handed to a device's NIC and that it does not know.
const fn unknown(observed: &Counted, told: &Counted) -> u64 {
    let handed = observed.frames.frames_in;
    handed.saturating_sub(told.frames.frames_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(frames_in: u32, frames_out: u32) -> DeviceMetrics {
        DeviceMetrics {
            nic_bytes_in: 100 * u64::from(frames_in),
            nic_bytes_out: 100 * u64::from(frames_out),
            nic_frames_in: frames_in,
            nic_frames_out: frames_out,
            segments_in: frames_in - 1,
            segments_out: frames_out - 1,
            ..DeviceMetrics::default()
        }
    }

    fn wire(frames_in: u64, frames_out: u64) -> Wire {
        let traffic = |frames| Traffic {
            frames,
            bytes: 100 * frames,
        };
        let at_opening = Crossed {
            from_device: traffic(frames_out),
            to_device: traffic(frames_in),
            segments_from_device: frames_out - 1,
            segments_to_device: frames_in - 1,
            retransmissions_from_device: 0,
        };
        Wire {
            counters: PortCounters {
                at_opening,
                ..PortCounters::default()
            },
            ..Wire::default()
        }
    }

    /// Reports one after the other; of each: frames in and out by the device, by
    /// the switch, and drops.
    #[track_caller]
    fn check(reports: &[[u32; 4]], expected: &[[Option<u64>; 5]]) {
        let mut before = Reports::default();
        let rows: Vec<_> = reports
            .iter()
            .map(|[device_in, device_out, switch_in, switch_out]| {
                let wire = wire((*switch_in).into(), (*switch_out).into());
                let row = before.add(&told(*device_in, *device_out), Some(&wire));
                [
                    row.device_frames_in,
                    row.device_frames_out,
                    row.observed_frames_in,
                    row.observed_frames_out,
                    row.drops_nic,
                ]
            })
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_report_counts_from_the_one_before() {
        check(
            &[[10, 20, 10, 20], [15, 28, 15, 28]],
            &[
                [Some(10), Some(20), Some(10), Some(20), Some(0)],
                [Some(5), Some(8), Some(5), Some(8), Some(0)],
            ],
        );
    }

    #[test]
    fn what_the_nic_drops_is_known_and_what_comes_late_is_counted_once() {
        check(
            &[
                [10, 20, 12, 20],
                // One of the two was only late; then another is lost.
                [16, 28, 17, 28],
                [20, 30, 22, 30],
                [21, 31, 24, 31],
            ],
            &[
                [Some(10), Some(20), Some(12), Some(20), Some(2)],
                [Some(6), Some(8), Some(5), Some(8), Some(0)],
                [Some(4), Some(2), Some(5), Some(2), Some(0)],
                [Some(1), Some(1), Some(2), Some(1), Some(1)],
            ],
        );
    }

    #[test]
    fn a_device_that_boots_anew_counts_anew() {
        // In a machine that is attached anew, and by itself.
        check(
            &[
                [10, 20, 12, 20],
                [5, 8, 6, 8],
                [2, 3, 9, 12],
                [4, 5, 11, 14],
            ],
            &[
                [Some(10), Some(20), Some(12), Some(20), Some(2)],
                [Some(5), Some(8), Some(6), Some(8), Some(1)],
                [Some(2), Some(3), None, None, None],
                [Some(2), Some(2), Some(2), Some(2), Some(0)],
            ],
        );
    }

    #[test]
    fn who_does_not_count_is_not_compared() {
        let row = Reports::default().add(&DeviceMetrics::default(), Some(&wire(9, 9)));
        assert_eq!((row.device_frames_in, row.observed_frames_in), (None, None));
        let old = DeviceMetrics {
            segments_in: 0,
            segments_out: 0,
            ..told(4, 5)
        };
        let row = Reports::default().add(&old, None);
        assert_eq!(
            (row.device_frames_in, row.device_segments_in),
            (Some(4), None)
        );
        assert_eq!(row.drops_nic, None);
    }

    #[test]
    fn sums_are_empty_where_nobody_counts() {
        assert!(FleetRow::of([]).nic_bytes_in.is_none());
        let frames = Frames {
            bytes_in: 3,
            ..Frames::default()
        };
        let sums = FleetRow::of([TrafficRow::of_frames(&frames); 2]);
        assert_eq!((sums.nic_bytes_in, sums.segments_up), (Some(6), None));
    }
}
