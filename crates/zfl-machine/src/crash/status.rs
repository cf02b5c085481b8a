//! What the status registers of a fault say, bit by bit.

use super::dump::Dump;

/// Bits of the configurable fault status register (DDI 0403E, B3.2.15; STKOF:
/// DDI 0553, D1.2.267).
const CFSR: [(u32, &str, &str); 20] = [
    (
        0,
        "IACCVIOL",
        "instruction fetch from where nothing may be executed",
    ),
    (1, "DACCVIOL", "load or store where none is allowed"),
    (3, "MUNSTKERR", "memory fault on return from an exception"),
    (
        4,
        "MSTKERR",
        "memory fault while an exception saved registers: the stack is full, or damaged",
    ),
    (
        5,
        "MLSPERR",
        "memory fault while floating-point registers were saved",
    ),
    (7, "MMARVALID", "MMFAR has the address"),
    (8, "IBUSERR", "bus error on an instruction fetch"),
    (9, "PRECISERR", "bus error on a load or store"),
    (
        10,
        "IMPRECISERR",
        "bus error on an earlier store: pc is somewhere behind it",
    ),
    (11, "UNSTKERR", "bus error on return from an exception"),
    (
        12,
        "STKERR",
        "bus error while an exception saved registers: the stack is full, or damaged",
    ),
    (
        13,
        "LSPERR",
        "bus error while floating-point registers were saved",
    ),
    (15, "BFARVALID", "BFAR has the address"),
    (16, "UNDEFINSTR", "undefined instruction"),
    (17, "INVSTATE", "jump to an address without the Thumb bit"),
    (18, "INVPC", "invalid return from an exception"),
    (19, "NOCP", "no such coprocessor, or it is off (the FPU?)"),
    (20, "STKOF", "the stack pointer went below its limit"),
    (24, "UNALIGNED", "unaligned access"),
    (25, "DIVBYZERO", "division by zero"),
];

/// Bits of the hard fault status register (DDI 0403E, B3.2.16).
const HFSR: [(u32, &str, &str); 3] = [
    (1, "VECTTBL", "the table of exceptions could not be read"),
    (
        30,
        "FORCED",
        "a fault whose own handler could not run became a hard fault",
    ),
    (31, "DEBUGEVT", "debug event"),
];

/// Causes of exceptions (The RISC-V Instruction Set Manual, volume II,
/// privileged architecture 1.12, table 3.6), and what `mtval` then is.
const MCAUSE: [(u32, &str, &str); 9] = [
    (0, "instruction address misaligned", "the address"),
    (
        1,
        "instruction fetch where nothing may be executed",
        "the address",
    ),
    (2, "illegal instruction", "the instruction"),
    (3, "breakpoint", "its address"),
    (4, "load address misaligned", "the address"),
    (5, "load where none is allowed", "the address"),
    (6, "store address misaligned", "the address"),
    (7, "store where none is allowed", "the address"),
    (11, "environment call", "0"),
];

/// The status in words, a line each; none where the device printed none.
pub(super) fn describe(dump: &Dump) -> Vec<String> {
    let mut lines = Vec::new();
    let mut bits = |register: &str, table: &[(u32, &str, &str)]| {
        let value = dump.value(register)?;
        let name = register.to_uppercase();
        lines.push(format!("{name} = {value:#010x}"));
        for (bit, short, long) in table {
            if value & 1 << bit != 0 {
                lines.push(format!("  {short}: {long}"));
            }
        }
        Some(value)
    };
    let cfsr = bits("cfsr", &CFSR).unwrap_or(0);
    bits("hfsr", &HFSR);
    for (register, valid_bit, name) in [("mmfar", 7, "MMFAR"), ("bfar", 15, "BFAR")] {
        if let Some(address) = dump.value(register)
            && cfsr & 1 << valid_bit != 0
        {
            lines.push(format!(
                "{name} = {address:#010x}: the address of the fault"
            ));
        }
    }
    if let Some(cause) = dump.value("mcause") {
        let known = MCAUSE.iter().find(|(number, ..)| *number == cause);
        let (what, value) = known.map_or(("unknown", "?"), |(_, what, value)| (what, value));
        lines.push(format!("mcause = {cause}: {what}"));
        if let Some(mtval) = dump.value("mtval") {
            lines.push(format!("mtval = {mtval:#010x}: {value}"));
        }
    }
    lines
}

/// How far a stack overflowed, if it did.
pub(super) fn overflow(dump: &Dump) -> Option<String> {
    let (low, top) = dump.stack()?;
    let sp = dump.value("sp")?;
    let bytes = top.checked_sub(low)?;
    let is_fault = dump.value("cfsr").is_some() || dump.value("mcause").is_some();
    if let Some(beyond) = low.checked_sub(sp).filter(|beyond| *beyond > 0) {
        return Some(format!(
            "stack overflow: {beyond} bytes beyond the {bytes} bytes of the stack \
             ({low:#010x} to {top:#010x})"
        ));
    }
    // The frame of the exception found no room, and with it pc is lost.
    (is_fault && dump.value("pc").is_none()).then(|| {
        format!(
            "stack overflow: the {bytes} bytes of the stack ({low:#010x} to {top:#010x}) are \
             used but {} bytes, and the next call or interrupt needs more",
            sp - low
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let dump = Dump::parse(&lines);
        let found: Vec<String> = describe(&dump).into_iter().chain(overflow(&dump)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_bit_has_its_name() {
        check(&["r0 =0x00000000"], &[]);
        check(
            &["cfsr=0x00008200 hfsr=0x40000000 mmfar=0x00000001 bfar=0x4000f000"],
            &[
                "CFSR = 0x00008200",
                "  PRECISERR: bus error on a load or store",
                "  BFARVALID: BFAR has the address",
                "HFSR = 0x40000000",
                "  FORCED: a fault whose own handler could not run became a hard fault",
                "BFAR = 0x4000f000: the address of the fault",
            ],
        );
        check(
            &["mcause=0x00000007 mepc=0x80018eda mtval=0x804fffc4"],
            &[
                "mcause = 7: store where none is allowed",
                "mtval = 0x804fffc4: the address",
            ],
        );
        check(
            &["mcause=0x00000018 mtval=0x00000000"],
            &["mcause = 24: unknown", "mtval = 0x00000000: ?"],
        );
    }

    #[test]
    fn an_overflow_says_how_far() {
        let stack = "stack low=0x20000000 top=0x20008000";
        check(
            &["sp =0x1fffff70 pc =0x00000001", stack],
            &[
                "stack overflow: 144 bytes beyond the 32768 bytes of the stack (0x20000000 to 0x20008000)",
            ],
        );
        check(
            &["sp =0x20000004 pc unknown", "mcause=0x00000007", stack],
            &[
                "mcause = 7: store where none is allowed",
                "stack overflow: the 32768 bytes of the stack (0x20000000 to 0x20008000) are used \
                 but 4 bytes, and the next call or interrupt needs more",
            ],
        );
        check(&["sp =0x20000004 pc =0x00000001", stack], &[]);
    }
}
