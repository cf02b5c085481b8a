//! What a display is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use zfl_machine::FleetProgress;
use zfl_proto::Token;
use zfl_server::{Quality, RoundRecord};

/// What is going on, for a display.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The coordinator listens.
    Listening {
        /// Where.
        address: SocketAddr,
        /// The secret of fleet hosts.
        fleet_key: Token,
        /// The run's folder.
        folder: PathBuf,
    },
    /// The run begins; nobody can join it.
    Began {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Devices start.
    Fleet(FleetProgress),
    /// Clients have their data.
    Provisioned {
        /// How many.
        count: u32,
        /// Of how many.
        of: u32,
    },
    /// The run goes on after this round.
    Resumed {
        /// The last round that is over.
        round: u32,
        /// How well the model does on the test set after it.
        quality: Quality,
    },
    /// The model before training.
    Initial {
        /// How well it does on the test set.
        quality: Quality,
    },
    /// A round begins.
    RoundStarted {
        /// Which.
        round: u32,
        /// With how many clients.
        clients: usize,
    },
    /// A client's part in the round is decided.
    ClientFinished {
        /// Whether its update is in the mean.
        ok: bool,
    },
    /// A round is over.
    RoundCompleted {
        /// Its record.
        record: RoundRecord,
    },
    /// Something that whoever started the run wants to know.
    Notice(String),
    /// Something went wrong, and the run goes on.
    Warning(String),
}
