//! The checksum of superblocks, checkpoints and inodes: CRC-32 (IEEE, reflected) that is not
//! inverted at the end.

/// `F2FS_SUPER_MAGIC`
pub(super) const MAGIC: u32 = 0xf2f5_2010;

/// The checksum of the parts of a structure, one after another, from the filesystem's magic
/// number on.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    crc32_from(MAGIC, parts)
}

/// The same from another start.
pub(super) fn crc32_from(start: u32, parts: &[&[u8]]) -> u32 {
    // The hasher inverts what it starts from and what it returns.
    let mut hasher = crc32fast::Hasher::new_with_initial(!start);
    for part in parts {
        hasher.update(part);
    }
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::{MAGIC, crc32};

    /// Bit by bit, as the format defines it.
    fn slow(bytes: &[u8]) -> u32 {
        bytes.iter().fold(MAGIC, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
            })
        })
    }

    #[test]
    fn is_the_one_of_the_format() {
        let bytes: Vec<u8> = (0..200).collect();
        assert_eq!(crc32(&[]), MAGIC);
        assert_eq!(crc32(&[&bytes]), slow(&bytes));
        assert_eq!(crc32(&[&bytes[..70], &bytes[70..]]), slow(&bytes));
    }
}
