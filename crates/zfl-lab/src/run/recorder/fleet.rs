//! What becomes of the devices, and what they and their emulators use.

use serde_json::json;
use zfl_machine::FleetProgress;
use zfl_machine::console::{ConsoleEvent, DeviceEvent};
use zfl_machine::usage::Usage;
use zfl_net::CaptureReport;

use super::Recorder;
use crate::archive::DeviceRow;
use crate::data::saturate;
use crate::faults::device;
use crate::host::FleetHost;
use crate::records::RecordError;
use crate::run::traffic::RoundTraffic;
use crate::run::{DeviceCounts, DeviceFailure, EmulatorUsage, Progress};

/// So many failures of devices are in the summary; all are among the events.
const FAILURES_MAX: usize = 100;

/// Host time since the run began at which a device said something.
#[derive(Clone, Copy, Default)]
pub(super) struct Started {
    /// That its firmware runs.
    boot: Option<f64>,
    /// That it has its data.
    ready: Option<f64>,
}

impl Recorder {
    /// Every device is ready or has ended, and no round has begun: from here on
    /// frames and processor time belong to the first.
    pub(in crate::run) async fn hosting(&mut self, host: FleetHost) -> Result<(), RecordError> {
        let meter = host.meter();
        let traffic = RoundTraffic::take(meter.read(), &mut self.seen);
        self.readings.begin(meter);
        let rows = (0u32..)
            .zip(host.devices())
            .map(|(device, (client, board))| {
                let started = self.started.get(&device).copied().unwrap_or_default();
                let row = DeviceRow {
                    after_round: self.round,
                    device,
                    client,
                    board,
                    boot_host_seconds: started.boot,
                    ready_host_seconds: started.ready,
                };
                (row, traffic.row(client))
            });
        self.folder.devices(rows)?;
        self.cpu_seconds = cpu_seconds(&host.usage(|_| false).await);
        self.host = Some(host);
        Ok(())
    }

    /// No more frames are captured; the run goes on.
    pub(in crate::run) fn capture_ended(&mut self, reason: &str) -> Result<(), RecordError> {
        self.show(Progress::Warning(format!(
            "{reason}: no more frames are captured"
        )));
        self.folder
            .event("capture-ended", &json!({ "reason": reason }))
    }

    /// All frames that were captured are in their files.
    pub(super) fn captured(&mut self, report: &CaptureReport) -> Result<(), RecordError> {
        let CaptureReport {
            frames,
            left_out_frames,
            bytes,
        } = report;
        if *left_out_frames > 0 {
            self.show(Progress::Warning(format!(
                "{left_out_frames} frames are not in the capture, which could not keep up"
            )));
        }
        self.folder.event(
            "captured",
            &json!({ "frames": frames, "left_out_frames": left_out_frames, "bytes": bytes }),
        )
    }

    /// A device that was late hangs.
    pub(in crate::run) fn hung(&mut self, client: u32, reason: String) -> Result<(), RecordError> {
        self.folder.event(
            "device-hung",
            &json!({ "client": client, "reason": reason }),
        )?;
        self.failed(client, reason);
        Ok(())
    }

    /// A device crashed, hung or ended otherwise.
    pub(in crate::run) fn failed(&mut self, client: u32, reason: String) {
        if self.summary.failures.len() < FAILURES_MAX {
            let reason = reason.clone();
            self.summary.failures.push(DeviceFailure { client, reason });
        }
        self.warn(client, reason);
    }

    /// Takes in what the devices have said.
    pub(in crate::run) fn take_device_events(&mut self) -> Result<(), RecordError> {
        while let Ok(event) = self.device_events.try_recv() {
            self.device_event(&event)?;
        }
        Ok(())
    }

    /// A device has said that it goes wrong.
    fn device_injected(&self, device: u32, round: u32, word: &str) {
        let client = self.host.as_ref().and_then(|host| {
            let device = usize::try_from(device).ok()?;
            host.clients().get(device).copied()
        });
        let fault = client.and_then(|client| {
            let fault = device::announced(self.injector.plan(), client, round, word)?;
            Some((client, fault.kind()))
        });
        if let Some((client, kind)) = fault {
            self.injector.tell(round, client, kind);
        }
    }

    /// A device has said something.
    pub(in crate::run) fn device_event(&mut self, event: &DeviceEvent) -> Result<(), RecordError> {
        let at = self.folder.host_seconds_at(event.host_time);
        let started = self.started.entry(event.device).or_default();
        match &event.event {
            ConsoleEvent::Boot { .. } => started.boot = Some(at),
            ConsoleEvent::Ready { .. } => started.ready = Some(at),
            _ => {}
        }
        let (name, text) = match &event.event {
            ConsoleEvent::Boot {
                board,
                version,
                arena_bytes,
            } => (
                "device-boot",
                format!("board {board}, firmware {version}, arena {arena_bytes} bytes"),
            ),
            ConsoleEvent::Ready { sample_count, .. } => {
                ("device-ready", format!("{sample_count} samples"))
            }
            ConsoleEvent::Failed(text) => {
                let device = event.device;
                self.show(Progress::Warning(format!("device {device}: {text}")));
                ("device-failed", text.clone())
            }
            ConsoleEvent::Injected { round, kind } => {
                self.device_injected(event.device, round.0, kind);
                return self.take_faults();
            }
            ConsoleEvent::Panic(text) => ("device-panic", text.clone()),
            ConsoleEvent::Fault(text) => ("device-fault", text.clone()),
            // The coordinator tells these itself.
            _ => return Ok(()),
        };
        self.folder
            .event(name, &json!({ "device": event.device, "text": text }))
    }

    /// Ends when what was found wrong with devices is told.
    pub(in crate::run) async fn settle(&mut self) {
        if let Some(host) = &mut self.host {
            host.settle().await;
        }
    }

    /// What has become of the devices.
    pub(in crate::run) fn devices_are(&mut self, progress: FleetProgress) {
        let counts = DeviceCounts::new(&progress, self.summary.misfits.len());
        self.summary.devices = (counts.fleet > 0).then_some(counts);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn emulators(&self, usage: &[Usage]) -> EmulatorUsage {
        let pss: Vec<u64> = usage.iter().map(|usage| usage.pss_bytes_max).collect();
        let updates = self.summary.updates_ok.max(1) as f64;
        EmulatorUsage {
            cpu_seconds: self.used_before.cpu_seconds + cpu_seconds(usage),
            cpu_seconds_rounds: self.cpu_seconds_rounds,
            cpu_seconds_per_update: self.cpu_seconds_rounds / updates,
            pss_bytes_mean: pss.iter().sum::<u64>() / u64::from(saturate(pss.len()).max(1)),
            pss_bytes_max: pss.iter().max().copied().unwrap_or(0),
            pss_bytes_sum: pss.iter().sum(),
        }
    }
}

/// Processor time of all.
pub(super) fn cpu_seconds(usage: &[Usage]) -> f64 {
    usage.iter().map(Usage::cpu_seconds).sum()
}
