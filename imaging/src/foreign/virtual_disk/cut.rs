//! Virtual disks whose file is cut: QEMU reads zeroes behind its end, and says nothing.
//!
//! What lies highest in the file is found by the maps that the formats have. What else is wrong with them
//! is for QEMU to say.

use super::end::{Map, check_end, within_disk};
use super::{SECTOR_BYTES, two_levels, vmdk};
use klon_partition::bytes::{le32, le64};
use klon_partition::device::read_vec;
use klon_partition::{ReadAt, Result};
use std::path::Path;

/// Refuses a virtual disk of QEMU's `driver` that is cut. `path` names the file, as a disk may have several.
///
/// # Errors
/// [`klon_partition::Error::Corrupt`] with the length that the file has, and the least that it must have;
/// [`klon_partition::Error::Io`] when it can't be read.
pub fn check_whole(driver: &str, file: &dyn ReadAt, path: &Path) -> Result<()> {
    match driver {
        "vmdk" => vmdk::check(file, path),
        "vdi" => vdi(file),
        "parallels" => parallels(file),
        "qcow" => two_levels::qcow(file),
        "qed" => two_levels::qed(file),
        _ => Ok(()),
    }
}

/// The header of VDI 1.1 as VirtualBox's `VDICore.h` has it: the map of blocks at 340, their first at 344,
/// the size of the disk at 368, of a block at 376, of what is before each at 380, and how many at 384.
fn vdi(file: &dyn ReadAt) -> Result<()> {
    const NAME: &str = "vdi image";
    /// From here on: a block that is not in the file.
    const NO_BLOCK: u32 = 0xffff_fffe;
    check_end(file, NAME, SECTOR_BYTES)?;
    let header = read_vec(file, 0, 512)?;
    let field = |at| u64::from(le32(&header, at));
    let (map_bytes, data_bytes, disk_bytes) = (field(340), field(344), le64(&header, 368));
    let (block_bytes, extra_bytes) = (field(376), field(380));
    let mut end_bytes = 0;
    let map = Map {
        file,
        structure: NAME,
        offset_bytes: map_bytes,
        entries: field(384),
    };
    map.each_number(|index, block| {
        if block < NO_BLOCK {
            let len_bytes = within_disk(index, block_bytes, disk_bytes);
            let start = u64::from(block).saturating_mul(block_bytes + extra_bytes);
            let end = data_bytes.saturating_add(start).saturating_add(extra_bytes);
            end_bytes = end_bytes.max(end.saturating_add(len_bytes));
        }
        Ok(())
    })?;
    check_end(file, NAME, end_bytes)
}

/// QEMU's `docs/interop/parallels`: sectors of a cluster at 28, entries of the BAT at 32, sectors of the
/// disk at 36; the BAT at 64 counts sectors, in the newer form clusters.
fn parallels(file: &dyn ReadAt) -> Result<()> {
    const NAME: &str = "image of Parallels";
    check_end(file, NAME, 64)?;
    let header = read_vec(file, 0, 64)?;
    let is_newer = header.starts_with(b"WithouFreSpacExt");
    let cluster_bytes = u64::from(le32(&header, 28)) * SECTOR_BYTES;
    let (unit_bytes, sectors) = match is_newer {
        true => (cluster_bytes, le64(&header, 36)),
        false => (SECTOR_BYTES, le32(&header, 36).into()),
    };
    let disk_bytes = sectors.saturating_mul(SECTOR_BYTES);
    let mut end_bytes = 0;
    let bat = Map {
        file,
        structure: NAME,
        offset_bytes: 64,
        entries: le32(&header, 32).into(),
    };
    bat.each_number(|index, cluster| {
        if cluster != 0 {
            let start = u64::from(cluster).saturating_mul(unit_bytes);
            let len_bytes = within_disk(index, cluster_bytes, disk_bytes);
            end_bytes = end_bytes.max(start.saturating_add(len_bytes));
        }
        Ok(())
    })?;
    check_end(file, NAME, end_bytes)
}

#[cfg(test)]
mod tests;
