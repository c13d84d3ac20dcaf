//! Whether the bitmap can be believed: the volume's own flags, the log, the mirror.
//!
//! `VOLUME_INFORMATION`: Linux-NTFS documentation, "$VOLUME_INFORMATION":
//! <https://flatcap.github.io/linux-ntfs/ntfs/attributes/volume_information.html>.

use super::address::{RecordNumber, Vcn};
use super::logfile;
use super::mft::{self, Mft};
use super::record::{DATA, Key, Record, VOLUME_INFORMATION, VOLUME_NAME};
use super::{damage, hibernation};
use crate::bytes::{le16, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;
use crate::text::sealed_utf16;

/// `VOLUME_IS_DIRTY`
const DIRTY: u16 = 0x0001;
/// `VOLUME_CHKDSK_UNDERWAY`
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
    let Some(name) = record.find(Key::unnamed(VOLUME_NAME), Vcn(0))? else {
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
    let found = record.find(Key::unnamed(VOLUME_INFORMATION), Vcn(0))?;
    let value = found.and_then(|found| found.resident());
    let Some(value) = value.filter(|value| value.len() >= 12) else {
        let expected = "12 bytes in the record";
        let corrupt = record.corrupt("$VOLUME_INFORMATION", expected, "less");
        return Err(corrupt.into());
    };
    let major_ver = u8_at(value, 0x08);
    let minor_ver = u8_at(value, 0x09);
    let flags = le16(value, 0x0a);
    if matches!((major_ver, minor_ver), (0 | 4.., _) | (3, 2..)) {
        let which = format!("version {major_ver}.{minor_ver}");
        return Ok(Some(Hazard::UnknownFeature(which)));
    }
    if flags & DIRTY != 0 {
        let how = format!("volume flags {flags:#x}; run chkdsk in Windows, or ntfsfix -d");
        return Ok(Some(Hazard::NotCleanlyUnmounted(how)));
    }
    let how = format!("volume flags {flags:#x}: chkdsk has not ended");
    Ok((flags & CHKDSK_UNDERWAY != 0).then_some(Hazard::Errors(how)))
}

/// `$MFTMirr` must have the same first records.
fn mirror(mft: &Mft, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let geometry = &mft.geometry;
    let start_bytes = geometry.bytes(geometry.mirror_lcn.0);
    let record = mft.record(device, mft::MIRROR)?;
    let stream = mft.stream(device, &record, Key::unnamed(DATA))?;
    let found = stream.map_or(0, |stream| stream.place_bytes(geometry, 0));
    if found != start_bytes {
        let found = format!("byte {found:#x}");
        let expected = format!("byte {start_bytes:#x} as in the boot sector");
        return Err(record.corrupt("$DATA of $MFTMirr", expected, found).into());
    }
    for number in (0..MIRRORED).map(RecordNumber) {
        // The mirror begins within the volume, and four records have at most 256 KiB.
        let offset_bytes = start_bytes + geometry.record_byte(number);
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
