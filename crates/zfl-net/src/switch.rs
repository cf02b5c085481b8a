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
//! A lane is a bounded queue with a link (its rate; later its delay and loss).
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
use crate::counters::{DropReason, PortCounters};
use crate::frame::{FRAME_BYTES_MAX, Frame, Header};
use crate::lane::{FlightOptions, Lane, LaneOptions};
use crate::link::{LinkOptions, LinkRate};
use crate::time::NetworkTime;

/// Both directions of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortOptions {
    /// From the device to the switch.
    pub uplink: LaneOptions,
    /// From the switch to the device.
    pub downlink: LaneOptions,
}

impl Default for PortOptions {
    /// 100 Mbit/s and the receive FIFO of a LAN9118 towards the device; no
    /// pacing from the device, whose NIC needs no protection there.
    fn default() -> Self {
        Self {
            uplink: LaneOptions {
                link: LinkOptions {
                    rate: LinkRate::UNLIMITED,
                },
                queue_bytes_max: 256 * 1024,
                flight: None,
            },
            downlink: LaneOptions {
                link: LinkOptions {
                    rate: LinkRate::megabits_per_second(100),
                },
                queue_bytes_max: 256 * 1024,
                flight: Some(FlightOptions::LAN9118),
            },
        }
    }
}

/// The switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchOptions {
    /// The gateway's address.
    pub gateway: MacAddress,
    /// Whether devices may send frames to each other.
    pub peer_traffic: bool,
    /// The ports.
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

/// A frame at the device's end of a port.
#[derive(Clone, Copy, Debug)]
pub struct TapEvent<'f> {
    /// When it was there.
    pub at: NetworkTime,
    /// The port.
    pub port: usize,
    /// Which way it went.
    pub direction: Direction,
    /// The frame. Those from the device are shown before any check.
    pub frame: &'f [u8],
}

/// Sees every frame at the devices' end of the ports, for a capture.
pub type FrameTap = Box<dyn FnMut(TapEvent<'_>) + Send>;

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
    touched: bool,
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
            options: options.port,
            lanes: None,
            mac: None,
            counters: PortCounters::default(),
            touched: false,
        };
        Self {
            options,
            ports: std::iter::repeat_with(port).take(ports).collect(),
            owners: HashMap::from([(options.gateway, Owner::Gateway)]),
            to_gateway: VecDeque::new(),
            touched: Vec::new(),
            tap: None,
        }
    }

    /// Shows every frame to `tap` from now on.
    pub fn set_tap(&mut self, tap: FrameTap) {
        self.tap = Some(tap);
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
        slot.lanes = Some(Lanes {
            uplink: Lane::new(slot.options.uplink),
            downlink: Lane::new(slot.options.downlink),
        });
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
        slot.counters.from_device.add(frame.len());
        if let Some(tap) = &mut self.tap {
            tap(TapEvent {
                at: now,
                port,
                direction: Direction::FromDevice,
                frame: &frame,
            });
        }
        let Some(lanes) = &mut slot.lanes else {
            slot.counters.drops.add(DropReason::Detached, 1);
            return;
        };
        // Even a frame that is dropped shows that the firmware ran.
        lanes.downlink.receiver_ran();
        let refusal = check_source(&mut self.owners, port, &mut slot.mac, &frame).err();
        let refusal = refusal.or_else(|| {
            let pushed = lanes.uplink.push(frame, now);
            pushed.is_err().then_some(DropReason::UplinkQueueFull)
        });
        if let Some(reason) = refusal {
            slot.counters.drops.add(reason, 1);
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
        if let Some(tap) = &mut self.tap {
            tap(TapEvent {
                at: now,
                port,
                direction: Direction::ToDevice,
                frame: &frame,
            });
        }
        Some(frame)
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
        let lanes = self.ports.get(port)?.lanes.as_ref()?;
        let (uplink, downlink) = (lanes.uplink.poll_at(), lanes.downlink.poll_at());
        uplink.into_iter().chain(downlink).min()
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
    pub fn counters(&self, port: usize) -> Option<&PortCounters> {
        self.ports.get(port).map(|slot| &slot.counters)
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
        let Some(lanes) = self.ports.get_mut(to).and_then(|slot| slot.lanes.as_mut()) else {
            return;
        };
        if lanes.downlink.push(frame, now).is_err() {
            self.count_drop(to, DropReason::DownlinkQueueFull);
        }
        self.touch(to);
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
