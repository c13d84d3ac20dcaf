//! The used map: every block bitmap, checked against everything else that is known of it.

use super::descriptor::{Descriptor, Descriptors};
use super::superblock::Superblock;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

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
/// Descriptor counts are exact on a clean volume (they are journaled with the bitmaps), unlike
/// `s_free_blocks_count`, which the kernel does not keep current and which isn't compared.
pub(super) fn used(superblock: &Superblock, device: &dyn ReadAt) -> Result<ExtentMap> {
    let metadata = structures(superblock, device)?;
    let mut map = ExtentMapBuilder::new();
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

fn of_group(superblock: &Superblock, descriptor: &Descriptor) -> impl Iterator<Item = Extent> {
    let group = descriptor.group;
    // The boot area before the primary superblock goes with it.
    let header = if group == 0 {
        0
    } else {
        superblock.group_header(group)
    };
    let before = superblock.group_header(group).saturating_sub(header);
    let header_blocks = superblock.header_blocks(group).saturating_add(before);
    [
        superblock.blocks_extent(header, header_blocks),
        superblock.blocks_extent(descriptor.block_bitmap, 1),
        superblock.blocks_extent(descriptor.inode_bitmap, 1),
        superblock.blocks_extent(
            descriptor.inode_table,
            superblock.inode_table_blocks().into(),
        ),
    ]
    .into_iter()
    .flatten()
}

fn join(metadata: &ExtentMap, pending: &mut Vec<Extent>) -> Result<ExtentMap> {
    let joined = metadata.union(&pending.drain(..).collect());
    if joined.extents().len() > METADATA_EXTENTS_MAX {
        return Err(Error::unsupported(
            "an ext filesystem with that many separate tables",
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
        let blocks_max = (BATCH_BYTES / self.superblock.block_bytes).max(1);
        let blocks_max = usize::try_from(blocks_max).unwrap_or(1);
        let more = descriptors.windows(2).take(blocks_max.saturating_sub(1));
        more.take_while(|pair| match pair {
            [a, b] if a.is_block_uninit || b.is_block_uninit => {
                a.is_block_uninit && b.is_block_uninit
            }
            [a, b] => a.block_bitmap.checked_add(1) == Some(b.block_bitmap),
            _ => false,
        })
        .count()
        .saturating_add(1)
    }

    fn bitmaps(&mut self, start: u64, descriptors: &[Descriptor]) -> Result<()> {
        let block_bytes = usize::try_from(self.superblock.block_bytes).unwrap_or(usize::MAX);
        let len = block_bytes.saturating_mul(descriptors.len());
        let raw = read_vec(self.device, self.superblock.byte(start), len)?;
        for (descriptor, bitmap) in descriptors.iter().zip(raw.chunks_exact(block_bytes)) {
            descriptor.check_bitmap(self.superblock, bitmap)?;
            self.group(descriptor, bitmap)?;
        }
        Ok(())
    }

    fn group(&mut self, descriptor: &Descriptor, bitmap: &[u8]) -> Result<()> {
        let clusters = self.superblock.group_clusters(descriptor.group);
        let cluster_blocks = u64::from(self.superblock.cluster_blocks);
        let start = self.superblock.group_start(descriptor.group);
        let mut used_clusters = 0_u64;
        let bits: ExtentMap = Runs::new(bitmap, clusters)
            .filter_map(|(first, len)| {
                used_clusters = used_clusters.saturating_add(len);
                let block = first.saturating_mul(cluster_blocks).saturating_add(start);
                self.superblock
                    .blocks_extent(block, len.saturating_mul(cluster_blocks))
            })
            .collect();
        check_free(descriptor, clusters.saturating_sub(used_clusters))?;
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
        let cluster_blocks = u64::from(self.superblock.cluster_blocks);
        let cluster_bytes = self.superblock.byte(cluster_blocks);
        let metadata: ExtentMap = self.metadata.within(group).collect();
        let used = metadata.aligned_out(cluster_bytes.max(1), group.end_bytes());
        let used_clusters = used.total_bytes().div_ceil(cluster_bytes.max(1));
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

/// The runs of ones among the first bits of a little-endian bitmap: (first bit, length).
pub(in crate::filesystem) struct Runs<'a> {
    bitmap: &'a [u8],
    bits: u64,
    next: u64,
}

impl<'a> Runs<'a> {
    pub(in crate::filesystem) const fn new(bitmap: &'a [u8], bits: u64) -> Self {
        Self {
            bitmap,
            bits,
            next: 0,
        }
    }

    /// The first bit from `from` that is one, or zero if `flip` is all ones.
    fn first_bit(&self, from: u64, flip: u64) -> u64 {
        let mut bit = from;
        while bit < self.bits {
            let word = (self.word(bit / 64) ^ flip) >> (bit % 64);
            if word != 0 {
                return bit
                    .saturating_add(word.trailing_zeros().into())
                    .min(self.bits);
            }
            bit = (bit / 64).saturating_add(1).saturating_mul(64);
        }
        self.bits
    }

    /// Word `index`; past the bitmap everything counts as used.
    fn word(&self, index: u64) -> u64 {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.bitmap.as_chunks::<8>().0.get(index))
            .map_or(u64::MAX, |word| u64::from_le_bytes(*word))
    }
}

impl Iterator for Runs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let first = self.first_bit(self.next, 0);
        self.next = self.first_bit(first, u64::MAX);
        let len = self.next.saturating_sub(first);
        (len > 0).then_some((first, len))
    }
}

#[cfg(test)]
mod tests {
    use super::Runs;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn is_one(words: &[u64], bit: u64) -> bool {
        words[usize::try_from(bit / 64).unwrap()] >> (bit % 64) & 1 == 1
    }

    proptest! {
        #[test]
        fn runs_are_the_ones(
            words in proptest::collection::vec(any::<u64>(), 1..4),
            cut in 0_u64..64
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let bits = 64 * u64::try_from(words.len()).unwrap() - cut;
            let expected: Vec<u64> = (0..bits).filter(|&bit| is_one(&words, bit)).collect();
            let runs = Runs::new(&bytes, bits);
            let found: Vec<u64> = runs.flat_map(|(first, len)| first..first + len).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(Runs::new(&[0xff; 16], 128).collect::<Vec<_>>(), [(0, 128)]);
        assert_eq!(Runs::new(&[0; 16], 128).count(), 0);
        assert_eq!(Runs::new(&[0xff; 16], 100).collect::<Vec<_>>(), [(0, 100)]);
    }
}
