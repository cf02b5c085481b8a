//! What is known of a run, kept up with its folder.
//!
//! Nobody tells the follower anything: it reads on in the files where it stopped.
//! Viewers are given what has changed since a [`Cursor`]; one that belongs to
//! another follower, or to one that had to begin anew, gets everything.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use zfl_lab::archive::{Archive, Standing, SweepArchive};

use crate::costs::Costs;
use crate::fleet::Fleet;
use crate::tail::{Reached, Tail};

/// The columns of `rounds.csv` that are shown, where they are there; `failed` is its
/// `outcome`. The next two are of the round's rows of `clients.csv`, and the last four sums
/// over all rounds so far.
const COLUMNS: [&str; 24] = [
    "round",
    "accuracy",
    "loss",
    "rmse",
    "r_squared",
    "clients_selected",
    "clients_ok",
    "faults",
    "late_updates",
    "bytes_down",
    "bytes_up",
    "host_seconds",
    "nic_bytes_in",
    "nic_bytes_out",
    "retransmissions_down",
    "retransmissions_up",
    "drops",
    "failed",
    "device_seconds",
    "energy_mj",
    "bytes_total",
    "host_seconds_total",
    "device_seconds_total",
    "energy_mj_total",
];
/// Where those of `clients.csv` are.
const DEVICE_SECONDS: usize = 18;
const ENERGY: usize = 19;
/// Where the sums are, and where what they add up.
const SUMS: [(usize, &[usize]); 4] = [
    (20, &[9, 10]),
    (21, &[11]),
    (22, &[DEVICE_SECONDS]),
    (23, &[ENERGY]),
];
/// From so many on every second round is left out, then every fourth…
const ROUNDS_MAX: usize = 20_000;
/// So many events are kept.
const EVENTS_MAX: usize = 1_000;
/// Characters of an event's text, and of a console's line.
const TEXT_MAX: usize = 400;
/// Rounds whose place in `events.jsonl` is known.
const PLACES_MAX: usize = 1 << 20;
/// So much of a file is read before viewers are given what there is, in bytes.
const STEP_BYTES: usize = 8 << 20;
/// Rounds, and clients, that a viewer is given at a time: a page must not stop while
/// it takes them in.
const ROUNDS_AT_A_TIME: usize = 2_000;
const CLIENTS_AT_A_TIME: usize = 2_000;
/// A folder is read again at most so often.
const QUICK: Duration = Duration::from_millis(100);
/// Consoles, and whether somebody plays the run, are looked at so often.
const SLOW: Duration = Duration::from_millis(1000);
/// So much of the end of a console is read for its last line, in bytes.
const LINE_BYTES: u64 = 512;

/// Up to where a viewer has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The state that it has been told of.
    epoch: u64,
    rounds: usize,
    change: u64,
    event: u64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            epoch,
            rounds,
            change,
            event,
        } = self;
        write!(formatter, "{epoch:x}-{rounds}-{change}-{event}")
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(());
        let epoch = u64::from_str_radix(next()?, 16).map_err(|_| ())?;
        Ok(Self {
            epoch,
            rounds: next()?.parse().map_err(|_| ())?,
            change: next()?.parse().map_err(|_| ())?,
            event: next()?.parse().map_err(|_| ())?,
        })
    }
}

/// What a viewer is told.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Update {
    /// Whatever was told before is void.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reset: bool,
    pub(crate) run: Option<Run>,
    /// New rounds: their values, by the name of the column.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rounds: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// Clients that have changed: number, condition, outcome, its round, updates
    /// that were used, and that were not, last line of the console.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) clients: Vec<(u32, crate::fleet::Condition, String, u32, u32, u32, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<Event>,
    /// There is more to be told at once.
    #[serde(skip)]
    pub(crate) has_more: bool,
}

/// How a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Run {
    pub(crate) name: String,
    /// Whether it is a trial of a sweep, whose folder is two above.
    pub(crate) is_trial: bool,
    /// `running`, `completed`, `ended early`, `cut off`.
    pub(crate) standing: &'static str,
    /// Why it ended, where it says so.
    pub(crate) outcome: String,
    pub(crate) rounds_planned: u64,
    /// Rounds that are over.
    pub(crate) rounds: u64,
    pub(crate) clients: usize,
    pub(crate) groups: Vec<crate::fleet::Group>,
    /// The round that goes on; 0 between rounds.
    pub(crate) round: u32,
    /// Its clients, and how many of them are decided.
    pub(crate) selected: u32,
    pub(crate) finished: u32,
    /// Host time of the last event.
    pub(crate) host_seconds: f64,
    /// The files have not been read to their ends yet.
    pub(crate) is_reading: bool,
    /// What cannot be read.
    pub(crate) fault: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) host_seconds: f64,
    pub(crate) event: String,
    pub(crate) client: Option<u32>,
    pub(crate) round: Option<u32>,
    pub(crate) text: String,
}

/// A round in `events.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) round: u32,
    /// Where its first event begins, in bytes.
    pub(crate) offset: u64,
}

/// The values of a round, in the order of [`COLUMNS`]; NaN where there is none.
type Values = [f64; COLUMNS.len()];

/// Lines, and where in their file they begin.
type Lines = Vec<(u64, Vec<u8>)>;

/// A run that is followed.
#[derive(Debug)]
pub(crate) struct Follower {
    folder: PathBuf,
    /// No two followers have the same.
    epoch: u64,
    rounds: Tail,
    devices: Tail,
    events: Tail,
    /// `None` where no device stands for a microcontroller.
    costs: Option<Costs>,
    /// Lines of `rounds.csv` whose costs are not known yet.
    waiting: VecDeque<Vec<u8>>,
    /// Of `rounds.csv`: the column of [`COLUMNS`] that each column is.
    columns: Option<Vec<Option<usize>>>,
    values: Vec<Values>,
    /// Of so many rounds one is kept.
    stride: u64,
    /// Rounds that have been read.
    count: u64,
    /// [`SUMS`] over them; NaN where there was nothing to add up.
    sums: [f64; SUMS.len()],
    pub(crate) fleet: Fleet,
    log: VecDeque<Event>,
    event_count: u64,
    places: Vec<Place>,
    run: Run,
    /// How long the logs of the consoles were when their last lines were read.
    consoles: BTreeMap<String, u64>,
    polled: Option<Instant>,
    looked: Option<Instant>,
}

impl Follower {
    /// Follows the run in a folder.
    pub(crate) fn new(archive: &Archive) -> Self {
        let folder = archive.path().to_owned();
        let tail = |name: &str| Tail::new(&folder.join(name));
        let (experiment, fault) = match archive.experiment() {
            Ok(experiment) => (experiment, String::new()),
            Err(error) => (toml::Table::new(), error.to_string()),
        };
        let name = experiment.get("name").and_then(toml::Value::as_str);
        let rounds = experiment.get("rounds").and_then(toml::Value::as_integer);
        let fleet = Fleet::new(&experiment);
        let sweep = folder.ancestors().nth(2);
        let run = Run {
            is_trial: sweep.is_some_and(|sweep| SweepArchive::open(sweep).is_ok()),
            name: name.unwrap_or_default().to_owned(),
            rounds_planned: rounds
                .and_then(|rounds| u64::try_from(rounds).ok())
                .unwrap_or_default(),
            groups: fleet.groups.clone(),
            is_reading: true,
            fault,
            ..Run::default()
        };
        Self {
            epoch: next_epoch(),
            rounds: tail("rounds.csv"),
            devices: tail("devices.csv"),
            events: tail("events.jsonl"),
            costs: archive
                .may_have_costs()
                .unwrap_or_default()
                .then(|| Costs::new(&folder)),
            waiting: VecDeque::new(),
            folder,
            columns: None,
            values: Vec::new(),
            stride: 1,
            count: 0,
            sums: [f64::NAN; SUMS.len()],
            fleet,
            log: VecDeque::new(),
            event_count: 0,
            places: Vec::new(),
            run,
            consoles: BTreeMap::new(),
            polled: None,
            looked: None,
        }
    }

    /// As [`Self::poll`], however short ago the last time was.
    pub(crate) fn poll_at_once(&mut self) {
        (self.polled, self.looked) = (None, None);
        self.poll();
    }

    /// Reads what there is since, or some of it.
    pub(crate) fn poll(&mut self) {
        let is_new = |moment: Option<Instant>, age: Duration| {
            moment.is_some_and(|moment| moment.elapsed() < age)
        };
        // Another viewer has just asked.
        if !self.run.is_reading && is_new(self.polled, QUICK) {
            return;
        }
        self.polled = Some(Instant::now());
        match self.read_on() {
            Ok(Some(is_reading)) => self.run.is_reading = is_reading,
            Ok(None) => {
                // A run that was resumed has lost the rounds that were not over.
                if let Ok(archive) = Archive::open(&self.folder) {
                    *self = Self::new(&archive);
                }
                return;
            }
            Err(error) => self.run.fault = error.to_string(),
        }
        if is_new(self.looked, SLOW) {
            return;
        }
        self.looked = Some(Instant::now());
        match Archive::open(&self.folder).and_then(|archive| archive.standing()) {
            Ok(standing) => {
                self.run.standing = standing.name();
                self.run.outcome = match standing {
                    Standing::Ended(outcome) => outcome,
                    _ => String::new(),
                };
            }
            Err(error) => self.run.fault = error.to_string(),
        }
        // Those of a fleet that others host are not here.
        let _ = self.read_consoles();
    }

    /// Whether there is more; `None` where a file has shrunk.
    fn read_on(&mut self) -> io::Result<Option<bool>> {
        let mut has_more = false;
        let mut lines = |tail: &mut Tail| -> io::Result<Option<Lines>> {
            let mut lines = Vec::new();
            let reached = tail.read(STEP_BYTES, |offset, line| {
                lines.push((offset, line.to_vec()));
            })?;
            has_more |= reached == Reached::More;
            Ok((reached != Reached::Shrunk).then_some(lines))
        };
        let (Some(rounds), Some(devices), Some(events)) = (
            lines(&mut self.rounds)?,
            lines(&mut self.devices)?,
            lines(&mut self.events)?,
        ) else {
            return Ok(None);
        };
        self.waiting
            .extend(rounds.into_iter().map(|(_, line)| line));
        if let Some(costs) = &mut self.costs {
            match costs.read(STEP_BYTES)? {
                Reached::Shrunk => return Ok(None),
                reached => has_more |= reached == Reached::More,
            }
        }
        while let Some(line) = self.waiting.pop_front() {
            if !self.round(&line) {
                self.waiting.push_front(line);
                break;
            }
        }
        for (_, line) in devices {
            // after_round,device,client,…
            let mut cells = line.split(|byte| *byte == b',').skip(1).map(number);
            if let (Some(Some(device)), Some(Some(client))) = (cells.next(), cells.next()) {
                self.fleet.device(device, client);
            }
        }
        for (offset, line) in events {
            self.event(offset, &line);
        }
        self.run.clients = self.fleet.clients.len();
        Ok(Some(has_more))
    }

    /// Takes in a round, unless it is not known yet what it cost.
    fn round(&mut self, line: &[u8]) -> bool {
        let cells = line.split(|byte| *byte == b',');
        let Some(columns) = &self.columns else {
            // The header.
            let place = |name: &[u8]| {
                let name = match name {
                    b"outcome" => b"failed".as_slice(),
                    name => name,
                };
                COLUMNS.iter().position(|column| column.as_bytes() == name)
            };
            self.columns = Some(cells.map(place).collect());
            return true;
        };
        let mut values = [f64::NAN; COLUMNS.len()];
        for (cell, column) in cells.zip(columns) {
            let text = std::str::from_utf8(cell).unwrap_or_default();
            let value = match text {
                "completed" => 0.0,
                "failed" => 1.0,
                text => text.parse().unwrap_or(f64::NAN),
            };
            if let Some(place) = column.and_then(|column| values.get_mut(column)) {
                *place = rounded(value);
            }
        }
        if let Some(costs) = &mut self.costs {
            // A round's number is whole, and small.
            let [round, ..] = values;
            let round = round as u32;
            if !costs.knows(round) {
                return false;
            }
            let cost = costs.take(round);
            for (place, cost) in [
                (DEVICE_SECONDS, cost.device_seconds),
                (ENERGY, cost.energy_mj),
            ] {
                if let Some((value, cost)) = values.get_mut(place).zip(cost) {
                    *value = rounded(cost);
                }
            }
        }
        for (sum, (place, parts)) in self.sums.iter_mut().zip(SUMS) {
            for part in parts {
                let part = values.get(*part).filter(|part| part.is_finite());
                if let Some(part) = part {
                    *sum = part + if sum.is_nan() { 0.0 } else { *sum };
                }
            }
            if let Some(value) = values.get_mut(place) {
                *value = rounded(*sum);
            }
        }
        if self.count.is_multiple_of(self.stride) {
            self.values.push(values);
        }
        self.count += 1;
        self.run.rounds = self.count;
        if self.values.len() > ROUNDS_MAX {
            let mut is_kept = false;
            self.values.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.stride *= 2;
            self.epoch = next_epoch();
        }
        true
    }

    fn event(&mut self, offset: u64, line: &[u8]) {
        let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Value>>(line) else {
            return;
        };
        let Some(Value::String(event)) = fields.remove("event") else {
            return;
        };
        let host_seconds = fields.remove("host_seconds");
        let host_seconds = host_seconds.and_then(|seconds| seconds.as_f64());
        self.run.host_seconds = host_seconds.unwrap_or(self.run.host_seconds);
        self.fleet.event(&event, &fields);
        let number = |name: &str| {
            let value = fields.get(name)?.as_u64()?;
            u32::try_from(value).ok()
        };
        let round = number("round");
        let is_ok = fields.get("outcome").is_some_and(|outcome| outcome == "ok");
        match event.as_str() {
            "round-started" => {
                let selected = fields.get("clients").and_then(Value::as_array);
                let count = selected.map_or(0, Vec::len);
                self.run.round = round.unwrap_or_default();
                self.run.selected = u32::try_from(count).unwrap_or(u32::MAX);
                self.run.finished = 0;
                if self.places.len() < PLACES_MAX {
                    self.places.push(Place {
                        round: self.run.round,
                        offset,
                    });
                }
                return;
            }
            "client-finished" => self.run.finished += 1,
            "round-completed" | "round-failed" | "ended" => self.run.round = 0,
            _ => {}
        }
        if event == "client-finished" && is_ok {
            return;
        }
        let client = match number("device") {
            Some(device) => self.fleet.client_of(device),
            None => number("client"),
        };
        self.event_count += 1;
        self.log.push_back(Event {
            number: self.event_count,
            host_seconds: self.run.host_seconds,
            text: describe(&fields),
            event,
            client,
            round,
        });
        while self.log.len() > EVENTS_MAX {
            self.log.pop_front();
        }
    }

    /// The last lines of the consoles that have grown.
    fn read_consoles(&mut self) -> io::Result<()> {
        let folder = self.folder.join("console");
        // The last start of each device.
        let mut logs: BTreeMap<u32, (u32, String)> = BTreeMap::new();
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some((device, start)) = console_of(name) else {
                continue;
            };
            let last = logs.entry(device).or_insert((start, name.to_owned()));
            if last.0 < start {
                *last = (start, name.to_owned());
            }
        }
        for (device, (_, name)) in logs {
            let path = folder.join(&name);
            let Ok(length) = std::fs::metadata(&path).map(|metadata| metadata.len()) else {
                continue;
            };
            if self.consoles.get(&name) == Some(&length) {
                continue;
            }
            self.consoles.insert(name, length);
            if let Ok(Some(line)) = last_line(&path, length) {
                self.fleet.line(device, line);
            }
        }
        Ok(())
    }

    /// Where a round begins in `events.jsonl`: where it was played last.
    pub(crate) fn place(&self, round: u32) -> Option<Place> {
        self.places
            .iter()
            .rev()
            .find(|place| place.round == round)
            .copied()
    }

    /// What a viewer has not been told; moves its cursor on. `None` where there is
    /// nothing.
    pub(crate) fn update(&self, cursor: &mut Cursor, told: &mut Option<Run>) -> Option<Update> {
        let mut update = Update::default();
        if cursor.epoch != self.epoch {
            update.reset = true;
            *cursor = Cursor {
                epoch: self.epoch,
                ..Cursor::default()
            };
        }
        let rounds = self.values.get(cursor.rounds..).unwrap_or_default();
        let count = rounds.len().min(ROUNDS_AT_A_TIME);
        update.has_more = count < rounds.len();
        update.rounds = columns(rounds.get(..count).unwrap_or_default());
        cursor.rounds += count;
        let mut changed: Vec<(u64, usize)> = (0..)
            .zip(&self.fleet.clients)
            .filter(|(_, client)| client.change > cursor.change)
            .map(|(index, client)| (client.change, index))
            .collect();
        if changed.len() > CLIENTS_AT_A_TIME {
            changed.sort_unstable();
            changed.truncate(CLIENTS_AT_A_TIME);
            update.has_more = true;
        }
        for (change, index) in changed {
            cursor.change = cursor.change.max(change);
            let Some(client) = self.fleet.clients.get(index) else {
                continue;
            };
            update.clients.push((
                u32::try_from(index).unwrap_or(u32::MAX),
                client.condition,
                client.outcome.clone(),
                client.round,
                client.counts.0,
                client.counts.1,
                client.line.clone(),
            ));
        }
        let events = self.log.iter().filter(|event| event.number > cursor.event);
        update.events = events.cloned().collect();
        cursor.event = self.event_count;
        if told.as_ref() != Some(&self.run) || update.reset {
            *told = Some(self.run.clone());
            update.run = Some(self.run.clone());
        }
        update.has_more |= self.run.is_reading;
        let is_empty = !update.reset
            && update.run.is_none()
            && count == 0
            && update.clients.is_empty()
            && update.events.is_empty();
        (!is_empty).then_some(update)
    }

    /// All rounds that are kept.
    pub(crate) fn all_rounds(&self) -> BTreeMap<&'static str, Vec<Option<f64>>> {
        columns(&self.values)
    }

    /// How the run stands.
    pub(crate) const fn run(&self) -> &Run {
        &self.run
    }
}

/// To six places, of a small value to as many digits: nobody sees more, and it makes the
/// messages half as long.
fn rounded(value: f64) -> f64 {
    let size = value.abs();
    let scale = match size > 0.0 && size < 0.1 {
        true => 10f64.powf(5.0 - size.log10().floor()),
        false => 1e6,
    };
    match value.fract() == 0.0 || !scale.is_finite() {
        true => value,
        false => (value * scale).round() / scale,
    }
}

/// Those columns in which there is anything.
fn columns(rounds: &[Values]) -> BTreeMap<&'static str, Vec<Option<f64>>> {
    if rounds.is_empty() {
        return BTreeMap::new();
    }
    let column = |index: usize| -> Vec<Option<f64>> {
        let value = |values: &Values| values.get(index).copied().filter(|value| value.is_finite());
        rounds.iter().map(value).collect()
    };
    (0..)
        .zip(COLUMNS)
        .map(|(index, name)| (name, column(index)))
        .filter(|(_, values)| values.iter().any(Option::is_some))
        .collect()
}

/// A number that no other follower has, nor one of a zfl that ran before.
fn next_epoch() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.map_or(0, |since| since.as_micros());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    u64::try_from(micros)
        .unwrap_or_default()
        .wrapping_add(count)
}

fn number(cell: &[u8]) -> Option<u32> {
    std::str::from_utf8(cell).ok()?.parse().ok()
}

/// Device and start of a console's log: `device-007.log`, `device-007-1.log`.
pub(crate) fn console_of(name: &str) -> Option<(u32, u32)> {
    let numbers = name.strip_prefix("device-")?.strip_suffix(".log")?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (device, start) = numbers.split_once('-').unwrap_or((numbers, "0"));
    if !is_number(device) || !is_number(start) {
        return None;
    }
    Some((device.parse().ok()?, start.parse().ok()?))
}

/// The last line in which there is something.
fn last_line(path: &Path, length: u64) -> io::Result<Option<String>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(length.saturating_sub(LINE_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LINE_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    Ok(line.map(|line| shown(line.trim())))
}

/// Without what is no text, and not too long.
fn shown(text: &str) -> String {
    let characters = text.chars().filter(|character| !character.is_control());
    characters.take(TEXT_MAX).collect()
}

/// What belongs to an event, in words.
fn describe(fields: &BTreeMap<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if matches!(name.as_str(), "round" | "client" | "device" | "clients") {
            continue;
        }
        let part = match value {
            Value::String(value) if value.is_empty() => continue,
            Value::String(value) if matches!(name.as_str(), "text" | "detail" | "reason") => {
                value.clone()
            }
            Value::String(value) => format!("{name} {value}"),
            value => format!("{name} {value}"),
        };
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&part);
    }
    shown(&text)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    const EXPERIMENT: &str = "name = \"small\"\nrounds = 3\n[[fleet]]\ncount = 2\n";

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Self {
                folder: tempfile::tempdir().unwrap(),
            };
            place.append("experiment.toml", EXPERIMENT);
            place.append("rounds.csv", "");
            place
        }

        fn append(&self, name: &str, text: &str) {
            let path = self.folder.path().join(name);
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn follower(&self) -> Follower {
            Follower::new(&Archive::open(self.folder.path()).unwrap())
        }
    }

    #[test]
    fn sums_are_of_the_columns_that_they_are_called_after() {
        let name = |place: &usize| COLUMNS[*place];
        let named: Vec<(&str, Vec<&str>)> = SUMS
            .iter()
            .map(|(place, parts)| (name(place), parts.iter().map(name).collect()))
            .collect();
        let expected = [
            ("bytes_total", vec!["bytes_down", "bytes_up"]),
            ("host_seconds_total", vec!["host_seconds"]),
            ("device_seconds_total", vec!["device_seconds"]),
            ("energy_mj_total", vec!["energy_mj"]),
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn a_round_is_told_with_what_it_cost() {
        let place = Place::new();
        let fleet = "rounds = 3\n[[fleet]]\nmcu = \"nrf52840\"\ncount = 2\n";
        std::fs::write(place.folder.path().join("experiment.toml"), fleet).unwrap();
        place.append("rounds.csv", "round,bytes_down\n");
        let mut follower = place.follower();
        place.append("clients.csv", "round,client,device_seconds,energy_mj\n");
        for round in 1..=3 {
            // As they are written: the clients first.
            place.append(
                "clients.csv",
                &format!("{round},0,0.5,\n{round},1,{round},\n"),
            );
            place.append("rounds.csv", &format!("{round},7\n"));
            follower.poll_at_once();
        }
        let rounds = follower.all_rounds();
        assert_eq!(
            rounds["device_seconds_total"],
            [1.0, 3.0, 6.0].map(Some).to_vec()
        );
        // Nobody has a figure of it.
        assert!(!rounds.contains_key("energy_mj_total"));
        // A run that was resumed has lost rows.
        std::fs::write(place.folder.path().join("clients.csv"), "round,client\n").unwrap();
        follower.poll_at_once();
        follower.poll_at_once();
        assert!(!follower.all_rounds().contains_key("device_seconds_total"));
    }

    #[test]
    fn a_viewer_is_told_what_is_new_and_nothing_twice() {
        let place = Place::new();
        let mut follower = place.follower();
        let (mut cursor, mut told) = (Cursor::default(), None);
        follower.poll_at_once();
        let update = follower.update(&mut cursor, &mut told).unwrap();
        assert!(update.reset && update.rounds.is_empty());
        assert_eq!(update.clients.len(), 2);
        follower.poll_at_once();
        assert!(follower.update(&mut cursor, &mut told).is_none());

        place.append(
            "rounds.csv",
            "round,outcome,accuracy,bytes_down,bytes_up,rmse,r_squared,model_sha256\n",
        );
        place.append(
            "rounds.csv",
            "1,completed,0.12345678,10,1,,,ab\n2,failed,,20,",
        );
        place.append(
            "events.jsonl",
            "{\"host_seconds\":1.5,\"event\":\"client-lost\",\"client\":1,\"reason\":\"gone\"}\n",
        );
        follower.poll_at_once();
        let update = follower.update(&mut cursor, &mut told).unwrap();
        assert!(!update.reset);
        assert_eq!(update.rounds["round"], [Some(1.0)]);
        assert_eq!(update.rounds["accuracy"], [Some(0.123457)]);
        assert_eq!(update.rounds["failed"], [Some(0.0)]);
        assert_eq!(update.rounds["bytes_total"], [Some(11.0)]);
        assert!(!update.rounds.contains_key("rmse"));
        assert_eq!(update.clients.len(), 1);
        assert_eq!(update.events[0].text, "gone");
        assert_eq!(update.run.unwrap().host_seconds, 1.5);

        place.append("rounds.csv", "2,0.000012345678,0.75,cd\n");
        follower.poll_at_once();
        let id = cursor.to_string();
        let update = follower.update(&mut cursor, &mut told).unwrap();
        assert!(!update.rounds.contains_key("accuracy"));
        assert_eq!(update.rounds["rmse"], [Some(1.23457e-5)]);
        assert_eq!(update.rounds["r_squared"], [Some(0.75)]);
        assert_eq!(update.rounds["bytes_total"], [Some(33.0)]);
        // A browser that comes back with the id of before.
        let mut cursor = id.parse().unwrap();
        let update = follower.update(&mut cursor, &mut None).unwrap();
        assert!(!update.reset && update.events.is_empty());
        assert_eq!(update.rounds["round"], [Some(2.0)]);
    }

    #[test]
    fn another_server_tells_everything_again() {
        let place = Place::new();
        place.append("rounds.csv", "round\n1\n");
        let mut first = place.follower();
        first.poll_at_once();
        let mut cursor = Cursor::default();
        first.update(&mut cursor, &mut None).unwrap();
        let mut second = place.follower();
        second.poll_at_once();
        let update = second.update(&mut cursor, &mut None).unwrap();
        assert!(update.reset);
        assert_eq!(update.rounds["round"], [Some(1.0)]);
        assert!("".parse::<Cursor>().is_err() && "1-2-3".parse::<Cursor>().is_err());
    }

    #[test]
    fn a_run_that_was_resumed_is_read_anew() {
        let place = Place::new();
        place.append("rounds.csv", "round\n1\n2\n");
        let mut follower = place.follower();
        follower.poll_at_once();
        let (mut cursor, mut told) = (Cursor::default(), None);
        follower.update(&mut cursor, &mut told).unwrap();
        let rounds = File::options()
            .write(true)
            .open(place.folder.path().join("rounds.csv"));
        rounds.unwrap().set_len(8).unwrap();
        follower.poll_at_once();
        follower.poll_at_once();
        let update = follower.update(&mut cursor, &mut told).unwrap();
        assert!(update.reset);
        assert_eq!(update.rounds["round"], [Some(1.0)]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let place = Place::new();
        let mut text = "round,bytes_up\n".to_owned();
        let count = 2 * ROUNDS_MAX + 10;
        for round in 1..=count {
            text.push_str(&format!("{round},1\n"));
        }
        place.append("rounds.csv", &text);
        let mut events = String::new();
        for _ in 0..2 * EVENTS_MAX {
            events.push_str("{\"host_seconds\":1,\"event\":\"late-update\",\"client\":1}\n");
        }
        place.append("events.jsonl", &events);
        let mut follower = place.follower();
        follower.poll_at_once();
        assert!(follower.values.len() <= ROUNDS_MAX);
        assert_eq!(follower.run.rounds, count as u64);
        let (mut cursor, mut rounds) = (Cursor::default(), Vec::new());
        while let Some(update) = follower.update(&mut cursor, &mut Some(follower.run.clone())) {
            assert!(update.events.len() <= EVENTS_MAX);
            let more = update
                .rounds
                .get("bytes_total")
                .cloned()
                .unwrap_or_default();
            assert!(more.len() <= ROUNDS_AT_A_TIME);
            rounds.extend(more);
        }
        // The sums are of all rounds, those that were left out included.
        assert_eq!(rounds.len(), follower.values.len());
        assert!(rounds.last().unwrap().unwrap() > (count - 10) as f64);
    }

    #[test]
    fn the_last_line_of_a_console_is_that_of_the_last_start() {
        let place = Place::new();
        let row = "after_round,device,client,board\n0,0,1,mps2-an386\n";
        place.append("devices.csv", row);
        std::fs::create_dir(place.folder.path().join("console")).unwrap();
        place.append("console/device-000.log", "first start\n");
        place.append(
            "console/device-000-1.log",
            "booting\n\x1b[1m@zfl ready\r\n\n",
        );
        place.append("console/device-000-1.qemu.log", "no console\n");
        let mut follower = place.follower();
        follower.poll_at_once();
        assert_eq!(follower.fleet.clients[1].line, "[1m@zfl ready");
    }
}
