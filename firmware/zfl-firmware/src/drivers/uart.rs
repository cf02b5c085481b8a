//! The console: a CMSDK APB UART.
//!
//! Source: Arm Cortex-M System Design Kit Technical Reference Manual
//! (DDI 0479), section 4.3. Both directions run on interrupts over bounded
//! queues; [`emergency_write`] polls instead, for the last words of a device.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;

use super::interrupt::{self, Source};
use super::registers::Registers;
use crate::Board;

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const STATE_TX_FULL: u32 = 1;
const STATE_RX_FULL: u32 = 2;
const CONTROL: usize = 0x08;
/// Transmitter, receiver and an interrupt for each.
const CONTROL_ALL: u32 = 0b1111;
const INTERRUPT_STATUS: usize = 0x0c;
/// The same register, when it is written.
const INTERRUPT_CLEAR: usize = INTERRUPT_STATUS;
const INTERRUPT_TX: u32 = 1;
const BAUD_DIVIDER: usize = 0x10;
/// The least that the hardware allows; an emulated line has no rate.
const BAUD_DIVIDER_MIN: u32 = 16;

/// Polls of a full transmitter before a byte of the last words is given up.
const EMERGENCY_POLLS_MAX: u32 = 1_000_000;

static RECEIVED: Pipe<CriticalSectionRawMutex, 256> = Pipe::new();
static TO_SEND: Pipe<CriticalSectionRawMutex, 1024> = Pipe::new();
/// Whether a byte is on its way, so that its interrupt will fetch the next.
static SENDING: AtomicBool = AtomicBool::new(false);
static BASE: AtomicUsize = AtomicUsize::new(0);
/// Bytes typed faster than the console task took them.
static OVERRUN_BYTES: AtomicU32 = AtomicU32::new(0);

fn registers() -> Option<Registers> {
    match BASE.load(Ordering::Relaxed) {
        0 => None,
        // SAFETY: `init` stored the base of the board's UART.
        base => Some(unsafe { Registers::new(base) }),
    }
}

/// Sets the UART up. To be called once, before anything is printed.
pub(crate) fn init(board: &Board) {
    BASE.store(board.console_base, Ordering::Relaxed);
    if let Some(registers) = registers() {
        registers.write(BAUD_DIVIDER, BAUD_DIVIDER_MIN);
        registers.write(CONTROL, CONTROL_ALL);
    }
    interrupt::enable(Source::ConsoleRx, board.console_rx_irq);
    interrupt::enable(Source::ConsoleTx, board.console_tx_irq);
}

/// Either interrupt: boards, and versions of QEMU, differ in which is which.
pub(super) fn on_interrupt() {
    let Some(registers) = registers() else {
        return;
    };
    let pending = registers.read(INTERRUPT_STATUS);
    registers.write(INTERRUPT_CLEAR, pending);
    if pending & INTERRUPT_TX != 0 {
        send_next(registers);
    }
    while registers.read(STATE) & STATE_RX_FULL != 0 {
        let [byte, ..] = registers.read(DATA).to_le_bytes();
        if RECEIVED.try_write(&[byte]).is_err() {
            OVERRUN_BYTES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Moves one byte from the queue to the UART, whose interrupt says when it
/// can take another.
fn send_next(registers: Registers) {
    critical_section::with(|_| {
        let mut byte = [0];
        let any = TO_SEND.try_read(&mut byte).is_ok();
        SENDING.store(any, Ordering::Relaxed);
        if any {
            registers.write(DATA, u32::from(byte[0]));
        }
    });
}

/// Bytes that the host typed: at least one, as many as there are and fit.
pub(crate) async fn read(buffer: &mut [u8]) -> usize {
    RECEIVED.read(buffer).await
}

/// Prints; waits while the queue is full.
pub(crate) async fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = TO_SEND.write(bytes).await;
        bytes = bytes.get(count..).unwrap_or(&[]);
        if let Some(registers) = registers()
            && !SENDING.load(Ordering::Relaxed)
        {
            send_next(registers);
        }
    }
}

/// Bytes lost because nobody read them in time.
pub(crate) fn overrun_bytes() -> u32 {
    OVERRUN_BYTES.load(Ordering::Relaxed)
}

/// Prints what is queued and then `bytes` without interrupts or tasks; gives
/// up on a line that nobody takes.
pub(crate) fn emergency_write(bytes: &[u8]) {
    let Some(registers) = registers() else {
        return;
    };
    let send = |byte: u8| {
        for _ in 0..EMERGENCY_POLLS_MAX {
            if registers.read(STATE) & STATE_TX_FULL == 0 {
                registers.write(DATA, u32::from(byte));
                return;
            }
        }
    };
    let mut queued = [0];
    while TO_SEND.try_read(&mut queued).is_ok() {
        send(queued[0]);
    }
    for byte in bytes {
        send(*byte);
    }
}
