//! The plan's faults as a device is told of them.
//!
//! What a device can do wrong by itself it does itself, over its own network
//! stack. What is done to it from outside (its machine is ended or stopped, its
//! link taken down) it announces, so that it is done in the right moment of the
//! right round.

use zfl_client::Tamper;
use zfl_proto::console;

use super::{Fault, FaultPlan};

/// What the device is to do.
pub(crate) fn command(fault: &Fault) -> console::Fault {
    use console::Fault as Device;
    match fault {
        Fault::Unavailable | Fault::DropOutBefore => Device::Away,
        Fault::Crash | Fault::Hang | Fault::Reboot { .. } => Device::Hold,
        Fault::DropOutDuring => Device::Quit,
        Fault::DropOutAfter => Device::Mute,
        Fault::BrownOut(_) => Device::Tell,
        Fault::Falsify(_, tamper) => match *tamper {
            Tamper::Nan => Device::Nan,
            Tamper::Negate => Device::Negate,
            Tamper::Scale(factor) => Device::Scale(thousandths(factor)),
            Tamper::Random(most) => Device::Random(thousandths(most)),
        },
        Fault::Truncate => Device::Truncate,
        Fault::Duplicate => Device::Duplicate,
        Fault::Late(after) => Device::Late(u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
        Fault::SlowDown(factor) => Device::Slow(thousandths(*factor)),
    }
}

/// The nearest number of thousandths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts saturate"
)]
pub(crate) fn thousandths(value: f32) -> u32 {
    (f64::from(value) * 1e3).round() as u32
}

/// The fault that a device has announced by this word.
pub(crate) fn announced(plan: &FaultPlan, client: u32, round: u32, word: &str) -> Option<Fault> {
    let mut faults = plan.part(client, round).into_iter();
    faults.find(|fault| command(fault).name() == word)
}

/// The first rounds from `from` on, and before `end`, in which something goes
/// wrong with a client, and what: as many as `places` faults have room. And up
/// to which round that is all, exclusively.
pub(crate) fn ahead(
    plan: &FaultPlan,
    client: u32,
    (from, end): (u32, u32),
    mut places: usize,
) -> (Vec<(u32, Vec<Fault>)>, u32) {
    let mut ahead = Vec::new();
    for round in from..end {
        let faults = plan.part(client, round);
        if faults.len() > places {
            return (ahead, round);
        }
        if !faults.is_empty() {
            places -= faults.len();
            ahead.push((round, faults));
        }
    }
    (ahead, from.max(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Experiment, FaultKind};

    fn plan(faults: &str) -> FaultPlan {
        let text = format!("[faults.a]\n{faults}\n[[fleet]]\ncount = 3\nfaults = \"a\"\n");
        let boards = ["mps2-an386"];
        let experiment = Experiment::parse(&text, "trial.toml", &[], &boards);
        FaultPlan::new(&experiment.unwrap_or_else(|error| panic!("{error}"))).unwrap()
    }

    #[test]
    fn every_kind_can_be_told_and_is_known_again() {
        for kind in FaultKind::DRAWN {
            let plan = plan(
                &format!("{} = 1\nslow-down = 1", kind.name())
                    .replace("slow-down = 1\nslow-down = 1", "slow-down = 1"),
            );
            for fault in plan.part(1, 5) {
                let word = command(&fault).name();
                assert_eq!(announced(&plan, 1, 5, word), Some(fault));
            }
        }
        assert_eq!(announced(&plan("crash = 1"), 1, 5, "nan"), None);
        assert_eq!(thousandths(2.5), 2500);
        assert_eq!(thousandths(1e6), 1_000_000_000);
    }

    #[test]
    fn no_more_is_typed_than_there_is_room_for() {
        let plan = plan("nan = 1\nslow-down = 0.5");
        let (ahead, until) = ahead(&plan, 0, (3, 1000), 8);
        assert_eq!(until, 3 + ahead.len() as u32);
        let rounds: Vec<u32> = ahead.iter().map(|(round, _)| *round).collect();
        assert_eq!(rounds, (3..3 + rounds.len() as u32).collect::<Vec<_>>());
        let count: usize = ahead.iter().map(|(_, faults)| faults.len()).sum();
        assert!((7..=8).contains(&count), "{count}");
        let (ahead, until) = super::ahead(&plan, 0, (3, 4), 8);
        assert_eq!((ahead.len(), until), (1, 4));
    }
}
