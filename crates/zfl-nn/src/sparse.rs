//! Where samples are not zero.

/// For each sample the inputs that are not 0, in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct NonZero<'a> {
    starts: &'a [u32],
    entries: &'a [Entry],
}

/// An input that is not 0: where it is, and its byte. In four bytes, so that
/// the lists of a client's samples fit the processor's second cache.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry(u32);

impl Entry {
    /// Inputs of a sample that can be told apart.
    #[cfg(feature = "std")]
    pub(crate) const INPUTS_MAX: usize = 1 << 24;

    #[inline(always)]
    pub(crate) fn new(index: u32, byte: u8) -> Self {
        Self(index << 8 | u32::from(byte))
    }

    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        (self.0 >> 8) as usize
    }

    #[inline(always)]
    pub(crate) fn byte(self) -> u8 {
        self.0 as u8
    }
}

impl<'a> NonZero<'a> {
    /// Those of a sample; `None` where there are fewer samples.
    #[inline(always)]
    pub(crate) fn sample(&self, sample: usize) -> Option<&'a [Entry]> {
        let from = *self.starts.get(sample)? as usize;
        let to = *self.starts.get(sample + 1)? as usize;
        self.entries.get(from..to)
    }
}

/// Bytes looked at together.
const GROUP: usize = 8;

/// Lists what is not 0 in a sample, of at most 2²⁴ bytes, from
/// the beginning of `entries` on; how many there are. Where there is room for
/// fewer than one more, the last are lost.
#[inline(always)]
pub(crate) fn list(sample: &[u8], entries: &mut [Entry]) -> usize {
    let mut count = 0;
    let mut first = 0;
    for group in sample.chunks(GROUP) {
        if group.iter().any(|byte| *byte != 0) {
            for (index, byte) in (first..).zip(group) {
                // Written before it is known to count: nobody can foresee it.
                if let Some(entry) = entries.get_mut(count) {
                    *entry = Entry::new(index, *byte);
                }
                count += usize::from(*byte != 0);
            }
        }
        first = first.wrapping_add(GROUP as u32);
    }
    count
}

#[cfg(feature = "std")]
mod owned {
    use super::{Entry, NonZero, list};
    use crate::{InputError, check_len};

    /// The memory of a [`NonZero`].
    #[derive(Clone, Debug, Default)]
    pub struct NonZeroBuffer {
        starts: Vec<u32>,
        entries: Vec<Entry>,
    }

    impl NonZeroBuffer {
        /// Finds what is not 0 in samples of `input_count` bytes each.
        ///
        /// # Errors
        /// When the samples are not whole, have more than 2²⁴ inputs each or
        /// 2³² in all.
        pub fn find(&mut self, samples: &[u8], input_count: usize) -> Result<(), InputError> {
            self.starts.clear();
            let input_count = input_count.max(1);
            let whole = samples.len() / input_count * input_count;
            check_len("samples", samples.len(), whole)?;
            for (len, bound) in [
                (samples.len(), u32::MAX as usize),
                (input_count, Entry::INPUTS_MAX),
            ] {
                check_len("samples", len.max(bound), bound)?;
            }
            let total = samples.iter().filter(|byte| **byte != 0).count();
            // One more, as each byte is written before it is known to count.
            self.entries.resize(total + 1, Entry::default());
            let mut count = 0;
            self.starts.push(0);
            for sample in samples.chunks_exact(input_count) {
                let room = self.entries.get_mut(count..).unwrap_or_default();
                count += list(sample, room);
                // Below 2³² as the samples are.
                self.starts.push(u32::try_from(count).unwrap_or(u32::MAX));
            }
            Ok(())
        }

        /// What was found.
        pub fn view(&self) -> NonZero<'_> {
            NonZero {
                starts: &self.starts,
                entries: &self.entries,
            }
        }

        /// Bytes that it takes.
        pub fn bytes(&self) -> usize {
            self.starts.capacity() * 4 + self.entries.capacity() * size_of::<Entry>()
        }
    }
}

#[cfg(feature = "std")]
pub use owned::NonZeroBuffer;
