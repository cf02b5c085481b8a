//! What passed through a port and what did not.

use core::fmt;
use core::time::Duration;

use crate::observer::TcpCounters;

/// Frames and their bytes (Ethernet header included, frame check sequence not).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, frame_bytes: usize) {
        self.frames += 1;
        self.bytes += frame_bytes as u64;
    }

    const fn since(self, before: Self) -> Self {
        Self {
            frames: self.frames - before.frames,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Shorter than an Ethernet header.
    Short,
    /// Longer than the largest Ethernet frame.
    Oversize,
    /// The source address is a group address.
    Malformed,
    /// The source address is not the port's own.
    Spoofed,
    /// Addressed to another device, which is not allowed.
    Isolated,
    /// Addressed to nobody on this network.
    UnknownDestination,
    /// The queue from the device to the switch was full.
    UplinkQueueFull,
    /// The queue from the switch to the device was full.
    DownlinkQueueFull,
    /// No device was attached to the port.
    Detached,
    /// The host's kernel had no memory to hand the frame to the device.
    NoBuffers,
    /// The link lost it.
    Lost,
    /// The link was down.
    Outage,
    /// Its packet is larger than the link's MTU.
    TooLarge,
}

impl DropReason {
    /// Every reason, in the order of [`DropCounters::iter`].
    pub const ALL: [Self; 13] = [
        Self::Short,
        Self::Oversize,
        Self::Malformed,
        Self::Spoofed,
        Self::Isolated,
        Self::UnknownDestination,
        Self::UplinkQueueFull,
        Self::DownlinkQueueFull,
        Self::Detached,
        Self::NoBuffers,
        Self::Lost,
        Self::Outage,
        Self::TooLarge,
    ];

    /// The reason as a word for tables and column names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Oversize => "oversize",
            Self::Malformed => "malformed",
            Self::Spoofed => "spoofed",
            Self::Isolated => "isolated",
            Self::UnknownDestination => "unknown_destination",
            Self::UplinkQueueFull => "uplink_queue_full",
            Self::DownlinkQueueFull => "downlink_queue_full",
            Self::Detached => "detached",
            Self::NoBuffers => "no_buffers",
            Self::Lost => "link_lost",
            Self::Outage => "link_outage",
            Self::TooLarge => "link_too_large",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Dropped frames by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl DropCounters {
    /// Frames dropped for this reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Frames dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its frames.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn add(&mut self, reason: DropReason, frames: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += frames;
        }
    }
}

/// Connections that the gateway carried for a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounters {
    /// Opened by the device, to the coordinator.
    pub from_device: u64,
    /// Opened by the host, to the device.
    pub to_device: u64,
    /// Ended otherwise than by both sides closing: refused, reset or timed out.
    pub failed: u64,
}

/// What crossed the device's end of a link. The device counts the same by
/// itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Frames the device sent.
    pub from_device: Traffic,
    /// Frames handed to its NIC.
    pub to_device: Traffic,
    /// TCP segments among the former.
    pub segments_from_device: u64,
    /// TCP segments among the latter.
    pub segments_to_device: u64,
    /// Of those it sent, how many hold something that it had sent before.
    pub retransmissions_from_device: u64,
}

impl Crossed {
    /// What was added since `before`.
    pub(crate) const fn since(&self, before: &Self) -> Self {
        Self {
            from_device: self.from_device.since(before.from_device),
            to_device: self.to_device.since(before.to_device),
            segments_from_device: self.segments_from_device - before.segments_from_device,
            segments_to_device: self.segments_to_device - before.segments_to_device,
            retransmissions_from_device: self.retransmissions_from_device
                - before.retransmissions_from_device,
        }
    }
}

/// What one direction of a link did, by its model alone: link time is neither
/// the host's nor the device's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// How long at least one frame was in the link: waited for its turn, was
    /// sent, or was on its way. Counted when a frame enters, until it arrives.
    pub busy: Duration,
    /// How long frames were being sent, the lost ones and copies included.
    pub airtime: Duration,
    /// Copies that were delivered beside their frames.
    pub duplicated: u64,
    /// Frames that arrived with a bit changed.
    pub corrupted: u64,
    /// SYN segments whose segment size was lowered to what the MTU allows.
    pub clamped: u64,
}

/// What one port has seen since the network started. Detaching and attaching
/// the device does not reset it.
///
/// ```text
/// device ── from_device ─► link ── to_switch ──► switch
///        ◄─── to_device ── link ◄─ from_switch ─
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames the device sent, as they entered the link: the dropped ones
    /// included.
    pub from_device: Traffic,
    /// Frames of the device that came out of the link.
    pub to_switch: Traffic,
    /// Frames for the device, as they entered the link: the dropped ones
    /// included.
    pub from_switch: Traffic,
    /// Frames that came out of the link and were handed to the device's NIC.
    pub to_device: Traffic,
    /// TCP segments that the device sent.
    pub tcp_from_device: TcpCounters,
    /// TCP segments that were sent to the device.
    pub tcp_from_switch: TcpCounters,
    /// TCP segments handed to the device's NIC.
    pub segments_to_device: u64,
    /// What had crossed the device's end of the link, since a device was
    /// attached, when it last opened a connection; without the segment that
    /// opened it. A device that says in a connection what it counted before it
    /// can be held against this.
    pub at_opening: Crossed,
    /// Frames dropped on the way from or to the device.
    pub drops: DropCounters,
    /// Those of them that were dropped as they entered the link to the device.
    pub drops_to_device: DropCounters,
    /// Frames that reached the gateway but were not for it: neither ARP for its
    /// address nor TCP between device and gateway.
    pub gateway_ignored: u64,
    /// Connections through the gateway.
    pub connections: ConnectionCounters,
    /// The link from the device.
    pub uplink: LinkCounters,
    /// The link to the device.
    pub downlink: LinkCounters,
}
