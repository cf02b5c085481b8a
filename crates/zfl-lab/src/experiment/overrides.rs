//! `--set KEY=VALUE`: a change laid over the parsed file.
//!
//! It is made on the tree with positions rather than on the text, so that what
//! the file says keeps its lines, and what a `--set` says can be traced to it.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::Fault;
use super::keys;

/// Deepest key: the tree is walked by recursion elsewhere.
const SEGMENTS_MAX: usize = 8;
/// Longest `KEY=VALUE`, in bytes.
const BYTES_MAX: usize = 65_536;
/// Tables of which exactly one variant may be there; `*` is the number of a
/// table in a list.
const VARIANT_TABLES: [&str; 7] = [
    "data",
    "partition",
    "partition.quantity-skew",
    "model",
    "model.cnn.layers.*",
    "training.schedule",
    "strategy",
];
/// The lists of tables.
const LISTS: [&str; 3] = ["fleet", "model.cnn.layers", "link.NAME.outages"];

struct Segment<'s> {
    name: &'s str,
    span: Range<usize>,
}

/// Lays `set` over `tree`; its positions begin at `offset`.
pub(crate) fn apply<'s>(tree: &mut DeTable<'s>, set: &'s str, offset: usize) -> Result<(), Fault> {
    let whole = offset..offset + set.len();
    let fault = |span: Range<usize>, message: String, help: Option<String>| Fault {
        span,
        message,
        help,
    };
    let form = || Some("give KEY=VALUE, such as training.epochs=1".to_owned());
    if set.len() > BYTES_MAX {
        let message = format!("{} bytes, at most {BYTES_MAX} are allowed", set.len());
        return Err(fault(whole, message, form()));
    }
    let Some((key, value)) = set.split_once('=') else {
        return Err(fault(whole, "no `=`".into(), form()));
    };
    let value_start = offset + key.len() + 1;

    let mut segments = Vec::new();
    let mut start = offset;
    for part in key.split('.') {
        let name = part.trim();
        let lead = part.len() - part.trim_start().len();
        let span = start + lead..start + lead + name.len();
        if name.is_empty() || segments.len() == SEGMENTS_MAX {
            let message = format!("`{}` is not a key", key.trim());
            return Err(fault(span, message, form()));
        }
        segments.push(Segment { name, span });
        start += part.len() + 1;
    }
    let value = parse_value(value, value_start)?;

    for (index, variant) in segments.iter().enumerate() {
        let above = segments.get(..index).unwrap_or_default();
        if is_one_of(above, &VARIANT_TABLES)
            && let Some(table) = table_at(tree, above)
        {
            let kept = table.remove_entry(variant.name);
            table.clear();
            if let Some((name, value)) = kept {
                table.insert(name, value);
            }
        }
    }
    insert(tree, &segments, 0, value)
}

/// Whether `path` is one of `patterns`.
fn is_one_of(path: &[Segment<'_>], patterns: &[&str]) -> bool {
    let path: Vec<String> = path.iter().map(|part| part.name.to_owned()).collect();
    patterns.iter().any(|pattern| keys::same(pattern, &path))
}

/// The table at `path`, if there is one.
fn table_at<'t, 's>(
    tree: &'t mut DeTable<'s>,
    path: &[Segment<'_>],
) -> Option<&'t mut DeTable<'s>> {
    let (first, rest) = path.split_first()?;
    let mut node = tree.get_mut(first.name)?;
    for segment in rest {
        node = match node.get_mut() {
            DeValue::Table(table) => table.get_mut(segment.name)?,
            DeValue::Array(array) => array.get_mut(segment.name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match node.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// A TOML value, or else the text itself as a string.
fn parse_value(text: &str, start: usize) -> Result<Spanned<DeValue<'_>>, Fault> {
    let trimmed = text.trim();
    let start = start + (text.len() - text.trim_start().len());
    match DeValue::parse(trimmed) {
        Ok(mut value) => {
            shift(&mut value, start);
            Ok(value)
        }
        // A quote or bracket is TOML gone wrong, not a word.
        Err(error) if trimmed.starts_with(['"', '\'', '[', '{']) => {
            let mut fault = Fault::syntax(error);
            fault.span = fault.span.start + start..fault.span.end + start;
            fault.help = Some("give a TOML value or a word without quotes".into());
            Err(fault)
        }
        Err(_) => Ok(Spanned::new(
            start..start + trimmed.len(),
            DeValue::String(Cow::Borrowed(trimmed)),
        )),
    }
}

/// Moves the positions of a value and all in it. TOML bounds the recursion.
fn shift(value: &mut Spanned<DeValue<'_>>, by: usize) {
    let moved = |span: Range<usize>| span.start + by..span.end + by;
    let span = moved(value.span());
    let mut inner = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    match &mut inner {
        DeValue::Array(array) => {
            for element in array.iter_mut() {
                shift(element, by);
            }
        }
        DeValue::Table(table) => {
            let entries = std::mem::take(table);
            for (key, mut element) in entries {
                shift(&mut element, by);
                table.insert(Spanned::new(moved(key.span()), key.into_inner()), element);
            }
        }
        _ => {}
    }
    *value = Spanned::new(span, inner);
}

/// Puts `value` below `table`, which stands at the first `depth` of
/// `segments`.
fn insert<'s>(
    table: &mut DeTable<'s>,
    segments: &[Segment<'s>],
    depth: usize,
    value: Spanned<DeValue<'s>>,
) -> Result<(), Fault> {
    let Some(first) = segments.get(depth) else {
        return Ok(());
    };
    let key = Spanned::new(first.span.clone(), Cow::Borrowed(first.name));
    if depth + 1 == segments.len() {
        table.insert(key, value);
        return Ok(());
    }
    let path = segments.get(..=depth).unwrap_or_default();
    let next = table.entry(key).or_insert_with(|| {
        let empty = match is_one_of(path, &LISTS) {
            true => DeValue::Array(DeArray::new()),
            false => DeValue::Table(DeTable::new()),
        };
        Spanned::new(first.span.clone(), empty)
    });
    descend(next, segments, depth + 1, value)
}

/// Puts `value` below `node`, which stands at the first `depth` of `segments`.
fn descend<'s>(
    node: &mut Spanned<DeValue<'s>>,
    segments: &[Segment<'s>],
    depth: usize,
    value: Spanned<DeValue<'s>>,
) -> Result<(), Fault> {
    let above = segments.get(..depth).unwrap_or_default();
    let (Some(parent), Some(first)) = (above.last(), segments.get(depth)) else {
        return Ok(());
    };
    let path = || {
        above
            .iter()
            .map(|part| part.name.to_owned())
            .collect::<Vec<_>>()
    };
    match node.get_mut() {
        DeValue::Table(table) => insert(table, segments, depth, value),
        DeValue::Array(array) => {
            let index = first.name.parse::<usize>().ok();
            let Some(index) = index.filter(|index| *index <= array.len()) else {
                return Err(Fault {
                    span: first.span.clone(),
                    message: format!("`{}` has no entry `{}`", path().join("."), first.name),
                    help: Some(format!(
                        "its entries are {0}.0 to {0}.{1}, the last of which would be a new one",
                        path().join("."),
                        array.len()
                    )),
                });
            };
            if index == array.len() {
                let empty = DeValue::Table(DeTable::new());
                array.push(Spanned::new(first.span.clone(), empty));
            }
            match array.get_mut(index) {
                Some(entry) if depth + 1 == segments.len() => {
                    *entry = value;
                    Ok(())
                }
                Some(entry) => descend(entry, segments, depth + 1, value),
                None => Ok(()),
            }
        }
        _ => Err(Fault {
            span: parent.span.clone(),
            message: format!("`{}` is a value, not a table", path().join(".")),
            help: keys::help(&path()),
        }),
    }
}
