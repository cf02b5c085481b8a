//! Many machines: started in waves, watched together, stopped together.
//!
//! Only so many machines are on their way from launch to ready at a time: a
//! machine's deadlines count from its launch, and it must not miss them for
//! want of the processors that a thousand others start on.
//!
//! A device that fails does not stop the others: it stays in the fleet with
//! its final state, and whoever runs the fleet decides. Only what would fail
//! for every device (no emulator, too few descriptors) is an error of the
//! fleet. A device that has ended can be started again ([`Fleet::restart`]):
//! it begins as it began, with an empty memory unless it has one that outlives
//! its machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use zfl_proto::console::RunOptions;

use crate::console::DeviceEvent;
use crate::launch::{LaunchError, Launcher, find_program};
use crate::limits::{DESCRIPTORS_PER_MACHINE, DESCRIPTORS_RESERVED, RoomError, ensure_room};
use crate::machine::{Machine, MachineError, MachineReport, MachineSpec, MachineState, Nic};
use crate::usage::Usage;

/// A machine to boot, and what to type when it has.
#[derive(Debug)]
pub struct FleetMember {
    /// The machine.
    pub machine: MachineSpec,
    /// Its end of the network.
    pub nic: Nic,
    /// What it is told at its prompt; `None` leaves it there.
    pub run: Option<RunOptions>,
}

/// How a fleet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// So many machines start at once, from launch to ready (to the prompt,
    /// where nothing is typed). The time of a machine that waits its turn does
    /// not count against its deadlines.
    pub starting_max: usize,
    /// Open files that the caller needs for each device, besides the
    /// machine's own: sockets of the network, and memory that outlives it.
    pub descriptors_per_device: u64,
}

impl FleetSettings {
    /// How many files a fleet of `count` devices has open. Whoever opens
    /// sockets for it before it boots should ask for them first
    /// ([`ensure_room`]).
    pub const fn descriptors_needed(&self, count: usize) -> u64 {
        DESCRIPTORS_RESERVED
            + count as u64 * (DESCRIPTORS_PER_MACHINE + self.descriptors_per_device)
    }
}

impl Default for FleetSettings {
    /// Four machines for each processor start at once.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            starting_max: 4 * processors,
            descriptors_per_device: 8,
        }
    }
}

/// How many machines of a fleet are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetProgress {
    /// Wait for their turn to boot.
    pub waiting: usize,
    /// As [`MachineState::Booting`].
    pub booting: usize,
    /// As [`MachineState::Prompt`].
    pub prompt: usize,
    /// As [`MachineState::Running`], and not ready before.
    pub running: usize,
    /// As [`MachineState::Ready`], or have been and go on: they train.
    pub ready: usize,
    /// As [`MachineState::Crashed`].
    pub crashed: usize,
    /// As [`MachineState::Hung`].
    pub hung: usize,
    /// As [`MachineState::Exited`].
    pub exited: usize,
}

impl FleetProgress {
    /// Machines that have ended.
    pub const fn ended(&self) -> usize {
        self.crashed + self.hung + self.exited
    }

    /// All machines of the fleet.
    pub const fn count(&self) -> usize {
        self.waiting + self.booting + self.prompt + self.running + self.ready + self.ended()
    }

    fn of(&mut self, part: Part) -> &mut usize {
        match part {
            Part::Waiting => &mut self.waiting,
            Part::Booting => &mut self.booting,
            Part::Prompt => &mut self.prompt,
            Part::Running => &mut self.running,
            Part::Ready => &mut self.ready,
            Part::Crashed => &mut self.crashed,
            Part::Hung => &mut self.hung,
            Part::Exited => &mut self.exited,
        }
    }
}

/// Where a machine is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Waiting,
    Booting,
    Prompt,
    Running,
    Ready,
    Crashed,
    Hung,
    Exited,
}

impl Part {
    /// Where a machine in this state is counted that was in `before`.
    fn next(before: Self, state: &MachineState) -> Self {
        match state {
            MachineState::Booting => Self::Booting,
            MachineState::Prompt => Self::Prompt,
            MachineState::Running(_) if before == Self::Ready => Self::Ready,
            MachineState::Running(_) => Self::Running,
            MachineState::Ready => Self::Ready,
            MachineState::Crashed(_) => Self::Crashed,
            MachineState::Hung(_) => Self::Hung,
            MachineState::Exited(_) => Self::Exited,
        }
    }
}

/// Why a fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The host has too little of something.
    #[error("failed to start {count} devices: {source}")]
    Room {
        /// The size of the fleet.
        count: usize,
        /// Of what.
        source: RoomError,
    },
    /// An emulator is missing.
    #[error(transparent)]
    Emulator(#[from] LaunchError),
    /// A machine could not be started, or refuses to run; the others are
    /// stopped.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A task of the fleet ended before its time, as in a shutdown.
    #[error("failed to start the fleet: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A member of the fleet, and the machine that it is at the moment.
#[derive(Debug)]
struct Place {
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    machine: Arc<Machine>,
    /// Keeps its count; gives where it left it. `None` while it is started.
    follower: Option<JoinHandle<Part>>,
    /// How to start it again; `None` while that is being done.
    again: Option<Again>,
    /// What the machines before it used.
    before: Usage,
}

/// How to start a member again.
#[derive(Debug)]
struct Again {
    machine: MachineSpec,
    run: Option<RunOptions>,
}

impl Place {
    /// Nothing is half-changed where the lock is held.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells of the machines.
#[derive(Clone, Debug)]
struct Listeners {
    events: broadcast::Sender<DeviceEvent>,
    progress: watch::Sender<FleetProgress>,
    ends: mpsc::UnboundedSender<(usize, MachineState)>,
}

/// The machines of a run. They are killed when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    places: Vec<Place>,
    launcher: Launcher,
    listeners: Listeners,
}

impl Fleet {
    /// Boots machines, and types to each its `run` line. Returns when each is
    /// ready (at its prompt, where nothing is typed) or has ended; the machines
    /// are in the order of `members`.
    ///
    /// `progress`, which is this fleet's alone, always has the number of machines
    /// in each state, and `ends`
    /// is told of each that has ended by its place among the members, both also
    /// afterwards.
    ///
    /// # Errors
    /// What fails for every device, or a machine that could not even be
    /// started or refuses to `run`. A device that crashes, hangs or exits is
    /// no error.
    pub async fn boot(
        launcher: &Launcher,
        members: Vec<FleetMember>,
        settings: FleetSettings,
        events: &broadcast::Sender<DeviceEvent>,
        progress: &watch::Sender<FleetProgress>,
        ends: &mpsc::UnboundedSender<(usize, MachineState)>,
    ) -> Result<Self, FleetError> {
        let count = members.len();
        progress.send_replace(FleetProgress {
            waiting: count,
            ..FleetProgress::default()
        });
        ensure_room(count, settings.descriptors_needed(count))
            .map_err(|source| FleetError::Room { count, source })?;
        // One clear error before anything starts, and not one for each device.
        let emulators: BTreeSet<&Path> = members
            .iter()
            .map(|member| member.machine.board.qemu.binary.as_path())
            .collect();
        for emulator in emulators {
            find_program(emulator)?;
        }

        let turns = Arc::new(Semaphore::new(settings.starting_max.max(1)));
        let listeners = Listeners {
            events: events.clone(),
            progress: progress.clone(),
            ends: ends.clone(),
        };
        let mut booting = JoinSet::new();
        for (index, member) in members.into_iter().enumerate() {
            let (launcher, listeners) = (launcher.clone(), listeners.clone());
            let turns = Arc::clone(&turns);
            booting.spawn(async move {
                // The semaphore is never closed; if it were, all would start
                // at once.
                let turn = turns.acquire_owned().await.ok();
                let again = Again {
                    machine: member.machine.clone(),
                    run: member.run,
                };
                let start = Start {
                    place: index,
                    turn,
                    counted: Part::Waiting,
                };
                let (now, outcome) = start.boot(&launcher, member, &listeners).await?;
                match outcome {
                    // It would never be ready, and no other either.
                    Err(error) if !now.machine.state().is_final() => Err(error),
                    // How it ended is its state.
                    Ok(()) | Err(_) => {
                        let again = Some(again);
                        Ok((index, Now { again, ..now }))
                    }
                }
            });
        }
        let mut places = Vec::with_capacity(count);
        while let Some(booted) = booting.join_next().await {
            // On an error the others are dropped, and so killed.
            places.push(booted??);
        }
        places.sort_by_key(|(index, ..)| *index);
        let place = |(_, now)| Place {
            now: Mutex::new(now),
        };
        Ok(Self {
            places: places.into_iter().map(place).collect(),
            launcher: launcher.clone(),
            listeners,
        })
    }

    /// The machines, in the order they were given.
    pub fn machines(&self) -> Vec<Arc<Machine>> {
        let machine = |place: &Place| Arc::clone(&place.now().machine);
        self.places.iter().map(machine).collect()
    }

    /// The machine of one member.
    pub fn machine(&self, place: usize) -> Option<Arc<Machine>> {
        Some(Arc::clone(&self.places.get(place)?.now().machine))
    }

    /// Starts a member again whose machine has ended, on another end of its
    /// network: the same machine with the same address and the same secret, whose
    /// memory is empty but for [`MachineSpec::ram`]. Waits until it is ready, or has ended again.
    ///
    /// # Errors
    /// [`MachineError::Busy`] where its machine runs, or is being started; how
    /// it ended, if it does.
    pub async fn restart(&self, place: usize, nic: Nic) -> Result<(), MachineError> {
        let device = u32::try_from(place).unwrap_or(u32::MAX);
        let busy = || MachineError::Busy {
            device,
            command: "its machine".to_owned(),
        };
        let member = self.places.get(place).ok_or_else(busy)?;
        let ended = self.machine(place).ok_or_else(busy)?;
        if !ended.state().is_final() {
            return Err(busy());
        }
        let report = ended.ended().await?;
        let (again, follower) = {
            let mut now = member.now();
            (now.again.take(), now.follower.take())
        };
        let (mut again, follower) = again.zip(follower).ok_or_else(busy)?;
        // It counts the end of the one before.
        let counted = follower
            .await
            .map_err(|_| MachineError::NoSupervisor { device })?;
        again.machine.restarts += 1;
        let spec = FleetMember {
            machine: again.machine.clone(),
            nic,
            run: again.run,
        };
        let start = Start {
            place,
            turn: None,
            counted,
        };
        let (started, outcome) = start.boot(&self.launcher, spec, &self.listeners).await?;
        let mut now = member.now();
        *now = Now {
            again: Some(again),
            before: now.before.and(&report.usage),
            ..started
        };
        outcome
    }

    /// What each machine uses, and those before it used, in their order. Samples
    /// the memory of those that `is_sampled` chooses by their place: it takes the
    /// kernel a millisecond or more for each.
    pub async fn usage(&self, is_sampled: impl Fn(usize) -> bool) -> Vec<Usage> {
        let mut usage = Vec::with_capacity(self.places.len());
        for (index, place) in self.places.iter().enumerate() {
            let (machine, before) = {
                let now = place.now();
                (Arc::clone(&now.machine), now.before)
            };
            let used = match is_sampled(index) {
                true => machine.usage().await,
                false => machine.processor_time().await,
            };
            usage.push(before.and(&used));
        }
        usage
    }

    /// Stops all machines and waits until their processes are gone; see
    /// [`Machine::stop`]. The reports are in the order of the machines; what
    /// the machines before them used is in theirs.
    ///
    /// # Errors
    /// If the event loop shuts down meanwhile.
    pub async fn stop(&self) -> Result<Vec<MachineReport>, MachineError> {
        let machines = self.machines();
        for machine in &machines {
            machine.request_stop().await;
        }
        let mut reports = Vec::with_capacity(machines.len());
        for (machine, place) in machines.iter().zip(&self.places) {
            let report = machine.ended().await?;
            let usage = place.now().before.and(&report.usage);
            reports.push(MachineReport { usage, ..report });
        }
        Ok(reports)
    }
}

/// One start of a member.
struct Start {
    place: usize,
    turn: Option<OwnedSemaphorePermit>,
    /// Where the member is counted before.
    counted: Part,
}

impl Start {
    /// Boots a machine, tells it to run, and waits until it is ready; what it
    /// is now, and what it ended with instead.
    async fn boot(
        self,
        launcher: &Launcher,
        member: FleetMember,
        listeners: &Listeners,
    ) -> Result<(Now, Result<(), MachineError>), MachineError> {
        let events = listeners.events.clone();
        let machine = Machine::boot(launcher, member.machine, member.nic, events).await?;
        let follower = Follower {
            place: self.place,
            turn: self.turn,
            is_run: member.run.is_some(),
            progress: listeners.progress.clone(),
            ends: listeners.ends.clone(),
        };
        // Ends with the machine.
        let follower = tokio::spawn(follower.follow(machine.watch(), self.counted));
        let mut outcome = machine.wait_prompt().await;
        if outcome.is_ok()
            && let Some(options) = member.run
        {
            outcome = machine.run(&options).await;
            if outcome.is_ok() {
                outcome = machine.wait_ready().await;
            }
        }
        let now = Now {
            machine: Arc::new(machine),
            follower: Some(follower),
            again: None,
            before: Usage::default(),
        };
        Ok((now, outcome))
    }
}

/// Keeps one machine's part of the progress right until it has ended, and tells
/// that. Gives where it is counted then.
struct Follower {
    place: usize,
    /// Given back once the machine no longer starts, and is counted so: no more
    /// than allowed are ever counted as starting.
    turn: Option<OwnedSemaphorePermit>,
    is_run: bool,
    progress: watch::Sender<FleetProgress>,
    ends: mpsc::UnboundedSender<(usize, MachineState)>,
}

impl Follower {
    async fn follow(mut self, mut state: watch::Receiver<MachineState>, mut counted: Part) -> Part {
        loop {
            let now = state.borrow_and_update().clone();
            let part = Part::next(counted, &now);
            if part != counted {
                self.progress.send_modify(|progress| {
                    *progress.of(counted) -= 1;
                    *progress.of(part) += 1;
                });
            }
            counted = part;
            match part {
                Part::Waiting | Part::Booting | Part::Running => {}
                Part::Prompt if self.is_run => {}
                _ => drop(self.turn.take()),
            }
            if now.is_final() {
                // Nobody needs to listen.
                let _ = self.ends.send((self.place, now));
                return counted;
            }
            if state.changed().await.is_err() {
                return counted;
            }
        }
    }
}
