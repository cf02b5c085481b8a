//! Instruction counts for clients that no machine executes.
//!
//! A native client trains in this process, where nothing counts a device's
//! instructions. So `zfl calibrate --emulate` lets one emulated device of the
//! same board do a client-round of the same workload and keeps what it counted
//! in the cache folder, for each sample and pass. A native client's round is
//! that times its samples and passes: exact but for how many inputs of its own
//! samples are not 0.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zfl_data::SearchPath;
use zfl_nn::Task;

/// The file in the cache folder.
const FILE: &str = "instructions.json";
/// A file that is larger is not one of ours.
const FILE_BYTES_MAX: u64 = 1 << 24;

/// What one device counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Learnt {
    /// In training, for each sample and pass.
    pub(crate) training_per_sample: f64,
    /// Beside training in a round: network and system.
    pub(crate) other: f64,
}

impl Learnt {
    /// Instructions of a round with so many samples and passes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates"
    )]
    pub(crate) fn instructions(&self, samples: u32, epochs: u32) -> u64 {
        let passes = f64::from(samples) * f64::from(epochs);
        (self.training_per_sample * passes + self.other).round() as u64
    }
}

/// Why what was learnt cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LearntError {
    /// There is no cache folder.
    #[error("there is no cache folder for instruction counts: set XDG_CACHE_HOME or HOME")]
    NoFolder,
    /// The file cannot be read or written.
    #[error("failed to {what} instruction counts {}: {source}", path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("instruction counts {}: {source}; remove the file and calibrate again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What was learnt, by board and workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    path: Option<PathBuf>,
    entries: BTreeMap<String, Learnt>,
}

impl Book {
    /// Reads the book of the cache folder; an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub(crate) fn open(search_path: &SearchPath) -> Result<Self, LearntError> {
        match search_path.cache_folder("device-time") {
            Some(folder) => Self::read(&folder.join(FILE)),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self, LearntError> {
        let file = |source| LearntError::File {
            what: "read",
            path: path.to_owned(),
            source,
        };
        let entries = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(file(error)),
            Ok(found) if found.len() > FILE_BYTES_MAX => {
                return Err(file(io::Error::other("it is too large")));
            }
            Ok(_) => {
                let bytes = std::fs::read(path).map_err(file)?;
                serde_json::from_slice(&bytes).map_err(|source| LearntError::Damaged {
                    path: path.to_owned(),
                    source,
                })?
            }
        };
        Ok(Self {
            path: Some(path.to_owned()),
            entries,
        })
    }

    /// What was learnt under a key.
    pub(crate) fn get(&self, key: &str) -> Option<Learnt> {
        self.entries.get(key).copied()
    }

    /// Notes what was learnt, and writes the book; the file.
    ///
    /// # Errors
    /// When there is no cache folder, or it cannot be written.
    pub(crate) fn put(&mut self, key: String, learnt: Learnt) -> Result<&Path, LearntError> {
        let path = self.path.as_deref().ok_or(LearntError::NoFolder)?;
        self.entries.insert(key, learnt);
        let text = serde_json::to_string_pretty(&self.entries).unwrap_or_default();
        // Whole or not at all, whoever reads it meanwhile.
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&draft, text + "\n"))
            .and_then(|()| std::fs::rename(&draft, path));
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(LearntError::File {
                what: "write",
                path: path.to_owned(),
                source,
            }),
        }
    }
}

/// The key of a workload on a board: the firmware, the data set, and the task but
/// for how often and how far it steps.
pub(crate) fn key(board: &str, image: &[u8], data: &str, task: &Task) -> String {
    let mut task = *task;
    task.hyperparameters.epochs = 1;
    task.hyperparameters.learning_rate = 1.0;
    let mut hash = Sha256::new();
    for part in [image, data.as_bytes(), task.encode().as_slice()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let hex: String = digest
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{board}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfl_nn::{Activation, Format, Hyperparameters, Loss, Model};

    fn task(hidden: usize, epochs: u32) -> Task {
        Task {
            model: Model::mlp(64, &[hidden, 10], Activation::Relu, Loss::CrossEntropy).unwrap(),
            hyperparameters: Hyperparameters::sgd(epochs, 10, 0.1),
            format: Format::F32,
        }
    }

    #[test]
    fn a_book_keeps_what_was_learnt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/instructions.json");
        let learnt = Learnt {
            training_per_sample: 1000.25,
            other: 5e6,
        };
        let mut book = Book::read(&path).unwrap();
        assert_eq!(book.get("a"), None);
        book.put("a".to_owned(), learnt).unwrap();
        let book = Book::read(&path).unwrap();
        assert_eq!(book.get("a"), Some(learnt));
        assert_eq!(learnt.instructions(4, 5), 5_020_005);

        std::fs::write(&path, "{\"a\": 1}").unwrap();
        let error = Book::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("remove the file"),
            "{error}"
        );
        let error = Book::default().put("a".to_owned(), learnt).unwrap_err();
        assert!(error.to_string().contains("XDG_CACHE_HOME"), "{error}");
    }

    #[test]
    fn a_key_tells_workloads_apart() {
        let of = |board, image: &str, data, task| key(board, image.as_bytes(), data, &task);
        let reference = of("b", "image", "digits", task(16, 1));
        assert_eq!(reference, of("b", "image", "digits", task(16, 5)));
        for other in [
            of("c", "image", "digits", task(16, 1)),
            of("b", "other", "digits", task(16, 1)),
            of("b", "image", "mnist", task(16, 1)),
            of("b", "image", "digits", task(17, 1)),
        ] {
            assert_ne!(reference, other);
        }
    }
}
