//! Boots idle machines and prints what they cost.
//!
//! `cargo run --release -p zfl-machine --example boot_figures -- [COUNT] [BOARD]`,
//! after `cargo xtask firmware`.
#![expect(clippy::print_stdout, reason = "printing is its purpose")]

use std::error::Error;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, watch};
use zfl_machine::board::InstructionCounting;
use zfl_machine::machine::Deadlines;
use zfl_machine::{
    Board, Fleet, FleetMember, FleetProgress, FleetSettings, Launcher, LauncherProgram, MacAddress,
    MachineSpec, MachineState, Nic, exec_machine,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if first.as_ref().is_some_and(|first| first == "exec-machine") {
        return Err(exec_machine(arguments).into());
    }
    let count = first.map_or(Ok(50), |count| count.to_string_lossy().parse())?;
    let board = arguments.next().unwrap_or_else(|| "mps2-an386".into());
    let board = Board::find(&board.to_string_lossy())?;
    tokio::runtime::Runtime::new()?.block_on(measure(count, board))
}

async fn measure(count: u32, board: Board) -> Result<(), Box<dyn Error>> {
    let images = std::env::var_os("ZFL_FIRMWARE_DIR")
        .map_or_else(|| PathBuf::from("target/firmware"), PathBuf::from);
    let settings = FleetSettings::default();
    zfl_machine::limits::ensure_descriptors(settings.descriptors_needed(count as usize))?;
    let folder = tempfile::tempdir()?;
    let launcher = Launcher::start(LauncherProgram::this_program("exec-machine")?)?;
    let mut networks = Vec::new();
    let mut members = Vec::new();
    for device in 0..count {
        let (network, nic) = UnixDatagram::pair()?;
        networks.push(network);
        members.push(FleetMember {
            nic: Nic::Socket(nic.into()),
            machine: MachineSpec {
                device,
                restarts: 0,
                firmware: board.firmware_image(&images),
                board: board.clone(),
                mac: MacAddress([0x02, 0, 0, 0, (device >> 8) as u8, device as u8]),
                console_folder: folder.path().into(),
                deadlines: Deadlines::default(),
                instruction_counting: InstructionCounting::Off,
                consoles: None,
                debugger: None,
                ram: None,
            },
            run: None,
        });
    }

    let events = broadcast::Sender::new(64);
    let progress = watch::Sender::new(FleetProgress::default());
    let (ends, _) = mpsc::unbounded_channel();
    let start = Instant::now();
    let fleet = Fleet::boot(&launcher, members, settings, &events, &progress, &ends).await?;
    let boot_seconds = start.elapsed().as_secs_f64();
    let booted = fleet
        .machines()
        .iter()
        .filter(|machine| machine.state() == MachineState::Prompt)
        .count();
    println!(
        "{booted} of {count} {} at the prompt after {boot_seconds:.2} s",
        board.name
    );

    let cpu_seconds = |usage: &[zfl_machine::usage::Usage]| -> f64 {
        usage
            .iter()
            .map(zfl_machine::usage::Usage::cpu_seconds)
            .sum()
    };
    let before = fleet.usage(|_| true).await;
    let devices = f64::from(count);
    println!(
        "processor time of a boot: {:.1} ms each",
        1000.0 * cpu_seconds(&before) / devices
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sampling = Instant::now();
    let after = fleet.usage(|_| true).await;
    println!(
        "a sample of all takes {:.0} ms",
        1000.0 * sampling.elapsed().as_secs_f64()
    );
    println!(
        "idle: {:.2} % of a processor each",
        100.0 * (cpu_seconds(&after) - cpu_seconds(&before)) / devices / 5.0
    );
    let pss_bytes: u64 = after.iter().map(|usage| usage.pss_bytes_max).sum();
    println!(
        "memory (PSS): {:.1} MB each",
        pss_bytes as f64 / 1e6 / devices
    );

    let start = Instant::now();
    fleet.stop().await?;
    println!("all stopped after {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}
