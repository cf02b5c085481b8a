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
    let mut message = Text::<MESSAGE_BYTES_MAX>::of(format_args!("{}", cause(status)));
    if let Some(address) = status.memory_address().or(status.bus_address()) {
        let _ = write!(message, " address={address:#010x}");
    }
    match registers.pc {
        Some(pc) => {
            let _ = write!(message, " pc={pc:#010x}");
        }
        None => {
            let _ = write!(
                message,
                " (stack overflow: sp={:#010x}, the stack begins at {:#010x})",
                registers.sp,
                memory::stack_low_address()
            );
        }
    }
    die(&Event::Fault(message.as_str()), registers, Some(status))
}

/// An interrupt or exception that nobody asked for.
pub(crate) fn unexpected_exception(irqn: i16) -> ! {
    let registers = Registers::capture();
    let message = Text::<MESSAGE_BYTES_MAX>::of(format_args!("unexpected exception {irqn}"));
    die(&Event::Fault(message.as_str()), &registers, None)
}

/// The bits of CFSR and HFSR by name (DDI 0403E, B3.2.15 and B3.2.16).
fn cause(status: &FaultStatus) -> &'static str {
    const CAUSES: [(u32, &str); 17] = [
        (1, "memory fault: instruction fetch not allowed"),
        (1 << 4, "memory fault: exception frame not allowed"),
        (1 << 1, "memory fault: access not allowed"),
        (1 << 3, "memory fault: on return from an exception"),
        (1 << 5, "memory fault: saving floating-point registers"),
        (1 << 8, "bus fault: instruction fetch"),
        (1 << 12, "bus fault: exception frame"),
        (1 << 9, "bus fault: data access"),
        (1 << 10, "bus fault: data access, imprecise"),
        (1 << 11, "bus fault: on return from an exception"),
        (1 << 13, "bus fault: saving floating-point registers"),
        (1 << 16, "usage fault: undefined instruction"),
        (1 << 17, "usage fault: invalid state"),
        (1 << 18, "usage fault: invalid return"),
        (1 << 20, "usage fault: below the limit of the stack"),
        (1 << 24, "usage fault: unaligned access"),
        (1 << 25, "usage fault: division by zero"),
    ];
    CAUSES
        .iter()
        .find(|(bit, _)| status.cfsr & bit != 0)
        .map_or("hard fault", |(_, name)| name)
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
    for (number, value) in registers.r.iter().enumerate() {
        let end = if number % 4 == 3 { '\n' } else { ' ' };
        write!(out, "r{number:<2}={value:#010x}{end}")?;
    }
    write!(
        out,
        "sp ={:#010x} lr ={:#010x} ",
        registers.sp, registers.lr
    )?;
    match (registers.pc, registers.xpsr) {
        (Some(pc), Some(xpsr)) => writeln!(out, "pc ={pc:#010x}\nxpsr={xpsr:#010x}")?,
        _ => writeln!(out, "pc unknown")?,
    }
    if let Some(status) = status {
        writeln!(
            out,
            "cfsr={:#010x} hfsr={:#010x} mmfar={:#010x} bfar={:#010x}",
            status.cfsr, status.hfsr, status.mmfar, status.bfar
        )?;
    }
    writeln!(out, "backtrace:")?;
    let stack_low = memory::stack_low_address();
    let first = (registers.sp as usize).max(stack_low) & !3;
    let mut frame_count = 0;
    let mut call = |address: usize| {
        if memory::is_return_address(address) && frame_count < BACKTRACE_MAX {
            // The call itself is just before where it returns to.
            let _ = writeln!(LastWords, "  {:#010x}", address - 1);
            frame_count += 1;
        }
    };
    if let Some(pc) = registers.pc {
        writeln!(out, "  {pc:#010x}")?;
    }
    call(registers.lr as usize);
    let mut address = first;
    while let Some(word) = memory::stack_word(address) {
        call(word as usize);
        address += 4;
    }
    writeln!(out, "end")
}
