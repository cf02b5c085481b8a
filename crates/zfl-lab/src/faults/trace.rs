//! A trace of availability: in which rounds which client is there.
//!
//! A CSV file with the columns `client,from,to`: client `client` is there from
//! round `from` to round `to`, both included. Rounds and not seconds: a plan in
//! rounds is the same on every host, for devices and for native clients, and
//! does not depend on how fast anything runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::FaultsError;

/// Longest trace, in bytes.
pub const TRACE_BYTES_MAX: u64 = 64 << 20;

/// What the first line must be.
const COLUMNS: [&str; 3] = ["client", "from", "to"];

/// The rounds in which clients are there. A clone shares them.
#[derive(Clone)]
pub(crate) struct Trace(Arc<BTreeMap<u32, Vec<(u32, u32)>>>);

impl Trace {
    /// Reads a trace of a run with so many clients.
    pub(super) fn read(path: &Path, client_count: u32) -> Result<Self, FaultsError> {
        let text = read_bounded(path).map_err(|source| FaultsError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, client_count).map_err(|(line, what)| FaultsError::Trace {
            path: path.to_owned(),
            line,
            what,
        })
    }

    /// The trace, or the line that is wrong and what is wrong with it.
    pub(crate) fn parse(text: &str, client_count: u32) -> Result<Self, (u64, String)> {
        let mut clients: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        let mut has_columns = false;
        for (line, row) in (1..).zip(text.lines()) {
            let wrong = |what: String| (line, what);
            let cells: Vec<&str> = row.split(',').map(str::trim).collect();
            if cells == [""] {
                continue;
            }
            if !has_columns {
                if cells != COLUMNS {
                    return Err(wrong(format!(
                        "the first line is `{}`, expected `client,from,to`",
                        shown(row)
                    )));
                }
                has_columns = true;
                continue;
            }
            let [client, from, to] = cells[..] else {
                return Err(wrong(format!(
                    "{} columns, expected the three client,from,to",
                    cells.len()
                )));
            };
            let number = |name: &str, text: &str| {
                text.parse::<u32>().map_err(|_| {
                    wrong(format!(
                        "`{name}` is `{}`, expected a whole number from 0 to 4294967295",
                        shown(text)
                    ))
                })
            };
            let client = number("client", client)?;
            let (from, to) = (number("from", from)?, number("to", to)?);
            if client >= client_count {
                return Err(wrong(format!(
                    "client {client}: the fleet has {client_count}, numbered from 0"
                )));
            }
            if from == 0 || from > to {
                return Err(wrong(format!(
                    "from round {from} to round {to}: rounds count from 1, and `from` is not \
                     after `to`"
                )));
            }
            clients.entry(client).or_default().push((from, to));
        }
        if !has_columns {
            return Err((1, "no lines, expected `client,from,to`".to_owned()));
        }
        Ok(Self(Arc::new(clients)))
    }

    /// A client that the trace does not name is there in every round.
    pub(crate) fn is_available(&self, client: u32, round: u32) -> bool {
        self.0.get(&client).is_none_or(|intervals| {
            intervals
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&round))
        })
    }
}

/// The beginning of what stands there, for an error.
fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut letters = text.chars();
    let start: String = letters.by_ref().take(CHARACTERS_MAX).collect();
    let rest = if letters.next().is_some() { "…" } else { "" };
    format!("{}{rest}", start.escape_debug())
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(TRACE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(length) if length <= TRACE_BYTES_MAX => Ok(text),
        _ => Err(std::io::Error::other(format!(
            "it is longer than {TRACE_BYTES_MAX} bytes"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match Trace::parse(text, 10) {
            Ok(_) => panic!("accepted: {text}"),
            Err((line, what)) => format!("{line}: {what}"),
        }
    }

    #[test]
    fn a_trace_says_who_is_there() {
        let text = "client,from,to\n3, 1,2\n3,5,5\r\n0,2,4294967295\n";
        let trace = Trace::parse(text, 10).ok().unwrap();
        let there = |client: u32| -> Vec<u32> {
            (1..=6)
                .filter(|round| trace.is_available(client, *round))
                .collect()
        };
        assert_eq!(there(3), [1, 2, 5]);
        assert_eq!(there(0), [2, 3, 4, 5, 6]);
        assert_eq!(there(1), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_bad_trace_says_where() {
        let check = |text: &str, what: &str| assert_eq!(refused(text), what, "{text}");
        check("", "1: no lines, expected `client,from,to`");
        check(
            "0,1,2\n",
            "1: the first line is `0,1,2`, expected `client,from,to`",
        );
        check(
            "client,from,to\n0,1,2\n0,1\n",
            "3: 2 columns, expected the three client,from,to",
        );
        check(
            "client,from,to\n\n0,x,2\n",
            "3: `from` is `x`, expected a whole number from 0 to 4294967295",
        );
        check(
            "client,from,to\n10,1,2\n",
            "2: client 10: the fleet has 10, numbered from 0",
        );
        let long = format!("client,from,to\n0,{},2\n", "x".repeat(1000));
        let cut = "x".repeat(60);
        check(
            &long,
            &format!("2: `from` is `{cut}…`, expected a whole number from 0 to 4294967295"),
        );
        for interval in ["0,1", "3,2"] {
            let text = format!("client,from,to\n1,{interval}\n");
            assert!(refused(&text).contains("rounds count from 1"), "{text}");
        }
    }
}
