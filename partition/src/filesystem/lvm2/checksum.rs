//! LVM2's checksum: the usual CRC-32 polynomial with an initial value of its own and no final
//! inversion (lvm2, `lib/misc/crc.c`, `INITIAL_CRC`).

/// The checksum of `bytes`.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    hasher.update(bytes);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc;

    #[test]
    fn it_is_the_polynomial_bit_by_bit() {
        let bytes = b" LVM2 x[5A%r0N*>\x01\0\0\0";
        let expected = bytes.iter().fold(0xf597_a6cf_u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |sum, _| {
                (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
            })
        });
        assert_eq!(crc(bytes), expected);
    }
}
