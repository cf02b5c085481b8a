//! Where samples are not zero.

/// For each sample the inputs that are not 0 and what they stand for, in
/// ascending order.
#[derive(Clone, Copy, Debug)]
pub struct NonZero<'a, V = f32> {
    starts: &'a [u32],
    entries: &'a [Entry<V>],
}

/// An input that is not 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry<V> {
    pub(crate) index: u32,
    pub(crate) value: V,
}

impl<'a, V> NonZero<'a, V> {
    /// Those of a sample; `None` where there are fewer samples.
    #[inline(always)]
    pub(crate) fn sample(&self, sample: usize) -> Option<&'a [Entry<V>]> {
        let from = *self.starts.get(sample)? as usize;
        let to = *self.starts.get(sample + 1)? as usize;
        self.entries.get(from..to)
    }
}

/// Bytes looked at together.
const GROUP: usize = 8;

/// Lists what is not 0 in a sample from the beginning of `entries` on; how many
/// there are. Where there is room for fewer than one more, the last are lost.
#[inline(always)]
pub(crate) fn list<V>(sample: &[u8], value: impl Fn(u8) -> V, entries: &mut [Entry<V>]) -> usize {
    let mut count = 0;
    let mut first = 0;
    for group in sample.chunks(GROUP) {
        if group.iter().any(|byte| *byte != 0) {
            for (index, byte) in (first..).zip(group) {
                // Written before it is known to count: nobody can foresee it.
                if let Some(entry) = entries.get_mut(count) {
                    *entry = Entry {
                        index,
                        value: value(*byte),
                    };
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
    use crate::{InputError, ValueTable, check_len};

    /// The memory of a [`NonZero`].
    #[derive(Clone, Debug, Default)]
    pub struct NonZeroBuffer {
        starts: Vec<u32>,
        entries: Vec<Entry<f32>>,
    }

    impl NonZeroBuffer {
        /// Finds what is not 0 in samples of `input_count` bytes each, which
        /// stand for what `table` says.
        ///
        /// # Errors
        /// When the samples are not whole, or have more than 2³² inputs in all.
        pub fn find(
            &mut self,
            samples: &[u8],
            input_count: usize,
            table: &ValueTable<f32>,
        ) -> Result<(), InputError> {
            self.starts.clear();
            let input_count = input_count.max(1);
            let whole = samples.len() / input_count * input_count;
            check_len("samples", samples.len(), whole)?;
            let bound = u32::MAX as usize;
            check_len("samples", samples.len().max(bound), bound)?;
            let total = samples.iter().filter(|byte| **byte != 0).count();
            // One more, as each byte is written before it is known to count.
            self.entries.resize(total + 1, Entry::default());
            let mut count = 0;
            self.starts.push(0);
            for sample in samples.chunks_exact(input_count) {
                let room = self.entries.get_mut(count..).unwrap_or_default();
                count += list(sample, |byte| table.value(byte), room);
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
            self.starts.capacity() * 4 + self.entries.capacity() * size_of::<Entry<f32>>()
        }
    }
}

#[cfg(feature = "std")]
pub use owned::NonZeroBuffer;
