//! The fleet before it starts: which devices there are, which of them have
//! the memory, and what they would cost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use zfl_data::Partition;
use zfl_machine::fleet::FleetError;
use zfl_machine::launch::find_program;
use zfl_machine::{Board, Mcu};
use zfl_net::switch::PortOptions;
use zfl_nn::Task;

use super::data::data_name;
use super::{Context, Misfit, RunError};
use crate::experiment::{Experiment, Fidelity, FleetGroup, OnMisfit};
use crate::firmware::FirmwareSource;
use crate::host::HostError;
use crate::kind::{Kind, KindError, Part};
use crate::learnt::{self, Book};
use crate::size::{SampleSize, arena_size};

/// The devices of one entry of the fleet.
pub(super) struct Group {
    clients: Range<u32>,
    kind: Kind,
    on_misfit: OnMisfit,
    port: PortOptions,
}

/// The emulated part of the fleet, whose boards have their emulators and their
/// firmware.
pub(super) fn groups(
    experiment: &Experiment,
    firmware: &FirmwareSource,
) -> Result<Vec<Group>, RunError> {
    let mut end = 0;
    let mut groups = Vec::new();
    for group in &experiment.fleet {
        let clients = end..end + group.count;
        end = clients.end;
        if group.fidelity == Fidelity::Native {
            continue;
        }
        let board = Board::find(&group.board).map_err(KindError::from)?;
        find_program(&board.qemu.binary)
            .map_err(|error| HostError::from(FleetError::from(error)))?;
        firmware.fit_image(&board).map_err(HostError::from)?;
        if let Some(kind) = Kind::of(group, firmware)? {
            groups.push(Group {
                clients,
                kind,
                on_misfit: group.on_misfit,
                // It was found when the experiment was read.
                port: experiment
                    .link(group)
                    .map(|link| link.port_options())
                    .unwrap_or_default(),
            });
        }
    }
    Ok(groups)
}

/// Whether there is what it takes to boot the devices of an experiment.
pub(crate) fn check_devices(
    experiment: &Experiment,
    firmware: &FirmwareSource,
) -> Result<(), RunError> {
    groups(experiment, firmware).map(drop)
}

/// What is booted: kind and port of each device that can take part.
pub(super) fn devices(groups: Vec<Group>, misfits: &[Misfit]) -> (Vec<Kind>, Vec<PortOptions>) {
    let misfits: BTreeSet<u32> = misfits.iter().map(|misfit| misfit.client).collect();
    let of_group = |group: Group| {
        let clients = group.clients.filter(|client| !misfits.contains(client));
        std::iter::repeat_n((group.kind, group.port), clients.count())
    };
    groups.into_iter().flat_map(of_group).unzip()
}

/// The devices that have too little memory.
pub(super) fn misfits(
    groups: &[Group],
    task: &Task,
    partition: &Partition,
    sample: SampleSize,
) -> Result<Vec<Misfit>, RunError> {
    let mut misfits = Vec::new();
    for group in groups {
        // By the size of the share: there are few.
        let mut known: BTreeMap<usize, Option<String>> = BTreeMap::new();
        for client in group.clients.clone() {
            let index = usize::try_from(client).unwrap_or(usize::MAX);
            let samples = partition.client(index).unwrap_or_default().len();
            let reason = known.entry(samples).or_insert_with(|| {
                let needed = arena_size(task, samples, sample).needed_bytes;
                group.kind.misfit(u64::try_from(needed).unwrap_or(u64::MAX))
            });
            let Some(reason) = reason.clone() else {
                continue;
            };
            match group.on_misfit {
                OnMisfit::Skip => misfits.push(Misfit { client, reason }),
                OnMisfit::Fail => return Err(RunError::Misfit { client, reason }),
            }
        }
    }
    Ok(misfits)
}

/// What the clients of each entry of the fleet would cost.
pub(super) fn parts(
    experiment: &Experiment,
    task: &Task,
    context: &Context,
) -> Result<Vec<Part>, RunError> {
    let Some(fleet) = &context.fleet else {
        return Ok(Vec::new());
    };
    let is_learnt = |group: &FleetGroup| group.mcu.is_some() && group.fidelity == Fidelity::Native;
    // Nobody else cares what state it is in.
    let book = match experiment.fleet.iter().any(is_learnt) {
        true => Book::open(&context.search_path)?,
        false => Book::default(),
    };
    let mut end = 0;
    let mut parts = Vec::new();
    for group in &experiment.fleet {
        let clients = end..end + group.count;
        end = clients.end;
        let mcu = group.mcu.as_deref().map(Mcu::find).transpose();
        let mcu = mcu.map_err(KindError::from)?;
        let learnt = mcu.as_ref().filter(|_| is_learnt(group));
        let learnt = learnt.and_then(|mcu| {
            let image = fleet.firmware.image(&mcu.board).ok()?;
            book.get(&learnt::key(
                &mcu.board,
                &image,
                &data_name(experiment),
                task,
            ))
        });
        let kind = Kind::of(group, &fleet.firmware)?;
        parts.push(Part {
            clients,
            mcu,
            flash_bytes: kind.and_then(|kind| Some(kind.image?.flash_bytes)),
            learnt,
        });
    }
    Ok(parts)
}
