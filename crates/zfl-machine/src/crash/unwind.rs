//! Who called whom, from registers and stack.

use std::collections::BTreeMap;

use addr2line::gimli::{CfaRule, Register, RegisterRule, UnwindTableRow};

use super::dump::Dump;
use super::symbols::{DebugInfo, Place, Processor};

/// No more calls are followed.
const FRAMES_MAX: usize = 64;

/// So many words that look like return addresses are shown.
const POSSIBLE_MAX: usize = 24;

/// A return address of Arm from here on stands for the end of an exception.
const EXCEPTION_RETURN_MIN: u32 = 0xffff_ff00;

/// One call on the stack, with what was inlined into it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it was: of a caller, in the instruction of its call.
    pub(super) address: u32,
    /// The source lines, from the innermost outwards.
    pub(super) places: Vec<Place>,
}

/// The calls from the innermost outwards.
#[derive(Debug, Default)]
pub(super) struct Backtrace {
    pub(super) frames: Vec<Frame>,
    /// Why there are no more, where the program's entry is not among them.
    pub(super) end: Option<String>,
    /// What further words of the stack look like.
    pub(super) possible: Vec<Frame>,
}

/// Follows the stack as far as it can be followed.
pub(super) fn backtrace(debug: &DebugInfo<'_>, dump: &Dump) -> Backtrace {
    let mut walk = Walk::new(debug, dump);
    let end = match walk.start() {
        Some(()) => walk.run(),
        None => Some("pc is unknown, and there is no frame to begin with".to_owned()),
    };
    let mut possible = Vec::new();
    if end.is_some() {
        let words = dump.words_from(walk.get(walk.sp).unwrap_or(0));
        let values = words.map(|(_, value)| value);
        let returns = values.filter(|value| debug.is_return_address(*value));
        // The last of them: the task, and not more of what filled the stack.
        let returns: Vec<u32> = returns.collect();
        let first = returns.len().saturating_sub(POSSIBLE_MAX);
        for value in returns.into_iter().skip(first) {
            let address = (value & !1).saturating_sub(1);
            possible.push(Frame {
                address,
                places: debug.places(address),
            });
        }
    }
    Backtrace {
        frames: walk.frames,
        end,
        possible,
    }
}

struct Walk<'d, 'i> {
    debug: &'d DebugInfo<'i>,
    dump: &'d Dump,
    /// By their numbers in the debug information.
    registers: BTreeMap<u16, u32>,
    sp: u16,
    return_register: u16,
    frames: Vec<Frame>,
    /// Where the next frame is, and whether that is behind a call.
    at: (u32, bool),
}

impl<'d, 'i> Walk<'d, 'i> {
    fn new(debug: &'d DebugInfo<'i>, dump: &'d Dump) -> Self {
        let (names, sp, return_register): (&[&str], u16, u16) = match debug.processor {
            Processor::Arm => (
                &[
                    "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11",
                    "r12", "sp", "lr",
                ],
                13,
                14,
            ),
            Processor::RiscV => (
                &[
                    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2",
                    "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9",
                    "s10", "s11", "t3", "t4", "t5", "t6",
                ],
                2,
                1,
            ),
        };
        let values = names.iter().map(|name| dump.value(name));
        let registers = (0u16..)
            .zip(values)
            .filter_map(|(number, value)| Some((number, value?)))
            .collect();
        Self {
            debug,
            dump,
            registers,
            sp,
            return_register,
            frames: Vec::new(),
            at: (0, false),
        }
    }

    fn get(&self, register: u16) -> Option<u32> {
        self.registers.get(&register).copied()
    }

    /// Where the device was. A full stack hides that of an Arm; its frame
    /// pointer, `r7`, then leads to the caller.
    fn start(&mut self) -> Option<()> {
        if let Some(pc) = self.dump.value("pc") {
            self.at = (pc & !1, false);
            return Some(());
        }
        if self.debug.processor != Processor::Arm {
            return None;
        }
        let frame = self.get(7)?;
        let caller_frame = self.dump.word(frame)?;
        let return_address = self.dump.word(frame.checked_add(4)?)?;
        if !self.debug.is_return_address(return_address) {
            return None;
        }
        self.registers.insert(7, caller_frame);
        self.registers.insert(self.sp, frame.checked_add(8)?);
        self.at = (return_address & !1, true);
        Some(())
    }

    /// Follows the calls; why that ended before the program's entry.
    fn run(&mut self) -> Option<String> {
        while self.frames.len() < FRAMES_MAX {
            let (pc, is_behind_call) = self.at;
            // Behind a call may be another function, where it does not return.
            let address = pc.saturating_sub(u32::from(is_behind_call));
            let places = self.debug.places(address);
            let is_entry = places.last().is_some_and(|place| {
                matches!(place.function.as_str(), "Reset" | "_start" | "main")
            });
            self.frames.push(Frame { address, places });
            let next = self
                .debug
                .with_row(address, |row| self.caller(row, is_behind_call));
            match next {
                Some(Ok((registers, return_address))) => {
                    self.registers = registers;
                    if let Err(why) = self.go_to(return_address) {
                        return Some(why);
                    }
                }
                _ if is_entry => return None,
                Some(Err(why)) => return Some(why),
                None => {
                    return Some(format!("{pc:#010x} has no description of its frame"));
                }
            }
        }
        Some(format!("more than {FRAMES_MAX} calls"))
    }

    /// The caller's registers, and where it goes on.
    fn caller(
        &self,
        row: &UnwindTableRow<usize>,
        is_behind_call: bool,
    ) -> Result<(BTreeMap<u16, u32>, u32), String> {
        let lost = |what: &str| format!("{what} of the caller is not known");
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
            return Err(lost("the frame"));
        };
        let base = self.get(register.0).ok_or_else(|| lost("the frame"))?;
        let frame = add(base, *offset);
        let sp = self.get(self.sp).unwrap_or(0);
        let is_saved = row.register(Register(self.return_register)).is_some();
        if is_behind_call && !is_saved {
            return Err("the compiler saves no return address where a function only panics".into());
        }
        // Only a function that calls nobody has no frame of its own.
        if frame < sp || (frame == sp && is_behind_call) {
            return Err("the stack is damaged here".into());
        }
        let mut registers = self.registers.clone();
        for (register, rule) in row.registers() {
            let value =
                match rule {
                    RegisterRule::Offset(offset) => {
                        let address = add(frame, *offset);
                        let word = self.dump.word(address);
                        Some(word.ok_or_else(|| {
                            format!("the stack at {address:#010x} was not printed")
                        })?)
                    }
                    RegisterRule::ValOffset(offset) => Some(add(frame, *offset)),
                    RegisterRule::Register(Register(other)) => self.get(*other),
                    RegisterRule::SameValue => self.get(register.0),
                    _ => None,
                };
            match value {
                Some(value) => registers.insert(register.0, value),
                None => registers.remove(&register.0),
            };
        }
        let return_address = registers
            .get(&self.return_register)
            .copied()
            .ok_or_else(|| lost("the return address"))?;
        registers.insert(self.sp, frame);
        Ok((registers, return_address))
    }

    /// Goes on where a function returns to, or where an exception does.
    fn go_to(&mut self, return_address: u32) -> Result<(), String> {
        if self.debug.processor == Processor::RiscV || return_address < EXCEPTION_RETURN_MIN {
            self.at = (return_address & !1, true);
            return Ok(());
        }
        // r0-r3, r12, lr, pc, xpsr: see `fault_entry` of the firmware.
        let frame = self.get(self.sp).unwrap_or(0);
        let word = |index: u32| self.dump.word(frame.wrapping_add(index * 4));
        let (Some(pc), Some(xpsr)) = (word(6), word(7)) else {
            return Err(format!(
                "the frame of an interrupt at {frame:#010x} was not printed"
            ));
        };
        let saved = [(0, 0), (1, 1), (2, 2), (3, 3), (12, 4), (14, 5)];
        let saved: Vec<_> = saved
            .iter()
            .filter_map(|(register, index)| Some((*register, word(*index)?)))
            .collect();
        let words = match return_address & 1 << 4 {
            0 => 26,
            _ => 8,
        } + (xpsr >> 9 & 1);
        self.registers.extend(saved);
        self.registers
            .insert(self.sp, frame.wrapping_add(words * 4));
        self.at = (pc & !1, false);
        Ok(())
    }
}

/// An address and an offset of either sign.
fn add(address: u32, offset: i64) -> u32 {
    u32::try_from(i64::from(address) + offset).unwrap_or(0)
}
