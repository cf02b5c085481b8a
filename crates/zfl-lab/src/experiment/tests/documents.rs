//! The experiments in the examples and the documents, and the reference of keys.

use std::collections::BTreeMap;

use super::*;

#[test]
fn the_examples_are_experiments() {
    let example = |name: &str, text: &str| {
        Experiment::parse(text, name, &[], &BOARDS).unwrap_or_else(|error| panic!("{error}"))
    };
    let digits = example(
        "digits.toml",
        include_str!("../../../../../examples/digits.toml"),
    );
    assert_eq!(digits.fleet_size(), 10);
    assert_eq!(digits.rounds, 20);
    let mnist = example(
        "mnist.toml",
        include_str!("../../../../../examples/mnist.toml"),
    );
    let faults = example(
        "faults.toml",
        include_str!("../../../../../examples/faults.toml"),
    );
    assert!(faults.fleet.iter().all(|group| group.faults.is_some()));
    let sensors = example(
        "sensors.toml",
        include_str!("../../../../../examples/sensors/sensors.toml"),
    );
    assert!(matches!(sensors.data, Data::Csv(_)));
    assert_eq!(mnist.coordinator.clients_per_round, Some(50));
    assert_eq!(mnist.coordinator.quorum, Some(50));
    assert_eq!(mnist.data, Data::Mnist { folder: None });
    // The same over lossy links, and with the time that this takes.
    let lossy = example(
        "mnist-lossy.toml",
        include_str!("../../../../../examples/mnist-lossy.toml"),
    );
    let [group] = &lossy.fleet[..] else {
        panic!("{:?}", lossy.fleet);
    };
    assert_eq!(lossy.link(group).unwrap().loss, 0.1);
    let mut repaired = lossy.clone();
    repaired.name = mnist.name.clone();
    repaired.parallel = mnist.parallel;
    repaired.deadlines = mnist.deadlines;
    repaired.links = mnist.links.clone();
    repaired.fleet = mnist.fleet.clone();
    assert_eq!(repaired, mnist);
    let cnn = example(
        "cnn-mnist.toml",
        include_str!("../../../../../examples/cnn-mnist.toml"),
    );
    assert_eq!(cnn.model.weighted_layers(), ["conv0", "conv1", "dense0"]);
}

#[test]
fn the_experiments_of_the_fedavg_paper_are_experiments() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fedavg-paper");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let paper = Experiment::parse(&text, name, &[], &BOARDS)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(format!("{}.toml", paper.name), name);
        assert_eq!(paper.fleet_size(), 100);
        assert_eq!(paper.coordinator.clients_per_round, Some(10));
        assert!(paper.coordinator.target_accuracy.is_some());
        let is_iid = matches!(paper.partition, Scheme::Iid | Scheme::IidSubset { .. });
        assert_eq!(is_iid, name.contains("-iid"), "{name}");
        names.push(name.to_owned());
    }
    assert_eq!(names.len(), 5, "{names:?}");
}

const REFERENCE: &str = include_str!("../../../../../docs/experiment-file.md");

#[test]
fn the_examples_of_the_reference_are_experiments() {
    let blocks: Vec<&str> = REFERENCE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 9);
    for block in blocks {
        experiment(block, &[]);
    }
    let commands: Vec<Vec<&str>> = REFERENCE
        .lines()
        .filter(|line| line.starts_with("zfl run "))
        .map(|line| line.split(" --set ").skip(1).collect())
        .collect();
    assert_eq!(commands.len(), 8);
    let text = include_str!("../../../../../examples/digits.toml");
    for sets in commands {
        assert!(!sets.is_empty());
        experiment(text, &sets);
    }
}

/// The last cells of each row of the reference's tables by key.
fn reference_rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    REFERENCE
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once("` | "))
        .map(|(key, rest)| (key, rest.split(" | ").collect()))
        .collect()
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let documented: Vec<&str> = reference_rows().into_keys().collect();
    let mut known: Vec<&str> = keys::KEYS
        .iter()
        .filter(|key| !key.is_table)
        .map(|key| key.path)
        .collect();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn the_reference_tells_the_defaults() {
    let cnn = "[model.cnn]\nlayers = [{ conv = { filters = 3, kernel = 3 } }, { flatten = {} }, { dense = { outputs = 3 } }]\n[training.schedule.cosine]\n";
    let fixed = "[training]\narithmetic = \"fixed\"\n";
    let shards = "[partition.shards]";
    let dirichlet = "[partition.dirichlet]";
    let link = "[link.x.burst-loss]\nbegin = 0\nend = 1\n";
    let patient = "[coordinator]\non-failed-round = \"continue\"\nstaleness-rounds-max = 1\n[deadlines]\nround-quantile = 0.9\n";
    let texts = [
        "[[fleet]]",
        "[model.softmax-regression]",
        cnn,
        fixed,
        shards,
        dirichlet,
        "[partition.label-limited]",
        "[partition.quantity-skew.power-law]",
        "[partition.quantity-skew.dirichlet]",
        link,
        "[faults.some]",
        patient,
        "[data.csv]\nfile = \"a\"\nlabel = \"b\"",
        "[data.parquet]\nfile = \"a\"\nlabel = \"b\"",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\nlabels = \"c\"",
    ];
    let written = texts.map(|text| {
        let written: toml::Table = experiment(text, &[]).to_toml().parse().unwrap();
        toml::Value::Table(written)
    });
    let mut checked = 0;
    for (path, cells) in reference_rows() {
        let Some(default) = cells[1]
            .strip_prefix('`')
            .and_then(|cell| cell.strip_suffix('`'))
        else {
            continue;
        };
        // A word there is the key it follows.
        let Ok(default) = default.parse::<toml::Value>() else {
            assert!(
                ["clients-per-round", "range"].contains(&default),
                "{path}: {default}"
            );
            continue;
        };
        let path_segments: Vec<&str> = path.split('.').collect();
        let value = written.iter().find_map(|value| find(value, &path_segments));
        assert_eq!(value, Some(&default), "{path}");
        checked += 1;
    }
    assert_eq!(checked, 90);
}

/// What stands at a path; of a list, or of what the file names, the first entry
/// that has it.
fn find<'v>(value: &'v toml::Value, path: &[&str]) -> Option<&'v toml::Value> {
    match path.split_first() {
        None => Some(value),
        Some((&"NAME", rest)) => value
            .as_table()?
            .values()
            .find_map(|entry| find(entry, rest)),
        Some((&"*", rest)) => value.as_array()?.iter().find_map(|entry| find(entry, rest)),
        Some((name, rest)) => find(value.get(name)?, rest),
    }
}
