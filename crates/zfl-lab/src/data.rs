//! An experiment's data, as the coordinator wants them.

use std::sync::Arc;

use zfl_data::{Dataset, Partition, Spread, TrainTest};
use zfl_server::{Shares, Targets, TestSet};

/// The clients' shares of a training set. A clone shares both.
#[derive(Clone)]
pub(crate) struct PartitionedShares {
    train: Dataset,
    partition: Arc<Partition>,
    /// What values to learn are normalised by.
    spread: Option<Spread>,
}

impl PartitionedShares {
    pub(crate) fn new(train: Dataset, partition: Partition) -> Self {
        Self {
            spread: train.targets().map(zfl_data::Targets::spread),
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
        saturate(self.train.output_count())
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

    fn targets(&self, client: u32) -> Targets {
        let indices = self.indices(client).iter();
        let indices = indices.filter_map(|index| usize::try_from(*index).ok());
        match (self.train.targets(), self.spread) {
            (Some(targets), Some(spread)) => {
                let value = |index| Some(spread.normalised(*targets.values.get(index)?));
                Targets::Values(indices.filter_map(value).collect())
            }
            _ => Targets::Labels(
                indices
                    .filter_map(|index| self.train.label(index))
                    .collect(),
            ),
        }
    }
}

/// What the global model is tested on. Values to learn are normalised as those
/// of the training part are: by their mean and their deviation.
pub(crate) fn test_set(data: &TrainTest) -> TestSet {
    let TrainTest { train, test } = data;
    let spread = train.targets().map(zfl_data::Targets::spread);
    let (targets, target_unit) = match (test.targets(), spread) {
        (Some(targets), Some(spread)) => {
            let values = targets.values.iter();
            let values = values.map(|value| spread.normalised(*value)).collect();
            (Targets::Values(values), spread.deviation)
        }
        _ => (Targets::Labels(test.labels().to_vec()), 1.0),
    };
    TestSet {
        samples: test.samples().to_vec(),
        targets,
        target_unit,
        value_scale: test.value_scale(),
    }
}

/// A count for a message; more than 2³² of anything do not fit a computer
/// that runs this.
pub(crate) fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
