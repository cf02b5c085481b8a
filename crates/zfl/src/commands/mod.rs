//! The commands.

pub(crate) mod calibrate;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod console;
pub(crate) mod dashboard;
pub(crate) mod data;
pub(crate) mod export;
pub(crate) mod fleet;
pub(crate) mod links;
pub(crate) mod list;
pub(crate) mod platforms;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod size;
pub(crate) mod sweep;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::console::measure_text_width;
use miette::{GraphicalReportHandler, Report};
use zfl_data::SearchPath;
use zfl_lab::experiment::ExperimentError;
use zfl_lab::firmware::{FirmwareImage, FirmwareSource};
use zfl_lab::run::RunError;
use zfl_machine::catalogue::Figure;
use zfl_machine::doctor::{self, Status};
use zfl_machine::{Board, FleetSettings, LauncherProgram, Mcu};

use crate::arguments::{DataDir, DoctorArguments};

/// The images that this program carries.
const CARRIED: &[FirmwareImage] = include!(concat!(env!("OUT_DIR"), "/firmware.rs"));

/// The hidden subcommand that starts an emulator.
const EXEC_MACHINE: &str = "exec-machine";

/// Why a command did not do what it was asked for.
pub(crate) enum Failure {
    /// What was asked for makes no sense: exit code 2.
    Experiment(Box<ExperimentError>),
    /// As before, without a place in a file.
    Usage(String),
    /// It failed: exit code 1.
    Run(String),
    /// It was interrupted: exit code 130, as a shell has it.
    Interrupted(String),
}

impl Failure {
    /// A run's failure from an error with its causes.
    pub(crate) fn run(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many messages already hold their cause's.
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::Run(text)
    }

    /// Adds a line, where it is a text.
    pub(crate) fn add(&mut self, line: &str) {
        match self {
            Self::Usage(text) | Self::Run(text) | Self::Interrupted(text) => {
                text.push('\n');
                text.push_str(line);
            }
            Self::Experiment(_) => {}
        }
    }

    /// Prints it; the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Experiment(error) => {
                let mut text = String::new();
                let report = Report::new(*error);
                match GraphicalReportHandler::new().render_report(&mut text, report.as_ref()) {
                    Ok(()) => complain!("{text}"),
                    Err(_) => complain!("error: {report}"),
                }
                ExitCode::from(2)
            }
            Self::Usage(text) => {
                complain!("error: {text}");
                ExitCode::from(2)
            }
            Self::Run(text) => {
                complain!("error: {text}");
                ExitCode::FAILURE
            }
            Self::Interrupted(text) => {
                complain!("{text}");
                ExitCode::from(130)
            }
        }
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        Self::Experiment(Box::new(error))
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Interrupted { .. } => Self::Interrupted(error.to_string()),
            RunError::Capture(_) => Self::Usage(error.to_string()),
            _ => Self::run(&error),
        }
    }
}

pub(crate) type Done = Result<(), Failure>;

fn search_path(data: &DataDir) -> SearchPath {
    SearchPath::from_environment(data.data_dir.clone())
}

fn firmware(folder: Option<&Path>) -> FirmwareSource {
    FirmwareSource {
        folder: folder.map(Path::to_owned),
        carried: CARRIED,
    }
}

fn launcher() -> Result<LauncherProgram, Failure> {
    LauncherProgram::this_program(EXEC_MACHINE)
        .map_err(|error| Failure::Run(format!("failed to find zfl itself: {error}")))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Run(format!("failed to start the event loop: {error}")))
}

/// The first of `runs/NAME-001`, `runs/NAME-002`… that does not exist.
fn next_folder(name: &str) -> PathBuf {
    let mut number = 1u32;
    loop {
        let folder = PathBuf::from(format!("runs/{name}-{number:03}"));
        if !folder.exists() {
            return folder;
        }
        number += 1;
    }
}

/// Rows as lines in columns; those that `is_left` chooses begin at the left.
fn aligned(rows: &[Vec<String>], is_left: impl Fn(usize) -> bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        // Colours have no width.
        cells
            .map(|cell| measure_text_width(cell))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            let blanks = " ".repeat(width.saturating_sub(measure_text_width(cell)));
            match is_left(column) {
                true => format!("{cell}{blanks}"),
                false => format!("{blanks}{cell}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Prints a value as one line of JSON.
fn say_json_line(value: &impl serde::Serialize) -> Done {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::Run(format!("failed to write JSON: {error}")))?;
    say!("{text}");
    Ok(())
}

/// A number, or a dash where there is none.
fn or_dash<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), text)
}

/// `zfl boards`
pub(crate) fn boards() -> Done {
    let boards = Board::all().map_err(|error| Failure::run(&error))?;
    say!(
        "{:<20} {:<10} {:>4} {:>8} {:>9}  description",
        "board",
        "core",
        "MHz",
        "RAM KiB",
        "flash KiB"
    );
    for board in boards {
        say!(
            "{:<20} {:<10} {:>4} {:>8} {:>9}  {}",
            board.name,
            board.cpu.core,
            board.cpu.clock_hz / 1_000_000,
            (board.memory.ram.size_bytes + board.memory.arena.size_bytes).div_ceil(1024),
            board.memory.flash.size_bytes / 1024,
            board.description
        );
    }
    say!(
        "\n{:<14} {:<19} {:>4} {:>8} {:>9}  description (docs/device-time.md: figures and sources)",
        "mcu",
        "board",
        "MHz",
        "RAM KiB",
        "flash KiB"
    );
    for mcu in Mcu::all() {
        let mcu = mcu.map_err(|error| Failure::run(&error))?;
        let cell = |figure: &Figure, unit: f64| {
            let mark = if figure.is_verified { "" } else { "?" };
            format!("{}{mark}", figure.value / unit)
        };
        say!(
            "{:<14} {:<19} {:>4} {:>8} {:>9}  {}",
            mcu.name,
            mcu.board,
            cell(&mcu.clock_hz, 1e6),
            cell(&mcu.ram_bytes, 1024.0),
            cell(&mcu.flash_bytes, 1024.0),
            mcu.description
        );
    }
    Ok(())
}

/// `zfl doctor`
pub(crate) fn doctor(arguments: &DoctorArguments) -> Done {
    let boards = Board::all().map_err(|error| Failure::run(&error))?;
    let source = firmware(None);
    let images: Vec<doctor::FirmwareImage> = boards
        .iter()
        .map(|board| doctor::FirmwareImage {
            board: board.name.clone(),
            found: source.describe(&board.name),
            fault: source.fit_image(board).err().map(|error| error.to_string()),
        })
        .collect();
    let needed = FleetSettings::default().descriptors_needed(arguments.devices);
    let checks = runtime()?.block_on(doctor::checks(&boards, &images, arguments.devices, needed));
    let mut missing = 0;
    for check in &checks {
        let mark = match check.status {
            Status::Good => "ok     ",
            Status::Partial => "partial",
            Status::Missing => "missing",
        };
        say!("{mark}  {}: {}", check.name, check.detail);
        if let Some(remedy) = &check.remedy {
            say!("         → {remedy}");
        }
        missing += usize::from(check.status == Status::Missing);
    }
    if missing == 0 {
        say!("zfl can run.");
        Ok(())
    } else {
        Err(Failure::Run(format!("{missing} things are missing")))
    }
}
