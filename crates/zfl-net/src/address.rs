//! Who has which address on the virtual network.

use core::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use zfl_seed::{Purpose, Stream};

/// The port at which devices reach the coordinator.
pub const COORDINATOR_PORT: u16 = 8080;

/// The port at which a device serves the coordinator's requests.
pub const DEVICE_PORT: u16 = 80;

/// Devices that fit the small plan, `192.0.2.0/24`.
const SMALL_DEVICES_MAX: usize = 200;

/// Host addresses used of each 256 of the large plan: `.0` and `.255` are left
/// out, some stacks take them for network and broadcast addresses.
const LARGE_HOSTS_PER_BLOCK: usize = 254;

/// Blocks of 256 addresses of `198.18.0.0/15`, without the first (the
/// gateway's) and the last (its end is the broadcast address).
const LARGE_BLOCKS: usize = 510;

/// The address plan cannot hold the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressPlanError {
    /// A fleet without devices has no network.
    #[error("a network needs at least one device")]
    Empty,
    /// More devices than addresses.
    #[error(
        "{devices} devices do not fit the address plan: 198.18.0.0/15 holds {} (use fewer devices)",
        AddressPlan::DEVICES_MAX
    )]
    TooManyDevices {
        /// The devices asked for.
        devices: usize,
    },
}

/// The IPv4 addresses of a fleet and its gateway.
///
/// | devices | network | gateway | device `i` |
/// |---|---|---|---|
/// | up to 200 | `192.0.2.0/24` (RFC 5737, documentation) | `192.0.2.2` | `192.0.2.(10 + i)` |
/// | more | `198.18.0.0/15` (RFC 2544, benchmarks) | `198.18.0.2` | from `198.18.1.1`, skipping `.0` and `.255` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPlan {
    devices: usize,
}

impl AddressPlan {
    /// The devices of the largest plan.
    pub const DEVICES_MAX: usize = LARGE_HOSTS_PER_BLOCK * LARGE_BLOCKS;

    /// The plan for a fleet of `devices`.
    ///
    /// # Errors
    /// When the fleet is empty or larger than [`Self::DEVICES_MAX`].
    pub const fn for_fleet(devices: usize) -> Result<Self, AddressPlanError> {
        match devices {
            0 => Err(AddressPlanError::Empty),
            1..=Self::DEVICES_MAX => Ok(Self { devices }),
            _ => Err(AddressPlanError::TooManyDevices { devices }),
        }
    }

    /// How many devices the plan was made for.
    pub const fn devices(&self) -> usize {
        self.devices
    }

    /// The gateway, which stands for the coordinator on this network.
    pub const fn gateway(&self) -> Ipv4Addr {
        if self.is_small() {
            Ipv4Addr::new(192, 0, 2, 2)
        } else {
            Ipv4Addr::new(198, 18, 0, 2)
        }
    }

    /// The length of the network's prefix in bits.
    pub const fn prefix_length(&self) -> u8 {
        if self.is_small() { 24 } else { 15 }
    }

    /// The address of the device `index`, or `None` past the end of the fleet.
    pub fn device(&self, index: usize) -> Option<Ipv4Addr> {
        if index >= self.devices {
            return None;
        }
        let (network, offset) = if self.is_small() {
            (Ipv4Addr::new(192, 0, 2, 10), index)
        } else {
            let block = index / LARGE_HOSTS_PER_BLOCK;
            let host = index % LARGE_HOSTS_PER_BLOCK;
            (Ipv4Addr::new(198, 18, 1, 1), block * 256 + host)
        };
        let offset = u32::try_from(offset).ok()?;
        Some(Ipv4Addr::from_bits(network.to_bits() + offset))
    }

    /// Where devices reach the coordinator.
    pub const fn coordinator(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.gateway(), COORDINATOR_PORT)
    }

    const fn is_small(&self) -> bool {
        self.devices <= SMALL_DEVICES_MAX
    }
}

/// An Ethernet address (EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The gateway's index: none of a device's, see [`AddressPlan::DEVICES_MAX`].
    const GATEWAY_INDEX: [u8; 3] = [0xff; 3];

    /// The address of the device `index` in the run with this seed.
    ///
    /// Locally administered and unicast (`02:…`). Two bytes come from the seed,
    /// so that runs side by side on one bridge differ; three are the index, so
    /// that two devices of a run never share one.
    ///
    /// Returns `None` for an index that no [`AddressPlan`] holds.
    pub fn for_device(seed: u64, index: usize) -> Option<Self> {
        if index >= AddressPlan::DEVICES_MAX {
            return None;
        }
        let [_, high, middle, low] = u32::try_from(index).ok()?.to_be_bytes();
        Some(Self::with_index(seed, [high, middle, low]))
    }

    /// The addresses of the first `devices` devices of the run with this seed
    /// (at most [`AddressPlan::DEVICES_MAX`]).
    pub fn for_fleet(seed: u64, devices: usize) -> Vec<Self> {
        (0..devices)
            .map_while(|index| Self::for_device(seed, index))
            .collect()
    }

    /// The gateway's address in the run with this seed.
    pub fn for_gateway(seed: u64) -> Self {
        Self::with_index(seed, Self::GATEWAY_INDEX)
    }

    fn with_index(seed: u64, index: [u8; 3]) -> Self {
        let [first, second, ..] = Stream::new(seed, Purpose::MacAddress, 0)
            .next_u32()
            .to_le_bytes();
        let [high, middle, low] = index;
        Self([0x02, first, second, high, middle, low])
    }

    /// Whether the address names a group (multicast or broadcast).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check(devices: usize, index: usize, gateway: &str, prefix_length: u8, device: &str) {
        let plan = AddressPlan::for_fleet(devices).unwrap();
        assert_eq!(plan.gateway().to_string(), gateway);
        assert_eq!(plan.prefix_length(), prefix_length);
        assert_eq!(plan.device(index).unwrap().to_string(), device);
    }

    #[test]
    fn addresses_follow_the_plan() {
        check(1, 0, "192.0.2.2", 24, "192.0.2.10");
        check(200, 199, "192.0.2.2", 24, "192.0.2.209");
        check(201, 0, "198.18.0.2", 15, "198.18.1.1");
        check(1000, 253, "198.18.0.2", 15, "198.18.1.254");
        check(1000, 254, "198.18.0.2", 15, "198.18.2.1");
        check(
            AddressPlan::DEVICES_MAX,
            AddressPlan::DEVICES_MAX - 1,
            "198.18.0.2",
            15,
            "198.19.254.254",
        );
    }

    #[test]
    fn an_impossible_fleet_is_refused() {
        assert_eq!(AddressPlan::for_fleet(0), Err(AddressPlanError::Empty));
        let devices = AddressPlan::DEVICES_MAX + 1;
        assert_eq!(
            AddressPlan::for_fleet(devices),
            Err(AddressPlanError::TooManyDevices { devices })
        );
        assert_eq!(AddressPlan::for_fleet(5).unwrap().device(5), None);
    }

    #[test]
    fn no_two_devices_share_an_address() {
        let plan = AddressPlan::for_fleet(5000).unwrap();
        let mut addresses: HashSet<_> = (0..5000).map(|i| plan.device(i).unwrap()).collect();
        assert!(addresses.insert(plan.gateway()));
        let mut macs: HashSet<_> = MacAddress::for_fleet(3, 5000).into_iter().collect();
        assert!(macs.insert(MacAddress::for_gateway(3)));
        assert_eq!((addresses.len(), macs.len()), (5001, 5001));
    }

    #[test]
    fn a_mac_address_is_local_unicast_and_stable() {
        let mac = MacAddress::for_device(1, 258).unwrap();
        assert_eq!(mac.0[0] & 0b11, 0b10);
        assert_eq!(mac.0[3..], [0, 1, 2]);
        assert_eq!(Some(mac), MacAddress::for_device(1, 258));
        assert_ne!(Some(mac), MacAddress::for_device(2, 258));
        assert_eq!(MacAddress::for_device(1, AddressPlan::DEVICES_MAX), None);
        assert_eq!(
            MacAddress([2, 0, 0xab, 0, 1, 0xff]).to_string(),
            "02:00:ab:00:01:ff"
        );
    }
}
