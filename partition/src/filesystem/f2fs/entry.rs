//! Entries of the tables of segments (SIT) and nodes (NAT): how long they are, and their bits.

/// `struct f2fs_sit_entry`: count and kind, a bit for each block, time.
pub(super) const SIT_ENTRY_LEN: usize = 74;
/// `struct f2fs_nat_entry`: version, inode, block.
pub(super) const NAT_ENTRY_LEN: usize = 9;

/// Bit `index`, counted from the highest of each byte on.
pub(super) fn bit(bitmap: &[u8], index: u64) -> bool {
    let byte = usize::try_from(index / 8)
        .ok()
        .and_then(|at| bitmap.get(at));
    byte.is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
}
