//! Shares of unequal size, with the same labels but for chance.
//!
//! By a Dirichlet distribution: quantity skew of Li et al., *Federated Learning
//! on Non-IID Data Silos: An Experimental Study*, ICDE 2022 (NIID-Bench): a
//! vector drawn from `Dir_N(β)` says which part of all samples each of `N`
//! parties is given. By a power law: as the sizes in Li et al., *Federated
//! Optimization in Heterogeneous Networks*, MLSys 2020, section 5; the law is
//! Zipf's, of the clients' ranks. (Both recalled.)

use zfl_seed::{Purpose, Stream};

use super::dirichlet::{check_alpha, check_samples_min, cut, draw_until};
use super::{EXPONENT_RANGE, Partition, PartitionError, ShareSizes};
use crate::dataset::indices;
use crate::variates;

pub(super) fn by_size(
    sample_count: usize,
    client_count: usize,
    sizes: ShareSizes,
    samples_min: u32,
    seed: u64,
) -> Result<Partition, PartitionError> {
    match sizes {
        ShareSizes::Dirichlet { alpha } => check_alpha(alpha)?,
        ShareSizes::PowerLaw { exponent } if !EXPONENT_RANGE.contains(&exponent) => {
            return Err(PartitionError::Exponent { exponent });
        }
        ShareSizes::PowerLaw { .. } => {}
    }
    check_samples_min(client_count, samples_min, sample_count)?;
    let mut stream = Stream::new(seed, Purpose::Partition, 0);
    let mut order = indices(sample_count);
    stream.shuffle(&mut order);
    let sizes = match sizes {
        ShareSizes::Dirichlet { alpha } => draw_until(client_count, samples_min, 1, || {
            let parts = variates::dirichlet(&mut stream, alpha, client_count);
            let sizes: Vec<usize> = cut(&parts, sample_count).collect();
            (sizes.clone(), sizes)
        })?,
        ShareSizes::PowerLaw { exponent } => {
            let least = usize::try_from(samples_min).unwrap_or(usize::MAX);
            let mut sizes = power_law(sample_count, client_count, exponent, least);
            stream.shuffle(&mut sizes);
            sizes
        }
    };
    let mut end = 0;
    let ends = sizes.into_iter().map(|size| {
        end += size;
        end
    });
    Ok(Partition {
        ends: ends.collect(),
        order,
    })
}

/// ShareSizes by rank, the largest first; `least` for each is there.
fn power_law(sample_count: usize, client_count: usize, exponent: f64, least: usize) -> Vec<usize> {
    let mut parts: Vec<f64> = (1..=client_count)
        .map(|rank| libm::pow(rank as f64, -exponent))
        .collect();
    let sum: f64 = parts.iter().sum();
    for part in &mut parts {
        *part /= sum;
    }
    let rest = sample_count.saturating_sub(client_count.saturating_mul(least));
    cut(&parts, rest).map(|size| size + least).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Scheme;
    use super::*;
    use crate::testing::small_dataset;

    fn deal(
        sizes: ShareSizes,
        samples: usize,
        clients: usize,
        least: u32,
    ) -> Result<Partition, String> {
        let scheme = Scheme::QuantitySkew {
            sizes,
            samples_min: least,
        };
        scheme
            .partition(&small_dataset(samples), clients, 1)
            .map_err(|error| error.to_string())
    }

    fn lens(partition: &Partition) -> Vec<usize> {
        partition.iter().map(<[u32]>::len).collect()
    }

    const ZIPF: ShareSizes = ShareSizes::PowerLaw { exponent: 1.0 };
    const DIRICHLET: ShareSizes = ShareSizes::Dirichlet { alpha: 0.5 };

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_partitions_are_pinned() {
        let shares = |sizes| {
            let partition = deal(sizes, 10, 3, 1).unwrap();
            partition.iter().map(<[u32]>::to_vec).collect::<Vec<_>>()
        };
        let zipf = [vec![8, 2, 7], vec![0, 9, 6, 5, 3], vec![4, 1]];
        assert_eq!(shares(ZIPF), zipf);
        assert_eq!(
            shares(DIRICHLET),
            [vec![8, 2], vec![7, 0], vec![9, 6, 5, 3, 4, 1]]
        );
    }

    #[test]
    fn what_cannot_be_dealt_is_refused() {
        for exponent in [-0.1, 10.1, f64::NAN] {
            assert_eq!(
                deal(ShareSizes::PowerLaw { exponent }, 10, 3, 1).unwrap_err(),
                format!("the exponent is {exponent}; allowed are 0 to 10")
            );
        }
        assert_eq!(
            deal(ShareSizes::Dirichlet { alpha: 0.0 }, 10, 3, 1).unwrap_err(),
            "alpha is 0; allowed are 0.001 to 1000000"
        );
        for sizes in [ZIPF, DIRICHLET] {
            assert_eq!(
                deal(sizes, 10, 3, 4).unwrap_err(),
                "3 clients with at least 4 samples each need 12, but there are 10: at least 3 each is possible"
            );
            assert!(deal(sizes, 10, 3, 0).is_err());
        }
        assert!(
            deal(ShareSizes::Dirichlet { alpha: 0.001 }, 100, 10, 5)
                .unwrap_err()
                .starts_with(
                    "none of 1000 draws gave each of 10 clients at least 5 samples; in the best one the smallest share was "
                )
        );
    }

    #[test]
    fn sizes_follow_the_power_law() {
        // 1 + 1/2 + 1/3 + 1/4 = 25/12; none is kept back but one each.
        let mut sizes = lens(&deal(ZIPF, 2504, 4, 1).unwrap());
        assert_ne!(sizes, [1201, 601, 401, 301], "ranks are drawn");
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(sizes, [1201, 601, 401, 301]);
        let flat = deal(ShareSizes::PowerLaw { exponent: 0.0 }, 12, 4, 1).unwrap();
        assert_eq!(lens(&flat), [3; 4]);
        let steep = deal(ShareSizes::PowerLaw { exponent: 10.0 }, 1000, 4, 2).unwrap();
        let mut sizes = lens(&steep);
        sizes.sort_unstable();
        assert_eq!(sizes, [2, 2, 3, 993]);
    }

    /// Over many seeds, a size has the mean and the variance of the definition.
    #[test]
    fn sizes_have_the_moments_of_a_dirichlet_part() {
        const SEEDS: u64 = 2000;
        const CLIENTS: usize = 5;
        let alpha = 3.0;
        let scheme = Scheme::QuantitySkew {
            sizes: ShareSizes::Dirichlet { alpha },
            // Five parts of 1000 at alpha 3: that one is below 1 has a chance
            // of some 1e-6, so none is drawn anew.
            samples_min: 1,
        };
        let dataset = small_dataset(1000);
        let mut parts = Vec::new();
        for seed in 0..SEEDS {
            let sizes = lens(&scheme.partition(&dataset, CLIENTS, seed).unwrap());
            parts.push(sizes[1] as f64 / 1000.0);
        }
        let n = SEEDS as f64;
        let mean = parts.iter().sum::<f64>() / n;
        let squares = parts.iter().map(|part| (part - mean).powi(2));
        let variance = squares.sum::<f64>() / n;
        // A Beta(3, 12) variate: mean 1/5, variance (1/5)(4/5)/(5 · 3 + 1) = 0.01,
        // fourth central moment 3.5 times its square. Five standard errors, and
        // the cutting to whole samples (1/1000).
        assert!(
            (mean - 0.2).abs() < 5.0 * (0.01 / n).sqrt() + 0.001,
            "{mean}"
        );
        let bound = 5.0 * 0.01 * (2.5 / n).sqrt();
        assert!((variance - 0.01).abs() < bound, "{variance}");
    }

    #[test]
    fn labels_are_as_in_the_whole() {
        let dataset = small_dataset(6000);
        let partition = deal(ZIPF, 6000, 5, 1).unwrap();
        for counts in partition.label_counts(&dataset) {
            let sum: u32 = counts.iter().sum();
            for count in counts {
                // A third each; standard deviation below √(2/9 · sum); five of them.
                let off = f64::from(count) - f64::from(sum) / 3.0;
                assert!(
                    off.abs() < 5.0 * (f64::from(sum) * 2.0 / 9.0).sqrt(),
                    "{off}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn each_sample_is_held_once(
            (sample_count, client_count) in (1usize..1000).prop_flat_map(|samples| (Just(samples), 1..=samples.min(40))),
            is_power_law: bool,
            skew in 0.01f64..10.0,
            samples_min in 1u32..20,
            seed: u64,
        ) {
            let sizes = match is_power_law {
                true => ShareSizes::PowerLaw { exponent: skew },
                false => ShareSizes::Dirichlet { alpha: skew },
            };
            let scheme = Scheme::QuantitySkew { sizes, samples_min };
            let dataset = small_dataset(sample_count);
            let partition = match scheme.partition(&dataset, client_count, seed) {
                Ok(partition) => partition,
                Err(PartitionError::SamplesMin { .. }) => {
                    prop_assert!(client_count * samples_min as usize > sample_count);
                    return Ok(());
                }
                Err(error) => {
                    let is_drawn = matches!(error, PartitionError::Draws { .. });
                    prop_assert!(is_drawn && !is_power_law, "{}", error);
                    return Ok(());
                }
            };
            prop_assert_eq!(partition.client_count(), client_count);
            prop_assert!(partition.iter().all(|share| share.len() >= samples_min as usize));
            let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, indices(sample_count));
        }

        /// The part beyond the least is off the law by less than a sample.
        #[test]
        fn a_power_law_is_met_to_a_sample(
            client_count in 1usize..50,
            exponent in 0.0f64..5.0,
            least in 1usize..5,
        ) {
            let sizes = power_law(1000, client_count, exponent, least);
            let sum: f64 = (1..=client_count).map(|rank| (rank as f64).powf(-exponent)).sum();
            let rest = (1000 - client_count * least) as f64;
            for (index, size) in sizes.iter().enumerate() {
                let part = ((index + 1) as f64).powf(-exponent) / sum;
                let off = (size - least) as f64 - rest * part;
                prop_assert!(off.abs() <= 1.0 + 1e-6, "{} {}", index, off);
            }
        }
    }
}
