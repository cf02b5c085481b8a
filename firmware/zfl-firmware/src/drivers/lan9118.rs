//! Ethernet: SMSC LAN9118 without DMA, as a driver of embassy-net.
//!
//! Source: SMSC LAN9118 datasheet, revision 1.5, chapters 3 and 5. Frames
//! move through two FIFOs word by word. The one interrupt used is "receive
//! status FIFO not empty"; the handler masks it and wakes the network task,
//! which drains the FIFO before it unmasks.
//!
//! QEMU's receive FIFO holds 10,560 bytes and drops what does not fit without
//! a word, so the receive windows of all sockets together stay below that.
//! Transmission is synchronous there; here it merely waits for FIFO space.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;

use super::interrupt::{self, Source};
use super::registers::Registers;
use crate::Board;

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CONFIG: usize = 0x54;
/// Output enabled, active high, push-pull.
const IRQ_CONFIG_ON: u32 = 0x111;
const INTERRUPT_STATUS: usize = 0x58;
const INTERRUPT_ENABLE: usize = 0x5c;
/// Receive status FIFO level.
const INTERRUPT_RX_STATUS: u32 = 1 << 3;
const FIFO_LEVELS: usize = 0x68;
/// Transmit levels high, receive status level 0: interrupt at the first frame.
const FIFO_LEVELS_VALUE: u32 = 0xff00_0000;
const RX_CONFIG: usize = 0x6c;
const TX_CONFIG: usize = 0x70;
const TX_CONFIG_ON: u32 = 1 << 1;
const HARDWARE_CONFIG: usize = 0x74;
const HARDWARE_CONFIG_RESET: u32 = 1;
/// Store and forward, 5 KiB of the FIFO memory for transmission.
const HARDWARE_CONFIG_VALUE: u32 = 0x0015_0000;
const RX_FIFO_INFO: usize = 0x7c;
const TX_FIFO_INFO: usize = 0x80;
const MAC_COMMAND: usize = 0xa4;
const MAC_COMMAND_BUSY: u32 = 1 << 31;
const MAC_COMMAND_READ: u32 = 1 << 30;
const MAC_DATA: usize = 0xa8;

/// Registers behind [`MAC_COMMAND`]. An unknown number ends QEMU.
const MAC_CONTROL: u32 = 1;
/// Full duplex, transmitter and receiver on.
const MAC_CONTROL_VALUE: u32 = 0x0010_000c;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;

const RX_STATUS_ERROR: u32 = 1 << 15;
const CRC_BYTES: usize = 4;
/// First and last segment of a frame in one transmit command.
const TX_COMMAND_WHOLE_FRAME: u32 = 0x3000;
const TX_COMMAND_BYTES: usize = 8;

/// Largest Ethernet frame without its CRC.
const FRAME_BYTES_MAX: usize = 1514;
const BUFFER_BYTES: usize = 1520;
const BUFFER_WORDS: usize = BUFFER_BYTES / 4;

/// Polls of a busy flag before the device is taken for dead.
const POLLS_MAX: u32 = 100_000;

static WAKER: AtomicWaker = AtomicWaker::new();
static BASE: AtomicUsize = AtomicUsize::new(0);

/// Why there is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitError {
    /// The soft reset does not end.
    Reset,
    /// The MAC registers stay busy.
    Mac,
}

impl core::fmt::Display for InitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Reset => "LAN9118 does not come out of reset (is a NIC attached?)",
            Self::Mac => "the MAC of the LAN9118 stays busy",
        })
    }
}

/// The NIC and a buffer for each direction.
pub(crate) struct Nic {
    registers: Registers,
    address: [u8; 6],
    rx: &'static mut [u8; BUFFER_BYTES],
    tx: &'static mut [u8; BUFFER_BYTES],
}

impl Nic {
    /// Resets and starts the NIC and reads its address, which the QEMU
    /// command line sets. There is one: its buffers are static.
    pub(crate) fn new(board: &Board) -> Result<Self, InitError> {
        static RX: ConstStaticCell<[u8; BUFFER_BYTES]> = ConstStaticCell::new([0; BUFFER_BYTES]);
        static TX: ConstStaticCell<[u8; BUFFER_BYTES]> = ConstStaticCell::new([0; BUFFER_BYTES]);
        // SAFETY: the board file says that a LAN9118 is there.
        let registers = unsafe { Registers::new(board.nic_base) };
        registers.write(HARDWARE_CONFIG, HARDWARE_CONFIG_RESET);
        wait_clear(
            registers,
            HARDWARE_CONFIG,
            HARDWARE_CONFIG_RESET,
            InitError::Reset,
        )?;
        let [a, b, c, d] = mac_read(registers, MAC_ADDRESS_LOW)?.to_le_bytes();
        let [e, f, ..] = mac_read(registers, MAC_ADDRESS_HIGH)?.to_le_bytes();
        registers.write(HARDWARE_CONFIG, HARDWARE_CONFIG_VALUE);
        registers.write(FIFO_LEVELS, FIFO_LEVELS_VALUE);
        registers.write(RX_CONFIG, 0);
        registers.write(TX_CONFIG, TX_CONFIG_ON);
        mac_write(registers, MAC_CONTROL, MAC_CONTROL_VALUE)?;
        registers.write(INTERRUPT_STATUS, u32::MAX);
        BASE.store(board.nic_base, Ordering::Relaxed);
        // Before the NVIC listens: until its polarity is set, the line is
        // active low, that is, on, and the handler could not turn it off.
        registers.write(IRQ_CONFIG, IRQ_CONFIG_ON);
        interrupt::enable(Source::Nic, board.nic_irq);
        registers.write(INTERRUPT_ENABLE, INTERRUPT_RX_STATUS);
        Ok(Self {
            registers,
            address: [a, b, c, d, e, f],
            rx: RX.take(),
            tx: TX.take(),
        })
    }

    /// The NIC's own address.
    pub(crate) const fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Takes the next good frame out of the FIFO; gives its length.
    fn take_frame(&mut self) -> Option<usize> {
        while (self.registers.read(RX_FIFO_INFO) >> 16) & 0xff != 0 {
            let status = self.registers.read(RX_STATUS);
            let length = (status >> 16) as usize & 0x3fff;
            let good =
                status & RX_STATUS_ERROR == 0 && (CRC_BYTES..=BUFFER_BYTES).contains(&length);
            for index in 0..length.div_ceil(4) {
                let word = self.registers.read(RX_DATA).to_le_bytes();
                if let Some(slot) = self.rx.get_mut(index * 4..index * 4 + 4)
                    && good
                {
                    slot.copy_from_slice(&word);
                }
            }
            if good {
                return Some(length - CRC_BYTES);
            }
        }
        None
    }

    fn has_space(&self) -> bool {
        let free_bytes = self.registers.read(TX_FIFO_INFO) & 0xffff;
        free_bytes as usize >= BUFFER_BYTES + TX_COMMAND_BYTES
    }
}

fn wait_clear(
    registers: Registers,
    offset: usize,
    mask: u32,
    error: InitError,
) -> Result<(), InitError> {
    for _ in 0..POLLS_MAX {
        if registers.read(offset) & mask == 0 {
            return Ok(());
        }
    }
    Err(error)
}

fn mac_read(registers: Registers, number: u32) -> Result<u32, InitError> {
    registers.write(MAC_COMMAND, MAC_COMMAND_BUSY | MAC_COMMAND_READ | number);
    wait_clear(registers, MAC_COMMAND, MAC_COMMAND_BUSY, InitError::Mac)?;
    Ok(registers.read(MAC_DATA))
}

fn mac_write(registers: Registers, number: u32, value: u32) -> Result<(), InitError> {
    registers.write(MAC_DATA, value);
    registers.write(MAC_COMMAND, MAC_COMMAND_BUSY | number);
    wait_clear(registers, MAC_COMMAND, MAC_COMMAND_BUSY, InitError::Mac)
}

pub(super) fn on_interrupt() {
    // SAFETY: `Nic::new` stored the base before it enabled the interrupt.
    let registers = unsafe { Registers::new(BASE.load(Ordering::Relaxed)) };
    registers.write(INTERRUPT_ENABLE, 0);
    WAKER.wake();
}

impl Driver for Nic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        if !self.has_space() {
            // An answer may follow at once. The FIFO drains by itself.
            cx.waker().wake_by_ref();
            return None;
        }
        let length = self.take_frame().or_else(|| {
            WAKER.register(cx.waker());
            self.registers.write(INTERRUPT_STATUS, INTERRUPT_RX_STATUS);
            self.registers.write(INTERRUPT_ENABLE, INTERRUPT_RX_STATUS);
            // One may have come in between.
            self.take_frame()
        })?;
        Some((
            Received {
                frame: self.rx.get_mut(..length)?,
            },
            Transmit {
                registers: self.registers,
                buffer: self.tx,
            },
        ))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Transmit<'_>> {
        if !self.has_space() {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(Transmit {
            registers: self.registers,
            buffer: self.tx,
        })
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        // The cable of an emulated NIC is never pulled.
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        // smoltcp would announce no larger window than a burst, and take 14 bytes
        // too much for a segment: each window would be filled by two. The windows
        // that `sizes` gives are what this can take at once.
        capabilities.max_burst_size = None;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that came in.
pub(crate) struct Received<'a> {
    frame: &'a mut [u8],
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.frame)
    }
}

/// The right to send one frame.
pub(crate) struct Transmit<'a> {
    registers: Registers,
    buffer: &'a mut [u8; BUFFER_BYTES],
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let length = length.min(FRAME_BYTES_MAX);
        let (frame, _) = self.buffer.split_at_mut(length);
        let result = f(frame);
        #[expect(clippy::cast_possible_truncation, reason = "at most FRAME_BYTES_MAX")]
        let length_bits = length as u32;
        self.registers
            .write(TX_DATA, TX_COMMAND_WHOLE_FRAME | length_bits);
        self.registers
            .write(TX_DATA, length_bits << 16 | length_bits);
        let (words, _) = self.buffer.as_chunks();
        for word in words.iter().take(length.div_ceil(4)) {
            self.registers.write(TX_DATA, u32::from_le_bytes(*word));
        }
        // Statuses are of no use to us but fill their FIFO.
        for _ in 0..BUFFER_WORDS {
            if (self.registers.read(TX_FIFO_INFO) >> 16) & 0xff == 0 {
                break;
            }
            self.registers.read(TX_STATUS);
        }
        result
    }
}
