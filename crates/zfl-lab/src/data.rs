//! An experiment's data, as the coordinator wants them.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
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

    /// How many samples of each class a client holds.
    fn label_counts(&self, client: u32) -> Vec<u32> {
        let mut counts = vec![0u32; self.train.class_count()];
        for label in self.labels(client) {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
        counts
    }

    /// Writes who holds what as CSV: a row a client, a column a class.
    pub(crate) fn write_csv(&self, out: impl Write) -> csv::Result<()> {
        let mut table = csv::Writer::from_writer(out);
        let classes = (0..self.train.class_count()).map(|class| class.to_string());
        let names = ["client", "samples"].map(str::to_owned);
        table.write_record(names.into_iter().chain(classes))?;
        for client in 0..saturate(self.partition.client_count()) {
            let first = [client, self.sample_count(client)];
            let row = first.into_iter().chain(self.label_counts(client));
            table.write_record(row.map(|number| number.to_string()))?;
        }
        Ok(table.flush()?)
    }

    /// The labels of a client's samples.
    fn labels(&self, client: u32) -> impl Iterator<Item = u8> {
        let label = |index: &u32| self.train.label(usize::try_from(*index).ok()?);
        self.indices(client).iter().filter_map(label)
    }

    /// What the data are: whoever builds a device that uses the model
    /// maps readings onto bytes by it, and reads classes off the outputs.
    pub(crate) fn data_set(&self) -> DataSet<'_> {
        let train = &self.train;
        let schema = train.schema();
        let inputs = schema.inputs.iter().map(|input| InputRange {
            name: &input.name,
            minimum: input.minimum,
            maximum: input.maximum,
        });
        DataSet {
            name: train.name(),
            origin: train.origin(),
            sample_shape: train.sample_shape(),
            value_scale: train.value_scale(),
            inputs: inputs.collect(),
            class_count: train.class_count(),
            target: train
                .targets()
                .zip(self.spread)
                .map(|(targets, spread)| TargetScale {
                    name: &targets.name,
                    mean: spread.mean,
                    deviation: spread.deviation,
                }),
            class_names: &schema.class_names,
            group_names: train.groups().map_or(&[], |groups| &groups.names),
        }
    }

    fn indices(&self, client: u32) -> &[u32] {
        usize::try_from(client)
            .ok()
            .and_then(|client| self.partition.client(client))
            .unwrap_or_default()
    }
}

/// `data.json`, as docs/records.md describes it.
#[derive(Serialize)]
pub(crate) struct DataSet<'a> {
    name: &'a str,
    origin: &'a str,
    sample_shape: &'a [usize],
    value_scale: f32,
    inputs: Vec<InputRange<'a>>,
    class_count: usize,
    /// Of a number to learn, in place of classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetScale<'a>>,
    class_names: &'a [String],
    group_names: &'a [String],
}

#[derive(Serialize)]
struct TargetScale<'a> {
    name: &'a str,
    mean: f64,
    deviation: f64,
}

#[derive(Serialize)]
struct InputRange<'a> {
    name: &'a str,
    minimum: f64,
    maximum: f64,
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
        let (Some(targets), Some(spread)) = (self.train.targets(), self.spread) else {
            return Targets::Labels(self.labels(client).collect());
        };
        let value = |index: &u32| {
            let value = targets.values.get(usize::try_from(*index).ok()?)?;
            Some(spread.normalised(*value))
        };
        Targets::Values(self.indices(client).iter().filter_map(value).collect())
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

#[cfg(test)]
mod tests {
    use zfl_data::Scheme;

    use super::*;

    #[test]
    fn who_holds_what_is_a_row_a_client() {
        let data = zfl_data::digits::load(1, 0.2).unwrap();
        let scheme = Scheme::Dirichlet {
            alpha: 0.3,
            samples_min: 1,
        };
        let partition = scheme.partition(&data.train, 7, 1).unwrap();
        let counts = partition.label_counts(&data.train);
        let shares = PartitionedShares::new(data.train, partition);
        let mut text = Vec::new();
        shares.write_csv(&mut text).unwrap();
        let mut table = csv::Reader::from_reader(text.as_slice());
        let header: Vec<&str> = table.headers().unwrap().iter().collect();
        assert_eq!(header[..2], ["client", "samples"]);
        assert_eq!(
            header[2..],
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
        );
        let rows: Vec<Vec<u32>> = table.deserialize().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 7);
        for (client, (row, counts)) in (0..).zip(rows.iter().zip(counts)) {
            assert_eq!(row[0], client);
            assert_eq!(row[1], counts.iter().sum::<u32>());
            assert_eq!(row[2..], counts);
        }
    }
}
