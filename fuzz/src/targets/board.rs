//! Files of boards and of microcontrollers: what is read keeps what the
//! emulator and the firmware rely on; what is refused is told with its place.

use std::path::Path;

use zfl_machine::board::{InstructionCounting, MachineArguments, NicArgument};
use zfl_machine::catalogue::CatalogueError;
use zfl_machine::mcu::Cycles;
use zfl_machine::{Board, MacAddress, Mcu};

/// The options of the emulator.
const OPTIONS: [&str; 14] = [
    "-M",
    "-accel",
    "-bios",
    "-chardev",
    "-cpu",
    "-device",
    "-display",
    "-icount",
    "-kernel",
    "-net",
    "-netdev",
    "-no-reboot",
    "-nodefaults",
    "-serial",
];

/// Reads `bytes` as either.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Board::parse("file", &text) {
        Ok(board) => board_holds(&board),
        Err(error) => refusal_holds(&text, error),
    }
    match Mcu::parse("file", &text) {
        Ok(mcu) => mcu_holds(&mcu),
        Err(error) => refusal_holds(&text, error),
    }
}

pub(super) fn refusal_holds(text: &str, error: CatalogueError) {
    let CatalogueError::Invalid {
        line,
        column,
        message,
        ..
    } = error
    else {
        panic!("{error}");
    };
    place_is_in(text, line, column);
    assert!(!message.is_empty());
}

fn place_is_in(text: &str, line: usize, column: usize) {
    let line = text
        .split('\n')
        .nth(line - 1)
        .expect("a line that there is");
    assert!(
        column >= 1 && column <= line.chars().count() + 1,
        "column {column}"
    );
}

fn board_holds(board: &Board) {
    let memory = &board.memory;
    let regions = [memory.flash, memory.ram, memory.arena];
    for (index, region) in regions.iter().enumerate() {
        assert!(region.size_bytes > 0);
        assert!(u64::from(region.base) + u64::from(region.size_bytes) <= 1 << 32);
        for other in &regions[..index] {
            let end = |region: &zfl_machine::board::Region| {
                u64::from(region.base) + u64::from(region.size_bytes)
            };
            assert!(end(region) <= u64::from(other.base) || end(other) <= u64::from(region.base));
        }
    }
    assert!(memory.stack_bytes < memory.ram.size_bytes);
    assert_eq!(
        board.firmware_image(Path::new("folder")).parent(),
        Some(Path::new("folder"))
    );
    let arguments = board.arguments(&MachineArguments {
        firmware: Path::new("image"),
        nic: NicArgument::Inherited,
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        instruction_counting: InstructionCounting::On { shift: 7 },
        debugger: None,
        ram: None,
    });
    // What a file says is a value, and no option of its own.
    for argument in arguments {
        let argument = argument.to_string_lossy();
        assert!(
            !argument.starts_with('-') || OPTIONS.contains(&&*argument),
            "{argument}"
        );
        assert!(!argument.contains(['\0', '\n', '/', ' ']), "{argument}");
    }
}

fn mcu_holds(mcu: &Mcu) {
    let written = mcu.to_toml();
    match Mcu::parse("again", &written) {
        Ok(again) => assert_eq!(again, *mcu),
        Err(error) => panic!("{error} of\n{written}"),
    }
    for (name, figure) in mcu.figures() {
        assert!(figure.value.is_finite() && figure.value >= 0.0, "{name}");
    }
    for kind in [Cycles::F32, Cycles::Fixed] {
        let seconds = mcu.device_seconds(u64::MAX, kind);
        assert!(seconds.is_finite() && seconds > 0.0);
    }
    let joules = mcu.energy_joules(1e9, 1e9, u64::MAX, u64::MAX);
    assert!(joules.is_finite() && joules >= 0.0);
}
