//! Build script of the board binaries.
//!
//! Reads `boards/NAME.toml`, the file that the fleet host makes the QEMU
//! command line of, and writes into `OUT_DIR`:
//! - `memory.x`, the memory map for the linker scripts of cortex-m-rt and
//!   riscv-rt, and the note by which the host knows the image;
//! - `board.rs`, the constant `BOARD` of type `zfl_firmware::Board`.
//!
//! An error ends the build with the file and the reason.
#![expect(clippy::print_stdout, reason = "how a build script talks to Cargo")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;
use zfl_proto::ShareRecord;
use zfl_proto::image::{self, Note};
use zfl_proto::message::PROTOCOL_VERSION;

/// The fields of a board file that the firmware needs. Others, such as
/// `[qemu]`, belong to the fleet host.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BoardFile {
    name: String,
    qemu: Qemu,
    firmware: Firmware,
    memory: Memory,
    nic: Peripheral,
    console: Console,
    timer: Timer,
    counter: Counter,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Qemu {
    nic_model: String,
}

#[derive(Deserialize)]
struct Firmware {
    target: String,
}

/// What Arm has in the processor.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Platform {
    interrupt_controller: u32,
    reset_register: u32,
}

#[derive(Deserialize)]
struct Memory {
    flash: Region,
    ram: Ram,
    arena: Region,
    /// RAM that can outlive a reboot: the arena, and behind that a record.
    kept: Option<Region>,
}

impl Memory {
    /// Where the record behind the arena ends.
    fn record_end(&self) -> u64 {
        let arena_end = u64::from(self.arena.base) + u64::from(self.arena.size);
        match self.kept {
            Some(_) => arena_end + ShareRecord::BYTES as u64,
            None => arena_end,
        }
    }
}

#[derive(Deserialize)]
struct Region {
    base: u32,
    size: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ram {
    base: u32,
    size: u32,
    stack_size: u32,
}

#[derive(Deserialize)]
struct Peripheral {
    base: u32,
    irq: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Console {
    base: u32,
    rx_irq: u16,
    tx_irq: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Timer {
    base: u32,
    irq: u16,
    clock_hz: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Counter {
    register: u32,
    clock_hz: u32,
}

/// Writes the memory map and constants of the board called `name` and tells
/// Cargo how to link. To be called from a board binary's build script.
///
/// # Panics
/// When the board file cannot be read or makes no sense: a build script has
/// no other way to say so.
#[expect(clippy::panic, reason = "how a build script fails")]
pub fn emit(name: &str) {
    if let Err(reason) = try_emit(name) {
        panic!("{reason}");
    }
}

fn try_emit(name: &str) -> Result<(), String> {
    let output_folder = PathBuf::from(variable("OUT_DIR")?);
    let board_path = Path::new(&variable("CARGO_MANIFEST_DIR")?)
        .join("../../../boards")
        .join(format!("{name}.toml"));
    println!("cargo:rerun-if-changed={}", board_path.display());
    let text = fs::read_to_string(&board_path)
        .map_err(|error| format!("failed to read {}: {error}", board_path.display()))?;
    let board: BoardFile = toml::from_str(&text)
        .map_err(|error| format!("failed to read {}: {error}", board_path.display()))?;
    if board.name != name {
        return Err(format!(
            "{}: name is `{}`, expected `{name}`",
            board_path.display(),
            board.name
        ));
    }
    check(&board).map_err(|reason| format!("{}: {reason}", board_path.display()))?;
    write(&output_folder.join("memory.x"), &memory_map(&board))?;
    write(&output_folder.join("board.rs"), &constants(&board))?;
    println!("cargo:rustc-link-search={}", output_folder.display());
    if is_riscv(&board) {
        // riscv-rt's script does not include it.
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    // Sections are tiny; padding them to 64 KiB pages would only grow the file.
    println!("cargo:rustc-link-arg-bins=--nmagic");
    Ok(())
}

fn is_riscv(board: &BoardFile) -> bool {
    board.firmware.target.starts_with("riscv")
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: this runs in a Cargo build script"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))
}

fn check(board: &BoardFile) -> Result<(), String> {
    let Memory {
        flash, ram, arena, ..
    } = &board.memory;
    if ram.stack_size % 8 != 0 || ram.stack_size >= ram.size {
        return Err(format!(
            "memory.ram.stack-size = {} must be a multiple of 8 and less than memory.ram.size",
            ram.stack_size
        ));
    }
    // MPU or PMP guard the mebibyte below the stack and need it aligned.
    if ram.base % (1 << 20) != 0 || ram.base < 1 << 20 {
        return Err(format!(
            "memory.ram.base = {:#010x} must be a multiple of 1 MiB above zero",
            ram.base
        ));
    }
    let guard = ram.base - (1 << 20)..ram.base;
    for (name, region) in [("flash", flash), ("arena", arena)] {
        let end = region.base.saturating_add(region.size);
        if region.base < guard.end && end > guard.start {
            return Err(format!(
                "memory.{name} ends at {end:#010x}; the mebibyte below memory.ram.base must be free"
            ));
        }
    }
    if arena.base % 8 != 0 || arena.size % 8 != 0 {
        return Err("memory.arena must begin and end at multiples of 8".to_owned());
    }
    for (base, size) in [(ram.base, ram.size), (arena.base, arena.size)] {
        if base.checked_add(size).is_none() {
            return Err(format!(
                "the memory at {base:#010x} passes the address space"
            ));
        }
    }
    if let Some(kept) = &board.memory.kept
        && (arena.base < kept.base
            || board.memory.record_end() > u64::from(kept.base) + u64::from(kept.size))
    {
        return Err(format!(
            "memory.kept must hold memory.arena and the {} bytes behind it",
            ShareRecord::BYTES
        ));
    }
    // A slow timer only makes alarms early or late; the counter is the clock.
    if board.timer.clock_hz < 1000 || board.counter.clock_hz < 1_000_000 {
        return Err("the timer must run at 1 kHz or more, the counter at 1 MHz".to_owned());
    }
    Ok(())
}

/// The stack is below the statics: it grows down towards `memory.ram.base`,
/// under which nothing is allowed, instead of into somebody's data.
fn memory_map(board: &BoardFile) -> String {
    let Memory {
        flash, ram, arena, ..
    } = &board.memory;
    let data_base = ram.base + ram.stack_size;
    let data_size = ram.size - ram.stack_size;
    let arena_end = arena.base + arena.size;
    let runtime = if is_riscv(board) {
        "REGION_ALIAS(\"REGION_TEXT\", FLASH);\n\
         REGION_ALIAS(\"REGION_RODATA\", FLASH);\n\
         REGION_ALIAS(\"REGION_DATA\", RAM);\n\
         REGION_ALIAS(\"REGION_BSS\", RAM);\n\
         REGION_ALIAS(\"REGION_HEAP\", RAM);\n\
         REGION_ALIAS(\"REGION_STACK\", STACK);\n"
    } else {
        ""
    };
    format!(
        "MEMORY\n{{\n  \
           FLASH : ORIGIN = {:#010x}, LENGTH = {:#x}\n  \
           STACK : ORIGIN = {:#010x}, LENGTH = {:#x}\n  \
           RAM : ORIGIN = {data_base:#010x}, LENGTH = {data_size:#x}\n}}\n\
         _stack_end = {:#010x};\n\
         _stack_start = {data_base:#010x};\n\
         _arena_start = {:#010x};\n\
         _arena_end = {arena_end:#010x};\n\
         _record_start = {arena_end:#010x};\n\
         _record_end = {:#010x};\n\
         {runtime}{}",
        flash.base,
        flash.size,
        ram.base,
        ram.stack_size,
        ram.base,
        arena.base,
        board.memory.record_end(),
        note_section(&board.name),
    )
}

/// The note by which the host knows the image, behind the constants. Written by
/// the linker, so that it needs no attribute that only `unsafe` code may have.
fn note_section(board: &str) -> String {
    let note = Note {
        protocol_version: PROTOCOL_VERSION.into(),
        board,
    };
    let bytes: Vec<String> = note.encode().map(|byte| format!("BYTE({byte})")).collect();
    format!(
        "SECTIONS\n{{\n  {} : ALIGN(4)\n  {{\n    {}\n  }} > FLASH\n}} INSERT AFTER .rodata;\n",
        image::SECTION,
        bytes.join("; ") + ";"
    )
}

fn constants(board: &BoardFile) -> String {
    let mut text = String::new();
    let BoardFile {
        name,
        nic,
        console,
        timer,
        counter,
        platform,
        ..
    } = board;
    let nic_model = variant(&board.qemu.nic_model);
    let (interrupt_controller, reset_register) = platform.as_ref().map_or((0, 0), |platform| {
        (platform.interrupt_controller, platform.reset_register)
    });
    // Writing to a `String` cannot fail.
    let _ = write!(
        text,
        "/// The board that this firmware is for, from `boards/{name}.toml`.\n\
         const BOARD: zfl_firmware::Board = zfl_firmware::Board {{\n    \
             name: {name:?},\n    \
             nic_model: zfl_firmware::NicModel::{nic_model},\n    \
             nic_base: {:#010x},\n    nic_irq: {},\n    \
             console_base: {:#010x},\n    console_rx_irq: {},\n    console_tx_irq: {},\n    \
             timer_base: {:#010x},\n    timer_irq: {},\n    timer_clock_hz: {},\n    \
             counter_register: {:#010x},\n    counter_clock_hz: {},\n    \
             interrupt_controller_base: {interrupt_controller:#010x},\n    \
             reset_register: {reset_register:#010x},\n}};\n",
        nic.base,
        nic.irq,
        console.base,
        console.rx_irq,
        console.tx_irq,
        timer.base,
        timer.irq,
        timer.clock_hz,
        counter.register,
        counter.clock_hz,
    );
    text
}

/// `Lan9118` of `lan9118`, `VirtioNetDevice` of `virtio-net-device`.
fn variant(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(text: &str) -> BoardFile {
        toml::from_str(text).unwrap()
    }

    const TEXT: &str = include_str!("../../../boards/mps2-an500.toml");

    #[test]
    fn the_stack_is_below_the_statics() {
        let board = board(TEXT);
        check(&board).unwrap();
        let map = memory_map(&board);
        for line in [
            "FLASH : ORIGIN = 0x00000000, LENGTH = 0x400000",
            "RAM : ORIGIN = 0x20006000, LENGTH = 0x3fa000",
            "_stack_end = 0x20000000;",
            "_stack_start = 0x20006000;",
            "_arena_start = 0x60000000;",
            "_arena_end = 0x60ffff80;",
            "_record_start = 0x60ffff80;",
            "_record_end = 0x60ffffcc;",
        ] {
            assert!(map.contains(line), "{line} is not in:\n{map}");
        }
    }

    #[test]
    fn a_board_without_kept_memory_has_no_record() {
        let board = board(include_str!("../../../boards/lm3s6965evb.toml"));
        check(&board).unwrap();
        let map = memory_map(&board);
        for line in ["_record_start = 0x20010000;", "_record_end = 0x20010000;"] {
            assert!(map.contains(line), "{line} is not in:\n{map}");
        }
    }

    #[test]
    fn constants_are_those_of_the_file() {
        let constants = constants(&board(TEXT));
        for field in [
            "name: \"mps2-an500\"",
            "nic_model: zfl_firmware::NicModel::Lan9118",
            "interrupt_controller_base: 0x00000000",
            "nic_base: 0xa0000000",
            "nic_irq: 13",
            "console_tx_irq: 1",
            "timer_clock_hz: 25000000",
            "counter_register: 0x40028018",
        ] {
            assert!(constants.contains(field), "{field} is not in:\n{constants}");
        }
    }

    #[test]
    fn riscv_has_its_own_regions_and_devices() {
        let board = board(include_str!("../../../boards/riscv-virt-rv32imac.toml"));
        check(&board).unwrap();
        let map = memory_map(&board);
        for line in [
            "STACK : ORIGIN = 0x80500000, LENGTH = 0x6000",
            "RAM : ORIGIN = 0x80506000, LENGTH = 0x3fa000",
            "REGION_ALIAS(\"REGION_TEXT\", FLASH);",
        ] {
            assert!(map.contains(line), "{line} is not in:\n{map}");
        }
        let constants = constants(&board);
        for field in [
            "nic_model: zfl_firmware::NicModel::VirtioNetDevice",
            "interrupt_controller_base: 0x0c000000",
            "reset_register: 0x00100000",
        ] {
            assert!(constants.contains(field), "{field} is not in:\n{constants}");
        }
    }

    #[test]
    fn the_note_is_in_the_linker_script() {
        let map = memory_map(&board(TEXT));
        assert!(!map.contains("REGION_ALIAS"), "{map}");
        // "mps2" and so on, behind lengths, type, owner and version.
        let note = ".note.zfl : ALIGN(4)\n  {\n    BYTE(4); BYTE(0);";
        assert!(map.contains(note), "{map}");
        assert!(
            map.contains("BYTE(109); BYTE(112); BYTE(115); BYTE(50);"),
            "{map}"
        );
        assert!(map.contains("> FLASH\n} INSERT AFTER .rodata;"), "{map}");
    }

    #[test]
    fn an_impossible_board_is_refused() {
        for (from, to, expected) in [
            (
                "stack-size = 0x0000_6000",
                "stack-size = 12",
                "stack-size = 12",
            ),
            (
                "base = 0x2000_0000",
                "base = 0x2000_0100",
                "memory.ram.base",
            ),
            ("base = 0x6000_0000", "base = 0x6000_0004", "memory.arena"),
            (
                "base = 0x6000_0000",
                "base = 0xffff_0000",
                "passes the address space",
            ),
            ("clock-hz = 25_000_000", "clock-hz = 32_768", "1 MHz"),
            (
                "[memory.kept]\nbase = 0x6000_0000\nsize = 0x0100_0000",
                "[memory.kept]\nbase = 0x6000_0000\nsize = 0x00ff_ff80",
                "memory.kept must hold memory.arena and the 76 bytes behind it",
            ),
            (
                "base = 0x0000_0000",
                "base = 0x1fff_0000",
                "the mebibyte below memory.ram.base",
            ),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = check(&board(&TEXT.replace(from, to))).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
