//! The two checksums of the format, in the way that it chains them.

/// CRC-32C continued from `seed`, without the final inversion of the usual definition.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC-16 (polynomial 0x8005, reflected) continued from `seed`: checksums of `gdt_csum`.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            let carry = if crc & 1 == 1 { 0xa001 } else { 0 };
            (crc >> 1) ^ carry
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{crc16, crc32c};

    #[test]
    fn known_values() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }

    #[test]
    fn both_continue_over_parts() {
        assert_eq!(crc32c(crc32c(7, b"12"), b"34"), crc32c(7, b"1234"));
        assert_eq!(crc16(crc16(7, b"12"), b"34"), crc16(7, b"1234"));
    }
}
