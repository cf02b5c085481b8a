//! Whole groups: a client holds what belongs to one person, machine or place.
//!
//! As the data sets of Caldas et al., *LEAF: A Benchmark for Federated
//! Settings*, 2018, are shared out (recalled): by the writer of a digit, by the
//! speaker of a line.

use zfl_seed::{Purpose, Stream};

use super::{Partition, PartitionError, gathered};
use crate::dataset::{Dataset, indices};

pub(super) fn by_group(
    dataset: &Dataset,
    client_count: usize,
    seed: u64,
) -> Result<Partition, PartitionError> {
    let groups = dataset.groups().ok_or_else(|| PartitionError::NoGroups {
        name: dataset.name().to_owned(),
    })?;
    // A split into training and test part may leave a group without samples here.
    let mut present = groups.members.clone();
    present.sort_unstable();
    present.dedup();
    let group_count = present.len();
    if client_count > group_count {
        return Err(PartitionError::TooFewGroups {
            client_count,
            group_count,
        });
    }
    let mut stream = Stream::new(seed, Purpose::Partition, 0);
    if client_count < group_count {
        stream.shuffle(&mut present);
    }
    let mut holder_of = vec![0; groups.names.len()];
    let clients = indices(client_count);
    for (group, client) in present.iter().zip(clients.iter().cycle()) {
        if let Some(holder) = holder_of.get_mut(*group as usize) {
            *holder = *client;
        }
    }
    let holder = |group: &u32| holder_of.get(*group as usize).copied();
    let holders: Vec<u32> = groups.members.iter().filter_map(holder).collect();
    // So that a share that is cut short keeps some of all that it had.
    let mut order = indices(dataset.sample_count());
    stream.shuffle(&mut order);
    gathered(&order, &holders, client_count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::Scheme;
    use super::*;
    use crate::dataset::{DatasetParts, Groups};
    use crate::testing::small_dataset;

    /// One sample for each member.
    fn dataset(names: &[&str], members: &[u32]) -> Dataset {
        Dataset::new(DatasetParts {
            name: "machines".into(),
            origin: "test".into(),
            sample_shape: vec![1],
            samples: vec![0; members.len()],
            labels: vec![0; members.len()],
            class_count: 1,
            value_scale: 1.0,
            schema: Default::default(),
            groups: Some(Groups {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                members: members.to_vec(),
            }),
        })
        .unwrap()
    }

    fn sorted(partition: &Partition) -> Vec<Vec<u32>> {
        let sorted = |share: &[u32]| {
            let mut share = share.to_vec();
            share.sort_unstable();
            share
        };
        partition.iter().map(sorted).collect()
    }

    #[test]
    fn as_many_clients_as_groups_are_the_groups() {
        // Nothing belongs to b.
        let dataset = dataset(&["a", "b", "c", "d"], &[3, 0, 2, 3, 0]);
        for seed in 0..10 {
            let partition = Scheme::Natural.partition(&dataset, 3, seed).unwrap();
            assert_eq!(sorted(&partition), [vec![1, 4], vec![2], vec![0, 3]]);
        }
    }

    #[test]
    fn what_cannot_be_dealt_is_refused() {
        let error = |dataset: Dataset, clients| {
            let error = Scheme::Natural.partition(&dataset, clients, 1).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            error(dataset(&["a", "b", "c"], &[0, 2, 0, 2]), 3),
            "3 clients for 2 groups of samples: each needs at least one; lower the number of clients"
        );
        assert_eq!(
            error(small_dataset(9), 3),
            "data set `small` does not say who its samples belong to: choose another partition, or a data set with groups"
        );
    }

    #[test]
    fn who_shares_a_client_follows_the_seed() {
        let dataset = dataset(&["a", "b", "c", "d"], &[0, 1, 2, 3]);
        let deal = |seed| sorted(&Scheme::Natural.partition(&dataset, 2, seed).unwrap());
        let all: BTreeSet<_> = (0..50).map(deal).collect();
        // The pairs of four, either of them first.
        assert_eq!(all.len(), 6, "{all:?}");
        assert_eq!(deal(1), deal(1));
    }

    proptest! {
        #[test]
        fn groups_stay_whole_and_each_sample_is_held_once(
            members in prop::collection::vec(0u32..20, 1..500),
            client_count in 1usize..20,
            seed: u64,
        ) {
            let names = ["x"; 20];
            let dataset = dataset(&names, &members);
            let present: BTreeSet<u32> = members.iter().copied().collect();
            let Ok(partition) = Scheme::Natural.partition(&dataset, client_count, seed) else {
                prop_assert!(client_count > present.len().min(members.len()));
                return Ok(());
            };
            let mut group_count = 0;
            for share in partition.iter() {
                let held: BTreeSet<u32> = share.iter().map(|sample| members[*sample as usize]).collect();
                let even = present.len() / client_count;
                prop_assert!((even..=even + 1).contains(&held.len()));
                group_count += held.len();
            }
            // A group that lies with two clients would count twice.
            prop_assert_eq!(group_count, present.len());
            let mut all: Vec<u32> = partition.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, indices(members.len()));
        }
    }
}
