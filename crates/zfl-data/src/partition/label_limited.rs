//! A few classes a client.
//!
//! Quantity-based label imbalance, `#C = k`, of Li et al., *Federated Learning
//! on Non-IID Data Silos: An Experimental Study*, ICDE 2022 (NIID-Bench,
//! recalled): each party is given `k` different labels at random, and the
//! samples of a label are divided at random and equally among the parties that
//! have it. As in its program, the first label of each party goes round, so
//! that every label has a party; here that also holds for fewer parties than
//! labels.

use zfl_seed::{Purpose, Stream};

use super::{Partition, PartitionError, by_class, gathered};
use crate::dataset::{Dataset, indices};

pub(super) fn by_classes(
    dataset: &Dataset,
    client_count: usize,
    classes: u32,
    seed: u64,
) -> Result<Partition, PartitionError> {
    let sample_count = dataset.sample_count();
    let mut stream = Stream::new(seed, Purpose::Partition, 0);
    let mut order = indices(sample_count);
    stream.shuffle(&mut order);
    let samples = by_class(dataset, &order);
    let class_count = samples.len();
    let held = usize::try_from(classes).unwrap_or(usize::MAX);
    if !(1..=class_count).contains(&held) {
        return Err(PartitionError::Classes {
            classes,
            class_count,
        });
    }
    if client_count.saturating_mul(held) < class_count {
        return Err(PartitionError::TooFewHolders {
            client_count,
            classes,
            class_count,
        });
    }

    let mut turn = indices(class_count);
    stream.shuffle(&mut turn);
    let mut holders_of = vec![Vec::new(); class_count];
    for (client, number) in indices(client_count).into_iter().enumerate() {
        // All classes once, however few clients there are: at most `held` of
        // them, as that many times the clients are all.
        let first = client % class_count;
        let mut chosen: Vec<u32> = turn
            .iter()
            .copied()
            .skip(first)
            .step_by(client_count)
            .collect();
        let mut others = indices(class_count);
        others.retain(|class| !chosen.contains(class));
        stream.shuffle(&mut others);
        chosen.extend(others);
        for class in chosen.iter().take(held) {
            if let Some(holders) = holders_of.get_mut(*class as usize) {
                holders.push(number);
            }
        }
    }

    let mut holders = vec![0; sample_count];
    let mut sizes = vec![0u32; client_count];
    for (samples, mut clients) in samples.iter().zip(holders_of) {
        // Who is given one more where it does not come out even.
        stream.shuffle(&mut clients);
        for (sample, client) in samples.iter().zip(clients.iter().cycle()) {
            if let Some(holder) = holders.get_mut(*sample as usize) {
                *holder = *client;
            }
            if let Some(size) = sizes.get_mut(*client as usize) {
                *size += 1;
            }
        }
    }
    match sizes.iter().position(|size| *size == 0) {
        Some(client) => Err(PartitionError::LeftWithout { client, classes }),
        None => gathered(&order, &holders, client_count),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Scheme;
    use super::*;
    use crate::testing::labelled_dataset;

    /// As many samples of each class.
    fn even(class_count: u8, samples_per_class: usize) -> Dataset {
        let labels = (0..class_count).cycle();
        let sample_count = usize::from(class_count) * samples_per_class;
        labelled_dataset(labels.take(sample_count).collect(), class_count.into())
    }

    fn deal(dataset: &Dataset, clients: usize, classes: u32) -> Result<Partition, String> {
        Scheme::LabelLimited { classes }
            .partition(dataset, clients, 1)
            .map_err(|error| error.to_string())
    }

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_partition_is_pinned() {
        let partition = deal(&even(4, 3), 3, 2).unwrap();
        let shares: Vec<&[u32]> = partition.iter().collect();
        assert_eq!(shares, [&[10, 0, 2][..], &[9, 8, 1, 4, 5], &[3, 11, 7, 6]]);
    }

    #[test]
    fn what_cannot_be_dealt_is_refused() {
        assert_eq!(
            deal(&even(4, 9), 3, 0).unwrap_err(),
            "0 classes per client; allowed are 1 to 4, the classes that have samples"
        );
        assert_eq!(
            deal(&even(4, 9), 3, 5).unwrap_err(),
            "5 classes per client; allowed are 1 to 4, the classes that have samples"
        );
        assert_eq!(
            deal(&even(4, 9), 3, 1).unwrap_err(),
            "3 clients with 1 classes each cannot hold all 4: raise either of them"
        );
        // Class 1 has one sample and half of the clients.
        let labels = [vec![0; 20], vec![1]].concat();
        let error = deal(&labelled_dataset(labels, 2), 8, 1).unwrap_err();
        assert!(
            error.ends_with(
                "is left without samples: each of its 1 classes has more clients than samples; lower the number of clients"
            ),
            "{error}"
        );
        // A class without samples is none.
        assert!(deal(&labelled_dataset(vec![0, 2, 2, 0], 3), 2, 3).is_err());
    }

    /// By symmetry each class has clients × classes / all classes holders in the
    /// mean over seeds.
    #[test]
    fn no_class_is_preferred() {
        const SEEDS: u64 = 300;
        const CLIENTS: usize = 7;
        let dataset = even(5, 20);
        let scheme = Scheme::LabelLimited { classes: 2 };
        let mut holders = [0u32; 5];
        for seed in 0..SEEDS {
            let partition = scheme.partition(&dataset, CLIENTS, seed).unwrap();
            for counts in partition.label_counts(&dataset) {
                for (sum, count) in holders.iter_mut().zip(counts) {
                    *sum += u32::from(count > 0);
                }
            }
        }
        let expected = CLIENTS as f64 * 2.0 / 5.0;
        for sum in holders {
            let mean = f64::from(sum) / SEEDS as f64;
            // A class has 1 to 7 holders, most by far 2 to 4: their standard
            // deviation is below 1.5, that of the mean below 0.087; five of them.
            assert!((mean - expected).abs() < 0.44, "{mean}");
        }
    }

    proptest! {
        #[test]
        fn each_client_has_its_classes_and_each_sample_is_held_once(
            class_count in 1u8..12,
            classes in 1u32..12,
            client_count in 1usize..30,
            seed: u64,
        ) {
            // More samples of a class than clients.
            let dataset = even(class_count, 40);
            let scheme = Scheme::LabelLimited { classes };
            let partition = match scheme.partition(&dataset, client_count, seed) {
                Ok(partition) => partition,
                Err(PartitionError::Classes { .. }) => {
                    prop_assert!(classes > u32::from(class_count));
                    return Ok(());
                }
                Err(error) => {
                    let is_few = matches!(error, PartitionError::TooFewHolders { .. });
                    prop_assert!(is_few, "{}", error);
                    prop_assert!(client_count * (classes as usize) < usize::from(class_count));
                    return Ok(());
                }
            };
            let counts = partition.label_counts(&dataset);
            for row in &counts {
                let held = row.iter().filter(|count| **count > 0).count();
                prop_assert_eq!(held, classes as usize);
            }
            // Who has a class has an equal part of it.
            for class in 0..usize::from(class_count) {
                let parts = || counts.iter().map(|row| row[class]).filter(|count| *count > 0);
                prop_assert!(parts().max().unwrap() - parts().min().unwrap() <= 1);
            }
            let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, indices(dataset.sample_count()));
        }

        /// Where classes are rare, fewer labels, but never more, and none is lost.
        #[test]
        fn rare_classes_are_shared_out_as_far_as_they_go(
            labels in prop::collection::vec(0u8..6, 1..80),
            classes in 1u32..7,
            client_count in 1usize..20,
            seed: u64,
        ) {
            let dataset = labelled_dataset(labels, 6);
            let scheme = Scheme::LabelLimited { classes };
            if let Ok(partition) = scheme.partition(&dataset, client_count, seed) {
                for row in partition.label_counts(&dataset) {
                    let held = row.iter().filter(|count| **count > 0).count();
                    prop_assert!((1..=classes as usize).contains(&held));
                }
                let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
                all.sort_unstable();
                prop_assert_eq!(all, indices(dataset.sample_count()));
            }
        }
    }
}
