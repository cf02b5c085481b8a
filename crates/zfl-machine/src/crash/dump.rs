//! The numbers in a device's last words.

use std::collections::BTreeMap;

/// Registers and stack as a device printed them.
#[derive(Debug, Default)]
pub(super) struct Dump {
    values: BTreeMap<String, u32>,
    /// Lines of registers as they were.
    register_lines: Vec<String>,
    /// Words of the stack by address.
    words: BTreeMap<u32, u32>,
}

impl Dump {
    /// Reads the lines behind the event; what is something else is left out.
    pub(super) fn parse(lines: &[String]) -> Self {
        let mut dump = Self::default();
        for line in lines {
            if line == "end" {
                break;
            }
            if let Some((address, words)) = stack_line(line) {
                let addresses = (0u32..).map(|index| address.wrapping_add(index * 4));
                dump.words.extend(addresses.zip(words));
                continue;
            }
            let values = values(line);
            if !values.is_empty() {
                if !line.starts_with("stack ") {
                    dump.register_lines.push(line.clone());
                }
                dump.values.extend(values);
            }
        }
        dump
    }

    /// A register or status by its name.
    pub(super) fn value(&self, name: &str) -> Option<u32> {
        self.values.get(name).copied()
    }

    /// The word of the stack at an address.
    pub(super) fn word(&self, address: u32) -> Option<u32> {
        self.words.get(&address).copied()
    }

    /// The words of the stack from an address on, with their addresses.
    pub(super) fn words_from(&self, address: u32) -> impl Iterator<Item = (u32, u32)> {
        self.words
            .range(address..)
            .map(|(address, word)| (*address, *word))
    }

    /// The lowest and the highest address of the stack.
    pub(super) fn stack(&self) -> Option<(u32, u32)> {
        self.value("low").zip(self.value("top"))
    }

    /// Whether there is enough to follow the stack.
    pub(super) fn has_registers(&self) -> bool {
        self.value("sp").is_some()
    }

    /// The lines with registers, as they were printed.
    pub(super) fn register_lines(&self) -> &[String] {
        &self.register_lines
    }
}

/// `20007aa0: 00000000 00000001 …`.
fn stack_line(line: &str) -> Option<(u32, Vec<u32>)> {
    let (address, words) = line.split_once(": ")?;
    let hex = |text: &str| {
        let is_word = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_word
            .then(|| u32::from_str_radix(text, 16).ok())
            .flatten()
    };
    let words = words.split_whitespace().map(hex).collect::<Option<_>>()?;
    Some((hex(address)?, words))
}

/// `r0 =0x00000000 r10=0x00000001 …`, or, when a processor locks up, QEMU's
/// `R00=00000000 R01=00000001 …`.
fn values(line: &str) -> Vec<(String, u32)> {
    let line = line.replace(" =", "=");
    let value = |word: &str| {
        let (name, value) = word.split_once('=')?;
        let (name, digits) = match (value.strip_prefix("0x"), name.strip_prefix('R')) {
            (Some(digits), _) => (name.to_owned(), digits),
            (None, Some("13")) => ("sp".into(), value),
            (None, Some("14")) => ("lr".into(), value),
            (None, Some("15")) => ("pc".into(), value),
            (None, Some(number)) => (format!("r{}", number.parse::<u8>().ok()?), value),
            (None, None) => return None,
        };
        Some((name, u32::from_str_radix(digits, 16).ok()?))
    };
    line.split_whitespace().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn last_words_are_read() {
        let lines = [
            "r0 =0x00000007 r10=0x0000000a",
            "sp =0x20000010 lr =0x00000000 pc unknown",
            "stack low=0x20000000 top=0x20000030",
            "20000010: 00000001 00000002",
            "@zfl stats uptime_us=3",
            "20000020: 00000003",
            "end",
            "r0 =0x00000008",
        ]
        .map(str::to_owned);
        let dump = Dump::parse(&lines);
        assert_eq!(dump.value("r0"), Some(7));
        assert_eq!(dump.value("r10"), Some(10));
        assert_eq!(dump.value("pc"), None);
        assert_eq!(dump.stack(), Some((0x2000_0000, 0x2000_0030)));
        assert_eq!(dump.word(0x2000_0014), Some(2));
        assert_eq!(dump.word(0x2000_0018), None);
        let words: Vec<_> = dump.words_from(0x2000_0014).collect();
        assert_eq!(words, [(0x2000_0014, 2), (0x2000_0020, 3)]);
        assert_eq!(dump.register_lines(), &lines[..2]);
    }

    #[test]
    fn registers_of_a_lockup_are_read() {
        let dump = Dump::parse(&[
            "qemu: fatal: Lockup: can't escalate 3 to HardFault (current priority -1)".into(),
            "R00=00000001 R01=0000000a R02=20000000 R03=00000000".into(),
            "R12=00000000 R13=20007fd0 R14=fffffff9 R15=0000044c".into(),
            "XPSR=61000003 -ZC- T handler".into(),
        ]);
        let found = ["r1", "sp", "lr", "pc"].map(|name| dump.value(name));
        let expected = [0xa, 0x2000_7fd0, 0xffff_fff9, 0x44c].map(Some);
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "([0-9a-f]{8}: |r0 ?=0x)?[0-9a-fx:= é]{0,60}") {
            let _ = Dump::parse(&[line]);
        }
    }
}
