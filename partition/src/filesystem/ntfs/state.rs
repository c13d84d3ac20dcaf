//! Whether the bitmap can be believed: the volume's own flags, the log, the mirror.

use super::logfile;
use super::mft::{self, Mft};
use super::record::{DATA, Key, Record, VOLUME_INFORMATION, VOLUME_NAME};
use super::{damage, hibernation};
use crate::bytes::{le16, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;
use crate::text::sealed_utf16;

const DIRTY: u16 = 0x0001;
const CHKDSK_UNDERWAY: u16 = 0x4000;

/// How many records the mirror has at least.
const MIRRORED: u64 = 4;

/// Everything against copying by the bitmap.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn hazards(mft: &Mft, device: &dyn ReadAt) -> Result<Vec<Hazard>> {
    let checks = [flags, mirror, logfile::hazard, hibernation::hazard];
    let mut hazards = Vec::new();
    for check in checks {
        match check(mft, device) {
            Ok(found) => hazards.extend(found),
            Err(error) => hazards.push(damage(error)?),
        }
    }
    Ok(hazards)
}

/// The label in `$VOLUME_NAME`, if there is one.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the record of `$Volume` fails its check.
pub(super) fn label(mft: &Mft, device: &dyn ReadAt) -> Result<Option<String>> {
    let record = mft.record(device, mft::VOLUME)?;
    let Some(name) = record.find(Key::unnamed(VOLUME_NAME), 0)? else {
        return Ok(None);
    };
    let units = name.resident().unwrap_or_default().as_chunks::<2>().0;
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let end = units.iter().position(|&unit| unit == 0);
    let label = sealed_utf16(units.into_iter().take(end.unwrap_or(usize::MAX)));
    // As blkid prints it.
    let label = label.trim_end();
    Ok((!label.is_empty()).then(|| label.to_owned()))
}

/// `$VOLUME_INFORMATION`: version and flags.
fn flags(mft: &Mft, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let record = mft.record(device, mft::VOLUME)?;
    let found = record.find(Key::unnamed(VOLUME_INFORMATION), 0)?;
    let value = found.and_then(|found| found.resident());
    let Some(value) = value.filter(|value| value.len() >= 12) else {
        let expected = "12 bytes in the record";
        return Err(record
            .corrupt("$VOLUME_INFORMATION", expected, "less")
            .into());
    };
    let version = (u8_at(value, 8), u8_at(value, 9));
    let flags = le16(value, 10);
    Ok(match (version, flags) {
        ((0 | 4.., _) | (3, 2..), _) => {
            let which = format!("version {}.{}", version.0, version.1);
            Some(Hazard::UnknownFeature(which))
        }
        (_, flags) if flags & DIRTY != 0 => {
            let how = format!("volume flags {flags:#x}; run chkdsk in Windows, or ntfsfix -d");
            Some(Hazard::NotCleanlyUnmounted(how))
        }
        (_, flags) if flags & CHKDSK_UNDERWAY != 0 => {
            let how = format!("volume flags {flags:#x}: chkdsk has not ended");
            Some(Hazard::Errors(how))
        }
        _ => None,
    })
}

/// `$MFTMirr` must have the same first records.
fn mirror(mft: &Mft, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let geometry = &mft.geometry;
    let place_bytes = geometry.mirror_lcn.saturating_mul(geometry.cluster_bytes);
    let record = mft.record(device, mft::MIRROR)?;
    let stream = mft.stream(device, &record, Key::unnamed(DATA))?;
    let found = stream.map_or(0, |stream| stream.place_bytes(geometry, 0));
    if found != place_bytes {
        let found = format!("byte {found:#x}");
        let expected = format!("byte {place_bytes:#x} as in the boot sector");
        return Err(record.corrupt("$DATA of $MFTMirr", expected, found).into());
    }
    for number in 0..MIRRORED {
        let in_mirror = number.saturating_mul(geometry.record_bytes as u64);
        let offset_bytes = place_bytes.saturating_add(in_mirror);
        let record = mft.record(device, number)?;
        let bytes = read_vec(device, offset_bytes, geometry.record_bytes)?;
        let copy = Record::parse(bytes, number, offset_bytes)?;
        if copy.content() != record.content() {
            let expected = format!("the same record {number} as in $MFT");
            let bad = Corrupt::new("NTFS $MFTMirr", "record", offset_bytes, expected, "another");
            return Err(bad.into());
        }
    }
    Ok(None)
}
