//! Ethernet addresses of the devices.

use std::fmt;

use zfl_seed::{Purpose, Stream};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of a device in a run: the same for the same seed, and
    /// different for each device below 2²⁴.
    ///
    /// `5e` is a locally administered unicast address (IEEE 802-2014, 8.4),
    /// then come two octets of the seed's and three of the device's index.
    pub fn of_device(seed: u64, device: u32) -> Self {
        let run = Stream::new(seed, Purpose::MacAddress, 0).next_u32();
        let [_, _, high, low] = run.to_be_bytes();
        let [_, a, b, c] = device.to_be_bytes();
        Self([0x5e, high, low, a, b, c])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn addresses_are_stable_unique_and_local() {
        let fleet: Vec<_> = (0..2000).map(|i| MacAddress::of_device(7, i)).collect();
        assert_eq!(fleet.iter().collect::<HashSet<_>>().len(), 2000);
        assert_eq!(fleet[5], MacAddress::of_device(7, 5));
        assert_ne!(fleet[5], MacAddress::of_device(8, 5));
        for address in fleet {
            assert_eq!(address.0[0] & 0b11, 0b10, "{address}");
        }
    }

    #[test]
    fn an_address_reads_as_usual() {
        let address = MacAddress([0x5e, 0, 0x0f, 0xa0, 1, 255]);
        assert_eq!(address.to_string(), "5e:00:0f:a0:01:ff");
    }
}
