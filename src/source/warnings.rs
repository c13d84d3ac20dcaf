//! What the user should know of a source before it is copied.

use crate::error::plain_words;
use crate::mending;
use crate::named::open::OpenPlace;
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::{DiskUsage, VolumeUsage};
use klon_partition::table::Finding;

/// What to say of a GPT when one copy is damaged, or the copies differ.
pub fn damaged_copies(name: &str, open: &OpenPlace) -> Vec<String> {
    let warning = |finding: &Finding| match finding {
        Finding::PrimaryDamaged(_) | Finding::BackupDamaged(_) => Some(format!(
            "{name}: {finding}. The other copy counts; partitions that only this one names are \
             copied as room in no partition, or as free where others have it (to mend it: sgdisk \
             -e, gdisk)"
        )),
        Finding::BackupDiffers(_) => Some(format!(
            "{name}: {finding}. A clone of another size gets the primary in both copies. A clone of the same \
             size gets both as they are (gdisk makes them alike)"
        )),
        _ => None,
    };
    open.layout.findings.iter().filter_map(warning).collect()
}

/// What to say of the file that the disk is in.
pub fn container_warnings(open: &OpenPlace) -> Vec<String> {
    let container = open.container.as_ref();
    container.map_or_else(Vec::new, |container| container.warnings.clone())
}

/// What to say of a disk, or of volumes of it, that must be copied whole though the format is known.
pub fn disk_warnings(name: &str, disk: &DiskUsage) -> Vec<String> {
    if let Basis::Whole {
        reason,
        is_warning: true,
    } = &disk.basis
    {
        return vec![format!(
            "{name}: {reason}, so klon copies all of it, unused blocks included. To avoid this, \
             mend the table (sgdisk, sfdisk or testdisk)"
        )];
    }
    let of_volume = |volume: &VolumeUsage| {
        let number = volume.partition.as_ref().map_or(0, |found| found.number);
        warning(&format!("partition {number} of {name}"), &volume.usage)
    };
    let whole = match &disk.basis {
        Basis::Whole { reason, .. } if disk.volumes.is_empty() => Some(format!(
            "{name}: {}; all of it is copied",
            plain_words(reason)
        )),
        _ => None,
    };
    let of_volumes = disk.volumes.iter().filter_map(of_volume);
    whole.into_iter().chain(of_volumes).collect()
}

/// What to say of a volume that must be copied whole though its format is known.
pub fn warning(name: &str, usage: &Usage) -> Option<String> {
    let reason = match &usage.basis {
        Basis::Contained { reason } => {
            return Some(format!(
                "{name}: {reason}, so klon copies all of it, unused blocks included"
            ));
        }
        Basis::Whole {
            reason,
            is_warning: true,
        } => reason,
        Basis::Map | Basis::Whole { .. } => return None,
    };
    let summary = usage.summary.as_ref();
    let hazards = summary.map_or(&[][..], |summary| &summary.hazards);
    Some(format!(
        "{name}: {}. Its record of used blocks is unreliable, so klon copies all of it, \
         unused blocks included. {}",
        plain_words(reason),
        mending::of(summary.map(|summary| summary.kind), hazards, reason)
    ))
}
