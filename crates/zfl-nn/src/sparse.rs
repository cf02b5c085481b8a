//! Where samples are not zero.

/// For each sample the inputs that are not 0 and their bytes, in ascending
/// order.
#[derive(Clone, Copy, Debug)]
pub struct NonZero<'a> {
    starts: &'a [u32],
    indices: &'a [u16],
    values: &'a [u8],
}

impl<'a> NonZero<'a> {
    /// Those of a sample; `None` where there are fewer samples.
    #[inline(always)]
    pub(crate) fn sample(&self, sample: usize) -> Option<(&'a [u16], &'a [u8])> {
        let from = *self.starts.get(sample)? as usize;
        let to = *self.starts.get(sample + 1)? as usize;
        Some((self.indices.get(from..to)?, self.values.get(from..to)?))
    }
}

#[cfg(feature = "std")]
mod owned {
    use super::NonZero;
    use crate::{InputError, check_len};

    /// The memory of a [`NonZero`].
    #[derive(Clone, Debug, Default)]
    pub struct NonZeroBuffer {
        starts: Vec<u32>,
        indices: Vec<u16>,
        values: Vec<u8>,
    }

    impl NonZeroBuffer {
        /// Finds what is not 0 in samples of `input_count` bytes each.
        ///
        /// # Errors
        /// When the samples are not whole, have more than 65,536 inputs each,
        /// or more than 2³² in all.
        pub fn find(&mut self, samples: &[u8], input_count: usize) -> Result<(), InputError> {
            self.starts.clear();
            self.indices.clear();
            self.values.clear();
            let whole = samples.len() / input_count.max(1) * input_count;
            check_len("samples", samples.len(), whole)?;
            check_len("inputs", input_count.max(1 << 16), 1 << 16)?;
            let bound = u32::MAX as usize;
            check_len("samples", samples.len().max(bound), bound)?;
            self.starts.push(0);
            for sample in samples.chunks_exact(input_count.max(1)) {
                for (index, byte) in (0..=u16::MAX).zip(sample) {
                    if *byte != 0 {
                        self.indices.push(index);
                        self.values.push(*byte);
                    }
                }
                // Below 2³² as the samples are.
                self.starts
                    .push(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
            }
            Ok(())
        }

        /// What was found.
        pub fn view(&self) -> NonZero<'_> {
            NonZero {
                starts: &self.starts,
                indices: &self.indices,
                values: &self.values,
            }
        }

        /// Bytes that it takes.
        pub fn bytes(&self) -> usize {
            self.starts.capacity() * 4 + self.indices.capacity() * 2 + self.values.capacity()
        }
    }
}

#[cfg(feature = "std")]
pub use owned::NonZeroBuffer;
