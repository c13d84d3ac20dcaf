//! Completing an update that is staged for a target, together with the rest of its group. The records
//! that waited for it are taken over.

use crate::error::plain_words;
use crate::guard;
use crate::human;
use crate::messages::say;
use crate::named::identity::partition_identity;
use crate::target::open::OpenTarget;
use anyhow::Result;
use klon_imaging::clone::Filled;
use klon_imaging::mark::{Mark, Membership};
use klon_imaging::stage::{Finished, Group, finish_alone, group};
use klon_imaging::{Error, RecordStore};
use klon_partition::Shown;
use klon_partition::device::{Target, open_target};
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::{Extent, Identity, WriteAt};
use std::num::NonZeroUsize;
use std::path::Path;
use uuid::Uuid;

/// A volume whose update was completed.
pub struct Completed {
    /// The number of its partition, when it was completed with another one of its drive.
    pub number: Option<u32>,
    /// How it is recognized, where that is known here.
    pub identity: Option<Identity>,
    /// What was done.
    pub finished: Finished,
    /// Its bytes that could not be read from the source, as the pending record says.
    pub bad: Filled,
}

/// What is asked of a target.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How it is recognized.
    pub identity: &'a Identity,
    /// Where records may wait.
    pub records: &'a RecordStore,
    /// Whether the rest of its group is to be left as it is.
    pub is_alone: bool,
    /// How many threads read and digest.
    pub threads: NonZeroUsize,
    /// Other targets that are open already, perhaps on the same drive.
    pub others: &'a [OpenTarget],
    /// Where the nodes of the rest of its group are found.
    pub system: &'a System,
}

/// What is staged for a target.
enum Staged {
    Nothing,
    /// An update of it alone.
    Alone,
    /// An update of a group that it is of.
    Group(Group),
}

/// Completes what is staged for `target` and for its group. The first result is the one of `target`, unless
/// that was complete.
///
/// # Errors
/// [`Error::Refused`] and [`Error::StageCorrupt`] before anything is written to any volume;
/// [`Error::Target`].
pub fn complete(target: &OpenTarget, asked: Asked<'_>) -> Result<Vec<Completed>> {
    let staged = match asked.is_alone {
        true => Staged::Alone,
        false => staged(target)?,
    };
    let mut done = match &staged {
        Staged::Nothing => return Ok(Vec::new()),
        Staged::Group(group) => finish_group(group, target, asked)?,
        Staged::Alone => {
            let finished = finish_alone(target.space(), asked.threads)?;
            let done = finished.map(|finished| Completed {
                number: None,
                identity: Some(asked.identity.clone()),
                finished,
                bad: Filled::default(),
            });
            done.into_iter().collect()
        }
    };
    // The one that was asked for comes first.
    done.sort_by_key(|one| one.finished.at != target.at());
    let adopted = done.into_iter().map(|one| adopt(one, asked.records));
    Ok(adopted.collect())
}

/// What is staged for a target. A group may be committed though the target bears no mark yet.
fn staged(target: &OpenTarget) -> Result<Staged> {
    let space = target.space();
    if let Some(mark) = Mark::read(&space.volume)? {
        return Ok(
            match mark.staged.as_ref().map(|staged| &staged.membership) {
                None => Staged::Nothing,
                Some(Membership::Alone) => Staged::Alone,
                Some(Membership::Leader(_) | Membership::Member { .. }) => {
                    Staged::Group(group::of(space, &mark)?)
                }
            },
        );
    }
    let (Some(own), Some((_, layout))) = (target.at(), target.around()) else {
        return Ok(Staged::Nothing);
    };
    let others = partitions(layout).map(|partition| partition.extent);
    let found = group::find(space, own, others.filter(|at| *at != own))?;
    Ok(found.map_or(Staged::Nothing, Staged::Group))
}

fn partitions(layout: &DiskLayout) -> impl Iterator<Item = &Partition> {
    layout.table.iter().flat_map(|table| &table.partitions)
}

fn finish_group(group: &Group, target: &OpenTarget, asked: Asked<'_>) -> Result<Vec<Completed>> {
    let space = target.space();
    let Some((path, layout)) = target.around() else {
        // Says what is missing.
        space.drive()?;
        return Ok(Vec::new());
    };
    let mut claims: Vec<(Extent, Target)> = Vec::new();
    let mut opened: Vec<(Extent, &dyn WriteAt)> = Vec::new();
    for one in std::iter::once(target).chain(asked.others) {
        let is_here = one.around().is_some_and(|(other, _)| other == path);
        opened.extend(one.at().filter(|_| is_here).map(|at| (at, &*one.volume)));
    }
    for at in group.volumes() {
        if !partitions(layout).any(|partition| partition.extent == at) {
            return Err(Error::Refused(format!(
                "its update is one of a group, and the group's partition at {} is not in the table of {} \
                 any more: someone changed the table. Nothing was written. Clone the group again from its \
                 sources",
                human::size(at.offset_bytes()),
                path.shown()
            ))
            .into());
        }
        // A claim of the whole drive keeps everyone else off its partitions.
        if !target.is_whole_claimed() && !opened.iter().any(|(open, _)| *open == at) {
            claims.extend(claim(path, at, asked.system)?.map(|device| (at, device)));
        }
    }
    opened.extend(
        claims
            .iter()
            .map(|(at, device)| (*at, device as &dyn WriteAt)),
    );
    let mut finished = group::finish(group, space.drive()?, &opened, asked.threads)?;
    let mut all = std::mem::take(&mut finished.others);
    all.push(finished);
    Ok(all
        .into_iter()
        .map(|finished| {
            let at = finished.at;
            let partition = partitions(layout).find(|one| Some(one.extent) == at);
            let known = layout.table.as_ref().zip(partition);
            let identity = known.and_then(|(table, one)| partition_identity(table, one));
            Completed {
                number: partition.map(|one| one.number),
                identity: if at == target.at() {
                    Some(asked.identity.clone())
                } else {
                    identity
                },
                finished,
                bad: Filled::default(),
            }
        })
        .collect())
}

/// Claims the node of a partition, so that nothing mounts it meanwhile; `None` where it has none.
fn claim(drive: &Path, at: Extent, system: &System) -> Result<Option<Target>> {
    let Some(disk) = system.disk_of(drive)? else {
        return Ok(None);
    };
    let Some(node) = disk.partition_at(at) else {
        return Ok(None);
    };
    guard::unused(system, &node.path)?;
    Ok(Some(open_target(&node.path)?))
}

/// Puts the record that waited for this run in its place, and takes from it what is bad. Without, the
/// next run compares.
fn adopt(mut done: Completed, records: &RecordStore) -> Completed {
    let Some(identity) = &done.identity else {
        return done;
    };
    match adopted_bad(identity, done.finished.run, records) {
        Ok(bad) => done.bad = bad,
        Err(error) => say(&format!(
            "klon: warning: the update is complete, but klon could not write its record, so the \
             next run compares: {}",
            plain_words(&error.to_string())
        )),
    }
    done
}

fn adopted_bad(identity: &Identity, run: Uuid, records: &RecordStore) -> Result<Filled, Error> {
    if !records.adopt_pending_of(identity, run)? {
        return Ok(Filled::default());
    }
    records.remove_log(identity)?;
    let outline = records.outline(identity)?;
    outline.map_or(Ok(Filled::default()), |outline| outline.bad())
}
