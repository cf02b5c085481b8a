//! Makes devices go wrong as the plan says.
//!
//! Each device is told ahead, by the console's `fault` command, what is to go
//! wrong with it in the next rounds: the plan is known, and a device has room
//! for a few. Most of it the device does itself. When it announces that it
//! stands still in its training, its machine is ended, frozen, or ended and
//! booted again; when its training begins and it says so, its link is taken
//! down for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zfl_machine::Fleet;
use zfl_machine::MachineError;
use zfl_machine::console::{ConsoleEvent, DeviceEvent};
use zfl_proto::console::FAULTS_MAX;

use crate::faults::{Fault, Injector, device};
use crate::host::Wire;

/// So many rounds ahead is looked for what goes wrong.
const ROUNDS_AHEAD: u32 = 64;

/// So long is tried to type to a device that others type to.
const TYPING_DEADLINE: Duration = Duration::from_secs(20);
/// How often.
const BUSY_PERIOD: Duration = Duration::from_millis(20);

/// What the faults of devices take.
pub(crate) struct Director {
    injector: Injector,
    /// By device.
    clients: Vec<u32>,
    fleet: Arc<Fleet>,
    wire: Arc<Wire>,
    /// What each device was told.
    told: Vec<Told>,
    /// Faults that take their time.
    lasting: JoinSet<Ended>,
}

/// What a device knows.
#[derive(Clone, Default)]
struct Told {
    /// The rounds of the faults that it was told, each as often as there are.
    rounds: VecDeque<u32>,
    /// Up to here, exclusively.
    until: u32,
}

impl Told {
    /// Of a device that is gone, or for the moment: nobody tells it anything.
    const fn gone() -> Self {
        Self {
            rounds: VecDeque::new(),
            until: u32::MAX,
        }
    }
}

/// A fault that took its time is over.
enum Ended {
    /// The device has begun anew.
    Reboot(usize),
    Other,
}

impl Director {
    /// A director of devices that know of nothing yet.
    pub(crate) fn new(
        injector: Injector,
        clients: Vec<u32>,
        fleet: Arc<Fleet>,
        wire: Arc<Wire>,
    ) -> Self {
        Self {
            injector,
            told: vec![Told::default(); clients.len()],
            clients,
            fleet,
            wire,
            lasting: JoinSet::new(),
        }
    }

    /// Tells every device what goes wrong with it from `round` on.
    pub(crate) async fn tell_all(&mut self, round: u32) {
        let mut typing = JoinSet::new();
        for device in 0..self.clients.len() {
            if let Some(lines) = self.lines(device, round) {
                typing.spawn(type_lines(Arc::clone(&self.fleet), device, lines));
            }
        }
        while typing.join_next().await.is_some() {}
    }

    /// Directs until it is dropped, and with it every fault that lasts.
    pub(crate) async fn direct(
        mut self,
        mut events: broadcast::Receiver<DeviceEvent>,
        mut rounds: watch::Receiver<u32>,
    ) {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.take(&event).await,
                    // A fault that is overlooked is told by the records.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                changed = rounds.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let round = *rounds.borrow_and_update();
                    self.tell_all(round).await;
                }
                Some(ended) = self.lasting.join_next() => {
                    if let Ok(Ended::Reboot(device)) = ended {
                        // It knows nothing any more; its round is lost.
                        self.set_told(device, Told::default());
                        let next = rounds.borrow().saturating_add(1);
                        if let Some(lines) = self.lines(device, next) {
                            type_lines(Arc::clone(&self.fleet), device, lines).await;
                        }
                    }
                }
            }
        }
    }

    fn set_told(&mut self, device: usize, told: Told) {
        if let Some(place) = self.told.get_mut(device) {
            *place = told;
        }
    }

    /// What to type to a device that is in `round`; `None` where it knows
    /// enough.
    fn lines(&mut self, device: usize, round: u32) -> Option<Vec<String>> {
        let client = *self.clients.get(device)?;
        let told = self.told.get_mut(device)?;
        while told.rounds.front().is_some_and(|first| *first < round) {
            told.rounds.pop_front();
        }
        let room = FAULTS_MAX.saturating_sub(told.rounds.len());
        let from = told.until.max(round);
        let end = round.saturating_add(ROUNDS_AHEAD);
        let (ahead, until) = device::ahead(self.injector.plan(), client, (from, end), room);
        told.until = until;
        let mut lines = Vec::new();
        for (round, faults) in ahead {
            for fault in &faults {
                told.rounds.push_back(round);
                lines.push(format!("fault {round} {}", device::command(fault)));
            }
        }
        (!lines.is_empty()).then_some(lines)
    }

    async fn take(&mut self, event: &DeviceEvent) {
        let ConsoleEvent::Injected { round, kind } = &event.event else {
            return;
        };
        let device = usize::try_from(event.device).unwrap_or(usize::MAX);
        let Some(client) = self.clients.get(device).copied() else {
            return;
        };
        let fault = device::announced(self.injector.plan(), client, round.0, kind);
        let Some(machine) = self.fleet.machine(device) else {
            return;
        };
        match fault {
            Some(Fault::Crash) => {
                self.set_told(device, Told::gone());
                machine.kill().await;
                self.wire.detach(device);
            }
            Some(Fault::Hang) => {
                self.set_told(device, Told::gone());
                machine.freeze().await;
            }
            Some(Fault::Reboot { after, .. }) => {
                self.set_told(device, Told::gone());
                machine.kill().await;
                self.wire.detach(device);
                let (fleet, wire) = (Arc::clone(&self.fleet), Arc::clone(&self.wire));
                self.lasting.spawn(reboot(fleet, wire, device, after));
            }
            Some(Fault::BrownOut(outage)) => {
                let wire = Arc::clone(&self.wire);
                wire.set_link(device, false);
                self.lasting.spawn(async move {
                    tokio::time::sleep(outage).await;
                    wire.set_link(device, true);
                    Ended::Other
                });
            }
            // The device does it itself.
            _ => {}
        }
    }
}

async fn reboot(fleet: Arc<Fleet>, wire: Arc<Wire>, device: usize, after: Duration) -> Ended {
    tokio::time::sleep(after).await;
    // One that cannot be had again is lost, and the coordinator knows that.
    if let Some(nic) = wire.attach(device)
        && fleet.restart(device, nic).await.is_ok()
    {
        return Ended::Reboot(device);
    }
    Ended::Other
}

/// Types one line after another, until the device answers no more: it has ended
/// then, or stands still. Others type there, too.
async fn type_lines(fleet: Arc<Fleet>, device: usize, lines: Vec<String>) {
    let Some(machine) = fleet.machine(device) else {
        return;
    };
    let until = Instant::now() + TYPING_DEADLINE;
    for line in lines {
        loop {
            match machine.command(&line).await {
                Ok(_) => break,
                Err(MachineError::Busy { .. }) if Instant::now() < until => {
                    tokio::time::sleep(BUSY_PERIOD).await;
                }
                Err(_) => return,
            }
        }
    }
}
