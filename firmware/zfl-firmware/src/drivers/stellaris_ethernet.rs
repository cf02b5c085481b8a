//! Ethernet: the controller of the Stellaris microcontrollers, as a driver of
//! embassy-net.
//!
//! Source: LM3S6965 data sheet, chapter 15. Frames pass through one register
//! word by word. A received frame begins with its length, in two bytes that
//! count themselves and the CRC; a frame to send with that of its payload. The
//! one interrupt used is "packet received"; the handler masks it and wakes the
//! network task, which empties the FIFO before it unmasks.
//!
//! QEMU's FIFO holds 31 frames and lets the network wait when it is full.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;

use super::interrupt::{self, Source};
use super::registers::Registers;
use crate::Board;

/// Status when read; clears when written.
const INTERRUPT_STATUS: usize = 0x00;
const INTERRUPT_MASK: usize = 0x04;
const INTERRUPT_RX: u32 = 1;
const RX_CONTROL: usize = 0x08;
const RX_CONTROL_ON: u32 = 1;
const RX_CONTROL_RESET_FIFO: u32 = 1 << 4;
const TX_CONTROL: usize = 0x0c;
/// On, short frames are padded, the CRC is added, full duplex.
const TX_CONTROL_VALUE: u32 = 0b1_0111;
const DATA: usize = 0x10;
const ADDRESS_LOW: usize = 0x14;
const ADDRESS_HIGH: usize = 0x18;
/// Frames in the receive FIFO.
const FRAME_COUNT: usize = 0x34;
const TX_REQUEST: usize = 0x38;
const TX_REQUEST_NEW: u32 = 1;

const LENGTH_BYTES: usize = 2;
const CRC_BYTES: usize = 4;
const HEADER_BYTES: usize = 14;
/// Largest Ethernet frame without its CRC.
const FRAME_BYTES_MAX: usize = 1514;
/// A frame with its length before and its CRC behind it, in whole words.
const BUFFER_BYTES: usize = 1520;

/// Polls of the transmitter before it is given up.
const POLLS_MAX: u32 = 100_000;

static WAKER: AtomicWaker = AtomicWaker::new();
static BASE: AtomicUsize = AtomicUsize::new(0);

/// Why there is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitError {
    /// It has no address.
    Address,
}

impl core::fmt::Display for InitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Address => "the Ethernet controller has no address (is a NIC attached?)",
        })
    }
}

/// The NIC and a buffer, in which a frame is in one direction at a time.
pub(crate) struct Nic {
    registers: Registers,
    address: [u8; 6],
    rx: &'static mut [u8; BUFFER_BYTES],
    tx: &'static mut [u8; BUFFER_BYTES],
}

impl Nic {
    /// Starts the NIC and reads its address, which the QEMU command line sets.
    /// There is one: its buffers are static.
    pub(crate) fn new(board: &Board) -> Result<Self, InitError> {
        static RX: ConstStaticCell<[u8; BUFFER_BYTES]> = ConstStaticCell::new([0; BUFFER_BYTES]);
        static TX: ConstStaticCell<[u8; BUFFER_BYTES]> = ConstStaticCell::new([0; BUFFER_BYTES]);
        // SAFETY: the board file says that the controller is there.
        let registers = unsafe { Registers::new(board.nic_base) };
        let [a, b, c, d] = registers.read(ADDRESS_LOW).to_le_bytes();
        let [e, f, ..] = registers.read(ADDRESS_HIGH).to_le_bytes();
        let address = [a, b, c, d, e, f];
        if address == [0; 6] {
            return Err(InitError::Address);
        }
        registers.write(INTERRUPT_MASK, 0);
        registers.write(RX_CONTROL, RX_CONTROL_RESET_FIFO);
        registers.write(INTERRUPT_STATUS, u32::MAX);
        registers.write(TX_CONTROL, TX_CONTROL_VALUE);
        registers.write(RX_CONTROL, RX_CONTROL_ON);
        BASE.store(board.nic_base, Ordering::Relaxed);
        interrupt::enable(Source::Nic, board.nic_irq);
        registers.write(INTERRUPT_MASK, INTERRUPT_RX);
        Ok(Self {
            registers,
            address,
            rx: RX.take(),
            tx: TX.take(),
        })
    }

    /// The NIC's own address.
    pub(crate) const fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Takes the next frame out of the FIFO; gives its length without CRC.
    fn take_frame(&mut self) -> Option<usize> {
        while self.registers.read(FRAME_COUNT) != 0 {
            let mut word = self.registers.read(DATA).to_le_bytes();
            let [low, high, ..] = word;
            let length = usize::from(u16::from_le_bytes([low, high]));
            let good = (LENGTH_BYTES + CRC_BYTES..=LENGTH_BYTES + BUFFER_BYTES).contains(&length);
            // The buffer begins with the frame and not with its length.
            let mut frame = self.rx.iter_mut();
            let mut skip = LENGTH_BYTES;
            let mut taken = 0;
            loop {
                for (byte, slot) in word.iter().skip(skip).zip(frame.by_ref()) {
                    *slot = *byte;
                }
                skip = 0;
                taken += word.len();
                if taken >= length {
                    break;
                }
                word = self.registers.read(DATA).to_le_bytes();
            }
            if good {
                return Some(length - LENGTH_BYTES - CRC_BYTES);
            }
        }
        None
    }

    fn can_send(&self) -> bool {
        self.registers.read(TX_REQUEST) & TX_REQUEST_NEW == 0
    }
}

pub(super) fn on_interrupt() {
    // SAFETY: `Nic::new` stored the base before it enabled the interrupt.
    let registers = unsafe { Registers::new(BASE.load(Ordering::Relaxed)) };
    registers.write(INTERRUPT_MASK, 0);
    WAKER.wake();
}

impl Driver for Nic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        let length = self.take_frame().or_else(|| {
            WAKER.register(cx.waker());
            self.registers.write(INTERRUPT_STATUS, INTERRUPT_RX);
            self.registers.write(INTERRUPT_MASK, INTERRUPT_RX);
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
        if !self.can_send() {
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
        let length = length.clamp(HEADER_BYTES, FRAME_BYTES_MAX);
        let (prefix, rest) = self.buffer.split_at_mut(LENGTH_BYTES);
        let (frame, _) = rest.split_at_mut(length);
        let result = f(frame);
        #[expect(clippy::cast_possible_truncation, reason = "at most FRAME_BYTES_MAX")]
        let payload_length = (length - HEADER_BYTES) as u16;
        prefix.copy_from_slice(&payload_length.to_le_bytes());
        // The last frame is out, but where an answer follows a frame at once.
        for _ in 0..POLLS_MAX {
            if self.registers.read(TX_REQUEST) & TX_REQUEST_NEW == 0 {
                break;
            }
        }
        let (words, _) = self.buffer.as_chunks();
        for word in words.iter().take((LENGTH_BYTES + length).div_ceil(4)) {
            self.registers.write(DATA, u32::from_le_bytes(*word));
        }
        self.registers.write(TX_REQUEST, TX_REQUEST_NEW);
        result
    }
}
