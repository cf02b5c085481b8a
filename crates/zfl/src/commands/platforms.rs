//! `zfl platforms`: what an experiment takes on each board and microcontroller.

use zfl_lab::platforms::{self, Platform, PlatformsError, Subject};
use zfl_lab::probe::ProbeContext;
use zfl_lab::run::RunError;

use super::run::{interruption, read};
use super::{Done, Failure, aligned, firmware, launcher, next_folder, runtime, search_path};
use crate::arguments::{PlatformsArguments, ProbeArguments};

/// What probes of these arguments have in common.
pub(super) fn context(arguments: &ProbeArguments) -> Result<ProbeContext, Failure> {
    Ok(ProbeContext {
        search_path: search_path(&arguments.experiment.data),
        firmware: firmware(arguments.firmware_dir.as_deref()),
        launcher: launcher()?,
    })
}

impl From<PlatformsError> for Failure {
    fn from(error: PlatformsError) -> Self {
        match error {
            PlatformsError::Run(error @ RunError::Interrupted { .. }) => error.into(),
            PlatformsError::Catalogue(_) | PlatformsError::Unknown { .. } => {
                Self::Usage(error.to_string())
            }
            _ => Self::run(&error),
        }
    }
}

/// `zfl platforms`
pub(crate) fn platforms(arguments: &PlatformsArguments) -> Done {
    let experiment = read(&arguments.probe.experiment, &[])?;
    let subjects: Vec<Subject> = match arguments.only.as_slice() {
        [] => platforms::all(&experiment)?,
        names => names
            .iter()
            .map(|name| platforms::named(name))
            .collect::<Result<_, _>>()?,
    };
    let folder = match &arguments.probe.experiment.out {
        Some(folder) => folder.clone(),
        None => next_folder(&format!("{}-platforms", experiment.name)),
    };
    let context = context(&arguments.probe)?;
    let at_once = std::thread::available_parallelism().map_or(1, Into::into);
    let count = subjects.len();
    let mut told = 0;
    let compared = runtime()?.block_on(platforms::compare(
        &experiment,
        &subjects,
        &folder,
        &context,
        at_once,
        interruption,
        |platform| {
            told += 1;
            complain!("{told}/{count} {}: {}", platform.name, verdict(platform));
        },
    ))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&compared)
            .map_err(|error| Failure::Run(format!("failed to write JSON: {error}")))?;
        say!("{text}");
    } else {
        let rows = rows(&compared, arguments.csv);
        let text = match arguments.csv {
            true => csv(&rows),
            false => aligned(&rows, |column| column < 3),
        };
        say!("{}", text.trim_end());
    }
    if !arguments.json && !arguments.csv {
        say!("\n{NOTE}\nruns in {}", folder.display());
        for platform in compared.iter().filter(|platform| platform.fits == "no") {
            say!("{}: {}", platform.name, platform.detail);
        }
    }
    let failed: Vec<&str> = compared
        .iter()
        .filter(|platform| platform.failed)
        .map(|platform| platform.name.as_str())
        .collect();
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(Failure::Run(format!(
            "{} of {count} platforms failed: {}",
            names.len(),
            names.join(", ")
        ))),
    }
}

const NOTE: &str = "One round of the experiment's first client. RAM: data, weights, workspace, \
stack and network together. Instructions are counted; device time and energy follow from them by \
the part's profile.\n? rests on a figure that nobody has looked up, or on an estimate: \
docs/device-time.md.";

fn verdict(platform: &Platform) -> String {
    match platform.fits {
        "yes" => "fits".to_owned(),
        _ => platform.detail.clone(),
    }
}

/// Title and cells. `is_plain`: without marks, every figure whole.
fn rows(platforms: &[Platform], is_plain: bool) -> Vec<Vec<String>> {
    let titles = [
        "platform",
        "board",
        "fits",
        "flash",
        "of flash",
        "RAM",
        "of RAM",
        "data",
        "weights",
        "workspace",
        "stack peak",
        "network",
        "instructions",
        "other instr.",
        "device s",
        "energy mJ",
        "update",
        "model",
    ];
    let plain_titles = [
        "platform",
        "board",
        "fits",
        "flash_bytes",
        "flash_available_bytes",
        "ram_bytes",
        "ram_available_bytes",
        "data_bytes",
        "weights_bytes",
        "workspace_bytes",
        "stack_peak_bytes",
        "network_bytes",
        "instructions_training",
        "instructions_other",
        "device_seconds",
        "energy_mj",
        "update_bytes",
        "model_sha256",
        "unverified",
        "detail",
    ];
    let mut rows: Vec<Vec<String>> = vec![match is_plain {
        true => plain_titles.map(str::to_owned).into(),
        false => titles.map(str::to_owned).into(),
    }];
    for platform in platforms {
        let whole = |value: Option<u64>| value.map_or_else(none(is_plain), |v| v.to_string());
        let mark = |is_unverified: bool| if is_unverified && !is_plain { "?" } else { "" };
        let limit =
            |value: u64, name| format!("{value}{}", mark(platform.unverified.contains(&name)));
        let estimate = |value: Option<f64>, is_unverified| match value {
            None => none(is_plain)(),
            Some(value) if is_plain => value.to_string(),
            Some(value) => format!("{value:.4}{}", mark(is_unverified)),
        };
        let hash = platform.model_sha256.clone();
        let mut row = vec![
            platform.name.clone(),
            platform.board.clone(),
            platform.fits.to_owned(),
            whole(platform.flash_needed),
            limit(platform.flash_available, "flash-bytes"),
            platform.ram_needed.to_string(),
            limit(platform.ram_available, "ram-bytes"),
            platform.data.to_string(),
            platform.weights.to_string(),
            platform.workspace.to_string(),
            whole(platform.stack_peak.map(u64::from)),
            whole(platform.network),
            whole(platform.instructions_training),
            whole(platform.instructions_other),
            estimate(platform.device_seconds, platform.seconds_are_unverified),
            estimate(platform.energy_mj, platform.energy_is_unverified),
            whole(platform.update),
            hash.map_or_else(none(is_plain), |hash| match is_plain {
                true => hash,
                false => hash.chars().take(12).collect(),
            }),
        ];
        if is_plain {
            row.push(platform.unverified.join(" "));
            row.push(platform.detail.clone());
        }
        rows.push(row);
    }
    rows
}

fn none(is_plain: bool) -> impl Fn() -> String {
    move || if is_plain { "" } else { "-" }.to_owned()
}

fn csv(rows: &[Vec<String>]) -> String {
    let cell = |cell: &String| match cell.contains([',', '"', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        Platform {
            name: "part".to_owned(),
            board: "board".to_owned(),
            fits: "yes",
            detail: "a, \"b\"".to_owned(),
            flash_available: 1000,
            ram_needed: 10,
            ram_available: 20,
            device_seconds: Some(0.123_456),
            energy_mj: Some(2.0),
            unverified: vec!["ram-bytes", "supply-volts"],
            energy_is_unverified: true,
            ..Platform::default()
        }
    }

    #[test]
    fn what_is_not_verified_is_marked() {
        let text = aligned(&rows(&[platform()], false), |column| column < 3);
        for expected in [" 20? ", " 1000 ", " 0.1235 ", " 2.0000? "] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn csv_has_every_figure_without_marks() {
        let text = csv(&rows(&[platform()], true));
        let (titles, row) = text.split_once('\n').unwrap();
        assert!(titles.starts_with("platform,board,fits,flash_bytes,"));
        let expected = "part,board,yes,,1000,10,20,0,0,0,,,,,0.123456,2,,,ram-bytes supply-volts,\
                        \"a, \"\"b\"\"\"";
        assert_eq!(row, expected);
    }
}
