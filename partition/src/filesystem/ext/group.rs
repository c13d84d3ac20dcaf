//! Block groups: where each starts, and which of its blocks the format itself takes.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Layout", "Flexible
//! Block Groups" and "Meta Block Groups":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group};
use super::feature;
use super::superblock::Superblock;
use crate::extent::Extent;

impl Superblock {
    /// Blocks of a group; the last one may have fewer than the others.
    pub(super) fn group_blocks(&self, group: Group) -> u64 {
        let rest = self.blocks.saturating_sub(self.group_start(group).0);
        rest.min(self.blocks_per_group.into())
    }

    /// Clusters of a group: as many bits of its bitmap count.
    pub(super) fn group_clusters(&self, group: Group) -> u64 {
        self.group_blocks(group)
            .div_ceil(self.cluster_blocks.into())
    }

    /// The bytes of a group.
    pub(super) fn group_extent(&self, group: Group) -> Option<Extent> {
        self.extent(self.group_start(group), self.group_blocks(group))
    }

    /// Whether a group starts with a copy of the superblock.
    pub(super) fn has_superblock(&self, group: Group) -> bool {
        if group == Group(0) {
            return true;
        }
        if self.features.has_compat(feature::COMPAT_SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        let is_sparse = self.features.has_ro_compat(feature::RO_COMPAT_SPARSE_SUPER);
        !is_sparse || is_sparse_copy(group)
    }

    /// First block of the group where a superblock would lie.
    pub(super) fn group_header(&self, group: Group) -> Block {
        // Blocks of 1 KiB with bigalloc: group 0 starts at block 0, the superblock is block 1.
        let is_after_boot_block = group == Group(0) && self.block_bytes == 1024;
        if is_after_boot_block {
            Block(1)
        } else {
            self.group_start(group)
        }
    }

    /// Blocks of a group's superblock copy, of its copy of the descriptor table, and of the space
    /// reserved for the table.
    pub(super) fn header_blocks(&self, group: Group) -> u64 {
        let superblocks = u64::from(self.has_superblock(group));
        let per_block = self.descriptors_per_block();
        if self.is_meta_group(group.0 / per_block) {
            let in_meta_group = group.0 % per_block;
            // The table's block is in the first, the second and the last group of those it describes.
            let has_descriptors = in_meta_group <= 1 || in_meta_group + 1 == per_block;
            return superblocks + u64::from(has_descriptors);
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
        superblocks + u64::from(table) + u64::from(self.reserved_gdt_blocks)
    }

    /// The space at the end of a group's header that is reserved for its copy of the descriptor table.
    pub(super) fn spare_descriptors(&self, group: Group) -> Option<Extent> {
        let is_meta = self.is_meta_group(group.0 / self.descriptors_per_block());
        if is_meta || !self.has_superblock(group) {
            return None;
        }
        let reserved = u64::from(self.reserved_gdt_blocks);
        let before = self.header_blocks(group).checked_sub(reserved)?;
        let first = self.group_header(group).0.checked_add(before)?;
        self.extent(Block(first), reserved)
    }

    /// Whether a block of the descriptor table lies in the groups that it describes, rather than in
    /// group 0.
    fn is_meta_group(&self, table_block: u32) -> bool {
        let has_meta = self.features.has_incompat(feature::INCOMPAT_META_BG);
        has_meta && table_block >= self.first_meta_bg
    }

    /// The first group that block `index` of the descriptor table describes.
    pub(super) const fn first_described(&self, index: u32) -> Group {
        // The block has a descriptor, so that the group is one of the filesystem's.
        Group(index * self.descriptors_per_block())
    }

    /// The block that holds block `index` of the primary group descriptor table.
    pub(super) fn descriptor_block(&self, index: u32) -> Block {
        let group = if self.is_meta_group(index) {
            self.first_described(index)
        } else {
            Group(0)
        };
        let after_superblock = u64::from(self.has_superblock(group));
        // In group 0 the blocks of the table follow each other.
        let in_group = if group == Group(0) { index } else { 0 };
        Block(self.group_header(group).0 + after_superblock + u64::from(in_group))
    }
}

/// Whether `sparse_super` leaves a copy of the superblock in a group.
fn is_sparse_copy(group: Group) -> bool {
    group == Group(1) || [3, 5, 7].into_iter().any(|base| is_power_of(group.0, base))
}

fn is_power_of(number: u32, base: u64) -> bool {
    let number = u64::from(number);
    let mut power = base;
    while power < number {
        power *= base;
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
