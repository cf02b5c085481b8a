//! The folder of a run that was cut off, or damaged: wherever a table ends, what
//! is before it is read as it was; a report of it is written, or the place that
//! is wrong is told.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use zfl_lab::archive::{self, Archive, ArchiveError, Client, Round, Row};

use crate::input::Input;

/// In memory, where there is such a folder.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| crate::targets::scratch("run"));

zfl_lab::table_row! {
    /// What of a device's row is read.
    struct Device in "devices.csv" {
        after_round: u32,
        device: u32,
        client: u32,
        board: Option<String>,
        ready_host_seconds: Option<f64>,
        nic_bytes_in: Option<u64>,
    }
}

/// What the parts of an input are.
const FILES: [&str; 7] = [
    Round::FILE,
    Client::FILE,
    "events.jsonl",
    Device::FILE,
    "partition.csv",
    "summary.json",
    "experiment.toml",
];

/// Where to cut one of the files off; then these, each behind a zero.
pub(crate) fn check(bytes: &[u8]) {
    let folder: &Path = &FOLDER;
    fs::create_dir_all(folder).expect("room for a folder");
    let mut input = Input::new(bytes);
    let (cut, place) = (input.byte(), usize::from(input.word()));
    let mut parts = input.rest().split(|byte| *byte == 0);
    for name in [FILES[6], FILES[0]] {
        fs::write(folder.join(name), b"").expect("room for a file");
    }
    let parts: Vec<&[u8]> = FILES.iter().map_while(|_| parts.next()).collect();
    for (name, part) in FILES.iter().zip(&parts) {
        fs::write(folder.join(name), part).expect("room for a file");
    }
    let run = Archive::open(folder).expect("its two files");
    let before = Read::of(&run);
    all_is_read_or_told(&run);
    let cut = usize::from(cut) % 5;
    if let Some(part) = parts.get(cut).filter(|part| !part.is_empty()) {
        let whole = &part[..place % part.len()];
        fs::write(folder.join(FILES[cut]), whole).expect("room for a file");
        before.begins_with(&Read::of(&run), cut, whole);
    }
    fs::remove_dir_all(folder).expect("the folder that was made");
}

/// The rows of a file, in words, and whether it ends within one.
type Rows = Result<(Vec<String>, bool), String>;

/// What is read of each of the first files.
struct Read([Rows; 5]);

impl Read {
    fn of(run: &Archive) -> Self {
        Self([
            table::<Round>(run),
            table::<Client>(run),
            run.events().map_err(told).and_then(|mut events| {
                let rows = rows(events.by_ref())?;
                Ok((rows, events.is_cut_off()))
            }),
            table::<Device>(run),
            run.partition().map_err(told).and_then(|mut shares| {
                let rows = rows(shares.by_ref())?;
                Ok((rows, shares.is_cut_off()))
            }),
        ])
    }

    /// Asserts that a file of which the first `bytes` are left has the first rows
    /// that it had, where all of it could be read.
    fn begins_with(&self, left: &Self, file: usize, bytes: &[u8]) {
        let (Ok((before, _)), left) = (&self.0[file], &left.0[file]) else {
            return;
        };
        let (rows, is_cut_off) = match left {
            Ok(left) => left,
            Err(error) => panic!("{error} in what was read before"),
        };
        assert!(before.starts_with(rows), "{rows:?} of {before:?}");
        let ends_in_line = !bytes.is_empty() && !bytes.ends_with(b"\n");
        assert!(*is_cut_off || !ends_in_line, "{rows:?}");
    }
}

fn table<R: Row + Debug>(run: &Archive) -> Rows {
    let mut table = run.rows::<R>().map_err(told)?;
    let rows = rows(table.by_ref())?;
    Ok((rows, table.is_cut_off()))
}

fn rows(
    rows: impl Iterator<Item = Result<impl Debug, ArchiveError>>,
) -> Result<Vec<String>, String> {
    let rows = rows.map(|row| row.map(|row| format!("{row:?}")).map_err(told));
    rows.collect()
}

/// What an error says: which file, and what of it.
fn told(error: ArchiveError) -> String {
    let text = error.to_string();
    let folder = FOLDER.display().to_string();
    assert!(text.contains(&folder), "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
    text
}

/// The whole run, as those who show it read it.
fn all_is_read_or_told(run: &Archive) {
    let _ = run.standing().map_err(told);
    let settings = run.settings().map_err(told);
    let totals = run.totals().map_err(told);
    let overview = run.overview().map_err(told);
    if let (Ok(totals), Ok(overview)) = (totals, overview) {
        // Numbers that are none are no equal.
        assert_eq!(format!("{totals:?}"), format!("{:?}", overview.totals));
    }
    if let Ok(settings) = settings {
        assert_eq!(archive::differences(&[settings.clone(), settings]), []);
    }
    let page = run.path().join(zfl_report::FILE_NAME);
    match zfl_report::write(&[run.path().to_owned()], Some(&page)) {
        Ok(_) => {
            let page = fs::read_to_string(page).expect("a page of text");
            assert!(page.ends_with("</html>\n") || page.ends_with("</html>"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
