//! An experiment's data, as the coordinator wants them.

use std::sync::Arc;

use zfl_data::{Dataset, Partition};
use zfl_server::{Shares, TestSet};

/// The clients' shares of a training set. A clone shares both.
#[derive(Clone)]
pub(crate) struct PartitionedShares {
    train: Dataset,
    partition: Arc<Partition>,
}

impl PartitionedShares {
    pub(crate) fn new(train: Dataset, partition: Partition) -> Self {
        Self {
            train,
            partition: Arc::new(partition),
        }
    }

    /// The samples of a client, one after another.
    pub(crate) fn rows(&self, client: u32) -> impl Iterator<Item = &[u8]> {
        let sample = |index: &u32| self.train.sample(usize::try_from(*index).ok()?);
        self.indices(client).iter().filter_map(sample)
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
        let rows = self.indices(client).len();
        let mut samples = Vec::with_capacity(rows * self.train.input_count());
        self.rows(client)
            .for_each(|row| samples.extend_from_slice(row));
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
