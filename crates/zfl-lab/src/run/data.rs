//! An experiment's data: loaded, and dealt to its clients.

use zfl_data::folder::{IdxFiles, Meaning, load_files};
use zfl_data::table::{self, TableFormat, TestPart};
use zfl_data::{Dataset, LoadError, LoadOptions, Partition, PartitionError, SearchPath, TrainTest};

use crate::data::saturate;
use crate::experiment::{Data, Experiment, TableData, TestRows};

/// The training and the test set of an experiment.
///
/// # Errors
/// When they cannot be found or are damaged.
pub fn load(experiment: &Experiment, search_path: &SearchPath) -> Result<TrainTest, LoadError> {
    let data = match &experiment.data {
        Data::Digits { test_share } => zfl_data::digits::load(experiment.seed, *test_share),
        Data::Mnist { folder } => {
            let mut options = LoadOptions::new(search_path.clone(), experiment.seed);
            if let Some(folder) = folder {
                options.search_path.data_dir = Some(folder.clone());
            }
            zfl_data::load("mnist", &options)
        }
        Data::Idx(idx) => load_files(
            &experiment.name,
            &IdxFiles {
                train_images: idx.train_images.clone(),
                train_labels: idx.train_labels.clone(),
                test_images: idx.test_images.clone(),
                test_labels: idx.test_labels.clone(),
            },
            Meaning {
                class_count: idx.classes.map(usize::from),
                value_scale: idx.value_scale,
            },
            zfl_data::idx::Limits::default(),
        ),
        Data::Csv(table) => load_table(experiment, TableFormat::Csv, table),
        Data::Parquet(table) => load_table(experiment, TableFormat::Parquet, table),
        Data::Npz(npz) => table::arrays::load(
            &experiment.name,
            &npz.file,
            &npz.arrays,
            (npz.test_share, experiment.seed),
            table::Limits::default(),
        ),
    }?;
    // What is the same in every sample cannot be normalised.
    data.train.target_spread()?;
    Ok(data)
}

fn load_table(
    experiment: &Experiment,
    format: TableFormat,
    data: &TableData,
) -> Result<TrainTest, LoadError> {
    let test = match &data.test {
        TestRows::File(file) => TestPart::File(file.clone()),
        TestRows::Share(fraction) => TestPart::Share {
            fraction: *fraction,
            seed: experiment.seed,
        },
    };
    table::load(
        &experiment.name,
        format,
        &data.file,
        &data.columns,
        &test,
        table::Limits::default(),
    )
}

/// Which of so many clients holds which sample of `train`.
///
/// # Errors
/// When the experiment's partition cannot be made of it.
pub fn partition(
    experiment: &Experiment,
    train: &Dataset,
    client_count: u32,
) -> Result<Partition, PartitionError> {
    let clients = usize::try_from(client_count).unwrap_or(usize::MAX);
    let dealt = experiment
        .partition
        .partition(train, clients, experiment.seed)?;
    if experiment
        .fleet
        .iter()
        .all(|group| group.samples_max.is_none())
    {
        return Ok(dealt);
    }
    Ok(dealt.truncated(|client| {
        let most = experiment.samples_max(saturate(client))?;
        usize::try_from(most).ok()
    }))
}

/// What tells the data of experiments apart.
pub(crate) fn data_name(experiment: &Experiment) -> String {
    match &experiment.data {
        Data::Digits { .. } => "digits".to_owned(),
        Data::Mnist { .. } => "mnist".to_owned(),
        Data::Idx(idx) => idx.train_images.display().to_string(),
        Data::Csv(table) | Data::Parquet(table) => table.file.display().to_string(),
        Data::Npz(npz) => npz.file.display().to_string(),
    }
}
