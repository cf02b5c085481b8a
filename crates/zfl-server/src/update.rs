//! Updates: decoded, checked and taken into the open round, however they came.

use std::cmp::Ordering;

use zfl_proto::ClientId;
use zfl_proto::message::{Checksum, Encoding, Metrics, Prefix, UpdateHeader};

use crate::coordinator::Shared;
use crate::payload;
use crate::refusals::Refusal;
use crate::registry::{Decision, Failure, State};
use crate::strategy::Update;
use crate::{Event, LateUpdate, Outcome, RefusalKind};

/// An update, from either form.
pub(crate) struct Report {
    pub(crate) round: u32,
    pub(crate) sample_count: u32,
    pub(crate) encoding: Encoding,
    pub(crate) parameters: Vec<f32>,
    pub(crate) metrics: Metrics,
    pub(crate) bytes: usize,
}

/// Length of the header that a binary update begins with.
pub(crate) fn header_bytes(bytes: &[u8]) -> Result<usize, Refusal> {
    Prefix::decode(bytes)
        .map(|prefix| prefix.header_bytes)
        .map_err(|error| Refusal::new(RefusalKind::Malformed, error))
}

/// Reads a binary update of client `id`.
pub(crate) fn decode(id: u32, header_bytes: &[u8], payload: &[u8]) -> Result<Report, Refusal> {
    let bad = |reason: String| Refusal::new(RefusalKind::Malformed, reason);
    let header = UpdateHeader::decode(header_bytes).map_err(|error| bad(error.to_string()))?;
    if header.client != ClientId(id) {
        return Err(Refusal::new(
            RefusalKind::Identity,
            format!("the update is of client {}, not {id}", header.client),
        ));
    }
    let announced = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
    if payload.len() != announced {
        return Err(bad(format!(
            "payload has {} bytes, its header says {announced}",
            payload.len()
        )));
    }
    if Checksum::of(payload) != header.payload_crc32 {
        return Err(bad("checksum of the payload is wrong".to_owned()));
    }
    Ok(Report {
        round: header.round.0,
        sample_count: header.sample_count,
        encoding: header.encoding,
        parameters: payload::decode(header.encoding, payload),
        metrics: header.metrics,
        bytes: header_bytes.len() + payload.len(),
    })
}

/// How an update was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Into its round.
    InTime,
    /// For the mean of a later round.
    Late,
}

/// Takes an update into the open round, or keeps it for the mean of the next
/// where its own is over and late updates are used.
pub(crate) fn take(shared: &Shared, id: u32, report: Report) -> Result<Taken, Refusal> {
    let refused = |kind, reason: String| Refusal::new(kind, reason);
    let round = report.round;
    // Outside the lock: a large model has many.
    let non_finite = first_non_finite(&report.parameters);
    let is_waited_for;
    {
        let mut state = shared.state();
        let is_local = state.local.contains(id);
        let Some(open) = state.open(round) else {
            return take_late(shared, &mut state, id, report, non_finite);
        };
        let is_full = open.is_full();
        let Some(slot) = open.slots.get(&id) else {
            return Err(refused(
                RefusalKind::NotExpected,
                format!("client {id} is not part of round {round}"),
            ));
        };
        if slot.is_ok() {
            return Err(refused(
                RefusalKind::Duplicate,
                format!("duplicate: client {id} has already sent its update for round {round}"),
            ));
        }
        if slot.started.is_none() {
            return Err(refused(
                RefusalKind::NotExpected,
                format!("client {id} was not started in round {round}"),
            ));
        }
        if let Some(flaw) = Flaw::of(shared, id, &report, non_finite) {
            drop(state);
            // The round need not wait for the deadline; a better update that
            // comes in time still counts.
            let failure = Failure {
                outcome: Outcome::Rejected,
                detail: flaw.reason.clone(),
                diverged: flaw.has_diverged,
            };
            shared.fail_as(round, id, failure);
            return Err(refused(RefusalKind::Impossible, flaw.reason));
        }
        if is_full {
            drop(state);
            let reason = format!("too late: round {round} has the updates that it needs");
            shared.fail(round, id, Outcome::Surplus, reason.clone());
            return Err(refused(RefusalKind::Stale, reason));
        }
        let decision = Decision {
            outcome: Outcome::Ok,
            detail: String::new(),
            diverged: false,
            host_seconds: slot.seconds(),
            bytes_up: u64::try_from(report.bytes).unwrap_or(u64::MAX),
            metrics: report.metrics,
            update: Some(Update {
                client: id,
                sample_count: report.sample_count,
                staleness_weight: 1.0,
                parameters: report.parameters,
            }),
        };
        open.decide(id, decision);
        let has_frozen = open.payload.has_frozen();
        // For a local client only the round waits.
        is_waited_for = !is_local || open.is_over();
        if has_frozen {
            state.hold_frozen.insert(id);
        }
    }
    shared.tell(Event::ClientFinished {
        round,
        client: id,
        outcome: Outcome::Ok,
        detail: String::new(),
    });
    if is_waited_for {
        shared.changed();
    }
    Ok(Taken::InTime)
}

/// Keeps an update whose round is not open for the mean of a later one, if
/// that may be.
fn take_late(
    shared: &Shared,
    state: &mut State,
    id: u32,
    report: Report,
    non_finite: Option<usize>,
) -> Result<Taken, Refusal> {
    let (round, last_round) = (report.round, state.last_round);
    let stale = |reason: String| Err(Refusal::new(RefusalKind::Stale, reason));
    if round > last_round {
        return Err(Refusal::new(
            RefusalKind::NotExpected,
            format!(
                "too early: the update is for round {round}, the coordinator is in round \
                 {last_round}"
            ),
        ));
    }
    // What is over now is in the past; the update would be used in the round
    // that is open, or else in the next.
    let used_in = last_round + u32::from(state.round.is_none());
    let is_fresh_enough = used_in - round <= shared.options.plan.policy.staleness.rounds_max;
    let past = state.past.iter_mut().find(|past| past.index == round);
    let waited = past.and_then(|past| Some((past.waited.get_mut(&id)?, &past.global)));
    let Some((is_there, global)) = waited.filter(|_| is_fresh_enough) else {
        return stale(match round.cmp(&last_round) {
            Ordering::Less => format!(
                "stale: the update is for round {round}, the coordinator is in round {last_round}"
            ),
            _ => format!("too late: round {round} is closed"),
        });
    };
    if *is_there {
        return Err(Refusal::new(
            RefusalKind::Duplicate,
            format!("duplicate: client {id} has already sent its update for round {round}"),
        ));
    }
    if let Some(flaw) = Flaw::of(shared, id, &report, non_finite) {
        return Err(Refusal::new(RefusalKind::Impossible, flaw.reason));
    }
    let place = state
        .carry
        .late
        .binary_search_by_key(&id, |late| late.client);
    let newer = place.ok().and_then(|place| state.carry.late.get(place));
    if newer.is_some_and(|newer| newer.round > round) {
        return stale(format!(
            "stale: client {id} has sent an update for a round later than {round}"
        ));
    }
    *is_there = true;
    // What is frozen is in no update.
    let frozen = global.len() - report.parameters.len().min(global.len());
    let trained = global.get(frozen..).unwrap_or_default();
    let change = report.parameters.iter().zip(trained);
    let late = LateUpdate {
        client: id,
        round,
        sample_count: report.sample_count,
        change: change.map(|(after, before)| after - before).collect(),
    };
    match place {
        Ok(place) => {
            if let Some(older) = state.carry.late.get_mut(place) {
                *older = late;
            }
        }
        Err(place) => state.carry.late.insert(place, late),
    }
    shared.tell(Event::LateUpdate { client: id, round });
    Ok(Taken::Late)
}

/// What is wrong with an update.
struct Flaw {
    reason: String,
    /// Its numbers are not finite.
    has_diverged: bool,
}

impl Flaw {
    /// What is wrong with an update of client `id` whose first number that is
    /// not finite is `non_finite`.
    fn of(shared: &Shared, id: u32, report: &Report, non_finite: Option<usize>) -> Option<Self> {
        let task = &shared.options.plan.task;
        let needed = task.model.parameter_count() - task.model.frozen_parameter_count();
        // A person may send what every format can hold.
        let expected = payload::encoding(task.format);
        let has_diverged = !report.metrics.loss_last_epoch.is_finite();
        let sample_count = shared.shares.sample_count(id);
        let reason = if report.encoding != expected && report.encoding != Encoding::F32 {
            "the parameters are not encoded as the task says".to_owned()
        } else if report.parameters.len() != needed {
            format!(
                "misshapen: {} parameters, the model has {needed}",
                report.parameters.len()
            )
        } else if let Some(at) = non_finite {
            format!("parameter {at} of the update is not a finite number")
        } else if has_diverged {
            "the training diverged: its loss is not a finite number".to_owned()
        } else if report.sample_count == 0 || report.sample_count > sample_count {
            format!(
                "{} samples claimed, the client's share has {sample_count}",
                report.sample_count
            )
        } else {
            return None;
        };
        Some(Self {
            reason,
            has_diverged: report.parameters.len() == needed
                && (non_finite.is_some() || has_diverged),
        })
    }
}

/// The first value that is not finite.
pub(crate) fn first_non_finite(values: &[f32]) -> Option<usize> {
    // Without an exit in between, so that it is done many at a time.
    let all_finite = |values: &[f32]| {
        values
            .iter()
            .fold(true, |finite, value| finite & value.is_finite())
    };
    let mut start = 0;
    for piece in values.chunks(1024) {
        if !all_finite(piece) {
            let within = piece.iter().position(|value| !value.is_finite())?;
            return Some(start + within);
        }
        start += piece.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_finite_is_found() {
        for at in [0, 5, 1023, 1024, 2999] {
            for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![f32::MAX; 3000];
                values[at] = wrong;
                values[2999] = f32::NAN;
                assert_eq!(first_non_finite(&values), Some(at));
            }
        }
        assert_eq!(first_non_finite(&[f32::MIN; 2000]), None);
        assert_eq!(first_non_finite(&[]), None);
    }
}
