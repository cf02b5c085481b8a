//! Firmware images: whether one can run on a board, before it is booted.
//!
//! An emulator loads whatever it is given and says nothing, or something that
//! nobody understands, when the processor then finds no program. Here an image
//! is held against its board: the kind of processor, the note that says what it
//! was built for, and the memory that it takes.

use object::LittleEndian;
use object::elf::{self, FileHeader32, ProgramHeader32};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use zfl_proto::image::{Note, SECTION};
use zfl_proto::message::PROTOCOL_VERSION;

use crate::Board;
use crate::board::Region;

/// Why an image cannot run on a board.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is no ELF file.
    #[error("not an ELF file (it begins with {found:02x?}, expected 7f 45 4c 46)")]
    NotElf {
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// It is for another kind of processor.
    #[error("for {found}, but board {board} has {expected}")]
    Architecture {
        /// What it is for.
        found: String,
        /// The board.
        board: String,
        /// What the board has.
        expected: String,
    },
    /// It is an ELF file, and damaged.
    #[error("damaged: {0}")]
    Damaged(#[from] object::read::Error),
    /// It has no note of ours.
    #[error(
        "not firmware of zfl: it has no note {SECTION} (build it with `cargo xtask firmware`, or \
         link what zfl-board-build writes)"
    )]
    NoNote,
    /// Its messages are of another version.
    #[error(
        "its messages are of version {found}, this zfl speaks version {PROTOCOL_VERSION}: build \
         it again with `cargo xtask firmware`"
    )]
    Protocol {
        /// The version.
        found: u32,
    },
    /// It was built for another board.
    #[error("built for board {found}, not for {board}")]
    OtherBoard {
        /// For which.
        found: String,
        /// The board.
        board: String,
    },
    /// It is larger than the memory.
    #[error("{needed} bytes of {what} needed, board {board} has {available}")]
    DoesNotFit {
        /// For what.
        what: &'static str,
        /// So many.
        needed: u64,
        /// The board.
        board: String,
        /// Of so many.
        available: u32,
    },
    /// It lies where there is no memory.
    #[error("{length} bytes at {address:#010x}, where board {board} has no memory for them")]
    Elsewhere {
        /// How many bytes.
        length: u32,
        /// Where.
        address: u32,
        /// The board.
        board: String,
    },
}

/// Checks that the image `bytes` can run on `board`.
///
/// # Errors
/// Says what is wrong with it, in words that go behind its name.
pub fn check(board: &Board, bytes: &[u8]) -> Result<(), ImageError> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(ImageError::NotElf {
            found: bytes.get(..4).unwrap_or(bytes).to_vec(),
        });
    }
    check_architecture(board, bytes)?;
    let header = FileHeader32::<LittleEndian>::parse(bytes)?;
    let sections = header.sections(LittleEndian, bytes)?;
    let note = match sections.section_by_name(LittleEndian, SECTION.as_bytes()) {
        Some((_, section)) => section.data(LittleEndian, bytes)?,
        None => &[],
    };
    let note = Note::decode(note).ok_or(ImageError::NoNote)?;
    if note.protocol_version != u32::from(PROTOCOL_VERSION) {
        return Err(ImageError::Protocol {
            found: note.protocol_version,
        });
    }
    if note.board != board.name {
        return Err(ImageError::OtherBoard {
            found: note.board.escape_debug().to_string(),
            board: board.name.clone(),
        });
    }
    check_memory(board, header.program_headers(LittleEndian, bytes)?)
}

/// Machine and size of words stand where they do in every ELF file.
fn check_architecture(board: &Board, bytes: &[u8]) -> Result<(), ImageError> {
    let is_riscv = board.firmware.target.starts_with("riscv");
    let (expected_machine, expected) = if is_riscv {
        (elf::EM_RISCV, "a RISC-V processor of 32 bits")
    } else {
        (elf::EM_ARM, "an Arm processor of 32 bits")
    };
    let byte = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let (class, data) = (byte(4), byte(5));
    let machine = match data {
        elf::ELFDATA2MSB => u16::from_be_bytes([byte(18), byte(19)]),
        _ => u16::from_le_bytes([byte(18), byte(19)]),
    };
    if (class, data, machine) == (elf::ELFCLASS32, elf::ELFDATA2LSB, expected_machine) {
        return Ok(());
    }
    let name = match machine {
        elf::EM_ARM => "Arm".to_owned(),
        elf::EM_RISCV => "RISC-V".to_owned(),
        elf::EM_AARCH64 => "Arm".to_owned(),
        elf::EM_386 | elf::EM_X86_64 => "x86".to_owned(),
        other => format!("machine {other}"),
    };
    let bits = match class {
        elf::ELFCLASS32 => " of 32 bits",
        elf::ELFCLASS64 => " of 64 bits",
        _ => "",
    };
    let order = match data {
        elf::ELFDATA2MSB => ", big-endian",
        _ => "",
    };
    Err(ImageError::Architecture {
        found: format!("{name}{bits}{order}"),
        board: board.name.clone(),
        expected: expected.to_owned(),
    })
}

/// What is loaded must lie in flash, what is used in flash or RAM.
fn check_memory(
    board: &Board,
    segments: &[ProgramHeader32<LittleEndian>],
) -> Result<(), ImageError> {
    let memory = &board.memory;
    for segment in segments {
        let word = |word: object::U32<LittleEndian>| word.get(LittleEndian);
        if segment.p_type(LittleEndian) != elf::PT_LOAD {
            continue;
        }
        let loaded = (word(segment.p_paddr), word(segment.p_filesz));
        let used = (word(segment.p_vaddr), word(segment.p_memsz));
        check_within(board, loaded, &[("flash", memory.flash)])?;
        check_within(board, used, &[("flash", memory.flash), ("RAM", memory.ram)])?;
    }
    Ok(())
}

fn check_within(
    board: &Board,
    (address, length): (u32, u32),
    regions: &[(&'static str, Region)],
) -> Result<(), ImageError> {
    if length == 0 {
        return Ok(());
    }
    // Where it begins is where it is meant to be; sections that the linker
    // put behind the end of a region begin there.
    let meant = regions.iter().rev().find(|(_, region)| {
        (region.base..).contains(&address)
            && u64::from(address) <= u64::from(region.base) + u64::from(region.size_bytes)
    });
    let Some((what, region)) = meant else {
        return Err(ImageError::Elsewhere {
            length,
            address,
            board: board.name.clone(),
        });
    };
    let needed = u64::from(address - region.base) + u64::from(length);
    if needed > u64::from(region.size_bytes) {
        return Err(ImageError::DoesNotFit {
            what,
            needed,
            board: board.name.clone(),
            available: region.size_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image for `board` with segments of these addresses (loaded, used) and
    /// sizes (loaded, used).
    fn image(board: &Board, note: &Note<'_>, segments: &[[u32; 4]]) -> Vec<u8> {
        let machine = if board.platform.is_some() {
            elf::EM_RISCV
        } else {
            elf::EM_ARM
        };
        let note: Vec<u8> = note.encode().collect();
        let names = b"\0.note.zfl\0.names\0";
        let note_offset = 52 + 32 * segments.len();
        let names_offset = note_offset + note.len();
        let sections_offset = names_offset + names.len();
        let mut bytes = Vec::from(*b"\x7fELF\x01\x01\x01");
        bytes.resize(16, 0);
        bytes.extend([2, machine].map(u16::to_le_bytes).as_flattened());
        let words = [1, 0, 52, sections_offset as u32, 0];
        bytes.extend(words.map(u32::to_le_bytes).as_flattened());
        let halves = [52, 32, segments.len() as u16, 40, 3, 2];
        bytes.extend(halves.map(u16::to_le_bytes).as_flattened());
        for [paddr, vaddr, filesz, memsz] in segments {
            let words = [elf::PT_LOAD, 0, *vaddr, *paddr, *filesz, *memsz, 5, 4];
            bytes.extend(words.map(u32::to_le_bytes).as_flattened());
        }
        bytes.extend(&note);
        bytes.extend(names);
        for [name, offset, size] in [
            [0, 0, 0],
            [1, note_offset, note.len()],
            [11, names_offset, names.len()],
        ] {
            let kind = match name {
                0 => elf::SHT_NULL,
                1 => elf::SHT_PROGBITS,
                _ => elf::SHT_STRTAB,
            };
            let words = [
                name as u32,
                kind,
                0,
                0,
                offset as u32,
                size as u32,
                0,
                0,
                1,
                0,
            ];
            bytes.extend(words.map(u32::to_le_bytes).as_flattened());
        }
        bytes
    }

    fn board() -> Board {
        Board::named("lm3s6965evb").unwrap()
    }

    fn note(board: &Board) -> Note<'_> {
        Note {
            protocol_version: PROTOCOL_VERSION.into(),
            board: &board.name,
        }
    }

    /// An image that fits: code, then statics with and without values.
    const SEGMENTS: [[u32; 4]; 3] = [
        [0, 0, 200_000, 200_000],
        [200_000, 0x2000_3a00, 100, 100],
        [0x2000_3a64, 0x2000_3a64, 0, 20_000],
    ];

    fn error_of(segments: &[[u32; 4]]) -> String {
        let board = board();
        let image = image(&board, &note(&board), segments);
        check(&board, &image).unwrap_err().to_string()
    }

    #[test]
    fn an_image_of_the_board_is_good() {
        for board in Board::all().unwrap() {
            let (flash, ram) = (board.memory.flash.base, board.memory.ram.base);
            let segments = [[flash, flash, 1000, 1000], [ram, ram, 0, 1000]];
            check(&board, &image(&board, &note(&board), &segments)).unwrap();
        }
        let board = board();
        check(&board, &image(&board, &note(&board), &SEGMENTS)).unwrap();
    }

    #[test]
    fn another_processor_is_told() {
        let good = image(&board(), &note(&board()), &SEGMENTS);
        let check_changed = |changes: &[(usize, u8)], expected: &str| {
            let mut changed = good.clone();
            for (index, byte) in changes {
                changed[*index] = *byte;
            }
            let error = check(&board(), &changed).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("for {expected}, but board lm3s6965evb has an Arm processor of 32 bits")
            );
        };
        check_changed(&[(18, 243)], "RISC-V of 32 bits");
        check_changed(&[(4, 2), (18, 62)], "x86 of 64 bits");
        check_changed(&[(4, 2), (18, 183)], "Arm of 64 bits");
        check_changed(&[(18, 0), (19, 40), (5, 2)], "Arm of 32 bits, big-endian");
        check_changed(&[(18, 94)], "machine 94 of 32 bits");
        let riscv = Board::named("riscv-virt-rv32imac").unwrap();
        assert_eq!(
            check(&riscv, &good).unwrap_err().to_string(),
            "for Arm of 32 bits, but board riscv-virt-rv32imac has a RISC-V processor of 32 bits"
        );
        let error = check(&board(), b"MZ\x90").unwrap_err().to_string();
        assert_eq!(
            error,
            "not an ELF file (it begins with [4d, 5a, 90], expected 7f 45 4c 46)"
        );
    }

    #[test]
    fn the_note_is_looked_at() {
        let board = board();
        let with = |note: &Note<'_>| check(&board, &image(&board, note, &SEGMENTS));
        let error = with(&Note {
            board: "mps2-an385",
            ..note(&board)
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "built for board mps2-an385, not for lm3s6965evb"
        );
        let error = with(&Note {
            protocol_version: 0,
            ..note(&board)
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("its messages are of version 0, this zfl speaks version 1: "),
            "{error}"
        );
        let mut without = image(&board, &note(&board), &SEGMENTS);
        let place = without.windows(9).position(|name| name == b".note.zfl");
        without[place.unwrap()] = b'x';
        let error = check(&board, &without).unwrap_err().to_string();
        assert!(
            error.starts_with("not firmware of zfl: it has no note .note.zfl ("),
            "{error}"
        );
    }

    #[test]
    fn memory_that_is_too_small_is_told() {
        assert_eq!(
            error_of(&[[0, 0, 300_000, 300_000]]),
            "300000 bytes of flash needed, board lm3s6965evb has 262144"
        );
        // Values of statics lie behind the code.
        assert_eq!(
            error_of(&[[0, 0, 262_100, 262_100], [262_100, 0x2000_3a00, 100, 100]]),
            "262200 bytes of flash needed, board lm3s6965evb has 262144"
        );
        // 14,848 bytes of stack below.
        assert_eq!(
            error_of(&[[0x2000_3a00, 0x2000_3a00, 0, 30_000]]),
            "44848 bytes of RAM needed, board lm3s6965evb has 44544"
        );
        assert_eq!(
            error_of(&[[0x1000_0000, 0x1000_0000, 64, 64]]),
            "64 bytes at 0x10000000, where board lm3s6965evb has no memory for them"
        );
        // Nothing can be loaded to RAM.
        assert_eq!(
            error_of(&[[0x2000_3a00, 0x2000_3a00, 64, 64]]),
            "64 bytes at 0x20003a00, where board lm3s6965evb has no memory for them"
        );
    }

    #[test]
    fn what_is_cut_off_is_damaged() {
        let board = board();
        let good = image(&board, &note(&board), &SEGMENTS);
        for length in 0..good.len() {
            assert!(check(&board, &good[..length]).is_err(), "{length}");
        }
        let error = check(&board, &good[..60]).unwrap_err().to_string();
        assert!(error.starts_with("damaged: "), "{error}");
    }
}
