//! Starts `zfl`, and never waits without a deadline.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Four clients, three short rounds.
pub(crate) const SMALL: &str = r#"
name = "small"
seed = 1
rounds = 3

[data.digits]
[partition.iid]

[model.mlp]
hidden = [16]

[training]
epochs = 1
batch-size = 10
learning-rate = 0.2

[strategy.fed-avg]

[[fleet]]
board = "mps2-an386"
count = 4
"#;

/// An IDX file of bytes: its magic, its shape, its values.
pub(crate) fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|length| length.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// A folder with an experiment file, for one test.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// With [`SMALL`] as `experiment.toml`.
    pub(crate) fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        place.write("experiment.toml", SMALL);
        place
    }

    /// The path of something in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `zfl` with these arguments, in this folder.
    pub(crate) fn zfl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zfl"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("ZFL_DATA_DIR")
            .env_remove("COLUMNS")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("NO_COLOR", "1");
        command
    }

    /// `zfl run` of the experiment into the folder `out`, with changes.
    pub(crate) fn run(&self, out: &str, sets: &[&str]) -> Command {
        let mut command = self.zfl(["run", "experiment.toml"]);
        // Absolute, so that the command lines of its emulators tell them from
        // those of other runs.
        command.arg("--out").arg(self.path(out));
        for set in sets {
            command.args(["--set", set]);
        }
        command
    }

    /// `zfl size` of the experiment, with more arguments.
    pub(crate) fn size(&self, arguments: &[&str]) -> Command {
        let mut command = self.zfl(["size", "experiment.toml"]);
        command.args(arguments);
        command
    }

    /// `zfl serve` into `server`, with more arguments, and `zfl fleet` with four
    /// devices into `fleet`.
    pub(crate) fn halves(&self, arguments: &[&str]) -> [Running; 2] {
        let mut command = self.zfl(["serve", "experiment.toml", "--listen", "127.0.0.1:0"]);
        command
            .args(arguments)
            .arg("--out")
            .arg(self.path("server"));
        let mut server = Running::start(command);
        let join = server.wait_for_line("join with: zfl fleet");
        let (_, arguments) = join.split_once("zfl ").unwrap();
        let mut command = self.zfl(arguments.split(' '));
        command
            .args(["--count", "4", "--out"])
            .arg(self.path("fleet"));
        let mut fleet = Running::start(command);
        // Without a fleet the server would wait in vain.
        fleet.wait_for_line("4 devices take part at ");
        [server, fleet]
    }

    /// A whole run, which must succeed; its records.
    pub(crate) fn completed_run(&self, out: &str, sets: &[&str]) -> Records {
        finish(self.run(out, sets)).succeeded();
        Records::new(&self.path(out))
    }
}

/// The blocks of code in a document: the text before each, its language, and what is in it.
pub(crate) fn blocks(document: &str) -> Vec<(&str, &str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = document;
    while let Some((before, block)) = rest.split_once("\n```") {
        let (language, block) = block.split_once('\n').unwrap();
        let (block, after) = block.split_once("```\n").unwrap();
        blocks.push((before, language, block));
        rest = after;
    }
    blocks
}

/// The commands of a document, as a shell in this folder reads them.
pub(crate) fn shell(commands: &str, folder: &Path) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_zfl")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-e", "-c", commands])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env_remove("COLUMNS")
        .env("NO_COLOR", "1");
    command
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Its standard output, if it has succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert!(
            self.status.success(),
            "zfl failed ({}):\n{}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// Its standard error, if it has failed with this exit code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(
            self.status.code(),
            Some(code),
            "signal {:?}:\n{}\n{}",
            self.status.signal(),
            self.stdout,
            self.stderr
        );
        self.stderr
    }
}

/// Runs a program to its end.
pub(crate) fn finish(command: Command) -> Finished {
    Running::start(command).finish()
}

/// A program that runs. Killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<Line>,
    stdout: String,
    stderr: String,
}

enum Line {
    Output(String),
    Error(String),
}

impl Running {
    /// Starts it, and reads what it prints.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_mute(command)
    }

    /// Starts it; what it prints goes where `command` says.
    pub(crate) fn start_mute(command: Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts it with this standard input, and reads what it prints.
    pub(crate) fn start_reading(mut command: Command, stdin: impl Into<Stdio>) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_with(command, stdin.into())
    }

    /// Starts it, and types a text that then ends.
    pub(crate) fn start_typed(command: Command, text: &str) -> Self {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let running = Self::start_reading(command, reader);
        // Short enough for the pipe to take it whole; who has ended needs none.
        let _ = writer.write_all(text.as_bytes());
        running
    }

    fn start_with(mut command: Command, stdin: Stdio) -> Self {
        let mut child = command.stdin(stdin).spawn().unwrap();
        let (sender, lines) = channel();
        fn pass(
            stream: impl Read + Send + 'static,
            line: fn(String) -> Line,
            sender: std::sync::mpsc::Sender<Line>,
        ) {
            std::thread::spawn(move || {
                for text in BufReader::new(stream).lines().map_while(Result::ok) {
                    // The test may have seen enough.
                    let _ = sender.send(line(text));
                }
            });
        }
        if let Some(stdout) = child.stdout.take() {
            pass(stdout, Line::Output, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            pass(stderr, Line::Error, sender);
        }
        Self {
            child,
            lines,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    fn take(&mut self, line: Line) {
        let (all, line) = match line {
            Line::Output(line) => (&mut self.stdout, line),
            Line::Error(line) => (&mut self.stderr, line),
        };
        all.push_str(&line);
        all.push('\n');
    }

    /// Waits for a line that holds `text`, on either stream; gives it.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(end - Instant::now()) {
                Ok(line) => {
                    let (Line::Output(found) | Line::Error(found)) = &line;
                    let found = found.contains(text).then(|| found.clone());
                    self.take(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                    panic!("no line with `{text}`:\n{}\n{}", self.stdout, self.stderr)
                }
            }
        }
    }

    /// Whether it ends within this time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let descriptor = pidfd_open(pid(&self.child), PidfdFlags::empty()).unwrap();
        let timeout = Timespec::try_from(time).unwrap();
        let ended = poll(
            &mut [PollFd::new(&descriptor, PollFlags::IN)],
            Some(&timeout),
        );
        ended.unwrap() == 1
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let has_ended = self.ends_within(DEADLINE);
        assert!(has_ended, "zfl has not ended: {}", self.stdout);
        let status = self.child.wait().unwrap();
        // Until both streams are closed; what zfl has left running would keep
        // them open.
        loop {
            match self.lines.recv_timeout(Duration::from_secs(10)) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("somebody keeps zfl's output open"),
            }
        }
        Finished {
            status,
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The processes whose command line names something in `folder`, `zfl` itself
/// left out: the emulators of the run that writes there.
pub(crate) fn emulators(folder: &Path) -> BTreeMap<i32, String> {
    let folder = folder.display().to_string();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Those that end meanwhile have none.
        let command_line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
        let is_emulator = command_line.contains("-kernel") && command_line.contains(&folder);
        if is_emulator {
            found.insert(process, command_line);
        }
    }
    found
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "not within {} s: {what}",
            deadline.as_secs_f64()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Checks that no emulator of a run is left 2 s from now at the latest.
#[track_caller]
pub(crate) fn check_none_left(folder: &Path) {
    wait_until("the end of all emulators", Duration::from_secs(2), || {
        emulators(folder).is_empty().then_some(())
    });
}

/// What a run has written.
pub(crate) struct Records {
    pub(crate) folder: PathBuf,
}

pub(crate) type Row = BTreeMap<String, String>;

impl Records {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn table(&self, name: &str) -> Vec<Row> {
        csv::Reader::from_path(self.folder.join(name))
            .unwrap()
            .deserialize()
            .map(Result::unwrap)
            .collect()
    }

    pub(crate) fn rounds(&self) -> Vec<Row> {
        self.table("rounds.csv")
    }

    pub(crate) fn clients(&self) -> Vec<Row> {
        self.table("clients.csv")
    }

    /// A column of `rounds.csv`.
    pub(crate) fn round_column(&self, name: &str) -> Vec<String> {
        self.rounds().iter().map(|row| row[name].clone()).collect()
    }

    pub(crate) fn summary(&self) -> serde_json::Value {
        serde_json::from_str(&self.text("summary.json")).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.text("events.jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The events of this name.
    pub(crate) fn events_named(&self, name: &str) -> Vec<serde_json::Value> {
        let mut events = self.events();
        events.retain(|event| event["event"] == name);
        events
    }

    /// The hash of the final model.
    pub(crate) fn final_hash(&self) -> String {
        self.round_column("model_sha256").pop().unwrap()
    }

    /// The bytes of each checkpoint, by name.
    pub(crate) fn checkpoints(&self) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(self.folder.join("checkpoints"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}
