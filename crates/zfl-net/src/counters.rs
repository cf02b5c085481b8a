//! What passed through a port and what did not.

use core::fmt;
use core::time::Duration;

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
    /// The link lost it.
    Lost,
    /// The link was down.
    Outage,
    /// Its packet is larger than the link's MTU.
    TooLarge,
}

impl DropReason {
    /// Every reason, in the order of [`DropCounters::iter`].
    pub const ALL: [Self; 12] = [
        Self::Short,
        Self::Oversize,
        Self::Malformed,
        Self::Spoofed,
        Self::Isolated,
        Self::UnknownDestination,
        Self::UplinkQueueFull,
        Self::DownlinkQueueFull,
        Self::Detached,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames the device sent, the dropped ones included.
    pub from_device: Traffic,
    /// Frames handed to the device's NIC.
    pub to_device: Traffic,
    /// Frames dropped on the way from or to the device.
    pub drops: DropCounters,
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
