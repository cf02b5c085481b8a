//! An Arm PrimeCell UART (PL011), as the Stellaris microcontrollers have it.
//!
//! Source: PrimeCell UART (PL011) Technical Reference Manual (DDI 0183),
//! chapter 3; LM3S6965 data sheet, chapter 12. The FIFOs stay off: with one
//! byte on its way, the transmit interrupt comes after each.

use super::registers::Registers;

const DATA: usize = 0x000;
const FLAGS: usize = 0x018;
const FLAG_RX_EMPTY: u32 = 1 << 4;
const FLAG_TX_FULL: u32 = 1 << 5;
const BAUD_INTEGER: usize = 0x024;
const BAUD_FRACTION: usize = 0x028;
/// 115,200 baud at 50 MHz: 27 8/64.
const BAUD_INTEGER_VALUE: u32 = 27;
const BAUD_FRACTION_VALUE: u32 = 8;
const LINE_CONTROL: usize = 0x02c;
/// 8 bits, no FIFOs.
const LINE_CONTROL_VALUE: u32 = 0x60;
const CONTROL: usize = 0x030;
/// On, in both directions.
const CONTROL_ON: u32 = 0x301;
const INTERRUPT_MASK: usize = 0x038;
const INTERRUPT_MASKED_STATUS: usize = 0x040;
const INTERRUPT_CLEAR: usize = 0x044;
const INTERRUPT_RX: u32 = 1 << 4;
const INTERRUPT_TX: u32 = 1 << 5;

/// The UART.
#[derive(Clone, Copy)]
pub(super) struct Port(pub(super) Registers);

impl Port {
    pub(super) fn start(self) {
        self.0.write(CONTROL, 0);
        self.0.write(BAUD_INTEGER, BAUD_INTEGER_VALUE);
        self.0.write(BAUD_FRACTION, BAUD_FRACTION_VALUE);
        self.0.write(LINE_CONTROL, LINE_CONTROL_VALUE);
        self.0.write(INTERRUPT_CLEAR, INTERRUPT_RX | INTERRUPT_TX);
        self.0.write(INTERRUPT_MASK, INTERRUPT_RX | INTERRUPT_TX);
        self.0.write(CONTROL, CONTROL_ON);
    }

    /// Clears the interrupt; whether it was that of a byte sent.
    pub(super) fn acknowledge(self) -> bool {
        let pending = self.0.read(INTERRUPT_MASKED_STATUS);
        self.0.write(INTERRUPT_CLEAR, pending);
        pending & INTERRUPT_TX != 0
    }

    pub(super) fn receive(self) -> Option<u8> {
        if self.0.read(FLAGS) & FLAG_RX_EMPTY != 0 {
            return None;
        }
        let [byte, ..] = self.0.read(DATA).to_le_bytes();
        Some(byte)
    }

    pub(super) fn can_send(self) -> bool {
        self.0.read(FLAGS) & FLAG_TX_FULL == 0
    }

    /// Sends a byte; its interrupt says when another may follow.
    pub(super) fn send(self, byte: u8) {
        self.0.write(DATA, u32::from(byte));
    }

    /// There is nothing more to send.
    #[expect(clippy::unused_self, reason = "other UARTs have something to do")]
    pub(super) fn idle(self) {}
}
