//! The sweep file, read and checked (docs/sweeps.md is the reference).

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zfl_machine::nearest;

use super::objective::{Budget, Measure, Objective, Target};
use super::space::{Condition, Parameter, Values};
use super::{Asha, Base, REPEATS_MAX, Search, Sweep, TRIALS_MAX, WIDTH_MAX};
use crate::experiment::error::{Fault, Sources};
use crate::experiment::{self, Experiment, ExperimentError, keys, overrides, read_text};

/// Values of a parameter that a list may have, or a range be cut into.
const VALUES_MAX: usize = 1000;
/// Parameters of a space.
const PARAMETERS_MAX: usize = 64;
/// Tries to find a combination in which a value is possible.
const TRIES: u32 = 32;

const TOP: &[&str] = &[
    "name",
    "experiment",
    "seed",
    "repeats",
    "width",
    "confirm",
    "confirm-rounds",
    "space",
    "search",
    "early-stopping",
    "objectives",
];
/// Keys of an experiment that are not for a space to set, and why.
const RESERVED: &[(&str, &str)] = &[
    (
        "rounds",
        "every round of each trial counts already: `rounds` of the experiment is that of a trial \
         which is not stopped",
    ),
    (
        "seed",
        "seeds are no parameter: `repeats` runs each trial with several",
    ),
    ("name", "the name of an experiment changes nothing"),
    ("parallel", "it changes no result"),
    ("network", "trials run natively, without a network"),
    ("coordinator.port", "it changes no result"),
];

type Node<'t> = Spanned<DeValue<'t>>;

fn fault(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault {
        span,
        message: message.into(),
        help: Some(help.into()),
    }
}

impl Sweep {
    /// Reads and checks the sweep file at `path`, and the experiment that it names,
    /// whose path counts from the folder of the file. `known_boards` are the names of
    /// the catalogue.
    ///
    /// # Errors
    /// What is wrong in either file, and where.
    pub fn from_file(path: &Path, known_boards: &[&str]) -> Result<Self, ExperimentError> {
        let text = read_text(path)?;
        read(&text, path, known_boards, None)
    }

    /// The sweep in a folder, with the experiment as it was when the sweep began.
    pub(super) fn from_folder(
        file: &Path,
        base: &str,
        known_boards: &[&str],
    ) -> Result<Self, ExperimentError> {
        let text = read_text(file)?;
        read(&text, file, known_boards, Some(base))
    }

    /// The sweep in `text` with the experiment `base`, for `fuzz/`.
    ///
    /// # Errors
    /// What is wrong in either, and where.
    #[cfg(feature = "fuzz")]
    #[doc(hidden)]
    pub fn parse(text: &str, base: &str, known_boards: &[&str]) -> Result<Self, ExperimentError> {
        read(text, Path::new("sweep.toml"), known_boards, Some(base))
    }
}

/// Reads a sweep; `base` is the text of its experiment, where that is not to be read.
fn read(
    text: &str,
    path: &Path,
    known_boards: &[&str],
    base: Option<&str>,
) -> Result<Sweep, ExperimentError> {
    let name = path.display().to_string();
    let sources = Sources::new(&name, text, &[]);
    let tree = DeTable::parse(text)
        .map_err(|error| sources.error(Fault::syntax(error)))?
        .into_inner();
    let (experiment_path, experiment_span) =
        experiment_path(&tree, path).map_err(|fault| sources.error(fault))?;
    // What is wrong in the experiment is told of that file, and a file that is not
    // there of the line that names it.
    let base_text = match base {
        Some(text) => text.to_owned(),
        None => read_text(&experiment_path).map_err(|error| {
            sources.error(fault(
                experiment_span.clone(),
                format!("`experiment`: {error}"),
                error.help().unwrap_or_default(),
            ))
        })?,
    };
    let base = Base {
        path: experiment_path,
        text: base_text,
        boards: known_boards
            .iter()
            .map(|board| (*board).to_owned())
            .collect(),
    };
    let experiment = base.experiment(&[])?;
    if experiment.fleet.is_empty() {
        return Err(sources.error(fault(
            experiment_span,
            "`experiment`: it has no [[fleet]]",
            "a sweep plays the clients itself: add a [[fleet]] to the experiment",
        )));
    }
    check(&tree, path, base, &experiment).map_err(|fault| sources.error(fault))
}

fn experiment_path(tree: &DeTable<'_>, path: &Path) -> Result<(PathBuf, Range<usize>), Fault> {
    check_keys(tree, "", TOP)?;
    let Some(node) = tree.get("experiment") else {
        return Err(fault(
            0..0,
            "missing key `experiment`",
            "give the path of an experiment file, such as experiment = \"digits.toml\"",
        ));
    };
    let given = string(node, "experiment")?;
    if given.is_empty() {
        return Err(fault(
            node.span(),
            "`experiment` is empty",
            "give the path of an experiment file, such as experiment = \"digits.toml\"",
        ));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok((folder.join(given), node.span()))
}

fn check(
    tree: &DeTable<'_>,
    path: &Path,
    base: Base,
    experiment: &Experiment,
) -> Result<Sweep, Fault> {
    let name = match tree.get("name") {
        Some(node) => {
            let name = string(node, "name")?;
            match is_name(name) {
                true => name.to_owned(),
                false => {
                    return Err(fault(
                        node.span(),
                        format!("`name`: \"{name}\" is not possible"),
                        "`name`: 1 to 64 of the characters a-z, 0-9 and -",
                    ));
                }
            }
        }
        None => default_name(path),
    };
    let number = |key: &str, least, most, default| match tree.get(key) {
        Some(node) => whole(node, key, least, most),
        None => Ok(default),
    };
    let rounds = experiment.rounds;
    let search = search(tree.get("search"))?;
    let parameters = space(tree, &base, &search)?;
    let early_stopping = match tree.get("early-stopping") {
        Some(node) => early_stopping(node, rounds)?,
        None => None,
    };
    let objectives = objectives(tree.get("objectives"), experiment)?;
    let seed = match tree.get("seed") {
        Some(node) => {
            let seed = integer(node, "seed")?;
            u64::try_from(seed)
                .ok()
                .filter(|_| seed >= 0)
                .ok_or_else(|| {
                    fault(
                        node.span(),
                        format!("`seed` is {seed}"),
                        "`seed`: a whole number from 0",
                    )
                })?
        }
        None => 1,
    };
    let confirm_rounds = match tree.get("confirm-rounds") {
        Some(node) => Some(whole(node, "confirm-rounds", 1, rounds)?),
        None => None,
    };
    Ok(Sweep {
        name,
        seed,
        repeats: number("repeats", 1, REPEATS_MAX, 1)?,
        width: number("width", 1, WIDTH_MAX, 4)?,
        confirm: number("confirm", 0, 100, 0)?,
        confirm_rounds,
        rounds,
        base,
        parameters,
        search,
        early_stopping,
        objectives,
        of_models: Measure::of_models(experiment.data.has_target_values()),
    })
}

fn is_name(name: &str) -> bool {
    (1..=experiment::NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A name from the file's.
fn default_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .chars()
        .map(|letter| match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => letter,
            _ => '-',
        })
        .take(experiment::NAME_BYTES_MAX)
        .collect();
    match name.is_empty() {
        true => "sweep".to_owned(),
        false => name,
    }
}

/// Refuses a key that is none of those.
fn check_keys(table: &DeTable<'_>, place: &str, allowed: &[&str]) -> Result<(), Fault> {
    let unknown = table
        .iter()
        .filter(|(key, _)| !allowed.contains(&key.get_ref().as_ref()))
        .min_by_key(|(key, _)| key.span().start);
    let Some((key, _)) = unknown else {
        return Ok(());
    };
    let name = key.get_ref().as_ref();
    let place = match place {
        "" => "at the top".to_owned(),
        place => format!("in `{place}`"),
    };
    let guess = match nearest(name, allowed.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`? "),
        None => String::new(),
    };
    let list = match allowed.is_empty() {
        true => "it has no keys".to_owned(),
        false => format!("allowed {place}: {}", allowed.join(", ")),
    };
    Err(fault(
        key.span(),
        format!("unknown key `{name}` {place}"),
        format!("{guess}{list}"),
    ))
}

fn table<'n, 't>(node: &'n Node<'t>, key: &str) -> Result<&'n DeTable<'t>, Fault> {
    match node.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => Err(fault(
            node.span(),
            format!("`{key}` is not a table"),
            format!("`{key}`: a table; docs/sweeps.md has an example"),
        )),
    }
}

fn list<'n, 't>(node: &'n Node<'t>, key: &str) -> Result<Vec<&'n Node<'t>>, Fault> {
    match node.get_ref() {
        DeValue::Array(array) => Ok(array.iter().collect()),
        _ => Err(fault(
            node.span(),
            format!("`{key}` is not a list"),
            format!("`{key}`: a list, such as [1, 2]"),
        )),
    }
}

fn string<'n>(node: &'n Node<'_>, key: &str) -> Result<&'n str, Fault> {
    match node.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => Err(fault(
            node.span(),
            format!("`{key}` is not text"),
            format!("`{key}`: text in quotes"),
        )),
    }
}

fn as_integer(node: &Node<'_>) -> Option<i64> {
    match node.get_ref() {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    }
}

fn integer(node: &Node<'_>, key: &str) -> Result<i64, Fault> {
    as_integer(node).ok_or_else(|| {
        fault(
            node.span(),
            format!("`{key}` is not a whole number"),
            format!("`{key}`: a whole number"),
        )
    })
}

fn whole(node: &Node<'_>, key: &str, least: u32, most: u32) -> Result<u32, Fault> {
    let help = format!("`{key}`: a whole number from {least} to {most}");
    let Some(value) = as_integer(node) else {
        return Err(fault(
            node.span(),
            format!("`{key}` is not a whole number"),
            help,
        ));
    };
    match u32::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(fault(node.span(), format!("`{key}` is {value}"), help)),
    }
}

fn number(node: &Node<'_>, key: &str) -> Result<f64, Fault> {
    let value = match node.get_ref() {
        DeValue::Float(float) => float.as_str().parse().ok(),
        #[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
        _ => as_integer(node).map(|value| value as f64),
    };
    value
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| {
            fault(
                node.span(),
                format!("`{key}` is not a number"),
                format!("`{key}`: a number"),
            )
        })
}

/// A value as it would stand in an experiment.
fn value(node: &Node<'_>) -> Result<toml::Value, Fault> {
    Ok(match node.get_ref() {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(_) => toml::Value::Integer(integer(node, "value")?),
        DeValue::Float(_) => toml::Value::Float(number(node, "value")?),
        DeValue::Boolean(value) => toml::Value::Boolean(*value),
        DeValue::Datetime(value) => toml::Value::Datetime(*value),
        DeValue::Array(array) => {
            toml::Value::Array(array.iter().map(value).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let mut values = toml::Table::new();
            for (key, node) in table {
                values.insert(key.get_ref().to_string(), value(node)?);
            }
            toml::Value::Table(values)
        }
    })
}

fn search(node: Option<&Node<'_>>) -> Result<Search, Fault> {
    let Some(node) = node else {
        return Ok(Search::Grid);
    };
    let allowed = ["grid", "random", "tpe"];
    let whole_table = table(node, "search")?;
    check_keys(whole_table, "search", &allowed)?;
    let mut entries = whole_table.iter();
    let (Some((key, node)), None) = (entries.next(), entries.next()) else {
        return Err(fault(
            node.span(),
            format!("`search` has {} tables", whole_table.len()),
            "exactly one of the tables search.grid, search.random, search.tpe",
        ));
    };
    let path = format!("search.{}", key.get_ref());
    let inside = table(node, &path)?;
    let trials = |allowed: &[&str]| {
        check_keys(inside, &path, allowed)?;
        match inside.get("trials") {
            Some(node) => whole(node, &format!("{path}.trials"), 1, TRIALS_MAX),
            None => Ok(32),
        }
    };
    match key.get_ref().as_ref() {
        "random" => Ok(Search::Random {
            trials: trials(&["trials"])?,
        }),
        "tpe" => Ok(Search::Tpe {
            trials: trials(&["trials", "random-trials"])?,
            random_trials: match inside.get("random-trials") {
                Some(node) => whole(node, "search.tpe.random-trials", 1, TRIALS_MAX)?,
                None => 10,
            },
        }),
        _ => {
            check_keys(inside, &path, &[])?;
            Ok(Search::Grid)
        }
    }
}

fn early_stopping(node: &Node<'_>, rounds: u32) -> Result<Option<Asha>, Fault> {
    let outer = table(node, "early-stopping")?;
    check_keys(outer, "early-stopping", &["asha"])?;
    let Some(node) = outer.get("asha") else {
        return Ok(None);
    };
    let inside = table(node, "early-stopping.asha")?;
    check_keys(
        inside,
        "early-stopping.asha",
        &["rounds-min", "reduction-factor"],
    )?;
    let asha = Asha {
        rounds_min: match inside.get("rounds-min") {
            Some(node) => whole(node, "early-stopping.asha.rounds-min", 1, rounds)?,
            None => 1,
        },
        reduction_factor: match inside.get("reduction-factor") {
            Some(node) => whole(node, "early-stopping.asha.reduction-factor", 2, 100)?,
            None => 4,
        },
    };
    match asha.rungs(rounds).len() {
        0 | 1 => Err(fault(
            node.span(),
            format!(
                "`early-stopping.asha`: there is one rung, at {} of {rounds} rounds, and nothing \
                 to stop",
                asha.rounds_min
            ),
            "let `rounds-min` be less than the experiment's `rounds`",
        )),
        _ => Ok(Some(asha)),
    }
}

fn objectives(node: Option<&Node<'_>>, experiment: &Experiment) -> Result<Vec<Objective>, Fault> {
    let of_models = Measure::of_models(experiment.data.has_target_values());
    let Some(node) = node else {
        return Ok(vec![
            Objective::plain(of_models),
            Objective::plain(Measure::Bytes),
        ]);
    };
    let names: Vec<&str> = Measure::ALL.iter().map(|measure| measure.key()).collect();
    let example = format!(
        "such as objectives = [{{ {} = {{}} }}, {{ bytes = {{}} }}]",
        of_models.key()
    );
    let mut objectives: Vec<Objective> = Vec::new();
    let mut first_span = node.span();
    for entry in list(node, "objectives")? {
        let outer = table(entry, "objectives")?;
        check_keys(outer, "objectives", &names)?;
        let mut entries = outer.iter();
        let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
            return Err(fault(
                entry.span(),
                format!("an objective has {} keys", outer.len()),
                format!("exactly one of {}, {example}", names.join(", ")),
            ));
        };
        let found = Measure::ALL
            .iter()
            .find(|measure| measure.key() == key.get_ref().as_ref());
        let Some(measure) = found.copied() else {
            continue;
        };
        check_learns(measure, of_models, key.span())?;
        let objective = objective(measure, inner, of_models)?;
        if objective.needs_device_time() && experiment.fleet.iter().any(|group| group.mcu.is_none())
        {
            return Err(fault(
                key.span(),
                format!(
                    "`{}` needs a microcontroller in every [[fleet]] of the experiment",
                    objective.name()
                ),
                "name one with `mcu` (`zfl boards` lists them)",
            ));
        }
        if objectives
            .iter()
            .any(|other| other.name() == objective.name())
        {
            return Err(fault(
                key.span(),
                format!("the objective `{}` is there twice", objective.name()),
                "leave one out",
            ));
        }
        if objectives.is_empty() {
            first_span = key.span();
        }
        objectives.push(objective);
    }
    match objectives.first() {
        None => Err(fault(node.span(), "`objectives` is empty", example)),
        Some(first) if first.is_trivial() => Err(fault(
            first_span,
            format!(
                "the first objective is `{}`, of which a trial that does nothing needs least",
                first.name()
            ),
            format!(
                "begin with {0} or loss, or say what is to be reached, such as {{ bytes = {{ \
                 to-{0} = 0.9 }} }}",
                of_models.key()
            ),
        )),
        Some(_) => Ok(objectives),
    }
}

/// Refuses what the experiment's models do not have.
fn check_learns(measure: Measure, of_models: Measure, span: Range<usize>) -> Result<(), Fault> {
    let learns = match (measure, of_models) {
        (Measure::Accuracy, Measure::Rmse) => "a number, which has no accuracy",
        (Measure::Rmse, Measure::Accuracy) => "classes, which have an accuracy and no rmse",
        _ => return Ok(()),
    };
    let message = format!("`{}`: the experiment learns {learns}", measure.key());
    let remedy = format!("`{}` in place of it, or loss", of_models.key());
    Err(fault(span, message, remedy))
}

fn objective(measure: Measure, node: &Node<'_>, of_models: Measure) -> Result<Objective, Fault> {
    let key = format!("objectives.{}", measure.key());
    let inside = table(node, &key)?;
    if measure.is_quality() {
        let allowed = Measure::COSTS.map(|cost| format!("within-{}", cost.key()));
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        check_keys(inside, &key, &allowed)?;
        let mut within = None;
        for cost in Measure::COSTS {
            let name = format!("within-{}", cost.key());
            if let Some(node) = inside.get(name.as_str()) {
                let most = number(node, &name)?;
                if most <= 0.0 || within.is_some() {
                    return Err(fault(
                        node.span(),
                        format!("`{key}`: {name} = {most}"),
                        format!("one budget above 0: {}", allowed.join(", ")),
                    ));
                }
                within = Some(Budget { cost, most });
            }
        }
        return Ok(Objective::Quality { measure, within });
    }
    let targets = [
        (Measure::Accuracy, "to-accuracy"),
        (Measure::Rmse, "to-rmse"),
    ];
    check_keys(inside, &key, &targets.map(|(_, name)| name))?;
    let mut target = None;
    for (measure, name) in targets {
        let Some((key, node)) = inside.get_key_value(name) else {
            continue;
        };
        check_learns(measure, of_models, key.span())?;
        let value = number(node, name)?;
        let (most, allowed) = match measure {
            Measure::Accuracy => (1.0, "a number above 0, at most 1"),
            _ => (f64::MAX, "a number above 0"),
        };
        if value <= 0.0 || value > most {
            return Err(fault(
                node.span(),
                format!("`{name}` is {value}"),
                format!("`{name}`: {allowed}"),
            ));
        }
        target = Some(Target { measure, value });
    }
    Ok(Objective::Cost {
        cost: measure,
        target,
    })
}

/// A key of the space, with its values as they stand in the file.
struct Entry<'n, 't> {
    key: String,
    span: Range<usize>,
    node: &'n Node<'t>,
}

/// Finds the keys of a space: dotted, quoted, or in tables of their own.
fn entries<'n, 't>(table: &'n DeTable<'t>, above: &str, found: &mut Vec<Entry<'n, 't>>) {
    for (name, node) in table {
        let key = match above {
            "" => name.get_ref().to_string(),
            above => format!("{above}.{}", name.get_ref()),
        };
        match node.get_ref() {
            DeValue::Table(inside) if !is_values(inside) => entries(inside, &key, found),
            _ => found.push(Entry {
                key,
                span: name.span(),
                node,
            }),
        }
    }
}

/// Whether a table says which values a key has, rather than holding more keys.
fn is_values(table: &DeTable<'_>) -> bool {
    table.is_empty()
        || table
            .iter()
            .any(|(key, _)| SPEC.contains(&key.get_ref().as_ref()))
}

const SPEC: &[&str] = &["list", "range", "log-range", "step", "points", "when"];

/// Reads the space.
fn space(tree: &DeTable<'_>, base: &Base, search: &Search) -> Result<Vec<Parameter>, Fault> {
    let example = "give it keys of the experiment, such as training.epochs = [1, 5]";
    let Some(node) = tree.get("space") else {
        return Err(fault(0..0, "missing table `space`", example));
    };
    let mut found = Vec::new();
    entries(table(node, "space")?, "", &mut found);
    found.sort_by_key(|entry| entry.span.start);
    if found.is_empty() {
        return Err(fault(node.span(), "`space` is empty", example));
    }
    if let Some(first) = found.get(PARAMETERS_MAX) {
        return Err(fault(
            first.span.clone(),
            format!("{} parameters", found.len()),
            format!("at most {PARAMETERS_MAX} are allowed"),
        ));
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut spans = Vec::new();
    for Entry { key, span, node } in &found {
        check_known(key, span, base)?;
        if parameters.iter().any(|parameter| parameter.key == *key) {
            return Err(fault(
                span.clone(),
                format!("`{key}` is there twice"),
                "leave one out",
            ));
        }
        let (values, value_spans) = values(key, node, search)?;
        let when = when(key, node, &parameters)?;
        parameters.push(Parameter {
            key: key.clone(),
            values,
            when,
        });
        spans.push((span.clone(), value_spans));
    }
    check_values(&parameters, &spans, base)?;
    Ok(parameters)
}

/// Refuses what is no key of an experiment, or none that a sweep may set.
fn check_known(key: &str, span: &Range<usize>, base: &Base) -> Result<(), Fault> {
    let reserved = RESERVED.iter().find(|(reserved, _)| *reserved == key);
    if let Some((_, reason)) = reserved {
        return Err(fault(
            span.clone(),
            format!("`{key}` is not for a space"),
            *reason,
        ));
    }
    if key.ends_with(".fidelity") {
        return Err(fault(
            span.clone(),
            format!("`{key}` is not for a space"),
            "trials run natively; `confirm` runs the best of them emulated",
        ));
    }
    let set = format!("{key}=0");
    let known = || -> Result<(), Fault> {
        let mut tree = DeTable::parse(&base.text).map_err(Fault::syntax)?;
        overrides::apply(tree.get_mut(), &set, base.text.len() + 1)?;
        keys::check_known(tree.get_ref())
    };
    known().map_err(|unknown| Fault {
        span: span.clone(),
        ..unknown
    })
}

/// The values of a key, and where each stands.
fn values(
    key: &str,
    node: &Node<'_>,
    search: &Search,
) -> Result<(Values, Vec<Range<usize>>), Fault> {
    let shape = || {
        format!(
            "`{key}`: a list of values, {{ range = [FROM, TO], step = STEP }} or {{ log-range = \
             [FROM, TO], points = N }}"
        )
    };
    let inside = match node.get_ref() {
        DeValue::Array(_) => return listed(key, node),
        DeValue::Table(inside) => inside,
        _ => {
            return Err(fault(
                node.span(),
                format!("`{key}` has one value, which is no choice"),
                shape(),
            ));
        }
    };
    check_keys(inside, key, SPEC)?;
    let given = ["list", "range", "log-range"];
    let mut given = given
        .iter()
        .filter_map(|name| Some((*name, inside.get(*name)?)));
    let (Some((name, node)), None) = (given.next(), given.next()) else {
        return Err(fault(
            node.span(),
            format!("`{key}` has not exactly one of list, range and log-range"),
            shape(),
        ));
    };
    for other in ["step", "points"] {
        if name == "list"
            && let Some(node) = inside.get(other)
        {
            return Err(fault(
                node.span(),
                format!("`{key}`: a list has no {other}"),
                shape(),
            ));
        }
    }
    if name == "list" {
        return listed(key, node);
    }
    let ends = list(node, &format!("{key}.{name}"))?;
    let [from_node, to_node] = ends.as_slice() else {
        return Err(fault(
            node.span(),
            format!("`{key}`: {name} has {} numbers", ends.len()),
            shape(),
        ));
    };
    let (from, to) = (number(from_node, key)?, number(to_node, key)?);
    let is_log = name == "log-range";
    if from >= to || (is_log && from <= 0.0) {
        return Err(fault(
            node.span(),
            format!("`{key}`: {name} = [{from}, {to}]"),
            match is_log {
                true => "two numbers above 0, the smaller first",
                false => "two numbers, the smaller first",
            },
        ));
    }
    let is_whole = as_integer(from_node).is_some() && as_integer(to_node).is_some();
    let range = Values::Range {
        from,
        to,
        is_log,
        is_whole,
    };
    let points = match (inside.get("step"), inside.get("points")) {
        (Some(node), Some(_)) => {
            return Err(fault(
                node.span(),
                format!("`{key}` has both step and points"),
                shape(),
            ));
        }
        (Some(node), None) => {
            let step = number(node, &format!("{key}.step"))?;
            if is_log || step <= 0.0 || (is_whole && as_integer(node).is_none()) {
                return Err(fault(
                    node.span(),
                    format!("`{key}`: step = {step}"),
                    match is_log {
                        true => "a log-range has points, not a step",
                        false => "a number above 0; a whole one between whole numbers",
                    },
                ));
            }
            Some(
                super::space::stepped(from, to, step, VALUES_MAX).ok_or_else(|| {
                    fault(
                        node.span(),
                        format!("`{key}`: so small a step makes too many values"),
                        format!("at most {VALUES_MAX} are allowed"),
                    )
                })?,
            )
        }
        (None, Some(node)) => {
            let most = u32::try_from(VALUES_MAX).unwrap_or(u32::MAX);
            let count = whole(node, &format!("{key}.points"), 2, most)?;
            Some(super::space::spaced(from, to, is_log, count))
        }
        (None, None) => None,
    };
    match points {
        Some(points) => {
            let values = range.listed(&points);
            let spans = values.iter().map(|_| node.span()).collect();
            Ok((Values::List(values), spans))
        }
        None if *search == Search::Grid => Err(fault(
            node.span(),
            format!("`{key}`: a grid needs values, not a range without"),
            "add `points = N`, or `step` to a range; or search with [search.random] or \
             [search.tpe]",
        )),
        None => Ok((range, vec![from_node.span(), to_node.span()])),
    }
}

fn listed(key: &str, node: &Node<'_>) -> Result<(Values, Vec<Range<usize>>), Fault> {
    let nodes = list(node, key)?;
    if nodes.is_empty() || nodes.len() > VALUES_MAX {
        return Err(fault(
            node.span(),
            format!("`{key}` has {} values", nodes.len()),
            format!("`{key}`: 1 to {VALUES_MAX} values"),
        ));
    }
    let mut values: Vec<toml::Value> = Vec::new();
    for node in &nodes {
        let value = value(node)?;
        if values.contains(&value) {
            return Err(fault(
                node.span(),
                format!("`{key}` has {value} twice"),
                "leave one out",
            ));
        }
        values.push(value);
    }
    let spans = nodes.iter().map(|node| node.span()).collect();
    Ok((Values::List(values), spans))
}

/// The conditions of a key: on parameters before it.
fn when(key: &str, node: &Node<'_>, before: &[Parameter]) -> Result<Vec<Condition>, Fault> {
    let DeValue::Table(inside) = node.get_ref() else {
        return Ok(Vec::new());
    };
    let Some(node) = inside.get("when") else {
        return Ok(Vec::new());
    };
    let mut conditions = Vec::new();
    for (name, node) in table(node, &format!("{key}.when"))? {
        let other = name.get_ref().as_ref();
        let Some(index) = before.iter().position(|parameter| parameter.key == other) else {
            let known = before.iter().map(|parameter| parameter.key.as_str());
            let guess = match nearest(other, known) {
                Some(guess) => format!("did you mean `{guess}`? "),
                None => String::new(),
            };
            return Err(fault(
                name.span(),
                format!("`{key}`: `{other}` is no parameter above it"),
                format!("{guess}give a key of the space, in quotes, that stands above"),
            ));
        };
        let nodes = list(node, other)?;
        let values = nodes.iter().map(|node| value(node));
        let values: Vec<toml::Value> = values.collect::<Result<_, _>>()?;
        let possible = before.get(index).map(|parameter| &parameter.values);
        for (value, node) in values.iter().zip(&nodes) {
            if !possible.is_some_and(|possible| possible.may_be(value)) {
                return Err(fault(
                    node.span(),
                    format!("`{key}`: `{other}` is never {value}"),
                    format!("give values that `{other}` has in the space"),
                ));
            }
        }
        conditions.push(Condition {
            parameter: index,
            values,
        });
    }
    Ok(conditions)
}

/// Refuses a value with which there is no experiment, whatever the others are.
fn check_values(
    parameters: &[Parameter],
    spans: &[(Range<usize>, Vec<Range<usize>>)],
    base: &Base,
) -> Result<(), Fault> {
    let mut stream = zfl_seed::Stream::new(0, zfl_seed::Purpose::SweepCheck, 0);
    for (index, (parameter, (_, value_spans))) in parameters.iter().zip(spans).enumerate() {
        let values = parameter.values.examples();
        for (value, span) in values.iter().zip(value_spans) {
            let alone = vec![format!("{}={value}", parameter.key)];
            let Err(error) = base.experiment(&alone) else {
                continue;
            };
            let is_possible = (0..TRIES).any(|_| {
                let mut chosen = super::space::draw(parameters, &mut stream);
                if let Some(chosen) = chosen.values.get_mut(index) {
                    *chosen = Some(value.clone());
                }
                base.experiment(&chosen.sets(parameters)).is_ok()
            });
            if !is_possible {
                return Err(Fault {
                    span: span.clone(),
                    message: error.message().to_owned(),
                    help: error.help().map(str::to_owned),
                });
            }
        }
    }
    Ok(())
}
