//! Labels in parts drawn from a Dirichlet distribution.
//!
//! As in Yurochkin et al., *Bayesian Nonparametric Federated Learning of Neural
//! Networks*, ICML 2019, section 4: for each class `k` a vector `p_k` is drawn
//! from `Dir_J(α)` over the `J` clients, and client `j` is given the part
//! `p_kj` of the samples of that class. Li et al., *Federated Learning on
//! Non-IID Data Silos: An Experimental Study*, ICDE 2022 (NIID-Bench), name it
//! distribution-based label imbalance and draw again until each client has some
//! samples. (Both recalled, and as their texts have it: their programs also
//! give nothing more to a client that has its equal share already.)
//!
//! Hsu et al., *Measuring the Effects of Non-Identical Data Distribution for
//! Federated Visual Classification*, 2019, draw the classes' parts for each
//! client instead and give all clients equally many samples. Samples cannot be
//! held exactly once then, except by chance; so it is not what is done here.

use zfl_seed::{Purpose, Stream};

use super::{ALPHA_RANGE, Partition, PartitionError, by_class, gathered};
use crate::dataset::{Dataset, indices};
use crate::variates;

/// Most draws for shares that are all large enough.
const DRAWS_MAX: usize = 1000;
/// Most gamma variates of all draws together: some seconds. One draw is made in
/// any case.
const VARIATES_MAX: usize = 1 << 24;

pub(super) fn by_label(
    dataset: &Dataset,
    client_count: usize,
    alpha: f64,
    samples_min: u32,
    seed: u64,
) -> Result<Partition, PartitionError> {
    let sample_count = dataset.sample_count();
    check_alpha(alpha)?;
    check_samples_min(client_count, samples_min, sample_count)?;
    let mut stream = Stream::new(seed, Purpose::Partition, 0);
    let mut order = indices(sample_count);
    stream.shuffle(&mut order);
    let classes = by_class(dataset, &order);
    let dealt = draw_until(client_count, samples_min, classes.len(), || {
        let mut sizes = vec![0; client_count];
        // Of each class, who is given how many: no more entries than samples.
        let mut dealt: Vec<Vec<(u32, usize)>> = Vec::with_capacity(classes.len());
        for class in &classes {
            let parts = variates::dirichlet(&mut stream, alpha, client_count);
            let shares = (0..).zip(cut(&parts, class.len()));
            let shares: Vec<_> = shares.filter(|(_, share)| *share > 0).collect();
            for (client, share) in &shares {
                if let Some(size) = sizes.get_mut(*client as usize) {
                    *size += share;
                }
            }
            dealt.push(shares);
        }
        (sizes, dealt)
    })?;
    let mut holders = vec![0; sample_count];
    for (class, shares) in classes.iter().zip(dealt) {
        let clients = shares
            .into_iter()
            .flat_map(|(client, share)| std::iter::repeat_n(client, share));
        for (sample, client) in class.iter().zip(clients) {
            if let Some(holder) = holders.get_mut(*sample as usize) {
                *holder = client;
            }
        }
    }
    gathered(&order, &holders, client_count)
}

/// Whether it can be drawn from.
pub(super) fn check_alpha(alpha: f64) -> Result<(), PartitionError> {
    match ALPHA_RANGE.contains(&alpha) {
        true => Ok(()),
        false => Err(PartitionError::Alpha { alpha }),
    }
}

/// Whether each client can have so many samples.
pub(super) fn check_samples_min(
    client_count: usize,
    samples_min: u32,
    sample_count: usize,
) -> Result<(), PartitionError> {
    if samples_min == 0 {
        return Err(PartitionError::NoSamplesPerClient);
    }
    let needed = usize::try_from(samples_min)
        .ok()
        .and_then(|samples_min| samples_min.checked_mul(client_count));
    match needed.is_some_and(|needed| needed <= sample_count) {
        true => Ok(()),
        false => Err(PartitionError::SamplesMin {
            client_count,
            samples_min,
            sample_count,
        }),
    }
}

/// Calls `draw`, which answers with the sizes of all shares and what it drew,
/// until none is too small. A draw has one Dirichlet vector over the clients for
/// each of `vector_count`.
pub(super) fn draw_until<T>(
    client_count: usize,
    samples_min: u32,
    vector_count: usize,
    mut draw: impl FnMut() -> (Vec<usize>, T),
) -> Result<T, PartitionError> {
    let least = usize::try_from(samples_min).unwrap_or(usize::MAX);
    let variates = client_count.saturating_mul(vector_count).max(1);
    let draw_count = (VARIATES_MAX / variates).clamp(1, DRAWS_MAX);
    let mut smallest_max = 0;
    for _ in 0..draw_count {
        let (sizes, drawn) = draw();
        let smallest = sizes.iter().copied().min().unwrap_or(0);
        if smallest >= least {
            return Ok(drawn);
        }
        smallest_max = smallest.max(smallest_max);
    }
    Err(PartitionError::Draws {
        draw_count,
        client_count,
        samples_min,
        smallest_max,
    })
}

/// How many of `count` samples fall to each part: the sums of the parts are
/// rounded, so that no part is off by more than one and all are given away.
pub(super) fn cut(parts: &[f64], count: usize) -> impl Iterator<Item = usize> {
    let mut sum = 0.0;
    let mut given = 0;
    parts.iter().enumerate().map(move |(index, part)| {
        sum += part;
        // Parts are not negative, but their sums may end beside 1.
        let end = match index + 1 == parts.len() {
            true => count,
            false => ((sum * count as f64).round() as usize).clamp(given, count),
        };
        let share = end - given;
        given = end;
        share
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Scheme;
    use super::*;
    use crate::testing::small_dataset;

    fn deal(samples: usize, clients: usize, alpha: f64, least: u32) -> Result<Partition, String> {
        let scheme = Scheme::Dirichlet {
            alpha,
            samples_min: least,
        };
        scheme
            .partition(&small_dataset(samples), clients, 1)
            .map_err(|error| error.to_string())
    }

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_partition_is_pinned() {
        let partition = deal(12, 3, 0.5, 1).unwrap();
        let shares: Vec<&[u32]> = partition.iter().collect();
        assert_eq!(shares, [&[3, 8, 1, 11, 5][..], &[9, 10, 7, 2], &[0, 6, 4]]);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY, 9e-4, 1.1e6] {
            assert_eq!(
                deal(12, 3, alpha, 1),
                Err(format!("alpha is {alpha}; allowed are 0.001 to 1000000"))
            );
        }
        assert_eq!(
            deal(12, 3, 1.0, 0),
            Err("0 samples per client: each needs at least one".into())
        );
        assert_eq!(
            deal(12, 3, 1.0, 5),
            Err("3 clients with at least 5 samples each need 15, but there are 12: at least 4 each is possible".into())
        );
        assert!(deal(12, 3, 1.0, u32::MAX).is_err());
        // Three classes, each held by one client: most of ten hold nothing.
        assert_eq!(
            deal(300, 10, 0.001, 1),
            Err("none of 1000 draws gave each of 10 clients at least 1 samples; in the best one the smallest share was 0: raise alpha, or lower the least samples or the number of clients".into())
        );
    }

    /// What is drawn anew is another draw, and the least is reached.
    #[test]
    fn the_least_samples_are_reached() {
        let smallest = |least| {
            let partition = deal(300, 10, 0.5, least).unwrap();
            partition.iter().map(<[u32]>::len).min().unwrap()
        };
        assert!(smallest(1) < 8, "{}", smallest(1));
        assert!(smallest(8) >= 8);
    }

    /// Over many seeds, the part of a class that a client holds has the mean
    /// and the variance of the definition.
    #[test]
    fn parts_of_a_class_have_the_moments_of_the_definition() {
        const CLIENTS: usize = 4;
        const SEEDS: u64 = 400;
        // 200 samples of each class: cut to the nearest, a part is off by less
        // than 1/200 in all, which the bounds leave room for. 1 is the least:
        // with four clients and three classes, alpha 2 needs no second draw
        // (the chance is below 1e-9), which would shift the moments.
        let dataset = small_dataset(600);
        let alpha = 2.0;
        let scheme = Scheme::Dirichlet {
            alpha,
            samples_min: 1,
        };
        let mut parts = Vec::new();
        for seed in 0..SEEDS {
            let partition = scheme.partition(&dataset, CLIENTS, seed).unwrap();
            for counts in partition.label_counts(&dataset) {
                parts.extend(counts.iter().map(|count| f64::from(*count) / 200.0));
            }
        }
        let n = parts.len() as f64;
        let mean = parts.iter().sum::<f64>() / n;
        // All parts of a class together are 1.
        assert!((mean - 0.25).abs() < 1e-12, "{mean}");
        let squares = parts.iter().map(|part| (part - mean).powi(2));
        let variance = squares.sum::<f64>() / n;
        // A part is a Beta(2, 6) variate: variance (1/4)(3/4)/(4 · 2 + 1), fourth
        // central moment 3.11 times its square. Parts of one class are
        // dependent, so the independent ones are counted: seeds × classes. Five
        // standard errors √((3.11 − 1)/n).
        let expected = 0.25 * 0.75 / 9.0;
        let bound = 5.0 * expected * (2.11 / (SEEDS as f64 * 3.0)).sqrt();
        assert!((variance - expected).abs() < bound, "{variance}");
        // The bound tells this alpha from its neighbours.
        for other in [1.0, 4.0] {
            let expected = 0.25 * 0.75 / (4.0 * other + 1.0);
            assert!((variance - expected).abs() > bound, "{variance}");
        }
    }

    /// A large alpha deals as equal parts do; a small one gives a class to few.
    #[test]
    fn alpha_goes_from_one_holder_to_all_alike() {
        let dataset = small_dataset(3000);
        let counts = |alpha| deal(3000, 5, alpha, 1).unwrap().label_counts(&dataset);
        for row in counts(1e6) {
            for count in row {
                // Standard deviation of a part √(0.16/5e6) < 2e-4: 0.2 samples of 1000,
                // and one for cutting.
                assert!((198..=202).contains(&count), "{count}");
            }
        }
        let most: u32 = (0..3)
            .map(|class| counts(0.01).iter().map(|row| row[class]).max().unwrap())
            .sum();
        assert!(most > 2500, "{most}");
    }

    proptest! {
        // A partition that cannot be drawn takes a thousand draws to say so.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_sample_is_held_once(
            (sample_count, client_count) in (1usize..1000).prop_flat_map(|samples| (Just(samples), 1..=samples.min(40))),
            alpha in prop::sample::select(vec![0.001, 0.1, 0.3, 1.0, 10.0, 1e6]),
            samples_min in 1u32..20,
            seed: u64,
        ) {
            let dataset = small_dataset(sample_count);
            let scheme = Scheme::Dirichlet { alpha, samples_min };
            let partition = match scheme.partition(&dataset, client_count, seed) {
                Ok(partition) => partition,
                Err(PartitionError::SamplesMin { .. }) => {
                    prop_assert!(client_count * samples_min as usize > sample_count);
                    return Ok(());
                }
                Err(PartitionError::Draws { smallest_max, .. }) => {
                    prop_assert!(smallest_max < samples_min as usize);
                    return Ok(());
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            prop_assert_eq!(partition.client_count(), client_count);
            prop_assert!(partition.iter().all(|share| share.len() >= samples_min as usize));
            let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, indices(sample_count));
            prop_assert_eq!(scheme.partition(&dataset, client_count, seed), Ok(partition));
        }

        #[test]
        fn a_cut_gives_all_away(
            parts in prop::collection::vec(0.0f64..1.0, 1..20),
            count in 0usize..10_000,
        ) {
            let sum: f64 = parts.iter().sum();
            let parts: Vec<f64> = parts.iter().map(|part| part / sum.max(1e-9)).collect();
            let shares: Vec<usize> = cut(&parts, count).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), count);
            if sum > 1e-6 {
                for (share, part) in shares.iter().zip(&parts) {
                    prop_assert!((*share as f64 - part * count as f64).abs() <= 1.0 + 1e-6);
                }
            }
        }
    }
}
