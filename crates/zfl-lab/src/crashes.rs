//! Crash files: what is known of a device that failed, for people.
//!
//! `crashes/device-NNN-K.txt` of the run's folder is the K-th of its device.
//! What the device printed is explained by [`zfl_machine::crash`]; here is
//! added what the run knows: who, when, doing what, with which image, and how
//! to see more.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use zfl_machine::console::ConsoleEvent;
use zfl_machine::crash::explain;
use zfl_machine::machine::{Crash, Hang, Moments};

/// A device has no more crash files.
const FILES_MAX: u32 = 8;

/// How a device failed.
pub(crate) enum Failure<'a> {
    /// It said so, or its emulator did.
    Crash(&'a Crash),
    /// It missed a deadline of its start, and was ended.
    Hang(&'a Hang),
    /// It missed its deadline in a round, and does not answer at its console.
    Silence {
        /// What was waited for.
        reason: &'a str,
        /// What went before.
        moments: &'a Moments,
    },
}

/// What a device is, for its crash files.
pub(crate) struct Device {
    /// Its board, and what it stands for.
    pub(crate) kind: String,
    /// The image that it runs.
    pub(crate) image: PathBuf,
}

/// Writes crash files.
pub(crate) struct CrashFiles {
    /// The run's folder.
    pub(crate) folder: PathBuf,
    /// The run's seed.
    pub(crate) seed: u64,
    /// When the run began.
    pub(crate) began: Instant,
    /// The devices by their numbers.
    pub(crate) devices: Vec<Device>,
}

impl CrashFiles {
    /// Writes the file of a failure; one line that says what happened and names
    /// the file.
    pub(crate) fn write(&self, device: u32, failure: &Failure<'_>) -> String {
        let index = usize::try_from(device).unwrap_or(usize::MAX);
        let known = self.devices.get(index);
        let image = known.map(|known| std::fs::read(&known.image));
        let (headline, moments, explanation) = match failure {
            Failure::Crash(crash) => {
                let image = match &image {
                    Some(Ok(image)) => image.as_slice(),
                    _ => &[],
                };
                let explanation = explain(&crash.cause, &crash.dump, image);
                (explanation.headline, &*crash.moments, explanation.text)
            }
            Failure::Hang(hang) => {
                let headline = format!(
                    "no {} within {} ms of {}",
                    hang.what, hang.deadline_ms, hang.since
                );
                (headline, &*hang.moments, String::new())
            }
            Failure::Silence { reason, moments } => {
                let headline = format!("hangs: {reason}, and no answer at its console");
                (headline, *moments, String::new())
            }
        };
        let mut text = format!("device {device}: {headline}\n\n");
        let mut row = |name: &str, value: String| {
            // To a string, which never fails.
            let _ = writeln!(text, "{name:<9} {value}");
        };
        if let Some(known) = known {
            row("board", known.kind.clone());
            let hash = match &image {
                Some(Ok(image)) => {
                    let digest = Sha256::digest(image);
                    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!(", SHA-256 {digest}")
                }
                _ => String::new(),
            };
            row("image", format!("{}{hash}", known.image.display()));
        }
        if let Some(client) = moments.client {
            row("client", client.to_string());
        }
        row("seed", self.seed.to_string());
        row(
            "host time",
            format!(
                "{} s after the run began, {} s after the device's start",
                seconds(self.began.elapsed()),
                seconds(moments.after)
            ),
        );
        row("it was", doing(moments.last_event.as_ref()));
        if !explanation.is_empty() {
            text.push('\n');
            text.push_str(&explanation);
        }
        text.push_str("\nlast lines of its console:\n");
        for line in &moments.last_lines {
            let _ = writeln!(text, "  {}", without_secret(line));
        }
        if moments.last_lines.is_empty() {
            text.push_str("  (none)\n");
        }
        let _ = write!(text, "\n{}", self.more(device, known));
        match self.create(device, &text) {
            Ok(Some(path)) => {
                format!(
                    "device {device}: {headline} (crash file: {})",
                    path.display()
                )
            }
            Ok(None) => format!(
                "device {device}: {headline} (log: {}; it has {FILES_MAX} crash files already)",
                self.log(device).display()
            ),
            // The run matters more than what is written about its end.
            Err(error) => format!(
                "device {device}: {headline} (log: {}; no crash file: {error})",
                self.log(device).display()
            ),
        }
    }

    fn log(&self, device: u32) -> PathBuf {
        self.folder.join(format!("console/device-{device:03}.log"))
    }

    /// How to see more.
    fn more(&self, device: u32, known: Option<&Device>) -> String {
        let mut text = format!("its whole console: {}\n", self.log(device).display());
        if let Some(known) = known {
            let _ = writeln!(
                text,
                "the source of an address: gdb-multiarch -batch -ex 'info line *ADDRESS' {}",
                known.image.display()
            );
        }
        let experiment = self.folder.join("experiment.toml");
        if experiment.is_file() {
            let _ = writeln!(
                text,
                "the run again, with this device held for a debugger: zfl run {} --gdb {device}",
                experiment.display()
            );
        }
        text
    }

    /// Creates the device's next file; `None` where it has enough.
    fn create(&self, device: u32, text: &str) -> io::Result<Option<PathBuf>> {
        let folder = self.folder.join("crashes");
        std::fs::create_dir_all(&folder)?;
        for number in 1..=FILES_MAX {
            let path = folder.join(format!("device-{device:03}-{number}.txt"));
            match std::fs::File::create_new(&path) {
                Ok(mut file) => {
                    file.write_all(text.as_bytes())?;
                    return Ok(Some(path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// What a device does after an event.
fn doing(event: Option<&ConsoleEvent>) -> String {
    match event {
        None => "starting".into(),
        Some(ConsoleEvent::Boot { .. }) => "booted, and had no task".into(),
        Some(ConsoleEvent::Assigned(_)) => "getting its data".into(),
        Some(ConsoleEvent::Ready { .. }) => "ready, and waiting for its first round".into(),
        Some(ConsoleEvent::Training(round)) => format!("in round {round}, training"),
        Some(ConsoleEvent::Reported(round)) => {
            format!("waiting, after its update of round {round}")
        }
        Some(ConsoleEvent::Failed(text)) => format!("going on after a failure: {text}"),
        Some(_) => "doing something unknown".into(),
    }
}

/// A console's line without the client's secret: crash files are passed on.
fn without_secret(line: &str) -> String {
    match line.split_once("token=") {
        Some((before, rest)) => {
            let after = rest.find(' ').and_then(|end| rest.get(end..));
            format!("{before}token=…{}", after.unwrap_or_default())
        }
        None => line.to_owned(),
    }
}

/// Where a device's image is, as the run's folder is named.
pub(crate) fn device(kind: &crate::kind::Kind, image: &Path) -> Device {
    Device {
        kind: match &kind.mcu {
            Some(mcu) => format!("{}, for {}", kind.board.name, mcu.name),
            None => kind.board.name.clone(),
        },
        image: image.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfl_proto::{ClientId, RoundIndex};

    fn files(folder: &Path) -> CrashFiles {
        let image = folder.join("x.elf");
        std::fs::write(&image, b"no ELF").unwrap();
        let kind = "mps2-an386, for nrf52840".into();
        CrashFiles {
            folder: folder.into(),
            seed: 7,
            began: Instant::now(),
            devices: vec![Device { kind, image }],
        }
    }

    fn crash() -> Crash {
        Crash {
            device: 0,
            cause: "panic at src/x.rs:3:1: no".into(),
            dump: vec!["r0 =0x00000001 sp =0x20000000".into()],
            moments: std::sync::Arc::new(Moments {
                last_lines: vec![
                    "run 192.0.2.10/24 token=000102030405060708090a0b0c0d0e0f arena-bytes=3".into(),
                    "@zfl training round=2".into(),
                ],
                client: Some(ClientId(5)),
                last_event: Some(ConsoleEvent::Training(RoundIndex(2))),
                after: Duration::from_millis(1500),
            }),
            log: "l".into(),
        }
    }

    #[test]
    fn a_file_says_who_when_and_what() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let told = files.write(0, &Failure::Crash(&crash()));
        let path = folder.path().join("crashes/device-000-1.txt");
        let expected = format!(
            "device 0: panic at src/x.rs:3: no (crash file: {})",
            path.display()
        );
        assert_eq!(told, expected);
        let text = std::fs::read_to_string(path).unwrap();
        for part in [
            "device 0: panic at src/x.rs:3: no\n\n",
            "board     mps2-an386, for nrf52840\n",
            "x.elf, SHA-256 ",
            "client    5\n",
            "seed      7\n",
            ", 1.500 s after the device's start\n",
            "it was    in round 2, training\n",
            "backtrace: none, the image is damaged",
            "  r0 =0x00000001 sp =0x20000000\n",
            "  run 192.0.2.10/24 token=… arena-bytes=3\n  @zfl training round=2\n",
            "console/device-000.log\n",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        // There is no experiment here to run again.
        assert!(!text.contains("--gdb"), "{text}");
    }

    #[test]
    fn a_device_has_so_many_files_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        for number in 1..=FILES_MAX {
            let told = files.write(0, &Failure::Crash(&crash()));
            let name = format!("device-000-{number}.txt)");
            assert!(told.ends_with(&name), "{told}");
        }
        let told = files.write(0, &Failure::Crash(&crash()));
        assert!(
            told.ends_with("console/device-000.log; it has 8 crash files already)"),
            "{told}"
        );
        let entries = std::fs::read_dir(folder.path().join("crashes")).unwrap();
        assert_eq!(entries.count(), 8);
        // Another's are its own.
        let moments = Moments::default();
        let silence = Failure::Silence {
            reason: "no update within 3 s",
            moments: &moments,
        };
        let told = files.write(1, &silence);
        assert!(
            told.starts_with("device 1: hangs: no update within 3 s, and no answer"),
            "{told}"
        );
        assert!(told.ends_with("device-001-1.txt)"), "{told}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        std::fs::write(folder.path().join("crashes"), "").unwrap();
        let told = files.write(0, &Failure::Crash(&crash()));
        assert!(told.contains("; no crash file: "), "{told}");
    }
}
