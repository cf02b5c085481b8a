//! `zfl data show` and `zfl data fetch`.

use std::ops::ControlFlow;
use std::path::Path;

use zfl_data::fetch::{self, Deadlines, RemoteSet, Step};
use zfl_data::show::{ShowOptions, describe};
use zfl_data::table::arrays::{self, Arrays};
use zfl_data::table::{self, Columns, Learns, Limits, TableFormat, TestPart};
use zfl_data::{LoadOptions, Scheme, TrainTest};
use zfl_lab::experiment::Experiment;

use super::run::{read_file, read_text};
use super::{Done, Failure, search_path};
use crate::arguments::{FetchArguments, ShowArguments};

/// `zfl data show`
pub(crate) fn show(arguments: &ShowArguments) -> Done {
    // A data set alone is shared out as in an experiment that says nothing else.
    let file = Path::new(&arguments.name);
    let is_experiment = is_named(arguments, ".toml");
    let mut experiment = match is_experiment {
        true => read_file(file, &[])?,
        false => read_text("", "experiment.toml")?,
    };
    if let Some(seed) = arguments.seed {
        experiment.seed = seed;
    }
    if let Some(spec) = &arguments.partition {
        experiment.partition = read_partition(spec)?;
    }
    let data = load(arguments, is_experiment.then_some(&experiment))?;
    let clients = arguments.clients.or(match is_experiment {
        true => Some(experiment.fleet_size()).filter(|clients| *clients > 0),
        false => None,
    });
    let partition = clients
        .map(|clients| zfl_lab::run::partition(&experiment, &data.train, clients))
        .transpose()
        .map_err(|error| Failure::run(&error))?;
    let Some(partition) = partition else {
        if arguments.partition.is_some() || arguments.svg.is_some() {
            return Err(Failure::Usage(
                "among how many clients is it shared out? say so with --clients".to_owned(),
            ));
        }
        say!(
            "{}",
            describe(&data, None, ShowOptions::default()).trim_end()
        );
        return Ok(());
    };
    if let Some(path) = &arguments.svg {
        let caption = format!(
            "{}, {} clients: {}",
            data.train.name(),
            partition.client_count(),
            experiment.partition_text()
        );
        let svg = zfl_data::picture::svg(&partition, &data.train, &caption);
        std::fs::write(path, svg).map_err(|error| {
            Failure::Run(format!("failed to write {}: {error}", path.display()))
        })?;
    }
    let shown = describe(&data, Some(&partition), ShowOptions::default());
    say!("{}", shown.trim_end());
    if let Some(path) = &arguments.svg {
        say!("\npicture in {}", path.display());
    }
    Ok(())
}

/// A partition as the command line has it: `dirichlet,alpha=0.3`.
fn read_partition(spec: &str) -> Result<Scheme, Failure> {
    let mut lines = spec.split(',').map(str::trim);
    let table = format!("[partition.{}]", lines.next().unwrap_or_default());
    let text: Vec<&str> = std::iter::once(table.as_str()).chain(lines).collect();
    Ok(read_text(&text.join("\n"), "--partition")?.partition)
}

fn is_named(arguments: &ShowArguments, ending: &str) -> bool {
    arguments.name.to_ascii_lowercase().ends_with(ending)
}

/// The data set of an experiment, or the one that is named, or in the file that is.
fn load(arguments: &ShowArguments, experiment: Option<&Experiment>) -> Result<TrainTest, Failure> {
    let options = LoadOptions::new(search_path(&arguments.data), arguments.seed.unwrap_or(1));
    let is = |ending| is_named(arguments, ending);
    let data = if let Some(experiment) = experiment {
        zfl_lab::run::load(experiment, &options.search_path)
    } else if is(".csv") || is(".csv.gz") || is(".tsv") {
        load_table(arguments, TableFormat::Csv, &options)?
    } else if is(".parquet") {
        load_table(arguments, TableFormat::Parquet, &options)?
    } else if is(".npz") {
        load_arrays(arguments, &options)?
    } else {
        zfl_data::load(&arguments.name, &options)
    };
    data.map_err(|error| {
        let mut failure = Failure::run(&error);
        if error.to_string().contains("`ignore") && experiment.is_none() {
            failure.add("here that is --ignore COLUMN");
        }
        failure
    })
}

type Loaded = Result<TrainTest, zfl_data::LoadError>;

fn load_table(
    arguments: &ShowArguments,
    format: TableFormat,
    options: &LoadOptions,
) -> Result<Loaded, Failure> {
    let file = Path::new(&arguments.name);
    let (label, learns) = if let Some(target) = &arguments.target {
        (target, Learns::Values)
    } else if let Some(label) = &arguments.label {
        (label, Learns::Classes)
    } else {
        let names = table::column_names(format, file, Limits::default())
            .map_err(|error| Failure::run(&error))?;
        return Err(Failure::Usage(format!(
            "which column of {} says the class? name it with --label (a number to learn: --target); columns: {}",
            arguments.name,
            listed(&names)
        )));
    };
    let columns = Columns {
        label: label.clone(),
        learns,
        group: arguments.group.clone(),
        ignore: arguments.ignore.clone(),
        ..Columns::default()
    };
    let test = TestPart::Share {
        fraction: options.test_fraction,
        seed: options.seed,
    };
    let name = name_of(file);
    Ok(table::load(
        &name,
        format,
        file,
        &columns,
        &test,
        Limits::default(),
    ))
}

fn load_arrays(arguments: &ShowArguments, options: &LoadOptions) -> Result<Loaded, Failure> {
    let file = Path::new(&arguments.name);
    let learnt = match (&arguments.target, &arguments.label) {
        (Some(target), _) => Some((target, Learns::Values)),
        (None, label) => label.as_ref().map(|label| (label, Learns::Classes)),
    };
    let (Some(samples), Some((labels, learns))) = (&arguments.samples, learnt) else {
        let names =
            arrays::array_names(file, Limits::default()).map_err(|error| Failure::run(&error))?;
        return Err(Failure::Usage(format!(
            "which arrays of {} are the samples and the labels? name them with --samples and --label (numbers to learn: --target); arrays: {}",
            arguments.name,
            names.join(", ")
        )));
    };
    let arrays = Arrays {
        samples: samples.clone(),
        labels: labels.clone(),
        learns,
        groups: arguments.group.clone(),
        ..Arrays::default()
    };
    let split = (options.test_fraction, options.seed);
    Ok(arrays::load(
        &name_of(file),
        file,
        &arrays,
        split,
        Limits::default(),
    ))
}

/// Names of columns; the index that pandas writes has none.
fn listed(names: &[String]) -> String {
    let names = names.iter().map(String::as_str);
    let named: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    named.join(", ")
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// `zfl data fetch`
pub(crate) fn fetch(arguments: &FetchArguments) -> Done {
    let Some(mut set) = RemoteSet::named(&arguments.name) else {
        return Err(Failure::Usage(format!(
            "no data set `{}` to fetch; there is `mnist` (`digits` is part of zfl)",
            arguments.name
        )));
    };
    if !arguments.from.is_empty() {
        set = set.with_base_urls(arguments.from.clone());
    }
    let folder = match &arguments.data.data_dir {
        Some(folder) => folder.join(&arguments.name),
        None => search_path(&arguments.data)
            .cache_folder(&arguments.name)
            .ok_or_else(|| {
                Failure::Usage(
                    "no cache folder: set HOME or XDG_CACHE_HOME, or name one by --data-dir"
                        .to_owned(),
                )
            })?,
    };
    let mut show = |progress: fetch::Progress<'_>| {
        match progress.step {
            Step::Done { received_bytes } => {
                say!("{}: {received_bytes} bytes, checksum ok", progress.file);
            }
            Step::AlreadyThere => say!("{}: already there, checksum ok", progress.file),
            Step::MirrorFailed { attempt } => complain!("{}: {attempt}", progress.file),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let report = fetch::fetch(&set, &folder, Deadlines::default(), &mut show)
        .map_err(|error| Failure::run(&error))?;
    say!("{} is in {}", arguments.name, report.folder.display());
    Ok(())
}
