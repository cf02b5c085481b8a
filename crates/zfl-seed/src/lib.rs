//! Seeded random streams: one run seed, a stream for every purpose.
//!
//! A run has a single seed. Each random choice draws from the ChaCha8 stream
//! named by what the choice is for, whose it is and in which round it falls,
//! so that a new consumer never shifts the numbers of another. Bounded
//! integers and shuffles are defined here, not taken from a distribution
//! crate, so that an upgrade of a dependency cannot change a run.
#![cfg_attr(not(test), no_std)]

use chacha20::ChaCha8Rng;
use core::convert::Infallible;

use chacha20::rand_core::{Rng, SeedableRng, TryRng};

/// What a random choice is for. The numbers are part of the format of a run:
/// never reuse or renumber one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Purpose {
    /// Which sample goes to the training or the test part, and to which client.
    Partition = 1,
    /// Which clients take part in a round.
    Selection = 2,
    /// The global model before round 1.
    InitialWeights = 3,
    /// The order in which a client visits its samples.
    BatchOrder = 4,
    /// MAC addresses of the fleet.
    MacAddress = 5,
    /// Split of a data set into training and test part.
    TestSplit = 6,
    /// How weights are rounded to fixed point.
    Rounding = 7,
    /// What a link does to the frames of a device.
    Link = 8,
    /// Noise on the inputs of a client.
    FeatureNoise = 9,
    /// Where in its duty cycle a client begins.
    FaultAvailability = 32,
    /// Whether a client drops out before a round; the following likewise.
    FaultDropOutBefore = 33,
    /// Drops out while it trains.
    FaultDropOutDuring = 34,
    /// Drops out when it has trained.
    FaultDropOutAfter = 35,
    /// Ends for good.
    FaultCrash = 36,
    /// Stands still for good.
    FaultHang = 37,
    /// Ends and starts anew.
    FaultReboot = 38,
    /// Trains more slowly.
    FaultSlowDown = 39,
    /// Loses its link for a while.
    FaultBrownOut = 40,
    /// Sends parameters that are meant to harm.
    FaultPoison = 41,
    /// Sends parameters that are no numbers.
    FaultNan = 42,
    /// Sends a part of its update.
    FaultTruncate = 43,
    /// Sends its update twice.
    FaultDuplicate = 44,
    /// Sends its update late.
    FaultLate = 45,
    /// The values of poisoned parameters.
    FaultPoisonValues = 46,
    /// The experiments of a campaign of faults.
    FaultCampaign = 47,
    /// Which combinations a sweep tries, and in which order.
    SweepSearch = 64,
    /// Combinations in which the values of a sweep's parameters are checked.
    SweepCheck = 65,
}

/// A stream of random numbers.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `purpose` for the participant `id` (0 where the choice is
    /// the coordinator's own).
    pub fn new(seed: u64, purpose: Purpose, id: u32) -> Self {
        Self::for_round(seed, purpose, id, 0)
    }

    /// The stream of `purpose` for the participant `id` in one round.
    pub fn for_round(seed: u64, purpose: Purpose, id: u32, round: u32) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..12].copy_from_slice(&round.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream((u64::from(purpose as u16) << 32) | u64::from(id));
        Self(rng)
    }

    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A uniform integer in `0..bound`; 0 when `bound` is 0.
    ///
    /// Multiply-shift with rejection: D. Lemire, *Fast Random Integer
    /// Generation in an Interval*, ACM TOMACS 29(1), 2019, algorithm 5.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            let [low, high] = halves(product);
            if low >= threshold {
                return high;
            }
        }
    }

    /// A uniform number in `[0, 1)`, a multiple of 2⁻²⁴.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit a f32 exactly")]
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Shuffles in place (Fisher–Yates, from the end).
    ///
    /// Slices longer than `u32::MAX` keep their tail in place; nothing here is
    /// that long.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        for last in (1..count).rev() {
            let chosen = self.below(last + 1);
            items.swap(last as usize, chosen as usize);
        }
    }
}

/// For libraries that draw by themselves.
impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

/// The low and the high half of a product.
#[expect(clippy::cast_possible_truncation, reason = "halves of a u64")]
const fn halves(product: u64) -> [u32; 2] {
    [product as u32, (product >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gives_the_same_numbers() {
        let draw = |seed, purpose, id, round| {
            let mut stream = Stream::for_round(seed, purpose, id, round);
            [stream.next_u32(), stream.next_u32()]
        };
        let reference = draw(7, Purpose::BatchOrder, 3, 5);
        assert_eq!(reference, draw(7, Purpose::BatchOrder, 3, 5));
        for other in [
            draw(8, Purpose::BatchOrder, 3, 5),
            draw(7, Purpose::Selection, 3, 5),
            draw(7, Purpose::BatchOrder, 4, 5),
            draw(7, Purpose::BatchOrder, 3, 6),
        ] {
            assert_ne!(reference, other);
        }
    }

    /// The format of every run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_numbers_are_pinned() {
        let mut stream = Stream::new(1, Purpose::Partition, 0);
        let drawn: [u32; 4] = core::array::from_fn(|_| stream.below(1000));
        let mut items: [u8; 8] = core::array::from_fn(|i| i as u8);
        stream.shuffle(&mut items);
        assert_eq!(drawn, [170, 481, 425, 757]);
        assert_eq!(items, [3, 4, 6, 1, 5, 0, 2, 7]);
    }

    #[test]
    fn a_bounded_draw_is_uniform() {
        let mut stream = Stream::new(9, Purpose::Partition, 0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        for count in counts {
            assert!((9_600..10_400).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn a_shuffle_permutes() {
        let mut items: Vec<u32> = (0..1000).collect();
        Stream::new(1, Purpose::BatchOrder, 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
