//! Sources expanded into the volumes that are wanted on the drive.

use super::ground::Ground;
use super::layout::{PlannedVolume, SourceRef};
use super::name::{check_date_stamp, check_name, clone_names};
use super::placement::Claim;
use super::request::{Request, Source, SourceRequest, SourceVolume};
use super::role::{self, Role};
use super::size::{Growth, SizePolicy, human_size, human_size_at_least};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::table::{PartitionType, Scheme};
use crate::text::quoted;
use uuid::Uuid;

/// A volume that the drive shall have.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) group: String,
    /// Index of its source in the request.
    pub(super) source_index: usize,
    pub(super) source: SourceRef,
    pub(super) partition_type: PartitionType,
    pub(super) attributes: u64,
    pub(super) is_bootable: bool,
    pub(super) size: SizePolicy,
    pub(super) source_bytes: u64,
    /// Where its filesystem ends, in whole sectors.
    pub(super) least_bytes: u64,
    pub(super) used_bytes: Option<u64>,
    pub(super) filesystem: Option<Kind>,
    pub(super) claim: Claim,
}

impl Wanted {
    /// The same wish on a drive that is too small for the sources: as small as the filesystem, unless the
    /// user asked for a size.
    pub(super) fn tightened(&self) -> Self {
        let is_free = match self.size {
            SizePolicy::Match => true,
            SizePolicy::Grow(growth) => growth.size_min_bytes.is_none(),
            SizePolicy::Fit | SizePolicy::Fixed { .. } => false,
        };
        let mut tightened = self.clone();
        if is_free && self.least_bytes < self.claim.min_bytes {
            tightened.claim.min_bytes = self.least_bytes;
            tightened.claim.weight = self.claim.weight.max(1);
        }
        tightened
    }

    /// The volume at its place.
    pub(super) fn at(&self, number: u32, extent: Extent, guid: Option<Uuid>) -> PlannedVolume {
        PlannedVolume {
            name: self.name.clone(),
            group: self.group.clone(),
            source: self.source.clone(),
            number,
            extent,
            partition_type: self.partition_type,
            guid,
            attributes: self.attributes,
            is_bootable: self.is_bootable,
            size: self.size,
            source_bytes: self.source_bytes,
            least_bytes: (extent.len_bytes() < self.source_bytes).then_some(self.least_bytes),
            used_bytes: self.used_bytes,
            filesystem: self.filesystem,
        }
    }
}

/// All volumes that the request wants, in the order of its sources.
pub(super) fn expand(request: &Request, ground: &Ground) -> Result<Vec<Wanted>> {
    if request.sources.is_empty() {
        return Err(Error::Invalid("the plan has no source".to_owned()));
    }
    if let Some(stamp) = &request.options.date_stamp {
        check_date_stamp(stamp)?;
    }
    check_sources(request)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for index in 0..request.sources.len() {
        wanted.extend(expand_source(request, ground, index)?);
    }
    for (index, one) in wanted.iter().enumerate() {
        if wanted[..index].iter().any(|other| other.name == one.name) {
            return Err(Error::Invalid(format!(
                "two volumes would be called {}; give one of the sources another name",
                quoted(&one.name)
            )));
        }
    }
    // Only one MBR partition can be the active one.
    let mut has_active = ground.existing().iter().any(|there| there.is_bootable);
    for one in &mut wanted {
        one.is_bootable &= !has_active;
        has_active |= one.is_bootable;
    }
    Ok(wanted)
}

fn check_sources(request: &Request) -> Result<()> {
    for (index, one) in request.sources.iter().enumerate() {
        check_name(&one.name)?;
        let (name, source) = (&one.name, &one.source);
        let drive = &request.drive.identity;
        if source.identity == *drive || source.disk.as_ref() == Some(drive) {
            return Err(Error::Refused(format!(
                "{name} ({}) is the drive of the plan, or lies on it",
                source.identity
            )));
        }
        for other in &request.sources[..index] {
            if other.name == *name {
                let why = format!(
                    "two sources are called {}; give each its own name",
                    quoted(name)
                );
                return Err(Error::Invalid(why));
            }
            if is_within(source, &other.source) || is_within(&other.source, source) {
                return Err(Error::Invalid(format!(
                    "{} and {name} have a volume in common; leave one of them out",
                    other.name
                )));
            }
        }
    }
    Ok(())
}

fn is_within(part: &Source, whole: &Source) -> bool {
    let known = |partuuid: &String| {
        let of = |volume: &SourceVolume| volume.partuuid.as_ref() == Some(partuuid);
        part.disk == whole.disk && whole.volumes.iter().any(of)
    };
    let mut partuuids = part.volumes.iter().filter_map(|v| v.partuuid.as_ref());
    let in_whole = |part: &SourceVolume| whole.volumes.iter().any(|of| of.number == part.number);
    let is_same = part.identity == whole.identity && part.volumes.iter().any(in_whole);
    is_same || partuuids.any(known)
}

fn expand_source(request: &Request, ground: &Ground, index: usize) -> Result<Vec<Wanted>> {
    let asked = &request.sources[index];
    let volumes: Vec<(&SourceVolume, Role)> = asked
        .source
        .volumes
        .iter()
        .map(|volume| (volume, volume.partition_type.map_or(Role::Other, Role::of)))
        .filter(|(_, role)| *role != Role::Extended)
        .collect();
    let Some(main) = main_volume(&volumes) else {
        return Err(Error::Invalid(format!(
            "{} ({}) has no volume to clone",
            asked.name, asked.source.identity
        )));
    };
    let stamp = request.options.date_stamp.as_deref();
    let names = clone_names(&asked.name, stamp, &volumes, main)?;
    let claims = claims(asked, &volumes, main, ground.sector_bytes)?;
    let parts = volumes.iter().zip(names).zip(claims);
    parts
        .map(|((&(volume, _), name), (size, claim))| {
            let (partition_type, attributes, is_bootable) = described(volume, ground.scheme)
                .map_err(|what| {
                    Error::Refused(format!(
                        "{name}: {what}; plan for GPT, or clone the other partitions one by one"
                    ))
                })?;
            Ok(Wanted {
                name,
                group: asked.name.clone(),
                source_index: index,
                source: source_ref(&asked.source, volume),
                partition_type,
                attributes,
                is_bootable,
                size,
                source_bytes: volume.extent.len_bytes(),
                least_bytes: in_sectors(volume.least_bytes(), ground.sector_bytes),
                used_bytes: volume.used_bytes,
                filesystem: volume.filesystem.as_ref().map(|summary| summary.kind),
                claim,
            })
        })
        .collect()
}

fn in_sectors(bytes: u64, sector_bytes: u64) -> u64 {
    bytes
        .checked_next_multiple_of(sector_bytes)
        .unwrap_or(u64::MAX)
}

/// The volume that a source is about: the root filesystem if it is marked as one, else the
/// largest that is not there for booting.
fn main_volume(volumes: &[(&SourceVolume, Role)]) -> Option<usize> {
    let sizes = volumes.iter();
    main_of(sizes.map(|(volume, role)| (*role, volume.extent.len_bytes())))
}

/// The same by roles and sizes alone.
pub(super) fn main_of(volumes: impl Iterator<Item = (Role, u64)>) -> Option<usize> {
    let rank = |role: Role| match role {
        Role::Root => 3,
        Role::Other => 2,
        Role::Home | Role::Srv | Role::Var => 1,
        _ => 0,
    };
    // The first of equals.
    let ranked = |&(index, (role, bytes)): &(usize, (Role, u64))| {
        (rank(role), bytes, std::cmp::Reverse(index))
    };
    let main = volumes.enumerate().max_by_key(ranked);
    main.map(|(index, _)| index)
}

fn source_ref(source: &Source, volume: &SourceVolume) -> SourceRef {
    let summary = volume.filesystem.as_ref();
    SourceRef {
        identity: source.identity.clone(),
        partition: volume.number,
        partuuid: volume.partuuid.clone(),
        fs_uuid: summary.and_then(|summary| summary.uuid.clone()),
    }
}

/// Type, attributes and boot indicator of the clone of `volume`.
fn described(
    volume: &SourceVolume,
    scheme: Scheme,
) -> std::result::Result<(PartitionType, u64, bool), &'static str> {
    let kind = volume.filesystem.as_ref().map(|summary| summary.kind);
    let is_legacy_boot = volume.attributes & role::ATTRIBUTE_LEGACY_BOOT != 0;
    Ok(match scheme {
        Scheme::Gpt => {
            let guid = match volume.partition_type {
                Some(PartitionType::Gpt(guid)) => guid,
                Some(PartitionType::Mbr(byte)) => role::gpt_type(Some(byte), kind),
                None => role::gpt_type(None, kind),
            };
            let legacy_boot = if volume.is_bootable {
                role::ATTRIBUTE_LEGACY_BOOT
            } else {
                0
            };
            (
                PartitionType::Gpt(guid),
                volume.attributes | legacy_boot,
                false,
            )
        }
        Scheme::Mbr => {
            let byte = match volume.partition_type {
                Some(PartitionType::Mbr(byte)) => byte,
                Some(PartitionType::Gpt(guid)) => role::mbr_type(Some(guid), kind)?,
                None => role::mbr_type(None, kind)?,
            };
            let is_bootable = volume.is_bootable || is_legacy_boot;
            (PartitionType::Mbr(byte), 0, is_bootable)
        }
    })
}

/// The policy and the claim of each volume. The main volume has the policy of its source, less what the
/// others take.
fn claims(
    asked: &SourceRequest,
    volumes: &[(&SourceVolume, Role)],
    main: usize,
    sector_bytes: u64,
) -> Result<Vec<(SizePolicy, Claim)>> {
    let too_large = || Error::Invalid(format!("{}: a size is out of range", asked.name));
    let mut others_bytes: u64 = 0;
    let mut claims = Vec::with_capacity(volumes.len());
    for (index, (volume, _)) in volumes.iter().enumerate() {
        let bytes = volume
            .extent
            .len_bytes()
            .checked_next_multiple_of(sector_bytes)
            .ok_or_else(too_large)?;
        if index != main {
            others_bytes = others_bytes.checked_add(bytes).ok_or_else(too_large)?;
        }
        claims.push((SizePolicy::Match, fixed(bytes)));
    }
    let least = claims[main].1.min_bytes;
    let checked = MainSize {
        name: &asked.name,
        least_bytes: least,
        end_bytes: in_sectors(volumes[main].0.least_bytes(), sector_bytes),
        others_bytes,
        sector_bytes,
    };
    claims[main] = checked.claim(asked.size)?;
    Ok(claims)
}

pub(super) const fn fixed(bytes: u64) -> Claim {
    Claim {
        min_bytes: bytes,
        max_bytes: bytes,
        weight: 0,
        padding_bytes: 0,
    }
}

/// What the size of a source means for its main volume.
pub(super) struct MainSize<'a> {
    pub(super) name: &'a str,
    pub(super) least_bytes: u64,
    /// Where its filesystem ends.
    pub(super) end_bytes: u64,
    pub(super) others_bytes: u64,
    pub(super) sector_bytes: u64,
}

impl MainSize<'_> {
    pub(super) fn claim(&self, size: SizePolicy) -> Result<(SizePolicy, Claim)> {
        match size {
            SizePolicy::Match => Ok((size, fixed(self.least_bytes))),
            SizePolicy::Fit => Err(Error::Refused(format!(
                "{}: size \"fit\" may be smaller than the source, and klon can't shrink yet. Use \
                 \"match\", \"grow\" or a size of at least {}",
                self.name,
                human_size_at_least(self.least_bytes.saturating_add(self.others_bytes))
            ))),
            SizePolicy::Fixed { size_bytes } => {
                let size_bytes = self.own(size_bytes)?;
                Ok((SizePolicy::Fixed { size_bytes }, fixed(size_bytes)))
            }
            SizePolicy::Grow(growth) => self.grow(growth),
        }
    }

    fn grow(&self, growth: Growth) -> Result<(SizePolicy, Claim)> {
        let size_min_bytes = growth.size_min_bytes.map(|b| self.own(b)).transpose()?;
        let size_max_bytes = growth.size_max_bytes.map(|b| self.own(b)).transpose()?;
        let min_bytes = size_min_bytes.unwrap_or(self.least_bytes);
        let max_bytes = size_max_bytes.unwrap_or(u64::MAX);
        if min_bytes > max_bytes || growth.weight == 0 {
            return Err(Error::Invalid(format!(
                "{}: grow from {} to {} with weight {} is impossible",
                self.name,
                human_size(min_bytes),
                human_size(max_bytes),
                growth.weight
            )));
        }
        let policy = SizePolicy::Grow(Growth {
            size_min_bytes,
            size_max_bytes,
            ..growth
        });
        let claim = Claim {
            min_bytes,
            max_bytes,
            weight: growth.weight,
            padding_bytes: growth.padding_bytes,
        };
        Ok((policy, claim))
    }

    /// What a size for the whole source leaves for its main volume.
    fn own(&self, total_bytes: u64) -> Result<u64> {
        total_bytes
            .checked_next_multiple_of(self.sector_bytes)
            .and_then(|total| total.checked_sub(self.others_bytes))
            .filter(|own| *own >= self.end_bytes)
            .ok_or_else(|| {
                let least = self.end_bytes.saturating_add(self.others_bytes);
                Error::Refused(format!(
                    "{}: {} is less than the source's {}, and klon can't shrink yet. Use \
                     \"match\", or a size of at least {}",
                    self.name,
                    human_size(total_bytes),
                    human_size(least),
                    human_size_at_least(least)
                ))
            })
    }
}
