//! The 8×8 digits embedded in this crate.
//!
//! 1,797 images of handwritten digits, values 0 to 16: the test part of
//! *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak, UCI
//! Machine Learning Repository, 1998, CC BY 4.0 (`data/digits/ATTRIBUTION.md`).
//!
//! The writers follow one another in the file, so a split that did not shuffle
//! would test on other hands than it trained on. [`load`] shuffles by seed.

use crate::dataset::{Dataset, TrainTest};
use crate::folder::{self, LoadError};
use crate::idx::{self, Content, Limits};

/// The name this data set goes by.
pub const NAME: &str = "digits";

/// The share of the samples that [`load`] is usually asked to keep for testing.
pub const TEST_FRACTION_DEFAULT: f64 = 0.2;

/// The classes: the digits 0 to 9.
pub const CLASS_COUNT: usize = 10;

/// The values reach from 0 to 16.
const VALUE_SCALE: f32 = 1.0 / 16.0;

const IMAGES: &[u8] = include_bytes!("../data/digits/digits-images-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../data/digits/digits-labels-idx1-ubyte.gz");

/// All 1,797 digits in the order of the file.
///
/// # Errors
/// None unless the embedded files are damaged, which a test rules out.
pub fn whole() -> Result<Dataset, LoadError> {
    let images = idx::read(
        IMAGES,
        "embedded digits-images-idx3-ubyte.gz",
        Content::Images,
        Limits::default(),
    )?;
    let labels_name = "embedded digits-labels-idx1-ubyte.gz";
    let labels = idx::read(LABELS, labels_name, Content::Labels, Limits::default())?;
    folder::join(
        folder::Joined {
            name: NAME,
            origin: "embedded",
            images_file: "embedded digits-images-idx3-ubyte.gz",
            labels_file: labels_name,
            class_count: CLASS_COUNT,
            value_scale: VALUE_SCALE,
        },
        images,
        labels,
    )
}

/// The digits, shuffled by `seed` and split; see [`Dataset::split_test`].
///
/// # Errors
/// [`LoadError::Dataset`] if `test_fraction` leaves a part empty.
pub fn load(seed: u64, test_fraction: f64) -> Result<TrainTest, LoadError> {
    Ok(whole()?.split_test(seed, test_fraction)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::fetch::hexadecimal;

    #[test]
    fn the_embedded_files_are_the_published_ones() {
        for (packed, sha256) in [
            (
                IMAGES,
                "359cd13f0f514122884198b78a131df597421cbf5e93a76678fa96fc548f0d96",
            ),
            (
                LABELS,
                "ce71631c1f31ce56fa54f31d1d498fafacff59b001e6c30c4a5e29508aa277ad",
            ),
        ] {
            let mut content = Vec::new();
            GzDecoder::new(packed).read_to_end(&mut content).unwrap();
            assert_eq!(hexadecimal(&Sha256::digest(&content)), sha256);
        }
    }

    #[test]
    fn the_digits_are_what_is_said_of_them() {
        let digits = whole().unwrap();
        assert_eq!(digits.sample_count(), 1797);
        assert_eq!(digits.sample_shape(), [8, 8]);
        assert_eq!(digits.input_count(), 64);
        assert_eq!(digits.class_count(), 10);
        assert_eq!(digits.value_range(), (0, 16));
        assert_eq!(digits.value_scale(), 0.0625);
        assert_eq!(
            digits.label_counts(),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        );
        assert_eq!(digits.labels()[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    }

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_default_split_is_pinned() {
        let TrainTest { train, test } = load(1, TEST_FRACTION_DEFAULT).unwrap();
        assert_eq!((train.sample_count(), test.sample_count()), (1438, 359));
        let mut hash = Sha256::new();
        hash.update(train.samples());
        hash.update(train.labels());
        hash.update(test.samples());
        hash.update(test.labels());
        assert_eq!(
            hexadecimal(&hash.finalize()),
            "934c0d6ad58846c809c940ff809ddafc66834207a748676e345048fb490a3bb2"
        );
    }

    /// Every class reaches both parts in fair number.
    #[test]
    fn the_split_is_mixed() {
        for seed in 0..20 {
            let test = load(seed, TEST_FRACTION_DEFAULT).unwrap().test;
            for count in test.label_counts() {
                assert!((18..=56).contains(&count), "seed {seed}: {count}");
            }
        }
    }
}
