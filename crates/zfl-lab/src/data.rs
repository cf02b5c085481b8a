//! An experiment's data, as the coordinator wants them.

use zfl_data::{Dataset, Partition};
use zfl_server::{Shares, TestSet};

/// The clients' shares of a training set.
pub(crate) struct PartitionedShares {
    train: Dataset,
    partition: Partition,
}

impl PartitionedShares {
    pub(crate) fn new(train: Dataset, partition: Partition) -> Self {
        Self { train, partition }
    }

    fn indices(&self, client: u32) -> &[u32] {
        usize::try_from(client)
            .ok()
            .and_then(|client| self.partition.client(client))
            .unwrap_or_default()
    }
}

impl Shares for PartitionedShares {
    fn input_count(&self) -> u32 {
        saturate(self.train.input_count())
    }

    fn class_count(&self) -> u32 {
        saturate(self.train.class_count())
    }

    fn value_scale(&self) -> f32 {
        self.train.value_scale()
    }

    fn sample_count(&self, client: u32) -> u32 {
        saturate(self.indices(client).len())
    }

    fn samples(&self, client: u32) -> Vec<u8> {
        let mut samples = Vec::new();
        for index in self.indices(client) {
            let sample = usize::try_from(*index)
                .ok()
                .and_then(|index| self.train.sample(index));
            samples.extend_from_slice(sample.unwrap_or_default());
        }
        samples
    }

    fn labels(&self, client: u32) -> Vec<u8> {
        self.indices(client)
            .iter()
            .filter_map(|index| self.train.label(usize::try_from(*index).ok()?))
            .collect()
    }
}

/// What the global model is tested on.
pub(crate) fn test_set(test: &Dataset) -> TestSet {
    TestSet {
        samples: test.samples().to_vec(),
        labels: test.labels().to_vec(),
        value_scale: test.value_scale(),
    }
}

/// A count for a message; more than 2³² of anything do not fit a computer
/// that runs this.
pub(crate) fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
