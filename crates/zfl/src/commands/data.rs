//! `zfl data show` and `zfl data fetch`.

use std::ops::ControlFlow;
use std::path::Path;

use zfl_data::fetch::{self, Deadlines, RemoteSet, Step};
use zfl_data::show::{ShowOptions, describe};
use zfl_data::table::arrays::{self, Arrays};
use zfl_data::table::{self, Columns, Learns, Limits, TableFormat, TestPart};
use zfl_data::{LoadOptions, Scheme, TrainTest};

use super::run::read_file;
use super::{Done, Failure, search_path};
use crate::arguments::{FetchArguments, ShowArguments};

/// `zfl data show`
pub(crate) fn show(arguments: &ShowArguments) -> Done {
    let data = load(arguments)?;
    let partition = arguments
        .clients
        .map(|clients| Scheme::Iid.partition(&data.train, clients, arguments.seed))
        .transpose()
        .map_err(|error| Failure::run(&error))?;
    let shown = describe(&data, partition.as_ref(), ShowOptions::default());
    say!("{}", shown.trim_end());
    Ok(())
}

/// The data set that is named, or in the file that is.
fn load(arguments: &ShowArguments) -> Result<TrainTest, Failure> {
    let options = LoadOptions::new(search_path(&arguments.data), arguments.seed);
    let file = Path::new(&arguments.name);
    let is = |ending: &str| arguments.name.to_ascii_lowercase().ends_with(ending);
    let data = if is(".toml") {
        let experiment = read_file(file, &[])?;
        zfl_lab::run::load(&experiment, &options.search_path)
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
        if error.to_string().contains("`ignore") && !is(".toml") {
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
            "which column of {} says the class? name it with --label, or a number to learn with --target; columns: {}",
            arguments.name,
            names.join(", ")
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
    let (Some(samples), Some(labels)) = (&arguments.samples, &arguments.label) else {
        let names =
            arrays::array_names(file, Limits::default()).map_err(|error| Failure::run(&error))?;
        return Err(Failure::Usage(format!(
            "which arrays of {} are the samples and the labels? name them with --samples and --label; arrays: {}",
            arguments.name,
            names.join(", ")
        )));
    };
    let arrays = Arrays {
        samples: samples.clone(),
        labels: labels.clone(),
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
