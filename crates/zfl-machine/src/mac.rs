//! Ethernet addresses of machines.

use std::fmt;

/// An Ethernet address, as the emulator is told. The network that a machine is
/// connected to says which ones it lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_usual() {
        let address = MacAddress([0x5e, 0, 0x0f, 0xa0, 1, 255]);
        assert_eq!(address.to_string(), "5e:00:0f:a0:01:ff");
    }
}
