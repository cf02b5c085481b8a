//! What one sees of a device that fails, and of one that runs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Finished, Place, Records, Running, check_none_left, finish, wait_until};

/// Two devices of each architecture, and more rounds than a test waits for.
const BOTH: &str = r#"fleet=[{board="mps2-an386",count=2},{board="riscv-virt-rv32imac",count=2}]"#;

/// Types at the console of a device of the run in `out`, to the end.
fn typed(place: &Place, device: &str, text: &str) -> Finished {
    let out = place.path("out").display().to_string();
    let command = place.zfl(["console", device, "--run", &out]);
    Running::start_typed(command, text).finish()
}

/// `file:line` of the only line of the firmware's source that holds `text`.
fn source_line(file: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file);
    let source = std::fs::read_to_string(path).unwrap();
    let mut lines = (1..).zip(source.lines());
    let (line, _) = lines.find(|(_, line)| line.contains(text)).unwrap();
    assert!(lines.all(|(_, line)| !line.contains(text)), "{text}");
    format!("{file}:{line}")
}

/// Must show 6: each crash file names the line, and the rounds go on.
#[test]
fn a_panic_in_training_is_told_with_its_line_and_the_rest_go_on() {
    let place = Place::new();
    let sets = [BOTH, "coordinator.quorum=2", "rounds=20"];
    let mut run = Running::start(place.run("out", &sets));
    run.wait_for_line("round   1/20");
    for device in ["1", "3"] {
        typed(&place, device, "crash panic in-training\n").succeeded();
    }
    let finished = run.finish();
    let said = finished.stderr.clone();
    let shown = finished.succeeded();
    check_none_left(&place.path("out"));
    assert!(shown.contains("round  20/20"), "{shown}");

    let records = Records::new(&place.path("out"));
    let counts = records.round_column("clients_ok");
    assert_eq!((&*counts[0], &*counts[19]), ("4", "2"), "{counts:?}");
    let line = source_line("firmware/zfl-firmware/src/learn.rs", "fault::crash(how)");
    for device in [1, 3] {
        let headline = format!("device {device}: panic at {line}: asked for on the console");
        let name = format!("crashes/device-00{device}-1.txt");
        let path = place.path("out").join(&name);
        let told = format!("{headline} (crash file: {})", path.display());
        assert!(
            said.contains(&format!("warning: client {device}: {told}")),
            "{said}"
        );
        assert!(shown.contains(&format!("failed     {told}\n")), "{shown}");
        let lost = records.events_named("client-lost");
        assert!(
            lost.iter().any(|event| event["reason"] == *told),
            "{lost:?}"
        );
        let file = records.text(&name);
        assert!(file.starts_with(&format!("{headline}\n")), "{file}");
        for part in [
            ", training\n",
            "core::panicking::panic_fmt\n",
            "zfl_firmware::learn::train::{{closure}}\n",
            &format!("at {line}\n"),
            // The whole way to the program's entry.
            "zfl_firmware::start::run\n",
            "  @zfl training round=",
            "token=…",
        ] {
            assert!(file.contains(part), "{part}:\n{file}");
        }
        assert!(!file.contains("look like return addresses"), "{file}");
        let crashed = records.clients();
        let crashed = crashed
            .iter()
            .find(|row| row["client"] == device.to_string() && row["outcome"] == "crashed");
        assert!(crashed.unwrap()["detail"].contains(&told));
    }
    assert!(!place.path("out").join("console.sock").exists());
}

/// A device that only spins says nothing, and is not waited for twice.
#[test]
fn a_hang_in_a_round_gets_a_crash_file() {
    let place = Place::new();
    let sets = ["coordinator.quorum=3", "rounds=6", "deadlines.round-s=2"];
    let mut run = Running::start(place.run("out", &sets));
    run.wait_for_line("round   1/6");
    typed(&place, "2", "crash hang in-training\n").succeeded();
    let finished = run.finish();
    let said = finished.stderr.clone();
    finished.succeeded();
    check_none_left(&place.path("out"));
    let records = Records::new(&place.path("out"));
    let hung = records.events_named("device-hung");
    assert_eq!(hung.len(), 1, "{said}");
    assert_eq!(hung[0]["client"], 2);
    let file = records.text("crashes/device-002-1.txt");
    assert!(file.starts_with("device 2: hangs: "), "{file}");
    assert!(file.contains(", and no answer at its console\n"), "{file}");
    assert!(file.contains(", training\n"), "{file}");
    assert!(
        said.contains("warning: client 2: device 2: hangs: "),
        "{said}"
    );
}

#[test]
fn people_come_to_the_console_of_a_running_device() {
    let place = Place::new();
    let mut run = Running::start(place.run("runs/small-001", &["rounds=1000"]));
    run.wait_for_line("round   1/1000");
    // The newest run in the folder `runs`.
    let stats = Running::start_typed(place.zfl(["console", "3"]), "stats\n");
    let shown = stats.finish().succeeded();
    assert!(shown.contains("@zfl stats uptime_us="), "{shown}");
    let shown = Running::start_typed(place.zfl(["console", "3", "--lines", "40"]), "");
    let shown = shown.finish().succeeded();
    assert!(shown.contains("@zfl ready client=3 samples="), "{shown}");
    // Followed, by two at once.
    let (reader, writer) = std::io::pipe().unwrap();
    let follow = || {
        let command = place.zfl(["console", "0"]);
        Running::start_reading(command, reader.try_clone().unwrap())
    };
    let mut watchers = [follow(), follow()];
    for watcher in &mut watchers {
        watcher.wait_for_line("@zfl training round=");
        watcher.wait_for_line("@zfl reported round=");
    }
    drop((reader, writer));
    for watcher in watchers {
        watcher.finish().succeeded();
    }
    let said = |device: &str| {
        let command = place.zfl(["console", device]);
        Running::start_typed(command, "stats\n").finish().failed(1)
    };
    assert_eq!(
        said("4"),
        "error: there is no device 4: the fleet has devices 0 to 3\n"
    );
    run.signal(rustix::process::Signal::INT);
    run.finish().failed(130);
    check_none_left(&place.path("runs/small-001"));
    assert_eq!(
        said("3"),
        "error: no devices run in any folder of runs/; name that of the run with --run\n"
    );
    let ended = place.zfl(["console", "3", "--run", "runs/small-001"]);
    let ended = finish(ended).failed(1);
    assert!(
        ended.starts_with("error: no devices run in runs/small-001: the run has ended"),
        "{ended}"
    );
}

#[test]
fn a_fleet_host_has_consoles_too() {
    let place = Place::new();
    let [server, fleet] = place.halves(&["--rounds", "1000"]);
    let folder = place.path("fleet").display().to_string();
    let command = place.zfl(["console", "0", "--run", &folder]);
    let shown = Running::start_typed(command, "stats\n").finish();
    let shown = shown.succeeded();
    assert!(shown.contains("@zfl stats uptime_us="), "{shown}");
    server.signal(rustix::process::Signal::INT);
    server.finish().failed(130);
    fleet.finish().succeeded();
    check_none_left(&place.path("fleet"));
}

/// Debian's debugger meets the device before its first instruction, and in the
/// trainer.
#[test]
fn a_device_is_held_for_a_debugger() {
    let place = Place::new();
    let mut command = place.run("out", &[BOTH]);
    command.args(["--gdb", "3", "--set", "deadlines.boot-s=1"]);
    let mut run = Running::start(command);
    let line = run.wait_for_line("device 3 waits for a debugger: ");
    let (_, debugger) = line.split_once(": gdb-multiarch ").unwrap();
    // As a shell would take it: a path, an option, and what is in quotes.
    let (image, target) = debugger.split_once(" -ex ").unwrap();
    let target = target.trim_matches('\'');
    // Held for longer than its deadline would let it boot.
    let waits = Instant::now();
    wait_until("three devices are ready", Duration::from_secs(60), || {
        let events = std::fs::read_to_string(place.path("out/events.jsonl")).ok()?;
        let ready_count = events.matches("\"device-ready\"").count();
        (ready_count == 3 && waits.elapsed() > Duration::from_secs(1)).then_some(())
    });
    let mut gdb = Command::new("gdb-multiarch");
    gdb.current_dir(place.path("."))
        .args(["-nx", "-batch", image, "-ex", target])
        .args(["-ex", "info registers pc"])
        .args(["-ex", "break zfl_nn::training::backward<f32>"])
        .args(["-ex", "continue", "-ex", "backtrace 3"])
        .args(["-ex", "delete", "-ex", "detach"]);
    let seen = finish(gdb).succeeded();
    assert!(seen.contains("Breakpoint 1, "), "{seen}");
    // The reset vector of the machine.
    assert!(seen.contains("0x1000"), "{seen}");
    for part in ["#0  ", "zfl_nn::training", "training.rs:"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    run.finish().succeeded();
    check_none_left(&place.path("out"));
    let records = Records::new(&place.path("out"));
    assert_eq!(records.round_column("clients_ok"), ["4", "4", "4"]);
}

#[test]
fn what_cannot_be_debugged_is_told_before_anything_starts() {
    let place = Place::new();
    let said = |out: &str, arguments: &[&str]| {
        let mut command = place.run(out, &[]);
        command.args(arguments);
        let said = finish(command).failed(1);
        assert!(!place.path(out).exists());
        said
    };
    assert_eq!(
        said("out", &["--gdb", "4"]),
        "error: --gdb 4: there is no such device, the run emulates 4, counted from 0\n"
    );
    assert_eq!(
        said("out", &["--gdb", "0", "--fidelity", "native"]),
        "error: --gdb 0: there is no such device, the run emulates 0, counted from 0\n"
    );
    let long = said(&"x".repeat(100), &["--gdb", "0"]);
    assert!(
        long.contains("the system allows 107: name a folder with a shorter path"),
        "{long}"
    );
}
