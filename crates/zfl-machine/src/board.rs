//! The board catalogue: one TOML file per kind of hardware.
//!
//! The files of `boards/` are part of the program; a user's own is read by
//! path. The firmware's build script reads the same files for its memory map,
//! so that emulator and image cannot disagree. Here a file becomes a checked
//! [`Board`], and a board the command line of its emulator.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use zfl_proto::ShareRecord;

use crate::MacAddress;
use crate::catalogue::{Catalogue, CatalogueError, catalogued, files};
use crate::ram::Ram;

/// The board that a fleet has where nothing else is said.
pub const DEFAULT_NAME: &str = "mps2-an386";

/// The boards of this program, by name.
const CATALOGUE: Catalogue = Catalogue {
    noun: "board",
    folder: "boards",
    embedded: files![
        "boards/",
        "lm3s6965evb",
        "mps2-an385",
        "mps2-an386",
        "mps2-an500",
        "mps2-an505",
        "mps3-an547",
        "riscv-virt-rv32imac",
        "riscv-virt-rv32imafc",
    ],
};

/// A kind of hardware. Made by reading a board file, and by nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Board {
    /// How it is called in experiments; also the name of its firmware image.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// How it is emulated.
    pub qemu: Qemu,
    /// Its processor.
    pub cpu: Cpu,
    /// How its firmware is built.
    pub firmware: Firmware,
    /// Its memory map.
    pub memory: Memory,
    /// Its network controller.
    pub nic: Peripheral,
    /// Its serial port.
    pub console: Uart,
    /// The alarm of its firmware.
    pub timer: Timer,
    /// Its free-running counter.
    pub counter: Counter,
    /// What the processor leaves to the platform; an Arm leaves nothing.
    pub platform: Option<Platform>,
}

/// How a board is emulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The emulator: a name looked up on the PATH, or a path.
    pub binary: PathBuf,
    /// Its `-M`.
    pub machine: String,
    /// Its `-cpu`, where the machine has a choice.
    pub cpu: Option<String>,
    /// Its `-bios`, where the machine would bring one of its own.
    pub bios: Option<String>,
    /// The network controller it emulates.
    pub nic_model: NicModel,
}

/// The network controllers that firmware has a driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NicModel {
    /// SMSC LAN9118.
    Lan9118,
    /// The Ethernet controller of the Stellaris microcontrollers.
    Stellaris,
    /// VirtIO on an MMIO transport.
    VirtioNetDevice,
}

impl NicModel {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan9118 => "lan9118",
            Self::Stellaris => "stellaris",
            Self::VirtioNetDevice => "virtio-net-device",
        }
    }

    /// QEMU's arguments for it: part of the machine, or plugged in.
    fn arguments(self, mac: MacAddress) -> [OsString; 2] {
        let name = self.name();
        match self {
            Self::Lan9118 | Self::Stellaris => [
                "-net".into(),
                format!("nic,model={name},netdev=n0,macaddr={mac}").into(),
            ],
            Self::VirtioNetDevice => [
                "-device".into(),
                format!("{name},netdev=n0,mac={mac}").into(),
            ],
        }
    }
}

/// Where floating-point instructions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Float {
    /// Single precision in the processor.
    Hardware,
    /// Library routines.
    Software,
}

/// A board's processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its name, such as `cortex-m4f`.
    pub core: String,
    /// Its floating point.
    pub float: Float,
    /// Its clock, in hertz; not 0.
    pub clock_hz: u32,
}

/// How a board's firmware is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// The compiler's target triple.
    pub target: String,
    /// The package in `firmware/boards/`.
    pub package: String,
    /// How it is compiled.
    pub profile: Profile,
}

/// How the compiler optimises a firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// For speed where the time goes, else for size.
    #[default]
    Release,
    /// For size everywhere, for boards with little flash.
    Small,
}

/// A board's memory map. The regions do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Code and constants.
    pub flash: Region,
    /// Stack and statics.
    pub ram: Region,
    /// The part of `ram` that is the stack's, in bytes.
    pub stack_bytes: u32,
    /// The client's training data and model.
    pub arena: Region,
    /// The RAM of QEMU's machine that can outlive the machine: with the arena,
    /// and the record of the client's share behind it. `None` where there is
    /// none.
    pub kept: Option<Region>,
}

/// A range of addresses; ends at or below 2³².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first address.
    pub base: u32,
    /// How many bytes; not 0.
    pub size_bytes: u32,
}

impl Region {
    const fn end(self) -> u64 {
        self.base as u64 + self.size_bytes as u64
    }
}

/// A device with one interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Peripheral {
    /// Address of its registers.
    pub base: u32,
    /// External interrupt number.
    pub irq: u16,
}

/// A serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Uart {
    /// Address of its registers.
    pub base: u32,
    /// Interrupt of a received byte.
    pub rx_irq: u16,
    /// Interrupt of a sent byte.
    pub tx_irq: u16,
}

/// A timer with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Timer {
    /// Address of its registers.
    pub base: u32,
    /// External interrupt number.
    pub irq: u16,
    /// Rate at which it counts, in hertz.
    pub clock_hz: u32,
}

/// A counter that never stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Counter {
    /// Address of its value.
    pub register: u32,
    /// Rate at which it counts, in hertz.
    pub clock_hz: u32,
}

/// Where a platform has what other processors have inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Platform {
    /// Address of the interrupt controller's registers.
    pub interrupt_controller: u32,
    /// Address that restarts the machine when it is written.
    pub reset_register: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawBoard {
    name: Spanned<String>,
    description: String,
    qemu: RawQemu,
    cpu: RawCpu,
    firmware: RawFirmware,
    memory: RawMemory,
    nic: Peripheral,
    console: Uart,
    timer: Timer,
    counter: Counter,
    platform: Option<Spanned<Platform>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawQemu {
    binary: Spanned<String>,
    machine: Spanned<String>,
    cpu: Option<Spanned<String>>,
    bios: Option<Spanned<String>>,
    nic_model: NicModel,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawCpu {
    core: Spanned<String>,
    float: Float,
    clock_hz: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawFirmware {
    target: Spanned<String>,
    package: Spanned<String>,
    #[serde(default)]
    profile: Profile,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawMemory {
    flash: RawRegion,
    ram: RawStackRegion,
    arena: RawRegion,
    kept: Option<RawRegion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawRegion {
    base: u32,
    size: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawStackRegion {
    base: u32,
    size: Spanned<u32>,
    stack_size: Spanned<u32>,
}

/// A fault and where in the text it is.
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn at<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self {
            span: value.span(),
            message: message.into(),
        }
    }
}

catalogued!(Board, and files);

impl Board {
    /// The boards of this program, by name.
    ///
    /// # Errors
    /// Only if a board file that was built in is wrong.
    pub fn all() -> Result<Vec<Self>, CatalogueError> {
        CATALOGUE.names().map(Self::named).collect()
    }

    fn check(raw: RawBoard) -> Result<Self, Fault> {
        let stack_size = &raw.memory.ram.stack_size;
        let memory = Memory {
            flash: region(raw.memory.flash.base, &raw.memory.flash.size)?,
            ram: region(raw.memory.ram.base, &raw.memory.ram.size)?,
            stack_bytes: *stack_size.get_ref(),
            arena: region(raw.memory.arena.base, &raw.memory.arena.size)?,
            kept: match &raw.memory.kept {
                Some(kept) => Some(region(kept.base, &kept.size)?),
                None => None,
            },
        };
        if memory.stack_bytes < 1024 || memory.stack_bytes >= memory.ram.size_bytes {
            return Err(Fault::at(
                stack_size,
                format!(
                    "a stack of {} bytes; allowed is at least 1024 and less than the {} of memory.ram",
                    memory.stack_bytes, memory.ram.size_bytes
                ),
            ));
        }
        if !memory.stack_bytes.is_multiple_of(8) {
            return Err(Fault::at(
                stack_size,
                format!(
                    "a stack of {} bytes; allowed are multiples of 8",
                    memory.stack_bytes
                ),
            ));
        }
        // With the record behind it.
        let mut arena = memory.arena;
        if memory.kept.is_some() {
            let record_bytes = u32::try_from(ShareRecord::BYTES).unwrap_or(u32::MAX);
            arena.size_bytes = arena.size_bytes.saturating_add(record_bytes);
        }
        let regions = [
            ("memory.flash", memory.flash, &raw.memory.flash.size),
            ("memory.ram", memory.ram, &raw.memory.ram.size),
            ("memory.arena", arena, &raw.memory.arena.size),
        ];
        for (index, (name, region, size)) in regions.iter().enumerate() {
            for (other_name, other, _) in &regions[..index] {
                if u64::from(region.base) < other.end() && u64::from(other.base) < region.end() {
                    return Err(Fault::at(size, format!("{name} overlaps {other_name}")));
                }
            }
        }
        if let (Some(kept), Some(raw)) = (memory.kept, &raw.memory.kept)
            && (arena.base < kept.base || kept.end() < arena.end())
        {
            return Err(Fault::at(
                &raw.size,
                format!(
                    "memory.kept does not hold memory.arena and the {} bytes behind it, for the record",
                    ShareRecord::BYTES
                ),
            ));
        }
        if *raw.cpu.clock_hz.get_ref() == 0 {
            return Err(Fault::at(
                &raw.cpu.clock_hz,
                "a clock of 0 Hz; allowed is at least 1",
            ));
        }
        let binary = raw.qemu.binary;
        if binary.get_ref().is_empty() {
            return Err(Fault::at(
                &binary,
                "no emulator; allowed is a program's name, or a path with a `/`",
            ));
        }
        let target = &raw.firmware.target;
        match (target.get_ref().starts_with("riscv"), &raw.platform) {
            (true, None) => {
                return Err(Fault::at(
                    target,
                    "a RISC-V target needs [platform] with `interrupt-controller` and `reset-register`",
                ));
            }
            (false, Some(platform)) => {
                return Err(Fault::at(
                    platform,
                    format!(
                        "[platform] is for RISC-V; {} has both in the processor",
                        target.get_ref()
                    ),
                ));
            }
            _ => {}
        }
        let option = |value: Option<Spanned<String>>, key, others| {
            value.map(|value| word(value, key, others)).transpose()
        };
        Ok(Self {
            name: word(raw.name, "name", "-")?,
            description: raw.description,
            qemu: Qemu {
                binary: binary.into_inner().into(),
                machine: word(raw.qemu.machine, "qemu.machine", "-._")?,
                // An argument of its own, with properties behind commas.
                cpu: option(raw.qemu.cpu, "qemu.cpu", "-._,=")?,
                bios: option(raw.qemu.bios, "qemu.bios", "-._")?,
                nic_model: raw.qemu.nic_model,
            },
            cpu: Cpu {
                core: word(raw.cpu.core, "cpu.core", "-")?,
                float: raw.cpu.float,
                clock_hz: raw.cpu.clock_hz.into_inner(),
            },
            firmware: Firmware {
                target: word(raw.firmware.target, "firmware.target", "-._")?,
                package: word(raw.firmware.package, "firmware.package", "-_")?,
                profile: raw.firmware.profile,
            },
            memory,
            nic: raw.nic,
            console: raw.console,
            timer: raw.timer,
            counter: raw.counter,
            platform: raw.platform.map(Spanned::into_inner),
        })
    }

    /// The firmware image of this board in `folder`.
    pub fn firmware_image(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.elf", self.name))
    }

    /// The emulator's arguments, without its own name.
    ///
    /// The console is a socket at descriptor 1; the network of
    /// [`NicArgument::Inherited`] a datagram socket at descriptor 0, a frame
    /// each.
    pub fn arguments(&self, machine: &MachineArguments<'_>) -> Vec<OsString> {
        let name = &self.qemu.machine;
        let (machine_option, memory) = match machine.ram {
            None => (name.clone(), None),
            Some(ram) => {
                let option = format!("{name},memory-backend=kept");
                (option, Some(ram.object("kept")))
            }
        };
        let mut arguments: Vec<OsString> = [
            "-M",
            &machine_option,
            // MiB of translation cache. At 1 it overflows between training
            // and network, and to translate again costs more than a round of
            // the digits; at 4 the firmware's 2.6 MB are all kept, which is
            // no faster and takes 1 MB more for each device.
            "-accel",
            "tcg,tb-size=2",
            "-display",
            "none",
            "-nodefaults",
            // The firmware resets after a panic: that is to end the machine.
            "-no-reboot",
            "-chardev",
            "socket,id=console,fd=1",
            "-serial",
            "chardev:console",
        ]
        .map(Into::into)
        .into();
        for (option, value) in [
            ("-object", &memory),
            ("-cpu", &self.qemu.cpu),
            ("-bios", &self.qemu.bios),
        ] {
            if let Some(value) = value {
                arguments.extend([option.into(), value.into()]);
            }
        }
        let netdev = match machine.nic {
            NicArgument::Inherited => "dgram,id=n0,local.type=fd,local.str=0".into(),
            NicArgument::Tap { interface } => {
                format!("tap,id=n0,ifname={interface},script=no,downscript=no")
            }
        };
        arguments.extend(["-netdev".into(), netdev.into()]);
        arguments.extend(self.qemu.nic_model.arguments(machine.mac));
        if let InstructionCounting::On { shift } = machine.instruction_counting {
            let icount = format!("shift={shift},sleep=on");
            arguments.extend(["-icount".into(), icount.into()]);
        }
        if let Some(socket) = machine.debugger {
            // A comma in the path is written twice (QEMU's -chardev).
            let path = socket.to_string_lossy().replace(',', ",,");
            let server = format!("unix:{path},server=on,wait=off");
            arguments.extend(["-S".into(), "-gdb".into(), server.into()]);
        }
        arguments.extend(["-kernel".into(), machine.firmware.into()]);
        arguments
    }
}

/// What of the emulator's arguments is not the board's.
#[derive(Clone, Copy, Debug)]
pub struct MachineArguments<'a> {
    /// The firmware image.
    pub firmware: &'a Path,
    /// How the network controller is connected.
    pub nic: NicArgument<'a>,
    /// Its address.
    pub mac: MacAddress,
    /// Whether time follows the instructions.
    pub instruction_counting: InstructionCounting,
    /// Where a debugger will come to, which the machine waits for.
    pub debugger: Option<&'a Path>,
    /// The RAM of the machine, where it outlives it.
    pub ram: Option<&'a Ram>,
}

/// How a network controller is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicArgument<'a> {
    /// To the datagram socket at descriptor 0.
    Inherited,
    /// To a tap of the host's.
    Tap {
        /// The tap's name.
        interface: &'a str,
    },
}

/// Whether the machine's time follows its instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstructionCounting {
    /// Time is the host's.
    #[default]
    Off,
    /// An instruction takes 2^`shift` nanoseconds.
    On {
        /// The exponent.
        shift: u8,
    },
}

fn region(base: u32, size: &Spanned<u32>) -> Result<Region, Fault> {
    let region = Region {
        base,
        size_bytes: *size.get_ref(),
    };
    if region.size_bytes == 0 {
        return Err(Fault::at(size, "a size of 0; allowed is at least 1 byte"));
    }
    if region.end() > 1 << 32 {
        return Err(Fault::at(
            size,
            format!("{base:#x} + {:#x} is above 2^32", region.size_bytes),
        ));
    }
    Ok(region)
}

/// A word of letters, digits and `others`: it becomes part of a file name or
/// of an emulator's argument, where a comma or a slash has a meaning.
pub(crate) fn word(value: Spanned<String>, key: &str, others: &str) -> Result<String, Fault> {
    let text = value.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && text.len() <= 64 && text.chars().all(fits) {
        return Ok(value.into_inner());
    }
    let listed: Vec<String> = others.chars().map(|c| format!("`{c}`")).collect();
    Err(Fault::at(
        &value,
        format!(
            "{key} is `{}`; allowed are 1 to 64 letters, digits and {}, beginning with a letter or digit",
            text.escape_debug(),
            listed.join(" ")
        ),
    ))
}

/// Whether an experiment that says this means a file, and no name of a catalogue.
pub fn is_path(name_or_path: &str) -> bool {
    name_or_path.contains('/') || name_or_path.ends_with(".toml")
}

/// Line and column, from 1, of a byte of `text`.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::check_complete;

    const TEXT: &str = include_str!("../../../boards/mps2-an386.toml");

    /// The error of the board file in which `from` reads `to`.
    fn check(from: &str, to: &str, expected: &str) {
        assert!(TEXT.contains(from), "{from}");
        let error = Board::parse("b.toml", &TEXT.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    /// Where `text` stands in the file, as `line:column`.
    fn place(text: &str) -> String {
        let (line, column) = position(TEXT, TEXT.find(text).unwrap());
        format!("{line}:{column}")
    }

    #[test]
    fn every_board_file_is_embedded_and_right() {
        let boards = Board::all().unwrap();
        check_complete(&CATALOGUE, boards.into_iter().map(|board| board.name));
    }

    #[test]
    fn the_default_is_a_board() {
        let board = Board::named(DEFAULT_NAME).unwrap();
        assert_eq!(board.cpu.float, Float::Hardware);
        assert_eq!(board.qemu.nic_model, NicModel::Lan9118);
        assert_eq!(board.qemu.binary, Path::new("qemu-system-arm"));
        assert_eq!(
            board.firmware_image(Path::new("target/firmware")),
            Path::new("target/firmware/mps2-an386.elf")
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let known = "known boards: lm3s6965evb, mps2-an385, mps2-an386, mps2-an500, mps2-an505, \
                     mps3-an547, riscv-virt-rv32imac, riscv-virt-rv32imafc";
        assert_eq!(
            Board::named("mps2-386").unwrap_err().to_string(),
            format!("no board `mps2-386`, did you mean `mps2-an386`?; {known}")
        );
        assert_eq!(
            Board::named("arduino").unwrap_err().to_string(),
            format!("no board `arduino`; {known}")
        );
    }

    #[test]
    fn a_file_is_found_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, TEXT.replacen("\"mps2-an386\"", "\"mine\"", 1)).unwrap();
        let board = Board::find(path.to_str().unwrap()).unwrap();
        assert_eq!(board.name, "mine");
        let missing = Board::find("./none.toml").unwrap_err().to_string();
        assert!(
            missing.starts_with("failed to read board file ./none.toml: "),
            "{missing}"
        );
    }

    #[test]
    fn a_fault_says_where_and_what_is_allowed() {
        check(
            "float = \"hardware\"",
            "float = \"hard\"",
            &format!(
                "b.toml:{}: unknown variant `hard`, expected `hardware` or `software`",
                place("\"hardware\"\nclock")
            ),
        );
        check(
            "nic-model = \"lan9118\"",
            "nic-model = \"e1000\"",
            &format!(
                "b.toml:{}: unknown variant `e1000`, expected one of `lan9118`, `stellaris`, `virtio-net-device`",
                place("\"lan9118\"")
            ),
        );
        check(
            "clock-hz = 25_000_000",
            "clock-hz = 0",
            &format!(
                "b.toml:{}: a clock of 0 Hz; allowed is at least 1",
                place("25_000_000")
            ),
        );
        check(
            "name = \"mps2-an386\"",
            "name = \"../evil\"",
            &format!(
                "b.toml:{}: name is `../evil`; allowed are 1 to 64 letters, digits and `-`, beginning with a letter or digit",
                place("\"mps2-an386\"")
            ),
        );
        check(
            "machine = \"mps2-an386\"",
            "machine = \"mps2-an386,x=y\"",
            &format!(
                "b.toml:{}: qemu.machine is `mps2-an386,x=y`; allowed are 1 to 64 letters, digits and `-` `.` `_`, beginning with a letter or digit",
                place("\"mps2-an386\"\nnic")
            ),
        );
        check(
            "stack-size = 0x0000_6000",
            "stack-size = 0x0040_0000",
            &format!(
                "b.toml:{}: a stack of 4194304 bytes; allowed is at least 1024 and less than the 4194304 of memory.ram",
                place("0x0000_6000")
            ),
        );
        check(
            "base = 0x2100_0000",
            "base = 0x2010_0000",
            &format!(
                "b.toml:{}: memory.arena overlaps memory.ram",
                place("0x00ff_ff80")
            ),
        );
        check(
            "target = \"thumbv7em-none-eabihf\"",
            "target = \"riscv32imac-unknown-none-elf\"",
            &format!(
                "b.toml:{}: a RISC-V target needs [platform] with `interrupt-controller` and `reset-register`",
                place("\"thumbv7em-none-eabihf\"")
            ),
        );
        check(
            "[firmware]",
            "[platform]\ninterrupt-controller = 1\nreset-register = 2\n[firmware]",
            &format!(
                "b.toml:{}: [platform] is for RISC-V; thumbv7em-none-eabihf has both in the processor",
                place("[firmware]")
            ),
        );
        check(
            "[cpu]",
            "cpu = \"rv32 -S\"\n[cpu]",
            &format!(
                "b.toml:{}:7: qemu.cpu is `rv32 -S`; allowed are 1 to 64 letters, digits and `-` `.` `_` `,` `=`, beginning with a letter or digit",
                place("[cpu]").split_once(':').unwrap().0
            ),
        );
        check(
            "package =",
            "profile = \"fast\"\npackage =",
            &format!(
                "b.toml:{}:11: unknown variant `fast`, expected `release` or `small`",
                place("package =").split_once(':').unwrap().0
            ),
        );
        check(
            "base = 0x2100_0000",
            "base = 0xff80_0000",
            &format!(
                "b.toml:{}: 0xff800000 + 0xffff80 is above 2^32",
                place("0x00ff_ff80")
            ),
        );
    }

    #[test]
    fn memory_that_is_kept_holds_the_arena_and_its_record() {
        let short =
            "memory.kept does not hold memory.arena and the 76 bytes behind it, for the record";
        let size = place("0x0100_0000");
        check(
            "size = 0x0100_0000",
            "size = 0x00ff_ffcb",
            &format!("b.toml:{size}: {short}"),
        );
        check(
            "[memory.kept]\nbase = 0x2100_0000",
            "[memory.kept]\nbase = 0x2100_0001",
            &format!("b.toml:{size}: {short}"),
        );
        let enough = TEXT.replacen("size = 0x0100_0000", "size = 0x00ff_ffcc", 1);
        let board = Board::parse("b.toml", &enough).unwrap();
        assert_eq!(board.memory.kept.unwrap().size_bytes, 0x00ff_ffcc);
        // The record is not where the statics are.
        let below = TEXT
            .replacen("base = 0x2000_0000", "base = 0x2200_0000", 1)
            .replacen("0x00ff_ff80", "0x00ff_ffc0", 1)
            .replacen("size = 0x0100_0000", "size = 0x0200_0000", 1);
        let error = Board::parse("b.toml", &below).unwrap_err().to_string();
        assert!(
            error.ends_with("memory.arena overlaps memory.ram"),
            "{error}"
        );
        let without = Board::named("lm3s6965evb").unwrap();
        assert_eq!(without.memory.kept, None);
    }

    #[test]
    fn an_unknown_key_says_which_are_known() {
        let error = Board::parse("b.toml", &TEXT.replacen("core =", "cores =", 1))
            .unwrap_err()
            .to_string();
        let expected = format!(
            "b.toml:{}: unknown field `cores`, expected one of `core`, `float`, `clock-hz`",
            place("core =")
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn the_command_line_is_as_designed() {
        let board = Board::named("mps2-an386").unwrap();
        let line = |nic, instruction_counting| {
            board
                .arguments(&MachineArguments {
                    firmware: Path::new("x.elf"),
                    nic,
                    mac: MacAddress([0x5e, 0, 0, 0, 0, 7]),
                    instruction_counting,
                    debugger: None,
                    ram: None,
                })
                .join(std::ffi::OsStr::new(" "))
                .into_string()
                .unwrap()
        };
        assert_eq!(
            line(NicArgument::Inherited, InstructionCounting::Off),
            "-M mps2-an386 -accel tcg,tb-size=2 -display none -nodefaults -no-reboot \
             -chardev socket,id=console,fd=1 -serial chardev:console \
             -netdev dgram,id=n0,local.type=fd,local.str=0 \
             -net nic,model=lan9118,netdev=n0,macaddr=5e:00:00:00:00:07 -kernel x.elf"
        );
        let tap = line(
            NicArgument::Tap {
                interface: "zfltap7",
            },
            InstructionCounting::On { shift: 7 },
        );
        assert!(
            tap.contains("-netdev tap,id=n0,ifname=zfltap7,script=no,downscript=no "),
            "{tap}"
        );
        assert!(tap.contains("-icount shift=7,sleep=on "), "{tap}");
    }

    #[test]
    fn a_machine_is_given_the_ram_that_outlives_it() {
        for board in Board::all().unwrap() {
            let Some(region) = board.memory.kept else {
                assert_eq!(board.name, "lm3s6965evb");
                continue;
            };
            let ram = Ram::new(region).unwrap();
            let line = board
                .arguments(&MachineArguments {
                    firmware: Path::new("x.elf"),
                    nic: NicArgument::Inherited,
                    mac: MacAddress([0x5e, 0, 0, 0, 0, 7]),
                    instruction_counting: InstructionCounting::Off,
                    debugger: None,
                    ram: Some(&ram),
                })
                .join(std::ffi::OsStr::new(" "))
                .into_string()
                .unwrap();
            let machine = format!("-M {},memory-backend=kept ", board.qemu.machine);
            assert!(line.starts_with(&machine), "{line}");
            let object = format!(
                " -object memory-backend-file,id=kept,size={},share=on,mem-path=/proc/",
                region.size_bytes
            );
            assert!(line.contains(&object), "{line}");
        }
    }

    #[test]
    fn a_machine_with_a_choice_is_told_what_to_choose() {
        let line = Board::named("riscv-virt-rv32imafc")
            .unwrap()
            .arguments(&MachineArguments {
                firmware: Path::new("x.elf"),
                nic: NicArgument::Inherited,
                mac: MacAddress([0x5e, 0, 0, 0, 0, 7]),
                instruction_counting: InstructionCounting::Off,
                debugger: Some(Path::new("a,b.sock")),
                ram: None,
            })
            .join(std::ffi::OsStr::new(" "))
            .into_string()
            .unwrap();
        assert_eq!(
            line,
            "-M virt -accel tcg,tb-size=2 -display none -nodefaults -no-reboot \
             -chardev socket,id=console,fd=1 -serial chardev:console \
             -cpu rv32,d=false -bios none -netdev dgram,id=n0,local.type=fd,local.str=0 \
             -device virtio-net-device,netdev=n0,mac=5e:00:00:00:00:07 \
             -S -gdb unix:a,,b.sock,server=on,wait=off -kernel x.elf"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "([a-z-]{1,8} = (\"[a-z,/é]{0,8}\"|[0-9]{1,12})\n|\\[[a-z.]{1,12}\\]\n){0,12}") {
            let _ = Board::parse("b.toml", &text);
        }
    }
}
