//! Block groups: where each starts, and which of its blocks the format itself takes.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Layout", "Flexible
//! Block Groups" and "Meta Block Groups".

use super::feature;
use super::superblock::Superblock;
use crate::extent::Extent;

impl Superblock {
    /// First block of a group.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        u64::from(group)
            .saturating_mul(self.blocks_per_group.into())
            .saturating_add(self.first_data_block)
    }

    /// Blocks of a group; the last one may have fewer than the others.
    pub(super) fn group_blocks(&self, group: u32) -> u64 {
        let rest = self.blocks.saturating_sub(self.group_start(group));
        rest.min(self.blocks_per_group.into())
    }

    /// Clusters of a group: as many bits of its bitmap count.
    pub(super) fn group_clusters(&self, group: u32) -> u64 {
        self.group_blocks(group)
            .div_ceil(u64::from(self.cluster_blocks).max(1))
    }

    /// The bytes of a group.
    pub(super) fn group_extent(&self, group: u32) -> Option<Extent> {
        self.blocks_extent(self.group_start(group), self.group_blocks(group))
    }

    /// The bytes of `blocks` blocks from `start`, without what lies past the filesystem's end.
    pub(super) fn blocks_extent(&self, start: u64, blocks: u64) -> Option<Extent> {
        let end = start.saturating_add(blocks).min(self.blocks);
        Extent::between(self.byte(start), self.byte(end))
    }

    /// Whether a group starts with a copy of the superblock.
    pub(super) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_compat(feature::COMPAT_SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        let is_sparse = self.features.has_ro_compat(feature::RO_COMPAT_SPARSE_SUPER);
        group == 1 || !is_sparse || [3, 5, 7].into_iter().any(|base| is_power_of(group, base))
    }

    /// First block of the group where a superblock would lie.
    pub(super) fn group_header(&self, group: u32) -> u64 {
        // Blocks of 1 KiB with bigalloc: group 0 starts at block 0, the superblock is block 1.
        let is_after_boot_block = group == 0 && self.block_bytes == 1024;
        if is_after_boot_block {
            1
        } else {
            self.group_start(group)
        }
    }

    /// Blocks of a group's superblock copy, descriptor table copy and space reserved for it.
    pub(super) fn header_blocks(&self, group: u32) -> u64 {
        let superblocks = u64::from(self.has_superblock(group));
        if self.is_meta_group(group / self.descriptors_per_block().max(1)) {
            return superblocks.saturating_add(u64::from(self.has_meta_descriptors(group)));
        }
        if superblocks == 0 {
            return 0;
        }
        let has_meta = self.features.has_incompat(feature::INCOMPAT_META_BG);
        let table = if has_meta {
            self.first_meta_bg
        } else {
            self.descriptor_blocks()
        };
        superblocks
            .saturating_add(table.into())
            .saturating_add(self.reserved_gdt_blocks.into())
    }

    fn is_meta_group(&self, descriptor_block: u32) -> bool {
        let has_meta = self.features.has_incompat(feature::INCOMPAT_META_BG);
        has_meta && descriptor_block >= self.first_meta_bg
    }

    fn has_meta_descriptors(&self, group: u32) -> bool {
        let in_meta_group = group % self.descriptors_per_block().max(1);
        let last = self.descriptors_per_block().saturating_sub(1);
        in_meta_group <= 1 || in_meta_group == last
    }

    /// The block that holds block `index` of the primary group descriptor table.
    pub(super) fn descriptor_block(&self, index: u32) -> u64 {
        let group = if self.is_meta_group(index) {
            index.saturating_mul(self.descriptors_per_block())
        } else {
            0
        };
        let after_superblock = u64::from(self.has_superblock(group));
        let in_group_0 = if group == 0 { u64::from(index) } else { 0 };
        self.group_header(group)
            .saturating_add(after_superblock)
            .saturating_add(in_group_0)
    }
}

fn is_power_of(number: u32, base: u32) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}

#[cfg(test)]
mod tests {
    use super::is_power_of;

    #[test]
    fn sparse_groups_are_powers() {
        let groups: Vec<u32> = (2..400)
            .filter(|&group| [3, 5, 7].into_iter().any(|base| is_power_of(group, base)))
            .collect();
        assert_eq!(groups, [3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
        assert!(!is_power_of(u32::MAX - 1, 3));
    }
}
