//! A volume at one moment: its bytes, and what a run would keep of it.

use super::volumes::Made;
use klon_imaging::change::proven::{
    Found, Horizon, Identities, IdentityWriter, Previous, Rule, Signatures, WalkError, walk,
};
use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::files::Stamp;
use klon_partition::filesystem::{Filesystem, probe};
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// A volume at one moment.
pub(super) struct State {
    pub(super) bytes: Vec<u8>,
    pub(super) used: ExtentMap,
    /// What is kept of the files.
    stream: Vec<u8>,
    /// Where a signature is, in what was read then or before.
    signatures: ExtentMap,
    /// What the record describes.
    pub(super) described: ExtentMap,
    pub(super) found: Found<()>,
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
        let (stream, found) = walked(&*filesystem, &device, (previous, rule), horizon).unwrap();
        let mut signatures = Signatures::new();
        for extent in used.difference(&found.proven).iter() {
            signatures.look(extent.offset_bytes(), part(&bytes, extent));
        }
        Self {
            bytes,
            described: used.clone(),
            used,
            stream,
            signatures: signatures.finish(),
            found,
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
        let owners = filesystem.owners(&device, extents, 1000);
        let files = owners.files.iter();
        files.map(|owner| owner.path.to_string()).collect()
    }
}

fn part(all: &[u8], extent: Extent) -> &[u8] {
    let [start, end] = [extent.offset_bytes(), extent.end_bytes()];
    &all[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
}

fn walked(
    filesystem: &dyn Filesystem,
    device: &dyn ReadAt,
    (previous, rule): (Option<&State>, &Rule),
    horizon: Horizon,
) -> std::result::Result<(Vec<u8>, Found<()>), WalkError> {
    let previous = previous.map(|state| Previous {
        identities: Identities::begin(&state.stream[..]).unwrap(),
        signatures: &state.signatures,
        written_past: &state.found.written_past,
        described: &state.described,
    });
    let keep = IdentityWriter::begin(Vec::new(), horizon).unwrap();
    let found = walk((filesystem, device), previous, keep, rule, &|| false)?;
    let Found {
        proven,
        written_past,
        files,
        inner,
        kept,
    } = found;
    let found = Found {
        proven,
        written_past,
        files,
        inner: (),
        kept,
    };
    Ok((inner, found))
}
