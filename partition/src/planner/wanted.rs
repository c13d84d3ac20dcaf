//! Sources expanded into the volumes that are wanted on the drive.

use super::ground::Ground;
use super::layout::{PlannedVolume, SourceRef};
use super::main_size::{MainSize, fixed};
use super::minimum::{Minimum, VolumeSizes};
use super::name::{check_date_stamp, check_name, clone_names};
use super::placement::Claim;
use super::request::{Request, Source, SourceRequest, SourceVolume};
use super::role::{self, Role};
use super::size::SizePolicy;
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
    /// How small that can be made.
    pub(super) minimum: Minimum,
    pub(super) claim: Claim,
}

impl Wanted {
    /// The same wish on a drive that is too small for the sources: as small as the filesystem, unless the
    /// user asked for a size.
    pub(super) fn tightened(&self) -> Self {
        self.down_to(self.least_bytes)
    }

    /// The same wish on a drive that is too small for the filesystems: as small as what fits, where the
    /// filesystem can be made smaller.
    pub(super) fn shrunken(&self) -> Self {
        let tightened = self.tightened();
        match self.minimum.fit_bytes(self.least_bytes) {
            Some(fit_bytes) => tightened.down_to(fit_bytes),
            None => tightened,
        }
    }

    /// The same wish, content with `least_bytes` unless the user asked for a size.
    fn down_to(&self, least_bytes: u64) -> Self {
        let is_free = match self.size {
            SizePolicy::Match => true,
            SizePolicy::Grow(growth) => growth.size_min_bytes.is_none(),
            SizePolicy::Fit | SizePolicy::Fixed { .. } => false,
        };
        let mut smaller = self.clone();
        if is_free && least_bytes < self.claim.min_bytes {
            smaller.claim.min_bytes = least_bytes;
            smaller.claim.weight = self.claim.weight.max(1);
        }
        smaller
    }

    /// The least size of a partition that is there and can be kept for its clone. What was made to fit has less
    /// room as the source fills up.
    pub(super) fn suitable_bytes(&self, may_shrink: bool) -> u64 {
        let asked_bytes = self.tightened().claim.min_bytes;
        let may_shrink = match self.size {
            SizePolicy::Fit => true,
            SizePolicy::Fixed { .. } => false,
            SizePolicy::Match | SizePolicy::Grow(_) => may_shrink,
        };
        let minimum_bytes = self.minimum.bytes().filter(|_| may_shrink);
        minimum_bytes.map_or(asked_bytes, |bytes| bytes.min(asked_bytes))
    }

    /// How large it is, could be, and becomes in `extent`.
    pub(super) fn sizes(&self, extent: Extent) -> VolumeSizes {
        VolumeSizes {
            volume: self.name.clone(),
            used_bytes: self.used_bytes,
            minimum_bytes: self.minimum.bytes(),
            minimum_unknown_because: self.minimum.unknown_because().map(str::to_owned),
            source_bytes: self.source_bytes,
            size_bytes: extent.len_bytes(),
            is_shrunk: self.is_shrunk_in(extent),
        }
    }

    /// Whether its filesystem has to be made smaller for `extent`.
    const fn is_shrunk_in(&self, extent: Extent) -> bool {
        extent.len_bytes() < self.least_bytes
    }

    /// The volume at its place.
    pub(super) fn at(&self, number: u32, extent: Extent, guid: Option<Uuid>) -> PlannedVolume {
        let is_shrunk = self.is_shrunk_in(extent);
        let is_cut = extent.len_bytes() < self.source_bytes && !is_shrunk;
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
            least_bytes: is_cut.then_some(self.least_bytes),
            minimum_bytes: self.minimum.bytes(),
            is_shrunk,
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
            let Description {
                partition_type,
                attributes,
                is_bootable,
            } = described(volume, ground.scheme).map_err(|what| {
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
                minimum: volume.minimum.clone(),
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

/// How much a source is about volumes of this role: not at all about those that are there for booting.
const fn rank(role: Role) -> u8 {
    match role {
        Role::Root => 3,
        Role::Other => 2,
        Role::Home | Role::Srv | Role::Var => 1,
        _ => 0,
    }
}

/// Whether volumes of this role are made smaller where their source is to fit.
const fn is_worth_it(role: Role) -> bool {
    rank(role) > 0
}

/// The same by roles and sizes alone.
pub(super) fn main_of(volumes: impl Iterator<Item = (Role, u64)>) -> Option<usize> {
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

/// What the entry of a clone says beside its name and its place.
struct Description {
    partition_type: PartitionType,
    attributes: u64,
    is_bootable: bool,
}

/// What the entry of the clone of `volume` says.
fn described(
    volume: &SourceVolume,
    scheme: Scheme,
) -> std::result::Result<Description, &'static str> {
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
            Description {
                partition_type: PartitionType::Gpt(guid),
                attributes: volume.attributes | legacy_boot,
                is_bootable: false,
            }
        }
        Scheme::Mbr => {
            let byte = match volume.partition_type {
                Some(PartitionType::Mbr(byte)) => byte,
                Some(PartitionType::Gpt(guid)) => role::mbr_type(Some(guid), kind)?,
                None => role::mbr_type(None, kind)?,
            };
            Description {
                partition_type: PartitionType::Mbr(byte),
                attributes: 0,
                is_bootable: volume.is_bootable || is_legacy_boot,
            }
        }
    })
}

/// The policy and the claim of each volume. The main volume has the policy of its source, less what the
/// others take. Of a source that is to fit, all volumes for files become smaller that can.
fn claims(
    asked: &SourceRequest,
    volumes: &[(&SourceVolume, Role)],
    main: usize,
    sector_bytes: u64,
) -> Result<Vec<(SizePolicy, Claim)>> {
    let too_large = || Error::Invalid(format!("{}: a size is out of range", asked.name));
    let mut others_bytes: u64 = 0;
    let mut claims = Vec::with_capacity(volumes.len());
    for (index, (volume, role)) in volumes.iter().enumerate() {
        let own_bytes = volume
            .extent
            .len_bytes()
            .checked_next_multiple_of(sector_bytes)
            .ok_or_else(too_large)?;
        let end_bytes = in_sectors(volume.least_bytes(), sector_bytes);
        let fit_bytes = match asked.size {
            SizePolicy::Fit if is_worth_it(*role) => volume.minimum.fit_bytes(end_bytes),
            _ => None,
        };
        let (size, bytes) = match fit_bytes {
            Some(bytes) => (
                SizePolicy::Fit,
                in_sectors(bytes, sector_bytes).min(own_bytes),
            ),
            None => (SizePolicy::Match, own_bytes),
        };
        if index != main {
            others_bytes = others_bytes.checked_add(bytes).ok_or_else(too_large)?;
        }
        claims.push((size, fixed(bytes)));
    }
    let main_volume = volumes[main].0;
    let checked = MainSize {
        name: &asked.name,
        own_bytes: in_sectors(main_volume.extent.len_bytes(), sector_bytes),
        end_bytes: in_sectors(main_volume.least_bytes(), sector_bytes),
        minimum: &main_volume.minimum,
        used_bytes: main_volume.used_bytes,
        others_bytes,
        sector_bytes,
    };
    claims[main] = checked.claim(asked.size)?;
    Ok(claims)
}
