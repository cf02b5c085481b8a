//! Random numbers of the distributions that partitions are drawn from.
//!
//! They are made of a stream's bits by additions, multiplications and the
//! functions of `libm`, which are software: a seed gives the same bits on
//! every host, as those of the standard library need not.

use zfl_seed::Stream;

/// A uniform number of the open interval from 0 to 1: an odd multiple of 2⁻⁵³.
fn open_unit(stream: &mut Stream) -> f64 {
    let high = u64::from(stream.next_u32());
    let low = u64::from(stream.next_u32());
    let bits = (high << 32 | low) >> 12;
    // 53 bits together, so nothing is rounded.
    ((2 * bits + 1) as f64) * (1.0 / 9_007_199_254_740_992.0)
}

/// Two independent normal variates of mean 0 and variance 1, by the polar
/// method (Marsaglia and Bray, *A Convenient Method for Generating Normal
/// Variables*, SIAM Review 6(3), 1964).
pub(crate) fn normal_pair(stream: &mut Stream) -> [f64; 2] {
    // About 4 of 5 points lie within the circle.
    loop {
        let x = 2.0 * open_unit(stream) - 1.0;
        let y = 2.0 * open_unit(stream) - 1.0;
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            let factor = libm::sqrt(-2.0 * libm::log(square) / square);
            return [x * factor, y * factor];
        }
    }
}

/// The logarithm of a gamma variate of this shape (above 0) and scale 1
/// (Marsaglia and Tsang, *A Simple Method for Generating Gamma Variables*, ACM
/// Transactions on Mathematical Software 26(3), 2000; its section 6 for shapes
/// below 1). The variate itself would underflow for a small shape.
fn gamma_log(stream: &mut Stream, shape: f64) -> f64 {
    if shape < 1.0 {
        let larger = gamma_log(stream, shape + 1.0);
        return larger + libm::log(open_unit(stream)) / shape;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    // More than 19 of 20 candidates are accepted.
    loop {
        let [x, _] = normal_pair(stream);
        let root = 1.0 + c * x;
        if root <= 0.0 {
            continue;
        }
        let v = root * root * root;
        let log_v = libm::log(v);
        if libm::log(open_unit(stream)) < 0.5 * x * x + d * (1.0 - v + log_v) {
            return libm::log(d) + log_v;
        }
    }
}

/// A point of the symmetric Dirichlet distribution: so many parts of 1, made
/// of gamma variates divided by their sum. `alpha` is above 0.
pub(crate) fn dirichlet(stream: &mut Stream, alpha: f64, part_count: usize) -> Vec<f64> {
    let mut parts: Vec<f64> = (0..part_count).map(|_| gamma_log(stream, alpha)).collect();
    let largest = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for part in &mut parts {
        *part = libm::exp(*part - largest);
    }
    // At least 1, that of the largest.
    let sum: f64 = parts.iter().sum();
    for part in &mut parts {
        *part /= sum;
    }
    parts
}

#[cfg(test)]
mod tests {
    use zfl_seed::Purpose;

    use super::*;

    fn stream() -> Stream {
        Stream::new(5, Purpose::Partition, 0)
    }

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_bits_are_pinned() {
        let mut stream = stream();
        let mut bits: Vec<u64> = normal_pair(&mut stream).map(f64::to_bits).to_vec();
        bits.extend([0.3, 2.5].map(|shape| gamma_log(&mut stream, shape).to_bits()));
        bits.extend(dirichlet(&mut stream, 0.3, 3).into_iter().map(f64::to_bits));
        assert_eq!(
            bits,
            [
                0xbfe9_acdc_9185_b74e,
                0xbff2_851c_cbf1_b615,
                0xc004_e90d_0bc4_80aa,
                0x3fdb_fb71_ed48_54d2,
                0x3fee_91e2_4144_b0a4,
                0x3fa0_84fa_1f43_2538,
                0x3f89_7387_31c7_423b,
            ]
        );
    }

    /// Mean and variance of `count` draws.
    fn moments(draws: impl Iterator<Item = f64>) -> (f64, f64) {
        let draws: Vec<f64> = draws.collect();
        let count = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / count;
        let squares = draws.iter().map(|draw| (draw - mean) * (draw - mean));
        (mean, squares.sum::<f64>() / count)
    }

    const DRAWS: usize = 100_000;

    #[test]
    fn normal_variates_have_their_moments() {
        let mut stream = stream();
        let draws: Vec<f64> = (0..DRAWS / 2)
            .flat_map(|_| normal_pair(&mut stream))
            .collect();
        let (mean, variance) = moments(draws.iter().copied());
        // Standard errors 1/√n = 0.0032 and √(2/n) = 0.0045; five of them.
        assert!(mean.abs() < 0.016, "{mean}");
        assert!((variance - 1.0).abs() < 0.023, "{variance}");
        // Within one standard deviation lie 68.27 %, error √(pq/n) = 0.0015.
        let within = draws.iter().filter(|draw| draw.abs() < 1.0).count();
        assert!((within as f64 / DRAWS as f64 - 0.6827).abs() < 0.0075);
        // The two of a pair are uncorrelated: error 1/√(n/2) = 0.0045.
        let products = draws.chunks(2).map(|pair| pair[0] * pair[1]);
        assert!(moments(products).0.abs() < 0.023);
    }

    /// Mean and variance of a gamma variate are both its shape.
    #[test]
    fn gamma_variates_have_their_moments() {
        for shape in [0.1, 0.3, 1.0, 2.5, 40.0] {
            let mut stream = stream();
            let draws = (0..DRAWS).map(|_| libm::exp(gamma_log(&mut stream, shape)));
            let (mean, variance) = moments(draws);
            // The standard error of the mean is √(shape/n). The fourth central
            // moment is 3·shape² + 6·shape, so that of the variance is
            // √((2·shape² + 6·shape)/n). Five of them.
            let n = DRAWS as f64;
            let mean_bound = 5.0 * (shape / n).sqrt();
            let variance_bound = 5.0 * ((2.0 * shape * shape + 6.0 * shape) / n).sqrt();
            assert!((mean - shape).abs() < mean_bound, "{shape}: {mean}");
            assert!(
                (variance - shape).abs() < variance_bound,
                "{shape}: {variance}"
            );
        }
    }

    /// A part is a Beta variate: mean 1/n, variance (1/n)(1 − 1/n)/(nα + 1).
    #[test]
    fn parts_have_the_moments_of_the_definition() {
        let part_count = 5;
        for alpha in [0.05, 0.3, 1.0, 20.0] {
            let mut stream = stream();
            let points: Vec<Vec<f64>> = (0..DRAWS / part_count)
                .map(|_| dirichlet(&mut stream, alpha, part_count))
                .collect();
            for point in &points {
                assert!((point.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
            let mean_expected = 1.0 / part_count as f64;
            let variance_expected =
                mean_expected * (1.0 - mean_expected) / (part_count as f64 * alpha + 1.0);
            let n = points.len() as f64;
            for part in 0..part_count {
                let (mean, variance) = moments(points.iter().map(|point| point[part]));
                // Five standard errors √(variance/n).
                let bound = 5.0 * (variance_expected / n).sqrt();
                assert!((mean - mean_expected).abs() < bound, "{alpha}: {mean}");
                // No part is further than 0.8 from its mean, so the fourth
                // moment is at most 0.64 of the second.
                let bound = 5.0 * (0.64 * variance_expected / n).sqrt();
                assert!(
                    (variance - variance_expected).abs() < bound,
                    "{alpha}: {variance}"
                );
            }
        }
    }

    #[test]
    fn the_smallest_alpha_gives_one_part_nearly_all() {
        let mut stream = stream();
        for _ in 0..100 {
            let parts = dirichlet(&mut stream, 1e-3, 10);
            assert!(parts.iter().all(|part| part.is_finite()));
            assert!((parts.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
