//! The used map: every block bitmap, checked against everything else that is known of it.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Block and Inode Bitmaps":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group};
use super::descriptor::{Descriptor, Descriptors};
use super::superblock::Superblock;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run};

const BATCH_BYTES: u32 = 1 << 20;
const METADATA_EXTENTS_MAX: usize = 1 << 21;
/// Extents held before they are sorted and joined.
const PENDING_MAX: usize = 1 << 18;

/// Every byte that the filesystem has in use, its own structures and the boot area included.
///
/// What lies past the filesystem's end is not part of it: ext has no structure there.
///
/// # Errors
/// [`Error::Corrupt`] when a descriptor or bitmap fails its checksum, when a bitmap has not as
/// many zeroes as its descriptor counts, or when it marks a structure of the format as free.
/// The counts of descriptors are exact on a clean volume: they are journaled with the bitmaps.
/// `s_free_blocks_count` isn't compared, as the kernel does not keep it current.
pub(super) fn used(superblock: &Superblock, device: &dyn ReadAt) -> Result<ExtentMap> {
    let metadata = structures(superblock, device)?;
    let mut map = ExtentMapBuilder::new();
    // What lies before the first block of a group.
    let boot = Extent::between(0, superblock.byte(superblock.first_data_block));
    boot.into_iter().for_each(|boot| map.push(boot));
    let mut walk = Walk {
        superblock,
        device,
        metadata,
        map,
    };
    let mut descriptors = Descriptors::new(superblock, device);
    while let Some(batch) = descriptors.next_batch()? {
        walk.batch(&batch)?;
    }
    Ok(walk.map.finish())
}

/// Where the format's own structures are: superblocks, descriptor tables with the space reserved
/// for their growth, bitmaps and inode tables.
///
/// # Errors
/// [`Error::Corrupt`] when a descriptor fails its checksum; [`Error::Unsupported`] when there are
/// too many extents for the bounds of memory.
pub(super) fn structures(superblock: &Superblock, device: &dyn ReadAt) -> Result<ExtentMap> {
    let mut metadata = ExtentMap::new();
    let mut pending = Vec::new();
    let mut descriptors = Descriptors::new(superblock, device);
    while let Some(batch) = descriptors.next_batch()? {
        for descriptor in &batch {
            pending.extend(of_group(superblock, descriptor));
            if pending.len() >= PENDING_MAX {
                metadata = join(&metadata, &mut pending)?;
            }
        }
    }
    join(&metadata, &mut pending)
}

/// The structures of one group.
pub(super) fn of_group(
    superblock: &Superblock,
    descriptor: &Descriptor,
) -> impl Iterator<Item = Extent> {
    let group = descriptor.group;
    let header = superblock.group_header(group);
    // The boot area before the primary superblock goes with it.
    let (start, before) = if group == Group(0) {
        (Block(0), header.0)
    } else {
        (header, 0)
    };
    let header_blocks = superblock.header_blocks(group) + before;
    let inode_blocks = superblock.inode_table_blocks();
    [
        superblock.extent_to_end(start, header_blocks),
        superblock.extent(descriptor.block_bitmap, 1),
        superblock.extent(descriptor.inode_bitmap, 1),
        superblock.extent(descriptor.inode_table, inode_blocks.into()),
    ]
    .into_iter()
    .flatten()
}

fn join(metadata: &ExtentMap, pending: &mut Vec<Extent>) -> Result<ExtentMap> {
    let joined = metadata.union(&pending.drain(..).collect());
    if joined.extents().len() > METADATA_EXTENTS_MAX {
        return Err(Error::unsupported(
            "an ext filesystem with so many separate tables",
            "they don't fit in memory; copy the whole volume",
        ));
    }
    Ok(joined)
}

struct Walk<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    metadata: ExtentMap,
    map: ExtentMapBuilder,
}

impl Walk<'_> {
    fn batch(&mut self, mut rest: &[Descriptor]) -> Result<()> {
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(self.adjacent(rest));
            rest = later;
            if first.is_block_uninit {
                now.iter()
                    .try_for_each(|descriptor| self.uninit(descriptor))?;
            } else {
                self.bitmaps(first.block_bitmap, now)?;
            }
        }
        Ok(())
    }

    /// How many of the first descriptors have bitmaps that one read brings, or have none.
    fn adjacent(&self, descriptors: &[Descriptor]) -> usize {
        let most = (BATCH_BYTES / self.superblock.block_bytes).max(1) as usize;
        let more = descriptors.windows(2).take(most - 1);
        let more = more.take_while(|pair| match pair {
            [a, b] if a.is_block_uninit || b.is_block_uninit => {
                a.is_block_uninit && b.is_block_uninit
            }
            [a, b] => a.block_bitmap.0.checked_add(1) == Some(b.block_bitmap.0),
            _ => false,
        });
        more.count() + 1
    }

    fn bitmaps(&mut self, start: Block, descriptors: &[Descriptor]) -> Result<()> {
        let block_len = self.superblock.block_len();
        let len = block_len * descriptors.len();
        let raw = read_vec(self.device, self.superblock.byte(start), len)?;
        for (descriptor, bitmap) in descriptors.iter().zip(raw.chunks_exact(block_len)) {
            descriptor.check_bitmap(self.superblock, bitmap)?;
            self.group(descriptor, bitmap)?;
        }
        Ok(())
    }

    fn group(&mut self, descriptor: &Descriptor, bitmap: &[u8]) -> Result<()> {
        let superblock = self.superblock;
        let clusters = superblock.group_clusters(descriptor.group);
        let start = superblock.group_start(descriptor.group);
        let mut free_clusters = clusters;
        let mut extents = Vec::new();
        for_each_run(bitmap, Order::LeastFirst, clusters, &mut |first, count| {
            free_clusters -= count;
            let cluster_blocks = u64::from(superblock.cluster_blocks);
            let block = Block(start.0 + first * cluster_blocks);
            // The last cluster of all may reach beyond the end.
            extents.extend(superblock.extent_to_end(block, count * cluster_blocks));
        });
        check_free(descriptor, free_clusters)?;
        let bits: ExtentMap = extents.into_iter().collect();
        self.check_metadata(descriptor, &bits)?;
        bits.iter().for_each(|extent| self.map.push(extent));
        Ok(())
    }

    fn check_metadata(&self, descriptor: &Descriptor, bits: &ExtentMap) -> Result<()> {
        let Some(group) = self.superblock.group_extent(descriptor.group) else {
            return Ok(());
        };
        let Some(free) = self
            .metadata
            .within(group)
            .find(|extent| !bits.contains(*extent))
        else {
            return Ok(());
        };
        let offset_bytes = self.superblock.byte(descriptor.block_bitmap);
        let expected = format!("the filesystem's own structures {free} in use");
        Err(Corrupt::new("ext block bitmap", "bits", offset_bytes, expected, "free").into())
    }

    /// A group without a bitmap: what the format itself takes is in use, and nothing else.
    fn uninit(&mut self, descriptor: &Descriptor) -> Result<()> {
        let Some(group) = self.superblock.group_extent(descriptor.group) else {
            return Ok(());
        };
        let cluster_bytes = self.superblock.cluster_bytes();
        let metadata: ExtentMap = self.metadata.within(group).collect();
        let used = metadata.aligned_out(cluster_bytes, group.end_bytes());
        let used_clusters = used.total_bytes().div_ceil(cluster_bytes);
        let clusters = self.superblock.group_clusters(descriptor.group);
        check_free(descriptor, clusters.saturating_sub(used_clusters))?;
        used.iter().for_each(|extent| self.map.push(extent));
        Ok(())
    }
}

fn check_free(descriptor: &Descriptor, free_clusters: u64) -> Result<()> {
    if free_clusters == u64::from(descriptor.free_clusters) {
        return Ok(());
    }
    Err(Corrupt::new(
        "ext group descriptor",
        "bg_free_blocks_count",
        descriptor.offset_bytes,
        format!(
            "{free_clusters} as in the block bitmap of group {}",
            descriptor.group
        ),
        descriptor.free_clusters,
    )
    .into())
}
