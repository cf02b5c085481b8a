//! Firmware images, and where a run finds them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A firmware image that the program carries.
#[derive(Clone, Copy, Debug)]
pub struct FirmwareImage {
    /// The board that it was built for.
    pub board: &'static str,
    /// The ELF file.
    pub elf: &'static [u8],
}

/// Where images come from: a folder that overrides, else the program.
#[derive(Clone, Debug, Default)]
pub struct FirmwareSource {
    /// Images `<board>.elf` here are taken first.
    pub folder: Option<PathBuf>,
    /// What the program carries.
    pub carried: &'static [FirmwareImage],
}

/// Why there is no firmware for a board.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// Nobody has one.
    #[error(
        "no firmware for board {board}: this zfl was built without it; run `make firmware` and \
         build zfl again, or name a folder with {board}.elf by --firmware-dir"
    )]
    Missing {
        /// The board.
        board: String,
    },
    /// It is no ELF file.
    #[error("firmware {} is not an ELF file (it begins with {found:02x?}, expected 7f 45 4c 46)", path.display())]
    NotElf {
        /// Which file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// It cannot be read or written.
    #[error("failed to {what} firmware {}: {source}", path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl FirmwareSource {
    /// Where the image of a board would come from, in words; `None` when there
    /// is none.
    pub fn describe(&self, board: &str) -> Option<String> {
        let in_folder = self.in_folder(board);
        if let Some(path) = in_folder {
            return Some(path.display().to_string());
        }
        self.carried(board).map(|_| "part of zfl".to_owned())
    }

    fn in_folder(&self, board: &str) -> Option<PathBuf> {
        let path = self.folder.as_ref()?.join(format!("{board}.elf"));
        path.exists().then_some(path)
    }

    fn carried(&self, board: &str) -> Option<&'static [u8]> {
        let image = self.carried.iter().find(|image| image.board == board)?;
        Some(image.elf)
    }

    /// The image of a board.
    ///
    /// # Errors
    /// When there is none, or it is no ELF file, or it cannot be read.
    pub fn image(&self, board: &str) -> Result<Cow<'static, [u8]>, FirmwareError> {
        let Some(path) = self.in_folder(board) else {
            return match self.carried(board) {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => Err(FirmwareError::Missing {
                    board: board.to_owned(),
                }),
            };
        };
        match std::fs::read(&path) {
            Ok(bytes) if bytes.starts_with(b"\x7fELF") => Ok(Cow::Owned(bytes)),
            Ok(bytes) => Err(FirmwareError::NotElf {
                path,
                found: bytes.get(..4).unwrap_or(&bytes).to_vec(),
            }),
            Err(source) => Err(FirmwareError::File {
                what: "read",
                path,
                source,
            }),
        }
    }

    /// Puts the image of a board into a folder, for the emulator to load (and
    /// for whoever wants to know later what ran).
    ///
    /// # Errors
    /// When there is none, or it is no ELF file, or it cannot be written.
    pub fn place(&self, board: &str, folder: &Path) -> Result<PathBuf, FirmwareError> {
        let bytes = self.image(board)?;
        let path = folder.join(format!("{board}.elf"));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, bytes));
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(FirmwareError::File {
                what: "write",
                path,
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_overrides_what_is_carried() {
        const CARRIED: &[FirmwareImage] = &[FirmwareImage {
            board: "a",
            elf: b"\x7fELF carried",
        }];
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("run/firmware");
        let mut source = FirmwareSource {
            folder: None,
            carried: CARRIED,
        };
        let placed = source.place("a", &target).unwrap();
        assert_eq!(std::fs::read(&placed).unwrap(), b"\x7fELF carried");
        let error = source.place("b", &target).unwrap_err().to_string();
        assert!(error.contains("no firmware for board b"), "{error}");

        source.folder = Some(folder.path().to_owned());
        std::fs::write(folder.path().join("a.elf"), b"\x7fELF other").unwrap();
        let placed = source.place("a", &target).unwrap();
        assert_eq!(std::fs::read(&placed).unwrap(), b"\x7fELF other");
        std::fs::write(folder.path().join("a.elf"), b"MZ").unwrap();
        let error = source.place("a", &target).unwrap_err().to_string();
        assert!(error.contains("not an ELF file"), "{error}");
    }
}
