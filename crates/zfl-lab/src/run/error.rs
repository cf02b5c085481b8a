//! Why a run ended before its time, and whether it can go on.

use std::path::PathBuf;

use zfl_data::{LoadError, PartitionError};
use zfl_server::{CoordinatorError, checkpoint};

use crate::capture::CaptureRequestError;
use crate::experiment::ParticipationError;
use crate::faults::FaultsError;
use crate::host::HostError;
use crate::kind::KindError;
use crate::learnt::LearntError;
use crate::records::RecordError;
use crate::state::ResumeError;
use crate::task::TaskError;

/// Why a run ended without all its rounds.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] LoadError),
    /// The data cannot be shared out.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// More clients are asked for than there are.
    #[error(transparent)]
    Participation(#[from] ParticipationError),
    /// There is no such model on these data.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The rounds cannot be played.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The fleet cannot be started.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No threads for the native clients.
    #[error(
        "failed to start {threads} threads for native clients: {source}; ask for fewer with --threads"
    )]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        source: std::io::Error,
    },
    /// A board or microcontroller is not known.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// Nothing can be captured as it was asked for.
    #[error(transparent)]
    Capture(#[from] CaptureRequestError),
    /// What was learnt of instructions cannot be read.
    #[error(transparent)]
    Learnt(#[from] LearntError),
    /// What is to go wrong cannot.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// A device that must take part has too little memory.
    #[error(
        "client {client} {reason}; `on-misfit = \"skip\"` in its [[fleet]] table leaves it out, \
         `zfl size` says what takes how much"
    )]
    Misfit {
        /// Which.
        client: u32,
        /// What is too small, and by how much.
        reason: String,
    },
    /// Too few devices have the memory that it takes.
    #[error(
        "{fitting} of {clients} clients have the memory, the quorum is {quorum}; client {first} \
         {reason}; `zfl size` says what takes how much"
    )]
    TooFewFit {
        /// Clients that can take part.
        fitting: u32,
        /// Clients of the fleet.
        clients: u32,
        /// Updates that are needed.
        quorum: u32,
        /// The first that cannot.
        first: u32,
        /// Why.
        reason: String,
    },
    /// The run in the folder cannot go on.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The model that it would go on with cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::LoadError),
    /// The run's folder cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It was asked to end.
    #[error("interrupted in round {round} of {rounds}; what was recorded is in {}", folder.display())]
    Interrupted {
        /// The last round that began.
        round: u32,
        /// Of how many.
        rounds: u32,
        /// The run's folder.
        folder: PathBuf,
    },
    /// A task of the run ended before its time.
    #[error("the run was cut off: {0}")]
    CutOff(#[from] tokio::task::JoinError),
}

impl RunError {
    /// Whether the run in the folder can be resumed, as it began and what ended
    /// it may be over: an interruption, a full disk, a round without a quorum.
    pub const fn can_go_on(&self) -> bool {
        match self {
            Self::Interrupted { .. } => true,
            Self::Record(error) => !matches!(error, RecordError::NotEmpty { .. }),
            Self::Coordinator(error) => matches!(
                error,
                CoordinatorError::Quorum { .. }
                    | CoordinatorError::TooFewClients { .. }
                    | CoordinatorError::TooManyFailed { .. }
            ),
            _ => false,
        }
    }
}
