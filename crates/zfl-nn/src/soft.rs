//! Single-precision arithmetic in integers, for processors without an FPU.
//!
//! What the inner loops do, `total += value * x` over a tile with one `value`,
//! made to be inlined there. The bits are those of `total + value * x` with
//! IEEE-754's rounding to nearest, ties to even, twice: of the product and of
//! the sum. Only what a NaN carries may differ.
//!
//! The compiler's routines unpack two numbers, round, and pack the result, for
//! the product and again for the sum: about 130 instructions on a Cortex-M3.
//! Here one step is about 35, since
//!
//! - `value` is unpacked once for the tile ([`Factor`]);
//! - the rounded product is never packed: it stays an integer, and its
//!   exponent is known only as the distance to the exponent of the total;
//! - as long as the sum keeps sign and exponent of the total, adding is one
//!   multiplication by a power of two (which is the shift and the sign) and
//!   one 64-bit addition *to the packed total*;
//! - whether the numbers are in the range where all this holds is told by one
//!   comparison at the end. What it rests on is prepared for whichever of the
//!   two arrays outlives a row: the totals ([`Sums`]) or what is added to them
//!   ([`Addends`]).
//!
//! Where sign or exponent change, [`realign`] finishes the sum out of line;
//! zeros, subnormal numbers, infinities, NaNs and whatever comes close to them
//! go to [`general`] and from there to the compiler's routines.
//!
//! The module compiles everywhere and is worth using where [`FASTER`] says so.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "used on processors without an FPU only"
)]

use core::hint::black_box;
use core::num::NonZeroU32;

/// Whether the target computes `f32` in software.
pub(crate) const FASTER: bool = cfg!(software_float);

/// The bit left of a mantissa's 23 stored ones.
const LEADING_ONE: u32 = 1 << 23;
/// The sign of a packed number.
const SIGN: u32 = 1 << 31;
/// The sign in the top nine bits of a packed number.
const HEAD_SIGN: u32 = 1 << 8;

/// Added to all distances to keep them positive, signs included.
const BIAS: u32 = 1024;
/// The bit of a distance that [`OUTSIDE`] numbers set, and no others.
const OUTSIDE_BIT: u32 = 1 << 11;
/// Stands for the top nine bits of a number that is not in the [middle].
///
/// [middle]: is_middle
const OUTSIDE: u32 = OUTSIDE_BIT;
/// Bits of a distance of which none may be set for the inlined addition: the
/// sum is of numbers from the middle, and the product's last place is worth
/// 2⁻² to 2⁻³³ last places of the total.
const REFUSED: u32 = OUTSIDE_BIT | 0xe0;

/// What a product is multiplied with to add it to a packed total that has 32
/// bits of fraction, by the low nine bits of the distance: 2^(30 − n) at n,
/// its negative at 256 + n.
static MULTIPLIERS: [i32; 512] = {
    let mut table = [0; 512];
    let mut n = 0;
    while n <= 30 {
        table[n] = 1 << (30 - n);
        table[256 + n] = -(1 << (30 - n));
        n += 1;
    }
    table
};

/// Whether 2⁻⁶³ ≤ |number| < 2⁶⁵: products and sums of such a total with
/// something of similar size are normal numbers.
#[inline(always)]
fn is_middle(bits: u32) -> bool {
    (bits ^ (bits << 1)) & (1 << 30) != 0
}

/// The top nine bits, sign and exponent, of a number from the middle.
#[inline(always)]
fn head(bits: u32) -> u32 {
    if is_middle(bits) { bits >> 23 } else { OUTSIDE }
}

/// One value, unpacked to be multiplied with many.
///
/// The fields go through `black_box` once per tile: what the compiler knows of
/// their ranges makes it choose longer code in the loop (constants that no
/// instruction can hold, unsigned multiplications with a correction), and it
/// would form the address of the table anew in every step.
#[derive(Clone, Copy)]
struct Factor {
    /// With its leading one, shifted left by one.
    mantissa: u32,
    /// The top nine bits, less what makes a distance of them.
    head: u32,
    multipliers: &'static [i32; 512],
}

impl Factor {
    /// None unless 2⁻³² ≤ |value| < 2³⁰. With wider bounds, distances whose
    /// low eight bits wrapped around could pass for near ones.
    #[inline(always)]
    fn new(value: f32) -> Option<Self> {
        let bits = value.to_bits();
        if !(127 - 32..127 + 30).contains(&exponent(bits)) {
            return None;
        }
        Some(Self {
            mantissa: black_box(mantissa(bits) << 1),
            // A distance of 0 is one of two binary places.
            head: black_box((bits >> 23).wrapping_sub(127 - 2 + BIAS)),
            multipliers: black_box(&MULTIPLIERS),
        })
    }
}

/// One step: `Ok` with sign and exponent of the total, or any other sum.
///
/// `x_mantissa` has the leading one as its top bit. One of the heads is from
/// [`head`]; the other may be the top nine bits of anything.
#[inline(always)]
fn step(
    total: u32,
    total_head: u32,
    x_mantissa: u32,
    x_head: u32,
    factor: Factor,
    general: impl FnOnce() -> u32,
) -> Result<u32, u32> {
    // In the low eight bits, how far the product's last place is below the
    // total's, less 2; in bit 8 whether the signs differ.
    let distance = total_head.wrapping_sub(x_head).wrapping_sub(factor.head);
    // 24 bits and a fraction of 32, or 25 bits of which the last is the first
    // of the fraction. Ties show as a fraction of 0 after the half is added
    // (for 25 bits, so do other products without a fraction).
    let exact = u64::from(factor.mantissa) * u64::from(x_mantissa);
    let is_25_bits = (exact >> 56) as u32;
    let half = (u64::from(is_25_bits) << 32) | u64::from((is_25_bits << 31) ^ SIGN);
    let rounded = exact.wrapping_add(half);
    let product = (rounded >> 32) as u32 & !is_25_bits;
    let multiplier = factor.multipliers[(distance & 0x1ff) as usize];
    let addend = i64::from(product as i32) * i64::from(multiplier);
    let sum = ((i64::from(total) << 32) | (1 << 31)).wrapping_add(addend);
    let high = (sum >> 32) as u32;
    if rounded as u32 == 0 {
        return Err(general());
    }
    // After a subtraction, less 1: a mantissa of all zeros may be one that was
    // rounded up to it from the exponent below, where rounding is finer.
    let least = high.wrapping_add_signed(multiplier >> 31);
    if (distance & REFUSED) | ((least ^ total) >> 23) != 0 {
        let near = distance.wrapping_add(NEAR);
        return Err(if near & (OUTSIDE_BIT | 0xc0) == 0 {
            realign(total, product, near)
        } else {
            general()
        });
    }
    Ok(if sum as u32 == 0 { high & !1 } else { high })
}

/// Added to a distance for [`realign`].
const NEAR: u32 = 30;

/// The sum of a total and a product whose exponents are close.
///
/// `near` says by how many binary places, −28 to 35, the product's last place
/// is below the total's: plus 28 in the low eight bits; bit 8 says whether the
/// signs differ. All sums are normal numbers or 0, since the total is from the
/// middle (which it also is where the product is known to be).
#[inline(never)]
fn realign(total: u32, product: u32, near: u32) -> u32 {
    let below = (near & 0xff) as i32 - 28;
    let differ = near & HEAD_SIGN;
    // Six more places are enough: where bits are lost to them, the sum has
    // at most one place less than the larger number.
    let (mut larger, mut smaller) = (mantissa(total) << 6, product << 6);
    let (mut head, mut shift) = (total >> 23, below as u32);
    if below < 0 {
        (larger, smaller) = (smaller, larger);
        shift = below.unsigned_abs();
        head = (head + shift) ^ differ;
    }
    let shift = shift.min(31);
    let mut shifted = smaller >> shift;
    if shifted << shift != smaller {
        shifted |= 1;
    }
    let sum = if differ == 0 {
        larger + shifted
    } else if larger >= shifted {
        larger - shifted
    } else {
        head ^= HEAD_SIGN;
        shifted - larger
    };
    let Some(sum) = NonZeroU32::new(sum) else {
        return 0;
    };
    let zeros = sum.leading_zeros();
    (head + 1)
        .wrapping_sub(zeros)
        .wrapping_shl(23)
        .wrapping_add(round(sum.get() << zeros))
}

/// `total + value * x` of whatever numbers, as their bits (for as long as these
/// came from a float in sight, the compiler turns comparisons into its
/// routines for floats).
#[cold]
#[inline(never)]
fn general(total: u32, value: u32, x: u32) -> u32 {
    if x << 1 == 0 && is_middle(total) && exponent(value) != 0xff {
        return total;
    }
    multiply_normal(value, x)
        .and_then(|product| add_normal(total, product))
        .unwrap_or_else(|| by_compiler(total, value, x))
}

#[cold]
#[inline(never)]
fn by_compiler(total: u32, value: u32, x: u32) -> u32 {
    (f32::from_bits(total) + f32::from_bits(value) * f32::from_bits(x)).to_bits()
}

#[inline(always)]
fn exponent(bits: u32) -> u32 {
    (bits >> 23) & 0xff
}

/// Of a normal number, 24 bits.
#[inline(always)]
fn mantissa(bits: u32) -> u32 {
    (bits & (LEADING_ONE - 1)) | LEADING_ONE
}

#[inline(always)]
fn is_normal(bits: u32) -> bool {
    exponent(bits).wrapping_sub(1) < 254
}

/// Rounds 32 bits, the top one set, to 24; the result may be 2²⁴.
#[inline(always)]
fn round(bits: u32) -> u32 {
    let rounded = (bits >> 8) + ((bits >> 7) & 1);
    if bits & 0xff == 0x80 {
        rounded & !1
    } else {
        rounded
    }
}

/// The product of two normal numbers, where it surely is one.
#[inline(always)]
fn multiply_normal(a: u32, b: u32) -> Option<u32> {
    if !is_normal(a) || !is_normal(b) {
        return None;
    }
    let exact = u64::from(mantissa(a) << 8) * u64::from(mantissa(b) << 8);
    let is_47_bits = 1 - (exact >> 63) as u32;
    let exact = exact << is_47_bits;
    let high = (exact >> 32) as u32 | u32::from(exact as u32 != 0);
    // Less one, which the mantissa adds.
    let exponent = (exponent(a) + exponent(b)).wrapping_sub(127 + is_47_bits);
    if exponent.wrapping_sub(1) >= 252 {
        return None;
    }
    Some(((a ^ b) & SIGN) | ((exponent << 23) + round(high)))
}

/// The sum of two normal numbers, where it surely is one or 0.
#[inline(always)]
fn add_normal(a: u32, b: u32) -> Option<u32> {
    if !is_normal(a) || !is_normal(b) {
        return None;
    }
    let (a, b) = if a << 1 < b << 1 { (b, a) } else { (a, b) };
    let distance = exponent(a) - exponent(b);
    if distance > 25 {
        return Some(a);
    }
    let larger = mantissa(a) << 7;
    let smaller = mantissa(b) << 7;
    let mut shifted = smaller >> distance;
    if shifted << distance != smaller {
        shifted |= 1;
    }
    let sum = if (a ^ b) & SIGN == 0 {
        larger + shifted
    } else {
        larger - shifted
    };
    let Some(sum) = NonZeroU32::new(sum) else {
        return Some(0);
    };
    let zeros = sum.leading_zeros();
    let exponent = exponent(a).wrapping_sub(zeros);
    if exponent.wrapping_sub(1) >= 252 {
        return None;
    }
    Some((a & SIGN) | ((exponent << 23) + round(sum.get() << zeros)))
}

/// `total + value * x`, for single ones.
#[inline(always)]
pub(crate) fn multiply_add(total: f32, value: f32, x: f32) -> f32 {
    f32::from_bits(general(total.to_bits(), value.to_bits(), x.to_bits()))
}

/// Totals of a tile, to which one scaled row after another is added.
#[derive(Clone, Copy)]
pub struct Sums<const T: usize>([Sum; T]);

#[derive(Clone, Copy)]
struct Sum {
    bits: u32,
    /// [`head`] of the bits.
    head: u32,
}

impl Sum {
    #[inline(always)]
    fn new(bits: u32) -> Self {
        Self {
            bits,
            head: head(bits),
        }
    }
}

impl<const T: usize> Sums<T> {
    /// Starts with `totals`.
    #[inline(always)]
    pub(crate) fn new(totals: &[f32; T]) -> Self {
        Self(totals.map(|total| Sum::new(total.to_bits())))
    }

    /// `totals[t] += value * row[t]`.
    #[inline(always)]
    pub(crate) fn add_scaled(&mut self, value: f32, row: &[f32; T]) {
        if let Some(factor) = Factor::new(value) {
            for (sum, x) in self.0.iter_mut().zip(row) {
                let x = x.to_bits();
                let general = || general(sum.bits, value.to_bits(), x);
                match step(
                    sum.bits,
                    sum.head,
                    (x << 8) | SIGN,
                    x >> 23,
                    factor,
                    general,
                ) {
                    Ok(bits) => sum.bits = bits,
                    Err(bits) => *sum = Sum::new(bits),
                }
            }
        } else {
            for (sum, x) in self.0.iter_mut().zip(row) {
                *sum = Sum::new(general(sum.bits, value.to_bits(), x.to_bits()));
            }
        }
    }

    /// The totals.
    #[inline(always)]
    pub(crate) fn totals(&self) -> [f32; T] {
        self.0.map(|sum| f32::from_bits(sum.bits))
    }
}

/// A tile of numbers that are added, scaled, to one row after another.
#[derive(Clone, Copy)]
pub struct Addends<const T: usize> {
    bits: [u32; T],
    unpacked: [Unpacked; T],
}

#[derive(Clone, Copy)]
struct Unpacked {
    /// With its leading one as the top bit.
    mantissa: u32,
    /// [`head`] of the number.
    head: u32,
}

impl<const T: usize> Addends<T> {
    #[inline(always)]
    pub(crate) fn new(numbers: &[f32; T]) -> Self {
        let bits = numbers.map(f32::to_bits);
        Self {
            bits,
            unpacked: bits.map(|bits| Unpacked {
                mantissa: (bits << 8) | SIGN,
                head: head(bits),
            }),
        }
    }

    /// `row[t] -= value * numbers[t]`
    #[inline(always)]
    pub(crate) fn subtract_scaled_from(&self, value: f32, row: &mut [f32; T]) {
        // w − x y and w + (−x) y have the same bits.
        self.add_scaled_to(-value, row);
    }

    /// `row[t] += value * numbers[t]`
    #[inline(always)]
    pub(crate) fn add_scaled_to(&self, value: f32, row: &mut [f32; T]) {
        if let Some(factor) = Factor::new(value) {
            for ((total, x), x_bits) in row.iter_mut().zip(&self.unpacked).zip(&self.bits) {
                let bits = total.to_bits();
                let general = || general(bits, value.to_bits(), *x_bits);
                let sum = if x.head == OUTSIDE {
                    // Most often 0: signals through ReLU. That changes no
                    // total but −0.
                    if x_bits << 1 == 0 && bits != SIGN {
                        continue;
                    }
                    general()
                } else {
                    let (Ok(sum) | Err(sum)) =
                        step(bits, bits >> 23, x.mantissa, x.head, factor, general);
                    sum
                };
                *total = f32::from_bits(sum);
            }
        } else {
            for (total, x_bits) in row.iter_mut().zip(&self.bits) {
                let sum = general(total.to_bits(), value.to_bits(), *x_bits);
                *total = f32::from_bits(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sum in three ways against the processor's, and once more from there.
    fn check(total: f32, value: f32, x: f32) {
        let mut sums = Sums::new(&[total]);
        let addends = Addends::new(&[x]);
        let mut total = total;
        for _ in 0..2 {
            let expected = total + value * x;
            sums.add_scaled(value, &[x]);
            let mut row = [total];
            addends.add_scaled_to(value, &mut row);
            for (way, sum) in [
                ("sums", sums.totals()[0]),
                ("addends", row[0]),
                ("single", multiply_add(total, value, x)),
            ] {
                assert!(
                    sum.to_bits() == expected.to_bits() || (sum.is_nan() && expected.is_nan()),
                    "{way}: {:#010x} + {:#010x} * {:#010x} is {:#010x}, not {:#010x}",
                    total.to_bits(),
                    value.to_bits(),
                    x.to_bits(),
                    expected.to_bits(),
                    sum.to_bits(),
                );
            }
            total = expected;
        }
    }

    /// SplitMix64: most of a million draws would be proptest's own work.
    struct Draws(u64);

    impl Draws {
        fn next(&mut self) -> u32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 32) as u32
        }

        /// A mantissa that is any, nearly all zeros or ones, or short.
        fn mantissa(&mut self) -> u32 {
            let bits = self.next() >> 9;
            match self.next() % 8 {
                0 => 0,
                1 => LEADING_ONE - 1,
                2 => bits & 7,
                3 => LEADING_ONE - 1 - (bits & 7),
                4 => bits & 0x7f_0000,
                5 => bits & 0x7f_f000,
                _ => bits,
            }
        }

        fn number(&mut self, exponent: u32) -> f32 {
            let sign = self.next() & SIGN;
            f32::from_bits(sign | (exponent << 23) | self.mantissa())
        }

        /// A total, a value and an x.
        fn case(&mut self) -> (f32, f32, f32) {
            let value = match self.next() % 8 {
                0 => self.next() & 0xff,
                1 => 127,
                _ => 90 + self.next() % 75,
            };
            let x = match self.next() % 8 {
                0 => self.next() & 0xff,
                1 => self.next() % 4,
                2 => 252 + self.next() % 4,
                _ => 60 + self.next() % 136,
            };
            let product = (value + x).saturating_sub(127);
            let total = match self.next() % 8 {
                0 => self.next() & 0xff,
                1 => product + self.next() % 40,
                // Near the product, so that sums cancel or carry.
                _ => (product + self.next() % 8).saturating_sub(3),
            };
            let (value, x) = (self.number(value), self.number(x));
            let total = match self.next() % 8 {
                // Cancels to what the rounding of the product left.
                0 => {
                    let off = (self.next() % 5).wrapping_sub(2);
                    f32::from_bits((-(value * x)).to_bits().wrapping_add(off))
                }
                _ => self.number(total.min(255)),
            };
            (total, value, x)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn bits_are_the_processors(seed: u64) {
            let mut draws = Draws(seed);
            for _ in 0..512 {
                let (total, value, x) = draws.case();
                check(total, value, x);
            }
        }

        #[test]
        fn any_bits(total: u32, value: u32, x: u32) {
            check(f32::from_bits(total), f32::from_bits(value), f32::from_bits(x));
        }
    }

    #[test]
    fn bits_are_the_processors_in_corners() {
        let mut numbers = vec![0.0];
        for exponent in [0, 1, 2, 63, 64, 94, 95, 104, 125, 126, 127, 128, 156, 157] {
            for mantissa in [0, 1, 2, 0x40_0000, 0x40_0001, 0x7f_fffe, 0x7f_ffff] {
                numbers.push(f32::from_bits((exponent << 23) | mantissa));
            }
        }
        for exponent in [191, 192, 253, 254, 255] {
            for mantissa in [0, 1, 0x7f_ffff] {
                numbers.push(f32::from_bits((exponent << 23) | mantissa));
            }
        }
        for value in &numbers {
            for x in &numbers {
                for total in &numbers {
                    check(*total, *value, *x);
                    check(-total, *value, *x);
                    check(*total, -value, *x);
                    check(*total, *value, -x);
                }
            }
        }
    }

    /// Short numbers, so that many totals are powers of two on the way.
    #[test]
    fn tiles_are_added_number_by_number() {
        let mut draws = Draws(7);
        let mut expected = [0.0f32; 16];
        let mut sums = Sums::new(&expected);
        let mut row = expected;
        for _ in 0..10_000 {
            let value = 0.25 * (draws.next() % 16) as f32 - 1.0;
            let mut numbers = [0.0; 16];
            for x in &mut numbers {
                *x = 0.125 * (draws.next() % 64) as f32 - 4.0;
            }
            for (total, x) in expected.iter_mut().zip(&numbers) {
                *total += value * x;
            }
            sums.add_scaled(value, &numbers);
            Addends::new(&numbers).add_scaled_to(value, &mut row);
            assert_eq!(sums.totals(), expected);
            assert_eq!(row, expected);
        }
    }
}
