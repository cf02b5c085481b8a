//! A UART of the kind of the National Semiconductor 16550A.
//!
//! Source: PC16550D data sheet (National Semiconductor, 1995), section 8. Its
//! registers are bytes. "Transmitter empty" is a state and not an event, so
//! its interrupt is on while there is something to send, and only then.

use super::registers::Registers;

/// Receiver and transmitter.
const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const INTERRUPT_RX: u8 = 1;
const INTERRUPT_TX_EMPTY: u8 = 2;
const FIFO_CONTROL: usize = 2;
/// On and empty; interrupt at the first byte.
const FIFO_CONTROL_VALUE: u8 = 0b111;
const LINE_CONTROL: usize = 3;
/// 8 bits, no parity, one stop bit.
const LINE_CONTROL_VALUE: u8 = 0b11;
const LINE_STATUS: usize = 5;
const LINE_STATUS_RX: u8 = 1;
const LINE_STATUS_TX_EMPTY: u8 = 1 << 5;

/// The UART.
#[derive(Clone, Copy)]
pub(super) struct Port(pub(super) Registers);

impl Port {
    pub(super) fn start(self) {
        self.0.write_byte(INTERRUPT_ENABLE, 0);
        self.0.write_byte(LINE_CONTROL, LINE_CONTROL_VALUE);
        self.0.write_byte(FIFO_CONTROL, FIFO_CONTROL_VALUE);
        self.0.write_byte(INTERRUPT_ENABLE, INTERRUPT_RX);
    }

    /// Whether a byte may be sent for which the interrupt came.
    pub(super) fn acknowledge(self) -> bool {
        self.0.read_byte(INTERRUPT_ENABLE) & INTERRUPT_TX_EMPTY != 0 && self.can_send()
    }

    pub(super) fn receive(self) -> Option<u8> {
        if self.0.read_byte(LINE_STATUS) & LINE_STATUS_RX == 0 {
            return None;
        }
        Some(self.0.read_byte(DATA))
    }

    pub(super) fn can_send(self) -> bool {
        self.0.read_byte(LINE_STATUS) & LINE_STATUS_TX_EMPTY != 0
    }

    /// Sends a byte; the interrupt says when another may follow.
    pub(super) fn send(self, byte: u8) {
        self.0.write_byte(DATA, byte);
        self.0
            .write_byte(INTERRUPT_ENABLE, INTERRUPT_RX | INTERRUPT_TX_EMPTY);
    }

    /// There is nothing more to send.
    pub(super) fn idle(self) {
        self.0.write_byte(INTERRUPT_ENABLE, INTERRUPT_RX);
    }
}
