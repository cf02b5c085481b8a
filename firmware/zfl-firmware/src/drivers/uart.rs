//! The console: a UART with a bounded queue for each direction.
//!
//! Both directions run on interrupts; [`emergency_write`] polls instead, for
//! the last words of a device. The registers are in a module for each kind of
//! UART, all with the same face.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;

#[cfg(feature = "mps2")]
use super::cmsdk_uart::Port;
use super::interrupt::{self, Source};
#[cfg(feature = "virt")]
use super::ns16550::Port;
#[cfg(feature = "stellaris")]
use super::pl011::Port;
use super::registers::Registers;
use crate::Board;

/// Polls of a full transmitter before a byte of the last words is given up.
const EMERGENCY_POLLS_MAX: u32 = 1_000_000;

static RECEIVED: Pipe<CriticalSectionRawMutex, 256> = Pipe::new();
static TO_SEND: Pipe<CriticalSectionRawMutex, { crate::sizes::CONSOLE_BYTES }> = Pipe::new();
/// Whether a byte is on its way, so that its interrupt will fetch the next.
static SENDING: AtomicBool = AtomicBool::new(false);
static BASE: AtomicUsize = AtomicUsize::new(0);
/// Bytes typed faster than the console task took them.
static OVERRUN_BYTES: AtomicU32 = AtomicU32::new(0);

fn port() -> Option<Port> {
    match BASE.load(Ordering::Relaxed) {
        0 => None,
        // SAFETY: `init` stored the base of the board's UART.
        base => Some(Port(unsafe { Registers::new(base) })),
    }
}

/// Sets the UART up. To be called once, before anything is printed.
pub(crate) fn init(board: &Board) {
    BASE.store(board.console_base, Ordering::Relaxed);
    if let Some(port) = port() {
        port.start();
    }
    interrupt::enable(Source::Console, board.console_rx_irq);
    interrupt::enable(Source::Console, board.console_tx_irq);
}

pub(super) fn on_interrupt() {
    let Some(port) = port() else {
        return;
    };
    if port.acknowledge() {
        send_next(port);
    }
    while let Some(byte) = port.receive() {
        if RECEIVED.try_write(&[byte]).is_err() {
            OVERRUN_BYTES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Moves one byte from the queue to the UART, whose interrupt says when it
/// can take another.
fn send_next(port: Port) {
    critical_section::with(|_| {
        let mut byte = [0];
        let any = TO_SEND.try_read(&mut byte).is_ok();
        SENDING.store(any, Ordering::Relaxed);
        if any {
            port.send(byte[0]);
        } else {
            port.idle();
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
        if let Some(port) = port()
            && !SENDING.load(Ordering::Relaxed)
        {
            send_next(port);
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
    let Some(port) = port() else {
        return;
    };
    let send = |byte: u8| {
        for _ in 0..EMERGENCY_POLLS_MAX {
            if port.can_send() {
                port.send(byte);
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
