//! Every key of an experiment file and what it may be.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::nearest::nearest;

pub(super) const CLIENTS_PER_ROUND: &str = "coordinator.clients-per-round";
pub(super) const QUORUM: &str = "coordinator.quorum";

/// A key: its path (`*` is the number of a table in a list) and what is
/// allowed, as help says it.
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) allowed: &'static str,
    /// A table, or a list of tables.
    pub(super) is_table: bool,
}

const fn key(path: &'static str, allowed: &'static str) -> Key {
    Key {
        path,
        allowed,
        is_table: false,
    }
}

const fn table(path: &'static str, allowed: &'static str) -> Key {
    Key {
        path,
        allowed,
        is_table: true,
    }
}

/// In the order of the reference.
pub(super) const KEYS: &[Key] = &[
    key(
        "name",
        "1 to 64 of the characters a-z, 0-9 and -, in quotes",
    ),
    key("seed", "a whole number from 0 to 9223372036854775807"),
    key("rounds", "a whole number from 1 to 1000000"),
    key("network", "\"switch\" or \"bridge\""),
    table(
        "data",
        "exactly one of the tables data.digits, data.mnist, data.idx",
    ),
    table("data.digits", "a table with the key test-share"),
    key(
        "data.digits.test-share",
        "a number between 0 and 1, both excluded",
    ),
    table("data.mnist", "a table with the key folder"),
    key("data.mnist.folder", "the path of a folder, in quotes"),
    table(
        "data.idx",
        "a table with train-images, train-labels, test-images, test-labels, and if need be value-scale and classes",
    ),
    key(
        "data.idx.train-images",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.train-labels",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.test-images",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.test-labels",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.value-scale",
        "a number above 0 that single precision can hold",
    ),
    key("data.idx.classes", "a whole number from 2 to 256"),
    table("partition", "exactly one table: partition.iid"),
    table("partition.iid", "a table without keys"),
    table("model", "exactly one table: model.mlp"),
    table("model.mlp", "a table with the key hidden"),
    key(
        "model.mlp.hidden",
        "a list of at most 7 widths, whole numbers from 1 to 65535, such as [16] or []",
    ),
    table(
        "training",
        "a table with epochs, batch-size and learning-rate",
    ),
    key("training.epochs", "a whole number from 1 to 10000"),
    key("training.batch-size", "a whole number from 1 to 65535"),
    key(
        "training.learning-rate",
        "a number above 0 that single precision can hold",
    ),
    table("strategy", "exactly one table: strategy.fed-avg"),
    table("strategy.fed-avg", "a table without keys"),
    table(
        "coordinator",
        "a table with clients-per-round, quorum, target-accuracy and port",
    ),
    key(
        CLIENTS_PER_ROUND,
        "a whole number from 1 to the size of the fleet",
    ),
    key(
        QUORUM,
        "a whole number from 1 to coordinator.clients-per-round",
    ),
    key("coordinator.target-accuracy", "a number above 0, at most 1"),
    key(
        "coordinator.port",
        "a whole number from 0 to 65535; 0 is any free port",
    ),
    table("deadlines", "a table with boot-s, ready-s and round-s"),
    key("deadlines.boot-s", "seconds from 0.001 to 604800"),
    key("deadlines.ready-s", "seconds from 0.001 to 604800"),
    key("deadlines.round-s", "seconds from 0.001 to 604800"),
    table(
        "fleet",
        "a list of tables, [[fleet]], each with board and count",
    ),
    table("fleet.*", "a table with board and count"),
    key(
        "fleet.*.board",
        "the name of a board (`zfl boards` lists them) or the path of a board file, in quotes",
    ),
    key(
        "fleet.*.count",
        "a whole number from 1; at most 10000 devices in all",
    ),
];

fn same(pattern: &str, path: &[String]) -> bool {
    let mut segments = path.iter();
    pattern.split('.').all(|part| {
        segments
            .next()
            .is_some_and(|segment| segment == part || (part == "*" && is_number(segment)))
    }) && segments.next().is_none()
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is allowed at `path`, or in the closest table above it.
pub(super) fn help(path: &[String]) -> Option<String> {
    (0..=path.len())
        .rev()
        .filter_map(|len| path.get(..len))
        .find_map(|path| KEYS.iter().find(|key| same(key.path, path)))
        .map(|key| format!("`{}`: {}", key.path, key.allowed))
}

/// The names of the keys directly below `path`.
fn names_below(path: &[String]) -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .filter_map(move |key| match key.path.rsplit_once('.') {
            Some((parent, name)) => same(parent, path).then_some(name),
            None => path.is_empty().then_some(key.path),
        })
}

/// A value or a key with where it is found.
struct Node<'t> {
    path: Vec<String>,
    key_span: Option<Range<usize>>,
    value: &'t Spanned<DeValue<'t>>,
}

/// Everything in the tree, parents first. TOML bounds how deep it is.
fn nodes<'t>(tree: &'t DeTable<'t>) -> Vec<Node<'t>> {
    let mut nodes: Vec<Node<'t>> = Vec::new();
    let below = |path: &[String], name: &str| {
        let mut path = path.to_vec();
        path.push(name.to_owned());
        path
    };
    for (key, value) in tree {
        nodes.push(Node {
            path: below(&[], key.get_ref()),
            key_span: Some(key.span()),
            value,
        });
    }
    let mut index = 0;
    while let Some(node) = nodes.get(index) {
        let mut children = Vec::new();
        match node.value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    children.push(Node {
                        path: below(&node.path, key.get_ref()),
                        key_span: Some(key.span()),
                        value,
                    });
                }
            }
            DeValue::Array(array) => {
                for (position, value) in array.iter().enumerate() {
                    children.push(Node {
                        path: below(&node.path, &position.to_string()),
                        key_span: None,
                        value,
                    });
                }
            }
            _ => {}
        }
        nodes.append(&mut children);
        index += 1;
    }
    nodes
}

/// The path of what stands at `span`: the deepest, where several do.
pub(super) fn path_at(tree: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    nodes(tree)
        .into_iter()
        .filter(|node| node.value.span() == *span || node.key_span.as_ref() == Some(span))
        .max_by_key(|node| node.path.len())
        .map(|node| node.path)
}

/// Refuses a key that is none. The first one of the text, whatever its depth.
pub(super) fn check_known(tree: &DeTable<'_>) -> Result<(), Fault> {
    let unknown = nodes(tree)
        .into_iter()
        .filter_map(|node| {
            let span = node.key_span?;
            let (name, parent) = node.path.split_last()?;
            // Of a table that is itself unknown only the table is reported,
            // and a table where a value or a list belongs is a matter of types.
            let is_open = parent.is_empty()
                || KEYS
                    .iter()
                    .any(|key| key.is_table && same(key.path, parent))
                    && names_below(parent).all(|name| name != "*");
            let is_known = names_below(parent).any(|known| known == name);
            (is_open && !is_known).then(|| (span, name.clone(), parent.to_vec()))
        })
        .min_by_key(|(span, ..)| span.start);
    let Some((span, name, parent)) = unknown else {
        return Ok(());
    };
    let allowed: Vec<&str> = names_below(&parent).collect();
    let place = match parent.as_slice() {
        [] => "at the top".to_owned(),
        parent => format!("in `{}`", parent.join(".")),
    };
    let guess = match nearest(&name, allowed.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`? "),
        // The right word in the wrong place.
        None => match elsewhere(&name) {
            Some(path) => format!("did you mean `{path}`? "),
            None => String::new(),
        },
    };
    let list = match allowed.is_empty() {
        true => "it has no keys".to_owned(),
        false => format!("allowed {place}: {}", allowed.join(", ")),
    };
    Err(Fault {
        span,
        message: format!("unknown key `{name}` {place}"),
        help: Some(format!("{guess}{list}")),
    })
}

/// The one key with this last name, in another table.
fn elsewhere(name: &str) -> Option<&'static str> {
    let mut found = KEYS
        .iter()
        .filter(|key| key.path.rsplit('.').next() == Some(name));
    match (found.next(), found.next()) {
        (Some(key), None) => Some(key.path),
        _ => None,
    }
}
