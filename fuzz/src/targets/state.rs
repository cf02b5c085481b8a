//! What a run goes on with after it was cut off: what is read of a state is the
//! same when it was written and read again, and the records are no longer than
//! it says; what is damaged is told with the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use zfl_lab::fuzz::resume;

/// In memory, where there is such a folder.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| crate::targets::scratch("state"));

const RECORDS: [&str; 5] = [
    "rounds.csv",
    "clients.csv",
    "devices.csv",
    "events.jsonl",
    "checkpoints/round-0001.safetensors",
];

/// Behind zeros the records, then the state, then the one that is on the disk.
pub(crate) fn check(bytes: &[u8]) {
    let folder: &Path = &FOLDER;
    fs::create_dir_all(folder.join("checkpoints")).expect("room for a folder");
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes);
    put("experiment.toml", b"").expect("room for a file");
    let mut parts = bytes.split(|byte| *byte == 0);
    for name in RECORDS {
        put(name, parts.next().unwrap_or_default()).expect("room for a file");
    }
    for name in ["state.json", "state.synced.json"] {
        if let Some(part) = parts.next() {
            put(name, part).expect("room for a file");
        }
    }
    state_holds(folder);
    fs::remove_dir_all(folder).expect("the folder that was made");
}

fn state_holds(folder: &Path) {
    let state = match resume(folder) {
        Ok(Some(state)) => state,
        Ok(None) => return,
        Err(error) => {
            let text = error.to_string();
            let of = folder.display().to_string();
            assert!(text.contains(&of), "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    // Whoever goes on may be cut off before the next round is over.
    assert_eq!(resume(folder).ok().flatten().as_ref(), Some(&state));
    fs::write(folder.join("state.json"), &state).expect("room for a file");
    fs::remove_file(folder.join("state.synced.json")).unwrap_or_default();
    assert_eq!(resume(folder).ok().flatten().as_ref(), Some(&state));
    let state: serde_json::Value = serde_json::from_slice(&state).expect("what was written");
    for name in &RECORDS[..4] {
        let bytes = state["records"][name]["bytes"].as_u64().unwrap_or(0);
        let file = fs::metadata(folder.join(name)).expect("a record");
        assert_eq!(file.len(), bytes, "{name}");
    }
}
