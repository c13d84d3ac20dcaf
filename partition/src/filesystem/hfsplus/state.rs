//! Whether the allocation file can be believed: attributes, alternate header, journal.

use super::header::{self, Header, LEN_BYTES};
use super::journal::Journal;
use crate::bytes::be16;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::Hazard;

// Bits of `attributes` (TN1150, "Volume Attributes", and hfs_format.h for those after it).
const UNMOUNTED: u32 = 1 << 8;
const BOOT_INCONSISTENT: u32 = 1 << 11;
const JOURNALED: u32 = 1 << 13;
const INCONSISTENT: u32 = 1 << 14;
/// Those, and what says nothing of used blocks: hardware lock, spared blocks, no cache, file IDs
/// reused, software lock, expanded times, content protection, unused nodes zeroed.
const KNOWN: u32 = UNMOUNTED
    | BOOT_INCONSISTENT
    | JOURNALED
    | INCONSISTENT
    | 1 << 7
    | 1 << 9
    | 1 << 10
    | 1 << 12
    | 1 << 15
    | 7 << 29;

/// What a header of 512 bytes alone says against copying by the allocation file.
pub(super) fn recorded(raw: &[u8]) -> Vec<Hazard> {
    let attributes = header::attributes(raw);
    let mut hazards = Vec::new();
    let (signature, version) = (&raw[..2], be16(raw, 2));
    if !matches!((signature, version), (b"H+", 4) | (b"HX", 5)) {
        let signature = String::from_utf8_lossy(signature);
        let which = format!("{signature} of version {version}");
        hazards.push(Hazard::UnknownFeature(which));
    }
    if attributes & !KNOWN != 0 {
        let which = format!("volume attributes {:#x}", attributes & !KNOWN);
        hazards.push(Hazard::UnknownFeature(which));
    }
    if attributes & UNMOUNTED == 0 {
        let how = "kHFSVolumeUnmountedBit is 0".to_owned();
        hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    for (mask, name) in [
        (BOOT_INCONSISTENT, "kHFSBootVolumeInconsistentBit"),
        (INCONSISTENT, "kHFSVolumeInconsistentBit"),
    ] {
        if attributes & mask != 0 {
            hazards.push(Hazard::Errors(name.to_owned()));
        }
    }
    let last_mounted_version = raw.get(8..12);
    if last_mounted_version == Some(b"FSK!") {
        let how = "lastMountedVersion FSK!: the journal could not be replayed".to_owned();
        hazards.push(Hazard::Errors(how));
    }
    hazards
}

/// The journal, if the header says that there is one.
///
/// # Errors
/// As [`Journal::open`].
pub(super) fn journal(
    attributes: u32,
    header: &Header,
    device: &dyn ReadAt,
) -> Result<Option<Journal>> {
    if attributes & JOURNALED == 0 {
        return Ok(None);
    }
    Journal::open(header, device).map(Some)
}

/// What journal and alternate header say against copying by the allocation file.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn observed(
    attributes: u32,
    header: &Header,
    device: &dyn ReadAt,
) -> Result<Vec<Hazard>> {
    let journaled = journal(attributes, header, device).and_then(|journal| {
        let journal = journal.map(|journal| journal.hazard(device));
        Ok(journal.transpose()?.flatten())
    });
    let alternate = alternate(header, device).map(|()| None);
    let mut hazards = Vec::new();
    for found in [journaled, alternate] {
        match found {
            Ok(found) => hazards.extend(found),
            Err(error) => hazards.push(damage(error)?),
        }
    }
    Ok(hazards)
}

/// What can't be read speaks against copying by the bitmap; a device that fails is no hazard.
///
/// # Errors
/// Any error that says nothing about the volume.
pub(super) fn damage(error: Error) -> Result<Hazard> {
    match error {
        Error::Corrupt(corrupt) => Ok(Hazard::Damaged(corrupt.to_string())),
        error @ Error::Unsupported { .. } => Ok(Hazard::UnknownFeature(error.to_string())),
        other => Err(other),
    }
}

/// An alternate header must be in one of its places. It must agree with the first header in what
/// drivers keep the same in both: the geometry, and where the allocation file is.
fn alternate(header: &Header, device: &dyn ReadAt) -> Result<()> {
    let mut fault = None;
    for place in header.alternate_places() {
        let raw = read_vec(device, place, LEN_BYTES)?;
        match agree(header, &raw, place) {
            Ok(()) => return Ok(()),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    fault.map_or(Ok(()), Err)
}

fn agree(header: &Header, raw: &[u8], place: u64) -> Result<()> {
    let check = |is_same, field, expected: String, found: String| -> Result<()> {
        if is_same {
            return Ok(());
        }
        let structure = "HFS+ alternate volume header";
        Err(Corrupt::new(structure, field, place, expected, found).into())
    };
    let text = |signature: &[u8]| String::from_utf8_lossy(signature).into_owned();
    let expected = header.signature;
    let is_same = raw[..2] == expected;
    check(is_same, "signature", text(&expected), text(&raw[..2]))?;
    let other = Header::parse(raw, place, header.volume_bytes)?;
    for (field, expected, found) in [
        ("version", header.version.into(), other.version.into()),
        (
            "blockSize",
            header.blocks.block_bytes,
            other.blocks.block_bytes,
        ),
        ("totalBlocks", header.blocks.count, other.blocks.count),
    ] {
        let is_same = expected == found;
        check(is_same, field, expected.to_string(), found.to_string())?;
    }
    let is_same = header.allocation == other.allocation;
    let field = "allocationFile";
    let expected = format!("the runs of the header: {:?}", header.allocation.runs);
    check(
        is_same,
        field,
        expected,
        format!("{:?}", other.allocation.runs),
    )
}
