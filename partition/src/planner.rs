//! The planner: sources and a drive in, a layout out. Pure: no I/O.
//!
//! [`plan`] lays the clones of a [`Request`]'s sources out on its drive. The resulting [`Plan`] is
//! plain data: [`Plan::table`] is the table to be written, [`Plan::changes`] what that changes,
//! [`Plan::to_toml`] and [`Plan::from_toml`] its file, [`Plan::picture`] what a person looks at.
//!
//! What always holds for a plan: its partitions start at multiples of the alignment, lie inside
//! of what the table can use and do not overlap; each volume is at least as large as its source;
//! partitions that are on the drive are kept as they are unless the table is replaced; planning
//! the same sources on the drive as planned changes nothing.

mod boots;
mod check;
mod explain;
mod file;
mod ground;
mod layout;
mod name;
mod new_table;
mod original;
mod picture;
mod placement;
mod request;
mod reuse;
mod role;
mod sector;
mod size;
mod slots;
mod wanted;
mod warning;
mod way_back;

#[cfg(test)]
mod tests;

pub use file::PLAN_VERSION;
pub use layout::{Change, Extended, Plan, PlannedDrive, PlannedTable, PlannedVolume, SourceRef};
pub use name::check_name;
pub use original::{BOOT_CODE_BYTES, LOADER_BYTES_MAX, LOADER_END_BYTES, Loader, Original};
pub use picture::Style;
pub use request::{Drive, Options, Request, Reserve, Source, SourceRequest, SourceVolume};
pub use sector::mismatch as sector_mismatch;
pub use size::{Growth, SizePolicy, WEIGHT_DEFAULT, WEIGHT_MAX, human_size, parse_size};
pub use warning::Warning;
pub use way_back::{Returning, WayBack};

use crate::error::{Error, Result};
use crate::table::Scheme;
use ground::Ground;
use serde::Serialize;
use uuid::Uuid;
use wanted::Wanted;

/// A plan, and what its maker should know before carrying it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
    /// What to think about first; none of it is forbidden.
    pub warnings: Vec<Warning>,
}

/// Lays out the drive of `request`. New GUIDs, and the signature of a new MBR, come from `ids`.
///
/// # Errors
/// [`Error::Refused`] when the sources do not fit (saying what would), or a partition in the way
/// can't be used; [`Error::Invalid`] when the request contradicts itself.
pub fn plan(request: &Request, ids: &mut dyn FnMut() -> Uuid) -> Result<Proposal> {
    let ground = Ground::of(request)?;
    let wanted = wanted::expand(request, &ground)?;
    let plan = lay_out(request, &ground, &wanted, ids)?;
    plan.check()?;
    let warnings = warning::collect(request, &plan);
    Ok(Proposal { plan, warnings })
}

fn lay_out(
    request: &Request,
    ground: &Ground,
    wanted: &[Wanted],
    ids: &mut dyn FnMut() -> Uuid,
) -> Result<Plan> {
    let found = reuse::find(ground, wanted, request.options.previous.as_ref())?;
    let fresh: Vec<&Wanted> = wanted
        .iter()
        .zip(&found)
        .filter_map(|(one, there)| there.is_none().then_some(one))
        .collect();
    let mut found_slots = slots::find(ground, &fresh);
    if found_slots.is_none() && !request.options.reserve.is_required {
        found_slots = slots::find(&ground.without_reserve(), &fresh);
    }
    let tight: Vec<Wanted> = wanted.iter().map(Wanted::tightened).collect();
    let tight_fresh: Vec<&Wanted> = tight
        .iter()
        .zip(&found)
        .filter_map(|(one, there)| there.is_none().then_some(one))
        .collect();
    // A volume may be smaller than its source where its filesystem ends before.
    if found_slots.is_none() {
        found_slots = slots::find(ground, &tight_fresh);
    }
    if found_slots.is_none() && !request.options.reserve.is_required {
        found_slots = slots::find(&ground.without_reserve(), &tight_fresh);
    }
    let Some((placed, extended)) = found_slots else {
        return Err(explain::misfit(request, ground, &tight, &tight_fresh));
    };
    let table = planned_table(ground, extended, ids);
    let mut placed = placed.into_iter();
    let mut volumes = Vec::with_capacity(wanted.len());
    for (one, there) in wanted.iter().zip(&found) {
        let volume = match there {
            Some(there) => {
                let mut volume = one.at(there.number, there.extent, there.guid);
                volume.attributes = there.attributes;
                volume.is_bootable = there.is_bootable;
                volume
            }
            None => {
                let place = placed.next().ok_or_else(|| {
                    Error::Invalid(format!("{} was given no place on the drive", one.name))
                })?;
                let guid = (ground.scheme == Scheme::Gpt).then(&mut *ids);
                one.at(place.number, place.extent, guid)
            }
        };
        volumes.push(volume);
    }
    let is_kept = |there: &&crate::table::Partition| !found.contains(&Some(*there));
    Ok(Plan {
        drive: PlannedDrive {
            identity: request.drive.identity.clone(),
            size_bytes: ground.size_bytes,
            logical_sector_bytes: u32::try_from(ground.sector_bytes).unwrap_or(0),
        },
        table,
        volumes,
        kept: ground.existing().iter().filter(is_kept).cloned().collect(),
        originals: originals(request),
    })
}

/// The disks of the sources of `request`, each once.
fn originals(request: &Request) -> Vec<Original> {
    let mut originals: Vec<Original> = Vec::new();
    for asked in &request.sources {
        let Some(found) = &asked.source.original else {
            continue;
        };
        let mut known = originals.iter_mut();
        match known.find(|known| known.identity == found.identity) {
            Some(known) => known.groups.push(asked.name.clone()),
            None => originals.push(Original {
                groups: vec![asked.name.clone()],
                ..found.clone()
            }),
        }
    }
    originals
}

fn planned_table(
    ground: &Ground,
    extended: Option<Extended>,
    ids: &mut dyn FnMut() -> Uuid,
) -> PlannedTable {
    let (disk_guid, disk_signature) = match (&ground.table, ground.scheme) {
        (Some(table), Scheme::Gpt) => (table.disk_guid, 0),
        (Some(table), Scheme::Mbr) => (None, table.disk_signature),
        (None, Scheme::Gpt) => (Some(ids()), 0),
        // 0 would mean "no signature".
        (None, Scheme::Mbr) => (None, ids().as_fields().0.max(1)),
    };
    PlannedTable {
        scheme: ground.scheme,
        is_new: ground.table.is_none(),
        disk_guid,
        disk_signature,
        extended,
    }
}

/// A new random GUID, for [`plan`].
#[must_use]
pub fn random_id() -> Uuid {
    Uuid::new_v4()
}
