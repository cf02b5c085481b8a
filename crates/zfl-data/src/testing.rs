//! What the tests of several modules need.

use std::path::PathBuf;

use proptest::sample::Index;

use crate::dataset::{Dataset, DatasetParts};

/// `sample_count` samples of two inputs: the sample's index, big-endian. The
/// label is the index modulo 3.
pub(crate) fn small_dataset(sample_count: usize) -> Dataset {
    Dataset::new(DatasetParts {
        name: "small".into(),
        origin: "test".into(),
        sample_shape: vec![2],
        samples: (0..sample_count)
            .flat_map(|index| u16::try_from(index).unwrap().to_be_bytes())
            .collect(),
        labels: (0..sample_count).map(|index| (index % 3) as u8).collect(),
        class_count: 3,
        value_scale: 1.0,
        schema: Default::default(),
        groups: None,
    })
    .unwrap()
}

/// Samples of one input, with these labels.
pub(crate) fn labelled_dataset(labels: Vec<u8>, class_count: usize) -> Dataset {
    Dataset::new(DatasetParts {
        name: "labelled".into(),
        origin: "test".into(),
        sample_shape: vec![1],
        samples: vec![0; labels.len()],
        labels,
        class_count,
        value_scale: 1.0,
        schema: Default::default(),
        groups: None,
    })
    .unwrap()
}

/// The folder that holds `mnist/`: `ZFL_DATA_DIR`, or `shared/data` beside the
/// workspace. Says why a test is skipped where there is none.
pub(crate) fn mnist_data_dir() -> Option<PathBuf> {
    let beside_workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("ZFL_DATA_DIR").map_or(beside_workspace, PathBuf::from);
    if folder.join("mnist").is_dir() {
        return Some(folder);
    }
    println!(
        "skipped: no {}; set ZFL_DATA_DIR to a folder that holds mnist/",
        folder.join("mnist").display()
    );
    None
}

/// A file that a program of others wrote: `data/tables/make.py` made it.
pub(crate) fn table_file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/tables");
    folder.join(name)
}

/// These bytes with some changed, and cut off where `keep` says so.
pub(crate) fn damaged(
    mut bytes: Vec<u8>,
    changes: Vec<(Index, u8)>,
    keep: Option<Index>,
) -> Vec<u8> {
    for (index, byte) in changes {
        let index = index.index(bytes.len());
        bytes[index] = byte;
    }
    if let Some(keep) = keep {
        bytes.truncate(keep.index(bytes.len()));
    }
    bytes
}
