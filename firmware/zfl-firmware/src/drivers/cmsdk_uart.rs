//! A CMSDK APB UART.
//!
//! Source: Arm Cortex-M System Design Kit Technical Reference Manual
//! (DDI 0479), section 4.3.

use super::registers::Registers;

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

/// The UART.
#[derive(Clone, Copy)]
pub(super) struct Port(pub(super) Registers);

impl Port {
    pub(super) fn start(self) {
        self.0.write(BAUD_DIVIDER, BAUD_DIVIDER_MIN);
        self.0.write(CONTROL, CONTROL_ALL);
    }

    /// Clears the interrupt; whether it was that of a byte sent. (Boards, and
    /// versions of QEMU, differ in which number is which.)
    pub(super) fn acknowledge(self) -> bool {
        let pending = self.0.read(INTERRUPT_STATUS);
        self.0.write(INTERRUPT_CLEAR, pending);
        pending & INTERRUPT_TX != 0
    }

    pub(super) fn receive(self) -> Option<u8> {
        if self.0.read(STATE) & STATE_RX_FULL == 0 {
            return None;
        }
        let [byte, ..] = self.0.read(DATA).to_le_bytes();
        Some(byte)
    }

    pub(super) fn can_send(self) -> bool {
        self.0.read(STATE) & STATE_TX_FULL == 0
    }

    /// Sends a byte; its interrupt says when another may follow.
    pub(super) fn send(self, byte: u8) {
        self.0.write(DATA, u32::from(byte));
    }

    /// There is nothing more to send.
    #[expect(clippy::unused_self, reason = "other UARTs have something to do")]
    pub(super) fn idle(self) {}
}
