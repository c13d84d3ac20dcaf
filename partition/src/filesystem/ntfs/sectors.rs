//! NTFS for sectors of another size: only its boot sectors say which it was made for, as everything else counts in
//! clusters, and records keep their update sequences by 512 bytes whatever the sector.

use super::boot;
use crate::bytes::le32;
use crate::device::{Composed, Geometry, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::filesystem::sectors::{OnSectors, patched};
use std::sync::Arc;

const BYTES_PER_SECTOR: usize = 0x0b;
const SECTORS_PER_CLUSTER: usize = 0x0d;
const HIDDEN_SECTORS: usize = 0x1c;
const NUMBER_OF_SECTORS: usize = 0x28;
/// Clusters of more sectors than this are told by an exponent.
const CLUSTER_SECTORS_PLAIN: u64 = 128;

/// What becomes of it on sectors of another size. Windows keeps file records in whole sectors.
pub(super) fn on_sectors(geometry: &boot::Geometry, sector_bytes: u32) -> OnSectors {
    let own_bytes = geometry.sector_bytes;
    let wanted_bytes = u64::from(sector_bytes);
    let smallest = [
        ("clusters", geometry.cluster_bytes),
        ("file records", geometry.record_bytes as u64),
        ("index blocks", geometry.index_bytes as u64),
    ];
    let too_small = smallest.iter().find(|(_, bytes)| *bytes < wanted_bytes);
    match too_small {
        _ if own_bytes == wanted_bytes => OnSectors::AsIs,
        Some((what, bytes)) => OnSectors::Never(format!(
            "the {what} of its ntfs have {bytes} bytes, which is less than a sector of {sector_bytes}, and Windows \
             doesn't mount that"
        )),
        None => patched(Kind::Ntfs, own_bytes, sector_bytes),
    }
}

/// The volume for sectors of `sector_bytes`, of which a cluster is a multiple.
///
/// # Errors
/// [`Error::Refused`] when there is no room for the copy of the boot sector.
pub(super) fn shown(
    device: Arc<dyn ReadAt>,
    geometry: &boot::Geometry,
    sector_bytes: u32,
) -> Result<Arc<dyn ReadAt>> {
    let wanted_bytes = u64::from(sector_bytes);
    let size_bytes = device.geometry().size_bytes;
    let mut boot = read_vec(&*device, 0, sector_bytes as usize)?;
    // Up to the end of the copy of the boot sector, which is no part of what is counted.
    let sectors = (geometry.size_bytes / wanted_bytes).saturating_sub(1);
    let copy_bytes = sectors * wanted_bytes;
    let end_bytes = copy_bytes + wanted_bytes;
    if copy_bytes < geometry.clusters * geometry.cluster_bytes || end_bytes > size_bytes {
        return Err(Error::Refused(format!(
            "the copy of the boot sector of its ntfs has no room behind its last cluster in sectors of {sector_bytes}"
        )));
    }
    boot[BYTES_PER_SECTOR..BYTES_PER_SECTOR + 2]
        .copy_from_slice(&(sector_bytes as u16).to_le_bytes());
    let per_cluster = geometry.cluster_bytes / wanted_bytes;
    boot[SECTORS_PER_CLUSTER] = match per_cluster {
        ..=CLUSTER_SECTORS_PLAIN => per_cluster as u8,
        _ => (per_cluster.trailing_zeros() as u8).wrapping_neg(),
    };
    let hidden_bytes = u64::from(le32(&boot, HIDDEN_SECTORS)) * geometry.sector_bytes;
    if hidden_bytes.is_multiple_of(wanted_bytes)
        && let Ok(hidden) = u32::try_from(hidden_bytes / wanted_bytes)
    {
        boot[HIDDEN_SECTORS..HIDDEN_SECTORS + 4].copy_from_slice(&hidden.to_le_bytes());
    }
    boot[NUMBER_OF_SECTORS..NUMBER_OF_SECTORS + 8].copy_from_slice(&sectors.to_le_bytes());
    let geometry = Geometry {
        logical_sector_bytes: sector_bytes,
        ..device.geometry()
    };
    let boot: Arc<[u8]> = Arc::from(boot);
    let mut shown = Composed::new(device, geometry);
    shown.show(0, boot.clone())?;
    shown.show(copy_bytes, boot)?;
    for (from, to) in [(wanted_bytes, copy_bytes), (end_bytes, size_bytes)] {
        if let Some(rest) = Extent::between(from, to) {
            shown.show_beneath(from, rest)?;
        }
    }
    Ok(Arc::new(shown))
}
