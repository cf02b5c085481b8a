//! Firmware images, and where a run finds them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use zfl_machine::Board;
use zfl_machine::image::{self, ImageError};

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
    /// It cannot run on the board.
    #[error("firmware {place}: {source}")]
    Unfit {
        /// Which.
        place: String,
        /// Why.
        source: ImageError,
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
    /// When there is none, or it cannot be read.
    pub fn image(&self, board: &str) -> Result<Cow<'static, [u8]>, FirmwareError> {
        let Some(path) = self.in_folder(board) else {
            return match self.carried(board) {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => Err(FirmwareError::Missing {
                    board: board.to_owned(),
                }),
            };
        };
        std::fs::read(&path)
            .map(Cow::Owned)
            .map_err(|source| FirmwareError::File {
                what: "read",
                path,
                source,
            })
    }

    /// The image of a board, which can run on it.
    ///
    /// # Errors
    /// As [`Self::image`], and when it cannot run there.
    pub fn fit_image(&self, board: &Board) -> Result<Cow<'static, [u8]>, FirmwareError> {
        let bytes = self.image(&board.name)?;
        match image::check(board, &bytes) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(FirmwareError::Unfit {
                place: match self.in_folder(&board.name) {
                    Some(path) => path.display().to_string(),
                    None => format!("for board {}, part of zfl", board.name),
                },
                source,
            }),
        }
    }

    /// Puts the image of a board into a folder, for the emulator to load (and
    /// for whoever wants to know later what ran).
    ///
    /// # Errors
    /// When there is none, or it cannot run there, or it cannot be written.
    pub fn place(&self, board: &Board, folder: &Path) -> Result<PathBuf, FirmwareError> {
        let bytes = self.fit_image(board)?;
        let path = folder.join(format!("{}.elf", board.name));
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
            elf: b"carried",
        }];
        let folder = tempfile::tempdir().unwrap();
        let mut source = FirmwareSource {
            folder: None,
            carried: CARRIED,
        };
        assert_eq!(*source.image("a").unwrap(), *b"carried");
        let error = source.image("b").unwrap_err().to_string();
        assert!(error.contains("no firmware for board b"), "{error}");

        source.folder = Some(folder.path().to_owned());
        std::fs::write(folder.path().join("a.elf"), b"other").unwrap();
        assert_eq!(*source.image("a").unwrap(), *b"other");
    }

    #[test]
    fn what_cannot_run_is_not_placed() {
        const CARRIED: &[FirmwareImage] = &[FirmwareImage {
            board: "mps2-an386",
            elf: b"MZ",
        }];
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("run/firmware");
        let board = Board::named("mps2-an386").unwrap();
        let mut source = FirmwareSource {
            folder: None,
            carried: CARRIED,
        };
        let error = source.place(&board, &target).unwrap_err().to_string();
        assert!(
            error.starts_with("firmware for board mps2-an386, part of zfl: not an ELF file"),
            "{error}"
        );
        source.folder = Some(folder.path().to_owned());
        let path = folder.path().join("mps2-an386.elf");
        std::fs::write(&path, b"MZ").unwrap();
        let error = source.place(&board, &target).unwrap_err().to_string();
        let expected = format!("firmware {}: not an ELF file", path.display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(!target.exists());
    }
}
