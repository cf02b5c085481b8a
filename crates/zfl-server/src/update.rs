//! Updates: decoded, checked and taken into the open round, however they came.

use std::cmp::Ordering;

use axum::http::StatusCode;
use zfl_proto::ClientId;
use zfl_proto::message::{Checksum, Encoding, Metrics, Prefix, UpdateHeader};

use crate::coordinator::Shared;
use crate::payload;
use crate::registry::{Decision, Failure};
use crate::strategy::Update;
use crate::{Event, Outcome};

/// Why a request is refused.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: impl ToString) -> Self {
        Self {
            status,
            reason: reason.to_string(),
        }
    }
}

/// An update, from either form.
#[derive(Clone)]
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
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))
}

/// Reads a binary update of client `id`.
pub(crate) fn decode(id: u32, header_bytes: &[u8], payload: &[u8]) -> Result<Report, Refusal> {
    let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let header = UpdateHeader::decode(header_bytes).map_err(|error| bad(error.to_string()))?;
    if header.client != ClientId(id) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
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

/// Takes an update into the open round.
pub(crate) fn take(shared: &Shared, id: u32, report: Report) -> Result<(), Refusal> {
    let unprocessable = |reason: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason);
    let conflict = |reason: String| Refusal::new(StatusCode::CONFLICT, reason);
    let task = &shared.options.plan.task;
    let needed = task.model.parameter_count() - task.model.frozen_parameter_count();
    // A person may send what every format can hold.
    let expected = payload::encoding(task.format);
    let has_diverged = !report.metrics.loss_last_epoch.is_finite();
    let round = report.round;
    // Outside the lock: a large model has many.
    let non_finite = first_non_finite(&report.parameters);
    let is_waited_for;
    {
        let mut state = shared.state();
        let last_round = state.last_round;
        let is_local = state.local.contains(id);
        let Some(open) = state.open(round) else {
            return Err(conflict(match round.cmp(&last_round) {
                Ordering::Less => format!(
                    "stale: the update is for round {round}, the coordinator is in round \
                     {last_round}"
                ),
                Ordering::Equal => format!("too late: round {round} is closed"),
                Ordering::Greater => format!(
                    "too early: the update is for round {round}, the coordinator is in round \
                     {last_round}"
                ),
            }));
        };
        let Some(slot) = open.slots.get(&id) else {
            return Err(conflict(format!(
                "client {id} is not part of round {round}"
            )));
        };
        if slot.is_ok() {
            return Err(conflict(format!(
                "duplicate: client {id} has already sent its update for round {round}"
            )));
        }
        if slot.started.is_none() {
            return Err(conflict(format!(
                "client {id} was not started in round {round}"
            )));
        }
        let sample_count = shared.shares.sample_count(id);
        let reason = if report.encoding != expected && report.encoding != Encoding::F32 {
            Some("the parameters are not encoded as the task says".to_owned())
        } else if report.parameters.len() != needed {
            Some(format!(
                "misshapen: {} parameters, the model has {needed}",
                report.parameters.len()
            ))
        } else if let Some(at) = non_finite {
            Some(format!(
                "parameter {at} of the update is not a finite number"
            ))
        } else if has_diverged {
            Some("the training diverged: its loss is not a finite number".to_owned())
        } else if report.sample_count == 0 || report.sample_count > sample_count {
            Some(format!(
                "{} samples claimed, the client's share has {sample_count}",
                report.sample_count
            ))
        } else {
            None
        };
        if let Some(reason) = reason {
            drop(state);
            // The round need not wait for the deadline; a better update that
            // comes in time still counts.
            let failure = Failure {
                outcome: Outcome::Rejected,
                detail: reason.clone(),
                diverged: report.parameters.len() == needed
                    && (non_finite.is_some() || has_diverged),
            };
            shared.fail_as(round, id, failure);
            return Err(unprocessable(reason));
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
                parameters: report.parameters,
            }),
        };
        open.decide(id, decision);
        let has_frozen = open.payload.has_frozen();
        // For a local client only the round waits.
        is_waited_for = !is_local || open.undecided == 0;
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
    Ok(())
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
