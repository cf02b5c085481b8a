//! A learning Ethernet switch in user space.
//!
//! Frames enter with a time and leave with a later one; nothing here sleeps or
//! opens a socket. Device ports are numbered from 0; the gateway's port has no
//! number, no queue and no link.
//!
//! ```text
//!  device i ── uplink lane ──►┌────────┐──► gateway
//!           ◄─ downlink lane ─│ switch │◄── gateway
//!                             └────────┘
//! ```
//!
//! A lane is a bounded queue with a link, which may be slow, far and lossy. Each
//! port may have a link of its own.
//! Each port has one MAC address, so the table is bounded by the ports: known
//! when the device is attached, or learnt from its first frame. Frames from
//! another source address are dropped, and so are frames from device to device
//! unless [`SwitchOptions::peer_traffic`] permits them. There is no flooding:
//! an address that belongs to nobody gets nothing.
//!
//! A caller that moves real frames does, for every port in [`Switch::take_touched`]:
//! [`Switch::front`], write it, [`Switch::pop`]; then asks [`Switch::poll_at`]
//! when to call [`Switch::poll`] again.

use std::collections::{HashMap, VecDeque};

use crate::address::MacAddress;
use crate::counters::{Crossed, DropReason, PortCounters};
use crate::frame::{FRAME_BYTES_MAX, Frame, Header};
use crate::lane::{FlightOptions, Lane, LaneOptions};
use crate::link::{LinkName, LinkOptions, LinkRate};
use crate::observer::{Observer, RoundTrips};
use crate::time::NetworkTime;

/// Both directions of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOptions {
    /// From the device to the switch.
    pub uplink: LaneOptions,
    /// From the switch to the device.
    pub downlink: LaneOptions,
}

impl Default for PortOptions {
    /// 100 Mbit/s and the receive FIFO of a LAN9118 towards the device, with
    /// bursts that the FIFO holds: when the segments of a window come together
    /// the emulator wakes up once for all of them, which saved it a fifth of
    /// the CPU time of a download. No pacing from the device, whose NIC needs
    /// no protection there.
    fn default() -> Self {
        Self {
            uplink: LaneOptions {
                link: LinkOptions::wire(LinkRate::UNLIMITED, 0),
                queue_bytes_max: 256 * 1024,
                flight: None,
            },
            downlink: LaneOptions {
                link: LinkOptions::wire(LinkRate::megabits_per_second(100), 8 * 1024),
                queue_bytes_max: 256 * 1024,
                flight: Some(FlightOptions::LAN9118),
            },
        }
    }
}

/// The switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchOptions {
    /// The gateway's address.
    pub gateway: MacAddress,
    /// The run's seed, from which comes what links leave to chance.
    pub seed: u64,
    /// Whether devices may send frames to each other.
    pub peer_traffic: bool,
    /// The ports, where [`Switch::set_port`] says nothing else.
    pub port: PortOptions,
}

/// Which way a frame goes, seen by the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Sent by the device.
    FromDevice,
    /// Given to the device.
    ToDevice,
}

/// A frame as its sender, the device or the switch, puts it into a link.
#[derive(Clone, Copy, Debug)]
pub struct TapEvent<'f> {
    /// When that was.
    pub at: NetworkTime,
    /// The port.
    pub port: usize,
    /// Which way it went.
    pub direction: Direction,
    /// The frame.
    pub frame: &'f [u8],
    /// Why it does not come out at the other end, where that is known by then.
    pub dropped: Option<DropReason>,
}

/// Is shown frames, for a capture.
pub type FrameTap = Box<dyn FnMut(TapEvent<'_>) + Send>;

/// Round-trip times of a port, by whose segments were timed. Times are the
/// network's, which is the host's where it moves real bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRoundTrips {
    /// Of the device's segments, seen at its end of the link: link up, switch,
    /// gateway, link down.
    pub from_device: RoundTrips,
    /// Of segments to the device, seen at the switch: link down with its queue,
    /// NIC and stack of the device, link up.
    pub from_switch: RoundTrips,
}

impl PortRoundTrips {
    /// Takes in others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.from_device.merge(&other.from_device);
        self.from_switch.merge(&other.from_switch);
    }
}

/// Who owns an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Gateway,
    Port(usize),
}

struct Port {
    options: PortOptions,
    /// `None` while no device is attached.
    lanes: Option<Lanes>,
    /// The device's address; `None` until it is learnt.
    mac: Option<MacAddress>,
    counters: PortCounters,
    /// At the device's end of the link, and at the switch's.
    at_device: Observer,
    at_switch: Observer,
    /// What had crossed the device's end of the link when it was attached.
    at_attachment: Crossed,
    is_tapped: bool,
    touched: bool,
    /// How often a device has been attached.
    attachments: u32,
}

impl Port {
    /// What has crossed the device's end of the link.
    fn crossed(&self) -> Crossed {
        let sent = self.at_device.sent_counters();
        Crossed {
            from_device: self.counters.from_device,
            to_device: self.counters.to_device,
            segments_from_device: sent.segments,
            segments_to_device: self.at_device.segments_received(),
            retransmissions_from_device: sent.retransmissions,
        }
    }

    /// The device puts a frame into the link.
    fn observe_sent(&mut self, frame: &[u8], now: NetworkTime) {
        let before = self.crossed();
        let observed = self.at_device.sent(frame, now);
        if observed.is_some_and(|segment| segment.opens) {
            self.counters.at_opening = before.since(&self.at_attachment);
        }
        self.counters.from_device.add(frame.len());
    }
}

struct Lanes {
    uplink: Lane,
    downlink: Lane,
}

/// A learning Ethernet switch; see the module's text.
pub struct Switch {
    options: SwitchOptions,
    ports: Vec<Port>,
    owners: HashMap<MacAddress, Owner>,
    to_gateway: VecDeque<(usize, Frame)>,
    touched: Vec<usize>,
    tap: Option<FrameTap>,
}

/// Why a device could not be attached to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The switch has no such port.
    #[error("no port {port}: the switch has {ports}")]
    NoSuchPort {
        /// The port asked for.
        port: usize,
        /// How many there are.
        ports: usize,
    },
    /// The address belongs to another port or to the gateway.
    #[error("the address {mac} of port {port} is taken: every port needs its own")]
    AddressTaken {
        /// The port asked for.
        port: usize,
        /// The address.
        mac: MacAddress,
    },
    /// The address is a group address.
    #[error("the address {mac} of port {port} names a group: use a unicast address")]
    GroupAddress {
        /// The port asked for.
        port: usize,
        /// The address.
        mac: MacAddress,
    },
}

impl Switch {
    /// A switch with `ports` empty ports.
    pub fn new(options: SwitchOptions, ports: usize) -> Self {
        let port = || Port {
            options: options.port.clone(),
            lanes: None,
            mac: None,
            counters: PortCounters::default(),
            at_device: Observer::default(),
            at_switch: Observer::default(),
            at_attachment: Crossed::default(),
            is_tapped: false,
            touched: false,
            attachments: 0,
        };
        Self {
            ports: std::iter::repeat_with(port).take(ports).collect(),
            owners: HashMap::from([(options.gateway, Owner::Gateway)]),
            options,
            to_gateway: VecDeque::new(),
            touched: Vec::new(),
            tap: None,
        }
    }

    /// Shows the frames of these ports to `tap` from now on, in the order in
    /// which they are sent.
    pub fn set_tap(&mut self, ports: impl IntoIterator<Item = usize>, tap: FrameTap) {
        self.tap = Some(tap);
        for port in ports {
            if let Some(slot) = self.ports.get_mut(port) {
                slot.is_tapped = true;
            }
        }
    }

    /// Gives a port queues and links of its own, from the next attachment on.
    pub fn set_port(&mut self, port: usize, options: PortOptions) {
        if let Some(slot) = self.ports.get_mut(port) {
            slot.options = options;
        }
    }

    /// Attaches a device to a port, in place of any other. Without an address,
    /// the port takes that of the device's first frame.
    ///
    /// # Errors
    /// When there is no such port, or the address cannot be the device's.
    pub fn attach(&mut self, port: usize, mac: Option<MacAddress>) -> Result<(), AttachError> {
        self.detach(port);
        let ports = self.ports.len();
        let Some(slot) = self.ports.get_mut(port) else {
            return Err(AttachError::NoSuchPort { port, ports });
        };
        if let Some(mac) = mac {
            if mac.is_group() {
                return Err(AttachError::GroupAddress { port, mac });
            }
            if self.owners.contains_key(&mac) {
                return Err(AttachError::AddressTaken { port, mac });
            }
            self.owners.insert(mac, Owner::Port(port));
        }
        slot.mac = mac;
        slot.at_attachment = slot.crossed();
        let name = |to_device| LinkName {
            seed: self.options.seed,
            device: u32::try_from(port).unwrap_or(u32::MAX),
            attachment: slot.attachments,
            to_device,
        };
        slot.lanes = Some(Lanes {
            uplink: Lane::new(slot.options.uplink.clone(), name(false)),
            downlink: Lane::new(slot.options.downlink.clone(), name(true)),
        });
        slot.attachments = slot.attachments.wrapping_add(1);
        Ok(())
    }

    /// Detaches the device of a port, if there is one. Frames on their way are
    /// dropped; the port's address is free again.
    pub fn detach(&mut self, port: usize) {
        let Some(slot) = self.ports.get_mut(port) else {
            return;
        };
        let Some(lanes) = slot.lanes.take() else {
            return;
        };
        let lost = lanes.uplink.len() + lanes.downlink.len();
        slot.counters.drops.add(DropReason::Detached, lost as u64);
        if let Some(mac) = slot.mac.take() {
            self.owners.remove(&mac);
        }
        self.touch(port);
    }

    /// Takes a frame from a port's device.
    pub fn receive(&mut self, port: usize, frame: Frame, now: NetworkTime) {
        self.touch(port);
        let Some(slot) = self.ports.get_mut(port) else {
            return;
        };
        slot.observe_sent(&frame, now);
        let shown = slot.is_tapped.then(|| frame.clone());
        let refusal = match &mut slot.lanes {
            None => Some(DropReason::Detached),
            Some(lanes) => {
                // Even a frame that is dropped shows that the firmware ran.
                lanes.downlink.receiver_ran();
                let refusal = check_source(&mut self.owners, port, &mut slot.mac, &frame).err();
                let counters = &mut slot.counters.uplink;
                refusal.or_else(|| lanes.uplink.push(frame, now, counters).err())
            }
        };
        if let Some(reason) = refusal {
            slot.counters.drops.add(reason, 1);
        }
        if let Some(frame) = shown {
            self.show(TapEvent {
                at: now,
                port,
                direction: Direction::FromDevice,
                frame: &frame,
                dropped: refusal,
            });
        }
        self.poll(port, now);
    }

    /// Notes a frame that was too long to be read: its first bytes are gone.
    pub fn receive_oversize(&mut self, port: usize, frame_bytes: usize) {
        self.touch(port);
        if let Some(slot) = self.ports.get_mut(port) {
            slot.counters.from_device.add(frame_bytes);
            slot.counters.drops.add(DropReason::Oversize, 1);
        }
    }

    /// Takes a frame from the gateway. Its source address is trusted.
    pub fn receive_from_gateway(&mut self, frame: Frame, now: NetworkTime) {
        let Some((header, _)) = Header::split(&frame) else {
            return;
        };
        if header.destination.is_group() {
            self.deliver_to_all(None, &frame, now);
        } else if let Some(Owner::Port(port)) = self.owners.get(&header.destination) {
            self.deliver(*port, frame, now);
        }
    }

    /// Moves on what has come from a port's device and is due.
    pub fn poll(&mut self, port: usize, now: NetworkTime) {
        while let Some(frame) = self
            .ports
            .get_mut(port)
            .and_then(|slot| slot.lanes.as_mut()?.uplink.pop(now))
        {
            self.route(port, frame, now);
        }
    }

    /// The next frame for a port's device, if it may leave by now.
    pub fn front(&self, port: usize, now: NetworkTime) -> Option<&[u8]> {
        let lanes = self.ports.get(port)?.lanes.as_ref()?;
        lanes.downlink.front(now).map(Vec::as_slice)
    }

    /// Takes the next frame for a port's device, if it may leave by now.
    pub fn pop(&mut self, port: usize, now: NetworkTime) -> Option<Frame> {
        let slot = self.ports.get_mut(port)?;
        let frame = slot.lanes.as_mut()?.downlink.pop(now)?;
        slot.counters.to_device.add(frame.len());
        slot.at_device.received(&frame, now);
        Some(frame)
    }

    /// Takes the next frame for a port's device, which cannot be handed to it.
    pub fn discard(&mut self, port: usize, now: NetworkTime) {
        let lanes = self.ports.get_mut(port).map(|slot| &mut slot.lanes);
        if let Some(Some(lanes)) = lanes
            && lanes.downlink.pop(now).is_some()
        {
            self.count_drop(port, DropReason::NoBuffers);
        }
    }

    /// The next frame for the gateway, with the port it came from. The caller
    /// takes all of them each time it has called [`Self::receive`] or
    /// [`Self::poll`].
    pub fn take_for_gateway(&mut self) -> Option<(usize, Frame)> {
        self.to_gateway.pop_front()
    }

    /// When something next happens on a port without a new frame: the caller
    /// then calls [`Self::poll`] and [`Self::front`]. `None`: nothing waits.
    pub fn poll_at(&self, port: usize) -> Option<NetworkTime> {
        let uplink = self.uplink_at(port);
        uplink.into_iter().chain(self.downlink_at(port)).min()
    }

    /// When the next frame from a port's device arrives.
    pub fn uplink_at(&self, port: usize) -> Option<NetworkTime> {
        self.ports.get(port)?.lanes.as_ref()?.uplink.poll_at()
    }

    /// When the next frame for a port's device may leave.
    pub fn downlink_at(&self, port: usize) -> Option<NetworkTime> {
        self.ports.get(port)?.lanes.as_ref()?.downlink.poll_at()
    }

    /// A port on which something has happened since it was last given out.
    pub fn take_touched(&mut self) -> Option<usize> {
        let port = self.touched.pop()?;
        if let Some(slot) = self.ports.get_mut(port) {
            slot.touched = false;
        }
        Some(port)
    }

    /// What a port has seen; `None` where there is no such port.
    pub fn counters(&self, port: usize) -> Option<PortCounters> {
        self.ports.get(port).map(|slot| PortCounters {
            tcp_from_device: slot.at_device.sent_counters(),
            tcp_from_switch: slot.at_switch.sent_counters(),
            segments_to_device: slot.at_device.segments_received(),
            ..slot.counters
        })
    }

    /// The round-trip times of a port since they were last taken.
    pub fn take_round_trips(&mut self, port: usize) -> PortRoundTrips {
        let slot = self.ports.get_mut(port);
        slot.map_or_else(PortRoundTrips::default, |slot| PortRoundTrips {
            from_device: slot.at_device.take_round_trips(),
            from_switch: slot.at_switch.take_round_trips(),
        })
    }

    /// Whether a device is attached to the port.
    pub fn is_attached(&self, port: usize) -> bool {
        self.ports
            .get(port)
            .is_some_and(|slot| slot.lanes.is_some())
    }

    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    fn route(&mut self, from: usize, frame: Frame, now: NetworkTime) {
        let Some((header, _)) = Header::split(&frame) else {
            return;
        };
        if let Some(slot) = self.ports.get_mut(from) {
            slot.counters.to_switch.add(frame.len());
            slot.at_switch.received(&frame, now);
        }
        if header.destination.is_group() {
            if self.options.peer_traffic {
                self.deliver_to_all(Some(from), &frame, now);
            }
            self.to_gateway.push_back((from, frame));
            return;
        }
        match self.owners.get(&header.destination) {
            Some(Owner::Gateway) => self.to_gateway.push_back((from, frame)),
            Some(&Owner::Port(to)) if self.options.peer_traffic && to != from => {
                self.deliver(to, frame, now);
            }
            Some(&Owner::Port(to)) if to != from => self.count_drop(from, DropReason::Isolated),
            _ => self.count_drop(from, DropReason::UnknownDestination),
        }
    }

    fn deliver(&mut self, to: usize, frame: Frame, now: NetworkTime) {
        let Some(slot) = self.ports.get_mut(to) else {
            return;
        };
        let Some(lanes) = &mut slot.lanes else {
            return;
        };
        slot.counters.from_switch.add(frame.len());
        slot.at_switch.sent(&frame, now);
        let shown = slot.is_tapped.then(|| frame.clone());
        let counters = &mut slot.counters.downlink;
        let refusal = lanes.downlink.push(frame, now, counters).err();
        if let Some(reason) = refusal {
            slot.counters.drops.add(reason, 1);
            slot.counters.drops_to_device.add(reason, 1);
        }
        if let Some(frame) = shown {
            self.show(TapEvent {
                at: now,
                port: to,
                direction: Direction::ToDevice,
                frame: &frame,
                dropped: refusal,
            });
        }
        self.touch(to);
    }

    fn show(&mut self, event: TapEvent<'_>) {
        if let Some(tap) = &mut self.tap {
            tap(event);
        }
    }

    fn deliver_to_all(&mut self, except: Option<usize>, frame: &Frame, now: NetworkTime) {
        for port in 0..self.ports.len() {
            if Some(port) != except {
                self.deliver(port, frame.clone(), now);
            }
        }
    }

    fn count_drop(&mut self, port: usize, reason: DropReason) {
        if let Some(slot) = self.ports.get_mut(port) {
            slot.counters.drops.add(reason, 1);
        }
    }

    fn touch(&mut self, port: usize) {
        if let Some(slot) = self.ports.get_mut(port)
            && !slot.touched
        {
            slot.touched = true;
            self.touched.push(port);
        }
    }
}

/// Whether a device may send this frame; learns its address where the port has
/// none yet.
fn check_source(
    owners: &mut HashMap<MacAddress, Owner>,
    port: usize,
    mac: &mut Option<MacAddress>,
    frame: &[u8],
) -> Result<(), DropReason> {
    let (header, _) = Header::split(frame).ok_or(DropReason::Short)?;
    if frame.len() > FRAME_BYTES_MAX {
        return Err(DropReason::Oversize);
    }
    if header.source.is_group() {
        return Err(DropReason::Malformed);
    }
    match *mac {
        Some(mac) if mac == header.source => Ok(()),
        Some(_) => Err(DropReason::Spoofed),
        None if owners.contains_key(&header.source) => Err(DropReason::Spoofed),
        None => {
            *mac = Some(header.source);
            owners.insert(header.source, Owner::Port(port));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::frame::{FRAME_BYTES_MIN, TYPE_IPV4};

    const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0xff, 0xff, 0xff]);
    const FULL: usize = FRAME_BYTES_MAX;

    fn mac(port: usize) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, port as u8])
    }

    fn frame(source: MacAddress, destination: MacAddress, bytes: usize) -> Frame {
        let header = Header {
            destination,
            source,
            kind: TYPE_IPV4,
        };
        let (mut frame, ()) = header.build(FULL - 14, |payload| payload.fill(0x5a));
        frame.truncate(bytes);
        frame
    }

    fn from_gateway(port: usize) -> Frame {
        frame(GATEWAY, mac(port), FULL)
    }

    fn options() -> SwitchOptions {
        SwitchOptions {
            gateway: GATEWAY,
            seed: 1,
            peer_traffic: false,
            port: PortOptions::default(),
        }
    }

    /// Three devices with the addresses [`mac`].
    fn switch(options: SwitchOptions) -> Switch {
        let mut switch = Switch::new(options, 3);
        for port in 0..3 {
            switch.attach(port, Some(mac(port))).unwrap();
        }
        switch
    }

    fn gateway_frames(switch: &mut Switch) -> Vec<usize> {
        std::iter::from_fn(|| switch.take_for_gateway())
            .map(|(port, _)| port)
            .collect()
    }

    fn pop_all(switch: &mut Switch, port: usize, now: NetworkTime) -> usize {
        std::iter::from_fn(|| switch.pop(port, now)).count()
    }

    /// When each frame for a port leaves a caller that follows the clock.
    fn departures(switch: &mut Switch, port: usize) -> Vec<NetworkTime> {
        let mut times = Vec::new();
        while let Some(now) = switch.poll_at(port) {
            assert!(switch.pop(port, now).is_some());
            times.push(now);
        }
        times
    }

    /// One frame from port 0 of the usual switch: whether the gateway gets it,
    /// and what is counted where it does not.
    #[track_caller]
    fn check(sent: Frame, expected: Result<(), DropReason>) {
        let mut switch = switch(options());
        let bytes = sent.len() as u64;
        switch.receive(0, sent, NetworkTime::ZERO);
        let delivered = gateway_frames(&mut switch) == [0];
        assert_eq!(delivered, expected.is_ok());
        let counters = switch.counters(0).unwrap();
        assert_eq!(counters.from_device.frames, 1);
        assert_eq!(counters.from_device.bytes, bytes);
        assert_eq!(counters.drops.total(), u64::from(expected.is_err()));
        if let Err(reason) = expected {
            assert_eq!(counters.drops.get(reason), 1);
        }
        for other in 1..3 {
            assert_eq!(switch.poll_at(other), None);
            assert_eq!(switch.counters(other), Some(PortCounters::default()));
        }
    }

    #[test]
    fn a_device_reaches_the_gateway_and_nobody_else() {
        check(frame(mac(0), GATEWAY, FULL), Ok(()));
        check(
            frame(mac(0), MacAddress::BROADCAST, FRAME_BYTES_MIN),
            Ok(()),
        );
        check(
            frame(mac(0), MacAddress([1, 0, 0x5e, 0, 0, 1]), FULL),
            Ok(()),
        );
        check(frame(mac(0), mac(1), FULL), Err(DropReason::Isolated));
        check(
            frame(mac(0), mac(0), FULL),
            Err(DropReason::UnknownDestination),
        );
        check(
            frame(mac(0), mac(9), FULL),
            Err(DropReason::UnknownDestination),
        );
    }

    #[test]
    fn a_bad_frame_is_dropped_and_counted() {
        check(Vec::new(), Err(DropReason::Short));
        check(frame(mac(0), GATEWAY, 13), Err(DropReason::Short));
        check(frame(mac(0), GATEWAY, 14), Ok(()));
        let mut oversize = frame(mac(0), GATEWAY, FULL);
        oversize.push(0);
        check(oversize, Err(DropReason::Oversize));
        let group = MacAddress([3, 0, 0, 0, 0, 0]);
        check(frame(group, GATEWAY, FULL), Err(DropReason::Malformed));
        check(frame(mac(1), GATEWAY, FULL), Err(DropReason::Spoofed));
        check(frame(GATEWAY, GATEWAY, FULL), Err(DropReason::Spoofed));
        check(frame(mac(9), GATEWAY, FULL), Err(DropReason::Spoofed));
    }

    #[test]
    fn permitted_devices_reach_each_other() {
        let mut switch = switch(SwitchOptions {
            peer_traffic: true,
            ..options()
        });
        let (now, later) = (NetworkTime::ZERO, NetworkTime::from_millis(1));
        switch.receive(0, frame(mac(0), mac(1), FULL), now);
        assert_eq!(gateway_frames(&mut switch), []);
        assert_eq!(pop_all(&mut switch, 1, later), 1);
        switch.receive(0, frame(mac(0), MacAddress::BROADCAST, FULL), now);
        assert_eq!(gateway_frames(&mut switch), [0]);
        let received: Vec<_> = (0..3)
            .map(|port| pop_all(&mut switch, port, later))
            .collect();
        assert_eq!(received, [0, 1, 1]);
    }

    #[test]
    fn a_port_learns_the_address_of_its_first_frame() {
        let mut switch = Switch::new(options(), 2);
        switch.attach(0, None).unwrap();
        switch.attach(1, Some(mac(1))).unwrap();
        let now = NetworkTime::from_millis(1);
        // Nothing is known of it yet, and another's address is not learnt.
        switch.receive_from_gateway(from_gateway(7), now);
        assert_eq!(switch.poll_at(0), None);
        switch.receive(0, frame(mac(1), GATEWAY, FULL), now);
        assert_eq!(gateway_frames(&mut switch), []);

        switch.receive(0, frame(mac(7), GATEWAY, FULL), now);
        assert_eq!(gateway_frames(&mut switch), [0]);
        switch.receive_from_gateway(from_gateway(7), now);
        assert_eq!(departures(&mut switch, 0).len(), 1);
        // From now on the port has this address and no other.
        switch.receive(0, frame(mac(8), GATEWAY, FULL), now);
        assert_eq!(gateway_frames(&mut switch), []);
        assert_eq!(
            switch.attach(1, Some(mac(7))),
            Err(AttachError::AddressTaken {
                port: 1,
                mac: mac(7)
            })
        );
    }

    #[test]
    fn frames_are_paced_towards_the_device() {
        let mut options = options();
        options.port.downlink.link.burst_bytes = 0;
        let mut switch = switch(options);
        let start = NetworkTime::from_millis(5);
        for _ in 0..3 {
            switch.receive_from_gateway(from_gateway(1), start);
        }
        assert_eq!(switch.front(1, start), None);
        let each = Duration::from_nanos(123_040);
        let expected = [start + each, start + 2 * each, start + 3 * each];
        assert_eq!(departures(&mut switch, 1), expected);
    }

    #[test]
    fn a_burst_stops_at_the_receive_fifo() {
        let mut switch = switch(options());
        for _ in 0..8 {
            switch.receive_from_gateway(from_gateway(1), NetworkTime::ZERO);
        }
        let now = NetworkTime::from_millis(2);
        assert_eq!(pop_all(&mut switch, 1, now), 6);
        // The device answers, so that it has read what it was given.
        switch.receive(1, frame(mac(1), GATEWAY, FRAME_BYTES_MIN), now);
        assert_eq!(pop_all(&mut switch, 1, now), 2);
    }

    #[test]
    fn the_queue_to_a_device_is_bounded() {
        let mut options = options();
        options.port.downlink.queue_bytes_max = 4 * FULL;
        let mut switch = switch(options);
        for _ in 0..10 {
            switch.receive_from_gateway(from_gateway(1), NetworkTime::ZERO);
        }
        let counters = switch.counters(1).unwrap();
        assert_eq!(counters.drops.get(DropReason::DownlinkQueueFull), 6);
        assert_eq!(departures(&mut switch, 1).len(), 4);
        assert_eq!(switch.counters(1).unwrap().to_device.frames, 4);
        // There is room again.
        switch.receive_from_gateway(from_gateway(1), NetworkTime::from_millis(9));
        assert_eq!(departures(&mut switch, 1).len(), 1);
    }

    #[test]
    fn an_uplink_can_be_paced_and_bounded() {
        let mut options = options();
        options.port.uplink.link.rate = LinkRate::megabits_per_second(100);
        options.port.uplink.queue_bytes_max = 2 * FULL;
        let mut switch = switch(options);
        for _ in 0..3 {
            switch.receive(0, frame(mac(0), GATEWAY, FULL), NetworkTime::ZERO);
        }
        let counters = switch.counters(0).unwrap();
        assert_eq!(counters.drops.get(DropReason::UplinkQueueFull), 1);
        assert_eq!(gateway_frames(&mut switch), []);
        for _ in 0..2 {
            let now = switch.poll_at(0).unwrap();
            switch.poll(0, now);
            assert_eq!(gateway_frames(&mut switch), [0]);
        }
        assert_eq!(switch.poll_at(0), None);
    }

    #[test]
    fn a_slow_port_does_not_hold_up_another() {
        let mut switch = switch(options());
        for _ in 0..100 {
            switch.receive_from_gateway(from_gateway(1), NetworkTime::ZERO);
        }
        let now = NetworkTime::from_millis(3);
        switch.receive_from_gateway(from_gateway(2), now);
        assert_eq!(departures(&mut switch, 2), [now]);
    }

    #[test]
    fn a_detached_port_forgets_and_is_deaf() {
        let mut switch = switch(options());
        let now = NetworkTime::ZERO;
        switch.receive_from_gateway(from_gateway(1), now);
        switch.detach(1);
        assert!(!switch.is_attached(1));
        assert_eq!(switch.poll_at(1), None);
        switch.receive_from_gateway(from_gateway(1), now);
        switch.receive(1, frame(mac(1), GATEWAY, FULL), now);
        assert_eq!(gateway_frames(&mut switch), []);
        let drops = switch.counters(1).unwrap().drops;
        assert_eq!(drops.get(DropReason::Detached), 2);

        // Its address is free, and the port can be used again.
        switch.attach(2, Some(mac(1))).unwrap();
        switch.attach(1, Some(mac(2))).unwrap();
        switch.receive_from_gateway(from_gateway(1), now);
        assert_eq!(departures(&mut switch, 2).len(), 1);
    }

    #[test]
    fn an_impossible_device_is_refused() {
        let mut switch = switch(options());
        let check = |switch: &mut Switch, port, mac, text: &str| {
            assert_eq!(
                switch.attach(port, Some(mac)).unwrap_err().to_string(),
                text
            );
        };
        check(&mut switch, 3, mac(3), "no port 3: the switch has 3");
        check(
            &mut switch,
            0,
            GATEWAY,
            "the address 02:00:00:ff:ff:ff of port 0 is taken: every port needs its own",
        );
        check(
            &mut switch,
            0,
            MacAddress::BROADCAST,
            "the address ff:ff:ff:ff:ff:ff of port 0 names a group: use a unicast address",
        );
    }

    #[test]
    fn a_tap_sees_both_directions() {
        let (sender, events) = std::sync::mpsc::channel();
        let mut options = options();
        options.port.downlink.queue_bytes_max = FULL;
        let mut switch = switch(options);
        let tap = move |event: TapEvent<'_>| {
            let seen = (event.port, event.direction, event.frame.len());
            let _ = sender.send((seen, event.dropped));
        };
        switch.set_tap([0, 1], Box::new(tap));
        let now = NetworkTime::from_millis(9);
        switch.receive(0, vec![1; 20], now);
        switch.receive(0, frame(mac(0), GATEWAY, 60), now);
        for port in [1, 1, 2] {
            switch.receive_from_gateway(from_gateway(port), now);
        }
        let seen: Vec<_> = events.try_iter().collect();
        let (from, to) = (Direction::FromDevice, Direction::ToDevice);
        assert_eq!(
            seen,
            [
                ((0, from, 20), Some(DropReason::Malformed)),
                ((0, from, 60), None),
                ((1, to, FULL), None),
                ((1, to, FULL), Some(DropReason::DownlinkQueueFull)),
            ]
        );
    }

    #[test]
    fn a_frame_that_cannot_be_handed_over_is_a_drop() {
        let mut switch = switch(options());
        let now = NetworkTime::from_millis(9);
        switch.receive_from_gateway(from_gateway(1), now);
        switch.discard(1, now);
        assert_eq!(switch.pop(1, now), None);
        let counters = switch.counters(1).unwrap();
        assert_eq!(counters.drops.get(DropReason::NoBuffers), 1);
        assert_eq!(
            (counters.from_switch.frames, counters.to_device.frames),
            (1, 0)
        );
    }

    #[test]
    fn touched_ports_are_told_once() {
        let mut switch = switch(options());
        while switch.take_touched().is_some() {}
        for _ in 0..2 {
            switch.receive_from_gateway(from_gateway(1), NetworkTime::ZERO);
        }
        assert_eq!(switch.take_touched(), Some(1));
        assert_eq!(switch.take_touched(), None);
    }
}
