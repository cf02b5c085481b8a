//! `zfl export`, and the exports at the end of a run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use zfl_lab::archive::Archive;
use zfl_lab::export::{self, EventFile, ExportError};
use zfl_lab::run::Progress;

use super::list::named;
use super::{Done, Failure};
use crate::arguments::ExportArguments;
use crate::display::Manner;

/// An event file grows no more often.
const GROWTH_PERIOD: Duration = Duration::from_secs(1);
/// And it is left alone for so many times what it took to grow.
const GROWTH_PAUSE: u32 = 20;

/// `zfl export`
pub(crate) fn export(arguments: &ExportArguments) -> Done {
    let archives = named(&arguments.folders)?;
    let mut failed = 0;
    for archive in &archives {
        match write(archive, arguments.tensorboard) {
            Ok(paths) => paths.iter().for_each(|path| say!("{}", path.display())),
            Err(error) => {
                failed += 1;
                complain!("warning: {error}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(Failure::Run(format!(
            "{count} of {} runs cannot be exported",
            archives.len()
        ))),
    }
}

/// An event file for TensorBoard that grows with a run.
pub(super) struct LiveEvents(JoinHandle<Option<EventFile>>);

impl LiveEvents {
    /// Starts it, in the folder of a run whose progress this is; the progress for
    /// whoever shows it.
    pub(super) fn start(
        folder: PathBuf,
        mut progress: UnboundedReceiver<Progress>,
    ) -> (Self, UnboundedReceiver<Progress>) {
        let (sender, shown) = unbounded_channel();
        let growing = async move {
            let (mut file, mut due) = (None, Instant::now());
            while let Some(progress) = progress.recv().await {
                let is_round = matches!(progress, Progress::RoundCompleted { .. });
                // Where nobody shows it any more, the file grows all the same.
                let _ = sender.send(progress);
                if is_round && due <= Instant::now() {
                    let began = Instant::now();
                    let folder = folder.clone();
                    let grown = tokio::task::spawn_blocking(move || grown(file, &folder));
                    file = grown.await.ok().flatten();
                    // The records of a long run take their time to read.
                    let pause = began.elapsed().saturating_mul(GROWTH_PAUSE);
                    due = Instant::now() + pause.max(GROWTH_PERIOD);
                }
            }
            file
        };
        (Self(tokio::spawn(growing)), shown)
    }

    /// The file, when the run is over; `None` where it is not as it should be.
    pub(super) async fn end(self) -> Option<EventFile> {
        self.0.await.ok().flatten()
    }
}

/// The file with the rounds that are over. What fails is tried anew with the next
/// round, and at the end, where it is told.
fn grown(file: Option<EventFile>, folder: &Path) -> Option<EventFile> {
    match file {
        Some(mut file) => file.append().ok().map(|()| file),
        None => EventFile::create(&Archive::open(folder).ok()?).ok(),
    }
}

/// Exports a run that has just ended, whose event file may have grown with it. What
/// goes wrong is no fault of the run.
pub(super) fn at_the_end(
    folder: &Path,
    tensorboard: bool,
    events: Option<EventFile>,
    manner: Manner,
) {
    let is_grown = events.is_some_and(|mut file| file.append().is_ok());
    let exported = Archive::open(folder)
        .map_err(ExportError::from)
        .and_then(|archive| write(&archive, tensorboard && !is_grown));
    if let Err(error) = exported {
        manner.warn(&format!("no export of the records: {error}"));
    }
}

fn write(archive: &Archive, tensorboard: bool) -> Result<Vec<PathBuf>, ExportError> {
    let mut paths = export::parquet(archive)?.to_vec();
    if tensorboard {
        paths.push(export::tensorboard(archive)?);
    }
    Ok(paths)
}
