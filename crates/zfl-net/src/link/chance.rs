//! What a link leaves to chance.

use core::fmt;

use zfl_seed::Stream;

use super::LinkOptions;

/// How often something happens: once in so many 2³²-ths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Probability(u64);

impl Probability {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It always does.
    pub const ALWAYS: Self = Self(1 << 32);

    /// The nearest multiple of 2⁻³²; below 0 is never, above 1 always.
    pub fn new(probability: f64) -> Self {
        const ONE: f64 = (1u64 << 32) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^32; what is no number is 0"
        )]
        let parts = (probability.clamp(0.0, 1.0) * ONE).round() as u64;
        Self(parts)
    }

    /// Whether it happens, for uniform bits.
    fn happens(self, draw: u32) -> bool {
        u64::from(draw) < self.0
    }
}

impl fmt::Debug for Probability {
    #[expect(clippy::cast_precision_loss, reason = "33 bits fit exactly")]
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&(self.0 as f64 / Self::ALWAYS.0 as f64), formatter)
    }
}

/// Loss in bursts: the model of Gilbert and Elliott.
///
/// A Markov chain of two states changes, or not, before each frame. Outside of
/// a burst a frame is lost as often as [`LinkOptions::loss`] says, in a burst
/// as often as [`Self::loss`]. (E. N. Gilbert, *Capacity of a Burst-Noise
/// Channel*, Bell System Technical Journal 39(5), 1960; E. O. Elliott,
/// *Estimates of Error Rates for Codes on Burst-Noise Channels*, BSTJ 42(5),
/// 1963.) A burst lasts 1 ÷ `end` frames on the average, and `begin` ÷ (`begin`
/// + `end`) of all frames fall into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstLoss {
    /// How often a frame begins a burst, outside of one.
    pub begin: Probability,
    /// How often a frame ends a burst, in one.
    pub end: Probability,
    /// How often a frame is lost in a burst.
    pub loss: Probability,
}

/// A link's random numbers and what they depend on.
pub(super) struct Chance {
    stream: Stream,
    is_burst: bool,
}

/// What is drawn for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draws {
    pub(super) is_lost: bool,
    /// Uniform bits that choose which bit is changed, if one is.
    pub(super) corrupt: Option<u32>,
    pub(super) jitter: u32,
    /// The jitter of a copy, if there is one.
    pub(super) copy_jitter: Option<u32>,
}

impl Chance {
    /// A link is outside of a burst at first.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            is_burst: false,
        }
    }

    /// Draws for the next frame: always as many numbers, whatever the link does
    /// with them.
    pub(super) fn draw(&mut self, options: &LinkOptions) -> Draws {
        let [
            burst,
            loss,
            corrupt,
            position,
            duplicate,
            jitter,
            copy_jitter,
            _spare,
        ]: [u32; 8] = core::array::from_fn(|_| self.stream.next_u32());
        if let Some(bursts) = options.burst_loss {
            let change = match self.is_burst {
                true => bursts.end,
                false => bursts.begin,
            };
            self.is_burst ^= change.happens(burst);
        }
        let lost = match options.burst_loss {
            Some(bursts) if self.is_burst => bursts.loss,
            _ => options.loss,
        };
        Draws {
            is_lost: lost.happens(loss),
            corrupt: options.corrupt.happens(corrupt).then_some(position),
            jitter,
            copy_jitter: options.duplicate.happens(duplicate).then_some(copy_jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_is_certain() {
        for draw in [0, 1, u32::MAX / 2, u32::MAX] {
            assert!(Probability::ALWAYS.happens(draw));
            assert!(!Probability::NEVER.happens(draw));
        }
        assert_eq!(Probability::new(1.0), Probability::ALWAYS);
        assert_eq!(Probability::new(0.0), Probability::NEVER);
        assert_eq!(Probability::new(f64::NAN), Probability::NEVER);
        assert_eq!(Probability::new(7.0), Probability::ALWAYS);
        assert!(Probability::new(0.5).happens(u32::MAX / 2));
        assert!(!Probability::new(0.5).happens(u32::MAX / 2 + 1));
    }
}
