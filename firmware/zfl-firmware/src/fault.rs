//! The last words of a device.
//!
//! A panic or a fault prints an event line that says what and where, then
//! registers, status and stack as plain lines up to the line `end`, then asks
//! for a reset, which ends QEMU under `-no-reboot`. The host makes a backtrace
//! of them with the debug information of the image (`zfl_machine::crash`): it
//! knows where each function keeps what its caller needs, which a device does
//! not.

use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use zfl_proto::console::{Crash, Event};

use crate::drivers::cpu::{self, FaultStatus, Registers};
use crate::drivers::{memory, uart};
use crate::text::Text;

const MESSAGE_BYTES_MAX: usize = 400;

/// So much of the stack is printed from where the device was, in bytes: the
/// innermost calls.
const STACK_INNER_BYTES: usize = 4096;
/// And of a deeper stack so much of its other end: the task that runs.
const STACK_OUTER_BYTES: usize = 1024;
const STACK_LINE_BYTES: usize = 32;

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
    let mut message = Text::<MESSAGE_BYTES_MAX>::of(format_args!(""));
    if let Some(location) = info.location() {
        let _ = write!(message, "at {location}: ");
    }
    let _ = write!(message, "{}", info.message());
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
    let low = memory::stack_low_address();
    let top = low + memory::stack_bytes();
    writeln!(out, "stack low={low:#010x} top={top:#010x}")?;
    let inner = registers.sp().clamp(low, top) & !3;
    let inner_end = top.min(inner + STACK_INNER_BYTES);
    print_stack(inner, inner_end)?;
    print_stack(inner_end.max(top - STACK_OUTER_BYTES.min(top - low)), top)?;
    writeln!(out, "end")
}

/// Prints the words of the stack from one address up to another.
fn print_stack(from: usize, to: usize) -> fmt::Result {
    let mut out = LastWords;
    for line in (from..to).step_by(STACK_LINE_BYTES) {
        write!(out, "{line:08x}:")?;
        for address in (line..to.min(line + STACK_LINE_BYTES)).step_by(4) {
            if let Some(word) = memory::stack_word(address) {
                write!(out, " {word:08x}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Ends the device in this way; a panic is the caller's, in its own frame.
#[track_caller]
#[inline(always)]
#[expect(clippy::panic, reason = "what was asked for")]
pub(crate) fn crash(how: Crash) {
    match how {
        Crash::Panic => panic!("asked for on the console"),
        Crash::Fault => memory::touch_guard(),
        Crash::Stack => {
            fill_stack(0);
        }
        Crash::Hang => cpu::hang(),
    }
}

/// Calls itself until the stack is full.
#[inline(never)]
fn fill_stack(depth: u32) -> u32 {
    let frame = core::hint::black_box([depth; 32]);
    if depth == u32::MAX {
        return 0;
    }
    let deeper = fill_stack(depth + 1);
    frame
        .iter()
        .fold(deeper, |sum, word| sum.wrapping_add(*word))
}
