//! The checksum of version 5 metadata: CRC-32C over a structure. The field itself counts as zero.
//!
//! XFS Algorithms & Data Structures, "Self-Describing Metadata":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use crate::bytes::le32;
use crate::error::{Checked, Corrupt};

/// Checks the little-endian CRC-32C at `field_offset` of `raw`, which starts at `offset_bytes`.
pub(super) fn check(
    structure: &'static str,
    offset_bytes: u64,
    raw: &[u8],
    field_offset: usize,
) -> Checked {
    let stored = le32(raw, field_offset);
    let computed = crc32c(raw, field_offset);
    if stored == computed {
        return Ok(());
    }
    let (expected, found) = (format!("{computed:#010x}"), format!("{stored:#010x}"));
    Err(Corrupt::new(
        structure,
        "crc",
        offset_bytes,
        expected,
        found,
    ))
}

/// CRC-32C of `raw` with zeroes for the four bytes at `field_offset`.
pub(super) fn crc32c(raw: &[u8], field_offset: usize) -> u32 {
    let (before, rest) = raw.split_at_checked(field_offset).unwrap_or((raw, &[]));
    let after = rest.get(4..).unwrap_or_default();
    let crc = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    crc32c::crc32c_append(crc, after)
}

#[cfg(test)]
mod tests {
    use super::{check, crc32c};

    #[test]
    fn the_field_itself_does_not_count() {
        let mut raw = [7; 64];
        let computed = crc32c(&raw, 12);
        raw[12..16].copy_from_slice(&computed.to_le_bytes());
        assert!(check("a test", 0, &raw, 12).is_ok());
        raw[40] ^= 1;
        assert!(check("a test", 0, &raw, 12).is_err());
    }
}
