//! The lines of a file that grows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longest line, in bytes; the rest of a longer one is not looked at.
const LINE_BYTES_MAX: usize = 4 << 20;
/// So much is read at a time, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// A place in a file up to which its lines have been read.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    /// Where `rest` begins.
    offset: u64,
    /// What has been read of a line that has not ended yet.
    rest: Vec<u8>,
    /// The line is too long; what follows up to its end is left out.
    is_skipping: bool,
}

/// How far a file has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// All that there is, but for a line that has not ended.
    End,
    /// As much as was asked for; there is more.
    More,
    /// The file is shorter than what has been read: it is another now.
    Shrunk,
}

impl Tail {
    /// Before the first line.
    pub(crate) fn new(path: &Path) -> Self {
        Self::from(path, 0)
    }

    /// Before the line that begins there.
    pub(crate) fn from(path: &Path, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            offset,
            rest: Vec::new(),
            is_skipping: false,
        }
    }

    /// Gives each line that has ended since, and where in the file it begins, until
    /// about `bytes_max` have been read. A file that is not there is empty.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(
        &mut self,
        bytes_max: usize,
        mut take: impl FnMut(u64, &[u8]),
    ) -> io::Result<Reached> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(match self.offset {
                    0 => Reached::End,
                    _ => Reached::Shrunk,
                });
            }
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let from = self.offset + self.rest.len() as u64;
        if length < from {
            return Ok(Reached::Shrunk);
        }
        file.seek(SeekFrom::Start(from))?;
        let mut total = 0;
        while total < bytes_max {
            let count = Read::by_ref(&mut file)
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut self.rest)?;
            if count == 0 {
                return Ok(Reached::End);
            }
            total += count;
            self.take_lines(&mut take);
        }
        Ok(Reached::More)
    }

    fn take_lines(&mut self, take: &mut impl FnMut(u64, &[u8])) {
        let mut begin = 0;
        while let Some(rest) = self.rest.get(begin..)
            && let Some(length) = rest.iter().position(|byte| *byte == b'\n')
        {
            if !std::mem::take(&mut self.is_skipping)
                && let Some(line) = rest.get(..length)
            {
                take(self.offset + begin as u64, line);
            }
            begin += length + 1;
        }
        self.rest.drain(..begin);
        self.offset += begin as u64;
        if self.rest.len() > LINE_BYTES_MAX {
            self.is_skipping = true;
            self.offset += self.rest.len() as u64;
            self.rest = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn lines(tail: &mut Tail, bytes_max: usize) -> (Vec<(u64, String)>, Reached) {
        let mut lines = Vec::new();
        let reached = tail.read(bytes_max, |offset, line| {
            lines.push((offset, String::from_utf8(line.to_vec()).unwrap()));
        });
        (lines, reached.unwrap())
    }

    #[test]
    fn a_line_is_given_once_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut tail = Tail::new(&path);
        assert_eq!(lines(&mut tail, 100), (vec![], Reached::End));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(
            lines(&mut tail, 100),
            (vec![(0, "one".to_owned())], Reached::End)
        );
        file.write_all(b"o\n\n").unwrap();
        assert_eq!(
            lines(&mut tail, 100).0,
            [(4, "two".to_owned()), (8, String::new())]
        );
        file.set_len(3).unwrap();
        assert_eq!(lines(&mut tail, 100).1, Reached::Shrunk);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut tail, 100).1, Reached::Shrunk);
    }

    #[test]
    fn a_line_without_end_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![b'x'; 2 * LINE_BYTES_MAX]).unwrap();
        let mut tail = Tail::new(&path);
        assert_eq!(lines(&mut tail, usize::MAX).0, []);
        assert!(tail.rest.len() <= LINE_BYTES_MAX);
        file.write_all(b"x\nshort\n").unwrap();
        let offset = 2 * LINE_BYTES_MAX as u64 + 2;
        assert_eq!(
            lines(&mut tail, usize::MAX).0,
            [(offset, "short".to_owned())]
        );
    }

    proptest! {
        /// However a file is written and read, piece by piece, its lines are the same.
        #[test]
        fn pieces_change_nothing(
            text in "[a-c\n]{0,200}",
            cuts in prop::collection::vec(0usize..200, 0..6),
            bytes_max in 1usize..50,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut tail = Tail::new(&path);
            let mut file = File::create(&path).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let (mut written, mut read) = (0, Vec::new());
            for cut in cuts {
                file.write_all(&text.as_bytes()[written..cut]).unwrap();
                written = cut;
                loop {
                    let (more, reached) = lines(&mut tail, bytes_max);
                    read.extend(more.into_iter().map(|(_, line)| line));
                    if reached == Reached::End {
                        break;
                    }
                }
            }
            let mut expected: Vec<String> = text.split('\n').map(str::to_owned).collect();
            expected.pop();
            prop_assert_eq!(read, expected);
        }
    }
}
