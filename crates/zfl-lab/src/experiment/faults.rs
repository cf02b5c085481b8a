//! `[faults.NAME]`: what goes wrong on purpose.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use zfl_machine::Board;

use super::error::Fault as Complaint;
use super::raw::{Context, Number, Whole, is_name};
use super::{Fidelity, NAME_BYTES_MAX, ROUNDS_MAX};

/// Longest time that a fault takes.
pub const FAULT_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// A training is slowed down, or its parameters are multiplied, by no more.
pub const FAULT_FACTOR_MAX: f32 = 1e6;

/// What goes wrong in the clients of a fleet entry that names it.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultModel {
    /// How often each kind comes up: a probability for each client and round,
    /// in the order of [`FaultKind::DRAWN`].
    pub probabilities: [f64; FaultKind::DRAWN.len()],
    /// When clients are there at all.
    pub availability: Availability,
    /// From the end of a machine that reboots to its new start.
    pub reboot_after: Duration,
    /// Whether a client that reboots still has its samples. A device can where
    /// its board has memory that outlives it.
    pub reboot_keeps_data: bool,
    /// How many times as long a training that is slowed down takes; from 1.
    pub slow_down_factor: f32,
    /// How long a link is gone.
    pub brown_out: Duration,
    /// What poisoned updates hold.
    pub poison_kind: PoisonKind,
    /// What parameters are multiplied with, or the largest random one.
    pub poison_factor: f32,
    /// How long a late update is held back.
    pub late: Duration,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Is not there in the round, as its [`Availability`] says.
    Unavailable,
    /// Takes no part in the round.
    DropOutBefore,
    /// Ends for good, in the middle of its training.
    Crash,
    /// Stands still for good, in the middle of its training.
    Hang,
    /// Ends in the middle of its training, and starts anew.
    Reboot,
    /// Gives up in the middle of its training.
    DropOutDuring,
    /// Trains, and sends nothing.
    DropOutAfter,
    /// Its link is gone for a while from the beginning of its training on.
    BrownOut,
    /// Sends parameters that are no numbers.
    Nan,
    /// Sends parameters that are meant to harm.
    Poison,
    /// Sends a part of its update.
    Truncate,
    /// Sends its update twice.
    Duplicate,
    /// Sends its update late.
    Late,
    /// Trains more slowly.
    SlowDown,
}

impl FaultKind {
    /// Those that are drawn for each client and round. A client that is there
    /// has one fault in a round: the first here that comes up. Being slowed
    /// down alone can come with another.
    pub const DRAWN: [Self; 13] = [
        Self::DropOutBefore,
        Self::Crash,
        Self::Hang,
        Self::Reboot,
        Self::DropOutDuring,
        Self::DropOutAfter,
        Self::BrownOut,
        Self::Nan,
        Self::Poison,
        Self::Truncate,
        Self::Duplicate,
        Self::Late,
        Self::SlowDown,
    ];

    /// As the file and the records spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::DropOutBefore => "drop-out-before",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Reboot => "reboot",
            Self::DropOutDuring => "drop-out-during",
            Self::DropOutAfter => "drop-out-after",
            Self::BrownOut => "brown-out",
            Self::Nan => "nan",
            Self::Poison => "poison",
            Self::Truncate => "truncate",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::SlowDown => "slow-down",
        }
    }
}

/// When a client is there at all, in rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Availability {
    /// In every round.
    #[default]
    Always,
    /// In the rounds that a CSV file names.
    Trace(PathBuf),
    /// For `on` rounds, then not for `off`, and so on; each client begins
    /// somewhere in this cycle.
    DutyCycle {
        /// At least 1.
        on: u32,
        /// At least 1.
        off: u32,
    },
}

/// What poisoned updates hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoisonKind {
    /// The parameters with the opposite sign.
    #[default]
    SignFlip,
    /// The parameters times `poison-factor`.
    Scale,
    /// Random parameters between `poison-factor` and its negative.
    Random,
}

impl PoisonKind {
    pub(super) const ALL: &'static [Self] = &[Self::SignFlip, Self::Scale, Self::Random];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignFlip => "sign-flip",
            Self::Scale => "scale",
            Self::Random => "random",
        }
    }
}

impl FaultModel {
    /// How often a kind comes up.
    pub fn probability(&self, kind: FaultKind) -> f64 {
        let place = FaultKind::DRAWN.iter().position(|drawn| *drawn == kind);
        let probability = place.and_then(|place| self.probabilities.get(place));
        probability.copied().unwrap_or(0.0)
    }

    /// Whether clients reboot, and have their samples then.
    pub(crate) fn reboots_with_data(&self) -> bool {
        self.reboot_keeps_data && self.probability(FaultKind::Reboot) > 0.0
    }

    /// Whether devices of a board can do what this says. Of one that cannot be
    /// had somebody else tells.
    pub(crate) fn suits_board(&self, name_or_path: &str) -> bool {
        !self.reboots_with_data()
            || Board::find(name_or_path).map_or(true, |board| board.memory.kept.is_some())
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub(super) struct RawFaults {
    drop_out_before: Option<Spanned<Number>>,
    drop_out_during: Option<Spanned<Number>>,
    drop_out_after: Option<Spanned<Number>>,
    availability_trace: Option<Spanned<String>>,
    availability_on_rounds: Option<Spanned<Whole>>,
    availability_off_rounds: Option<Spanned<Whole>>,
    crash: Option<Spanned<Number>>,
    hang: Option<Spanned<Number>>,
    reboot: Option<Spanned<Number>>,
    reboot_after_s: Option<Spanned<Number>>,
    reboot_keeps_data: Option<Spanned<bool>>,
    slow_down: Option<Spanned<Number>>,
    slow_down_factor: Option<Spanned<Number>>,
    brown_out: Option<Spanned<Number>>,
    brown_out_s: Option<Spanned<Number>>,
    poison: Option<Spanned<Number>>,
    poison_kind: Option<Spanned<String>>,
    poison_factor: Option<Spanned<Number>>,
    nan: Option<Spanned<Number>>,
    truncate: Option<Spanned<Number>>,
    duplicate: Option<Spanned<Number>>,
    late: Option<Spanned<Number>>,
    late_s: Option<Spanned<Number>>,
}

impl RawFaults {
    fn drawn(&self, kind: FaultKind) -> Option<&Spanned<Number>> {
        match kind {
            FaultKind::Unavailable => None,
            FaultKind::DropOutBefore => self.drop_out_before.as_ref(),
            FaultKind::DropOutDuring => self.drop_out_during.as_ref(),
            FaultKind::DropOutAfter => self.drop_out_after.as_ref(),
            FaultKind::Crash => self.crash.as_ref(),
            FaultKind::Hang => self.hang.as_ref(),
            FaultKind::Reboot => self.reboot.as_ref(),
            FaultKind::SlowDown => self.slow_down.as_ref(),
            FaultKind::BrownOut => self.brown_out.as_ref(),
            FaultKind::Poison => self.poison.as_ref(),
            FaultKind::Nan => self.nan.as_ref(),
            FaultKind::Truncate => self.truncate.as_ref(),
            FaultKind::Duplicate => self.duplicate.as_ref(),
            FaultKind::Late => self.late.as_ref(),
        }
    }

    fn check(&self, name: &str, context: &Context<'_>) -> Result<FaultModel, Complaint> {
        let path = |key: &str| format!("faults.{name}.{key}");
        let mut probabilities = [0.0; FaultKind::DRAWN.len()];
        for (probability, kind) in probabilities.iter_mut().zip(FaultKind::DRAWN) {
            if let Some(given) = self.drawn(kind) {
                *probability = given.get_ref().value();
                if !(0.0..=1.0).contains(probability) {
                    return Err(context.refuse(&path(kind.name()), given.span()));
                }
                // There is one zero.
                *probability += 0.0;
            }
        }
        let time = |key: &str, value: Option<&Spanned<Number>>| {
            let Some(value) = value else {
                return Ok(Duration::from_secs(5));
            };
            Duration::try_from_secs_f64(value.get_ref().value())
                .ok()
                .filter(|time| (Duration::from_millis(1)..=FAULT_TIME_MAX).contains(time))
                .ok_or_else(|| context.refuse(&path(key), value.span()))
        };
        let factor = |key: &str, value: Option<&Spanned<Number>>, default, least| match value {
            None => Ok(default),
            Some(value) => context.f32(&path(key), value, |factor| {
                (least..=FAULT_FACTOR_MAX).contains(&factor)
            }),
        };
        Ok(FaultModel {
            probabilities,
            availability: self.availability(&path, context)?,
            reboot_after: time("reboot-after-s", self.reboot_after_s.as_ref())?,
            reboot_keeps_data: self
                .reboot_keeps_data
                .as_ref()
                .is_some_and(|keeps| *keeps.get_ref()),
            slow_down_factor: factor("slow-down-factor", self.slow_down_factor.as_ref(), 2.0, 1.0)?,
            brown_out: time("brown-out-s", self.brown_out_s.as_ref())?,
            poison_kind: context.word(
                &path("poison-kind"),
                self.poison_kind.as_ref(),
                PoisonKind::ALL,
                PoisonKind::name,
            )?,
            poison_factor: factor("poison-factor", self.poison_factor.as_ref(), 10.0, 0.001)?,
            late: time("late-s", self.late_s.as_ref())?,
        })
    }

    fn availability(
        &self,
        path: &impl Fn(&str) -> String,
        context: &Context<'_>,
    ) -> Result<Availability, Complaint> {
        const TRACE: &str = "availability-trace";
        const ON: &str = "availability-on-rounds";
        const OFF: &str = "availability-off-rounds";
        let (on, off) = (&self.availability_on_rounds, &self.availability_off_rounds);
        let rounds = |key, value| context.whole(&path(key), Some(value), 1..=ROUNDS_MAX, 1u32);
        match (&self.availability_trace, on, off) {
            (None, None, None) => Ok(Availability::Always),
            (Some(trace), None, None) => {
                Ok(Availability::Trace(context.path(&path(TRACE), trace)?))
            }
            (None, Some(on), Some(off)) => Ok(Availability::DutyCycle {
                on: rounds(ON, on)?,
                off: rounds(OFF, off)?,
            }),
            (Some(trace), ..) => {
                let message = format!("`{}` beside a duty cycle", path(TRACE));
                Err(context.fault(&path(TRACE), trace.span(), message))
            }
            (None, Some(only), None) | (None, None, Some(only)) => {
                let (given, missing) = match on {
                    Some(_) => (ON, OFF),
                    None => (OFF, ON),
                };
                let message = format!("`{}` without `{}`", path(given), path(missing));
                Err(context.fault(&path(given), only.span(), message))
            }
        }
    }
}

/// All tables of faults.
pub(super) fn check_faults(
    tables: &BTreeMap<String, Spanned<RawFaults>>,
    context: &Context<'_>,
) -> Result<BTreeMap<String, FaultModel>, Complaint> {
    let mut models = BTreeMap::new();
    for (name, table) in tables {
        if !is_name(name) {
            let message = format!("`{name}` is no name for faults");
            return Err(Complaint {
                help: Some(format!(
                    "a name is 1 to {NAME_BYTES_MAX} of the characters a-z, 0-9 and -"
                )),
                ..context.fault("faults", table.span(), message)
            });
        }
        models.insert(name.clone(), table.get_ref().check(name, context)?);
    }
    Ok(models)
}

/// Whether every entry of the fleet can have the faults that it names.
pub(super) fn check_chosen(
    name: &Spanned<String>,
    path: &str,
    (fidelity, board, is_fixed): (Fidelity, &str, bool),
    models: &BTreeMap<String, FaultModel>,
    context: &Context<'_>,
) -> Result<String, Complaint> {
    let Some(model) = models.get(name.get_ref()) else {
        let message = format!("no faults {}", context.sources.quote(&name.span()));
        let known: Vec<&str> = models.keys().map(String::as_str).collect();
        return Err(Complaint {
            span: name.span(),
            message,
            help: Some(match known.as_slice() {
                [] => "define them in a table [faults.NAME]".to_owned(),
                known => format!("the file has: {}", known.join(", ")),
            }),
        });
    };
    let impossible = |message: String, help: &str| {
        Err(Complaint {
            span: name.span(),
            message: format!("`{path}`: {message}"),
            help: Some(help.to_owned()),
        })
    };
    if fidelity == Fidelity::Emulated && !model.suits_board(board) {
        return impossible(
            format!("a device of board {board} loses its data when it reboots"),
            "it has no memory that outlives it: leave `reboot-keeps-data` out, choose another \
             board, or make the clients native",
        );
    }
    if is_fixed && model.probability(FaultKind::Nan) > 0.0 {
        return impossible(
            "fixed point has no NaN".to_owned(),
            "leave `nan` out, or train with training.arithmetic = \"f32\"",
        );
    }
    Ok(name.get_ref().clone())
}
