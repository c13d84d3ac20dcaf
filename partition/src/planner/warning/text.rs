//! Warnings in words.

use super::Warning;
use crate::planner::size::{human_size, human_size_at_least};
use std::fmt;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { content } => write!(
                f,
                "the new table deletes what is on the drive: {}",
                content.join(", ")
            ),
            Self::SmallDrive {
                drive_bytes,
                used_bytes,
            } => write!(
                f,
                "the drive has {}, less than twice the {} in use on the sources. They have little \
                 room to grow, and a second clone has none",
                human_size(*drive_bytes),
                human_size(*used_bytes)
            ),
            Self::NoEsp { group } => write!(
                f,
                "{group} looks like a boot volume, and the EFI system partition of its disk is \
                 not in the plan, so its clone can't boot. Plan the whole disk to have it"
            ),
            Self::BootCode { group } => boot_code_text(f, group),
            Self::Unassigned {
                group,
                room_bytes,
                first_bytes,
            } => unassigned_text(f, group, *room_bytes, *first_bytes),
            Self::SameUuids { volumes } => write!(
                f,
                "{} will have the filesystem {}. Do not mount by UUID while both drives are attached",
                volumes.join(", "),
                match volumes.len() {
                    1 => "UUID of its source",
                    _ => "UUIDs of their sources",
                }
            ),
            Self::OtherSectors { volume, how } => write!(f, "{volume}: {how}"),
            Self::SectorSize { volume, reason } => write!(f, "{volume}: {reason}"),
            Self::Swap { volume } => write!(
                f,
                "{volume} is the clone of a swap volume. Its content is of no use later"
            ),
            Self::CopiedWhole { volume, reason } => write!(
                f,
                "{volume}: the source {reason}, so klon copies all of it, unused blocks too. \
                 To repair it, mounting and unmounting it once is usually enough"
            ),
            Self::Smaller {
                volume,
                source_bytes,
                size_bytes,
            } => smaller_text(f, volume, *size_bytes, *source_bytes),
            Self::Shrunk { .. } => self.shrunk_text(f),
            Self::MbrLimits { unreachable_bytes } => mbr_limits_text(f, *unreachable_bytes),
            Self::Covered {
                covered_bytes,
                first_bytes,
            } => covered_text(f, *covered_bytes, *first_bytes),
            Self::AttributesDropped { volume, attributes } => write!(
                f,
                "{volume}: an MBR table has no place for the GPT attributes {attributes:#x}"
            ),
        }
    }
}

fn covered_text(f: &mut fmt::Formatter<'_>, covered_bytes: u64, first_bytes: u64) -> fmt::Result {
    write!(
        f,
        "the table of the drive goes over {} in no partition, from {} on: a boot loader, perhaps",
        human_size(covered_bytes),
        human_size(first_bytes)
    )
}

fn boot_code_text(f: &mut fmt::Formatter<'_>, group: &str) -> fmt::Result {
    write!(
        f,
        "{group} has BIOS boot code outside of its partitions, which no clone of it has. The drive boots by \
         UEFI only, or after you install a boot loader on it"
    )
}

fn unassigned_text(
    f: &mut fmt::Formatter<'_>,
    group: &str,
    room_bytes: u64,
    first_bytes: u64,
) -> fmt::Result {
    write!(
        f,
        "{group} has data in no partition: a boot loader, or the rest of deleted partitions. The first are \
         at {}, and {} of the disk are in no partition. No clone of this plan has these data",
        human_size(first_bytes),
        human_size(room_bytes)
    )
}

fn smaller_text(
    f: &mut fmt::Formatter<'_>,
    volume: &str,
    size_bytes: u64,
    source_bytes: u64,
) -> fmt::Result {
    write!(
        f,
        "{volume} gets {}, less than the {} of its source. The source's filesystem does not use the end",
        human_size(size_bytes),
        human_size(source_bytes)
    )
}

fn mbr_limits_text(f: &mut fmt::Formatter<'_>, unreachable_bytes: u64) -> fmt::Result {
    f.write_str(
        "an MBR table holds no partition names and no GUIDs. klon recognizes the clones by disk \
         signature and partition number, so keep this plan to plan this drive again",
    )?;
    if unreachable_bytes > 0 {
        let lost = human_size(unreachable_bytes);
        write!(f, ". It can't reach the last {lost} of the drive")?;
    }
    Ok(())
}

impl Warning {
    /// A filesystem that is made smaller.
    fn shrunk_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Shrunk {
            volume,
            filesystem,
            filesystem_bytes,
            size_bytes,
            minimum_bytes,
            minimum_unknown_because,
        } = self
        else {
            return Ok(());
        };
        write!(
            f,
            "{volume} gets {}, and the {filesystem} of its source has {}. Each time, it is shrunk on its way, in \
             an overlay: the source stays as it is, and must not be mounted for writing meanwhile",
            human_size(*size_bytes),
            human_size(*filesystem_bytes)
        )?;
        match (minimum_bytes, minimum_unknown_because) {
            (Some(bytes), _) => write!(
                f,
                ". It can be made as small as {}",
                human_size_at_least(*bytes)
            ),
            (None, Some(why)) => write!(
                f,
                ". It is not known whether it can be made so small ({why})"
            ),
            (None, None) => Ok(()),
        }
    }
}
