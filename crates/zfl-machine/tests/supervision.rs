//! Machines as processes: how they start, answer, fail and end.
//!
//! Most tests use `fake_machine.sh` in the place of an emulator; those named
//! `qemu::` boot the real firmware. This program has a `main` of its own
//! because it starts itself: as the launcher of a machine (`exec-machine`),
//! and as a program that ends in some way while its machine runs (`victim`).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "clippy does not take a program with its own harness for a test"
)]

use std::ffi::OsString;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc, watch};
use zfl_machine::board::InstructionCounting;
use zfl_machine::console::{ConsoleEvent, DeviceEvent};
use zfl_machine::crash::explain;
use zfl_machine::fleet::FleetError;
use zfl_machine::machine::{AttachError, Attachment, Consoles, Deadlines};
use zfl_machine::{
    Board, Fleet, FleetMember, FleetProgress, FleetSettings, Launcher, LauncherProgram, MacAddress,
    Machine, MachineError, MachineSpec, MachineState, Nic, exec_machine,
};
use zfl_proto::console::{Command as ConsoleCommand, RunOptions};

const RUN: &str =
    "run 192.0.2.10/24 coordinator=192.0.2.2:8080 token=000102030405060708090a0b0c0d0e0f";

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|first| first.to_str()) {
        Some("exec-machine") => {
            eprintln!("failed to become a machine: {}", exec_machine(arguments));
            ExitCode::FAILURE
        }
        Some("victim") => {
            victim(&arguments.collect::<Vec<_>>());
            ExitCode::SUCCESS
        }
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    let test = |name: &str, body: fn()| {
        Trial::test(name, move || {
            body();
            Ok(())
        })
    };
    vec![
        test("a_machine_answers_and_stops", || {
            run(a_machine_answers_and_stops())
        }),
        test("a_machine_has_clean_surroundings", || {
            run(a_machine_has_clean_surroundings())
        }),
        test("a_silent_machine_is_hung", || {
            run(a_silent_machine_is_hung())
        }),
        test("a_machine_without_prompt_is_hung", || {
            run(a_machine_without_prompt_is_hung())
        }),
        test("a_machine_that_is_never_ready_is_hung", || {
            run(a_machine_that_is_never_ready_is_hung())
        }),
        test("a_mute_machine_gives_no_answer", || {
            run(a_mute_machine_gives_no_answer())
        }),
        test("an_emulator_that_exits_is_told", || {
            run(an_emulator_that_exits_is_told())
        }),
        test("a_reset_is_an_exit", || run(a_reset_is_an_exit())),
        test("a_panic_is_a_crash_with_its_lines", || {
            run(a_panic_is_a_crash_with_its_lines())
        }),
        test("a_fault_that_does_not_end_is_killed", || {
            run(a_fault_that_does_not_end_is_killed())
        }),
        test("people_type_between_the_owners_commands", || {
            run(people_type_between_the_owners_commands())
        }),
        test("who_may_come_to_a_console", || {
            run(who_may_come_to_a_console())
        }),
        test("a_lockup_is_a_crash", || run(a_lockup_is_a_crash())),
        test("garbage_is_kept_and_passed_over", || {
            run(garbage_is_kept_and_passed_over())
        }),
        test("a_flood_is_bounded", || run(a_flood_is_bounded())),
        test("a_chattering_emulator_is_stopped", || {
            run(a_chattering_emulator_is_stopped())
        }),
        test("a_stubborn_machine_is_killed", || {
            run(a_stubborn_machine_is_killed())
        }),
        test("a_dropped_machine_is_killed", || {
            run(a_dropped_machine_is_killed())
        }),
        test("a_machine_outlives_the_launcher_handle", || {
            run(a_machine_outlives_the_launcher_handle())
        }),
        test("what_is_missing_is_named", || {
            run(what_is_missing_is_named())
        }),
        test("a_command_must_be_one_line", || {
            run(a_command_must_be_one_line())
        }),
        test("a_fleet_is_told_apart", || run(a_fleet_is_told_apart())),
        test("a_member_is_killed_and_started_again", || {
            run(a_member_is_killed_and_started_again())
        }),
        test("a_frozen_machine_can_be_stopped", || {
            run(a_frozen_machine_can_be_stopped())
        }),
        test("what_no_device_can_do_is_an_error", || {
            run(what_no_device_can_do_is_an_error())
        }),
        test("the_launcher_checks_its_parent", || {
            the_launcher_checks_its_parent();
        }),
        test("no_machine_outlives_kill_9", || outlived("kill", FAKE)),
        test("no_machine_outlives_an_interrupt", || {
            outlived("interrupt", FAKE);
        }),
        test("no_machine_outlives_an_exit", || outlived("exit", FAKE)),
        test("no_machine_outlives_an_abort", || outlived("abort", FAKE)),
        test("no_machine_outlives_the_event_loop", || {
            outlived("return", FAKE);
        }),
        test("qemu::every_board_boots_and_answers", || {
            run(every_board_boots_and_answers())
        }),
        test("qemu::crashes_are_reported", || run(crashes_are_reported())),
        test("qemu::a_hanging_guest_gives_no_answer", || {
            run(a_hanging_guest_gives_no_answer())
        }),
        test("qemu::a_bad_image_is_told", || run(a_bad_image_is_told())),
        test("qemu::a_fleet_boots", || run(a_fleet_boots())),
        test("qemu::no_machine_outlives_kill_9", || {
            outlived("kill", "mps2-an386");
        }),
    ]
}

/// Runs a test to its end, or to the end of patience.
fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(2 * PATIENCE, test).await.unwrap() });
}

/// The board of `fake_machine.sh`.
const FAKE: &str = "fake";

fn board(name: &str) -> Board {
    if name != FAKE {
        return Board::named(name).unwrap();
    }
    let mut board = Board::named("mps2-an386").unwrap();
    board.qemu.binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_machine.sh");
    board
}

/// The firmware of a real board.
fn image(board: &Board) -> PathBuf {
    let folder = std::env::var_os("ZFL_FIRMWARE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/firmware"),
        PathBuf::from,
    );
    let image = board.firmware_image(&folder);
    assert!(
        image.exists(),
        "no firmware {}: build it with `cargo xtask firmware`",
        image.display()
    );
    image
}

/// A folder for machines, with what keeps them going.
struct Bench {
    folder: PathBuf,
    /// Removes the folder at the end.
    _temporary: Option<TempDir>,
    launcher: Launcher,
    events: broadcast::Sender<DeviceEvent>,
    networks: Vec<UnixDatagram>,
}

impl Bench {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut bench = Self::at(temporary.path());
        bench._temporary = Some(temporary);
        bench
    }

    fn at(folder: &Path) -> Self {
        let program = LauncherProgram::this_program("exec-machine").unwrap();
        Self {
            folder: folder.into(),
            _temporary: None,
            launcher: Launcher::start(program).unwrap(),
            events: broadcast::channel(1024).0,
            networks: Vec::new(),
        }
    }

    /// A fake machine with a behaviour.
    fn fake(&mut self, device: u32, behaviour: &str) -> MachineSpec {
        let firmware = self.folder.join(behaviour);
        std::fs::write(&firmware, "").unwrap();
        self.spec(device, board(FAKE), firmware)
    }

    fn real(&mut self, device: u32, name: &str) -> MachineSpec {
        let board = board(name);
        let image = image(&board);
        self.spec(device, board, image)
    }

    fn spec(&mut self, device: u32, board: Board, firmware: PathBuf) -> MachineSpec {
        MachineSpec {
            device,
            restarts: 0,
            board,
            firmware,
            mac: MacAddress([0x02, 0, 0, 0, (device >> 8) as u8, device as u8]),
            console_folder: self.folder.clone(),
            // A machine that works must not fail on a busy host.
            deadlines: Deadlines {
                first_output: PATIENCE,
                prompt: PATIENCE,
                command: PATIENCE,
                ready: PATIENCE,
                ..Deadlines::default()
            },
            instruction_counting: InstructionCounting::Off,
            consoles: None,
            debugger: None,
            ram: None,
        }
    }

    /// An end of a network that nobody serves.
    fn nic(&mut self) -> Nic {
        let (network, nic) = UnixDatagram::pair().unwrap();
        self.networks.push(network);
        Nic::Socket(OwnedFd::from(nic))
    }

    async fn boot(&mut self, spec: MachineSpec) -> Machine {
        let nic = self.nic();
        Machine::boot(&self.launcher, spec, nic, self.events.clone())
            .await
            .unwrap()
    }

    fn member(&mut self, machine: MachineSpec, run: Option<RunOptions>) -> FleetMember {
        let nic = self.nic();
        FleetMember { machine, nic, run }
    }

    /// A fleet, and whose machines have ended.
    async fn fleet(
        &self,
        members: Vec<FleetMember>,
        settings: FleetSettings,
        progress: &watch::Sender<FleetProgress>,
    ) -> Result<(Fleet, Ends), FleetError> {
        let (told, ends) = mpsc::unbounded_channel();
        let fleet = Fleet::boot(
            &self.launcher,
            members,
            settings,
            &self.events,
            progress,
            &told,
        )
        .await?;
        Ok((fleet, ends))
    }

    /// Why a fleet does not boot.
    async fn no_fleet(&self, members: Vec<FleetMember>, settings: FleetSettings) -> FleetError {
        // The machines of a fleet before may still be ending, and count in its own.
        let progress = watch::Sender::new(FleetProgress::default());
        let booted = self.fleet(members, settings, &progress).await;
        booted.map(|_| ()).unwrap_err()
    }

    /// A fake machine at its prompt.
    async fn booted(&mut self, behaviour: &str) -> Machine {
        let spec = self.fake(7, behaviour);
        let machine = self.boot(spec).await;
        machine.wait_prompt().await.unwrap();
        machine
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("device-007.log")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// `text` with the name of the folder left out.
    fn plain(&self, text: impl ToString) -> String {
        let folder = format!("{}/", self.folder.display());
        text.to_string().replace(&folder, "")
    }
}

/// Place and last state of machines that have ended.
type Ends = mpsc::UnboundedReceiver<(usize, MachineState)>;

/// The next machine of a fleet that has ended, which must come: its place and the
/// name of its state.
async fn next_end(ends: &mut Ends) -> (usize, &'static str) {
    let end = tokio::time::timeout(PATIENCE, ends.recv()).await;
    let (place, state) = end.unwrap().unwrap();
    (place, state.name())
}

/// Waits until a fleet stands like this.
async fn stands(progress: &watch::Sender<FleetProgress>, expected: FleetProgress) {
    let mut counted = progress.subscribe();
    let counted = counted.wait_for(|counted| *counted == expected);
    tokio::time::timeout(PATIENCE, counted)
        .await
        .unwrap()
        .unwrap();
}

fn run_options() -> RunOptions {
    match ConsoleCommand::parse(RUN) {
        Ok(ConsoleCommand::Run(options)) => options,
        other => panic!("{other:?}"),
    }
}

/// The next event, which must come.
async fn next(events: &mut broadcast::Receiver<DeviceEvent>) -> ConsoleEvent {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.unwrap().unwrap().event
}

/// How a machine ended that was to end by itself.
async fn end(machine: &Machine) -> MachineError {
    let report = tokio::time::timeout(PATIENCE, machine.ended()).await;
    let state = report.unwrap().unwrap().state;
    assert_eq!(state, machine.state());
    assert!(!process_exists(machine.process()), "it is a zombie");
    state.error().unwrap()
}

fn process_exists(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// A descriptor of a process, which keeps what it means when it ends.
fn process_descriptor(process: u32) -> OwnedFd {
    let pid = Pid::from_raw(process.cast_signed()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

/// Whether the process ends within `patience`.
fn ends_within(process: &OwnedFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).unwrap();
    let mut descriptors = [PollFd::new(process, PollFlags::IN)];
    poll(&mut descriptors, Some(&patience)).unwrap() == 1
}

async fn a_machine_answers_and_stops() {
    let mut bench = Bench::new();
    let mut events = bench.events.subscribe();
    let machine = bench.booted("answers").await;
    assert_eq!(machine.state(), MachineState::Prompt);
    assert_eq!(
        next(&mut events).await,
        ConsoleEvent::Boot {
            board: "fake".into(),
            version: "0.1.0".into(),
            arena_bytes: 1024
        }
    );
    let help = machine.command("help").await.unwrap();
    assert_eq!(help, ["help   this text", "run    learn"]);
    assert_eq!(machine.command("stats").await.unwrap(), ["counted"]);
    assert_eq!(
        next(&mut events).await,
        ConsoleEvent::Stats("uptime_us=12".into())
    );

    assert_eq!(machine.command("interrupted").await.unwrap(), ["noticed"]);
    assert!(matches!(
        next(&mut events).await,
        ConsoleEvent::Training(round) if round.0 == 2
    ));
    assert_eq!(
        machine.command("dance").await.unwrap_err().to_string(),
        "device 7: `dance` refused: column 1: expected help, run, stats or crash"
    );

    machine.run(&run_options()).await.unwrap();
    machine.wait_ready().await.unwrap();
    assert_eq!(machine.state(), MachineState::Ready);
    assert!(matches!(
        next(&mut events).await,
        ConsoleEvent::Assigned(client) if client.0 == 3
    ));
    assert!(machine.usage().await.pss_bytes_max > 10_000);

    let report = machine.stop().await.unwrap();
    assert!(!process_exists(machine.process()), "it is a zombie");
    let error = report.state.error().unwrap();
    let MachineError::Exited(exit) = error else {
        panic!("{error}");
    };
    assert!(exit.is_requested);
    assert_eq!(
        bench.plain(exit),
        "device 7: stopped, emulator ended by signal 15 (log: device-007.log)"
    );
    assert_eq!(report.log_error, None);
    let log = bench.log();
    assert_eq!(report.console_bytes, log.len() as u64);
    assert!(
        log.starts_with("@zfl boot board=fake version=0.1.0 arena=1024\r\nzfl> help\r\nhelp   "),
        "{log}"
    );
    let emulator_log = bench.folder.join("device-007.qemu.log");
    assert!(!emulator_log.exists(), "an empty file was left");
    // It is over, and stays so.
    let again = machine.stop().await.unwrap();
    assert_eq!(again, report);
    let error = machine.command("help").await.unwrap_err();
    assert!(matches!(error, MachineError::Exited(_)), "{error}");
}

async fn a_machine_has_clean_surroundings() {
    let mut bench = Bench::new();
    let machine = bench.booted("answers").await;
    let lines = machine.command("surroundings").await.unwrap();
    let process = machine.process();
    assert_eq!(
        lines,
        [
            // Transparent huge pages.
            "THP_enabled:\t0".replace('\t', "\u{fffd}"),
            "core 0".into(),
            // Ctrl-C is not for it.
            format!("group {process} process {process}"),
            // Network, console, and the script's copy of the console; none of
            // this program's others.
            "sockets 0 1 3 ".into(),
        ]
    );
}

async fn a_silent_machine_is_hung() {
    let mut bench = Bench::new();
    let mut spec = bench.fake(7, "silent");
    spec.deadlines.first_output = Duration::from_millis(50);
    let machine = bench.boot(spec).await;
    assert_eq!(machine.state().name(), "booting");
    let error = machine.wait_prompt().await.unwrap_err();
    let expected = "device 7: no console output within 50 ms of boot (log: device-007.log)";
    assert_eq!(bench.plain(error), expected);
    assert_eq!(bench.plain(end(&machine).await), expected);
}

async fn a_machine_without_prompt_is_hung() {
    let mut bench = Bench::new();
    let mut spec = bench.fake(7, "no-prompt");
    spec.deadlines.prompt = Duration::from_millis(50);
    let machine = bench.boot(spec).await;
    assert_eq!(
        bench.plain(end(&machine).await),
        "device 7: no prompt within 50 ms of boot, last line `starting` (log: device-007.log)"
    );
}

async fn a_machine_that_is_never_ready_is_hung() {
    let mut bench = Bench::new();
    let mut events = bench.events.subscribe();
    let mut spec = bench.fake(7, "never-ready");
    spec.deadlines.ready = Duration::from_millis(500);
    let machine = bench.boot(spec).await;
    // On a busy host the deadline may pass before the answer is there.
    let _ = machine.run(&run_options()).await;
    let error = bench.plain(machine.wait_ready().await.unwrap_err());
    assert!(
        error.starts_with("device 7: no `ready` event within 500 ms of the `run` command"),
        "{error}"
    );
    end(&machine).await;
    assert!(matches!(next(&mut events).await, ConsoleEvent::Boot { .. }));
}

async fn a_mute_machine_gives_no_answer() {
    let mut bench = Bench::new();
    let mut spec = bench.fake(7, "mute");
    spec.deadlines.command = Duration::from_millis(50);
    let machine = bench.boot(spec).await;
    machine.wait_prompt().await.unwrap();
    assert_eq!(
        bench.plain(machine.command("help").await.unwrap_err()),
        "device 7: no answer to `help` within 50 ms (log: device-007.log)"
    );
    // It goes on; but one that does not take `run` is of no use.
    assert_eq!(machine.state(), MachineState::Prompt);
    assert_eq!(
        bench.plain(machine.run(&run_options()).await.unwrap_err()),
        "device 7: no answer within 50 ms of the `run` command, \
         last line `@zfl boot board=fake version=0.1.0 arena=1024` (log: device-007.log)"
    );
    assert!(matches!(end(&machine).await, MachineError::Hung(_)));
}

async fn an_emulator_that_exits_is_told() {
    let mut bench = Bench::new();
    let spec = bench.fake(7, "exits");
    let machine = bench.boot(spec).await;
    let expected =
        "device 7: emulator ended with status 3: fake: cannot load the image (log: device-007.log)";
    assert_eq!(
        bench.plain(machine.wait_prompt().await.unwrap_err()),
        expected
    );
    assert_eq!(bench.plain(end(&machine).await), expected);
    let kept = std::fs::read_to_string(bench.folder.join("device-007.qemu.log")).unwrap();
    assert_eq!(kept, "fake: cannot load the image\n");
}

async fn a_reset_is_an_exit() {
    let mut bench = Bench::new();
    let spec = bench.fake(7, "resets");
    let machine = bench.boot(spec).await;
    assert_eq!(
        bench.plain(end(&machine).await),
        "device 7: emulator ended with status 0 (log: device-007.log)"
    );
    // What it said before is not lost.
    assert!(bench.log().ends_with("zfl> "), "{}", bench.log());
}

async fn a_panic_is_a_crash_with_its_lines() {
    let mut bench = Bench::new();
    let mut events = bench.events.subscribe();
    let machine = bench.booted("answers").await;
    let error = machine.command("crash panic").await.unwrap_err();
    assert_eq!(
        bench.plain(&error),
        "device 7: panic at src/x.rs:3: no (log: device-007.log)"
    );
    let MachineError::Crashed(crash) = error else {
        panic!("{error}");
    };
    assert_eq!(
        crash.moments.last_lines,
        [
            "@zfl boot board=fake version=0.1.0 arena=1024",
            "crash panic",
            "@zfl panic at src/x.rs:3: no",
        ]
    );
    assert_eq!(
        crash.dump,
        ["r0 00000000 r1 00000001", "backtrace 0x100 0x204"]
    );
    let boot = crash.moments.last_event.as_ref();
    assert!(matches!(boot, Some(ConsoleEvent::Boot { .. })), "{boot:?}");
    end(&machine).await;
    next(&mut events).await;
    assert_eq!(
        next(&mut events).await,
        ConsoleEvent::Panic("at src/x.rs:3: no".into())
    );
}

async fn a_fault_that_does_not_end_is_killed() {
    let mut bench = Bench::new();
    let mut spec = bench.fake(7, "answers");
    spec.deadlines.crash = Duration::from_millis(300);
    let machine = bench.boot(spec).await;
    let error = machine.command("crash stay").await.unwrap_err();
    assert_eq!(
        bench.plain(error),
        "device 7: fault: bus fault at 0x4 (log: device-007.log)"
    );
    end(&machine).await;
}

/// The next line at a console, which must come; `None` at its end.
async fn shown(lines: &mut mpsc::Receiver<String>) -> Option<String> {
    tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap()
}

/// A fake machine at its prompt, and a place at its console.
async fn attended(bench: &mut Bench, behaviour: &str) -> (Machine, Consoles, Attachment) {
    let consoles = Consoles::new(8);
    let mut spec = bench.fake(7, behaviour);
    spec.consoles = Some(consoles.clone());
    let machine = bench.boot(spec).await;
    machine.wait_prompt().await.unwrap();
    let place = consoles.attach(7, 40).await.unwrap();
    (machine, consoles, place)
}

async fn people_type_between_the_owners_commands() {
    let mut bench = Bench::new();
    let (machine, consoles, place) = attended(&mut bench, "answers").await;
    let (mut lines, keyboard) = place.split();
    let (mut others, _) = consoles.attach(7, 0).await.unwrap().split();
    let boot = "@zfl boot board=fake version=0.1.0 arena=1024";
    assert_eq!(shown(&mut lines).await.unwrap(), boot);
    for line in ["run away", "caf\u{e9}", ""] {
        assert!(keyboard.line(line.into()).await);
    }
    // Each has the answer to its own command, whoever comes first.
    let types = async {
        for _ in 0..20 {
            assert!(keyboard.line("stats".into()).await);
        }
        keyboard.end().await;
    };
    let commands = async {
        for _ in 0..20 {
            let help = machine.command("help").await.unwrap();
            assert_eq!(help, ["help   this text", "run    learn"]);
        }
    };
    tokio::join!(types, commands);
    let mut seen = Vec::new();
    while let Some(line) = shown(&mut lines).await {
        seen.push(line);
    }
    let count = |line: &str| seen.iter().filter(|seen| *seen == line).count();
    assert_eq!(count("@zfl stats uptime_us=12"), 20);
    assert_eq!(count("counted"), 20);
    assert_eq!(count("stats"), 0, "who types sees no echo: {seen:?}");
    for note in [
        "zfl: `run` is typed by zfl alone",
        "zfl: device 7: a command of 5 bytes that is not printable",
    ] {
        assert!(seen.iter().any(|line| line.starts_with(note)), "{seen:?}");
    }
    let mut echoes = 0;
    while echoes < 20 {
        echoes += usize::from(shown(&mut others).await.unwrap() == "stats");
    }
    // And it goes on as if nobody had been there.
    machine.run(&run_options()).await.unwrap();
    machine.wait_ready().await.unwrap();
}

async fn who_may_come_to_a_console() {
    let mut bench = Bench::new();
    let (machine, consoles, first) = attended(&mut bench, "answers").await;
    let refused = |error: AttachError| error.to_string();
    assert_eq!(
        refused(consoles.attach(8, 0).await.unwrap_err()),
        "there is no device 8: the fleet has devices 0 to 7"
    );
    assert_eq!(
        refused(consoles.attach(3, 0).await.unwrap_err()),
        "device 3 has not started yet"
    );
    let mut places = Vec::new();
    for _ in 0..3 {
        places.push(consoles.attach(7, 0).await.unwrap());
    }
    assert_eq!(
        refused(consoles.attach(7, 0).await.unwrap_err()),
        "4 are attached to device 7 already"
    );
    // Somebody who has gone makes room.
    places.pop();
    let place = consoles.attach(7, 0).await.unwrap();
    // Whoever is there does not keep the machine.
    machine.stop().await.unwrap();
    drop(machine);
    let (mut lines, keyboard) = place.split();
    let last = shown(&mut lines).await.unwrap();
    assert!(last.starts_with("zfl: device 7: stopped, "), "{last}");
    assert_eq!(shown(&mut lines).await, None);
    assert!(!keyboard.line("stats".into()).await);
    assert_eq!(
        refused(consoles.attach(7, 0).await.unwrap_err()),
        "device 7 has ended; its console is in console/device-007.log"
    );
    drop(first);
}

async fn a_lockup_is_a_crash() {
    let mut bench = Bench::new();
    let spec = bench.fake(7, "locks-up");
    let machine = bench.boot(spec).await;
    let error = end(&machine).await;
    assert_eq!(
        bench.plain(&error),
        "device 7: qemu: fatal: Lockup: cannot escalate 3 to HardFault (log: device-007.log)"
    );
    let MachineError::Crashed(crash) = error else {
        panic!("{error}");
    };
    assert_eq!(crash.dump.last().unwrap(), "R00=00000000 R01=00000001");
}

async fn garbage_is_kept_and_passed_over() {
    let mut bench = Bench::new();
    let machine = bench.booted("garbage").await;
    machine.run(&run_options()).await.unwrap();
    machine.wait_ready().await.unwrap();
    machine.stop().await.unwrap();
    let log = std::fs::metadata(bench.folder.join("device-007.log")).unwrap();
    assert!(log.len() > 300_000, "{log:?}");
}

async fn a_flood_is_bounded() {
    let mut bench = Bench::new();
    let mut events = bench.events.subscribe();
    let machine = bench.booted("answers").await;
    // It never comes back to its prompt, and can be stopped all the same.
    let mut state = machine.watch();
    let (command, stop) = tokio::join!(machine.command("spin"), async {
        let running = |state: &MachineState| matches!(state, MachineState::Running(_));
        state.wait_for(running).await.unwrap();
        // More than may pass in a second.
        for _ in 0..200 {
            next(&mut events).await;
        }
        machine.stop().await.unwrap()
    });
    assert!(matches!(command, Err(MachineError::Exited(_))));
    assert!(stop.console_bytes > 200 * 20, "{stop:?}");
}

async fn a_chattering_emulator_is_stopped() {
    let mut bench = Bench::new();
    let spec = bench.fake(7, "chatters");
    let machine = bench.boot(spec).await;
    let error = bench.plain(end(&machine).await);
    assert!(error.contains("wrote too long a log"), "{error}");
    let log = std::fs::metadata(bench.folder.join("device-007.qemu.log")).unwrap();
    assert_eq!(log.len(), 16 << 20);
}

async fn a_stubborn_machine_is_killed() {
    let mut bench = Bench::new();
    let mut spec = bench.fake(7, "stubborn");
    spec.deadlines.stop = Duration::from_millis(100);
    let machine = bench.boot(spec).await;
    machine.wait_prompt().await.unwrap();
    let report = machine.stop().await.unwrap();
    assert_eq!(
        bench.plain(report.state.error().unwrap()),
        "device 7: stopped, emulator was killed (log: device-007.log)"
    );
}

async fn a_dropped_machine_is_killed() {
    let mut bench = Bench::new();
    let machine = bench.booted("stubborn").await;
    let process = process_descriptor(machine.process());
    let number = machine.process();
    let mut state = machine.watch();
    drop(machine);
    assert!(ends_within(&process, Duration::from_secs(2)));
    state.wait_for(MachineState::is_final).await.unwrap();
    assert!(!process_exists(number), "it is a zombie");
}

async fn a_machine_outlives_the_launcher_handle() {
    let mut bench = Bench::new();
    let machine = bench.booted("answers").await;
    let program = LauncherProgram::this_program("exec-machine").unwrap();
    bench.launcher = Launcher::start(program).unwrap();
    assert_eq!(machine.command("stats").await.unwrap(), ["counted"]);
    machine.stop().await.unwrap();
}

async fn what_is_missing_is_named() {
    let mut bench = Bench::new();
    let mut no_emulator = bench.fake(7, "answers");
    no_emulator.board.qemu.binary = "/nowhere/qemu-system-arm".into();
    let mut no_firmware = bench.fake(7, "answers");
    no_firmware.firmware = bench.folder.join("none.elf");
    let mut no_folder = bench.fake(7, "answers");
    no_folder.console_folder = bench.folder.join("none");
    for (spec, expected) in [
        (
            no_emulator,
            "/nowhere/qemu-system-arm not found: there is no such program file",
        ),
        (
            no_firmware,
            "failed to read firmware none.elf: No such file or directory (os error 2) \
             (build it with `cargo xtask firmware`)",
        ),
        (
            no_folder,
            "failed to create log none/device-007.log: No such file or directory (os error 2)",
        ),
    ] {
        let nic = bench.nic();
        let error = Machine::boot(&bench.launcher, spec, nic, bench.events.clone())
            .await
            .unwrap_err();
        assert_eq!(bench.plain(error), format!("device 7: {expected}"));
    }
}

async fn a_command_must_be_one_line() {
    let mut bench = Bench::new();
    let machine = bench.booted("answers").await;
    for (line, expected) in [
        (
            "",
            "device 7: a command of 0 bytes that is not printable; allowed are 192 printable bytes",
        ),
        (
            "help\nrun",
            "device 7: a command of 8 bytes that is not printable; allowed are 192 printable bytes",
        ),
        (
            &"x".repeat(193),
            "device 7: a command of 193 bytes that is too long; allowed are 192 printable bytes",
        ),
    ] {
        let error = machine.command(line).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

fn the_launcher_checks_its_parent() {
    let check = |parent: &str, expected: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["exec-machine", parent, "/bin/echo", "started"])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    };
    check(&std::process::id().to_string(), "started\n");
    // As if the parent had ended before the launcher could ask for its death
    // signal: it has another parent by then.
    check(
        "999999999",
        "failed to become a machine: the process 999999999 that starts this machine has ended\n",
    );
}

/// A program that boots a machine, says its number, waits for a line and then
/// ends in one of many ways.
fn victim(arguments: &[OsString]) {
    let [way, board_name, folder] = arguments else {
        panic!("usage: victim WAY BOARD FOLDER");
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let machine = runtime.block_on(async {
        let mut bench = Bench::at(Path::new(folder));
        let spec = match board_name.to_str().unwrap() {
            FAKE => bench.fake(7, "stubborn"),
            name => bench.real(7, name),
        };
        let machine = bench.boot(spec).await;
        machine.wait_prompt().await.unwrap();
        // Not even a destructor is to help.
        std::mem::forget(bench);
        machine
    });
    println!("{}", machine.process());
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    match way.to_str().unwrap() {
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "return" => drop(runtime),
        way => panic!("no way {way}"),
    }
}

/// However its program ends, a machine ends within 2 s.
fn outlived(way: &str, board_name: &str) {
    if board_name != FAKE {
        image(&board(board_name));
    }
    // Here, as a killed victim removes nothing.
    let folder = tempfile::tempdir().unwrap();
    // An interrupt may be ignored by whoever runs the tests, such as a shell
    // that runs them in the background; children inherit that.
    let mut victim = Command::new("env")
        .arg("--default-signal=INT")
        .arg(std::env::current_exe().unwrap())
        .args(["victim", way, board_name])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(victim.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let Ok(number) = first.trim().parse() else {
        let mut said = String::new();
        victim.stderr.unwrap().read_to_string(&mut said).unwrap();
        panic!("the victim has no machine: {first} {said}");
    };
    let machine = process_descriptor(number);
    assert!(!ends_within(&machine, Duration::ZERO), "it ended before");

    let start = Instant::now();
    match way {
        "kill" => victim.kill().unwrap(),
        "interrupt" => {
            let victim = Pid::from_raw(victim.id().cast_signed()).unwrap();
            rustix::process::kill_process(victim, Signal::INT).unwrap();
        }
        _ => victim.stdin.take().unwrap().write_all(b"\n").unwrap(),
    }
    let has_ended = ends_within(&machine, Duration::from_secs(2));
    let seconds = start.elapsed();
    if !has_ended {
        rustix::process::pidfd_send_signal(&machine, Signal::KILL).unwrap();
    }
    victim.wait().unwrap();
    assert!(has_ended, "still there after {seconds:?}");
}

async fn a_fleet_is_told_apart() {
    let mut bench = Bench::new();
    let behaviours = [
        "answers", "silent", "answers", "exits", "locks-up", "answers",
    ];
    let mut members = Vec::new();
    for (device, behaviour) in (0..).zip(behaviours) {
        let mut machine = bench.fake(device, behaviour);
        if behaviour == "silent" {
            machine.deadlines.first_output = Duration::from_millis(50);
        }
        members.push(bench.member(machine, (device != 5).then(run_options)));
    }
    let settings = FleetSettings {
        starting_max: 2,
        ..FleetSettings::default()
    };
    let progress = watch::Sender::new(FleetProgress::default());
    let mut watched = progress.subscribe();
    let busiest = tokio::spawn(async move {
        let mut starting_max = 0;
        while watched.changed().await.is_ok() {
            let now = *watched.borrow_and_update();
            assert_eq!(now.count(), 6, "{now:?}");
            // Device 5 stays at its prompt.
            let starting = now.booting + now.running + now.prompt;
            starting_max = starting_max.max(starting);
        }
        starting_max
    });
    let (fleet, mut ends) = bench.fleet(members, settings, &progress).await.unwrap();
    for device in [0, 2] {
        fleet.machines()[device].wait_ready().await.unwrap();
    }
    for device in [1, 3, 4] {
        end(&fleet.machines()[device]).await;
    }
    let states: Vec<_> = fleet
        .machines()
        .iter()
        .map(|machine| (machine.device(), machine.state().name()))
        .collect();
    assert_eq!(
        states,
        [
            (0, "ready"),
            (1, "hung"),
            (2, "ready"),
            (3, "exited"),
            (4, "crashed"),
            (5, "prompt")
        ]
    );
    let expected = FleetProgress {
        ready: 2,
        hung: 1,
        exited: 1,
        crashed: 1,
        prompt: 1,
        ..FleetProgress::default()
    };
    assert_eq!(expected.ended(), 3);
    stands(&progress, expected).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(next_end(&mut ends).await);
    }
    told.sort_unstable();
    assert_eq!(told, [(1, "hung"), (3, "exited"), (4, "crashed")]);

    let usage = fleet.usage(|_| true).await;
    assert!(usage[0].pss_bytes_max > 0, "{usage:?}");
    let start = Instant::now();
    let reports = fleet.stop().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    let devices: Vec<u32> = reports.iter().map(|report| report.device).collect();
    assert_eq!(devices, [0, 1, 2, 3, 4, 5]);
    for machine in fleet.machines() {
        assert!(!process_exists(machine.process()), "it is a zombie");
    }
    drop((fleet, progress));
    let busiest = tokio::time::timeout(PATIENCE, busiest).await.unwrap();
    assert_eq!(busiest.unwrap(), 2);
}

async fn a_member_is_killed_and_started_again() {
    let mut bench = Bench::new();
    let mut members = Vec::new();
    for device in 0..2 {
        let machine = bench.fake(device, "answers");
        members.push(bench.member(machine, Some(run_options())));
    }
    let progress = watch::Sender::new(FleetProgress::default());
    let settings = FleetSettings::default();
    let (fleet, mut ends) = bench.fleet(members, settings, &progress).await.unwrap();
    let busy = fleet.restart(1, bench.nic()).await.unwrap_err();
    assert_eq!(busy.to_string(), "device 1: busy with `its machine`");
    let first = fleet.machine(1).unwrap();
    for restarts in 1..=2 {
        let machine = fleet.machine(1).unwrap();
        machine.kill().await;
        assert!(matches!(end(&machine).await, MachineError::Exited(_)));
        assert_eq!(next_end(&mut ends).await, (1, "exited"));
        fleet.restart(1, bench.nic()).await.unwrap();
        let machine = fleet.machine(1).unwrap();
        machine.wait_ready().await.unwrap();
        assert_ne!(machine.process(), first.process());
        let log = bench.folder.join(format!("device-001-{restarts}.log"));
        assert!(std::fs::read_to_string(log).unwrap().contains("@zfl ready"));
    }
    // The first log is whole, too.
    let log = std::fs::read_to_string(bench.folder.join("device-001.log")).unwrap();
    assert!(log.contains("@zfl ready"), "{log}");
    let expected = FleetProgress {
        ready: 2,
        ..FleetProgress::default()
    };
    stands(&progress, expected).await;
    let reports = fleet.stop().await.unwrap();
    assert_eq!(reports.len(), 2);
}

async fn a_frozen_machine_can_be_stopped() {
    let mut bench = Bench::new();
    let mut spec = bench.fake(7, "answers");
    spec.deadlines.command = Duration::from_millis(50);
    let machine = bench.boot(spec).await;
    machine.wait_prompt().await.unwrap();
    machine.freeze().await;
    let error = machine.command("stats").await.unwrap_err();
    assert!(matches!(error, MachineError::NoAnswer { .. }), "{error}");
    // It has not ended by that.
    assert_eq!(machine.state(), MachineState::Prompt);
    let report = machine.stop().await.unwrap();
    assert!(matches!(&report.state, MachineState::Exited(exit) if exit.is_requested));
    assert!(!process_exists(machine.process()), "it is a zombie");
}

async fn what_no_device_can_do_is_an_error() {
    let mut bench = Bench::new();
    let settings = FleetSettings {
        descriptors_per_device: 1 << 40,
        ..FleetSettings::default()
    };
    let alone = bench.fake(0, "answers");
    let members = vec![bench.member(alone, None)];
    let error = bench.no_fleet(members, settings).await;
    assert!(matches!(error, FleetError::Room { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("failed to start 1 devices: 1099511627843 open files are needed and "),
        "{text}"
    );

    let machine = bench.fake(0, "refuses");
    let members = vec![bench.member(machine, Some(run_options()))];
    let error = bench.no_fleet(members, FleetSettings::default()).await;
    assert_eq!(
        error.to_string(),
        "device 0: `run` refused: there is no network"
    );

    let mut machine = bench.fake(1, "answers");
    machine.board.qemu.binary = "qemu-system-none".into();
    let members = [bench.fake(0, "answers"), machine].map(|machine| bench.member(machine, None));
    let members = members.into();
    let error = bench.no_fleet(members, FleetSettings::default()).await;
    assert_eq!(
        error.to_string(),
        "qemu-system-none not found: it is not on the PATH"
    );
}

async fn every_board_boots_and_answers() {
    let mut bench = Bench::new();
    for (device, board) in (0..).zip(Board::all().unwrap()) {
        let mut events = bench.events.subscribe();
        let spec = bench.real(device, &board.name);
        let machine = bench.boot(spec).await;
        machine.wait_prompt().await.unwrap();
        let booted = next(&mut events).await;
        let ConsoleEvent::Boot {
            board: built_for,
            arena_bytes,
            ..
        } = booted
        else {
            panic!("{booted:?}");
        };
        assert_eq!(built_for, board.name);
        assert!(arena_bytes <= board.memory.arena.size_bytes);
        let help = machine.command("help").await.unwrap().join("\n");
        assert!(help.contains("run <ipv4>/<prefix>"), "{help}");
        machine.command("stats").await.unwrap();
        let stats = next(&mut events).await;
        assert!(matches!(stats, ConsoleEvent::Stats(_)), "{stats:?}");
        machine.usage().await;
        let report = machine.stop().await.unwrap();
        assert!(report.usage.cpu_seconds() > 0.0, "{report:?}");
        // Alone: nothing of the emulator's 23 MiB is shared with others. QEMU
        // 7.2 holds 42 MiB more for the first tenths of a second of an
        // an547, 14 MiB afterwards.
        assert!(report.usage.pss_bytes_max < 96 << 20, "{report:?}");
        assert!(matches!(&report.state, MachineState::Exited(exit) if exit.is_requested));
    }
}

async fn crashes_are_reported() {
    let mut bench = Bench::new();
    // The stack is guarded in another way on each architecture.
    for (device, (board, command, cause)) in (0..).zip([
        (
            "mps2-an386",
            "crash panic",
            "panic at zfl-firmware/src/console.rs:",
        ),
        ("mps2-an386", "crash fault", "fault: memory fault"),
        ("mps2-an386", "crash stack", "fault: memory fault"),
        ("mps2-an505", "crash stack", "fault: usage fault"),
        (
            "riscv-virt-rv32imac",
            "crash panic",
            "panic at zfl-firmware/src/console.rs:",
        ),
        (
            "riscv-virt-rv32imac",
            "crash fault",
            "fault: load not allowed",
        ),
        (
            "riscv-virt-rv32imac",
            "crash stack",
            "fault: store not allowed",
        ),
    ]) {
        let spec = bench.real(device, board);
        let machine = bench.boot(spec).await;
        machine.wait_prompt().await.unwrap();
        let error = machine.command(command).await.unwrap_err();
        let MachineError::Crashed(crash) = &error else {
            panic!("{error}");
        };
        assert!(crash.cause.starts_with(cause), "{error}");
        let image = std::fs::read(image(&Board::named(board).unwrap())).unwrap();
        let explanation = explain(&crash.cause, &crash.dump, &image);
        let (place, text) = (explanation.place.unwrap(), explanation.text);
        let (at, words) = match command {
            "crash panic" => (
                "firmware/zfl-firmware/src/console.rs:",
                "core::panicking::panic_fmt",
            ),
            "crash fault" => (
                "firmware/zfl-firmware/src/drivers/memory.rs:",
                "touch_guard",
            ),
            _ => (
                "firmware/zfl-firmware/src/fault.rs:",
                "in the task zfl_firmware::console::run\n",
            ),
        };
        assert!(place.starts_with(at), "{board} {command}: {place}\n{text}");
        assert!(text.contains(words), "{board} {command}:\n{text}");
        assert!(text.contains(&place), "{board} {command}:\n{text}");
        // From the outermost call on, whole but for a stack that is too deep.
        let is_whole = text.contains("::__run_task") && !text.contains("  (");
        assert_eq!(
            is_whole,
            command != "crash stack",
            "{board} {command}:\n{text}"
        );
        let status = match (command, board) {
            ("crash panic", _) => "registers:",
            (_, "riscv-virt-rv32imac") => "mcause = ",
            ("crash fault", _) => "  DACCVIOL: ",
            (_, "mps2-an505") => "  STKOF: ",
            _ => "  MSTKERR: ",
        };
        assert!(text.contains(status), "{board} {command}:\n{text}");
        end(&machine).await;
    }
}

async fn a_hanging_guest_gives_no_answer() {
    let mut bench = Bench::new();
    let mut spec = bench.real(0, "mps2-an386");
    spec.deadlines.command = Duration::from_secs(2);
    let machine = bench.boot(spec).await;
    machine.wait_prompt().await.unwrap();
    for command in ["crash hang", "stats"] {
        let error = machine.command(command).await.unwrap_err();
        assert!(matches!(error, MachineError::NoAnswer { .. }), "{error}");
    }
    let report = machine.stop().await.unwrap();
    assert!(matches!(&report.state, MachineState::Exited(exit) if exit.is_requested));
}

async fn a_bad_image_is_told() {
    let mut bench = Bench::new();
    let firmware = bench.folder.join("empty.elf");
    std::fs::write(&firmware, "").unwrap();
    let spec = bench.spec(0, board("mps2-an386"), firmware);
    let machine = bench.boot(spec).await;
    // A processor without a program locks up, or the image is refused.
    let error = end(&machine).await;
    assert!(
        matches!(error, MachineError::Crashed(_) | MachineError::Exited(_)),
        "{error}"
    );
}

async fn a_fleet_boots() {
    let mut bench = Bench::new();
    let mut members = Vec::new();
    for device in 0..12 {
        let machine = bench.real(device, "mps2-an386");
        members.push(bench.member(machine, None));
    }
    let progress = watch::Sender::new(FleetProgress::default());
    let settings = FleetSettings::default();
    let (fleet, _ends) = bench.fleet(members, settings, &progress).await.unwrap();
    for machine in fleet.machines() {
        assert_eq!(machine.state(), MachineState::Prompt);
    }
    fleet.usage(|_| true).await;
    let start = Instant::now();
    let reports = fleet.stop().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    for report in reports {
        assert!(report.usage.pss_bytes_max < 24 << 20, "{report:?}");
    }
}
