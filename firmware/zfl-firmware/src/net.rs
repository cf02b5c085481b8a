//! The TCP/IP stack and its sockets.

use core::cell::RefCell;
use core::net::Ipv4Addr;

use embassy_net::{Config, ConfigV4, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use static_cell::StaticCell;

use crate::Board;
use crate::drivers::lan9118::{InitError, Lan9118};
use crate::meter::{Meter, SharedTally, Tally};

/// Requests of the coordinator that can be served at the same time. One more
/// than a coordinator needs, because a socket that closes is not listening.
pub(crate) const SERVER_SOCKETS: usize = 3;
/// What a full segment carries. Windows are multiples of it: a window with an
/// odd rest is filled by two small segments in place of a full one, and each
/// costs the same to receive.
const SEGMENT_BYTES: usize = 1460;
/// Receive window of a server socket.
pub(crate) const SERVER_WINDOW_BYTES: usize = SEGMENT_BYTES;
/// Receive window of the one socket for requests to the coordinator.
pub(crate) const CLIENT_WINDOW_BYTES: usize = 3 * SEGMENT_BYTES;
/// Unacknowledged bytes that a server socket can have under way.
pub(crate) const SERVER_SEND_BYTES: usize = 1024;
/// The same for requests: an update is 50 KB, so more is faster.
pub(crate) const CLIENT_SEND_BYTES: usize = 8192;

/// QEMU's NIC has 10,560 bytes of receive FIFO and drops what does not fit:
/// six full frames of 1,518 bytes do, with room for acknowledgements.
const WINDOWS_BYTES_MAX: usize = 6 * SEGMENT_BYTES;
const _: () =
    assert!(SERVER_SOCKETS * SERVER_WINDOW_BYTES + CLIENT_WINDOW_BYTES <= WINDOWS_BYTES_MAX);

/// The network device.
pub(crate) type Device = Meter<Lan9118>;

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

    let nic = Lan9118::new(board)?;
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
