//! Which client holds which sample.
//!
//! A [`Scheme`] deals the samples of a training part out to clients; the
//! result is a [`Partition`], index lists in one array. Every choice comes
//! from the stream [`Purpose::Partition`] of the run's seed. Whatever makes a
//! partition that is not cut from one order goes through
//! [`Partition::from_shares`], which holds each sample to one client.

mod dirichlet;
mod label_limited;
mod natural;
mod quantity_skew;

use std::ops::RangeInclusive;

use thiserror::Error;
use zfl_seed::{Purpose, Stream};

use crate::dataset::{Dataset, DatasetError, View, count_labels, indices};

/// The smallest and the largest concentration of a Dirichlet distribution that
/// is drawn from: below, one client holds all; above, all parts are equal.
pub const ALPHA_RANGE: RangeInclusive<f64> = 1e-3..=1e6;
/// The smallest and the largest exponent of a power law of sizes: at 0 all are
/// equal, above the largest one client holds nearly all.
pub const EXPONENT_RANGE: RangeInclusive<f64> = 0.0..=10.0;

/// A partition that cannot be made.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// Nobody to deal to.
    #[error("0 clients: at least one is needed")]
    NoClients,
    /// Some clients would hold nothing.
    #[error(
        "{client_count} clients for {sample_count} samples: each needs at least one; lower the number of clients"
    )]
    TooManyClients {
        /// The clients asked for.
        client_count: usize,
        /// The samples there are.
        sample_count: usize,
    },
    /// Shares of nothing.
    #[error("0 samples per client: each needs at least one")]
    NoSamplesPerClient,
    /// Shares that are larger than the whole.
    #[error(
        "{client_count} clients with {samples_per_client} samples each need {}, but there are {sample_count}: at most {} each",
        u64::try_from(*client_count).unwrap_or(u64::MAX).saturating_mul((*samples_per_client).into()),
        sample_count / (*client_count).max(1)
    )]
    TooManySamplesPerClient {
        /// The clients asked for.
        client_count: usize,
        /// What each should hold.
        samples_per_client: u32,
        /// The samples there are.
        sample_count: usize,
    },
    /// Shards of nothing.
    #[error("0 shards per client: each needs at least one")]
    NoShards,
    /// Some shards would be empty.
    #[error(
        "{client_count} clients with {shards_per_client} shards each for {sample_count} samples: each shard needs at least one; lower the shards per client"
    )]
    TooManyShards {
        /// The clients asked for.
        client_count: usize,
        /// What each should hold.
        shards_per_client: u32,
        /// The samples there are.
        sample_count: usize,
    },
    /// A concentration that is not drawn from.
    #[error(
        "alpha is {alpha}; allowed are {} to {}",
        ALPHA_RANGE.start(),
        ALPHA_RANGE.end()
    )]
    Alpha {
        /// The concentration given.
        alpha: f64,
    },
    /// An exponent that no sizes are made of.
    #[error(
        "the exponent is {exponent}; allowed are {} to {}",
        EXPONENT_RANGE.start(),
        EXPONENT_RANGE.end()
    )]
    Exponent {
        /// The exponent given.
        exponent: f64,
    },
    /// The smallest shares together are larger than the whole.
    #[error(
        "{client_count} clients with at least {samples_min} samples each need {}, but there are {sample_count}: at least {} each is possible",
        u64::try_from(*client_count).unwrap_or(u64::MAX).saturating_mul((*samples_min).into()),
        sample_count / (*client_count).max(1)
    )]
    SamplesMin {
        /// The clients asked for.
        client_count: usize,
        /// What each should hold at least.
        samples_min: u32,
        /// The samples there are.
        sample_count: usize,
    },
    /// Drawn until patience ran out.
    #[error(
        "none of {draw_count} draws gave each of {client_count} clients at least {samples_min} samples; in the best one the smallest share was {smallest_max}: raise alpha, or lower the least samples or the number of clients"
    )]
    Draws {
        /// How often was drawn.
        draw_count: usize,
        /// The clients asked for.
        client_count: usize,
        /// What each should hold at least.
        samples_min: u32,
        /// The largest of the draws' smallest shares.
        smallest_max: usize,
    },
    /// More classes than there are, or none.
    #[error(
        "{classes} classes per client; allowed are 1 to {class_count}, the classes that have samples"
    )]
    Classes {
        /// What each client should hold.
        classes: u32,
        /// The classes that have samples.
        class_count: usize,
    },
    /// Some classes would be held by nobody.
    #[error(
        "{client_count} clients with {classes} classes each cannot hold all {class_count}: raise either of them"
    )]
    TooFewHolders {
        /// The clients asked for.
        client_count: usize,
        /// What each should hold.
        classes: u32,
        /// The classes that have samples.
        class_count: usize,
    },
    /// A client whose classes went to others.
    #[error(
        "client {client} is left without samples: each of its {classes} classes has more clients than samples; lower the number of clients"
    )]
    LeftWithout {
        /// The client.
        client: usize,
        /// How many classes it was to hold.
        classes: u32,
    },
    /// Nobody knows who the samples belong to.
    #[error(
        "data set `{name}` does not say who its samples belong to: choose another partition, or a data set with groups"
    )]
    NoGroups {
        /// The data set.
        name: String,
    },
    /// Some clients would be given no group.
    #[error(
        "{client_count} clients for {group_count} groups of samples: each needs at least one; lower the number of clients"
    )]
    TooFewGroups {
        /// The clients asked for.
        client_count: usize,
        /// The groups that have samples.
        group_count: usize,
    },
    /// A sample that does not exist.
    #[error("client {client} holds sample {sample}, but there are {sample_count}")]
    NoSuchSample {
        /// The client.
        client: usize,
        /// The index it holds.
        sample: u32,
        /// The samples there are.
        sample_count: usize,
    },
    /// A sample held twice.
    #[error("client {client} holds sample {sample}, which is held already")]
    HeldTwice {
        /// The second holder.
        client: usize,
        /// The sample.
        sample: u32,
    },
}

/// How samples are dealt out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// Independent and identically distributed: shuffled and cut into shares
    /// whose sizes differ by at most one, the larger ones first. Every sample
    /// is held by exactly one client.
    Iid,
    /// As [`Scheme::Iid`], but each client holds as many samples as said, and
    /// those left over are held by nobody.
    IidSubset {
        /// Samples of each client; at least 1.
        samples_per_client: u32,
    },
    /// Few labels a client: sorted by label, cut into shards whose sizes
    /// differ by at most one, and each client is given as many shards as said,
    /// drawn at random. Every sample is held by exactly one client.
    Shards {
        /// Shards of each client; at least 1.
        per_client: u32,
    },
    /// Labels in unequal parts: of each class, the clients are given parts
    /// drawn from a symmetric Dirichlet distribution. Shares differ in labels
    /// and in size. Every sample is held by exactly one client.
    Dirichlet {
        /// The concentration, within [`ALPHA_RANGE`]: near 0 a class goes to
        /// few clients, far above 1 to all alike.
        alpha: f64,
        /// The fewest samples of a client; at least 1. It is drawn anew until
        /// all have as many.
        samples_min: u32,
    },
    /// A few classes a client: each is given as many as said, drawn at random so
    /// that each class has somebody; those that have the same class share it
    /// equally. Every sample is held by exactly one client.
    LabelLimited {
        /// Classes of each client; at least 1. A client may have fewer where a
        /// class has more clients than samples.
        classes: u32,
    },
    /// As [`Scheme::Iid`] but for the sizes of the shares. Every sample is held
    /// by exactly one client.
    QuantitySkew {
        /// What the sizes follow.
        sizes: ShareSizes,
        /// The fewest samples of a client; at least 1.
        samples_min: u32,
    },
    /// Whole groups, who a sample belongs to by nature: with as many clients
    /// as groups, client `i` is the `i`-th group that has samples; with fewer
    /// the groups are shuffled and dealt in turn, so that their numbers differ
    /// by at most one. Every sample is held by exactly one client.
    Natural,
}

/// What sizes of shares follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ShareSizes {
    /// After the fewest samples of all, the client of rank `r` (from 1, drawn at
    /// random) is given a part of the rest in proportion to `r` to the power of
    /// minus `exponent`.
    PowerLaw {
        /// Within [`EXPONENT_RANGE`].
        exponent: f64,
    },
    /// Parts of all samples are drawn from a symmetric Dirichlet distribution,
    /// anew until each is large enough.
    Dirichlet {
        /// The concentration, within [`ALPHA_RANGE`].
        alpha: f64,
    },
}

impl Scheme {
    /// Deals the samples of `dataset` out to `client_count` clients.
    ///
    /// # Errors
    /// [`PartitionError`] if there are no clients, or not samples enough for
    /// them.
    pub fn partition(
        self,
        dataset: &Dataset,
        client_count: usize,
        seed: u64,
    ) -> Result<Partition, PartitionError> {
        let sample_count = dataset.sample_count();
        if client_count == 0 {
            return Err(PartitionError::NoClients);
        }
        if client_count > sample_count {
            return Err(PartitionError::TooManyClients {
                client_count,
                sample_count,
            });
        }
        match self {
            Self::Iid => Ok(iid(sample_count, client_count, seed)),
            Self::IidSubset { samples_per_client } => {
                iid_subset(sample_count, client_count, samples_per_client, seed)
            }
            Self::Shards { per_client } => shards(dataset, client_count, per_client, seed),
            Self::Dirichlet { alpha, samples_min } => {
                dirichlet::by_label(dataset, client_count, alpha, samples_min, seed)
            }
            Self::LabelLimited { classes } => {
                label_limited::by_classes(dataset, client_count, classes, seed)
            }
            Self::QuantitySkew { sizes, samples_min } => {
                quantity_skew::by_size(sample_count, client_count, sizes, samples_min, seed)
            }
            Self::Natural => natural::by_group(dataset, client_count, seed),
        }
    }
}

/// As in section 3 of McMahan et al., *Communication-Efficient Learning of
/// Deep Networks from Decentralized Data*, AISTATS 2017: "IID, where the data
/// is shuffled, and then partitioned".
fn iid(sample_count: usize, client_count: usize, seed: u64) -> Partition {
    let mut order = indices(sample_count);
    Stream::new(seed, Purpose::Partition, 0).shuffle(&mut order);
    let share = sample_count / client_count;
    let remainder = sample_count % client_count;
    let ends = (1..=client_count)
        .map(|clients| clients * share + clients.min(remainder))
        .collect();
    Partition { order, ends }
}

/// The first samples of the order that [`iid`] deals.
fn iid_subset(
    sample_count: usize,
    client_count: usize,
    samples_per_client: u32,
    seed: u64,
) -> Result<Partition, PartitionError> {
    if samples_per_client == 0 {
        return Err(PartitionError::NoSamplesPerClient);
    }
    let too_many = PartitionError::TooManySamplesPerClient {
        client_count,
        samples_per_client,
        sample_count,
    };
    let share = usize::try_from(samples_per_client).unwrap_or(usize::MAX);
    let held = share.checked_mul(client_count);
    let Some(held) = held.filter(|held| *held <= sample_count) else {
        return Err(too_many);
    };
    let mut order = iid(sample_count, client_count, seed).order;
    order.truncate(held);
    let ends = (1..=client_count).map(|clients| clients * share).collect();
    Ok(Partition { order, ends })
}

/// As in section 3 of McMahan et al. (see [`iid`]): "first sort the data by
/// digit label, divide it into 200 shards of size 300, and assign each of 100
/// clients 2 shards".
fn shards(
    dataset: &Dataset,
    client_count: usize,
    per_client: u32,
    seed: u64,
) -> Result<Partition, PartitionError> {
    if per_client == 0 {
        return Err(PartitionError::NoShards);
    }
    let sample_count = dataset.sample_count();
    let held = usize::try_from(per_client).unwrap_or(usize::MAX);
    let shard_count = client_count
        .checked_mul(held)
        .filter(|shard_count| *shard_count <= sample_count)
        .ok_or(PartitionError::TooManyShards {
            client_count,
            shards_per_client: per_client,
            sample_count,
        })?;
    let mut sorted = indices(sample_count);
    // Stable: samples of one label stay in their order.
    sorted.sort_by_key(|sample| dataset.label(*sample as usize));
    let (size, remainder) = (sample_count / shard_count, sample_count % shard_count);
    let start = |shard: usize| shard * size + shard.min(remainder);
    let mut drawn = indices(shard_count);
    Stream::new(seed, Purpose::Partition, 0).shuffle(&mut drawn);
    let mut order = Vec::with_capacity(sample_count);
    let mut ends = Vec::with_capacity(client_count);
    for shards in drawn.chunks(held) {
        for shard in shards {
            let shard = *shard as usize;
            order.extend(sorted.get(start(shard)..start(shard + 1)).unwrap_or(&[]));
        }
        ends.push(order.len());
    }
    Ok(Partition { order, ends })
}

/// The samples of each class that has any, in the order of `order`.
fn by_class(dataset: &Dataset, order: &[u32]) -> Vec<Vec<u32>> {
    let mut classes = vec![Vec::new(); dataset.class_count()];
    for sample in order {
        let label = dataset.label(*sample as usize).map(usize::from);
        if let Some(class) = label.and_then(|label| classes.get_mut(label)) {
            class.push(*sample);
        }
    }
    classes.retain(|class| !class.is_empty());
    classes
}

/// A partition in which each sample of `order` goes to the client that
/// `holders` has for it; shares keep the order.
fn gathered(
    order: &[u32],
    holders: &[u32],
    client_count: usize,
) -> Result<Partition, PartitionError> {
    let mut shares = vec![Vec::new(); client_count];
    for sample in order {
        let holder = holders.get(*sample as usize);
        if let Some(share) = holder.and_then(|holder| shares.get_mut(*holder as usize)) {
            share.push(*sample);
        }
    }
    Partition::from_shares(shares, order.len())
}

/// The samples of each client: index lists into one data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The shares, one client after the other.
    order: Vec<u32>,
    /// Where each client's share ends in `order`.
    ends: Vec<usize>,
}

impl Partition {
    /// A partition of `sample_count` samples from one index list per client.
    /// A sample may be left out, and a share may be empty.
    ///
    /// # Errors
    /// [`PartitionError`] if a sample does not exist or is held twice, or
    /// there are no clients.
    pub fn from_shares<S: AsRef<[u32]>>(
        shares: impl IntoIterator<Item = S>,
        sample_count: usize,
    ) -> Result<Self, PartitionError> {
        let mut order = Vec::with_capacity(sample_count);
        let mut ends = Vec::new();
        let mut held = vec![false; sample_count];
        for (client, share) in shares.into_iter().enumerate() {
            for &sample in share.as_ref() {
                match held.get_mut(sample as usize) {
                    None => {
                        return Err(PartitionError::NoSuchSample {
                            client,
                            sample,
                            sample_count,
                        });
                    }
                    Some(true) => return Err(PartitionError::HeldTwice { client, sample }),
                    Some(free) => *free = true,
                }
                order.push(sample);
            }
            ends.push(order.len());
        }
        if ends.is_empty() {
            return Err(PartitionError::NoClients);
        }
        Ok(Self { order, ends })
    }

    /// The same where a client holds at most as many samples as `samples_max` says,
    /// the first of its share; nobody holds the others.
    #[must_use]
    pub fn truncated(&self, samples_max: impl Fn(usize) -> Option<usize>) -> Self {
        let mut order = Vec::with_capacity(self.order.len());
        let mut ends = Vec::with_capacity(self.ends.len());
        for (client, share) in self.iter().enumerate() {
            let len = samples_max(client).map_or(share.len(), |max| share.len().min(max));
            order.extend(share.get(..len).unwrap_or(share));
            ends.push(order.len());
        }
        Self { order, ends }
    }

    /// How many clients there are, at least 1.
    pub fn client_count(&self) -> usize {
        self.ends.len()
    }

    /// How many samples all clients hold together.
    pub fn sample_count(&self) -> usize {
        self.order.len()
    }

    /// The indices of the samples that `client` holds; `None` if there is no
    /// such client.
    pub fn client(&self, client: usize) -> Option<&[u32]> {
        let end = *self.ends.get(client)?;
        let start = match client.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.order.get(start..end)
    }

    /// The share of each client, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.client_count()).filter_map(|client| self.client(client))
    }

    /// What `client` sees of `dataset`, which must be the one the partition
    /// was made of; `None` if there is no such client.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchSample`] if `dataset` is a smaller one.
    pub fn view(&self, dataset: &Dataset, client: usize) -> Option<Result<View, DatasetError>> {
        self.client(client).map(|share| dataset.view(share))
    }

    /// How many samples of each class each client holds,
    /// `[client][class_count]`.
    pub fn label_counts(&self, dataset: &Dataset) -> Vec<Vec<u32>> {
        self.iter()
            .map(|share| {
                let labels = share
                    .iter()
                    .filter_map(|sample| dataset.label(*sample as usize));
                count_labels(labels, dataset.class_count())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::small_dataset;

    #[test]
    fn a_share_can_be_cut_short() {
        let whole = Scheme::Iid.partition(&small_dataset(10), 3, 1).unwrap();
        let cut = whole.truncated(|client| [Some(2), None, Some(100)].get(client).copied()?);
        let lens = |partition: &Partition| partition.iter().map(<[u32]>::len).collect::<Vec<_>>();
        assert_eq!(lens(&whole), [4, 3, 3]);
        assert_eq!(lens(&cut), [2, 3, 3]);
        for (cut, whole) in cut.iter().zip(whole.iter()) {
            assert!(whole.starts_with(cut));
        }
    }

    #[test]
    fn impossible_numbers_of_clients_are_refused() {
        let dataset = small_dataset(5);
        assert_eq!(
            Scheme::Iid.partition(&dataset, 0, 1),
            Err(PartitionError::NoClients)
        );
        assert_eq!(
            Scheme::Iid
                .partition(&dataset, 6, 1)
                .unwrap_err()
                .to_string(),
            "6 clients for 5 samples: each needs at least one; lower the number of clients"
        );
    }

    /// Part of the format of a run: if this fails, old runs cannot be reproduced.
    #[test]
    fn the_iid_partition_is_pinned() {
        let partition = Scheme::Iid.partition(&small_dataset(8), 3, 1).unwrap();
        let shares: Vec<&[u32]> = partition.iter().collect();
        // The shuffle itself is pinned by `zfl_seed`.
        let mut order = indices(8);
        Stream::new(1, Purpose::Partition, 0).shuffle(&mut order);
        assert_eq!(shares, [&order[..3], &order[3..6], &order[6..]]);
        assert_eq!(shares, [&[5, 0, 7][..], &[4, 6, 2], &[3, 1]]);
    }

    #[test]
    fn a_subset_deals_the_order_of_the_whole() {
        let dataset = small_dataset(8);
        let deal = |samples_per_client, clients| {
            Scheme::IidSubset { samples_per_client }.partition(&dataset, clients, 1)
        };
        let partition = deal(2, 3).unwrap();
        let shares: Vec<&[u32]> = partition.iter().collect();
        assert_eq!(shares, [[5, 0], [7, 4], [6, 2]]);
        assert_eq!(partition.sample_count(), 6);
        // All of it is the whole partition.
        assert_eq!(deal(4, 2), Scheme::Iid.partition(&dataset, 2, 1));

        assert_eq!(deal(0, 3), Err(PartitionError::NoSamplesPerClient));
        assert_eq!(
            deal(3, 3).unwrap_err().to_string(),
            "3 clients with 3 samples each need 9, but there are 8: at most 2 each"
        );
        assert!(deal(u32::MAX, 8).is_err());
    }

    /// Part of the format of a run, as the IID one.
    #[test]
    fn the_partition_by_shards_is_pinned() {
        // Labels are the index modulo 3: sorted 0 3 6, 1 4 7, 2 5. Six shards,
        // of which the first two hold two samples.
        let deal = |seed| {
            Scheme::Shards { per_client: 2 }
                .partition(&small_dataset(8), 3, seed)
                .unwrap()
        };
        let sorted: [&[u32]; 6] = [&[0, 3], &[6, 1], &[4], &[7], &[2], &[5]];
        let mut drawn: Vec<usize> = (0..6).collect();
        Stream::new(1, Purpose::Partition, 0).shuffle(&mut drawn);
        let expected: Vec<Vec<u32>> = drawn
            .chunks(2)
            .map(|shards| {
                shards
                    .iter()
                    .flat_map(|shard| sorted[*shard])
                    .copied()
                    .collect()
            })
            .collect();
        let shares: Vec<Vec<u32>> = deal(1).iter().map(<[u32]>::to_vec).collect();
        assert_eq!(shares, expected);
        assert!((2..10).any(|seed| deal(seed) != deal(1)));
    }

    /// As in the paper, to scale: a client has few labels.
    #[test]
    fn two_shards_hold_few_labels() {
        let dataset = small_dataset(600);
        let partition = Scheme::Shards { per_client: 2 }
            .partition(&dataset, 10, 1)
            .unwrap();
        for counts in partition.label_counts(&dataset) {
            assert_eq!(counts.iter().sum::<u32>(), 60);
            // A shard of 30 lies in at most two of the 200 samples of a label.
            assert!(counts.iter().filter(|count| **count > 0).count() <= 4);
        }
    }

    #[test]
    fn impossible_numbers_of_shards_are_refused() {
        let deal = |per_client| Scheme::Shards { per_client }.partition(&small_dataset(5), 2, 1);
        assert_eq!(
            deal(0).unwrap_err().to_string(),
            "0 shards per client: each needs at least one"
        );
        assert!(deal(2).is_ok());
        assert_eq!(
            deal(3).unwrap_err().to_string(),
            "2 clients with 3 shards each for 5 samples: each shard needs at least one; lower the shards per client"
        );
        assert!(deal(u32::MAX).is_err());
    }

    #[test]
    fn a_partition_follows_its_seed() {
        let dataset = small_dataset(100);
        let deal = |seed| Scheme::Iid.partition(&dataset, 10, seed).unwrap();
        assert_eq!(deal(1), deal(1));
        assert_ne!(deal(1), deal(2));
    }

    #[test]
    fn shares_are_checked() {
        let check = |shares: &[&[u32]]| Partition::from_shares(shares, 4);
        assert_eq!(check(&[]), Err(PartitionError::NoClients));
        assert_eq!(
            check(&[&[0], &[4]]).unwrap_err().to_string(),
            "client 1 holds sample 4, but there are 4"
        );
        assert_eq!(
            check(&[&[0, 1], &[2, 1]]).unwrap_err().to_string(),
            "client 1 holds sample 1, which is held already"
        );
        let partition = check(&[&[3, 0], &[], &[2]]).unwrap();
        assert_eq!(partition.client(0), Some(&[3, 0][..]));
        assert_eq!(partition.client(1), Some(&[][..]));
        assert_eq!(partition.client(2), Some(&[2][..]));
        assert_eq!(partition.client(3), None);
        assert_eq!(partition.client(usize::MAX), None);
        assert_eq!(partition.sample_count(), 3);
    }

    #[test]
    fn label_counts_follow_the_shares() {
        // Labels are the index modulo 3.
        let partition = Partition::from_shares([vec![0, 3, 1], vec![2]], 6).unwrap();
        assert_eq!(
            partition.label_counts(&small_dataset(6)),
            [[2, 1, 0], [0, 0, 1]]
        );
    }

    #[test]
    fn a_view_is_the_share_of_its_client() {
        let dataset = small_dataset(10);
        let partition = Scheme::Iid.partition(&dataset, 3, 7).unwrap();
        let view = partition.view(&dataset, 1).unwrap().unwrap();
        assert_eq!(view.indices(), partition.client(1).unwrap());
        assert!(partition.view(&dataset, 3).is_none());
        assert!(partition.view(&small_dataset(1), 1).unwrap().is_err());
    }

    proptest! {
        #[test]
        fn iid_deals_each_sample_once_in_equal_shares(
            (sample_count, client_count) in (1usize..2000).prop_flat_map(|samples| (Just(samples), 1..=samples)),
            seed: u64,
        ) {
            let dataset = small_dataset(sample_count);
            let partition = Scheme::Iid.partition(&dataset, client_count, seed).unwrap();
            prop_assert_eq!(partition.client_count(), client_count);
            let sizes: Vec<usize> = partition.iter().map(<[u32]>::len).collect();
            prop_assert_eq!(sizes.iter().sum::<usize>(), sample_count);
            for size in &sizes {
                let share = sample_count / client_count;
                if sample_count % client_count == 0 {
                    prop_assert_eq!(*size, share);
                } else {
                    prop_assert!(*size == share || *size == share + 1);
                }
            }
            let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, indices(sample_count));
            // The checked constructor agrees.
            prop_assert_eq!(Partition::from_shares(partition.iter(), sample_count), Ok(partition));
        }

        #[test]
        fn a_subset_deals_each_sample_at_most_once(
            (sample_count, client_count) in (1usize..2000).prop_flat_map(|samples| (Just(samples), 1..=samples)),
            samples_per_client in 1u32..100,
            seed: u64,
        ) {
            let dataset = small_dataset(sample_count);
            let scheme = Scheme::IidSubset { samples_per_client };
            let needed = client_count * samples_per_client as usize;
            match scheme.partition(&dataset, client_count, seed) {
                Err(_) => prop_assert!(needed > sample_count),
                Ok(partition) => {
                    prop_assert_eq!(partition.sample_count(), needed);
                    prop_assert!(partition.iter().all(|share| share.len() == samples_per_client as usize));
                    prop_assert_eq!(Partition::from_shares(partition.iter(), sample_count), Ok(partition));
                }
            }
        }

        #[test]
        fn shards_deal_each_sample_once(
            (sample_count, client_count) in (1usize..1000).prop_flat_map(|samples| (Just(samples), 1..=samples)),
            per_client in 1u32..5,
            seed: u64,
        ) {
            let dataset = small_dataset(sample_count);
            let scheme = Scheme::Shards { per_client };
            let shard_count = client_count * per_client as usize;
            match scheme.partition(&dataset, client_count, seed) {
                Err(_) => prop_assert!(shard_count > sample_count),
                Ok(partition) => {
                    prop_assert_eq!(partition.client_count(), client_count);
                    let share = sample_count / shard_count * per_client as usize;
                    for samples in partition.iter() {
                        prop_assert!((share..=share + per_client as usize).contains(&samples.len()));
                    }
                    let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
                    all.sort_unstable();
                    prop_assert_eq!(all, indices(sample_count));
                    prop_assert_eq!(Partition::from_shares(partition.iter(), sample_count), Ok(partition));
                }
            }
        }

        /// Shares of a large IID partition have about the labels of the whole.
        #[test]
        fn iid_shares_are_mixed(seed: u64) {
            let dataset = small_dataset(3000);
            let partition = Scheme::Iid.partition(&dataset, 10, seed).unwrap();
            for counts in partition.label_counts(&dataset) {
                for count in counts {
                    // 100 expected, standard deviation about 8.
                    prop_assert!((50..=150).contains(&count));
                }
            }
        }
    }
}
