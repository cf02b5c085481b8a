//! What can be typed.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use zfl_lab::capture::{CaptureDevices, CaptureRequest};
use zfl_proto::Token;

/// Federated learning on fleets of emulated microcontrollers.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  zfl doctor\n  zfl run examples/digits.toml\n  zfl list\n\n\
        `zfl help COMMAND` has examples of each."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Boots a fleet, plays the rounds of an experiment, writes the records.
    #[command(after_help = "Examples:\n  zfl run examples/digits.toml\n  \
        zfl run examples/digits.toml --set rounds=5 --set training.epochs=1\n  \
        zfl run examples/mnist.toml --data-dir data --out runs/first\n  \
        zfl run examples/mnist.toml --data-dir data --fidelity native\n  \
        zfl run examples/digits.toml --capture 0\n  \
        zfl run examples/mnist.toml --dashboard\n  \
        zfl run examples/digits.toml --json | tail -n 1\n  \
        zfl run --resume runs/digits-001")]
    Run(RunArguments),
    /// Finds the best parameters: many trials of an experiment, in parallel.
    ///
    /// Plays trials natively, stops early those that are not worth more, and says which
    /// is best, what accuracy costs and which key mattered most (docs/sweeps.md).
    #[command(after_help = "Examples:\n  zfl sweep examples/sweep-digits.toml\n  \
        zfl sweep examples/sweep-digits.toml --no-early-stopping --workers 4\n  \
        zfl sweep --resume runs/sweep-digits-001\n  \
        zfl run runs/sweep-digits-001/best.toml")]
    Sweep(SweepArguments),
    /// The coordinator alone: others bring the devices.
    #[command(
        after_help = "Example:\n  zfl serve examples/digits.toml --listen 127.0.0.1:8080 \
        --clients 10\nThe run's folder holds tokens.csv, with the fleet key and a token per client."
    )]
    Serve(ServeArguments),
    /// The devices alone, for a coordinator that `zfl serve` started.
    #[command(
        after_help = "Example:\n  zfl fleet --coordinator http://127.0.0.1:8080 \
        --key KEY --count 10"
    )]
    Fleet(FleetArguments),
    /// Says how much memory an experiment takes on each board, before it is run.
    ///
    /// The arena is what a client will report as its high-water mark, to the
    /// byte; the firmware's part is that of its image. Exit code: 0 it fits all
    /// boards of the fleet, 1 it does not, 2 it cannot be said.
    #[command(after_help = "Examples:\n  zfl size examples/digits.toml\n  \
        zfl size examples/digits.toml --set model.mlp.hidden=[200] --json")]
    Size(SizeArguments),
    /// Compares boards and microcontrollers: what an experiment takes on each.
    ///
    /// Boots one device of each, lets it do one round as the experiment's first
    /// client, and prints memory, instructions, device time, energy and the hash of
    /// the model. A ? marks what rests on a figure that nobody has looked up in its
    /// source, or on an estimate (docs/device-time.md).
    #[command(after_help = "Examples:\n  zfl platforms examples/digits.toml\n  \
        zfl platforms examples/digits.toml --only nrf52840 --only stm32h743 --csv")]
    Platforms(PlatformsArguments),
    /// Scales a part's profile to a measurement; counts for native clients.
    ///
    /// With --measured: counts the instructions of a round on an emulated device of
    /// the part's board and writes a profile by which they take as long as was
    /// measured. With --emulate: counts for each board of the experiment's parts, so
    /// that native clients have device time (docs/device-time.md).
    #[command(
        after_help = "Examples:\n  zfl calibrate examples/digits.toml --mcu nrf52840 \
        --measured seconds=0.41\n  zfl calibrate examples/digits.toml --emulate \
        --set fleet.0.mcu=nrf52840"
    )]
    Calibrate(CalibrateArguments),
    /// Attaches to the console of a running device.
    ///
    /// Shows what it prints, and types the lines of standard input there; their end,
    /// or Ctrl-C, detaches. The device goes on.
    #[command(after_help = "Examples:\n  zfl console 3\n  \
        echo stats | zfl console 3 --run runs/digits-001")]
    Console(ConsoleArguments),
    /// Shows runs in a browser: follows those that go on, compares those that are over.
    #[command(after_help = "Examples:\n  zfl dashboard\n  \
        zfl dashboard runs/mnist-sweep --listen 127.0.0.1:9000\nWith `zfl run … --dashboard` a run \
        shows itself (docs/dashboard.md).")]
    Dashboard(DashboardArguments),
    /// Lists boards that can be emulated, and microcontrollers that they stand for.
    #[command(after_help = "Example:\n  zfl boards")]
    Boards,
    /// Lists links that devices can have, or all figures of one and their sources.
    #[command(after_help = "Examples:\n  zfl links\n  zfl links lte-m\n  zfl links --json")]
    Links(LinksArguments),
    /// Lists runs and sweeps: how they stand and what they came to.
    ///
    /// A sweep is one line; its trials are listed where it is named itself, or with
    /// --trials.
    #[command(
        after_help = "Examples:\n  zfl list\n  zfl list runs/sweep-digits-001\n  \
        zfl list runs --trials --json"
    )]
    List(ListArguments),
    /// Compares runs: what differs in their experiments, and what came of it.
    ///
    /// Device time is the sum over the rounds of the longest part in each.
    #[command(
        after_help = "Examples:\n  zfl compare runs/digits-001 runs/digits-002\n  \
        zfl compare runs/digits-001 runs/digits-002 --json"
    )]
    Compare(CompareArguments),
    /// Writes the report of a run, of several or of a sweep as one HTML file.
    ///
    /// A run writes its own when it ends; this makes it anew, also of a run that goes
    /// on or was cut off. The file needs no network and no scripts, and prints.
    #[command(after_help = "Examples:\n  zfl report runs/digits-001\n  \
        zfl report runs/digits-001 runs/digits-002 --out comparison.html")]
    Report(ReportArguments),
    /// Writes the records of runs as Parquet, and for TensorBoard.
    ///
    /// `zfl run` does so at its end; this is for runs that were cut off, or came
    /// before. The files go into the runs' own folders (docs/notebooks.md).
    #[command(
        after_help = "Examples:\n  zfl export runs/digits-001\n  zfl export runs --tensorboard"
    )]
    Export(ExportArguments),
    /// Writes a script for a shell, which then completes commands and options.
    #[command(after_help = "Examples:\n  \
        zfl completions bash > ~/.local/share/bash-completion/completions/zfl\n  \
        zfl completions zsh > ~/.zfunc/_zfl\n  \
        zfl completions fish > ~/.config/fish/completions/zfl.fish")]
    Completions(CompletionsArguments),
    /// Says what is installed, what is missing, and the command that mends it.
    #[command(after_help = "Examples:\n  zfl doctor\n  zfl doctor --devices 500")]
    Doctor(DoctorArguments),
    /// Data sets: show, fetch.
    #[command(
        subcommand,
        after_help = "Examples:\n  zfl data show digits\n  zfl data fetch mnist"
    )]
    Data(DataCommand),
    /// Starts an emulator that ends with zfl (internal).
    #[command(hide = true, name = "exec-machine")]
    ExecMachine {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Where data sets are.
#[derive(Args)]
pub(crate) struct DataDir {
    /// Folder of data sets; else ZFL_DATA_DIR, else the cache folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ExperimentArguments {
    /// The experiment file (docs/experiment-file.md).
    pub(crate) file: PathBuf,
    /// Changes a key of the experiment, e.g. `training.epochs=1`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// The run's folder; else the next free runs/NAME-NNN.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

/// What is played: an experiment, or the rest of a run.
#[derive(Args)]
pub(crate) struct PlayArguments {
    /// The experiment file (docs/experiment-file.md).
    #[arg(required_unless_present = "resume")]
    pub(crate) file: Option<PathBuf>,
    /// Changes a key of the experiment, e.g. `training.epochs=1`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// The run's folder; else the next free runs/NAME-NNN.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Goes on with the run in this folder, which was cut off.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "sets", "out"])]
    pub(crate) resume: Option<PathBuf>,
    /// Shows the run in a browser, at 127.0.0.1:8090 unless told otherwise.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, value_parser = dashboard_address)]
    pub(crate) dashboard: Option<Option<SocketAddr>>,
    #[command(flatten)]
    pub(crate) data: DataDir,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// How a run is shown, and what is made of it.
#[derive(Args)]
pub(crate) struct OutputArguments {
    /// Prints warnings alone and, at the end, the run's folder.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Prints progress and result as JSON, an object a line (docs/terminal.md).
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Lets an event file for TensorBoard grow in the run's folder.
    #[arg(long)]
    pub(crate) tensorboard: bool,
}

#[derive(Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) play: PlayArguments,
    /// Folder of firmware images BOARD.elf that replace those zfl carries.
    #[arg(long, value_name = "DIR")]
    pub(crate) firmware_dir: Option<PathBuf>,
    /// Plays all clients on emulated machines, or natively: inside zfl.
    #[arg(long, value_enum, conflicts_with = "resume")]
    pub(crate) fidelity: Option<Fidelity>,
    /// Holds this device (from 0) for a debugger, and says how to connect it.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) gdb: Option<u32>,
    #[command(flatten)]
    pub(crate) capture: CaptureArguments,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

#[derive(Args)]
pub(crate) struct SweepArguments {
    /// The sweep file (docs/sweeps.md).
    #[arg(required_unless_present = "resume")]
    pub(crate) file: Option<PathBuf>,
    /// The sweep's folder; else the next free runs/NAME-NNN.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Goes on with the sweep in this folder, which was cut off.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "out", "no_early_stopping"])]
    pub(crate) resume: Option<PathBuf>,
    /// Plays every trial to its end, whatever the file says.
    #[arg(long)]
    pub(crate) no_early_stopping: bool,
    /// Runs so many of the best again, emulated, whatever the file says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) confirm: Option<u32>,
    /// Trials at a time, each on a thread; else one per processor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) workers: Option<u32>,
    /// Folder of firmware images BOARD.elf that replace those zfl carries.
    #[arg(long, value_name = "DIR")]
    pub(crate) firmware_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Args)]
pub(crate) struct CaptureArguments {
    /// Keeps the frames of devices for Wireshark: `all`, or numbers as 0,3.
    #[arg(long, value_name = "DEVICES")]
    capture: Option<CaptureDevices>,
    /// Megabytes that the capture may have.
    #[arg(long, value_name = "MB", default_value_t = 1024, requires = "capture")]
    capture_max_mb: u32,
}

impl CaptureArguments {
    /// What is to be captured, if anything is.
    pub(crate) fn request(&self) -> Option<CaptureRequest> {
        Some(CaptureRequest {
            devices: self.capture.clone()?,
            bytes_max: u64::from(self.capture_max_mb) * 1_000_000,
        })
    }
}

#[derive(Args)]
pub(crate) struct ConsoleArguments {
    /// The device, counted from 0 as in console/device-NNN.log.
    pub(crate) device: u32,
    /// The folder of its run, or fleet; else the newest in runs/.
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Shows so many of its last lines first, 40 at most; else 20 on a terminal.
    #[arg(long, value_name = "N")]
    pub(crate) lines: Option<usize>,
}

#[derive(Args)]
pub(crate) struct ReportArguments {
    /// The folder of a run or a sweep; or those of several runs, which are compared.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    /// Where the report goes; else report.html in the folder, or here for several.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SizeArguments {
    /// The experiment file (docs/experiment-file.md).
    pub(crate) file: PathBuf,
    /// Changes a key of the experiment, e.g. `model.mlp.hidden=[200]`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Folder of firmware images BOARD.elf that replace those zfl carries.
    #[arg(long, value_name = "DIR")]
    pub(crate) firmware_dir: Option<PathBuf>,
    /// Prints JSON, for scripts.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ProbeArguments {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArguments,
    /// Folder of firmware images BOARD.elf that replace those zfl carries.
    #[arg(long, value_name = "DIR")]
    pub(crate) firmware_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct PlatformsArguments {
    #[command(flatten)]
    pub(crate) probe: ProbeArguments,
    /// Only this board or microcontroller, by name or path; may be given again.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Prints CSV.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct CalibrateArguments {
    #[command(flatten)]
    pub(crate) probe: ProbeArguments,
    /// The microcontroller whose profile is scaled, by name or path.
    #[arg(long, value_name = "NAME", requires = "measured")]
    pub(crate) mcu: Option<String>,
    /// How long training took on the part, for client 0's share and one round.
    #[arg(long, value_name = "seconds=S", requires = "mcu", value_parser = measured_seconds)]
    pub(crate) measured: Option<f64>,
    /// Where the scaled profile goes; else NAME-measured.toml.
    #[arg(long, value_name = "FILE", requires = "mcu")]
    pub(crate) profile: Option<PathBuf>,
    /// Counts on one emulated device of each board, for native clients.
    #[arg(long, conflicts_with = "mcu", required_unless_present = "mcu")]
    pub(crate) emulate: bool,
}

/// Reads the address of a dashboard.
fn dashboard_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an address such as 127.0.0.1:8090; an experiment file goes before --dashboard"
            .to_owned()
    })
}

#[derive(Args)]
pub(crate) struct DashboardArguments {
    /// The folder of the runs, or of one of them.
    #[arg(default_value = "runs", value_name = "RUNS_DIR")]
    pub(crate) folder: PathBuf,
    /// Where to listen. Whoever reaches it sees the runs.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
}

/// Reads `seconds=S`.
fn measured_seconds(text: &str) -> Result<f64, String> {
    text.strip_prefix("seconds=")
        .and_then(|seconds| seconds.parse().ok())
        .filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0)
        .ok_or_else(|| format!("`{text}`: expected seconds=S with S above 0"))
}

/// How clients are played.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Fidelity {
    // No text of their own, which would make the help of all options long.
    Emulated,
    Native,
}

#[derive(Args)]
pub(crate) struct Threads {
    /// Threads for native clients and evaluation; else one per processor.
    #[arg(long = "threads", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    count: Option<u32>,
}

impl Threads {
    /// How many threads to start.
    pub(crate) fn count(&self) -> usize {
        match self.count {
            Some(count) => usize::try_from(count).unwrap_or(1),
            None => std::thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

#[derive(Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) play: PlayArguments,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Number of clients, in place of the experiment's fleet.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub(crate) clients: Option<u32>,
    /// Number of rounds.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub(crate) rounds: Option<u32>,
    /// Clients that are selected in each round.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub(crate) clients_per_round: Option<u32>,
    /// Passes of a client over its share.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub(crate) epochs: Option<u32>,
    /// Samples of a client between two steps.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub(crate) batch_size: Option<u32>,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

#[derive(Args)]
pub(crate) struct FleetArguments {
    /// The coordinator, e.g. `http://127.0.0.1:8080`.
    #[arg(long, value_name = "URL")]
    pub(crate) coordinator: String,
    /// The fleet key that the coordinator has written to tokens.csv.
    #[arg(long)]
    pub(crate) key: Token,
    /// The board of the devices; else mps2-an386.
    #[arg(long, conflicts_with = "mcu")]
    pub(crate) board: Option<String>,
    /// The microcontroller that they stand for.
    #[arg(long)]
    pub(crate) mcu: Option<String>,
    /// Number of devices.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
    /// The link of each device: one that `zfl links` lists.
    #[arg(long, value_name = "NAME", default_value = zfl_machine::link::DEFAULT_NAME)]
    pub(crate) link: String,
    /// Seed of the MAC addresses, and of what links leave to chance.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder of console logs; else the next free runs/fleet-NNN.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Folder of firmware images BOARD.elf that replace those zfl carries.
    #[arg(long, value_name = "DIR")]
    pub(crate) firmware_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct LinksArguments {
    /// One link, with the sources of its figures.
    pub(crate) name: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ListArguments {
    /// The folder that holds runs, itself or in folders below; else runs.
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Lists the trials of sweeps, too, each as the run that it is.
    #[arg(long)]
    pub(crate) trials: bool,
    /// Prints JSON, a line a sweep and a line a run.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct CompareArguments {
    /// Folders of runs, or folders that hold some.
    #[arg(value_name = "DIR", required = true)]
    pub(crate) folders: Vec<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ExportArguments {
    /// Folders of runs, or folders that hold some.
    #[arg(value_name = "DIR", required = true)]
    pub(crate) folders: Vec<PathBuf>,
    /// Writes an event file for TensorBoard, too.
    #[arg(long)]
    pub(crate) tensorboard: bool,
}

#[derive(Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct DoctorArguments {
    /// A fleet of how many devices to check for.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) devices: usize,
}

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Shows a data set: shapes, classes, a few samples, its partition.
    #[command(after_help = "Examples:\n  zfl data show digits --clients 10\n  \
        zfl data show digits --clients 20 --partition dirichlet,alpha=0.3 --svg dealt.svg\n  \
        zfl data show examples/digits.toml")]
    Show(ShowArguments),
    /// Downloads a data set to the cache folder and checks it.
    #[command(after_help = "Examples:\n  zfl data fetch mnist\n  \
        zfl data fetch mnist --data-dir data")]
    Fetch(FetchArguments),
}

#[derive(Args)]
pub(crate) struct ShowArguments {
    /// `digits`, `mnist`, a folder of IDX files below the data folder; a table
    /// (.csv, .csv.gz, .parquet), arrays (.npz), or an experiment file (.toml).
    pub(crate) name: String,
    /// Of a table or arrays: the column or the array that says the class.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// In place of --label: the column or the array of the number to learn.
    #[arg(long, value_name = "COLUMN", conflicts_with = "label")]
    pub(crate) target: Option<String>,
    /// The column that says to which machine, person or place a row belongs.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) group: Option<String>,
    /// A column that is no input; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) ignore: Vec<String>,
    /// Of arrays: the array of samples.
    #[arg(long, value_name = "ARRAY")]
    pub(crate) samples: Option<String>,
    /// Shows how it is shared out among so many clients; else those of the
    /// experiment file.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: Option<u32>,
    /// How it is shared out: the name of a table `partition.NAME` of an experiment
    /// file, and its keys, e.g. `dirichlet,alpha=0.3`; else that of the experiment
    /// file, or `iid`.
    #[arg(long, value_name = "NAME[,KEY=VALUE…]")]
    pub(crate) partition: Option<String>,
    /// Writes a picture of the partition, clients × classes, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Seed of the split and the partition; else that of the experiment file, or 1.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Args)]
pub(crate) struct FetchArguments {
    /// The data set: `mnist`.
    pub(crate) name: String,
    /// A mirror to use in place of the known ones.
    #[arg(long, value_name = "URL")]
    pub(crate) from: Vec<String>,
    /// Where to put it; else the cache folder.
    #[command(flatten)]
    pub(crate) data: DataDir,
}
