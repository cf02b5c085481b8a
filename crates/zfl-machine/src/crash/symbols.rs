//! What an image says of its addresses: functions, lines, frames.

use std::borrow::Cow;

use addr2line::gimli::{
    self, BaseAddresses, CieOrFde, DebugFrame, Dwarf, EhFrame, EndianSlice, FrameDescriptionEntry,
    LittleEndian, UnwindContext, UnwindSection, UnwindTableRow,
};
use object::elf::{EM_ARM, FileHeader32};
use object::read::elf::{ElfFile32, FileHeader};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Names longer than this, of generic functions, are cut.
const NAME_CHARACTERS_MAX: usize = 160;

/// The processor that an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processor {
    Arm,
    RiscV,
}

/// A place in the source, as one call sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The function's name, without the compiler's hash.
    pub(super) function: String,
    file: Option<String>,
    line: Option<u32>,
}

impl Place {
    /// `file:line`, as far as it is known.
    pub(super) fn file_and_line(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        Some(match self.line {
            Some(line) => format!("{file}:{line}"),
            None => file.to_owned(),
        })
    }

    /// Whether it is in the sources of the project.
    pub(super) fn is_own(&self) -> bool {
        let is_own = |file: &str| file.starts_with("firmware/") || file.starts_with("crates/");
        self.file.as_deref().is_some_and(is_own)
    }
}

/// Why an image tells nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DebugInfoError {
    #[error("damaged: {0}")]
    Image(#[from] object::read::Error),
    #[error("without usable debug information: {0}")]
    Dwarf(#[from] gimli::Error),
}

/// Where the frames of functions are described.
enum Frames<'a> {
    /// Arm: a section that is not loaded.
    Debug(DebugFrame<Slice<'a>>),
    /// RISC-V.
    Eh(EhFrame<Slice<'a>>),
}

/// The debug information of an image.
pub(super) struct DebugInfo<'a> {
    elf: ElfFile32<'a, object::LittleEndian>,
    pub(super) processor: Processor,
    lines: addr2line::Context<Slice<'a>>,
    frames: Frames<'a>,
    bases: BaseAddresses,
    /// Where the program's code is.
    code: std::ops::Range<u32>,
    code_bytes: &'a [u8],
}

impl<'a> DebugInfo<'a> {
    pub(super) fn read(image: &'a [u8]) -> Result<Self, DebugInfoError> {
        let header = FileHeader32::<object::LittleEndian>::parse(image)?;
        let processor = match header.e_machine(object::LittleEndian) {
            EM_ARM => Processor::Arm,
            _ => Processor::RiscV,
        };
        let elf = ElfFile32::<object::LittleEndian>::parse(image)?;
        let section = |name: &str| -> (u64, &'a [u8]) {
            let found = elf.section_by_name(name);
            let data = |section: object::read::elf::ElfSection32<'a, '_, _>| {
                Some((section.address(), section.data().ok()?))
            };
            found.and_then(data).unwrap_or_default()
        };
        let slice = |name: &str| EndianSlice::new(section(name).1, LittleEndian);
        let dwarf = Dwarf::load(|id| Ok::<_, gimli::Error>(slice(id.name())))?;
        let (code_base, code_bytes) = section(".text");
        let (eh_base, eh_bytes) = section(".eh_frame");
        let frames = match eh_bytes {
            [] => {
                let mut frames = DebugFrame::new(section(".debug_frame").1, LittleEndian);
                frames.set_address_size(4);
                Frames::Debug(frames)
            }
            bytes => {
                let mut frames = EhFrame::new(bytes, LittleEndian);
                frames.set_address_size(4);
                Frames::Eh(frames)
            }
        };
        let address = |address: u64| u32::try_from(address).unwrap_or(u32::MAX);
        let code = address(code_base)..address(code_base + code_bytes.len() as u64);
        let lines = addr2line::Context::from_dwarf(dwarf)?;
        let bases = BaseAddresses::default()
            .set_eh_frame(eh_base)
            .set_text(code_base);
        Ok(Self {
            elf,
            processor,
            lines,
            frames,
            bases,
            code,
            code_bytes,
        })
    }

    /// The places of an address, from the innermost inlined function outwards.
    pub(super) fn places(&self, address: u32) -> Vec<Place> {
        let mut places = Vec::new();
        // Damaged debug information gives what it gives.
        if let addr2line::LookupResult::Output(Ok(mut frames)) =
            self.lines.find_frames(u64::from(address))
        {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.as_ref();
                let name = name.and_then(|name| name.raw_name().ok());
                let location = frame.location.as_ref();
                places.push(Place {
                    function: function_name(name.unwrap_or(Cow::Borrowed("?"))),
                    file: location.and_then(|place| place.file).map(short_path),
                    line: location.and_then(|place| place.line),
                });
            }
        }
        if places.is_empty()
            && let Some(name) = self.symbol(address)
        {
            places.push(Place {
                function: name,
                file: None,
                line: None,
            });
        }
        places
    }

    /// The function that the table of symbols has for an address.
    fn symbol(&self, address: u32) -> Option<String> {
        let address = u64::from(address);
        let symbols = self.elf.symbols();
        let functions = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text);
        // Those of Arm have the Thumb bit.
        let nearest = functions
            .filter(|symbol| symbol.address() & !1 <= address)
            .max_by_key(ObjectSymbol::address)?;
        Some(function_name(Cow::Borrowed(nearest.name().ok()?)))
    }

    /// Hands out how to find the caller's frame from `address`.
    pub(super) fn with_row<T>(
        &self,
        address: u32,
        take: impl FnOnce(&UnwindTableRow<usize>) -> T,
    ) -> Option<T> {
        match &self.frames {
            Frames::Debug(section) => self.with_row_of(section, address, take),
            Frames::Eh(section) => self.with_row_of(section, address, take),
        }
    }

    fn with_row_of<S: UnwindSection<Slice<'a>>, T>(
        &self,
        section: &S,
        address: u32,
        take: impl FnOnce(&UnwindTableRow<usize>) -> T,
    ) -> Option<T> {
        let address = u64::from(address);
        let mut entries = section.entries(&self.bases);
        while let Ok(Some(entry)) = entries.next() {
            let CieOrFde::Fde(partial) = entry else {
                continue;
            };
            let entry: FrameDescriptionEntry<Slice<'a>> = partial.parse(S::cie_from_offset).ok()?;
            // Functions that the linker left out stand at 0, where they would
            // cover those that are there.
            let is_there = u64::from(self.code.start) <= entry.initial_address();
            if !is_there || !entry.contains(address) {
                continue;
            }
            let mut context = UnwindContext::new();
            let row = entry.unwind_info_for_address(section, &self.bases, &mut context, address);
            return row.ok().map(take);
        }
        None
    }

    /// Whether `value` is what a call leaves as its return address: in the
    /// program, just behind a call.
    pub(super) fn is_return_address(&self, value: u32) -> bool {
        match self.processor {
            Processor::Arm => {
                let address = value & !1;
                let (first, second) = (self.half_word(address, 4), self.half_word(address, 2));
                // `bl`, or `blx` with a register.
                value & 1 == 1
                    && (first.is_some_and(|half| half & 0xf800 == 0xf000)
                        && second.is_some_and(|half| half & 0xd000 == 0xd000)
                        || second.is_some_and(|half| half & 0xff87 == 0x4780))
            }
            Processor::RiscV => {
                let (first, second) = (self.half_word(value, 4), self.half_word(value, 2));
                // `jal` or `jalr` that link to `ra`; `c.jalr` or `c.jal`.
                first.is_some_and(|half| half & 0x0fff == 0x00ef || half & 0x7fff == 0x00e7)
                    || second.is_some_and(|half| {
                        half & 0xf07f == 0x9002 && half & 0x0f80 != 0 || half & 0xe003 == 0x2001
                    })
            }
        }
    }

    /// Two bytes of the program, so many before an address in it.
    fn half_word(&self, address: u32, before: u32) -> Option<u16> {
        if !self.code.contains(&address) || !address.is_multiple_of(2) {
            return None;
        }
        let offset = address.checked_sub(before)?.checked_sub(self.code.start)?;
        let offset = usize::try_from(offset).ok()?;
        let bytes = self.code_bytes.get(offset..offset.checked_add(2)?)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// A function's name for people.
fn function_name(raw: Cow<'_, str>) -> String {
    // The alternative form leaves the hash out.
    let name = format!("{:#}", rustc_demangle::demangle(&raw));
    match name.char_indices().nth(NAME_CHARACTERS_MAX) {
        Some((index, _)) => format!("{}…", name.get(..index).unwrap_or_default()),
        None => name,
    }
}

/// A source path without what is this machine's alone.
pub(super) fn short_path(path: &str) -> String {
    let path = path.replace('\\', "/");
    // The registry and the compiler name their folders by a hash.
    for (mark, skipped) in [("/registry/src/", 1), ("/rustc/", 1), ("/library/", 0)] {
        if let Some((_, rest)) = path.rsplit_once(mark) {
            let mut rest = rest;
            for _ in 0..skipped {
                rest = rest.split_once('/').map_or(rest, |(_, rest)| rest);
            }
            return rest.strip_prefix("library/").unwrap_or(rest).to_owned();
        }
    }
    let own = ["/firmware/", "/crates/"].map(|folder| path.rfind(folder));
    if let Some(own) = own.into_iter().max().flatten() {
        return path.get(own + 1..).unwrap_or_default().to_owned();
    }
    // What the compiler of the firmware calls its own folder.
    if path.starts_with("zfl-firmware/") {
        return format!("firmware/{path}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_any_machine() {
        for (path, expected) in [
            (
                "/home/me/zfl/firmware/zfl-firmware/src/learn.rs",
                "firmware/zfl-firmware/src/learn.rs",
            ),
            (
                "zfl-firmware/src/learn.rs",
                "firmware/zfl-firmware/src/learn.rs",
            ),
            (
                "/home/me/zfl/firmware/../crates/zfl-nn/src/kernel.rs",
                "crates/zfl-nn/src/kernel.rs",
            ),
            (
                "/rustc/59807616e1fa/library/core/src/panicking.rs",
                "core/src/panicking.rs",
            ),
            (
                "/home/me/.rustup/toolchains/s/lib/rustlib/src/rust/library/core/src/ptr/mod.rs",
                "core/src/ptr/mod.rs",
            ),
            (
                "/home/me/.cargo/registry/src/index.crates.io-1949/embassy-net-0.7.0/src/lib.rs",
                "embassy-net-0.7.0/src/lib.rs",
            ),
            ("src/lib.rs", "src/lib.rs"),
        ] {
            assert_eq!(short_path(path), expected);
        }
    }

    #[test]
    fn names_are_demangled_and_bounded() {
        let name = |raw: &'static str| function_name(Cow::Borrowed(raw));
        assert_eq!(
            name("_ZN12zfl_firmware5fault5crash17h0123456789abcdefE"),
            "zfl_firmware::fault::crash"
        );
        assert_eq!(name("Reset"), "Reset");
        let long: &'static str = Box::leak("é".repeat(200).into_boxed_str());
        assert_eq!(name(long).chars().count(), NAME_CHARACTERS_MAX + 1);
    }

    #[test]
    fn what_is_no_image_is_told() {
        let error = |image: &[u8]| DebugInfo::read(image).err().unwrap().to_string();
        assert!(error(b"").starts_with("damaged: "), "{}", error(b""));
        assert!(error(b"\x7fELFxxxx").starts_with("damaged: "));
    }
}
