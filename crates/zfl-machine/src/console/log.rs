//! The file that keeps what a device said.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A log keeps so many bytes; what comes later is not kept.
pub const LOG_BYTES_MAX: u64 = 16 << 20;

/// A file of bounded size. Nothing is held back: what was written survives
/// the end of this process.
#[derive(Debug)]
pub(crate) struct ConsoleLog {
    file: File,
    room_bytes: u64,
    error: Option<io::Error>,
}

impl ConsoleLog {
    /// Creates the file, or empties it.
    pub(crate) fn create(path: &Path, bytes_max: u64) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            room_bytes: bytes_max,
            error: None,
        })
    }

    /// Keeps `bytes` as far as they fit, and says once that no more do.
    ///
    /// A full disk must not end a training device: the first error is kept
    /// for the report, and nothing is written after it.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.room_bytes == 0 || self.error.is_some() {
            return;
        }
        let room = usize::try_from(self.room_bytes).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        let written = self.file.write_all(kept).and_then(|()| {
            self.room_bytes -= kept.len() as u64;
            if self.room_bytes == 0 {
                self.file
                    .write_all(b"\n[zfl: this log is full, the rest is not kept]\n")?;
            }
            Ok(())
        });
        self.error = written.err();
    }

    /// The error that ended the log, if one did.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.as_ref().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_says_so_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = ConsoleLog::create(&path, 10).unwrap();
        log.write(b"\xff12345");
        assert_eq!(std::fs::read(&path).unwrap(), b"\xff12345");
        log.write(b"67890ab");
        log.write(b"cd");
        let notice = "\n[zfl: this log is full, the rest is not kept]\n";
        let expected = [b"\xff123456789", notice.as_bytes()].concat();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert_eq!(log.error(), None);
    }

    #[test]
    fn an_error_is_kept_and_ends_the_log() {
        let mut log = ConsoleLog::create(Path::new("/dev/full"), 100).unwrap();
        log.write(b"x");
        log.write(b"y");
        let error = log.error().unwrap();
        assert!(error.contains("No space left"), "{error}");
    }
}
