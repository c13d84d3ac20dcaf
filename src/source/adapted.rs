//! Sources that are laid out anew on their way to a target: a FAT that has to become smaller, and filesystems that
//! were made for sectors of another size than the target has. Nothing is written to the source.

use crate::error::refused;
use crate::human;
use crate::named::open::OpenPlace;
use anyhow::Result;
use klon_partition::filesystem::{Basis, Kind, OnSectors, Usage, usage as usage_of};
use klon_partition::{Geometry, ReadAt};
use std::sync::Arc;

/// How to have it copied all the same, as the end of a sentence.
const KEEPING: &str = "`--sectors keep` copies it as it is, which can be used where it came from";

/// What is read of a source that is laid out anew, as large as the target.
pub struct Adapted {
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub usage: Usage,
}

/// Whether klon itself makes a filesystem of this kind smaller.
pub const fn is_own(kind: Kind) -> bool {
    matches!(kind, Kind::Fat12 | Kind::Fat16 | Kind::Fat32)
}

/// The sectors for which the filesystem of a volume is laid out anew; `None` where it stays as it is.
///
/// # Errors
/// [`refused`] when it can be used in sectors of the target's size neither as it is nor laid out anew.
pub fn sectors(open: &OpenPlace, usage: &Usage) -> Result<Option<u32>> {
    let Some((sector_bytes, found)) = on_target(open) else {
        return Ok(None);
    };
    let given = &open.place.given;
    match (found, &usage.basis) {
        (OnSectors::AsIs | OnSectors::Unknown(_), _) => Ok(None),
        (OnSectors::Anew(_), Basis::Map) => Ok(Some(sector_bytes)),
        (OnSectors::Anew(_), Basis::Whole { reason, .. } | Basis::Contained { reason }) => {
            Err(refused(format!(
                "{given} was made for sectors of another size than the target's ({sector_bytes}), and klon can't lay it \
                 out anew: {reason}. Nothing was written. Mend it first, or have it as it is: {KEEPING}"
            )))
        }
        (OnSectors::Never(why), _) => Err(refused(format!(
            "{given}: {why}. Nothing was written. {KEEPING}"
        ))),
    }
}

/// What klon says before of a volume that the target has other sectors for.
pub fn note(open: &OpenPlace) -> Option<String> {
    match on_target(open)? {
        (_, OnSectors::Anew(how)) => Some(format!("{}: {how}", open.place.given)),
        _ => None,
    }
}

/// What the user should know of a volume that may not be of use on the target.
pub fn warning(open: &OpenPlace) -> Option<String> {
    match on_target(open)? {
        (_, OnSectors::Unknown(why)) => Some(why),
        _ => None,
    }
}

/// The sectors of the target, where those of the source are others, and what becomes of the filesystem there.
fn on_target(open: &OpenPlace) -> Option<(u32, OnSectors)> {
    let wanted_bytes = open.place.sectors?;
    let table = open.layout.table.as_ref();
    let own = open.device.geometry().logical_sector_bytes;
    let own_bytes = table.map_or(own, |table| table.logical_sector_bytes);
    let filesystem = open.recognized().filter(|_| own_bytes != wanted_bytes)?;
    Some((wanted_bytes, filesystem.on_sectors(wanted_bytes)))
}

/// A volume as klon lays it out on a target of this geometry, of which it has all sizes.
///
/// # Errors
/// [`refused`] when it has no room there, or is not sound afterwards.
pub fn laid_out(open: &OpenPlace, from: Adapted, to: Geometry) -> Result<Adapted> {
    let given = &open.place.given;
    let not = |why: String| {
        refused(format!(
            "{given} can't be laid out anew for the target ({}): {why}. Nothing was written",
            human::size(to.size_bytes)
        ))
    };
    let filesystem = from.usage.filesystem();
    let made = filesystem.and_then(|it| it.laid_out(from.device.clone(), to));
    let Some(made) = made else {
        return Err(not("its filesystem is none that klon lays out".to_owned()));
    };
    let device = made.map_err(|error| not(error.to_string()))?;
    let found = usage_of(&*device)?;
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &found.basis {
        return Err(not(format!("what came out can't be relied on: {reason}")));
    }
    let size_bytes = from.device.geometry().size_bytes;
    let from_bytes = from.usage.end_bytes(size_bytes).unwrap_or(size_bytes);
    let is_shrunk = to.size_bytes < from_bytes;
    let usage = Usage {
        is_replayed: from.usage.is_replayed,
        shrunk_from_bytes: from
            .usage
            .shrunk_from_bytes
            .or_else(|| is_shrunk.then_some(from_bytes)),
        ..found
    };
    Ok(Adapted { device, usage })
}
