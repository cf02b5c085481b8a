//! The folder of a run.
//!
//! | file | what |
//! |---|---|
//! | `experiment.toml` | the experiment, every default written |
//! | `rounds.csv` | a row a round |
//! | `clients.csv` | a row a round and client |
//! | `events.jsonl` | what happened, an object a line, with host time |
//! | `summary.json` | the end of it |
//! | `console/` | every byte of every device |
//! | `checkpoints/` | the global model after each round, safetensors |
//! | `firmware/` | the images that ran |
//!
//! The rows of a round are written and flushed when they are known: what happened before a run
//! was ended is there whatever ended it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use zfl_proto::Token;
use zfl_server::checkpoint::CheckpointError;

/// Why a run's folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It exists and is not empty.
    #[error("folder {} exists and is not empty; name another with --out", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// Something in it cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A row cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A row of `rounds.csv`. Bytes are those of message bodies; times are host
/// time.
#[derive(Serialize)]
pub(crate) struct RoundRow<'a> {
    pub(crate) round: u32,
    pub(crate) accuracy: f64,
    pub(crate) loss: f64,
    pub(crate) clients_selected: usize,
    pub(crate) clients_ok: usize,
    /// Faults on purpose that took effect.
    pub(crate) faults: usize,
    pub(crate) bytes_down: u64,
    pub(crate) bytes_up: u64,
    pub(crate) host_seconds: f64,
    /// Of all emulators together, in host time; empty without a fleet.
    pub(crate) qemu_cpu_seconds: Option<f64>,
    pub(crate) model_sha256: &'a str,
}

/// A row of `clients.csv`.
#[derive(Serialize)]
pub(crate) struct ClientRow<'a> {
    pub(crate) round: u32,
    pub(crate) client: u32,
    pub(crate) board: &'a str,
    pub(crate) outcome: &'a str,
    pub(crate) samples: u32,
    /// Mean loss over the share in the last epoch.
    pub(crate) train_loss: f32,
    /// Share of the samples classified rightly in the last epoch.
    pub(crate) train_accuracy: f32,
    pub(crate) host_seconds: f64,
    /// Training by the device's own clock, which without instruction counting
    /// follows the host's.
    pub(crate) device_clock_seconds: f64,
    pub(crate) instructions_training: Option<u64>,
    pub(crate) instructions_other: Option<u64>,
    /// The microcontroller that the device stands for.
    pub(crate) mcu: Option<&'a str>,
    /// Device time and energy of the round on it, by its profile.
    pub(crate) device_seconds: Option<f64>,
    pub(crate) energy_mj: Option<f64>,
    /// What the two rest on.
    pub(crate) device_basis: Option<&'static str>,
    /// Frames towards the device in this round, in bytes.
    pub(crate) nic_bytes_in: u64,
    /// Frames from the device in this round, in bytes.
    pub(crate) nic_bytes_out: u64,
    pub(crate) nic_frames_in: u64,
    pub(crate) nic_frames_out: u64,
    pub(crate) bytes_down: u64,
    pub(crate) bytes_up: u64,
    pub(crate) stack_peak_bytes: u32,
    pub(crate) arena_peak_bytes: u32,
    /// Of the firmware's image.
    pub(crate) flash_bytes: Option<u64>,
    /// Kinds of the faults on purpose that took effect, joined by `+`.
    pub(crate) faults: String,
    /// Why, where the outcome is not ok.
    pub(crate) detail: &'a str,
}

/// The open folder of a run.
pub(crate) struct RunFolder {
    path: PathBuf,
    began: Instant,
    rounds: csv::Writer<File>,
    clients: csv::Writer<File>,
    events: File,
}

impl RunFolder {
    /// Checks that nothing is in the place of the folder.
    pub(crate) fn check_free(path: &Path) -> Result<(), RecordError> {
        let taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        match taken {
            true => Err(RecordError::NotEmpty {
                path: path.to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Makes the folder with its sub-folders and writes the experiment.
    pub(crate) fn create(path: &Path, experiment_toml: &str) -> Result<Self, RecordError> {
        let write = |path: PathBuf| {
            move |source| RecordError::Write {
                path: path.clone(),
                source,
            }
        };
        Self::check_free(path)?;
        for folder in ["console", "checkpoints", "firmware"] {
            let folder = path.join(folder);
            std::fs::create_dir_all(&folder).map_err(write(folder))?;
        }
        let experiment = path.join("experiment.toml");
        std::fs::write(&experiment, experiment_toml).map_err(write(experiment))?;
        let open = |name: &str| {
            let path = path.join(name);
            File::create(&path).map_err(write(path))
        };
        Ok(Self {
            path: path.to_owned(),
            began: Instant::now(),
            rounds: csv::Writer::from_writer(open("rounds.csv")?),
            clients: csv::Writer::from_writer(open("clients.csv")?),
            events: open("events.jsonl")?,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn host_seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(crate) fn round(&mut self, row: &RoundRow<'_>) -> Result<(), RecordError> {
        append(&mut self.rounds, [row], || self.path.join("rounds.csv"))
    }

    /// Writes the rows of a round.
    pub(crate) fn clients<'a>(
        &mut self,
        rows: impl IntoIterator<Item = ClientRow<'a>>,
    ) -> Result<(), RecordError> {
        append(&mut self.clients, rows, || self.path.join("clients.csv"))
    }

    /// Writes the clients' secrets, readable by the owner alone.
    pub(crate) fn tokens(
        &self,
        fleet_key: Token,
        tokens: &[(u32, Token)],
    ) -> Result<(), RecordError> {
        let path = self.path.join("tokens.csv");
        let mut text = format!("client,token\nfleet,{fleet_key}\n");
        for (client, token) in tokens {
            text.push_str(&format!("{client},{token}\n"));
        }
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| RecordError::Write { path, source })
    }

    /// Writes an event: `fields` and the host time since the run began.
    pub(crate) fn event(
        &mut self,
        event: &str,
        fields: &impl Serialize,
    ) -> Result<(), RecordError> {
        #[derive(Serialize)]
        struct Line<'a, F> {
            host_seconds: f64,
            event: &'a str,
            #[serde(flatten)]
            fields: &'a F,
        }
        let line = Line {
            host_seconds: self.host_seconds(),
            event,
            fields,
        };
        // In one call: the file has no buffer, so that nothing is lost.
        let written = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.events.write_all(&line)
            });
        written.map_err(|source| RecordError::Write {
            path: self.path.join("events.jsonl"),
            source,
        })
    }

    pub(crate) fn checkpoint_path(&self, round: u32) -> PathBuf {
        self.path
            .join("checkpoints")
            .join(format!("round-{round:04}.safetensors"))
    }

    pub(crate) fn summary(&self, summary: &impl Serialize) -> Result<(), RecordError> {
        let path = self.path.join("summary.json");
        let written = serde_json::to_string_pretty(summary)
            .map_err(io::Error::from)
            .and_then(|text| std::fs::write(&path, text + "\n"));
        written.map_err(|source| RecordError::Write { path, source })
    }
}

fn append(
    writer: &mut csv::Writer<File>,
    rows: impl IntoIterator<Item = impl Serialize>,
    path: impl Fn() -> PathBuf,
) -> Result<(), RecordError> {
    for row in rows {
        writer.serialize(row).map_err(|source| RecordError::Row {
            path: path(),
            source,
        })?;
    }
    writer.flush().map_err(|source| RecordError::Write {
        path: path(),
        source,
    })
}
