//! A virtual Ethernet in user space, and the way from it to the host and back.
//!
//! ```text
//!  device 0 ═╗                                      ┌─► coordinator's socket
//!  device 1 ═╬═ cables ═ [switch] ═ [gateway] ══════┤
//!  device 2 ═╝                                      └── endpoints, one a device
//! ```
//!
//! * [`address`]: who has which IP and MAC address.
//! * [`switch`]: a learning switch as a state machine over explicit time. Its
//!   ports have a [`lane`] each way, a bounded queue with a [`link`] (rate, delay,
//!   loss and all that goes wrong on a wire), an [`observer`] of TCP at either
//!   end of it, and [`counters`].
//! * [`gateway`]: the coordinator's address on the network. It splices TCP
//!   connections: of devices to the coordinator's socket on the host, of host
//!   programs to devices, and nothing else.
//! * [`capture`]: what passes the devices' ports, in files for Wireshark.
//! * [`network`]: the thread that moves real bytes through both. Needs no
//!   privileges.
//! * [`bridge`]: the other way to connect a fleet, for those who want to look
//!   with the kernel's tools: a Linux bridge and taps in a network namespace of
//!   the run's own. The kernel does the work there: no switch, no gateway and
//!   no link model.
//!
//! Nothing here knows what the frames are about. IPv4 and TCP only.

pub mod address;
pub mod bridge;
pub mod capture;
pub mod counters;
pub mod frame;
pub mod gateway;
pub mod lane;
pub mod link;
pub mod network;
pub mod observer;
mod poller;
pub mod switch;
pub mod time;

pub use address::{AddressPlan, MacAddress};
pub use capture::{Capture, CaptureError, CaptureOptions, CaptureReport};
pub use counters::{DropReason, LinkCounters, PortCounters};
pub use network::{Network, NetworkError, NetworkOptions};
pub use observer::{RoundTrips, TcpCounters};
