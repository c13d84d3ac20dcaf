//! What the maker of a plan should think about before carrying it out.

mod text;

use super::layout::{Plan, PlannedVolume};
use super::request::{Request, SourceRequest, SourceVolume};
use super::role::Role;
use super::size::human_size;
use super::slots::is_extended;
use crate::filesystem::{Kind, OnSectors};
use crate::table::Scheme;
use crate::text::quoted;
use serde::Serialize;

/// Something to think about; never a reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "warning")]
#[non_exhaustive]
pub enum Warning {
    /// The new table takes the place of what is on the drive.
    Lost {
        /// What that is, one description each.
        content: Vec<String>,
    },
    /// The drive is smaller than twice what is used on the sources.
    SmallDrive {
        /// Size of the drive.
        drive_bytes: u64,
        /// What is used on all sources together.
        used_bytes: u64,
    },
    /// A boot volume is planned without the EFI system partition that it needs.
    NoEsp {
        /// The user's name for the source.
        group: String,
    },
    /// Boot code outside of partitions is not cloned.
    BootCode {
        /// The user's name for the source.
        group: String,
    },
    /// Data of the disk that are in no partition, and so in no clone.
    Unassigned {
        /// The user's name for the source.
        group: String,
        /// How much is in no partition.
        room_bytes: u64,
        /// Where the first data were seen.
        first_bytes: u64,
    },
    /// Filesystems that will exist twice with the same UUID.
    SameUuids {
        /// Names of the volumes.
        volumes: Vec<String>,
    },
    /// A clone whose filesystem is laid out anew for the sectors of the drive.
    OtherSectors {
        /// Name of the volume.
        volume: String,
        /// What is done, in words.
        how: String,
    },
    /// A clone that does not, or may not, mount because of the drive's sector size.
    SectorSize {
        /// Name of the volume.
        volume: String,
        /// What does not suit.
        reason: String,
    },
    /// A swap volume, whose content is of no use later.
    Swap {
        /// Name of the volume.
        volume: String,
    },
    /// A volume that is copied whole because its own records can't be believed.
    CopiedWhole {
        /// Name of the volume.
        volume: String,
        /// What is wrong.
        reason: String,
    },
    /// A clone that is smaller than its source, because the filesystem ends before.
    Smaller {
        /// Name of the volume.
        volume: String,
        /// Size of the source.
        source_bytes: u64,
        /// Size of the clone.
        size_bytes: u64,
    },
    /// A clone that is smaller than the filesystem of its source, which is made smaller on its way.
    Shrunk {
        /// Name of the volume.
        volume: String,
        /// What its source is formatted as.
        filesystem: Kind,
        /// Size of that.
        filesystem_bytes: u64,
        /// Size of the clone.
        size_bytes: u64,
        /// How small it can be made; null when that is not known.
        minimum_bytes: Option<u64>,
        /// Why that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        minimum_unknown_because: Option<String>,
    },
    /// The limits of an MBR table.
    MbrLimits {
        /// Bytes at the end of the drive that it can't reach.
        unreachable_bytes: u64,
    },
    /// Data in no partition that the table goes over: a boot loader, perhaps. The planner reads no
    /// drive, so the caller adds it.
    Covered {
        /// How much is not zero there.
        covered_bytes: u64,
        /// Where the first of it is.
        first_bytes: u64,
    },
    /// GPT attribute bits that an MBR has no place for.
    AttributesDropped {
        /// Name of the volume.
        volume: String,
        /// The bits.
        attributes: u64,
    },
}

/// All warnings about a plan for `request`, gravest first.
pub(super) fn collect(request: &Request, plan: &Plan) -> Vec<Warning> {
    let mut warnings = Vec::new();
    warnings.extend(lost(request, plan));
    warnings.extend(small_drive(request));
    warnings.extend(no_esp(request));
    warnings.extend(boot_code(request, plan));
    warnings.extend(unassigned(request));
    for (volume, source, asked) in volumes(request, plan) {
        warnings.extend(about_volume(plan, volume, source, asked));
    }
    let with_uuid = plan.volumes.iter().filter(|v| v.source.fs_uuid.is_some());
    let volumes: Vec<String> = with_uuid.map(|volume| volume.name.clone()).collect();
    if !volumes.is_empty() {
        warnings.push(Warning::SameUuids { volumes });
    }
    warnings.extend(mbr_limits(plan));
    warnings
}

/// Names of the planned volumes with what they are clones of.
fn volumes<'a>(
    request: &'a Request,
    plan: &'a Plan,
) -> impl Iterator<Item = (&'a str, &'a SourceVolume, &'a SourceRequest)> {
    plan.volumes.iter().filter_map(|volume| {
        let asked = request.sources.iter().find(|s| s.name == volume.group)?;
        let mut volumes = asked.source.volumes.iter();
        let source = volumes.find(|source| source.number == volume.source.partition)?;
        Some((volume.name.as_str(), source, asked))
    })
}

fn lost(request: &Request, plan: &Plan) -> Option<Warning> {
    if !plan.table.is_new {
        return None;
    }
    let partitions = request.drive.table.iter().flat_map(|t| &t.partitions);
    let mut content: Vec<String> = partitions
        .filter(|partition| !is_extended(partition))
        .map(|partition| {
            let size = human_size(partition.extent.len_bytes());
            let name = match partition.name.as_str() {
                "" => String::new(),
                name => format!("{}, ", quoted(name)),
            };
            format!("partition {} ({name}{size})", partition.number)
        })
        .collect();
    content.extend(request.drive.content.clone());
    (!content.is_empty()).then_some(Warning::Lost { content })
}

fn small_drive(request: &Request) -> Option<Warning> {
    let volumes = request.sources.iter().flat_map(|s| &s.source.volumes);
    let used_bytes = volumes
        .map(SourceVolume::copied_bytes)
        .fold(0, u64::saturating_add);
    let drive_bytes = request.drive.geometry.size_bytes;
    (drive_bytes < used_bytes.saturating_mul(2)).then_some(Warning::SmallDrive {
        drive_bytes,
        used_bytes,
    })
}

fn role(volume: &SourceVolume) -> Role {
    volume.partition_type.map_or(Role::Other, Role::of)
}

fn no_esp(request: &Request) -> Vec<Warning> {
    let has_esp = |asked: &&SourceRequest, disk_of: &SourceRequest| {
        let mut volumes = asked.source.volumes.iter();
        asked.source.disk == disk_of.source.disk && volumes.any(SourceVolume::is_esp)
    };
    let lacks = |asked: &&SourceRequest| {
        let source = &asked.source;
        let boots = source.volumes.iter().any(looks_bootable)
            && (source.disk_has_esp || source.volumes.iter().any(needs_esp));
        boots && !request.sources.iter().any(|s| has_esp(&s, asked))
    };
    let groups = request.sources.iter().filter(lacks);
    groups
        .map(|asked| Warning::NoEsp {
            group: asked.name.clone(),
        })
        .collect()
}

/// Whether a system may be booted from it, going by its type, or by its filesystem when the type
/// says little.
fn looks_bootable(volume: &SourceVolume) -> bool {
    let kind = volume.filesystem.as_ref().map(|summary| summary.kind);
    match role(volume) {
        Role::Root | Role::Boot => true,
        Role::Other => matches!(
            kind,
            Some(Kind::Ext2 | Kind::Ext3 | Kind::Ext4 | Kind::Xfs | Kind::Btrfs | Kind::F2fs)
        ),
        _ => false,
    }
}

/// Types that exist only for booting by UEFI.
fn needs_esp(volume: &SourceVolume) -> bool {
    role(volume) == Role::Boot
}

/// The code is in no clone; a drive that gets it needs no warning.
fn boot_code<'a>(request: &'a Request, plan: &Plan) -> impl Iterator<Item = Warning> + 'a {
    let table = plan.table(request.drive.table.as_ref()).ok();
    let original = table.and_then(|table| plan.boots_as(&table).cloned());
    let boots = move |name: &String| original.as_ref().is_some_and(|it| it.groups.contains(name));
    let with_code = |asked: &&SourceRequest| {
        let mut volumes = asked.source.volumes.iter();
        asked.source.has_boot_code || volumes.any(|v| role(v) == Role::BiosBoot)
    };
    let groups = request.sources.iter().filter(with_code);
    let groups = groups.filter(move |asked| !boots(&asked.name));
    groups.map(|asked| Warning::BootCode {
        group: asked.name.clone(),
    })
}

fn unassigned(request: &Request) -> impl Iterator<Item = Warning> + '_ {
    request.sources.iter().filter_map(|asked| {
        let found = asked.source.unassigned?;
        Some(Warning::Unassigned {
            group: asked.name.clone(),
            room_bytes: found.room_bytes,
            first_bytes: found.first_bytes,
        })
    })
}

fn about_volume(
    plan: &Plan,
    name: &str,
    source: &SourceVolume,
    asked: &SourceRequest,
) -> Vec<Warning> {
    let volume = || name.to_owned();
    let summary = source.filesystem.as_ref();
    let mut warnings = Vec::new();
    warnings.extend(in_sectors(plan, name, source, asked));
    let is_swap = summary.is_some_and(|summary| summary.kind == Kind::Swap);
    if is_swap || role(source) == Role::Swap {
        warnings.push(Warning::Swap { volume: volume() });
    }
    let hazards = summary.map_or(&[][..], |summary| &summary.hazards);
    if !hazards.is_empty() {
        let hazards: Vec<String> = hazards.iter().map(ToString::to_string).collect();
        warnings.push(Warning::CopiedWhole {
            volume: volume(),
            reason: hazards.join(", "),
        });
    }
    let planned = plan.volumes.iter().find(|one| one.name == name);
    warnings.extend(
        planned
            .filter(|one| one.least_bytes.is_some())
            .map(|one| Warning::Smaller {
                volume: volume(),
                source_bytes: one.source_bytes,
                size_bytes: one.extent.len_bytes(),
            }),
    );
    warnings.extend(planned.and_then(|one| shrunk(one, source)));
    let attributes = source.attributes & !super::role::ATTRIBUTE_LEGACY_BOOT;
    if plan.table.scheme == Scheme::Mbr && attributes != 0 {
        warnings.push(Warning::AttributesDropped {
            volume: volume(),
            attributes,
        });
    }
    warnings
}

/// What becomes of a filesystem in the sectors of the drive, where those are others than its own.
fn in_sectors(
    plan: &Plan,
    name: &str,
    source: &SourceVolume,
    asked: &SourceRequest,
) -> Option<Warning> {
    let sector_bytes = plan.drive.logical_sector_bytes;
    let is_other = asked.source.logical_sector_bytes != sector_bytes;
    let filesystem = source.recognized.as_ref().filter(|_| is_other)?;
    let volume = name.to_owned();
    match filesystem.on_sectors(sector_bytes) {
        OnSectors::AsIs => None,
        OnSectors::Anew(how) => Some(Warning::OtherSectors { volume, how }),
        OnSectors::Never(reason) | OnSectors::Unknown(reason) => {
            Some(Warning::SectorSize { volume, reason })
        }
    }
}

fn shrunk(planned: &PlannedVolume, source: &SourceVolume) -> Option<Warning> {
    let filesystem = planned.filesystem.filter(|_| planned.is_shrunk)?;
    Some(Warning::Shrunk {
        volume: planned.name.clone(),
        filesystem,
        filesystem_bytes: source.least_bytes(),
        size_bytes: planned.extent.len_bytes(),
        minimum_bytes: source.minimum.bytes(),
        minimum_unknown_because: source.minimum.unknown_because().map(str::to_owned),
    })
}

fn mbr_limits(plan: &Plan) -> Option<Warning> {
    let reach = u64::from(plan.drive.logical_sector_bytes).saturating_mul(1 << 32);
    (plan.table.scheme == Scheme::Mbr).then(|| Warning::MbrLimits {
        unreachable_bytes: plan.drive.size_bytes.saturating_sub(reach),
    })
}
