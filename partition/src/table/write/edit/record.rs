//! The first sector in front of a GPT: all of it stays but the size of the protective entry.

use super::put;
use crate::bytes::{is_zero, le32, u8_at};
use crate::table::boot::{PROTECTIVE_TYPE, RECORD_BYTES};
use crate::table::{Moved, MovedField};

/// Where the entries of a record begin (UEFI specification, table 5-1).
pub(super) const ENTRIES: usize = 446;

/// Length of an entry.
pub(super) const ENTRY_LEN: usize = 16;

/// The signature at the end of a record.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// The sizes of the two disks, in sectors, and what the GPT says of the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) old: u64,
    pub(super) new: u64,
    pub(super) alternate_lba: u64,
}

/// Edits `sector` for the new size; `plain` is what a new protective MBR has there. Says what it
/// changed of the protective entry.
///
/// A sector of zeroes gets the protective MBR that is missing, and so do the empty entries of a
/// record. Anything else without such an entry belongs to someone.
pub(super) fn edit(sector: &mut [u8], plain: &[u8], sizes: Sizes) -> Option<Moved> {
    if is_zero(sector) {
        put(sector, 0, plain);
        return None;
    }
    if sector.get(RECORD_BYTES - 2..RECORD_BYTES) != Some(&SIGNATURE) {
        return None;
    }
    let entries = ENTRIES..ENTRIES + 4 * ENTRY_LEN;
    if sector.get(entries.clone()).is_some_and(is_zero) {
        put(sector, entries.start, plain.get(entries)?);
        return None;
    }
    let is_hybrid = (0..4).any(|slot| {
        let kind = u8_at(sector, ENTRIES + slot * ENTRY_LEN + 4);
        kind != 0 && kind != PROTECTIVE_TYPE && le32(sector, ENTRIES + slot * ENTRY_LEN + 12) > 0
    });
    let mut moved = None;
    for at in (0..4).map(|slot| ENTRIES + slot * ENTRY_LEN) {
        if u8_at(sector, at + 4) != PROTECTIVE_TYPE {
            continue;
        }
        let (start, count) = (le32(sector, at + 8), le32(sector, at + 12));
        let size = covered(start, count, is_hybrid, sizes);
        if size != count {
            put(sector, at + 12, &size.to_le_bytes());
            let field = MovedField::ProtectiveSectors;
            moved = moved.or(Moved::between(field, count.into(), size.into()));
        }
    }
    moved
}

/// What a protective entry covers on the new disk.
fn covered(start: u32, count: u32, is_hybrid: bool, sizes: Sizes) -> u32 {
    let narrow = |sectors: u64| u32::try_from(sectors).unwrap_or(u32::MAX);
    let room = sizes.new.saturating_sub(u64::from(start));
    // "As far as 32 bits can count" is right for every disk, and one that begins behind the end
    // is right for none: without a size it would not be a protective entry any more.
    if count == u32::MAX || room == 0 {
        return count;
    }
    let whole = narrow(sizes.old.saturating_sub(1));
    let is_whole = count == whole || u64::from(count) == sizes.alternate_lba;
    if start == 1 && !is_hybrid && is_whole && sizes.old != sizes.new {
        return narrow(room);
    }
    // One that ends elsewhere, as beside hybrid entries, means what it says.
    narrow(u64::from(count).min(room))
}
