//! A run's folder in memory, no larger than its report needs.
//!
//! `clients.csv` may have millions of rows: it is read once, a row at a time, and
//! summed up by round, by board, and into a grid whose cells take in more clients
//! the more there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zfl_lab::archive::{Archive, ArchiveError, Share, Standing};
use zfl_lab::run::Summary;
use zfl_lab::table_row;

/// Rows and columns of the grid of outcomes.
const GRID_ROWS_MAX: usize = 100;
const GRID_COLUMNS_MAX: usize = 200;
/// Parts that are listed because they failed.
const FAILURES_MAX: usize = 100;
/// Clients of a round that is shown in full.
const ROUND_PARTS_MAX: usize = 40;
/// Clients of which shares are read.
const SHARES_MAX: usize = 100_000;
/// Events that are looked through for incidents.
const EVENTS_MAX: usize = 2_000_000;

/// How the parts of clients end, best first; the words of the records.
pub(crate) const OUTCOMES: [&str; 6] = [
    "ok",
    "surplus",
    "late",
    "rejected",
    "unreachable",
    "crashed",
];

table_row! {
    /// What of `rounds.csv` is shown.
    pub(crate) struct Round in "rounds.csv" {
        round: u32,
        accuracy: Option<f64>,
        loss: f64,
        rmse: Option<f64>,
        clients_selected: u32,
        clients_ok: u32,
        faults: Option<u32>,
        outcome: Option<String>,
        late_updates: Option<u32>,
        bytes_down: u64,
        bytes_up: u64,
        host_seconds: f64,
        qemu_cpu_seconds: Option<f64>,
        nic_bytes_in: Option<u64>,
        nic_bytes_out: Option<u64>,
        segments_down: Option<u64>,
        segments_up: Option<u64>,
        retransmissions_down: Option<u64>,
        retransmissions_up: Option<u64>,
        drops: Option<u64>,
    }
}

table_row! {
    /// What of `devices.csv` is shown.
    struct Device in "devices.csv" {
        after_round: u32,
        boot_host_seconds: Option<f64>,
        ready_host_seconds: Option<f64>,
        nic_bytes_in: Option<u64>,
    }
}

table_row! {
    /// What of `clients.csv` is shown.
    struct Part in "clients.csv" {
        round: u32,
        client: u32,
        board: Option<String>,
        outcome: String,
        host_seconds: f64,
        device_clock_seconds: f64,
        instructions_training: Option<u64>,
        mcu: Option<String>,
        device_seconds: Option<f64>,
        energy_mj: Option<f64>,
        device_basis: Option<String>,
        stack_peak_bytes: u64,
        arena_peak_bytes: u64,
        flash_bytes: Option<u64>,
        faults: Option<String>,
        detail: Option<String>,
        link_seconds_down: Option<f64>,
        link_seconds_up: Option<f64>,
    }
}

/// What took a client's part in a round, each on its own clock, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PartTimes {
    /// The client.
    pub(crate) client: u32,
    /// Link clock.
    pub(crate) down: f64,
    /// Device clock.
    pub(crate) device: f64,
    /// Link clock.
    pub(crate) up: f64,
}

impl PartTimes {
    pub(crate) fn total(&self) -> f64 {
        self.down + self.device + self.up
    }
}

/// The parts of a round together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RoundParts {
    /// Parts that have times.
    pub(crate) count: u32,
    /// The sum of their times.
    pub(crate) sum: PartTimes,
    /// The longest of them, both clocks added up.
    pub(crate) total_max: f64,
    /// The longest on the device clock.
    pub(crate) device_max: f64,
    /// Of all clients; `None` where none has a profile.
    pub(crate) energy_mj: Option<f64>,
}

/// Most memory that clients of a board, or part, used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryPeaks {
    pub(crate) board: String,
    pub(crate) mcu: Option<String>,
    pub(crate) clients: BTreeSet<u32>,
    pub(crate) stack_bytes: u64,
    pub(crate) arena_bytes: u64,
    pub(crate) flash_bytes: Option<u64>,
}

/// A part that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedPart {
    pub(crate) round: u32,
    pub(crate) client: u32,
    pub(crate) outcome: String,
    pub(crate) detail: String,
}

/// How many parts ended each way, in the order of [`OUTCOMES`].
pub(crate) type OutcomeCounts = [u32; OUTCOMES.len()];

/// Outcomes by client and round.
#[derive(Clone, Debug)]
pub(crate) struct OutcomeGrid {
    /// Clients to a row and rounds to a column.
    pub(crate) clients_per_row: u32,
    pub(crate) rounds_per_column: u32,
    pub(crate) rows: Vec<Vec<OutcomeCounts>>,
}

impl OutcomeGrid {
    fn new(rounds: u32) -> Self {
        let columns = u32::try_from(GRID_COLUMNS_MAX).unwrap_or(u32::MAX);
        Self {
            clients_per_row: 1,
            rounds_per_column: rounds.div_ceil(columns).max(1),
            rows: Vec::new(),
        }
    }

    fn add(&mut self, client: u32, round: u32, outcome: usize) {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        while index(client / self.clients_per_row) >= GRID_ROWS_MAX {
            // Each row takes in its neighbour.
            let merged = self.rows.chunks(2).map(|pair| {
                let mut pair = pair.iter().cloned();
                let mut row = pair.next().unwrap_or_default();
                for (column, counts) in pair.flatten().enumerate() {
                    match row.get_mut(column) {
                        Some(cell) => add(cell, &counts),
                        None => row.push(counts),
                    }
                }
                row
            });
            self.rows = merged.collect();
            self.clients_per_row *= 2;
        }
        let row = index(client / self.clients_per_row);
        if self.rows.len() <= row {
            self.rows.resize(row + 1, Vec::new());
        }
        let column = index(round.saturating_sub(1) / self.rounds_per_column);
        // A round that was cut off has rows of clients, and none of its own.
        let column = column.min(GRID_COLUMNS_MAX);
        if let Some(cells) = self.rows.get_mut(row) {
            if cells.len() <= column {
                cells.resize(column + 1, OutcomeCounts::default());
            }
            if let Some(count) = cells.get_mut(column).and_then(|cell| cell.get_mut(outcome)) {
                *count += 1;
            }
        }
    }
}

fn add(sum: &mut OutcomeCounts, more: &OutcomeCounts) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Who holds what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) classes: Vec<String>,
    pub(crate) shares: Vec<Share>,
}

/// A device until it was ready, summed up over the fleet, in host time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness {
    pub(crate) devices: usize,
    pub(crate) boot_host_seconds_max: Option<f64>,
    pub(crate) ready_host_seconds_max: Option<f64>,
    pub(crate) nic_bytes_in: u64,
}

/// The model before training, as the first event of a run says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Initial {
    pub(crate) accuracy: Option<f64>,
    pub(crate) loss: Option<f64>,
    pub(crate) rmse: Option<f64>,
}

/// All that a report shows of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    /// The experiment's name.
    pub(crate) name: String,
    pub(crate) standing: Standing,
    pub(crate) summary: Option<Summary>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) experiment_text: String,
    pub(crate) rounds: Vec<Round>,
    pub(crate) initial: Initial,
    pub(crate) parts: BTreeMap<u32, RoundParts>,
    /// The parts of the last round that has any with times.
    pub(crate) last_round: Option<(u32, Vec<PartTimes>)>,
    pub(crate) outcomes: OutcomeCounts,
    pub(crate) grid: OutcomeGrid,
    pub(crate) memory: Vec<MemoryPeaks>,
    /// By kind of fault: how the parts with it ended.
    pub(crate) faults: BTreeMap<String, OutcomeCounts>,
    pub(crate) failed_parts: Vec<FailedPart>,
    pub(crate) failed_part_count: u64,
    /// What device times and energy rest on.
    pub(crate) bases: BTreeSet<String>,
    /// Some device times are by the device's own clock, and count training alone.
    pub(crate) has_own_clock: bool,
    /// Events of incidents, by name.
    pub(crate) incidents: BTreeMap<String, u64>,
    pub(crate) holdings: Holdings,
    pub(crate) readiness: Readiness,
    /// Firmware images that ran: file name, bytes, SHA-256.
    pub(crate) images: Vec<(String, u64, String)>,
    /// Files that end within a row.
    pub(crate) cut_off: Vec<&'static str>,
}

impl Run {
    /// Reads a run's folder.
    pub(crate) fn read(path: &Path) -> Result<Self, ArchiveError> {
        let archive = Archive::open(path)?;
        let mut rows = archive.rows::<Round>()?;
        let rounds = rows.by_ref().collect::<Result<Vec<_>, _>>()?;
        let mut cut_off = Vec::new();
        if rows.is_cut_off() {
            cut_off.push("rounds.csv");
        }
        let settings = archive.settings()?;
        let round_count = rounds.last().map_or(0, |round| round.round);
        let mut run = Self {
            path: path.to_owned(),
            name: text_setting(&settings, "name").unwrap_or_else(|| "run".to_owned()),
            standing: archive.standing()?,
            summary: archive.summary()?,
            settings,
            experiment_text: archive.experiment_text()?,
            initial: Initial::default(),
            parts: BTreeMap::new(),
            last_round: None,
            outcomes: OutcomeCounts::default(),
            grid: OutcomeGrid::new(round_count),
            memory: Vec::new(),
            faults: BTreeMap::new(),
            failed_parts: Vec::new(),
            failed_part_count: 0,
            bases: BTreeSet::new(),
            has_own_clock: false,
            incidents: BTreeMap::new(),
            holdings: Holdings::default(),
            readiness: Readiness::default(),
            images: images(&path.join("firmware")),
            cut_off,
            rounds,
        };
        run.read_clients(&archive)?;
        run.read_events(&archive)?;
        run.read_partition(&archive)?;
        run.read_devices(&archive)?;
        Ok(run)
    }

    /// A setting that is a text.
    pub(crate) fn text_setting(&self, key: &str) -> Option<String> {
        text_setting(&self.settings, key)
    }

    /// The names of the tables below one: `data.digits.test-share` has `digits`
    /// below `data`.
    pub(crate) fn chosen(&self, table: &str) -> Option<String> {
        let prefix = format!("{table}.");
        self.settings
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('.').next())
            .next()
            .map(str::to_owned)
    }

    fn read_clients(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        let mut memory: BTreeMap<(String, Option<String>), MemoryPeaks> = BTreeMap::new();
        let mut rows = archive.rows::<Part>()?;
        for part in rows.by_ref() {
            let part = part?;
            let outcome = OUTCOMES
                .iter()
                .position(|name| *name == part.outcome)
                // A word of another version: it is no success.
                .unwrap_or(OUTCOMES.len() - 1);
            if let Some(count) = self.outcomes.get_mut(outcome) {
                *count += 1;
            }
            self.grid.add(part.client, part.round, outcome);
            for kind in part.faults.as_deref().unwrap_or_default().split('+') {
                if !kind.is_empty() {
                    let counts = self.faults.entry(kind.to_owned()).or_default();
                    if let Some(count) = counts.get_mut(outcome) {
                        *count += 1;
                    }
                }
            }
            // Surplus is no failure: others were faster.
            if outcome > 1 {
                self.failed_part_count += 1;
                if self.failed_parts.len() < FAILURES_MAX {
                    self.failed_parts.push(FailedPart {
                        round: part.round,
                        client: part.client,
                        outcome: part.outcome.clone(),
                        detail: part.detail.clone().unwrap_or_default(),
                    });
                }
            }
            self.add_times(&part, outcome);
            if let Some(board) = &part.board {
                let key = (board.clone(), part.mcu.clone());
                let peaks = memory.entry(key).or_default();
                peaks.board.clone_from(board);
                peaks.mcu.clone_from(&part.mcu);
                peaks.clients.insert(part.client);
                peaks.stack_bytes = peaks.stack_bytes.max(part.stack_peak_bytes);
                peaks.arena_bytes = peaks.arena_bytes.max(part.arena_peak_bytes);
                peaks.flash_bytes = peaks.flash_bytes.max(part.flash_bytes);
            }
        }
        if rows.is_cut_off() {
            self.cut_off.push("clients.csv");
        }
        self.memory = memory.into_values().collect();
        Ok(())
    }

    fn add_times(&mut self, part: &Part, outcome: usize) {
        if outcome != 0 {
            return;
        }
        let own_clock = (part.device_clock_seconds > 0.0).then_some(part.device_clock_seconds);
        let device = part.device_seconds.or(own_clock);
        let link = (part.link_seconds_down, part.link_seconds_up);
        let of_round = self.parts.entry(part.round).or_default();
        if let Some(energy) = part.energy_mj {
            *of_round.energy_mj.get_or_insert(0.0) += energy;
        }
        let (Some(device), (down, up)) = (device, link) else {
            return;
        };
        self.has_own_clock |= part.device_seconds.is_none();
        self.bases.extend(part.device_basis.clone());
        let times = PartTimes {
            client: part.client,
            down: down.unwrap_or(0.0),
            device,
            up: up.unwrap_or(0.0),
        };
        of_round.count += 1;
        of_round.sum.down += times.down;
        of_round.sum.device += times.device;
        of_round.sum.up += times.up;
        of_round.total_max = of_round.total_max.max(times.total());
        of_round.device_max = of_round.device_max.max(times.device);
        match &mut self.last_round {
            Some((round, parts)) if *round == part.round => {
                if parts.len() < ROUND_PARTS_MAX {
                    parts.push(times);
                }
            }
            last => *last = Some((part.round, vec![times])),
        }
    }

    fn read_events(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        let mut events = archive.events()?;
        for event in events.by_ref().take(EVENTS_MAX) {
            let event = event?;
            match event.event.as_str() {
                "initial-model" => {
                    let number = |name: &str| event.fields.get(name)?.as_f64();
                    self.initial = Initial {
                        accuracy: number("accuracy"),
                        loss: number("loss"),
                        rmse: number("rmse"),
                    };
                }
                "device-failed" | "device-panic" | "device-fault" | "device-hung"
                | "client-lost" | "client-back" | "request-refused" | "round-failed"
                | "resumed" | "fault-unaccounted" | "capture-ended" => {
                    *self.incidents.entry(event.event).or_default() += 1;
                }
                _ => {}
            }
        }
        if events.is_cut_off() {
            self.cut_off.push("events.jsonl");
        }
        Ok(())
    }

    fn read_partition(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        let mut shares = archive.partition()?;
        self.holdings.classes = shares.classes().to_vec();
        for share in shares.by_ref().take(SHARES_MAX) {
            self.holdings.shares.push(share?);
        }
        if shares.is_cut_off() {
            self.cut_off.push("partition.csv");
        }
        Ok(())
    }

    fn read_devices(&mut self, archive: &Archive) -> Result<(), ArchiveError> {
        let table = archive.rows::<Device>()?.collect_table()?;
        if table.is_cut_off {
            self.cut_off.push("devices.csv");
        }
        let readiness = &mut self.readiness;
        // Of a run that was resumed, the devices that were there at first.
        for device in table.rows.iter().filter(|device| device.after_round == 0) {
            readiness.devices += 1;
            readiness.boot_host_seconds_max =
                larger(readiness.boot_host_seconds_max, device.boot_host_seconds);
            readiness.ready_host_seconds_max =
                larger(readiness.ready_host_seconds_max, device.ready_host_seconds);
            let bytes = device.nic_bytes_in.unwrap_or(0);
            readiness.nic_bytes_in = readiness.nic_bytes_in.saturating_add(bytes);
        }
        Ok(())
    }
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// Settings are as TOML writes them.
fn text_setting(settings: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let value = settings.get(key)?;
    match value.parse::<toml::Value>() {
        Ok(toml::Value::String(text)) => Some(text),
        _ => Some(value.clone()),
    }
}

/// The images of a run; what cannot be read is left out.
fn images(folder: &Path) -> Vec<(String, u64, String)> {
    use sha2::Digest;

    let mut images: Vec<(String, u64, String)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .take(64)
        .filter_map(|entry| {
            let bytes = std::fs::read(entry.path()).ok()?;
            let hash = sha2::Sha256::digest(&bytes);
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let length = u64::try_from(bytes.len()).ok()?;
            Some((
                entry.file_name().to_string_lossy().into_owned(),
                length,
                hash,
            ))
        })
        .collect();
    images.sort();
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_takes_in_as_many_clients_as_there_are() {
        let mut grid = OutcomeGrid::new(10_000);
        for round in 1..=10_000 {
            // One of a thousand clients, crashed in round 5000.
            grid.add(round % 1000, round, if round == 5000 { 5 } else { 0 });
        }
        assert_eq!((grid.clients_per_row, grid.rounds_per_column), (16, 50));
        assert!(grid.rows.len() <= GRID_ROWS_MAX);
        let cells = || grid.rows.iter().flatten();
        let sum = |outcome: usize| cells().map(|cell| cell[outcome]).sum::<u32>();
        assert_eq!((sum(0), sum(5)), (9_999, 1));
        assert_eq!(grid.rows[0][99][5], 1);
    }

    #[test]
    fn a_small_grid_has_a_cell_for_each() {
        let mut grid = OutcomeGrid::new(3);
        grid.add(2, 3, 1);
        assert_eq!((grid.clients_per_row, grid.rounds_per_column), (1, 1));
        assert_eq!(grid.rows[2][2], [0, 1, 0, 0, 0, 0]);
        assert!(grid.rows[0].is_empty());
    }
}
