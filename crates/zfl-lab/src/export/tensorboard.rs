//! An event file for TensorBoard: scalars by round.
//!
//! The file is a sequence of TFRecords: length (`u64`), CRC of the length, bytes, CRC
//! of the bytes, all little-endian, with CRC-32C masked (TensorFlow,
//! `tensorflow/core/lib/io/record_writer.h` and `lib/hash/crc32c.h`). Each holds a
//! protocol buffer `Event` (`tensorflow/core/util/event.proto`, `summary.proto`), of
//! which four fields are needed here. Both recalled; TensorBoard's own reader reads
//! the file in a test.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use crc::{CRC_32_ISCSI, Crc};

use super::{ExportError, whole};
use crate::archive::{Archive, Round};

/// CRC-32C, which the catalogue of CRCs calls by another of its names.
const CRC: Crc<u32, crc::Table<16>> = Crc::<u32, crc::Table<16>>::new(&CRC_32_ISCSI);
/// What TensorBoard looks for is `tfevents` in the name.
const FILE: &str = "events.out.tfevents.zfl";

/// Writes the scalars of a run, by round, where `tensorboard --logdir` of the folder
/// or of one above it finds them; the path.
///
/// # Errors
/// Which cell of a table is none of its column, or why the file cannot be written.
pub fn tensorboard(archive: &Archive) -> Result<PathBuf, ExportError> {
    EventFile::with(archive, Extent::All).map(|file| file.path)
}

/// An event file that grows with its run: TensorBoard reads on where it was.
pub struct EventFile {
    archive: Archive,
    path: PathBuf,
    /// When the run began, in seconds since 1970.
    began: f64,
    /// The last round in it.
    round: u32,
}

/// Which rounds are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Those whose end is recorded. Of a run that goes on the last row may be there
    /// before it is said when.
    Ended,
    /// All.
    All,
}

impl EventFile {
    /// Writes the rounds that are over, in place of what was there.
    ///
    /// # Errors
    /// As [`tensorboard()`].
    pub fn create(archive: &Archive) -> Result<Self, ExportError> {
        Self::with(archive, Extent::Ended)
    }

    fn with(archive: &Archive, extent: Extent) -> Result<Self, ExportError> {
        let began = archive.overview()?.began_unix_seconds.unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let mut file = Self {
            archive: archive.clone(),
            path: archive.path().join(FILE),
            began: began as f64,
            round: 0,
        };
        // Says which version of the format this is.
        let mut first = Vec::new();
        double(&mut first, 1, file.began);
        bytes(&mut first, 3, b"brain.Event:2");
        let path = file.path.clone();
        whole(&path, |out| file.write(out, &first, extent))?;
        Ok(file)
    }

    /// Adds the rounds that are over since. After an error the file may end in the
    /// middle of one: create it anew.
    ///
    /// # Errors
    /// As [`tensorboard()`].
    pub fn append(&mut self) -> Result<(), ExportError> {
        let out = OpenOptions::new().append(true).open(&self.path);
        let out = out.map_err(|source| ExportError::Write {
            path: self.path.clone(),
            source,
        })?;
        self.write(out, &[], Extent::Ended)
    }

    /// Writes an event, unless it is empty, and those of the rounds that are not in the
    /// file.
    fn write(&mut self, out: File, first: &[u8], extent: Extent) -> Result<(), ExportError> {
        let ended = self.ended()?;
        let costs = self.archive.costs()?;
        let path = &self.path;
        let write_error = |source| ExportError::Write {
            path: path.clone(),
            source,
        };
        let mut out = BufWriter::new(out);
        let mut write = |event: &[u8]| out.write_all(&record(event)).map_err(write_error);
        if !first.is_empty() {
            write(first)?;
        }
        for round in self.archive.rows::<Round>()? {
            let round = round?;
            if round.round <= self.round {
                continue;
            }
            let ended = ended.get(&round.round).copied();
            if ended.is_none() && extent == Extent::Ended {
                break;
            }
            let at = self.began + ended.unwrap_or(0.0);
            let cost = costs.get(&round.round).copied().unwrap_or_default();
            write(&event(
                at,
                round.round,
                &scalars(&round, cost.device_seconds, cost.energy_mj),
            ))?;
            self.round = round.round;
        }
        out.flush().map_err(write_error)
    }

    /// When each round was over, in host time since the run began.
    fn ended(&self) -> Result<BTreeMap<u32, f64>, ExportError> {
        let mut ended = BTreeMap::new();
        for event in self.archive.events()? {
            let event = event?;
            if matches!(&*event.event, "round-completed" | "round-failed")
                && let Some(round) = event
                    .fields
                    .get("round")
                    .and_then(serde_json::Value::as_u64)
                && let Ok(round) = u32::try_from(round)
            {
                ended.insert(round, event.host_seconds);
            }
        }
        Ok(ended)
    }
}

/// What is shown of a round.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn scalars(
    round: &Round,
    device_seconds: Option<f64>,
    energy_mj: Option<f64>,
) -> Vec<(&'static str, f64)> {
    let count = |count: u64| Some(count as f64);
    let all = [
        ("model/accuracy", round.accuracy),
        ("model/loss", Some(round.loss)),
        ("model/rmse", round.rmse),
        ("model/r_squared", round.r_squared),
        ("clients/selected", count(round.clients_selected.into())),
        ("clients/ok", count(round.clients_ok.into())),
        ("clients/faults", count(round.faults.into())),
        ("bytes/down", count(round.bytes_down)),
        ("bytes/up", count(round.bytes_up)),
        (
            "network/retransmissions_down",
            round.retransmissions_down.and_then(count),
        ),
        (
            "network/retransmissions_up",
            round.retransmissions_up.and_then(count),
        ),
        ("network/drops", round.drops.and_then(count)),
        ("time/host_seconds", Some(round.host_seconds)),
        ("time/device_seconds", device_seconds),
        ("time/energy_mj", energy_mj),
    ];
    let there = all.into_iter();
    there
        .filter_map(|(tag, value)| Some((tag, value?)))
        .collect()
}

/// An `Event` with a `Summary` of scalars.
fn event(unix_seconds: f64, step: u32, scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut scalar = Vec::new();
        bytes(&mut scalar, 1, tag.as_bytes());
        // The format has single precision.
        #[expect(clippy::cast_possible_truncation, reason = "what the format has")]
        single(&mut scalar, 2, *value as f32);
        bytes(&mut summary, 1, &scalar);
    }
    let mut event = Vec::new();
    double(&mut event, 1, unix_seconds);
    key(&mut event, 2, 0);
    varint(&mut event, step.into());
    bytes(&mut event, 5, &summary);
    event
}

/// A TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = u64::try_from(data.len()).unwrap_or(u64::MAX).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// A CRC over bytes that themselves hold CRCs would be a weak one, so it is rotated
/// and shifted.
fn masked_crc(data: &[u8]) -> u32 {
    const SHIFT: u32 = 0xa282_ead8;
    CRC.checksum(data).rotate_right(15).wrapping_add(SHIFT)
}

// Fields of protocol buffers: a key of number and wire type, and the value.

fn key(out: &mut Vec<u8>, number: u64, wire: u64) {
    varint(out, number << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn double(out: &mut Vec<u8>, number: u64, value: f64) {
    key(out, number, 1);
    out.extend(value.to_le_bytes());
}

fn single(out: &mut Vec<u8>, number: u64, value: f32) {
    key(out, number, 5);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    key(out, number, 2);
    varint(out, u64::try_from(value.len()).unwrap_or(u64::MAX));
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{ROUND_HEADER, archive, folder, round, rounds_of_numbers};

    #[test]
    fn a_record_has_the_masked_checksums() {
        // CRC-32C of "123456789" is 0xe3069283.
        assert_eq!(CRC.checksum(b"123456789"), 0xe306_9283);
        let crc = masked_crc(b"123456789");
        let unmasked = crc.wrapping_sub(0xa282_ead8);
        assert_eq!(unmasked.rotate_left(15), 0xe306_9283);
        let record = record(b"abc");
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!(record[..8], 3u64.to_le_bytes());
        assert_eq!(record[12..15], *b"abc");
    }

    #[test]
    fn varints_are_seven_bits_a_byte() {
        for (value, expected) in [
            (0, vec![0]),
            (127, vec![0x7f]),
            (300, vec![0xac, 0x02]),
            (u64::MAX, [vec![0xff; 9], vec![1]].concat()),
        ] {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn a_run_gives_the_same_file_each_time() {
        let text = [ROUND_HEADER, &round(1, "0.25"), &round(2, "")].concat();
        let events = "{\"host_seconds\":2.5,\"event\":\"round-completed\",\"round\":1}\n";
        let folder = folder(&[("rounds.csv", &text), ("events.jsonl", events)]);
        let path = tensorboard(&archive(&folder)).unwrap();
        let file = std::fs::read(&path).unwrap();
        assert_eq!(tensorboard(&archive(&folder)).unwrap(), path);
        assert!(file == std::fs::read(&path).unwrap());
        // The second round has no accuracy; neither has device time.
        let count = |text: &str| {
            file.windows(text.len())
                .filter(|at| *at == text.as_bytes())
                .count()
        };
        assert_eq!(count("model/accuracy"), 1);
        assert_eq!(count("model/loss"), 2);
        assert_eq!(count("time/device_seconds"), 0);
        assert_eq!(count("model/rmse"), 0);
    }

    #[test]
    fn a_file_grows_to_what_is_written_at_once() {
        let rows = [1, 2, 3].map(|number| round(number, "0.5"));
        let event = |number: u32| {
            format!(
                "{{\"host_seconds\":{number}.5,\"event\":\"round-completed\",\"round\":{number}}}\n"
            )
        };
        let folder = folder(&[("rounds.csv", ROUND_HEADER), ("events.jsonl", "")]);
        let mut file = EventFile::create(&archive(&folder)).unwrap();
        let mut sizes = Vec::new();
        for (count, row) in (1..).zip(&rows) {
            // Neither before it is over, nor twice.
            for (name, more) in [("rounds.csv", row), ("events.jsonl", &event(count))] {
                let table = OpenOptions::new()
                    .append(true)
                    .open(folder.path().join(name));
                table.unwrap().write_all(more.as_bytes()).unwrap();
                file.append().unwrap();
            }
            file.append().unwrap();
            sizes.push(std::fs::metadata(&file.path).unwrap().len());
        }
        assert!(sizes.is_sorted_by(|one, next| one < next), "{sizes:?}");
        let grown = std::fs::read(&file.path).unwrap();
        tensorboard(&archive(&folder)).unwrap();
        assert!(grown == std::fs::read(&file.path).unwrap());
        std::fs::remove_file(&file.path).unwrap();
        assert!(matches!(file.append(), Err(ExportError::Write { .. })));
    }

    #[test]
    fn a_run_that_learns_a_number_has_its_error() {
        let text = rounds_of_numbers(&["3.5", "1.25"]);
        let folder = folder(&[("rounds.csv", &text)]);
        let file = std::fs::read(tensorboard(&archive(&folder)).unwrap()).unwrap();
        for (tag, value) in [
            ("model/rmse", 3.5f32),
            ("model/rmse", 1.25),
            ("model/r_squared", 0.25),
        ] {
            let mut scalar = Vec::new();
            bytes(&mut scalar, 1, tag.as_bytes());
            single(&mut scalar, 2, value);
            let is_there = file.windows(scalar.len()).any(|at| at == scalar);
            assert!(is_there, "{tag} {value}");
        }
        assert!(!file.windows(14).any(|at| at == b"model/accuracy"));
    }
}
