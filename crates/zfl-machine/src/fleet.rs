//! Many machines: started in waves, watched together, stopped together.
//!
//! Only so many machines are on their way from launch to ready at a time: a
//! machine's deadlines count from its launch, and it must not miss them for
//! want of the processors that a thousand others start on.
//!
//! A device that fails does not stop the others: it stays in the fleet with
//! its final state, and whoever runs the fleet decides. Only what would fail
//! for every device (no emulator, too few descriptors) is an error of the
//! fleet.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use zfl_proto::console::RunOptions;

use crate::console::DeviceEvent;
use crate::launch::{LaunchError, Launcher, find_program};
use crate::limits::{DESCRIPTORS_PER_MACHINE, DESCRIPTORS_RESERVED, RoomError, ensure_room};
use crate::machine::{Machine, MachineError, MachineReport, MachineSpec, MachineState};
use crate::usage::Usage;

/// A machine to boot, and what to type when it has.
#[derive(Debug)]
pub struct FleetMember {
    /// The machine.
    pub machine: MachineSpec,
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
    /// machine's own: sockets of the network, say.
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
#[derive(Clone, Copy, PartialEq)]
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

/// The machines of a run. They are killed when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    machines: Vec<Machine>,
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
        let mut booting = JoinSet::new();
        for (index, member) in members.into_iter().enumerate() {
            let (launcher, events) = (launcher.clone(), events.clone());
            let (progress, ends) = (progress.clone(), ends.clone());
            let turns = Arc::clone(&turns);
            booting.spawn(async move {
                // The semaphore is never closed; if it were, all would start
                // at once.
                let turn = turns.acquire_owned().await.ok();
                let machine = Machine::boot(&launcher, member.machine, events).await?;
                let follower = Follower {
                    place: index,
                    turn,
                    is_run: member.run.is_some(),
                    progress,
                    ends,
                };
                // Ends with the machine.
                tokio::spawn(follower.follow(machine.watch()));
                let mut outcome = machine.wait_prompt().await;
                if outcome.is_ok()
                    && let Some(options) = member.run
                {
                    outcome = machine.run(&options).await;
                    if outcome.is_ok() {
                        outcome = machine.wait_ready().await;
                    }
                }
                match outcome {
                    // It would never be ready, and no other either.
                    Err(error) if !machine.state().is_final() => Err(error),
                    // How it ended is its state.
                    Ok(()) | Err(_) => Ok((index, machine)),
                }
            });
        }
        let mut machines = Vec::with_capacity(count);
        while let Some(booted) = booting.join_next().await {
            // On an error the others are dropped, and so killed.
            machines.push(booted??);
        }
        machines.sort_by_key(|(index, _)| *index);
        Ok(Self {
            machines: machines.into_iter().map(|(_, machine)| machine).collect(),
        })
    }

    /// The machines, in the order they were given.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// What each machine uses, in their order. Samples the memory of those that
    /// `is_sampled` chooses by their place: it takes the kernel a millisecond
    /// or more for each.
    pub async fn usage(&self, is_sampled: impl Fn(usize) -> bool) -> Vec<Usage> {
        let mut usage = Vec::with_capacity(self.machines.len());
        for (place, machine) in self.machines.iter().enumerate() {
            usage.push(match is_sampled(place) {
                true => machine.usage().await,
                false => machine.processor_time().await,
            });
        }
        usage
    }

    /// Stops all machines and waits until their processes are gone; see
    /// [`Machine::stop`]. The reports are in the order of the machines.
    ///
    /// # Errors
    /// If the event loop shuts down meanwhile.
    pub async fn stop(&self) -> Result<Vec<MachineReport>, MachineError> {
        for machine in &self.machines {
            machine.request_stop().await;
        }
        let mut reports = Vec::with_capacity(self.machines.len());
        for machine in &self.machines {
            reports.push(machine.ended().await?);
        }
        Ok(reports)
    }
}

/// Keeps one machine's part of the progress right until it has ended, and tells
/// that.
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
    async fn follow(mut self, mut state: watch::Receiver<MachineState>) {
        let mut counted = Part::Waiting;
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
                return;
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }
}
