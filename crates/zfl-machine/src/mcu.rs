//! Microcontrollers that one can buy: one TOML file for each.
//!
//! A [`Board`] is a core with more memory than any microcontroller has, and
//! QEMU executes its instructions at the host's speed. What these instructions
//! would cost on a real part of the same core follows from the part's profile,
//! an [`Mcu`]: instructions × cycles per instruction ÷ clock are seconds, and
//! seconds × current × voltage joules. Every figure says where it is from, and
//! whether anybody has looked it up there.
//!
//! The files of `boards/mcu/` are part of the program; a user's own is read by
//! path. Left out are waits for flash and memory, caches, DMA, and whatever is
//! beside the microcontroller on its board. `docs/device-time.md` has the
//! format, the parts, and how far off the results are.

use std::ops::RangeInclusive;

use serde::Deserialize;
use toml::Spanned;

use crate::Board;
use crate::board::{Fault, word};
use crate::catalogue::{
    Catalogue, CatalogueError, Figure, RawFigure, catalogued, files, unverified,
};

/// The profiles of this program: by name.
const CATALOGUE: Catalogue = Catalogue {
    noun: "microcontroller",
    folder: "boards/mcu",
    embedded: files![
        "boards/mcu/",
        "apollo3",
        "cc2538",
        "cc2652r",
        "ensemble-e3-he",
        "esp32-c3",
        "gd32vf103",
        "imxrt1062",
        "lm3s6965",
        "lpc1768",
        "nrf52840",
        "rp2350",
        "stm32f103",
        "stm32f207",
        "stm32f405",
        "stm32f411",
        "stm32f746",
        "stm32h743",
        "stm32l476",
        "stm32u585",
    ],
};

/// The profile of a microcontroller. Made by reading a profile file, and by
/// nothing else; all figures are finite and within the limits of
/// `docs/device-time.md`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mcu {
    /// How it is called in experiments.
    pub name: String,
    /// One line for people, with its core.
    pub description: String,
    /// The [`Board`] of the same core that stands in for it.
    pub board: String,
    /// What carries its messages, such as `ble`.
    pub link: String,
    /// The processor's clock, in hertz.
    pub clock_hz: Figure,
    /// RAM for programs and data in all its banks, in bytes.
    pub ram_bytes: Figure,
    /// Flash for programs, in bytes.
    pub flash_bytes: Figure,
    /// Supply voltage at which the currents hold, in volts.
    pub supply_volts: Figure,
    /// Current while it runs from flash at `clock_hz`, in amperes.
    pub active_amperes: Figure,
    /// Current while it sleeps and keeps its RAM, in amperes; at most
    /// `active_amperes`.
    pub sleep_amperes: Figure,
    /// What zfl's instructions take.
    pub cycles_per_instruction: CyclesPerInstruction,
    /// What the link takes to send a byte of a message, in joules.
    pub link_joules_per_byte_sent: Figure,
    /// What the link takes to receive a byte of a message, in joules.
    pub link_joules_per_byte_received: Figure,
}

/// Mean cycles per instruction over zfl's training.
#[derive(Clone, Debug, PartialEq)]
pub struct CyclesPerInstruction {
    /// Over training in `f32`; in software where the core has no FPU.
    pub f32: Figure,
    /// Over training in fixed point.
    pub fixed: Figure,
}

/// Whose instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycles {
    /// Those of training in `f32`.
    F32,
    /// Those of training in fixed point.
    Fixed,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawMcu {
    name: Spanned<String>,
    description: String,
    board: Spanned<String>,
    link: Spanned<String>,
    clock_hz: RawFigure,
    ram_bytes: RawFigure,
    flash_bytes: RawFigure,
    supply_volts: RawFigure,
    active_amperes: RawFigure,
    sleep_amperes: RawFigure,
    cycles_per_instruction: RawCycles,
    link_joules_per_byte_sent: RawFigure,
    link_joules_per_byte_received: RawFigure,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawCycles {
    f32: RawFigure,
    fixed: RawFigure,
}

catalogued!(Mcu, and files);

impl Mcu {
    /// The microcontrollers of this program, by name. An item is an error only
    /// if a profile that was built in is wrong.
    pub fn all() -> impl Iterator<Item = Result<Self, CatalogueError>> {
        Self::names().map(Self::named)
    }

    fn check(raw: RawMcu) -> Result<Self, Fault> {
        const BYTES: RangeInclusive<f64> = 1.0..=4_294_967_296.0;
        const AMPERES: RangeInclusive<f64> = 0.0..=10.0;
        const CYCLES: RangeInclusive<f64> = 0.25..=1000.0;
        const JOULES: RangeInclusive<f64> = 0.0..=1.0;

        if let Err(error) = Board::named(raw.board.get_ref()) {
            return Err(Fault::at(&raw.board, error.to_string()));
        }
        let (active, sleep) = (&raw.active_amperes, &raw.sleep_amperes);
        sleep.check_at_most("sleep-amperes", active, "active-amperes")?;
        let cycles = raw.cycles_per_instruction;
        Ok(Self {
            name: word(raw.name, "name", "-")?,
            description: raw.description,
            board: raw.board.into_inner(),
            link: word(raw.link, "link", "-._")?,
            clock_hz: raw.clock_hz.check("clock-hz", 1.0..=2e9)?,
            ram_bytes: raw.ram_bytes.check("ram-bytes", BYTES)?,
            flash_bytes: raw.flash_bytes.check("flash-bytes", BYTES)?,
            supply_volts: raw.supply_volts.check("supply-volts", 0.5..=10.0)?,
            active_amperes: raw.active_amperes.check("active-amperes", AMPERES)?,
            sleep_amperes: raw.sleep_amperes.check("sleep-amperes", AMPERES)?,
            cycles_per_instruction: CyclesPerInstruction {
                f32: cycles.f32.check("cycles-per-instruction.f32", CYCLES)?,
                fixed: cycles.fixed.check("cycles-per-instruction.fixed", CYCLES)?,
            },
            link_joules_per_byte_sent: raw
                .link_joules_per_byte_sent
                .check("link-joules-per-byte-sent", JOULES)?,
            link_joules_per_byte_received: raw
                .link_joules_per_byte_received
                .check("link-joules-per-byte-received", JOULES)?,
        })
    }

    /// Seconds that the processor takes for `instructions` of this `kind`:
    /// instructions × cycles per instruction ÷ clock.
    pub fn device_seconds(&self, instructions: u64, kind: Cycles) -> f64 {
        instructions as f64 * self.cycles(kind).value / self.clock_hz.value
    }

    /// Cycles per instruction of this `kind`.
    pub fn cycles(&self, kind: Cycles) -> &Figure {
        match kind {
            Cycles::F32 => &self.cycles_per_instruction.f32,
            Cycles::Fixed => &self.cycles_per_instruction.fixed,
        }
    }

    /// Joules of so many seconds awake and asleep and so many bytes sent and
    /// received: voltage × (current × seconds of each) + joules per byte ×
    /// bytes of each.
    pub fn energy_joules(
        &self,
        active_seconds: f64,
        sleeping_seconds: f64,
        bytes_sent: u64,
        bytes_received: u64,
    ) -> f64 {
        let coulombs = self.active_amperes.value * active_seconds
            + self.sleep_amperes.value * sleeping_seconds;
        self.supply_volts.value * coulombs
            + self.link_joules_per_byte_sent.value * bytes_sent as f64
            + self.link_joules_per_byte_received.value * bytes_received as f64
    }

    /// Every figure under its name in the profile file, in the file's order.
    pub fn figures(&self) -> [(&'static str, &Figure); 10] {
        let cycles = &self.cycles_per_instruction;
        [
            ("clock-hz", &self.clock_hz),
            ("ram-bytes", &self.ram_bytes),
            ("flash-bytes", &self.flash_bytes),
            ("supply-volts", &self.supply_volts),
            ("active-amperes", &self.active_amperes),
            ("sleep-amperes", &self.sleep_amperes),
            ("cycles-per-instruction.f32", &cycles.f32),
            ("cycles-per-instruction.fixed", &cycles.fixed),
            ("link-joules-per-byte-sent", &self.link_joules_per_byte_sent),
            (
                "link-joules-per-byte-received",
                &self.link_joules_per_byte_received,
            ),
        ]
    }

    /// The profile as a file; reading it gives an equal profile.
    pub fn to_toml(&self) -> String {
        let text = |text: &str| toml::Value::from(text).to_string();
        let mut out = format!(
            "name = {}\ndescription = {}\nboard = {}\nlink = {}\n",
            text(&self.name),
            text(&self.description),
            text(&self.board),
            text(&self.link)
        );
        for (key, figure) in self.figures() {
            let value = toml::Value::from(figure.value);
            let source = text(&figure.source);
            out.push_str(&format!("\n[{key}]\nvalue = {value}\nsource = {source}\n"));
            if !figure.is_verified {
                out.push_str("unverified = true\n");
            }
        }
        out
    }

    /// The names of the figures that nobody has looked up, in the file's order.
    pub fn unverified(&self) -> impl Iterator<Item = &'static str> {
        unverified(self.figures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::position;
    use crate::catalogue::tests::{check_complete, check_estimates};

    const DOCUMENT: &str = include_str!("../../../docs/device-time.md");

    fn text() -> &'static str {
        let (_, text) = CATALOGUE
            .embedded
            .iter()
            .find(|(name, _)| *name == "nrf52840")
            .unwrap();
        text
    }

    /// The error of the profile in which `from` reads `to`; `place` begins
    /// where the fault is.
    fn check(from: &str, to: &str, place: &str, expected: &str) {
        assert_eq!(text().matches(from).count(), 1, "{from}");
        let changed = text().replace(from, to);
        let error = Mcu::parse("m.toml", &changed).unwrap_err();
        let (line, column) = position(&changed, changed.find(place).unwrap());
        assert_eq!(
            error.to_string(),
            format!("m.toml:{line}:{column}: {expected}")
        );
    }

    /// The same, of the value of one figure.
    fn check_value(key: &str, value: &str, to: &str, expected: &str) {
        check(
            &format!("[{key}]\nvalue = {value}\n"),
            &format!("[{key}]\nvalue = {to} # here\n"),
            &format!("{to} # here"),
            expected,
        );
    }

    #[test]
    fn every_profile_is_embedded_and_right() {
        check_complete(&CATALOGUE, Mcu::all().map(|mcu| mcu.unwrap().name));
    }

    #[test]
    fn the_board_of_a_profile_has_its_core() {
        for mcu in Mcu::all().map(Result::unwrap) {
            let core = Board::named(&mcu.board).unwrap().cpu.core;
            let description = mcu.description.to_lowercase();
            assert!(description.contains(&format!("{core},")), "{description}");
        }
    }

    #[test]
    fn an_estimate_is_not_verified() {
        for mcu in Mcu::all().map(Result::unwrap) {
            check_estimates(&mcu.name, mcu.figures());
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let known = Mcu::names().collect::<Vec<_>>().join(", ");
        assert_eq!(
            Mcu::named("nrf5284").unwrap_err().to_string(),
            format!(
                "no microcontroller `nrf5284`, did you mean `nrf52840`?; \
                 known microcontrollers: {known}"
            )
        );
        assert_eq!(
            Mcu::named("esp32").unwrap_err().to_string(),
            format!("no microcontroller `esp32`; known microcontrollers: {known}")
        );
    }

    #[test]
    fn a_file_is_found_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, text().replacen("\"nrf52840\"", "\"mine\"", 1)).unwrap();
        assert_eq!(Mcu::find(path.to_str().unwrap()).unwrap().name, "mine");
        assert_eq!(Mcu::find("nrf52840").unwrap().name, "nrf52840");
        let missing = Mcu::find("./none.toml").unwrap_err().to_string();
        assert!(
            missing.starts_with("failed to read microcontroller file ./none.toml: "),
            "{missing}"
        );
    }

    #[test]
    fn an_impossible_value_says_where_and_what_is_allowed() {
        let clocks = "allowed are 1 to 2000000000";
        check_value(
            "clock-hz",
            "64_000_000",
            "0",
            &format!("clock-hz is 0; {clocks}"),
        );
        check_value(
            "clock-hz",
            "64_000_000",
            "2_000_000_001",
            &format!("clock-hz is 2000000001; {clocks}"),
        );
        check_value(
            "clock-hz",
            "64_000_000",
            "nan",
            &format!("clock-hz is NaN; {clocks}"),
        );
        check_value(
            "ram-bytes",
            "262_144",
            "0",
            "ram-bytes is 0; allowed are 1 to 4294967296",
        );
        check_value(
            "supply-volts",
            "3.0",
            "12",
            "supply-volts is 12; allowed are 0.5 to 10",
        );
        check_value(
            "active-amperes",
            "3.3e-3",
            "inf",
            "active-amperes is inf; allowed are 0 to 10",
        );
        check_value(
            "sleep-amperes",
            "2.35e-6",
            "-1e-6",
            "sleep-amperes is -0.000001; allowed are 0 to 10",
        );
        check_value(
            "sleep-amperes",
            "2.35e-6",
            "2.35",
            "sleep-amperes is 2.35; allowed is at most the 0.0033 of active-amperes",
        );
        for (key, value) in [("f32", "1.8"), ("fixed", "1.45")] {
            for to in ["0.2", "1001"] {
                let key = format!("cycles-per-instruction.{key}");
                let expected = format!("{key} is {to}; allowed are 0.25 to 1000");
                check_value(&key, value, to, &expected);
            }
        }
        check_value(
            "link-joules-per-byte-sent",
            "1.9e-7",
            "1.9",
            "link-joules-per-byte-sent is 1.9; allowed are 0 to 1",
        );
    }

    #[test]
    fn a_wrong_word_says_where_and_what_is_allowed() {
        check(
            "board = \"mps2-an386\"",
            "board = \"mps2-an836\"",
            "\"mps2-an836\"",
            "no board `mps2-an836`, did you mean `mps2-an386`?; \
             known boards: lm3s6965evb, mps2-an385, mps2-an386, mps2-an500, mps2-an505, \
             mps3-an547, riscv-virt-rv32imac, riscv-virt-rv32imafc",
        );
        check(
            "name = \"nrf52840\"",
            "name = \"../nrf52840\"",
            "\"../nrf52840\"",
            "name is `../nrf52840`; allowed are 1 to 64 letters, digits and `-`, \
             beginning with a letter or digit",
        );
        check(
            "link = \"ble\"",
            "link = \"\"",
            "\"\"",
            "link is ``; allowed are 1 to 64 letters, digits and `-` `.` `_`, \
             beginning with a letter or digit",
        );
        check(
            "[ram-bytes]\nvalue = 262_144\nsource = ",
            "[ram-bytes]\nvalue = 262_144\nsource = \" \" # ",
            "\" \" #",
            "ram-bytes without a source; name document and table, or say how it is estimated",
        );
    }

    #[test]
    fn a_wrong_key_or_type_says_where_and_what_is_allowed() {
        check(
            "[ram-bytes]",
            "[ram]",
            "ram]",
            "unknown field `ram`, expected one of `name`, `description`, `board`, `link`, \
             `clock-hz`, `ram-bytes`, `flash-bytes`, `supply-volts`, `active-amperes`, \
             `sleep-amperes`, `cycles-per-instruction`, `link-joules-per-byte-sent`, \
             `link-joules-per-byte-received`",
        );
        check(
            "[cycles-per-instruction.fixed]",
            "[cycles-per-instruction.int]",
            "int]",
            "unknown field `int`, expected `f32` or `fixed`",
        );
        check(
            "[ram-bytes]\nvalue = 262_144",
            "[ram-bytes]\nvalue = 262_144\nverified = true",
            "verified = true",
            "unknown field `verified`, expected one of `value`, `source`, `unverified`",
        );
        check_value(
            "clock-hz",
            "64_000_000",
            "\"64 MHz\"",
            "invalid type: string \"64 MHz\", expected f64",
        );
        check(
            "[ram-bytes]\nvalue = 262_144",
            "[ram-bytes]",
            "[ram-bytes]",
            "missing field `value`",
        );
        check("link = \"ble\"", "", "# Nordic", "missing field `link`");
    }

    #[test]
    fn seconds_and_joules_are_the_products() {
        let mut mcu = Mcu::named("nrf52840").unwrap();
        mcu.clock_hz.value = 64e6;
        mcu.cycles_per_instruction.f32.value = 2.0;
        mcu.cycles_per_instruction.fixed.value = 1.5;
        assert_eq!(mcu.device_seconds(128_000_000, Cycles::F32), 4.0);
        assert_eq!(mcu.device_seconds(128_000_000, Cycles::Fixed), 3.0);
        assert_eq!(mcu.device_seconds(0, Cycles::F32), 0.0);

        mcu.supply_volts.value = 2.0;
        mcu.active_amperes.value = 0.25;
        mcu.sleep_amperes.value = 0.125;
        mcu.link_joules_per_byte_sent.value = 0.5;
        mcu.link_joules_per_byte_received.value = 0.25;
        for (active, sleeping, sent, received, expected) in [
            (4.0, 0.0, 0, 0, 2.0),
            (0.0, 4.0, 0, 0, 1.0),
            (0.0, 0.0, 3, 0, 1.5),
            (0.0, 0.0, 0, 3, 0.75),
            (4.0, 4.0, 3, 3, 5.25),
        ] {
            let joules = mcu.energy_joules(active, sleeping, sent, received);
            assert_eq!(joules, expected, "{active} {sleeping} {sent} {received}");
        }
    }

    #[test]
    fn a_profile_that_is_written_can_be_read() {
        for mcu in Mcu::all().map(Result::unwrap) {
            assert_eq!(Mcu::parse("m.toml", &mcu.to_toml()).unwrap(), mcu);
        }
    }

    #[test]
    fn what_is_not_verified_has_a_name() {
        let mcu = Mcu::named("nrf52840").unwrap();
        assert!(mcu.clock_hz.is_verified);
        let names: Vec<&str> = mcu.unverified().collect();
        assert_eq!(
            names,
            [
                "supply-volts",
                "active-amperes",
                "sleep-amperes",
                "cycles-per-instruction.f32",
                "cycles-per-instruction.fixed",
                "link-joules-per-byte-sent",
                "link-joules-per-byte-received",
            ]
        );
    }

    /// A part's row of the table in the document.
    fn row(mcu: &Mcu) -> String {
        let cell = |figure: &Figure, unit: f64| {
            let mark = if figure.is_verified { "" } else { "?" };
            // Scaled to its unit a figure has few digits.
            let scaled = (figure.value / unit * 1e6).round() / 1e6;
            format!("{scaled}{mark}")
        };
        let cycles = &mcu.cycles_per_instruction;
        let cells = [
            format!("`{}`", mcu.name),
            format!("`{}`", mcu.board),
            cell(&mcu.clock_hz, 1e6),
            cell(&mcu.ram_bytes, 1024.0),
            cell(&mcu.flash_bytes, 1024.0),
            cell(&mcu.supply_volts, 1.0),
            cell(&mcu.active_amperes, 1e-3),
            cell(&mcu.sleep_amperes, 1e-6),
            cell(&cycles.f32, 1.0),
            cell(&cycles.fixed, 1.0),
            mcu.link.clone(),
            cell(&mcu.link_joules_per_byte_sent, 1e-6),
            cell(&mcu.link_joules_per_byte_received, 1e-6),
        ];
        format!("| {} |\n", cells.join(" | "))
    }

    #[test]
    fn the_document_has_the_table_of_all_parts() {
        let mut mcus: Vec<Mcu> = Mcu::all().map(Result::unwrap).collect();
        mcus.sort_by(|a, b| {
            let boards = a.board.cmp(&b.board);
            boards.then(a.ram_bytes.value.total_cmp(&b.ram_bytes.value))
        });
        let rows: String = mcus.iter().map(row).collect();
        assert!(DOCUMENT.contains(&rows), "should have the rows\n{rows}");
        let figures = mcus.len() * mcus[0].figures().len();
        let unverified: usize = mcus.iter().map(|mcu| mcu.unverified().count()).sum();
        let sum = format!("{unverified} of {figures}");
        assert!(DOCUMENT.contains(&sum), "should have {sum}");
    }

    #[test]
    fn the_example_of_the_document_is_right() {
        let blocks = DOCUMENT.split("```toml\n").skip(1);
        let mut blocks = blocks.map(|rest| rest.split_once("```").unwrap().0);
        let example = blocks.find(|block| block.contains("my-part")).unwrap();
        assert_eq!(Mcu::parse("example", example).unwrap().name, "my-part");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "([a-z-]{1,8} = (\"[a-z,/é]{0,8}\"|[0-9.e-]{1,12})\n|\\[[a-z0-9.-]{1,12}\\]\n){0,12}") {
            let _ = Mcu::parse("m.toml", &text);
        }
    }
}
