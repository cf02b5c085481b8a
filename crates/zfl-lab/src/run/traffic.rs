//! What passed between the network and each client's device in a round.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zfl_server::{ClientRecord, Outcome};

use crate::archive::{FleetRow, ReportRow, TrafficRow};
use crate::host::Meter;
use crate::traffic::{Reports, Seen, Wire};

/// What passed between the network and each client's device in a round.
pub(super) struct RoundTraffic(BTreeMap<u32, (TrafficRow, Option<Wire>)>);

impl RoundTraffic {
    /// What has passed from `seen` to `now`, from which the next round then
    /// counts, and not from when its beginning is heard of: that may be after
    /// its first frames.
    pub(super) fn take(now: BTreeMap<u32, Seen>, seen: &mut BTreeMap<u32, Seen>) -> Self {
        let devices = now.iter().map(|(client, now)| {
            let before = seen.get(client).copied().unwrap_or_default();
            (*client, (TrafficRow::between(&before, now), now.wire))
        });
        let traffic = Self(devices.collect());
        *seen = now;
        traffic
    }

    pub(super) fn row(&self, client: u32) -> TrafficRow {
        self.0.get(&client).map(|(row, _)| *row).unwrap_or_default()
    }

    fn wire(&self, client: u32) -> Option<&Wire> {
        self.0.get(&client)?.1.as_ref()
    }

    pub(super) fn sums(&self) -> FleetRow {
        FleetRow::of(self.0.values().map(|(row, _)| *row))
    }
}

/// What the meters of a fleet showed when each round was over: read by the
/// coordinator's thread, before the first frame of the next round.
#[derive(Clone, Default)]
pub(super) struct Readings(Arc<Mutex<ReadingsOf>>);

#[derive(Default)]
struct ReadingsOf {
    meter: Option<Meter>,
    /// By round.
    read: BTreeMap<u32, BTreeMap<u32, Seen>>,
}

impl Readings {
    fn of(&self) -> MutexGuard<'_, ReadingsOf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a fleet.
    pub(super) fn begin(&self, meter: Meter) {
        self.of().meter = Some(meter);
    }

    /// A round is over.
    pub(super) fn read(&self, round: u32) {
        let mut readings = self.of();
        if let Some(now) = readings.meter.as_ref().map(Meter::read) {
            readings.read.insert(round, now);
        }
    }

    /// What was read when the round was over; forgets it.
    pub(super) fn take(&self, round: u32) -> Option<BTreeMap<u32, Seen>> {
        self.of().read.remove(&round)
    }
}

/// What passed between a client's device and the network in a round, and
/// what the device itself says.
pub(super) fn client_traffic(
    reports: &mut BTreeMap<u32, Reports>,
    client: &ClientRecord,
    traffic: Option<&RoundTraffic>,
) -> (TrafficRow, ReportRow) {
    if client.is_local {
        // It has no network.
        return Default::default();
    }
    let device = &client.metrics.device;
    let has_told = client.outcome == Outcome::Ok;
    let reports = reports.entry(client.client).or_default();
    let passed = match traffic {
        Some(traffic) => traffic.row(client.client),
        None if has_told => TrafficRow::of_frames(&reports.frames(device)),
        None => TrafficRow::default(),
    };
    let wire = traffic.and_then(|traffic| traffic.wire(client.client));
    let told = match has_told {
        true => reports.add(device, wire),
        false => ReportRow::default(),
    };
    (passed, told)
}
