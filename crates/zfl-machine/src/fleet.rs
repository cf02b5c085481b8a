//! Many machines: started in waves, watched together, stopped together.
//!
//! A device that fails does not stop the others: it stays in the fleet with
//! its final state, and whoever runs the fleet decides. Only what would fail
//! for every device (no emulator, too few descriptors) is an error of the
//! fleet.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use zfl_proto::console::RunOptions;

use crate::console::DeviceEvent;
use crate::launch::{LaunchError, Launcher, find_program};
use crate::limits::{
    DESCRIPTORS_PER_MACHINE, DESCRIPTORS_RESERVED, DescriptorLimitError, ensure_descriptors,
};
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
    /// So many machines boot at once. The time of a machine that waits its
    /// turn does not count against its deadlines.
    pub booting_max: usize,
    /// Open files that the caller needs for each device, besides the
    /// machine's own: sockets of the network, say.
    pub descriptors_per_device: u64,
}

impl FleetSettings {
    /// How many files a fleet of `count` devices has open. Whoever opens
    /// sockets for it before it boots should ask for them first
    /// ([`ensure_descriptors`]).
    pub const fn descriptors_needed(&self, count: usize) -> u64 {
        DESCRIPTORS_RESERVED
            + count as u64 * (DESCRIPTORS_PER_MACHINE + self.descriptors_per_device)
    }
}

impl Default for FleetSettings {
    /// Four machines for each processor boot at once.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            booting_max: 4 * processors,
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
    /// As [`MachineState::Running`].
    pub running: usize,
    /// As [`MachineState::Ready`].
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

    fn of(&mut self, state: Option<&MachineState>) -> &mut usize {
        match state {
            None => &mut self.waiting,
            Some(MachineState::Booting) => &mut self.booting,
            Some(MachineState::Prompt) => &mut self.prompt,
            Some(MachineState::Running(_)) => &mut self.running,
            Some(MachineState::Ready) => &mut self.ready,
            Some(MachineState::Crashed(_)) => &mut self.crashed,
            Some(MachineState::Hung(_)) => &mut self.hung,
            Some(MachineState::Exited(_)) => &mut self.exited,
        }
    }
}

/// Why a fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Too few files may be open.
    #[error("failed to start {count} devices: {source}")]
    Descriptors {
        /// The size of the fleet.
        count: usize,
        /// The limit.
        source: DescriptorLimitError,
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
    /// Boots machines, and types to each its `run` line. Returns when each has
    /// taken it or has ended; the machines are in the order of `members`.
    ///
    /// `progress` always has the number of machines in each state, also
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
    ) -> Result<Self, FleetError> {
        let count = members.len();
        progress.send_replace(FleetProgress {
            waiting: count,
            ..FleetProgress::default()
        });
        ensure_descriptors(settings.descriptors_needed(count))
            .map_err(|source| FleetError::Descriptors { count, source })?;
        // One clear error before anything starts, and not one for each device.
        let emulators: BTreeSet<&Path> = members
            .iter()
            .map(|member| member.machine.board.qemu.binary.as_path())
            .collect();
        for emulator in emulators {
            find_program(emulator)?;
        }

        let turns = Arc::new(Semaphore::new(settings.booting_max.max(1)));
        let mut booting = JoinSet::new();
        for (index, member) in members.into_iter().enumerate() {
            let (launcher, events) = (launcher.clone(), events.clone());
            let (progress, turns) = (progress.clone(), Arc::clone(&turns));
            booting.spawn(async move {
                // The semaphore is never closed; if it were, all would boot
                // at once.
                let turn = turns.acquire_owned().await.ok();
                let machine = Machine::boot(&launcher, member.machine, events).await?;
                // Ends with the machine.
                tokio::spawn(count_states(machine.watch(), progress));
                let mut outcome = machine.wait_prompt().await;
                drop(turn);
                if outcome.is_ok()
                    && let Some(options) = member.run
                {
                    outcome = machine.run(&options).await;
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

    /// Waits until each machine is ready or has ended; gives how those ended
    /// that did. One that was not told to `run` is never ready.
    pub async fn wait_ready(&self) -> Vec<MachineError> {
        let mut errors = Vec::new();
        for machine in &self.machines {
            errors.extend(machine.wait_ready().await.err());
        }
        errors
    }

    /// What each machine uses, in their order; samples their memory.
    pub async fn usage(&self) -> Vec<Usage> {
        let mut usage = Vec::with_capacity(self.machines.len());
        for machine in &self.machines {
            usage.push(machine.usage().await);
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

/// Keeps one machine's part of the progress right until it has ended.
async fn count_states(
    mut state: watch::Receiver<MachineState>,
    progress: watch::Sender<FleetProgress>,
) {
    let mut counted: Option<MachineState> = None;
    loop {
        let now = state.borrow_and_update().clone();
        progress.send_modify(|progress| {
            *progress.of(counted.as_ref()) -= 1;
            *progress.of(Some(&now)) += 1;
        });
        let is_final = now.is_final();
        counted = Some(now);
        if is_final || state.changed().await.is_err() {
            return;
        }
    }
}
