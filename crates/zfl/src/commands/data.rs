//! `zfl data show` and `zfl data fetch`.

use std::ops::ControlFlow;

use zfl_data::fetch::{self, Deadlines, RemoteSet, Step};
use zfl_data::show::{ShowOptions, describe};
use zfl_data::{LoadOptions, Scheme};

use super::{Done, Failure, search_path};
use crate::arguments::{FetchArguments, ShowArguments};

/// `zfl data show`
pub(crate) fn show(arguments: &ShowArguments) -> Done {
    let options = LoadOptions::new(search_path(&arguments.data), arguments.seed);
    let data = zfl_data::load(&arguments.name, &options).map_err(|error| Failure::run(&error))?;
    let partition = arguments
        .clients
        .map(|clients| Scheme::Iid.partition(&data.train, clients, arguments.seed))
        .transpose()
        .map_err(|error| Failure::run(&error))?;
    let shown = describe(&data, partition.as_ref(), ShowOptions::default());
    say!("{}", shown.trim_end());
    Ok(())
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
