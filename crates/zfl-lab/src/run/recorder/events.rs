//! What the coordinator tells: written down, and shown.

use serde_json::json;
use zfl_server::{Event, LateRecord, Outcome, Quality, RoundRecord};

use super::Recorder;
use crate::data::saturate;
use crate::records::RecordError;
use crate::run::Progress;

impl Recorder {
    /// Takes in what the coordinator tells.
    pub(in crate::run) async fn take(&mut self, event: Event) -> Result<(), RecordError> {
        // What it may have come of, first.
        self.take_faults()?;
        match event {
            Event::Initial {
                quality,
                model_sha256,
            } => self.initial(quality, model_sha256)?,
            Event::ClientProvisioned { client } => self.client_provisioned(client)?,
            Event::RoundStarted { round, clients } => self.round_started(round, &clients)?,
            Event::ClientFinished {
                round,
                client,
                outcome,
                detail,
            } => self.client_finished(round, client, outcome, &detail)?,
            Event::Refused {
                client,
                kind,
                request,
                reason,
            } => {
                self.folder.event(
                    "request-refused",
                    &json!({ "client": client, "kind": kind, "request": request, "reason": reason }),
                )?;
            }
            Event::LateUpdate { client, round } => {
                self.folder
                    .event("late-update", &json!({ "client": client, "round": round }))?;
            }
            Event::ClientBack { client } => {
                self.folder
                    .event("client-back", &json!({ "client": client }))?;
            }
            Event::ClientLost { client, reason } => {
                self.folder.event(
                    "client-lost",
                    &json!({ "client": client, "reason": reason }),
                )?;
            }
            Event::RoundFailed {
                record,
                reason,
                carry,
                ..
            } => {
                self.round_failed(record, &reason, carry.is_some()).await?;
                // A run that ends here is resumed with this round.
                if let Some(carry) = carry {
                    self.keep(carry)?;
                }
            }
            Event::RoundCompleted {
                record,
                parameters,
                carry,
            } => {
                self.round_completed(record, &parameters).await?;
                self.keep(carry)?;
            }
        }
        Ok(())
    }

    /// The model before training.
    fn initial(&mut self, quality: Quality, model_sha256: String) -> Result<(), RecordError> {
        self.summary.set_quality(&quality);
        self.summary.initial_accuracy = self.summary.accuracy;
        self.summary.initial_rmse = self.summary.rmse;
        let mut event = quality_fields(&quality);
        event.insert("model_sha256".to_owned(), model_sha256.as_str().into());
        self.folder.event("initial-model", &event)?;
        self.summary.model_sha256 = model_sha256;
        self.show(Progress::Initial { quality });
        Ok(())
    }

    /// A client has its data.
    fn client_provisioned(&mut self, client: u32) -> Result<(), RecordError> {
        self.provisioned += 1;
        if self.provisioned == self.remote {
            self.all_ready();
        }
        self.folder
            .event("client-provisioned", &json!({ "client": client }))?;
        self.show(Progress::Provisioned {
            count: self.provisioned,
            of: self.remote,
        });
        Ok(())
    }

    fn round_started(&mut self, round: u32, clients: &[u32]) -> Result<(), RecordError> {
        self.round = round;
        if let Some(host) = &self.host {
            host.round_began(round);
        }
        self.folder.event(
            "round-started",
            &json!({ "round": round, "clients": clients }),
        )?;
        self.show(Progress::RoundStarted {
            round,
            clients: clients.len(),
        });
        Ok(())
    }

    /// A client's part in the round is decided.
    fn client_finished(
        &mut self,
        round: u32,
        client: u32,
        outcome: Outcome,
        detail: &str,
    ) -> Result<(), RecordError> {
        self.folder.event(
            "client-finished",
            &json!({ "round": round, "client": client, "outcome": outcome, "detail": detail }),
        )?;
        let ok = outcome == Outcome::Ok;
        self.show(Progress::ClientFinished { ok });
        if matches!(outcome, Outcome::Late | Outcome::Unreachable)
            && let Some(host) = &mut self.host
        {
            host.suspect(client, detail, &self.hangs);
        }
        if !ok && outcome != Outcome::Surplus {
            let outcome = outcome.name();
            self.show(Progress::Warning(format!(
                "round {round}: client {client} is {outcome}: {detail}"
            )));
        }
        Ok(())
    }

    async fn round_completed(
        &mut self,
        record: RoundRecord,
        parameters: &[f32],
    ) -> Result<(), RecordError> {
        // First: it counts frames, and those of the next round are on their way.
        self.write_round(&record, "completed").await?;
        self.folder
            .checkpoint(record.round, &self.model, parameters)?;
        let summary = &mut self.summary;
        summary.rounds += 1;
        summary.set_quality(&record.quality);
        if let (Some(target), Some(accuracy)) = (self.target_accuracy, record.quality.accuracy)
            && accuracy >= target
        {
            summary.target_accuracy_round = Some(record.round);
        }
        summary.model_sha256.clone_from(&record.model_sha256);
        summary.updates_ok += u64::from(saturate(record.ok_count()));
        summary.updates_failed += u64::from(saturate(record.failed_count()));
        summary.updates_late += u64::from(saturate(record.late.len()));
        for LateRecord {
            client,
            round,
            weight,
        } in &record.late
        {
            self.folder.event(
                "late-update-used",
                &json!({ "round": record.round, "client": client, "of_round": round, "weight": weight }),
            )?;
        }
        let mut event = quality_fields(&record.quality);
        event.insert("round".to_owned(), record.round.into());
        self.folder.event("round-completed", &event)?;
        self.show(Progress::RoundCompleted { record });
        Ok(())
    }

    /// The round has no new model, and none of its updates counts.
    async fn round_failed(
        &mut self,
        record: RoundRecord,
        reason: &str,
        goes_on: bool,
    ) -> Result<(), RecordError> {
        self.round = record.round;
        self.write_round(&record, "failed").await?;
        let summary = &mut self.summary;
        summary.rounds_failed += 1;
        summary.updates_failed += u64::from(saturate(record.clients.len()));
        self.folder.event(
            "round-failed",
            &json!({ "round": record.round, "reason": reason, "goes_on": goes_on }),
        )?;
        if goes_on {
            self.show(Progress::Warning(format!("{reason}; the run goes on")));
        }
        Ok(())
    }
}

/// How well a model does, for an event: what has no meaning is left out.
fn quality_fields(quality: &Quality) -> serde_json::Map<String, serde_json::Value> {
    let fields = [
        ("accuracy", quality.accuracy),
        ("loss", Some(quality.loss)),
        ("rmse", quality.fit.map(|fit| fit.rmse)),
        ("r_squared", quality.fit.and_then(|fit| fit.r_squared)),
    ];
    let fields = fields.into_iter();
    fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect()
}
