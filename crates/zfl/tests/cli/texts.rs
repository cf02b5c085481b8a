//! What `zfl` prints, as snapshots.

use insta::assert_snapshot;

use crate::support::{Place, SMALL, finish};

/// Standard error of `zfl run` with an experiment in which `from` is `to`.
#[track_caller]
fn said_of(from: &str, to: &str) -> String {
    let place = Place::new();
    assert!(SMALL.contains(from));
    place.write("experiment.toml", SMALL.replacen(from, to, 1));
    let said = finish(place.run("out", &[])).failed(2);
    assert!(!place.path("out").exists());
    without_trailing_blanks(&said)
}

/// Sources do not hold them.
pub(crate) fn without_trailing_blanks(text: &str) -> String {
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn mistakes_in_an_experiment() {
    assert_snapshot!(said_of("epochs = 1", "epoch = 1"), @r#"
     x experiment.toml:13:1: unknown key `epoch` in `training`
       ,-[experiment.toml:13:1]
    12 | [training]
    13 | epoch = 1
       : ^^^^^
    14 | batch-size = 10
       `----
     help: did you mean `epochs`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    "#);
    assert_snapshot!(said_of("rounds = 3", "rounds = \"3\""), @r#"
     x experiment.toml:4:10: `rounds`: invalid type: string "3", expected a whole number
      ,-[experiment.toml:4:10]
    3 | seed = 1
    4 | rounds = "3"
      :          ^^^
    5 |
      `----
     help: `rounds`: a whole number from 1 to 1000000
    "#);
    assert_snapshot!(said_of("learning-rate = 0.2", "learning-rate = -0.2"), @r#"
     x experiment.toml:15:17: `training.learning-rate` is -0.2
       ,-[experiment.toml:15:17]
    14 | batch-size = 10
    15 | learning-rate = -0.2
       :                 ^^^^
    16 |
       `----
     help: `training.learning-rate`: a number above 0 that single precision can hold
    "#);
    assert_snapshot!(said_of("mps2-an386", "mps2-an368"), @r#"
     x experiment.toml:20:9: no board "mps2-an368"
       ,-[experiment.toml:20:9]
    19 | [[fleet]]
    20 | board = "mps2-an368"
       :         ^^^^^^^^^^^^
    21 | count = 4
       `----
     help: did you mean `mps2-an386`? known boards: lm3s6965evb, mps2-an385, mps2-an386, mps2-an500, mps2-an505, mps3-an547, riscv-virt-rv32imac, riscv-virt-rv32imafc; or the path of a board file
    "#);
    assert_snapshot!(said_of("count = 4", "count = 4\n[coordinator]\nquorum = 5"), @r#"
     x experiment.toml:23:10: `coordinator.quorum` is 5
       ,-[experiment.toml:23:10]
    22 | [coordinator]
    23 | quorum = 5
       :          ^
       `----
     help: `coordinator.quorum`: a whole number from 1 to 4, the size of the fleet
    "#);
    assert_snapshot!(said_of("hidden = [16]", "hidden = [16"), @r#"
     x experiment.toml:12:1: missing comma between array elements, expected `,`
       ,-[experiment.toml:12:1]
    11 |
    12 | [training]
       : ^
    13 | epochs = 1
       `----
     help: TOML: `key = value` lines under `[table]` headers, text in quotes
    "#);
}

#[test]
fn mistakes_on_the_command_line() {
    let place = Place::new();
    let said = |sets: &[&str]| finish(place.run("out", sets)).failed(2);
    assert_snapshot!(said(&["rounds=0"]), @r#"
     x --set rounds=0: `rounds` is 0
      ,-[--set:1:8]
    1 | rounds=0
      :        ^
      `----
     help: `rounds`: a whole number from 1 to 1000000
    "#);
    assert_snapshot!(said(&["training.epoch=1"]), @r#"
     x --set training.epoch=1: unknown key `epoch` in `training`
      ,-[--set:1:10]
    1 | training.epoch=1
      :          ^^^^^
      `----
     help: did you mean `epochs`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    "#);
    let said = |arguments: &[&str]| finish(place.zfl(arguments.iter().copied())).failed(2);
    assert_snapshot!(said(&["run", "nowhere.toml"]), @r#"
    x nowhere.toml: failed to read it: No such file or directory (os error 2)
    help: give the path of an experiment file, such as examples/digits.toml
    "#);
    assert_snapshot!(said(&["fleet", "--coordinator", "10.0.0.1:80", "--key", "00"]), @r#"
    error: invalid value '00' for '--key <KEY>': a token has 32 hexadecimal digits, this has 2

    For more information, try '--help'.
    "#);
}

#[test]
fn help() {
    let place = Place::new();
    let shown = |arguments: &[&str]| finish(place.zfl(arguments.iter().copied())).succeeded();
    assert_snapshot!(shown(&["--help"]), @r#"
    Federated learning on fleets of emulated microcontrollers

    Usage: zfl <COMMAND>

    Commands:
      run          Boots a fleet, plays the rounds of an experiment, writes the records
      sweep        Finds the best parameters: many trials of an experiment, in parallel
      serve        The coordinator alone: others bring the devices
      fleet        The devices alone, for a coordinator that `zfl serve` started
      size         Says how much memory an experiment takes on each board, before it is run
      platforms    Compares boards and microcontrollers: what an experiment takes on each
      calibrate    Scales a part's profile to a measurement; counts for native clients
      console      Attaches to the console of a running device
      dashboard    Shows runs in a browser: follows those that go on, compares those that are over
      boards       Lists boards that can be emulated, and microcontrollers that they stand for
      links        Lists links that devices can have, or all figures of one and their sources
      list         Lists runs and sweeps: how they stand and what they came to
      compare      Compares runs: what differs in their experiments, and what came of it
      report       Writes the report of a run, of several or of a sweep as one HTML file
      export       Writes the records of runs as Parquet, and for TensorBoard
      completions  Writes a script for a shell, which then completes commands and options
      doctor       Says what is installed, what is missing, and the command that mends it
      data         Data sets: show, fetch
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      zfl doctor
      zfl run examples/digits.toml
      zfl list

    `zfl help COMMAND` has examples of each.
    "#);
    assert_snapshot!(shown(&["run", "--help"]), @r#"
    Boots a fleet, plays the rounds of an experiment, writes the records

    Usage: zfl run [OPTIONS] [FILE]

    Arguments:
      [FILE]  The experiment file (docs/experiment-file.md)

    Options:
          --set <KEY=VALUE>      Changes a key of the experiment, e.g. `training.epochs=1`
          --out <DIR>            The run's folder; else the next free runs/NAME-NNN
          --resume <DIR>         Goes on with the run in this folder, which was cut off
          --dashboard [<ADDR>]   Shows the run in a browser, at 127.0.0.1:8090 unless told otherwise
          --data-dir <DIR>       Folder of data sets; else ZFL_DATA_DIR, else the cache folder
      -q, --quiet                Prints warnings alone and, at the end, the run's folder
          --json                 Prints progress and result as JSON, an object a line (docs/terminal.md)
          --tensorboard          Lets an event file for TensorBoard grow in the run's folder
          --firmware-dir <DIR>   Folder of firmware images BOARD.elf that replace those zfl carries
          --fidelity <FIDELITY>  Plays all clients on emulated machines, or natively: inside zfl
                                 [possible values: emulated, native]
          --gdb <DEVICE>         Holds this device (from 0) for a debugger, and says how to connect it
          --capture <DEVICES>    Keeps the frames of devices for Wireshark: `all`, or numbers as 0,3
          --capture-max-mb <MB>  Megabytes that the capture may have [default: 1024]
          --threads <N>          Threads for native clients and evaluation; else one per processor
      -h, --help                 Print help

    Examples:
      zfl run examples/digits.toml
      zfl run examples/digits.toml --set rounds=5 --set training.epochs=1
      zfl run examples/mnist.toml --data-dir data --out runs/first
      zfl run examples/mnist.toml --data-dir data --fidelity native
      zfl run examples/digits.toml --capture 0
      zfl run examples/mnist.toml --dashboard
      zfl run examples/digits.toml --json | tail -n 1
      zfl run --resume runs/digits-001
    "#);
    let boards = shown(&["boards"]);
    let lines = |from: &str| {
        let lines = boards.lines().skip_while(|line| !line.starts_with(from));
        lines.take(2).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(lines("board "), @r"
    board                core        MHz  RAM KiB flash KiB  description
    lm3s6965evb          cortex-m3    50       64       256  Stellaris LM3S6965 evaluation board, Cortex-M3 at 50 MHz, software floating point, 64 KiB RAM
    ");
    assert_snapshot!(lines("mcu "), @r"
    mcu            board                MHz  RAM KiB flash KiB  description (docs/device-time.md: figures and sources)
    apollo3        mps2-an386           48?      384      1024  Ambiq Apollo3 Blue: Cortex-M4F, 48 MHz, 384 KiB RAM, 1 MiB flash, Bluetooth LE
    ");
    let names = zfl_machine::Board::all()
        .unwrap()
        .into_iter()
        .map(|board| board.name);
    for name in names.chain(zfl_machine::Mcu::names().map(str::to_owned)) {
        let begin = format!("{name} ");
        assert!(
            boards.lines().any(|line| line.starts_with(&begin)),
            "{name}"
        );
    }
    assert_snapshot!(shown(&["data", "show", "digits"]), @r#"
    data set  digits
    origin    embedded
    samples   1438 training, 359 test
    shape     8×8 = 64 inputs
    values    0 to 16, times 1/16
    classes   10

    samples by class
    part        0    1    2    3    4    5    6    7    8    9   sum
    training  144  147  139  147  145  152  148  141  135  140  1438
    test       34   35   38   36   36   30   33   38   39   40   359

    first training samples
        ▒▒▓▓▓▓          ░░████▒▒            ░░▒▒▒▒▒▒          ▒▒▓▓▓▓░░
      ░░██████▒▒        ▓▓████▓▓          ▒▒██▓▓▒▒░░        ░░▓▓░░▒▒▓▓
      ▒▒██▒▒░░▓▓░░      ▒▒▓▓▓▓██          ▓▓▓▓                  ▒▒▓▓░░
      ▒▒▒▒    ▒▒▒▒          ▒▒██          ▒▒██▓▓░░              ▓▓██░░
      ▒▒▒▒    ▒▒▒▒          ▓▓▓▓            ░░▒▒▓▓▓▓              ░░██░░
      ░░▓▓    ▒▒▒▒        ░░██▒▒                  ▓▓▒▒      ▒▒▒▒    ▓▓▒▒
        ██▓▓▓▓██▒▒        ▓▓████▓▓▓▓        ░░░░░░▓▓▒▒      ▒▒▒▒  ░░██░░
        ░░▓▓▓▓░░        ▒▒██████▓▓░░        ▒▒████▒▒          ▓▓████▒▒
    label 0           label 2           label 5           label 3

      ░░████
      ▒▒████░░
      ░░▒▒██░░
          ▓▓▒▒
          ██▒▒
        ░░██░░▒▒▒▒
      ░░████▒▒▓▓██
      ░░████████▒▒
    label 2
    "#);
}

#[test]
fn help_of_list() {
    let place = Place::new();
    let shown = finish(place.zfl(["list", "--help"])).succeeded();
    assert_snapshot!(shown, @r#"
    Lists runs and sweeps: how they stand and what they came to.

    A sweep is one line; its trials are listed where it is named itself, or with --trials.

    Usage: zfl list [OPTIONS] [DIR]

    Arguments:
      [DIR]
              The folder that holds runs, itself or in folders below; else runs

    Options:
          --trials
              Lists the trials of sweeps, too, each as the run that it is

          --json
              Prints JSON, a line a sweep and a line a run

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      zfl list
      zfl list runs/sweep-digits-001
      zfl list runs --trials --json
    "#);
}

#[test]
fn every_command_has_examples() {
    let place = Place::new();
    let help = |arguments: &[&str]| {
        let arguments = arguments.iter().copied().chain(["--help"]);
        finish(place.zfl(arguments)).succeeded()
    };
    let commands = |help: &str| -> Vec<String> {
        let (_, list) = help.split_once("Commands:\n").unwrap();
        let (list, _) = list.split_once("\n\n").unwrap();
        let names = list
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        names
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let all = commands(&help(&[]));
    assert!(all.len() > 10, "{all:?}");
    for name in &all {
        let shown = help(&[name]);
        assert!(shown.contains(&format!("\n  zfl {name}")), "{shown}");
    }
    for name in commands(&help(&["data"])) {
        let shown = help(&["data", &name]);
        assert!(shown.contains(&format!("\n  zfl data {name} ")), "{shown}");
    }
}

#[test]
fn shells_complete_commands_and_options() {
    let place = Place::new();
    let script = finish(place.zfl(["completions", "bash"])).succeeded();
    let script = place.write("zfl.bash", script);
    // What bash offers for a line whose last word is not complete.
    let offered = |words: &str| {
        let mut bash = std::process::Command::new("bash");
        bash.arg("-c").arg(format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _zfl zfl \"${{COMP_WORDS[-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        ));
        finish(bash).succeeded()
    };
    assert_eq!(offered("zfl comp"), "compare completions\n");
    assert_eq!(offered("zfl run --fid"), "--fidelity\n");
    assert_eq!(offered("zfl exec"), "\n");
}

#[test]
fn a_table_is_looked_at() {
    let place = Place::new();
    place.write(
        "readings.csv",
        "time,machine,temperature,state\n\
         1,a,20.5,off\n2,a,31,on\n3,b,22,off\n4,b,30,on\n5,b,,off\n",
    );
    let show = |more: &[&str]| {
        let arguments = [&["data", "show", "readings.csv"], more].concat();
        finish(place.zfl(arguments))
    };
    assert_snapshot!(show(&[]).failed(2), @"error: which column of readings.csv says the class? name it with --label (a number to learn: --target); columns: time, machine, temperature, state");
    assert_snapshot!(show(&["--label", "status"]).failed(1), @"error: readings.csv: no column `status`, which `label` asks for; there are: time, machine, temperature, state");
    assert_snapshot!(show(&["--label", "state"]).failed(1), @r#"
    error: readings.csv: line 2, column `machine`: `a` is not a number; an input is a number, and a column of something else is left out with `ignore = ["machine"]`, or is the `group`
    here that is --ignore COLUMN
    "#);
    let label = ["--label", "state", "--group", "machine", "--ignore", "time"];
    assert_snapshot!(show(&label).failed(1), @r"
    error: readings.csv: line 6, column `temperature`: the value is missing; fill it in or delete the row, or leave the column out with `ignore`
    here that is --ignore COLUMN
    ");
    place.write(
        "readings.csv",
        "time,machine,temperature,state\n\
         1,a,20.5,off\n2,a,31,on\n3,b,22,off\n4,b,30,on\n5,b,29,on\n",
    );
    assert_snapshot!(show(&label).succeeded(), @r"
    data set  readings
    origin    readings.csv
    samples   4 training, 1 test
    shape     1 = 1 inputs
    values    0 to 255, times 1/255
    classes   2: 0 off, 1 on

    inputs: byte 0 is the minimum, 255 the maximum
    input        minimum  maximum     step
    temperature       22       31  0.03529

    samples by class
    part      0  1  sum
    training  1  3    4
    test      1  0    1
    ");
    let clients = ["--clients", "2", "--partition", "natural"];
    let shown = show(&[&label[..], &clients[..]].concat()).succeeded();
    assert!(shown.contains("samples by client and class"), "{shown}");
}

#[test]
fn doctor_names_each_board() {
    let shown = finish(Place::new().zfl(["doctor"])).succeeded();
    for board in ["mps2-an385", "mps2-an386", "mps2-an500"] {
        let expected = format!("ok       firmware for {board}: part of zfl");
        assert!(shown.contains(&expected), "{shown}");
    }
    assert!(
        shown.contains("ok       qemu-system-arm: version "),
        "{shown}"
    );
}
