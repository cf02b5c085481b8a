//! The last words of a device.
//!
//! A panic or a fault prints an event line that says what and where, then
//! registers and a backtrace as plain lines, then asks for a reset, which
//! ends QEMU under `-no-reboot`. Addresses are resolved on the host against
//! the ELF image, for instance with `llvm-addr2line -e`.
//!
//! The backtrace is every word of the stack that looks like a return address:
//! it needs no unwind tables on the device and survives a broken frame, but
//! may show a call that is long over.

use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use zfl_proto::console::Event;

use crate::drivers::cpu::{self, FaultStatus, Registers};
use crate::drivers::{memory, uart};
use crate::text::Text;

const BACKTRACE_MAX: usize = 16;
const MESSAGE_BYTES_MAX: usize = 400;

static DYING: AtomicBool = AtomicBool::new(false);

/// Prints without interrupts, tasks or locks.
struct LastWords;

impl fmt::Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                uart::emergency_write(b"\r");
            }
            uart::emergency_write(&[byte]);
        }
        Ok(())
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    let registers = Registers::capture();
    // "panicked at FILE:LINE:COLUMN:" and the message, on one line.
    let message = Text::<MESSAGE_BYTES_MAX>::of(format_args!("{info}"));
    die(&Event::Panic(message.as_str()), &registers, None)
}

/// A processor fault; called by its entry code.
pub(crate) fn on_fault(registers: &Registers, status: &FaultStatus) -> ! {
    let mut message = Text::<MESSAGE_BYTES_MAX>::of(format_args!("{}", status.cause()));
    if let Some(address) = status.address() {
        let _ = write!(message, " address={address:#010x}");
    }
    if let Some(pc) = registers.pc() {
        let _ = write!(message, " pc={pc:#010x}");
    }
    let stack_low = memory::stack_low_address();
    if registers.pc().is_none() || registers.sp() < stack_low {
        let _ = write!(
            message,
            " (stack overflow: sp={:#010x}, the stack begins at {stack_low:#010x})",
            registers.sp()
        );
    }
    die(&Event::Fault(message.as_str()), registers, Some(status))
}

/// An interrupt or exception that nobody asked for.
pub(crate) fn unexpected_exception(number: impl fmt::Display) -> ! {
    let registers = Registers::capture();
    let message = Text::<MESSAGE_BYTES_MAX>::of(format_args!("unexpected exception {number}"));
    die(&Event::Fault(message.as_str()), &registers, None)
}

fn die(event: &Event<'_>, registers: &Registers, status: Option<&FaultStatus>) -> ! {
    cpu::mask_interrupts();
    // A panic while dying must not go round for ever.
    if DYING.swap(true, Ordering::Relaxed) {
        cpu::reset();
    }
    // `LastWords` never fails.
    let _ = describe(event, registers, status);
    cpu::reset()
}

fn describe(event: &Event<'_>, registers: &Registers, status: Option<&FaultStatus>) -> fmt::Result {
    let mut out = LastWords;
    writeln!(out, "\n{event}")?;
    writeln!(out, "{registers}")?;
    if let Some(status) = status {
        writeln!(out, "{status}")?;
    }
    writeln!(out, "backtrace:")?;
    let stack_low = memory::stack_low_address();
    let first = registers.sp().max(stack_low) & !3;
    let mut frame_count = 0;
    let mut call = |address: usize| {
        if cpu::is_return_address(address) && frame_count < BACKTRACE_MAX {
            // The call itself is just before where it returns to.
            let _ = writeln!(LastWords, "  {:#010x}", address - 1);
            frame_count += 1;
        }
    };
    if let Some(pc) = registers.pc() {
        writeln!(out, "  {pc:#010x}")?;
    }
    call(registers.return_address());
    let mut address = first;
    while let Some(word) = memory::stack_word(address) {
        call(word as usize);
        address += 4;
    }
    writeln!(out, "end")
}
