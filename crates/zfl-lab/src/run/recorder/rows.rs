//! The rows of a round: its own, and one for each of its clients.

use std::collections::BTreeSet;

use zfl_server::{ClientRecord, RoundRecord};

use super::Recorder;
use super::fleet::cpu_seconds;
use crate::archive::{ClientRow, RoundRow};
use crate::kind::{Effort, Estimate, Part};
use crate::records::RecordError;
use crate::run::EmulatorUsage;
use crate::run::traffic::{RoundTraffic, client_traffic};

impl Recorder {
    /// Writes the rows of a round.
    pub(super) async fn write_round(
        &mut self,
        record: &RoundRecord,
        outcome: &'static str,
    ) -> Result<(), RecordError> {
        let (mut qemu_cpu_seconds, mut traffic) = (None, None);
        if let Some(host) = &self.host {
            let now = self.readings.take(record.round);
            let now = now.unwrap_or_else(|| host.meter().read());
            traffic = Some(RoundTraffic::take(now, &mut self.seen));
            // The memory of those alone that took part: that of a thousand
            // takes seconds to sample.
            let took_part: BTreeSet<u32> =
                record.clients.iter().map(|client| client.client).collect();
            let now = cpu_seconds(&host.usage(|client| took_part.contains(&client)).await);
            qemu_cpu_seconds = Some(now - self.cpu_seconds);
            self.cpu_seconds_rounds += now - self.cpu_seconds;
            self.cpu_seconds = now;
            // All of the round: a sample comes after what was said before.
            self.take_device_events()?;
            self.summary.emulators = Some(EmulatorUsage {
                cpu_seconds: self.used_before.cpu_seconds + now,
                cpu_seconds_rounds: self.cpu_seconds_rounds,
                ..self.used_before.clone()
            });
        }
        let row = RoundRow {
            round: record.round,
            accuracy: record.quality.accuracy,
            loss: record.quality.loss,
            rmse: record.quality.fit.map(|fit| fit.rmse),
            r_squared: record.quality.fit.and_then(|fit| fit.r_squared),
            clients_selected: record.clients.len(),
            clients_ok: record.ok_count(),
            faults: self.faults.count(record.round),
            outcome,
            late_updates: record.late.len(),
            bytes_down: record.bytes_down(),
            bytes_up: record.bytes_up(),
            host_seconds: record.host_seconds,
            qemu_cpu_seconds,
            model_sha256: &record.model_sha256,
        };
        let fleet = traffic.as_ref().map(RoundTraffic::sums).unwrap_or_default();
        // In this order, so that whoever reads of a round can read of its clients.
        self.write_clients(record.round, &record.clients, traffic.as_ref())?;
        self.folder.round(&row, &fleet)?;
        let summary = &mut self.summary;
        summary.rounds_host_seconds += record.host_seconds;
        summary.bytes_down += record.bytes_down();
        summary.bytes_up += record.bytes_up();
        let largest = record.clients.iter().map(|client| client.bytes_up).max();
        summary.update_bytes = summary.update_bytes.max(largest.unwrap_or(0));
        Ok(())
    }

    /// Writes the clients' rows of a round. `traffic` where the network is a
    /// local one.
    fn write_clients(
        &mut self,
        round: u32,
        clients: &[ClientRecord],
        traffic: Option<&RoundTraffic>,
    ) -> Result<(), RecordError> {
        let faults = self.close_faults(round, clients)?;
        let mut rows = Vec::new();
        for (client, faults) in clients.iter().zip(faults) {
            let (passed, told) = client_traffic(&mut self.reports, client, traffic);
            let of_client = |part: &&Part| part.clients.contains(&client.client);
            let part = self.parts.iter().find(of_client);
            let device = &client.metrics.device;
            let effort = Effort {
                instructions: device
                    .training_instructions
                    .saturating_add(device.other_instructions),
                samples: client.sample_count,
                epochs: self.epochs,
                bytes_sent: passed.bytes_out().max(client.bytes_up),
                bytes_received: passed.bytes_in().max(client.bytes_down),
            };
            let estimate = part.and_then(|part| part.estimate(&effort, self.cycles));
            let row = ClientRow {
                faults,
                ..client_row(round, client, part, estimate, self.has_classes)
            };
            rows.push((row, passed, told));
        }
        self.folder.clients(rows)
    }
}

/// What was counted; `None` where nothing was.
fn counted(instructions: u64) -> Option<u64> {
    (instructions > 0).then_some(instructions)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a training")]
fn client_row<'c>(
    round: u32,
    client: &'c ClientRecord,
    part: Option<&'c Part>,
    estimate: Option<Estimate>,
    has_classes: bool,
) -> ClientRow<'c> {
    let metrics = &client.metrics;
    ClientRow {
        round,
        client: client.client,
        board: &client.board,
        outcome: client.outcome.name(),
        samples: client.sample_count,
        train_loss: metrics.loss_last_epoch,
        train_accuracy: has_classes.then_some(metrics.accuracy_last_epoch),
        host_seconds: client.host_seconds,
        device_clock_seconds: metrics.device.training_us as f64 / 1e6,
        instructions_training: counted(metrics.device.training_instructions),
        instructions_other: counted(metrics.device.other_instructions),
        mcu: part.and_then(|part| Some(part.mcu.as_ref()?.name.as_str())),
        device_seconds: estimate.map(|estimate| estimate.device_seconds),
        energy_mj: estimate.map(|estimate| estimate.energy_joules * 1e3),
        device_basis: estimate.map(|estimate| estimate.basis),
        bytes_down: client.bytes_down,
        bytes_up: client.bytes_up,
        stack_peak_bytes: metrics.device.stack_peak_bytes,
        arena_peak_bytes: metrics.device.arena_peak_bytes,
        flash_bytes: part.and_then(|part| part.flash_bytes),
        faults: String::new(),
        detail: &client.detail,
    }
}
