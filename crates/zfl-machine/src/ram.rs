//! The RAM of a machine that outlives the machine.
//!
//! It is memory of this process without a name in any file system
//! (`memfd_create(2)`), which an emulator takes as the RAM of its machine. So
//! the next one finds what the one before had left, however that ended, and
//! with the last holder it is gone.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::board::Region;

/// The RAM of a machine that outlives the machine; every clone is the same.
/// Costs nothing before it is touched.
#[derive(Clone, Debug)]
pub struct Ram {
    memory: Arc<OwnedFd>,
    size_bytes: u32,
}

impl Ram {
    /// RAM that is as large as `region`, all zero.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(region: Region) -> io::Result<Self> {
        let memory = memfd_create("zfl-ram", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, region.size_bytes.into())?;
        Ok(Self {
            memory: Arc::new(memory),
            size_bytes: region.size_bytes,
        })
    }

    /// The emulator's argument for it, under the name `id`. It opens the memory
    /// by this process, which has it open for as long.
    pub(crate) fn object(&self, id: &str) -> String {
        format!(
            "memory-backend-file,id={id},size={},share=on,mem-path=/proc/{}/fd/{}",
            self.size_bytes,
            std::process::id(),
            self.memory.as_raw_fd()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    fn open(ram: &Ram) -> File {
        let object = ram.object("x");
        let (rest, path) = object.split_once(",mem-path=").unwrap();
        assert_eq!(rest, "memory-backend-file,id=x,size=2147483648,share=on");
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    }

    #[test]
    fn what_one_has_left_the_next_finds() {
        let region = Region {
            base: 0x6000_0000,
            size_bytes: 1 << 31,
        };
        let ram = Ram::new(region).unwrap();
        let mut first = open(&ram);
        assert_eq!(first.metadata().unwrap().len(), 1 << 31);
        first.seek(SeekFrom::Start(1 << 30)).unwrap();
        first.write_all(b"share").unwrap();
        drop(first);
        let mut next = open(&ram.clone());
        next.seek(SeekFrom::Start((1 << 30) - 1)).unwrap();
        let mut found = [0xff; 7];
        next.read_exact(&mut found).unwrap();
        assert_eq!(&found, b"\0share\0");
        // Another machine's is its own.
        let mut other = open(&Ram::new(region).unwrap());
        other.seek(SeekFrom::Start(1 << 30)).unwrap();
        other.read_exact(&mut found).unwrap();
        assert_eq!(found, [0; 7]);
    }
}
