//! What is fuzzed, a module each.

pub(crate) mod archive;
pub(crate) mod board;
pub(crate) mod capture;
pub(crate) mod checkpoint;
pub(crate) mod client;
pub(crate) mod console;
pub(crate) mod experiment;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod idx;
pub(crate) mod image;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod meter;
pub(crate) mod state;
pub(crate) mod sweep;
pub(crate) mod switch;
pub(crate) mod tables;
pub(crate) mod task;
pub(crate) mod trace;

use std::path::PathBuf;

/// Where a target writes its file: in memory, where there is such a folder.
fn scratch(extension: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("zfl-fuzz-{}.{extension}", std::process::id()))
}
