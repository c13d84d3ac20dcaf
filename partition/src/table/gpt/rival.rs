//! A damaged primary copy that still names partitions which the backup does not: the backup may be
//! left over from an older layout, and nothing tells which of the two is right.

use super::Copies;
use super::entries::{self, Entries};
use crate::device::{ReadAt, read_vec};

/// How the damaged primary copy contradicts the intact backup; `None` when it does not, or when
/// nothing of its entries can be read.
pub(super) fn rival(copies: &Copies, disk: &dyn ReadAt) -> Option<String> {
    // Without its signature nothing shows that there was a primary header at all.
    if copies.primary.is_intact() || !copies.primary.has_signature {
        return None;
    }
    let backup = copies.backup.intact()?;
    let Entries { header, array } = backup;
    let count = header.array_sectors(copies.sectors);
    let places = [copies.primary.named(), Some(2)].into_iter().flatten();
    let found: Vec<Vec<u8>> = places
        .filter_map(|lba| copies.sectors.run(lba, count))
        .filter_map(|place| read_vec(disk, place.offset_bytes(), array.len()).ok())
        .collect();
    // The primary's header may still vouch for the backup's array.
    let vouched = copies.primary.named_array_crc32() == Some(header.array_crc32);
    if vouched || found.iter().any(|found| found == array) {
        return None;
    }
    let found = found.first()?;
    // What is all zero was wiped, and names nothing.
    if found.iter().all(|&byte| byte == 0) {
        return None;
    }
    let left = Entries {
        header,
        array: found,
    };
    let how = entries::difference(left, backup)?;
    Some(format!(
        "the primary copy of the GPT is damaged, and what is left of it names other partitions than \
         the backup: {how}"
    ))
}
