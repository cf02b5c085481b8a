//! The TCP/IP stack and its sockets.

use core::cell::RefCell;
use core::net::Ipv4Addr;

use embassy_net::{Config, ConfigV4, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use static_cell::StaticCell;

use crate::Board;
use crate::drivers::nic::{InitError, Nic};
use crate::meter::{Meter, SharedTally, Tally};
use crate::sizes::{CLIENT_WINDOW_BYTES, SERVER_SOCKETS, SERVER_WINDOW_BYTES};

/// What a full segment carries. Windows are multiples of it: a window with an
/// odd rest is filled by two small segments in place of a full one, and each
/// costs the same to receive.
pub(crate) const SEGMENT_BYTES: usize = 1460;

/// QEMU's LAN9118 has 10,560 bytes of receive FIFO and drops what does not fit:
/// six full frames of 1,518 bytes do, with room for acknowledgements.
const WINDOWS_BYTES_MAX: usize = 6 * SEGMENT_BYTES;
const _: () =
    assert!(SERVER_SOCKETS * SERVER_WINDOW_BYTES + CLIENT_WINDOW_BYTES <= WINDOWS_BYTES_MAX);

/// The network device.
pub(crate) type Device = Meter<Nic>;

/// Starts NIC and stack; the address follows by [`configure`].
///
/// # Errors
/// When the NIC does not answer.
pub(crate) fn init(
    board: &Board,
) -> Result<
    (
        Stack<'static>,
        Runner<'static, Device>,
        &'static SharedTally,
    ),
    InitError,
> {
    static RESOURCES: StaticCell<StackResources<{ SERVER_SOCKETS + 1 }>> = StaticCell::new();
    static TALLY: StaticCell<SharedTally> = StaticCell::new();

    let nic = Nic::new(board)?;
    // Ports and sequence numbers begin elsewhere on each device, but at the
    // same place in each run.
    let seed = nic.address().iter().fold(0, |seed: u64, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let tally: &'static SharedTally = TALLY.init(RefCell::new(Tally::default()));
    let device = Meter::new(nic, tally);
    let (stack, runner) = embassy_net::new(
        device,
        Config::default(),
        RESOURCES.init(StackResources::new()),
        seed,
    );
    Ok((stack, runner, tally))
}

/// Gives the stack its address; there is no router, for a device reaches
/// nothing but its own network.
pub(crate) fn configure(stack: Stack<'_>, address: Ipv4Addr, prefix_bits: u8) {
    stack.set_config_v4(ConfigV4::Static(StaticConfigV4 {
        address: Ipv4Cidr::new(address, prefix_bits),
        gateway: None,
        dns_servers: heapless::Vec::new(),
    }));
}

/// Moves packets, for ever.
#[embassy_executor::task]
pub(crate) async fn run(mut runner: Runner<'static, Device>) -> ! {
    runner.run().await
}
