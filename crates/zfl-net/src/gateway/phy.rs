//! Where a TCP/IP stack's packets come from and go to: frames in memory.

use std::collections::VecDeque;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::address::MacAddress;
use crate::frame::{Frame, Header, PAYLOAD_BYTES_MAX, TYPE_IPV4};

/// The frames of one device, on the gateway's side. The stack above sees IP
/// packets; the Ethernet header towards the device never changes.
#[derive(Debug)]
pub(crate) struct Phy {
    pub(crate) received: VecDeque<Frame>,
    pub(crate) sent: Vec<Frame>,
    pub(crate) device: MacAddress,
    pub(crate) gateway: MacAddress,
}

impl Phy {
    /// The header of a frame to the device.
    pub(crate) const fn header(&self, kind: u16) -> Header {
        Header {
            destination: self.device,
            source: self.gateway,
            kind,
        }
    }
}

pub(crate) struct Receipt(Frame);

impl RxToken for Receipt {
    fn consume<R, F>(self, use_packet: F) -> R
    where
        F: FnOnce(&[u8]) -> R,
    {
        use_packet(Header::split(&self.0).map_or(&[], |(_, packet)| packet))
    }
}

pub(crate) struct Shipment<'p> {
    header: Header,
    sent: &'p mut Vec<Frame>,
}

impl TxToken for Shipment<'_> {
    fn consume<R, F>(self, packet_bytes: usize, fill: F) -> R
    where
        F: FnOnce(&mut [u8]) -> R,
    {
        let (frame, result) = self.header.build(packet_bytes, fill);
        self.sent.push(frame);
        result
    }
}

impl Device for Phy {
    type RxToken<'a> = Receipt;
    type TxToken<'a> = Shipment<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Receipt, Shipment<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Receipt(frame), self.transmit(now)?))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Shipment<'_>> {
        Some(Shipment {
            header: self.header(TYPE_IPV4),
            sent: &mut self.sent,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = PAYLOAD_BYTES_MAX;
        capabilities
    }
}
