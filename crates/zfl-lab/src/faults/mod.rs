//! Faults on purpose: which client goes wrong how in which round.
//!
//! A `FaultPlan` is a pure function of the run's seed, the client and the
//! round. Each kind of fault has a stream of its own, so that another kind, or
//! another probability of it, moves none that is there. Native clients and
//! devices follow the same plan; `native.rs` and `host.rs` say what each kind
//! does to theirs. The coordinator knows nothing of it: it is what is tested.
//!
//! A fault that takes effect is told as `Injected`; one that is planned for a
//! client that takes no part, or that is gone by then, is not.

pub(crate) mod book;
pub(crate) mod device;
pub(crate) mod trace;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use zfl_client::Tamper;
use zfl_seed::{Purpose, Stream};
use zfl_server::Outcome;

use crate::experiment::{
    Availability, Experiment, FaultKind, FaultModel, Fidelity, Network, PoisonKind,
};
pub use trace::TRACE_BYTES_MAX;
use trace::Trace;

/// Why the faults of an experiment cannot be.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// The trace cannot be read.
    #[error("failed to read the trace {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The trace says something wrong.
    #[error("{}, line {line}: {what}", path.display())]
    Trace {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: u64,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// A device cannot keep its data.
    #[error(
        "`faults.{name}`: a device of board {board} loses its data when it reboots; set \
         faults.{name}.reboot-keeps-data=false, or choose another board (`zfl boards` lists \
         them) or native clients"
    )]
    KeepsData {
        /// Whose faults.
        name: String,
        /// Which board.
        board: String,
    },
    /// The link of a bridge cannot be taken down.
    #[error(
        "`faults.{name}`: a brown-out takes the link of zfl's own switch down; set \
         network=\"switch\", or faults.{name}.brown-out=0"
    )]
    NoLink {
        /// Whose faults.
        name: String,
    },
}

/// What goes wrong in a client's part in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It is not there.
    Unavailable,
    /// It takes no part.
    DropOutBefore,
    /// It ends for good.
    Crash,
    /// It stands still for good.
    Hang,
    /// It ends, and starts anew.
    Reboot {
        /// After so long.
        after: Duration,
        /// With the samples it had.
        keeps_data: bool,
    },
    /// It gives up.
    DropOutDuring,
    /// It sends nothing.
    DropOutAfter,
    /// It has no link for so long.
    BrownOut(Duration),
    /// It sends other parameters, of this kind.
    Falsify(FaultKind, Tamper),
    /// It sends a part.
    Truncate,
    /// It sends twice.
    Duplicate,
    /// It sends so much later.
    Late(Duration),
    /// It takes so many times as long.
    SlowDown(f32),
}

impl Fault {
    pub(crate) const fn kind(&self) -> FaultKind {
        match self {
            Self::Unavailable => FaultKind::Unavailable,
            Self::DropOutBefore => FaultKind::DropOutBefore,
            Self::Crash => FaultKind::Crash,
            Self::Hang => FaultKind::Hang,
            Self::Reboot { .. } => FaultKind::Reboot,
            Self::DropOutDuring => FaultKind::DropOutDuring,
            Self::DropOutAfter => FaultKind::DropOutAfter,
            Self::BrownOut(_) => FaultKind::BrownOut,
            Self::Falsify(kind, _) => *kind,
            Self::Truncate => FaultKind::Truncate,
            Self::Duplicate => FaultKind::Duplicate,
            Self::Late(_) => FaultKind::Late,
            Self::SlowDown(_) => FaultKind::SlowDown,
        }
    }

    /// Whether the client trains to the end and has an update.
    const fn leaves_update(&self) -> bool {
        matches!(
            self,
            Self::BrownOut(_)
                | Self::Falsify(..)
                | Self::Truncate
                | Self::Duplicate
                | Self::Late(_)
                | Self::SlowDown(_)
        )
    }
}

impl FaultKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Unavailable].into_iter().chain(Self::DRAWN)
    }

    /// How the round may end for a client in which this took effect, besides
    /// [`Outcome::Surplus`] where more are selected than a round needs. Any
    /// other outcome would be a fault of zfl.
    pub const fn outcomes(self) -> &'static [Outcome] {
        use Outcome::{Crashed, Late, Ok, Rejected, Surplus, Unreachable};
        match self {
            Self::Unavailable | Self::DropOutBefore => &[Unreachable, Surplus],
            Self::Crash | Self::Reboot => &[Crashed, Surplus],
            Self::Hang | Self::DropOutDuring | Self::DropOutAfter => &[Late, Surplus],
            Self::BrownOut | Self::Late => &[Ok, Late, Surplus],
            Self::Nan => &[Rejected, Surplus],
            Self::Poison => &[Ok, Rejected, Surplus],
            // What says nobody's name is nobody's update.
            Self::Truncate => &[Rejected, Late, Surplus],
            Self::Duplicate => &[Ok, Surplus],
            // With or without another.
            Self::SlowDown => &[Ok, Late, Rejected, Surplus],
        }
    }

    /// Its stream.
    const fn purpose(self) -> Purpose {
        match self {
            Self::Unavailable => Purpose::FaultAvailability,
            Self::DropOutBefore => Purpose::FaultDropOutBefore,
            Self::DropOutDuring => Purpose::FaultDropOutDuring,
            Self::DropOutAfter => Purpose::FaultDropOutAfter,
            Self::Crash => Purpose::FaultCrash,
            Self::Hang => Purpose::FaultHang,
            Self::Reboot => Purpose::FaultReboot,
            Self::SlowDown => Purpose::FaultSlowDown,
            Self::BrownOut => Purpose::FaultBrownOut,
            Self::Poison => Purpose::FaultPoison,
            Self::Nan => Purpose::FaultNan,
            Self::Truncate => Purpose::FaultTruncate,
            Self::Duplicate => Purpose::FaultDuplicate,
            Self::Late => Purpose::FaultLate,
        }
    }
}

/// A fault that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Injected {
    pub(crate) round: u32,
    pub(crate) client: u32,
    pub(crate) kind: FaultKind,
}

/// The plan, and whom to tell of what takes effect.
#[derive(Clone)]
pub struct Injector {
    plan: Arc<FaultPlan>,
    told: mpsc::UnboundedSender<Injected>,
}

impl Injector {
    /// An injector, and what it will tell: at most two of a part in a round.
    pub(crate) fn new(plan: FaultPlan) -> (Self, mpsc::UnboundedReceiver<Injected>) {
        let (told, receiver) = mpsc::unbounded_channel();
        let plan = Arc::new(plan);
        (Self { plan, told }, receiver)
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Says that a fault takes effect. Say it before anything can come of it:
    /// so is it known when the round is over.
    pub(crate) fn tell(&self, round: u32, client: u32, kind: FaultKind) {
        // Nobody listens any more when the run is over.
        let _ = self.told.send(Injected {
            round,
            client,
            kind,
        });
    }
}

/// The faults of one entry of the fleet.
struct Group {
    clients: Range<u32>,
    model: FaultModel,
    /// The rounds in which clients are there, if a trace says so.
    trace: Option<Trace>,
}

/// Who goes wrong when.
#[derive(Default)]
pub(crate) struct FaultPlan {
    seed: u64,
    groups: Vec<Group>,
}

impl FaultPlan {
    /// The plan of an experiment; reads its traces.
    pub(crate) fn new(experiment: &Experiment) -> Result<Self, FaultsError> {
        let mut traces: BTreeMap<&PathBuf, Trace> = BTreeMap::new();
        let mut groups = Vec::new();
        let mut end = 0;
        for group in &experiment.fleet {
            let clients = end..end + group.count;
            end = clients.end;
            let name = group.faults.as_ref();
            let named = name.and_then(|name| Some((name, experiment.faults.get(name)?)));
            let Some((name, model)) = named else {
                continue;
            };
            if group.fidelity == Fidelity::Emulated && !model.suits_board(&group.board) {
                return Err(FaultsError::KeepsData {
                    name: name.clone(),
                    board: group.board.clone(),
                });
            }
            if group.fidelity == Fidelity::Emulated
                && experiment.network == Network::Bridge
                && model.probability(FaultKind::BrownOut) > 0.0
            {
                return Err(FaultsError::NoLink { name: name.clone() });
            }
            let trace = match &model.availability {
                Availability::Trace(path) => Some(match traces.get(path) {
                    Some(trace) => trace.clone(),
                    None => {
                        let trace = Trace::read(path, experiment.fleet_size())?;
                        traces.insert(path, trace.clone());
                        trace
                    }
                }),
                Availability::Always | Availability::DutyCycle { .. } => None,
            };
            groups.push(Group {
                clients,
                model: model.clone(),
                trace,
            });
        }
        Ok(Self {
            seed: experiment.seed,
            groups,
        })
    }

    /// Whether nothing ever goes wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a client may reboot, and have its data then.
    pub(crate) fn keeps_data(&self, client: u32) -> bool {
        self.group(client)
            .is_some_and(|group| group.model.reboots_with_data())
    }

    fn group(&self, client: u32) -> Option<&Group> {
        self.groups
            .iter()
            .find(|group| group.clients.contains(&client))
    }

    /// What goes wrong in a client's part in a round: nothing, one thing, or a
    /// slow-down and another.
    pub(crate) fn part(&self, client: u32, round: u32) -> Vec<Fault> {
        let Some(Group { model, trace, .. }) = self.group(client) else {
            return Vec::new();
        };
        if !self.is_available(model, trace.as_ref(), client, round) {
            return vec![Fault::Unavailable];
        }
        let is_drawn = |kind: FaultKind| {
            let probability = model.probability(kind);
            probability > 0.0 && {
                let mut stream = Stream::for_round(self.seed, kind.purpose(), client, round);
                f64::from(stream.unit_f32()) < probability
            }
        };
        let slow_down = is_drawn(FaultKind::SlowDown).then_some(FaultKind::SlowDown);
        let mut faults: Vec<Fault> = slow_down
            .into_iter()
            .chain(
                FaultKind::DRAWN
                    .into_iter()
                    .find(|kind| *kind != FaultKind::SlowDown && is_drawn(*kind)),
            )
            .map(|kind| fault(kind, model))
            .collect();
        // Who ends early has no time to be slow.
        if let Some(last) = faults.last().copied().filter(|last| !last.leaves_update()) {
            faults = vec![last];
        }
        faults
    }

    fn is_available(
        &self,
        model: &FaultModel,
        trace: Option<&Trace>,
        client: u32,
        round: u32,
    ) -> bool {
        match (&model.availability, trace) {
            (Availability::DutyCycle { on, off }, _) => {
                let cycle = u64::from(*on) + u64::from(*off);
                let mut stream = Stream::new(self.seed, Purpose::FaultAvailability, client);
                let phase = stream.below(u32::try_from(cycle).unwrap_or(u32::MAX));
                (u64::from(round) + u64::from(phase)) % cycle < u64::from(*on)
            }
            (Availability::Trace(_), Some(trace)) => trace.is_available(client, round),
            (Availability::Trace(_) | Availability::Always, _) => true,
        }
    }
}

fn fault(kind: FaultKind, model: &FaultModel) -> Fault {
    match kind {
        FaultKind::Unavailable => Fault::Unavailable,
        FaultKind::DropOutBefore => Fault::DropOutBefore,
        FaultKind::Crash => Fault::Crash,
        FaultKind::Hang => Fault::Hang,
        FaultKind::Reboot => Fault::Reboot {
            after: model.reboot_after,
            keeps_data: model.reboot_keeps_data,
        },
        FaultKind::DropOutDuring => Fault::DropOutDuring,
        FaultKind::DropOutAfter => Fault::DropOutAfter,
        FaultKind::BrownOut => Fault::BrownOut(model.brown_out),
        FaultKind::Nan => Fault::Falsify(kind, Tamper::Nan),
        FaultKind::Poison => {
            // As a device is told: both then send the same.
            #[expect(clippy::cast_precision_loss, reason = "nearest is near enough")]
            let factor = device::thousandths(model.poison_factor) as f32 / 1e3;
            let tamper = match model.poison_kind {
                PoisonKind::SignFlip => Tamper::Negate,
                PoisonKind::Scale => Tamper::Scale(factor),
                PoisonKind::Random => Tamper::Random(factor),
            };
            Fault::Falsify(kind, tamper)
        }
        FaultKind::Truncate => Fault::Truncate,
        FaultKind::Duplicate => Fault::Duplicate,
        FaultKind::Late => Fault::Late(model.late),
        FaultKind::SlowDown => Fault::SlowDown(model.slow_down_factor),
    }
}

#[cfg(test)]
mod tests;
