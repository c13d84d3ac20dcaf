//! Hash trees of dm-verity behind a filesystem's end. They cover all of its blocks, the free ones too.
//!
//! The bytes behind the end are copied anyway. This bounded look finds the volumes that would not
//! pass the check of their hash tree if their free blocks were left out.

use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::outside::{first_set, first_with};

/// How far to look for what begins a tail.
const FIRST_BYTES: u64 = 4 << 20;

/// How far to look for a hash tree. It begins at the filesystem's end, at the next erase block, or behind
/// something else, such as a key.
const TREE_BYTES: u64 = 64 << 20;

/// The "Verity superblock" of cryptsetup.
const TREE_MAGIC: [u8; 8] = *b"verity\0\0";

/// Structures that begin a tail: Android's `verity_metadata` with its magic number, and with the one for
/// "switched off".
const STARTS: [(&[u8], &str); 2] = [
    (b"\x01\xb0\x01\xb0", "verity metadata of Android"),
    (b"VOFF", "verity metadata of Android"),
];

/// Android Verified Boot, `AvbFooter`: the last 64 bytes of a partition.
const FOOTER_BYTES: u64 = 64;
const FOOTER_MAGIC: &[u8] = b"AVBf";

/// What in `tails` covers all of the filesystem before it; `None` when nothing was found.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn covers(volume: &dyn ReadAt, tails: &ExtentMap) -> Result<Option<&'static str>> {
    for tail in tails.iter() {
        let footer = tail.end_bytes().checked_sub(FOOTER_BYTES);
        if has(volume, footer, FOOTER_MAGIC, tail)? {
            return Ok(Some("the footer of Android Verified Boot"));
        }
        let near = Extent::new(tail.offset_bytes(), tail.len_bytes().min(TREE_BYTES));
        let near = ExtentMap::from(near.unwrap_or(tail));
        if first_with(volume, &near, TREE_MAGIC)?.is_some() {
            return Ok(Some("a hash tree of dm-verity"));
        }
        let first = Extent::new(tail.offset_bytes(), tail.len_bytes().min(FIRST_BYTES));
        let Some(at) = first_set(volume, first.unwrap_or(tail))? else {
            continue;
        };
        for (magic, name) in STARTS {
            if has(volume, Some(at), magic, tail)? {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

fn has(volume: &dyn ReadAt, at: Option<u64>, magic: &[u8], tail: Extent) -> Result<bool> {
    let place = at.and_then(|at| Extent::new(at, magic.len() as u64));
    match place.filter(|&place| tail.contains(place)) {
        Some(place) => Ok(read_vec(volume, place.offset_bytes(), magic.len())?.as_slice() == magic),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::covers;
    use crate::device::MemoryDevice;
    use crate::extent::ExtentMap;

    const MIB: usize = 1 << 20;

    fn found(size: usize, set: &[(usize, &[u8])]) -> Option<&'static str> {
        let mut bytes = vec![0; size];
        for (at, data) in set {
            bytes[*at..*at + data.len()].copy_from_slice(data);
        }
        let tails = ExtentMap::whole(8192).complement(size as u64);
        covers(&MemoryDevice::new(bytes, 512), &tails).unwrap()
    }

    #[test]
    fn zeroes_and_other_bytes_cover_nothing() {
        assert_eq!(found(8192, &[]), None);
        assert_eq!(found(32 * MIB, &[(8191, &[1])]), None);
        assert_eq!(found(32 * MIB, &[(9000, b"data")]), None);
        assert_eq!(found(8193, &[(8192, b"v")]), None);
    }

    #[test]
    fn hash_trees_are_named() {
        let verity = Some("a hash tree of dm-verity");
        assert_eq!(found(32 * MIB, &[(8192, b"verity\0\0")]), verity);
        assert_eq!(found(32 * MIB, &[(4 * MIB, b"verity\0\0")]), verity);
        let behind_a_key = [(8192, b"key".as_slice()), (20 * MIB, b"verity\0\0")];
        assert_eq!(found(32 * MIB, &behind_a_key), verity);
        let android = Some("verity metadata of Android");
        assert_eq!(found(MIB, &[(12_288, &[1, 0xb0, 1, 0xb0])]), android);
        let footer = [(9000, b"x".as_slice()), (32 * MIB - 64, b"AVBf")];
        let avb = Some("the footer of Android Verified Boot");
        assert_eq!(found(32 * MIB, &footer), avb);
    }
}
