//! Noise on the inputs of each client, as of sensors that differ.
//!
//! Noise-based feature imbalance of Li et al., *Federated Learning on Non-IID
//! Data Silos: An Experimental Study*, ICDE 2022 (NIID-Bench, recalled): party
//! `i` of `N` has Gaussian noise of `σ · i/N` added to its samples, of which its
//! program makes the standard deviation. The test set stays as it is.

use zfl_seed::{Purpose, Stream};

use crate::dataset::{Dataset, DatasetError};
use crate::partition::Partition;
use crate::variates::normal_pair;

/// `train` with noise on the samples that `partition` deals out: of client `i`
/// (from 1) of `n`, Gaussian noise of mean 0 and the standard deviation
/// `sigma · i/n`, where 1 is the range of the values of `train`. A value is
/// rounded to a whole byte and clipped to 0 to 255.
///
/// Each client's noise is a stream [`Purpose::FeatureNoise`] of `seed`, in the
/// order of its share: a share that is cut short keeps its noise.
///
/// # Errors
/// None where `partition` is one of `train`.
pub fn add(
    train: &Dataset,
    partition: &Partition,
    sigma: f64,
    seed: u64,
) -> Result<Dataset, DatasetError> {
    let mut samples = train.samples().to_vec();
    let (low, high) = train.value_range();
    let range = f64::from(high) - f64::from(low);
    let input_count = train.input_count();
    for (client, share) in (0..).zip(partition.iter()) {
        let part = f64::from(client + 1) / partition.client_count() as f64;
        let deviation = sigma * part * range;
        let mut stream = Stream::new(seed, Purpose::FeatureNoise, client);
        for sample in share {
            let start = (*sample as usize).saturating_mul(input_count);
            let inputs = samples.get_mut(start..start.saturating_add(input_count));
            for pair in inputs.unwrap_or_default().chunks_mut(2) {
                for (input, variate) in pair.iter_mut().zip(normal_pair(&mut stream)) {
                    // Saturates, which is the clipping.
                    *input = (f64::from(*input) + deviation * variate).round() as u8;
                }
            }
        }
    }
    train.with_samples(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::DatasetParts;
    use crate::partition::Scheme;

    /// Samples of `inputs`, each that many times the same byte but for one that
    /// spreads the range to all bytes.
    fn grey(sample_count: usize, inputs: usize) -> Dataset {
        let mut samples = vec![128; sample_count * inputs];
        samples[0] = 0;
        samples[1] = 255;
        Dataset::new(DatasetParts {
            name: "grey".into(),
            origin: "test".into(),
            sample_shape: vec![inputs],
            samples,
            labels: vec![0; sample_count],
            class_count: 1,
            value_scale: 1.0 / 255.0,
            groups: None,
            schema: Default::default(),
        })
        .unwrap()
    }

    /// Mean and standard deviation of the noise of each client.
    fn noise(before: &Dataset, after: &Dataset, partition: &Partition) -> Vec<(f64, f64, usize)> {
        let difference = |sample: &u32| {
            let index = *sample as usize;
            let pairs = before
                .sample(index)
                .unwrap()
                .iter()
                .zip(after.sample(index).unwrap());
            pairs
                .map(|(before, after)| f64::from(*after) - f64::from(*before))
                .collect::<Vec<_>>()
        };
        let of_share = |share: &[u32]| {
            // Sample 0 has bytes at the ends of the range, which are clipped.
            let differences: Vec<f64> = share
                .iter()
                .filter(|sample| **sample > 0)
                .flat_map(difference)
                .collect();
            let count = differences.len();
            let mean = differences.iter().sum::<f64>() / count as f64;
            let squares = differences.iter().map(|value| (value - mean).powi(2));
            (mean, (squares.sum::<f64>() / count as f64).sqrt(), count)
        };
        partition.iter().map(of_share).collect()
    }

    #[test]
    fn noise_grows_with_the_number_of_the_client() {
        let train = grey(400, 101);
        let partition = Scheme::Iid.partition(&train, 4, 1).unwrap();
        let sigma = 0.1;
        let noisy = add(&train, &partition, sigma, 1).unwrap();
        for (client, (mean, deviation, count)) in
            noise(&train, &noisy, &partition).into_iter().enumerate()
        {
            // Rounding to whole bytes adds a variance of 1/12. No byte is
            // clipped: the ends are five deviations away. Standard errors
            // s/√n of the mean and s/√(2n) of the deviation; five of them.
            let expected = sigma * 255.0 * (client + 1) as f64 / 4.0;
            let expected = (expected * expected + 1.0 / 12.0).sqrt();
            let error = expected / (count as f64).sqrt();
            assert!(mean.abs() < 5.0 * error, "{client}: {mean}");
            let off = (deviation - expected).abs();
            assert!(off < 5.0 * error / 2f64.sqrt(), "{client}: {deviation}");
        }
    }

    #[test]
    fn noise_follows_its_seed_and_the_share() {
        let train = grey(40, 3);
        let partition = Scheme::Iid.partition(&train, 4, 1).unwrap();
        let noisy = |partition, seed| {
            add(&train, partition, 0.1, seed)
                .unwrap()
                .samples()
                .to_vec()
        };
        assert_eq!(noisy(&partition, 1), noisy(&partition, 1));
        assert_ne!(noisy(&partition, 1), noisy(&partition, 2));
        // A share that is cut short keeps its noise; what nobody holds has none.
        let cut = partition.truncated(|_| Some(2));
        let (whole, part) = (noisy(&partition, 1), noisy(&cut, 1));
        for sample in 0..40u32 {
            let place = sample as usize * 3..sample as usize * 3 + 3;
            let is_held = cut.iter().any(|share| share.contains(&sample));
            let expected = if is_held { &whole } else { train.samples() };
            assert_eq!(part[place.clone()], expected[place]);
        }
    }

    #[test]
    fn no_noise_changes_nothing() {
        let train = grey(40, 3);
        let partition = Scheme::Iid.partition(&train, 4, 1).unwrap();
        let same = add(&train, &partition, 0.0, 1).unwrap();
        assert_eq!(same.samples(), train.samples());
        assert_eq!(same.labels(), train.labels());
        assert_eq!(same.value_scale(), train.value_scale());
    }

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_noise_is_pinned() {
        let train = grey(4, 3);
        let partition = Partition::from_shares([[1, 2], [3, 0]], 4).unwrap();
        let noisy = add(&train, &partition, 0.2, 1).unwrap();
        assert_eq!(
            noisy.samples(),
            [32, 252, 170, 151, 142, 133, 102, 128, 124, 186, 106, 149]
        );
    }
}
