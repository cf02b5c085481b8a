//! Transcendental functions with the same bits on every processor.
//!
//! IEEE-754 fixes the bits of `+ − × ÷` and of conversions, not those of `exp`
//! and its kin: what an operating system's library returns differs between
//! systems, and a vector unit's own versions differ again. These are written
//! out in operations that are fixed, in one order, without contraction to fused
//! ones, or come from `libm`, which is software too.
//!
//! [`exp`] is the one that is called often: for every class of every sample,
//! and for every neuron where the activation is tanh or sigmoid. It has no
//! branch and no division, so that a loop over an array becomes vector
//! instructions, and costs 20 operations where each is a call of a software
//! routine.
//!
//! Errors are given in units in the last place of the result (ulp), as the
//! ignored test `errors_are_as_documented` measures them, over every 127th float.
#![allow(dead_code, reason = "not all are called yet")]

/// eˣ. Error below 0.97 ulp.
///
/// 0 below −87.336 (where the result would be subnormal), infinite above
/// 88.722, NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // eˣ = 2ⁿ eʳ with n = x / ln 2 rounded and |r| ≤ ln 2 / 2. Adding 1.5 × 2²³
    // leaves n in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; n times the first is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // (eʳ − 1 − r) / r², minimax for the error relative to eʳ (2⁻²⁸), each
    // coefficient refitted after those before it were rounded.
    const C2: f32 = 0.499_999_94;
    const C3: f32 = 0.166_665_21;
    const C4: f32 = 0.041_668_266;
    const C5: f32 = 0.008_368_677;
    const C6: f32 = 0.001_382_073_4;
    /// The least x with a normal result.
    const LEAST: f32 = -87.336_54;
    /// The greatest x with a finite result.
    const GREATEST: f32 = 88.722_83;

    let rounded = x * core::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let tail = (((C6 * r + C5) * r + C4) * r + C3) * r + C2;
    let power = (tail * (r * r) + r) + 1.0;
    // Times 2ⁿ.
    let scaled = f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23));
    let result = if x <= GREATEST {
        scaled
    } else {
        x + f32::INFINITY
    };
    if x < LEAST { 0.0 } else { result }
}

/// The natural logarithm. Error below 0.83 ulp.
///
/// −infinity for 0, NaN below.
#[inline]
pub(crate) fn ln(x: f32) -> f32 {
    libm::logf(x)
}

/// The square root, correctly rounded.
#[inline]
pub(crate) fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}

/// The hyperbolic tangent. Error below 1.31 ulp.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // tanh(x) / x − 1 for small x, in z = x² (Cephes, tanhf.c, 1989). Further
    // out the difference from 1 has few enough bits for `exp`.
    const C1: f32 = -0.333_332_8;
    const C2: f32 = 0.133_314_42;
    const C3: f32 = -0.053_739_716;
    const C4: f32 = 0.020_639_088;
    const C5: f32 = -0.005_704_988_7;

    let magnitude = x.abs();
    let z = x * x;
    let near = ((((C5 * z + C4) * z + C3) * z + C2) * z + C1) * z * magnitude + magnitude;
    let far = 1.0 - 2.0 / (exp(magnitude + magnitude) + 1.0);
    let result = if magnitude < 0.625 { near } else { far };
    result.copysign(x)
}

/// 1 / (1 + e⁻ˣ). Error below 2.23 ulp down to −87.336.
///
/// 0 below −88.722.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Function = (fn(f32) -> f32, fn(f64) -> f64);

    /// A function, an argument, the result.
    type Case = (fn(f32) -> f32, f32, f32);

    const EXP: Function = (exp, f64::exp);
    const LN: Function = (ln, f64::ln);
    const SQRT: Function = (sqrt, f64::sqrt);
    const TANH: Function = (tanh, f64::tanh);
    const SIGMOID: Function = (sigmoid, |x| 1.0 / (1.0 + (-x).exp()));

    /// The numbers of a range from the most negative up, every `step`th.
    fn range(from: f32, to: f32, step: usize) -> impl Iterator<Item = f32> {
        // Bits in the order of the numbers.
        let key = |x: f32| {
            let bits = x.to_bits() as i32;
            bits ^ ((bits >> 31) & i32::MAX)
        };
        (key(from)..=key(to))
            .step_by(step)
            .map(|key| f32::from_bits((key ^ ((key >> 31) & i32::MAX)) as u32))
    }

    /// The error of a result in ulp of the exact value.
    fn error(result: f32, exact: f64) -> f64 {
        let exponent = exact.to_bits() >> 52 & 0x7ff;
        let ulp = f64::from_bits((exponent.max(1023 - 126) - 23) << 52);
        (f64::from(result) - exact).abs() / ulp
    }

    fn greatest_error((function, exact): Function, from: f32, to: f32, step: usize) -> f64 {
        range(from, to, step)
            .map(|x| error(function(x), exact(f64::from(x))))
            .fold(0.0, f64::max)
    }

    /// The ranges with the errors that the documentation of each gives.
    const BOUNDS: [(&str, Function, f32, f32, f64); 5] = [
        ("exp", EXP, -87.336, 88.722, 0.97),
        ("ln", LN, f32::MIN_POSITIVE, f32::MAX, 0.83),
        ("sqrt", SQRT, 0.0, f32::MAX, 0.5),
        ("tanh", TANH, -f32::MAX, f32::MAX, 1.31),
        ("sigmoid", SIGMOID, -87.336, f32::MAX, 2.23),
    ];

    #[test]
    fn errors_are_within_bounds() {
        for (name, function, from, to, bound) in BOUNDS {
            let greatest = greatest_error(function, from, to, 997);
            assert!(greatest <= bound, "{name}: {greatest} ulp");
        }
    }

    #[test]
    #[ignore = "takes half a minute"]
    fn errors_are_as_documented() {
        for (name, function, from, to, bound) in BOUNDS {
            let greatest = greatest_error(function, from, to, 127);
            println!("{name}: {greatest:.3} ulp");
            assert!(greatest <= bound, "{name}: {greatest} ulp");
        }
    }

    #[test]
    fn never_fall_where_they_should_rise() {
        for (name, (function, _), from, to, _) in BOUNDS {
            let mut last = f32::NEG_INFINITY;
            for x in range(from, to, 997) {
                let result = function(x);
                assert!(result >= last, "{name}({x}) = {result}, after {last}");
                last = result;
            }
        }
    }

    #[test]
    fn ends_and_special_values() {
        let cases: [Case; 26] = [
            (exp, 0.0, 1.0),
            (exp, -0.0, 1.0),
            (exp, 1e-30, 1.0),
            (exp, 88.722_83, 3.402_798_5e38),
            (exp, 88.722_84, f32::INFINITY),
            (exp, 1e30, f32::INFINITY),
            (exp, f32::INFINITY, f32::INFINITY),
            (exp, -87.336_54, 1.175_499_7e-38),
            (exp, -87.336_55, 0.0),
            (exp, -1e30, 0.0),
            (exp, f32::NEG_INFINITY, 0.0),
            (ln, 1.0, 0.0),
            (ln, 0.0, f32::NEG_INFINITY),
            (ln, f32::INFINITY, f32::INFINITY),
            (sqrt, 4.0, 2.0),
            (sqrt, 0.0, 0.0),
            (tanh, 1e-40, 1e-40),
            (tanh, 1e30, 1.0),
            (tanh, -1e30, -1.0),
            (tanh, f32::INFINITY, 1.0),
            (tanh, f32::NEG_INFINITY, -1.0),
            (sigmoid, 0.0, 0.5),
            (sigmoid, 1e30, 1.0),
            (sigmoid, f32::INFINITY, 1.0),
            (sigmoid, -1e30, 0.0),
            (sigmoid, f32::NEG_INFINITY, 0.0),
        ];
        for (index, (function, x, expected)) in cases.into_iter().enumerate() {
            assert_eq!(function(x), expected, "case {index}, of {x}");
        }
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
        for function in [exp, ln, sqrt, tanh, sigmoid] {
            assert!(function(f32::NAN).is_nan());
            assert!(function(-f32::NAN).is_nan());
        }
        assert!(ln(-1.0).is_nan());
        assert!(sqrt(-1.0).is_nan());
    }

    /// FNV-1a over the results for every 65,521st bit pattern, NaNs as one.
    fn fingerprint(function: fn(f32) -> f32) -> u32 {
        (0..=u32::MAX).step_by(65_521).fold(0x811c_9dc5, |hash, x| {
            let result = function(f32::from_bits(x));
            let bits = if result.is_nan() { 0 } else { result.to_bits() };
            (hash ^ bits).wrapping_mul(0x0100_0193)
        })
    }

    /// A change of any bit changes what trainings with one seed result in, and
    /// must be meant.
    #[test]
    fn bits_are_pinned() {
        let fingerprints =
            [exp, ln, sqrt, tanh, sigmoid].map(|function| format!("{:08x}", fingerprint(function)));
        assert_eq!(
            fingerprints,
            ["2548d025", "702d9af7", "9d3bf3f3", "73e170a4", "9ebbd9f5"]
        );
    }
}
