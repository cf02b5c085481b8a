//! What rounds cost the devices, read on in `clients.csv`.
//!
//! The row of a round is written after those of its clients: whoever has read of a
//! round and then reads this file to its end has all of them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use zfl_lab::archive::DeviceCost;

use crate::tail::{Reached, Tail};

/// The columns that are read.
const COLUMNS: [&[u8]; 3] = [b"round", b"device_seconds", b"energy_mj"];
/// Longest row, in bytes: a text in it may go over several lines.
const ROW_BYTES_MAX: usize = 1 << 20;

/// The costs of rounds that nobody has asked for yet.
#[derive(Debug)]
pub(crate) struct Costs {
    tail: Tail,
    rows: Rows,
    /// Whether all has been read that is there.
    is_at_end: bool,
}

#[derive(Debug, Default)]
struct Rows {
    /// The lines of a row that goes on.
    begun: Vec<u8>,
    /// Where [`COLUMNS`] are.
    places: Option<[Option<usize>; COLUMNS.len()]>,
    /// By the number of the round.
    rounds: BTreeMap<u32, DeviceCost>,
    /// Of the last row.
    round: u32,
}

impl Costs {
    /// Those of the run in a folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            tail: Tail::new(&folder.join("clients.csv")),
            rows: Rows::default(),
            is_at_end: false,
        }
    }

    /// Reads about so many bytes more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(&mut self, bytes_max: usize) -> io::Result<Reached> {
        let Self { tail, rows, .. } = self;
        let reached = tail.read(bytes_max, |_, line| rows.line(line))?;
        self.is_at_end = reached == Reached::End;
        Ok(reached)
    }

    /// Whether all of a round has been read, given that its own row was read before.
    pub(crate) const fn knows(&self, round: u32) -> bool {
        self.is_at_end || self.rows.round > round
    }

    /// What a round cost. It is forgotten with this, as are those before it.
    pub(crate) fn take(&mut self, round: u32) -> DeviceCost {
        let cost = self.rows.rounds.remove(&round).unwrap_or_default();
        self.rows.rounds = self.rows.rounds.split_off(&round);
        cost
    }
}

impl Rows {
    fn line(&mut self, line: &[u8]) {
        let is_open = |text: &[u8]| text.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        if self.begun.is_empty() && !is_open(line) {
            return self.row(line);
        }
        if !self.begun.is_empty() {
            self.begun.push(b'\n');
        }
        self.begun.extend_from_slice(line);
        if !is_open(&self.begun) {
            let row = std::mem::take(&mut self.begun);
            self.row(&row);
        } else if self.begun.len() > ROW_BYTES_MAX {
            self.begun.clear();
        }
    }

    fn row(&mut self, row: &[u8]) {
        let mut cells = [None; COLUMNS.len()];
        let Some(places) = self.places else {
            let place = |name: &[u8]| {
                row.split(|byte| *byte == b',')
                    .position(|cell| cell == name)
            };
            self.places = Some(COLUMNS.map(place));
            return;
        };
        let mut is_quoted = false;
        // A comma in a text parts no cells.
        let parts = row.split(|byte| {
            is_quoted ^= *byte == b'"';
            *byte == b',' && !is_quoted
        });
        for (index, part) in parts.enumerate() {
            for (cell, place) in cells.iter_mut().zip(places) {
                if place == Some(index) {
                    *cell = number(part);
                }
            }
        }
        let [Some(round), device_seconds, energy_mj] = cells else {
            return;
        };
        // Not more than a round's number, which is whole.
        self.round = round as u32;
        if device_seconds.is_some() || energy_mj.is_some() {
            let cost = self.rounds.entry(self.round).or_default();
            cost.add_part(device_seconds, energy_mj);
        }
    }
}

fn number(cell: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(cell).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn the_longest_part_and_all_energy_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("clients.csv")).unwrap();
        let mut costs = Costs::new(folder.path());
        assert_eq!(costs.read(1000).unwrap(), Reached::End);
        write!(
            file,
            "round,client,device_seconds,energy_mj,detail\n1,0,0.5,2,\n1,1,1.5,3,\n1,2,,,late\n\
             2,0,0.25,1,\"gone, with a comma\n1,7,99,99,and what is no row\"\n2,1,0.5,,\n3,0,8,"
        )
        .unwrap();
        assert!(costs.knows(1));
        costs.read(1000).unwrap();
        let cost = |device_seconds, energy_mj| DeviceCost {
            device_seconds,
            energy_mj,
        };
        assert_eq!(costs.take(1), cost(Some(1.5), Some(5.0)));
        assert_eq!(costs.take(2), cost(Some(0.5), Some(1.0)));
        // Its row is not all there.
        assert_eq!(costs.take(3), cost(None, None));
        file.write_all(b"4,\n").unwrap();
        costs.read(1000).unwrap();
        assert_eq!(costs.take(3), cost(Some(8.0), Some(4.0)));
    }

    #[test]
    fn a_round_is_known_once_another_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let row = |round: u32| format!("{round},1{}\n", ",".repeat(300_000));
        let text = format!("round,device_seconds\n{}{}{}", row(1), row(2), row(3));
        std::fs::write(folder.path().join("clients.csv"), text).unwrap();
        let mut costs = Costs::new(folder.path());
        assert_eq!(costs.read(600_000).unwrap(), Reached::More);
        assert!(costs.knows(1) && !costs.knows(2));
        assert_eq!(costs.read(1 << 20).unwrap(), Reached::End);
        assert!(costs.knows(3));
        assert_eq!(costs.take(3).device_seconds, Some(1.0));
    }
}
