//! What lies behind the end of a filesystem on a larger volume.
//!
//! Reading all of it would take as long as to copy it, so it is looked at where things begin:
//! - the first 4 MiB behind the end: a hash tree of dm-verity (Android, RAUC, snaps), an overlay
//!   at the next 64 KiB or the next erase block (OpenWrt), a further session at the next 32
//!   sectors of a disc, an appended partition at the next mebibyte
//! - the last 1 MiB of the volume: footers (AVB in the last 64 bytes), signatures, backup tables
//! - 4 KiB at 64 places between these, so that data of any extent is not missed
//!
//! All of a tail up to 16 MiB is read. Only zeroes count as nothing.

use crate::bytes::is_zero;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

const WHOLE_BYTES: u64 = 16 << 20;
const FIRST_BYTES: u64 = 4 << 20;
const LAST_BYTES: u64 = 1 << 20;
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4 << 10;
const READ_BYTES: u64 = 1 << 20;

/// Names what is on `volume` outside of `used`; `None` when nothing was seen.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn find(volume: &dyn ReadAt, used: &ExtentMap) -> Result<Option<String>> {
    for tail in used.complement(volume.geometry().size_bytes).iter() {
        for window in windows(tail).iter() {
            // Holes of a sparse file are known to be zero.
            for data in volume.data(window)?.iter() {
                if let Some(at) = first_set(volume, data)? {
                    return name(volume, at, tail).map(Some);
                }
            }
        }
    }
    Ok(None)
}

/// The parts of the tail that are read.
fn windows(tail: Extent) -> ExtentMap {
    if tail.len_bytes() <= WHOLE_BYTES {
        return tail.into();
    }
    let first = Extent::new(tail.offset_bytes(), FIRST_BYTES);
    let last = Extent::between(
        tail.end_bytes().saturating_sub(LAST_BYTES),
        tail.end_bytes(),
    );
    let step_bytes = tail.len_bytes() / SAMPLES;
    let samples = (1..SAMPLES).filter_map(|index| {
        let offset_bytes = tail.offset_bytes().checked_add(index * step_bytes)?;
        Extent::new(offset_bytes / SAMPLE_BYTES * SAMPLE_BYTES, SAMPLE_BYTES)
    });
    let all: ExtentMap = samples.chain(first).chain(last).collect();
    all.intersection(&tail.into())
}

/// Where the first byte that is not zero lies in `extent`.
fn first_set(volume: &dyn ReadAt, extent: Extent) -> Result<Option<u64>> {
    for piece in extent.split(READ_BYTES) {
        // At most READ_BYTES.
        let len = usize::try_from(piece.len_bytes()).unwrap_or(0);
        let bytes = read_vec(volume, piece.offset_bytes(), len)?;
        if is_zero(&bytes) {
            continue;
        }
        let at = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
        return Ok(piece.offset_bytes().checked_add(at as u64));
    }
    Ok(None)
}

/// What the byte at `at` may belong to.
fn name(volume: &dyn ReadAt, at: u64, tail: Extent) -> Result<String> {
    let has = |offset_bytes: Option<u64>, magic: &[u8]| -> Result<bool> {
        let place = offset_bytes.and_then(|at| Extent::new(at, magic.len() as u64));
        match place.filter(|&place| tail.contains(place)) {
            Some(place) => {
                Ok(read_vec(volume, place.offset_bytes(), magic.len())?.as_slice() == magic)
            }
            None => Ok(false),
        }
    };
    // cryptsetup, "Verity superblock"; Android Verified Boot, AvbFooter.
    let known = if has(Some(at), b"verity\0\0")? {
        Some("a dm-verity superblock")
    } else if has(tail.end_bytes().checked_sub(64), b"AVBf")? {
        Some("data, with the footer of Android Verified Boot")
    } else {
        None
    };
    Ok(format!("{} at byte {at:#x}", known.unwrap_or("data")))
}

#[cfg(test)]
mod tests {
    use super::{find, windows};
    use crate::device::MemoryDevice;
    use crate::extent::{Extent, ExtentMap};

    const MIB: usize = 1 << 20;

    fn found(size: usize, set: &[(usize, &[u8])]) -> Option<String> {
        let mut bytes = vec![0; size];
        for (at, data) in set {
            bytes[*at..*at + data.len()].copy_from_slice(data);
        }
        let used = ExtentMap::whole(8192);
        find(&MemoryDevice::new(bytes, 512), &used).unwrap()
    }

    #[test]
    fn zeroes_are_nothing() {
        assert_eq!(found(8192, &[]), None);
        assert_eq!(found(32 * MIB, &[(8191, &[1])]), None);
    }

    #[test]
    fn what_follows_is_named() {
        let verity = found(32 * MIB, &[(8192, b"verity\0\0")]);
        assert_eq!(verity.unwrap(), "a dm-verity superblock at byte 0x2000");
        let footer = found(32 * MIB, &[(9000, b"x"), (32 * MIB - 64, b"AVBf")]);
        let expected = "data, with the footer of Android Verified Boot at byte 0x2328";
        assert_eq!(footer.unwrap(), expected);
        assert_eq!(found(8193, &[(8192, b"v")]).unwrap(), "data at byte 0x2000");
    }

    #[test]
    fn every_byte_of_a_short_tail_counts() {
        for at in [8192, 3 * MIB + 1, 10 * MIB, 15 * MIB - 1] {
            assert!(found(15 * MIB, &[(at, &[4])]).is_some(), "{at}");
        }
    }

    #[test]
    fn of_a_long_tail_the_start_the_end_and_any_sixty_fourth() {
        for at in [8192, 4 * MIB + 8191, 63 * MIB, 64 * MIB - 1] {
            assert!(found(64 * MIB, &[(at, &[4])]).is_some(), "{at}");
        }
        let filled = vec![7; MIB + 4096];
        for at in (8192..62 * MIB).step_by(333_333) {
            assert!(found(64 * MIB, &[(at, &filled)]).is_some(), "{at}");
        }
    }

    #[test]
    fn windows_are_few_and_inside_of_the_tail() {
        for (start, len) in [(0, 1), (1, 17 << 20), (4097, 1 << 50), (1 << 63, 1 << 62)] {
            let tail = Extent::new(start, len).unwrap();
            let windows = windows(tail);
            assert!(windows.total_bytes() <= 16 << 20 && !windows.is_empty());
            assert!(windows.iter().all(|window| tail.contains(window)));
        }
    }
}
