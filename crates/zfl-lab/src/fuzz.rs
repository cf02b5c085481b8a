//! What `fuzz/` feeds of the inside of this crate.

use std::path::Path;

use crate::faults::trace::Trace;
use crate::records::RunFolder;
use crate::run::RunError;

/// The state that the run in `folder` would go on with, as its file has it;
/// `None` where no round was over.
///
/// # Errors
/// Why it cannot go on.
pub fn resume(folder: &Path) -> Result<Option<Vec<u8>>, RunError> {
    let (_folder, state) = RunFolder::resume(folder)?;
    Ok(state.and_then(|state| serde_json::to_vec(&state).ok()))
}

/// Tells of a client and a round whether the trace `text` has the client there.
///
/// # Errors
/// The line that is wrong, and what is wrong with it.
pub fn trace(text: &str, client_count: u32) -> Result<impl Fn(u32, u32) -> bool, (u64, String)> {
    let trace = Trace::parse(text, client_count)?;
    Ok(move |client, round| trace.is_available(client, round))
}
