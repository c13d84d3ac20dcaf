//! exFAT for sectors of another size: its boot regions are made anew (sections 3.1 to 3.4), where its FAT and its
//! clusters lie at whole sectors of that size and behind both regions.

use super::boot::{REGION_SECTORS, checksum};
use super::layout::Layout;
use crate::bytes::{le32, le64, u8_at};
use crate::device::{Composed, Geometry, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::filesystem::sectors::{OnSectors, patched};
use std::sync::Arc;

const PARTITION_OFFSET: usize = 64;
const VOLUME_LENGTH: usize = 72;
const FAT_OFFSET: usize = 80;
const FAT_LENGTH: usize = 84;
const HEAP_OFFSET: usize = 88;
const SECTOR_SHIFT: usize = 108;
const CLUSTER_SHIFT: usize = 109;
const BOOT_BYTES: usize = 512;
/// Extended boot sectors end with this (section 3.2).
const EXTENDED: std::ops::RangeInclusive<usize> = 1..=8;
const EXTENDED_SIGNATURE: [u8; 4] = [0, 0, 0x55, 0xaa];

/// The sector that the boot sector says.
pub(super) fn own_bytes(boot: &[u8]) -> u64 {
    1_u64
        .checked_shl(u8_at(boot, SECTOR_SHIFT).into())
        .unwrap_or(0)
}

/// What becomes of it on sectors of another size.
pub(super) fn on_sectors(layout: &Layout, own_bytes: u64, sector_bytes: u32) -> OnSectors {
    if own_bytes == u64::from(sector_bytes) {
        return OnSectors::AsIs;
    }
    match obstacle(layout, sector_bytes) {
        Some(why) => OnSectors::Never(format!(
            "its exfat can't be made for sectors of {sector_bytes} bytes: {why}"
        )),
        None => patched(Kind::Exfat, own_bytes, sector_bytes),
    }
}

fn obstacle(layout: &Layout, sector_bytes: u32) -> Option<String> {
    let sector = u64::from(sector_bytes);
    let regions_bytes = 2 * REGION_SECTORS as u64 * sector;
    let cluster_bytes = u64::from(layout.heap.size_bytes());
    if cluster_bytes < sector {
        return Some(format!("its clusters have {cluster_bytes} bytes"));
    }
    if layout.fat_offset_bytes < regions_bytes {
        return Some(format!(
            "its FAT begins at byte {}, before the end of boot regions of that size",
            layout.fat_offset_bytes
        ));
    }
    let starts = [layout.fat_offset_bytes, layout.heap.offset_bytes()];
    let is_odd = starts.iter().any(|at| !at.is_multiple_of(sector));
    // A FAT may be longer than its entries, but a second one begins where it ends.
    let fat_bytes = layout.fat_bytes.next_multiple_of(sector);
    let fats_end_bytes = layout.fat_offset_bytes + u64::from(layout.fat_count) * fat_bytes;
    let is_shifted = layout.fat_count > 1 && fat_bytes != layout.fat_bytes;
    let is_tight = fats_end_bytes > layout.heap.offset_bytes() || is_shifted;
    (is_odd || is_tight || layout.heap.end_bytes() > layout.size_bytes / sector * sector)
        .then(|| "its parts do not lie at whole sectors of that size".to_owned())
}

/// The volume for sectors of `sector_bytes`.
///
/// # Errors
/// [`Error::Refused`] when its parts don't lie so that it can be.
pub(super) fn shown(
    device: Arc<dyn ReadAt>,
    layout: &Layout,
    sector_bytes: u32,
) -> Result<Arc<dyn ReadAt>> {
    if let Some(why) = obstacle(layout, sector_bytes) {
        return Err(Error::Refused(why));
    }
    let region: Arc<[u8]> = Arc::from(region(&*device, layout, sector_bytes)?);
    let len_bytes = region.len() as u64;
    let size_bytes = device.geometry().size_bytes;
    let geometry = Geometry {
        logical_sector_bytes: sector_bytes,
        ..device.geometry()
    };
    let mut shown = Composed::new(device, geometry);
    shown.show(0, region.clone())?;
    shown.show(len_bytes, region)?;
    // Between the regions and the FAT is nothing.
    if let Some(rest) = Extent::between(layout.fat_offset_bytes, size_bytes) {
        shown.show_beneath(rest.offset_bytes(), rest)?;
    }
    Ok(Arc::new(shown))
}

/// A boot region: its sectors keep what they had, as far as they have room.
fn region(device: &dyn ReadAt, layout: &Layout, sector_bytes: u32) -> Result<Vec<u8>> {
    let own = own_bytes(&read_vec(device, 0, BOOT_BYTES)?) as usize;
    let sector = sector_bytes as usize;
    let old = read_vec(device, 0, REGION_SECTORS * own)?;
    let mut region = vec![0; REGION_SECTORS * sector];
    for (index, (from, to)) in old.chunks(own).zip(region.chunks_mut(sector)).enumerate() {
        let len = from.len().min(to.len());
        to[..len].copy_from_slice(&from[..len]);
        if EXTENDED.contains(&index) {
            // The signature is the end of the sector, wherever that is.
            if own < sector {
                to[own - 4..own].fill(0);
            }
            to[sector - 4..].copy_from_slice(&EXTENDED_SIGNATURE);
        }
    }
    let (own, sector) = (own as u64, sector as u64);
    let from_bytes = le64(&region, PARTITION_OFFSET).saturating_mul(own);
    let mut put64 = |at: usize, value: u64| {
        region[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    put64(VOLUME_LENGTH, layout.size_bytes / sector);
    // 0 says nothing.
    let partition = match from_bytes.is_multiple_of(sector) {
        true => from_bytes / sector,
        false => 0,
    };
    put64(PARTITION_OFFSET, partition);
    let mut put32 = |at: usize, bytes: u64| {
        // No more than the number of sectors before, or 8 times that.
        let sectors = u32::try_from(bytes / sector).unwrap_or(u32::MAX);
        region[at..at + 4].copy_from_slice(&sectors.to_le_bytes());
    };
    put32(FAT_OFFSET, layout.fat_offset_bytes);
    put32(FAT_LENGTH, layout.fat_bytes.next_multiple_of(sector));
    put32(HEAP_OFFSET, layout.heap.offset_bytes());
    let per_cluster = u64::from(layout.heap.size_bytes()) / sector;
    region[SECTOR_SHIFT] = sector.trailing_zeros() as u8;
    region[CLUSTER_SHIFT] = per_cluster.trailing_zeros() as u8;
    let (covered, sums) = region.split_at_mut((REGION_SECTORS - 1) * sector_bytes as usize);
    let sum = checksum(covered).to_le_bytes();
    for field in sums.chunks_exact_mut(4) {
        field.copy_from_slice(&sum);
    }
    debug_assert_eq!(le32(sums, 0), checksum(covered));
    Ok(region)
}
