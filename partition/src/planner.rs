//! The planner: sources and a drive in, a layout out. Pure: no I/O.
//!
//! [`plan`] lays the clones of a [`Request`]'s sources out on its drive. The resulting [`Plan`] is
//! plain data: [`Plan::table`] is the table to be written, [`Plan::changes`] what that changes,
//! [`Plan::to_toml`] and [`Plan::from_toml`] its file, [`Plan::picture`] what a person looks at.
//!
//! What always holds for a plan: its partitions start at multiples of the alignment, lie inside
//! of what the table can use and do not overlap; each volume is at least as large as the filesystem of its
//! source, or as that can be made where the plan says that it is shrunk;
//! partitions that are on the drive are kept as they are unless the table is replaced; planning
//! the same sources on the drive as planned changes nothing.

mod boots;
mod check;
mod converted;
mod explain;
mod file;
mod ground;
mod layout;
mod main_size;
mod minimum;
mod name;
mod new_table;
mod original;
mod picture;
mod placement;
mod request;
mod reuse;
mod role;
mod size;
mod slots;
mod wanted;
mod warning;
mod way_back;

#[cfg(test)]
mod tests;

pub use file::PLAN_VERSION;
pub use layout::{Change, Extended, Plan, PlannedDrive, PlannedTable, PlannedVolume, SourceRef};
pub use minimum::{Minimum, VolumeSizes};
pub use name::check_name;
pub use original::{BOOT_CODE_BYTES, LOADER_BYTES_MAX, LOADER_END_BYTES, Loader, Original};
pub use picture::Style;
pub use request::{Drive, Options, Request, Reserve, Source, SourceRequest, SourceVolume};
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
    /// How large its volumes are, could be and become, in their order.
    pub sizes: Vec<VolumeSizes>,
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
    let volumes = wanted.iter().zip(&plan.volumes);
    Ok(Proposal {
        sizes: volumes
            .map(|(one, volume)| one.sizes(volume.extent))
            .collect(),
        plan,
        warnings,
    })
}

fn lay_out(
    request: &Request,
    ground: &Ground,
    wanted: &[Wanted],
    ids: &mut dyn FnMut() -> Uuid,
) -> Result<Plan> {
    let options = &request.options;
    let previous = options.previous.as_ref();
    let found = reuse::find(ground, wanted, previous, options.may_shrink)?;
    let is_fresh: Vec<bool> = found.iter().map(Option::is_none).collect();
    // A volume may be smaller than its source where its filesystem ends before, or is made smaller.
    let tight: Vec<Wanted> = wanted.iter().map(Wanted::tightened).collect();
    let shrunken: Vec<Wanted> = wanted.iter().map(Wanted::shrunken).collect();
    let wishes = [
        Some(wanted),
        Some(&*tight),
        options.may_shrink.then_some(&*shrunken),
    ];
    let mut wishes = wishes.into_iter().flatten();
    let placed = wishes.find_map(|wish| place(request, ground, &fresh(wish, &is_fresh)));
    let Some((placed, extended)) = placed else {
        let wish = explain::Wish {
            tight: &tight,
            shrunken: &shrunken,
            is_fresh: &is_fresh,
        };
        return Err(explain::misfit(request, ground, &wish));
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

/// Those of `wish` that are not on the drive yet.
fn fresh<'a>(wish: &'a [Wanted], is_fresh: &[bool]) -> Vec<&'a Wanted> {
    let all = wish.iter().zip(is_fresh);
    all.filter_map(|(one, is_fresh)| is_fresh.then_some(one))
        .collect()
}

/// Places for `fresh`; without the reserve where they don't fit beside it and nobody asked for it.
fn place(
    request: &Request,
    ground: &Ground,
    fresh: &[&Wanted],
) -> Option<(Vec<slots::Placed>, Option<Extended>)> {
    let found = slots::find(ground, fresh);
    match found.is_none() && !request.options.reserve.is_required {
        true => slots::find(&ground.without_reserve(), fresh),
        false => found,
    }
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
