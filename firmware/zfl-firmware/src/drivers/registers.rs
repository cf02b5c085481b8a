//! A block of device registers, mostly of 32 bits.

use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// A device's registers, by byte offset from its base address.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    base: usize,
}

impl Registers {
    /// The registers at `base`.
    ///
    /// # Safety
    /// A device must lie at `base`, so large that every offset which its
    /// driver uses is a register of it, and reading or writing those must
    /// change no memory that Rust knows of.
    pub(super) const unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    #[inline]
    pub(super) fn read(self, offset: usize) -> u32 {
        // SAFETY: `new` was promised a device with a register here.
        unsafe { with_exposed_provenance::<u32>(self.base + offset).read_volatile() }
    }

    #[inline]
    pub(super) fn write(self, offset: usize, value: u32) {
        // SAFETY: `new` was promised a device with a register here.
        unsafe { with_exposed_provenance_mut::<u32>(self.base + offset).write_volatile(value) }
    }

    /// A register of 8 bits.
    #[cfg(feature = "virt")]
    #[inline]
    pub(super) fn read_byte(self, offset: usize) -> u8 {
        // SAFETY: `new` was promised a device with a register here.
        unsafe { with_exposed_provenance::<u8>(self.base + offset).read_volatile() }
    }

    /// A register of 8 bits.
    #[cfg(feature = "virt")]
    #[inline]
    pub(super) fn write_byte(self, offset: usize, value: u8) {
        // SAFETY: `new` was promised a device with a register here.
        unsafe { with_exposed_provenance_mut::<u8>(self.base + offset).write_volatile(value) }
    }
}
