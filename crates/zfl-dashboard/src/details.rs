//! What is asked for of one round, one client or one console.
//!
//! `clients.csv` may have millions of rows. It is in the order of the rounds, so a
//! round is found by halving, and the last row of a client near the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::follow::{Place, console_of};
use crate::tail::Tail;

/// Between two places so far apart the search goes on by halving, in bytes.
const NEAR_BYTES: u64 = 256 << 10;
/// Rows of a round that are shown.
const ROWS_MAX: usize = 20_000;
/// So much of the end of `clients.csv` is looked through for a client, in bytes.
const END_BYTES: u64 = 8 << 20;
/// So much of `events.jsonl` may belong to a round, in bytes.
const EVENTS_BYTES_MAX: usize = 32 << 20;
/// So much of a console is shown at a time, in bytes.
const CONSOLE_BYTES: u64 = 64 << 10;
/// Crash files of a device are at most so many and so long (bytes).
const CRASHES_MAX: u32 = 8;
const CRASH_BYTES: u64 = 256 << 10;
/// Starts of a device whose consoles are looked for.
const STARTS_MAX: usize = 64;

/// A row by the names of its columns, without empty cells.
pub(crate) type Cells = BTreeMap<String, String>;

/// One client in one round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Part {
    pub(crate) client: u32,
    pub(crate) outcome: String,
    /// When it was decided: host time since the round began.
    pub(crate) finished_host_seconds: Option<f64>,
    pub(crate) host_seconds: Option<f64>,
    /// Training, by the device's own clock.
    pub(crate) device_clock_seconds: Option<f64>,
    /// The round on the part that it stands for.
    pub(crate) device_seconds: Option<f64>,
    pub(crate) link_seconds_down: Option<f64>,
    pub(crate) link_seconds_up: Option<f64>,
    pub(crate) bytes_down: Option<f64>,
    pub(crate) bytes_up: Option<f64>,
    pub(crate) retransmissions: Option<f64>,
    pub(crate) drops: Option<f64>,
    pub(crate) faults: String,
    pub(crate) detail: String,
}

/// A round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RoundDetail {
    pub(crate) round: u32,
    /// Host time since the run began.
    pub(crate) began_host_seconds: Option<f64>,
    /// Host time that it took; `None` while it goes on.
    pub(crate) host_seconds: Option<f64>,
    pub(crate) parts: Vec<Part>,
    /// There are more than are told.
    pub(crate) is_cut: bool,
}

/// A round of the run in a folder; `place`: where it begins among the events.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn round(folder: &Path, round: u32, place: Option<Place>) -> io::Result<RoundDetail> {
    let mut detail = RoundDetail {
        round,
        ..RoundDetail::default()
    };
    let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
    if let Some(place) = place {
        events_of(folder, place, &mut detail, &mut parts)?;
    }
    let mut rows = 0;
    let of_round = |found, _: &str| match found == round {
        true => Wanted::Yes,
        false => Wanted::NoMore,
    };
    client_rows(folder, Begin::Round(round), of_round, |cells| {
        rows += 1;
        if rows > ROWS_MAX {
            detail.is_cut = true;
            return;
        }
        let Some(client) = cells.get("client").and_then(|client| client.parse().ok()) else {
            return;
        };
        let part = parts.entry(client).or_default();
        let both = |name: &str| {
            let [down, up] = ["down", "up"].map(|way| number(cells, &format!("{name}_{way}")));
            Some(down? + up?)
        };
        let text = |name: &str| cells.get(name).cloned().unwrap_or_default();
        *part = Part {
            client,
            outcome: text("outcome"),
            finished_host_seconds: part.finished_host_seconds,
            host_seconds: number(cells, "host_seconds"),
            device_clock_seconds: number(cells, "device_clock_seconds"),
            device_seconds: number(cells, "device_seconds"),
            link_seconds_down: number(cells, "link_seconds_down"),
            link_seconds_up: number(cells, "link_seconds_up"),
            bytes_down: number(cells, "bytes_down"),
            bytes_up: number(cells, "bytes_up"),
            retransmissions: both("retransmissions"),
            drops: both("drops_link")
                .zip(both("drops_queue"))
                .map(|(link, queue)| link + queue),
            faults: text("faults"),
            detail: text("detail"),
        };
    })?;
    detail.is_cut |= parts.len() > ROWS_MAX;
    detail.parts = parts.into_values().take(ROWS_MAX).collect();
    Ok(detail)
}

/// Fills in what the events say of a round.
fn events_of(
    folder: &Path,
    place: Place,
    detail: &mut RoundDetail,
    parts: &mut BTreeMap<u32, Part>,
) -> io::Result<()> {
    let mut tail = Tail::from(&folder.join("events.jsonl"), place.offset);
    let mut is_over = false;
    tail.read(EVENTS_BYTES_MAX, |_, line| {
        if is_over {
            return;
        }
        let Ok(event) = serde_json::from_slice::<BTreeMap<String, Value>>(line) else {
            return;
        };
        let name = event.get("event").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        let at = event.get("host_seconds").and_then(Value::as_f64);
        let is_mine = event.get("round").and_then(Value::as_u64) == Some(u64::from(place.round));
        let since = |at: Option<f64>| Some(at? - detail.began_host_seconds?);
        match name {
            // Played twice, or what follows.
            "round-started" if detail.began_host_seconds.is_some() => is_over = true,
            "round-started" if is_mine => {
                detail.began_host_seconds = at;
                let selected = event.get("clients").and_then(Value::as_array);
                for client in selected.into_iter().flatten() {
                    if let Some(client) = client.as_u64().and_then(|id| u32::try_from(id).ok()) {
                        parts.entry(client).or_default().client = client;
                    }
                }
            }
            "round-completed" | "round-failed" if is_mine => {
                detail.host_seconds = since(at);
                is_over = true;
            }
            "client-finished" if is_mine => {
                let client = event.get("client").and_then(Value::as_u64);
                let Some(client) = client.and_then(|client| u32::try_from(client).ok()) else {
                    return;
                };
                let part = parts.entry(client).or_default();
                part.client = client;
                part.finished_host_seconds = since(at);
                let outcome = event.get("outcome").and_then(Value::as_str);
                part.outcome = outcome.unwrap_or_default().to_owned();
            }
            _ => {}
        }
    })?;
    Ok(())
}

fn number(cells: &Cells, name: &str) -> Option<f64> {
    cells.get(name)?.parse().ok()
}

/// Where rows are read from.
enum Begin {
    /// The first of this round, or before it.
    Round(u32),
    /// The first of the last so many bytes.
    End(u64),
}

/// Whether a row is wanted.
enum Wanted {
    Yes,
    No,
    /// Nor any that follows.
    NoMore,
}

/// Gives the rows of `clients.csv` that are wanted, by round and client. Those of rounds
/// before the one asked for are left out.
fn client_rows(
    folder: &Path,
    from: Begin,
    wanted: impl Fn(u32, &str) -> Wanted,
    mut take: impl FnMut(&Cells),
) -> io::Result<()> {
    let mut file = match File::open(folder.join("clients.csv")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(&mut file);
    let mut header = csv::StringRecord::new();
    if !reader.read_record(&mut header).map_err(io::Error::other)? {
        return Ok(());
    }
    let body = reader.position().byte();
    drop(reader);
    let (mut low, mut high) = (body, length);
    let first_round = match from {
        Begin::Round(round) => {
            while high - low > NEAR_BYTES {
                let middle = low + (high - low) / 2;
                match row_after(&mut file, middle, header.len())? {
                    Some((offset, found)) if found < round && offset < high => low = offset,
                    _ => high = middle,
                }
            }
            round
        }
        Begin::End(bytes) => {
            let near = length.saturating_sub(bytes);
            if near > body {
                low =
                    row_after(&mut file, near, header.len())?.map_or(length, |(offset, _)| offset);
            }
            0
        }
    };
    file.seek(SeekFrom::Start(low))?;
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(io::BufReader::new(file));
    for record in reader.into_records() {
        // A row that is being written is not all there.
        let record = record.map_err(io::Error::other)?;
        if record.len() != header.len() {
            continue;
        }
        let round = record.get(0).and_then(|round| round.parse::<u32>().ok());
        let Some(round) = round.filter(|round| *round >= first_round) else {
            continue;
        };
        match wanted(round, record.get(1).unwrap_or_default()) {
            Wanted::Yes => {}
            Wanted::No => continue,
            Wanted::NoMore => break,
        }
        let cells = header
            .iter()
            .zip(&record)
            .filter(|(_, cell)| !cell.is_empty());
        let cells = cells.map(|(name, cell)| (name.to_owned(), cell.to_owned()));
        take(&cells.collect());
    }
    Ok(())
}

/// The first row that begins after a place: where, and of which round. A line that
/// does not begin with two numbers, or has too few cells, may be within a text.
fn row_after(file: &mut File, offset: u64, columns: usize) -> io::Result<Option<(u64, u32)>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(NEAR_BYTES).read_to_end(&mut bytes)?;
    let mut begin = 0;
    while let Some(rest) = bytes.get(begin..)
        && let Some(length) = rest.iter().position(|byte| *byte == b'\n')
    {
        begin += length + 1;
        let line = bytes.get(begin..).unwrap_or_default();
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.iter().filter(|byte| **byte == b',').count() + 1 < columns {
            continue;
        }
        let mut cells = line.split(|byte| *byte == b',').take(2).map(|cell| {
            let text = std::str::from_utf8(cell).ok()?;
            text.parse::<u32>().ok()
        });
        if let (Some(Some(round)), Some(Some(_))) = (cells.next(), cells.next()) {
            return Ok(Some((offset + begin as u64, round)));
        }
    }
    Ok(None)
}

/// A client and its device.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClientDetail {
    pub(crate) client: u32,
    pub(crate) device: Option<u32>,
    /// The consoles of its device's starts, the last first.
    pub(crate) consoles: Vec<String>,
    pub(crate) crashes: Vec<CrashFile>,
    /// Its last row of `clients.csv`, if that is near the end.
    pub(crate) row: Cells,
}

/// A crash file.
#[derive(Debug, Serialize)]
pub(crate) struct CrashFile {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What there is of a client and its device.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn client(folder: &Path, client: u32, device: Option<u32>) -> io::Result<ClientDetail> {
    let mut detail = ClientDetail {
        client,
        device,
        ..ClientDetail::default()
    };
    let id = client.to_string();
    let of_client = |_, found: &str| match found == id {
        true => Wanted::Yes,
        false => Wanted::No,
    };
    // Mostly it is near.
    for bytes in [END_BYTES / 8, END_BYTES] {
        if detail.row.is_empty() {
            client_rows(folder, Begin::End(bytes), of_client, |cells| {
                detail.row.clone_from(cells);
            })?;
        }
    }
    let Some(device) = device else {
        return Ok(detail);
    };
    let mut consoles: Vec<(u32, String)> = Vec::new();
    for entry in std::fs::read_dir(folder.join("console"))
        .into_iter()
        .flatten()
    {
        let Some(name) = entry
            .ok()
            .and_then(|entry| entry.file_name().into_string().ok())
        else {
            continue;
        };
        if let Some((_, start)) = console_of(&name).filter(|(of, _)| *of == device) {
            consoles.push((start, name));
        }
    }
    consoles.sort_unstable_by(|one, other| other.cmp(one));
    consoles.truncate(STARTS_MAX);
    detail.consoles = consoles.into_iter().map(|(_, name)| name).collect();
    for number in 1..=CRASHES_MAX {
        let name = format!("device-{device:03}-{number}.txt");
        let path = folder.join("crashes").join(&name);
        let Ok(file) = File::open(&path) else { break };
        let mut bytes = Vec::new();
        file.take(CRASH_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        detail.crashes.push(CrashFile { name, text });
    }
    Ok(detail)
}

/// A piece of a console.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ConsolePiece {
    /// Where it begins and ends in the log, in bytes.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// What does not print is replaced.
    pub(crate) text: String,
}

/// What follows in a console's log after `from`, or its end where that is long ago;
/// `None`: it is no console's log.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn console(folder: &Path, name: &str, from: u64) -> io::Result<Option<ConsolePiece>> {
    if console_of(name).is_none() {
        return Ok(None);
    }
    let mut file = File::open(folder.join("console").join(name))?;
    let length = file.metadata()?.len();
    let from = match from > length {
        true => 0,
        false => from,
    };
    let from = from.max(length.saturating_sub(CONSOLE_BYTES));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(CONSOLE_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let is_shown = |character: &char| !character.is_control() || matches!(character, '\n' | '\t');
    Ok(Some(ConsolePiece {
        from,
        to: from + bytes.len() as u64,
        text: text.chars().filter(is_shown).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// A run of `rounds` rounds with `clients` clients each; every tenth detail has a
    /// line break and numbers in it.
    fn clients_csv(rounds: u32, clients: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut text = "round,client,outcome,host_seconds,detail\n".to_owned();
        for round in 1..=rounds {
            for client in 0..clients {
                let detail = match client % 10 {
                    0 => "\"gone\n7,7,no row\"",
                    _ => "",
                };
                writeln!(text, "{round},{client},ok,{round}.5,{detail}").unwrap();
            }
        }
        std::fs::write(folder.path().join("clients.csv"), text).unwrap();
        folder
    }

    #[test]
    fn a_round_is_found_wherever_it_is() {
        let folder = clients_csv(400, 100);
        assert!(folder.path().join("clients.csv").metadata().unwrap().len() > 2 * NEAR_BYTES);
        for asked in [1, 2, 7, 8, 199, 200, 399, 400] {
            let detail = round(folder.path(), asked, None).unwrap();
            assert_eq!(detail.parts.len(), 100, "round {asked}");
            let seconds = Some(f64::from(asked) + 0.5);
            assert!(detail.parts.iter().all(|part| part.host_seconds == seconds));
            assert_eq!(detail.parts[10].detail, "gone\n7,7,no row");
        }
        assert!(round(folder.path(), 401, None).unwrap().parts.is_empty());
        let detail = client(folder.path(), 42, None).unwrap();
        assert_eq!(detail.row["round"], "400");
    }

    #[test]
    fn a_row_that_is_being_written_is_left_out() {
        let folder = clients_csv(1, 2);
        let path = folder.path().join("clients.csv");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}1,2,o")).unwrap();
        assert_eq!(round(folder.path(), 1, None).unwrap().parts.len(), 2);
    }

    #[test]
    fn a_round_that_goes_on_is_read_off_the_events() {
        let folder = tempfile::tempdir().unwrap();
        let events = "{\"host_seconds\":1.0,\"event\":\"other\"}\n";
        let more = concat!(
            r#"{"host_seconds":2.0,"event":"round-started","round":3,"clients":[4,1]}"#,
            "\n",
            r#"{"host_seconds":2.5,"event":"client-finished","round":3,"client":4,"outcome":"ok"}"#,
            "\n",
        );
        std::fs::write(
            folder.path().join("events.jsonl"),
            format!("{events}{more}"),
        )
        .unwrap();
        let place = Place {
            round: 3,
            offset: events.len() as u64,
        };
        let detail = round(folder.path(), 3, Some(place)).unwrap();
        assert_eq!(detail.began_host_seconds, Some(2.0));
        assert_eq!(detail.host_seconds, None);
        let told: Vec<_> = detail
            .parts
            .iter()
            .map(|part| {
                (
                    part.client,
                    part.finished_host_seconds,
                    part.outcome.as_str(),
                )
            })
            .collect();
        assert_eq!(told, [(1, None, ""), (4, Some(0.5), "ok")]);
    }

    #[test]
    fn a_console_is_shown_from_where_it_was_left_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("console")).unwrap();
        std::fs::write(folder.path().join("tokens.csv"), "secret").unwrap();
        let log = folder.path().join("console/device-003.log");
        std::fs::write(&log, "one\r\n\x1b[31mtwo\n").unwrap();
        let piece = |from| {
            console(folder.path(), "device-003.log", from)
                .unwrap()
                .unwrap()
        };
        assert_eq!(piece(0).text, "one\n[31mtwo\n");
        assert_eq!(piece(5).text, "[31mtwo\n");
        assert_eq!(piece(14).text, "");
        // It is another file now.
        assert_eq!(piece(1000).from, 0);
        for name in [
            "../tokens.csv",
            "device-003.qemu.log",
            "device-.log",
            "device-1/2.log",
        ] {
            assert_eq!(console(folder.path(), name, 0).unwrap(), None, "{name}");
        }
    }
}
