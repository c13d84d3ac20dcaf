//! A volume at one moment: its bytes, and what a run would keep of it.

use super::volumes::Made;
use klon_imaging::change::proven::{
    ExtentCount, ExtentVerdict, ExtentWriter, Found, Horizon, Identities, IdentityWriter,
    KeptExtents, Largest, Previous, PreviousExtents, Rule, Signatures, Stamped, Walk, WalkError,
    walk, walk_extents,
};
use klon_imaging::change::sectors::SectorCheck;
use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::files::Stamp;
use klon_partition::filesystem::{Filesystem, Kind, probe};
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// A volume at one moment.
pub(super) struct State {
    pub(super) bytes: Vec<u8>,
    pub(super) used: ExtentMap,
    /// What is kept of the files.
    stream: Vec<u8>,
    /// Where a signature is, in what was read then or before.
    signatures: ExtentMap,
    /// Sectors that did not have their checksum, when they were read then or before.
    pub(super) damaged: ExtentMap,
    /// What the record describes.
    pub(super) described: ExtentMap,
    pub(super) found: Found<()>,
    /// The extents, where they are compared instead of files.
    pub(super) extents: BTreeMap<ExtentVerdict, ExtentCount>,
}

/// A volume in memory.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl ReadAt for Bytes<'_> {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.0.len() as u64, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let extent = Extent::new(offset_bytes, buffer.len() as u64);
        if let Some(extent) = extent {
            buffer.copy_from_slice(part(self.0, extent));
        }
        Ok(())
    }
}

/// This moment.
pub(super) fn now() -> Stamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp {
        seconds: i64::try_from(now.as_secs()).unwrap(),
        nanoseconds: now.subsec_nanos(),
    }
}

/// What a run notes now of a volume of those bytes.
pub(super) fn stamped(bytes: &[u8]) -> Stamped {
    let device = Bytes(bytes);
    let filesystem = probe(&device).unwrap().unwrap();
    Stamped {
        instance: filesystem.instance(&device).unwrap(),
        age: filesystem.age(&device).unwrap(),
        is_clean: filesystem.summary().hazards.is_empty(),
        seen: u64::try_from(now().seconds).unwrap(),
        continuity: None,
        written_by: Vec::new(),
        session: None,
    }
}

impl State {
    /// The first run over a volume, or the next one.
    pub(super) fn of(made: &Made, previous: Option<&Self>, rule: &Rule) -> Self {
        Self::at(made, previous, rule, Horizon::unmounted(now()))
    }

    /// The same of a run with that horizon.
    pub(super) fn at(made: &Made, previous: Option<&Self>, rule: &Rule, horizon: Horizon) -> Self {
        let bytes = std::fs::read(made.image()).unwrap();
        Self::of_bytes(bytes, previous, rule, horizon)
    }

    /// The same of the bytes of a volume.
    pub(super) fn of_bytes(
        bytes: Vec<u8>,
        previous: Option<&Self>,
        rule: &Rule,
        horizon: Horizon,
    ) -> Self {
        let device = Bytes(&bytes);
        let filesystem = probe(&device).unwrap().unwrap();
        let hazards = &filesystem.summary().hazards;
        assert!(hazards.is_empty(), "{hazards:?}");
        let used = filesystem.used(&device).unwrap().unwrap();
        let volume = (&*filesystem, &device as &dyn ReadAt);
        let (stream, found, extents) = match filesystem.summary().kind {
            Kind::Btrfs => walked_extents(volume, previous, rule).unwrap(),
            _ => walked(volume, previous, rule, horizon).unwrap(),
        };
        let mut signatures = Signatures::new();
        let check = SectorCheck::begin(&*filesystem, &device).map(Result::unwrap);
        let read = used.difference(&found.proven);
        for extent in read.iter() {
            let content = part(&bytes, extent);
            signatures.look(extent.offset_bytes(), content);
            if let Some(check) = &check {
                check.look(extent.offset_bytes(), content);
            }
        }
        let before = previous.map(|state| state.damaged.difference(&read));
        let now = check.map(|check| {
            let checked = check.finish();
            assert_eq!(checked.unchecked_because, None);
            checked.damaged
        });
        Self {
            damaged: before.unwrap_or_default().union(&now.unwrap_or_default()),
            bytes,
            described: used.clone(),
            used,
            stream,
            signatures: signatures.finish(),
            found,
            extents,
        }
    }

    /// The proven bytes that are not what they were.
    pub(super) fn missed(&self, before: &Self) -> ExtentMap {
        let proven = &self.found.proven;
        let pieces = proven.iter().flat_map(|extent| extent.split(512));
        let differs = |piece: &Extent| part(&self.bytes, *piece) != part(&before.bytes, *piece);
        pieces.filter(differs).collect()
    }

    /// The files that have bytes of `extents`, as the filesystem names them.
    pub(super) fn owners(&self, extents: &ExtentMap) -> Vec<String> {
        let device = Bytes(&self.bytes);
        let filesystem = probe(&device).unwrap().unwrap();
        let owners = filesystem.owners(&device, extents, 100_000);
        // What is in an item of a tree is metadata.
        let files = owners.files.iter();
        let files = files.filter(|owner| owner.inline_sha256.is_none());
        files.map(|owner| owner.path.to_string()).collect()
    }
}

fn part(all: &[u8], extent: Extent) -> &[u8] {
    let [start, end] = [extent.offset_bytes(), extent.end_bytes()];
    &all[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
}

type Walked =
    std::result::Result<(Vec<u8>, Found<()>, BTreeMap<ExtentVerdict, ExtentCount>), WalkError>;

fn over<'a>(
    (filesystem, device): (&'a dyn Filesystem, &'a dyn ReadAt),
    rule: &'a Rule,
) -> Walk<'a> {
    Walk {
        filesystem,
        device,
        rule,
        is_cancelled: &|| false,
    }
}

fn walked(
    volume: (&dyn Filesystem, &dyn ReadAt),
    previous: Option<&State>,
    rule: &Rule,
    horizon: Horizon,
) -> Walked {
    let previous = previous.map(|state| Previous {
        identities: Identities::begin(&state.stream[..]).unwrap(),
        signatures: &state.signatures,
        written_past: &state.found.written_past,
        described: &state.described,
    });
    let keep = IdentityWriter::begin(Vec::new(), horizon).unwrap();
    let found = walk(over(volume, rule), previous, keep)?;
    let Found {
        proven,
        written_past,
        files,
        inner,
        kept,
        largest,
        contents,
    } = found;
    let (filesystem, device) = volume;
    // What the walk gathered beside it tells metadata as a walk of its own does, where the parser can tell.
    let gathered = contents
        .as_ref()
        .map(|it| filesystem.metadata_but(device, it));
    match gathered.transpose()?.flatten() {
        Some(gathered) => assert_eq!(Some(gathered), filesystem.metadata(device)?),
        None => assert_eq!(filesystem.summary().kind, Kind::Ntfs),
    }
    let found = Found {
        proven,
        written_past,
        files,
        inner: (),
        kept,
        largest,
        contents,
    };
    Ok((inner, found, BTreeMap::new()))
}

fn walked_extents(
    volume: (&dyn Filesystem, &dyn ReadAt),
    previous: Option<&State>,
    rule: &Rule,
) -> Walked {
    let previous = previous.map(|state| PreviousExtents {
        extents: KeptExtents::begin(&state.stream[..]).unwrap(),
        damaged: &state.damaged,
        described: &state.described,
    });
    let keep = ExtentWriter::begin(Vec::new(), Horizon::NEVER).unwrap();
    let found = walk_extents(over(volume, rule), previous, keep)?;
    let as_files = Found {
        proven: found.proven,
        written_past: ExtentMap::new(),
        files: BTreeMap::new(),
        largest: Largest::default(),
        inner: (),
        kept: found.kept,
        contents: None,
    };
    Ok((found.inner, as_files, found.extents))
}
