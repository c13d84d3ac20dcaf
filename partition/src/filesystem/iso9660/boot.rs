//! Boot images that El Torito's catalogs name.

use super::descriptor::{Descriptors, SECTOR_BYTES};
use super::units;
use crate::bytes::{le16, le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::Extent;

/// The images that El Torito's boot catalogs name ("El Torito" Bootable CD-ROM Format, section
/// 2).
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn images(
    volume: &dyn ReadAt,
    descriptors: &Descriptors,
) -> Result<impl Iterator<Item = Extent>> {
    let mut found = Vec::new();
    for sector in &descriptors.catalogs {
        let place = units(*sector, 1, SECTOR_BYTES)
            .filter(|place| place.end_bytes() <= volume.geometry().size_bytes);
        let Some(place) = place else {
            // A catalog that is not there has to be somewhere: past the end.
            found.extend(units(*sector, 1, SECTOR_BYTES));
            continue;
        };
        let catalog = read_vec(volume, place.offset_bytes(), SECTOR_BYTES as usize)?;
        let is_catalog = u8_at(&catalog, 0) == 1 && le16(&catalog, 30) == 0xaa55;
        let entries = catalog.chunks_exact(32).skip(1).filter(|_| is_catalog);
        found.extend(entries.filter_map(image));
    }
    Ok(found.into_iter())
}

/// The image of a bootable entry.
fn image(entry: &[u8]) -> Option<Extent> {
    let (boot_indicator, boot_media_type) = (u8_at(entry, 0), u8_at(entry, 1));
    let (sector_count, load_rba) = (le16(entry, 6), le32(entry, 8));
    if boot_indicator != 0x88 {
        return None;
    }
    let sectors = u64::from(sector_count).max(1);
    // Emulated floppies of 1.2, 1.44 and 2.88 MB are as long as these are.
    let len_bytes = match boot_media_type & 0x0f {
        1 => 1200 << 10,
        2 => 1440 << 10,
        3 => 2880 << 10,
        _ => sectors * 512,
    };
    let start = units(load_rba.into(), 1, SECTOR_BYTES)?;
    Extent::new(start.offset_bytes(), len_bytes)
}
