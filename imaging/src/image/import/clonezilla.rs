//! Directories that Clonezilla saved (`ocs-sr savedisk`), read as one disk. The disk is what `ocs-sr
//! restoredisk` would make of an empty one.
//!
//! ```text
//! disk                      names of the disks
//! parts                     names of the partitions that were saved
//! sda-pt.parted, -pt.sf     the table as parted and sfdisk print it
//! sda-mbr                   the first sector
//! sda-gpt-1st, -gpt-2nd     sectors 0 to 33, and the last 33
//! sda-hidden-data-after-mbr what lies between the first sector and the first partition
//! sda1.ext4-ptcl-img.gz.aa  a partition by partclone, packed, split
//! sda2.dd-img.aa            a partition by partclone.dd
//! swappt-sda3.info          UUID and label of swap space
//! ```

mod directory;
mod forward;
mod sfdisk;
mod swap;
mod tables;

pub use forward::DiskForward;
use klon_partition::Shown;

use super::partclone::{self, Partclone};
use super::split::Parts;
use directory::Directory;
use forward::{Opener, PackedPartition};
use klon_partition::device::Overlay;
use klon_partition::table::{Partition, PartitionType, Table};
use klon_partition::{Error, ExtentMap, Geometry, ReadAt, Result};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A disk that Clonezilla saved as a directory: its tables, and an image of each partition.
pub struct ClonezillaDisk {
    /// The name that the disk had: `sda`.
    pub name: String,
    /// Its size and sectors.
    pub geometry: Geometry,
    /// Its table.
    pub table: Table,
    /// The bytes of it that are in use.
    pub used: ExtentMap,
    /// What the user should know.
    pub warnings: Vec<String>,
    tables: Arc<dyn ReadAt>,
    parts: Vec<PackedPartition>,
}

impl ClonezillaDisk {
    /// Looks at the directory at `path`. Where it has several disks, `disk` is the name of the one that is
    /// meant, as in `sda`. Nothing is unpacked yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no such directory, or the disk is not in it;
    /// [`Error::Corrupt`] and [`Error::Unsupported`] for what is in it; [`Error::Open`].
    pub fn open(path: &Path, disk: Option<&str>) -> Result<Self> {
        let directory = Directory::open(path)?;
        let name = directory.disk(disk)?;
        let tables::Found {
            tables,
            table,
            mut warnings,
        } = tables::read(&directory, &name)?;
        let geometry = tables.geometry();
        let mut used = tables.dirty_map();
        let mut parts = Vec::new();
        let saved = directory.saved_partitions()?;
        for partition in table.partitions.iter().filter(|it| !is_extended(it)) {
            let node = directory::node(&name, partition.number);
            match find(&directory, &node, partition)? {
                Some((opener, in_use)) => {
                    used = used.union(&in_use.shifted(partition.extent.offset_bytes()));
                    let extent = partition.extent;
                    parts.push(PackedPartition { extent, opener });
                }
                None if saved.contains(&node) => {
                    return Err(Error::Invalid(format!(
                        "{}: {node} was saved, but there is no image of it that klon knows \
                         ({node}.*-ptcl-img.*, {node}.dd-img*, swappt-{node}.info). If it is a part \
                         of LVM or LUKS, or saved by partimage or ntfsclone, restore the directory \
                         with Clonezilla, and image that disk",
                        path.shown()
                    )));
                }
                None => warnings.push(format!("{node} was not saved; it is empty in the image")),
            }
        }
        parts.sort_by_key(|part| part.extent.offset_bytes());
        Ok(Self {
            name,
            geometry,
            table,
            used,
            warnings,
            tables: Arc::new(tables),
            parts,
        })
    }

    /// The disk as a stream: its partitions are unpacked one after the other, in the order in which they
    /// lie on it.
    #[must_use]
    pub fn into_forward(self) -> DiskForward {
        DiskForward::new(self.tables, self.parts)
    }
}

type Tables = Overlay<super::zeroes::Zeroes>;

/// What restores a partition, and what of it is in use.
fn find(
    directory: &Directory,
    node: &str,
    partition: &Partition,
) -> Result<Option<(Opener, ExtentMap)>> {
    let size_bytes = partition.extent.len_bytes();
    if let Some(info) = directory.swap_info(node)? {
        let header = swap::header(&info, size_bytes)?;
        let used = ExtentMap::whole(header.len() as u64);
        return Ok(Some((Opener::Bytes(header), used)));
    }
    let Some(first) = directory.image(node)? else {
        return Ok(None);
    };
    let parts = Parts::find(&first)?;
    let name = parts.name();
    let (mut input, _) = parts.clone().open()?;
    let mut magic = [0; partclone::MAGIC.len()];
    // A volume of the first few bytes is no image of partclone's.
    let is_partclone = input.read_exact(&mut magic).is_ok() && magic == *partclone::MAGIC;
    if !is_partclone {
        let used = ExtentMap::whole(size_bytes);
        return Ok(Some((Opener::Raw(parts, size_bytes), used)));
    }
    let image = Partclone::open((&magic[..]).chain(input), name.clone())?;
    let found = image.header().device_bytes;
    if found > size_bytes {
        return Err(Error::Invalid(format!(
            "{name}: it is the image of {found} bytes, but partition {node} has {size_bytes}"
        )));
    }
    Ok(Some((Opener::Partclone(parts), image.used())))
}

fn is_extended(partition: &Partition) -> bool {
    matches!(
        partition.partition_type,
        PartitionType::Mbr(0x05 | 0x0f | 0x85)
    )
}

#[cfg(test)]
mod tests;
