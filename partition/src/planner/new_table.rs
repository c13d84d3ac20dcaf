//! What a new table offers: where partitions may lie, and how many.

use crate::extent::Extent;
use crate::table::Scheme;

/// Entries of a GPT that klon makes (UEFI 5.3.1: at least 16 KiB of 128-byte entries).
const GPT_SLOTS: u32 = 128;
const GPT_ARRAY_BYTES: u64 = 128 * 128;

/// Where partitions may lie under a new table; `None` when the drive is too small for one.
///
/// GPT: after the MBR, the header and 16 KiB of entries, before the backup of the latter two
/// (UEFI 5.3.1). MBR: after the first sector, below 2^32 sectors.
pub(super) fn new_usable(scheme: Scheme, size_bytes: u64, sector_bytes: u32) -> Option<Extent> {
    let sector_bytes = u64::from(sector_bytes);
    let sectors = size_bytes.checked_div(sector_bytes)?;
    let (first, end) = match scheme {
        Scheme::Gpt => {
            let array = GPT_ARRAY_BYTES.div_ceil(sector_bytes);
            (
                array.checked_add(2)?,
                sectors.checked_sub(array.checked_add(1)?)?,
            )
        }
        Scheme::Mbr => (1, sectors.min(1 << 32)),
    };
    Extent::between(
        first.checked_mul(sector_bytes)?,
        end.checked_mul(sector_bytes)?,
    )
}

/// Slots of a new table: entries of a GPT, primary partitions of an MBR.
pub(super) const fn new_slots(scheme: Scheme) -> u32 {
    match scheme {
        Scheme::Gpt => GPT_SLOTS,
        Scheme::Mbr => 4,
    }
}

/// The kind of table in capital letters.
pub(super) const fn name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Gpt => "GPT",
        Scheme::Mbr => "MBR",
    }
}

#[cfg(test)]
mod tests {
    use super::new_usable;
    use crate::table::Scheme;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_new_gpt_leaves_its_headers_and_entries_free() {
        let small = new_usable(Scheme::Gpt, 100 * MIB, 512).unwrap();
        assert_eq!(small.offset_bytes(), 34 * 512);
        assert_eq!(small.end_bytes(), 100 * MIB - 33 * 512);
        let large = new_usable(Scheme::Gpt, 100 * MIB + 100, 4096).unwrap();
        assert_eq!(large.offset_bytes(), 6 * 4096);
        assert_eq!(large.end_bytes(), 100 * MIB - 5 * 4096);
        assert_eq!(new_usable(Scheme::Gpt, 20_000, 512), None);
        let mbr = new_usable(Scheme::Mbr, 8 << 40, 512).unwrap();
        assert_eq!(mbr.end_bytes(), 2 << 40);
    }
}
