//! The four checksums of the format: CRC-32C, xxHash64, SHA-256 and BLAKE2b-256.

mod blake2b;
mod xxhash64;

use blake2b::blake2b_256;
use sha2::{Digest, Sha256};
use xxhash64::xxhash64;

/// Room for a checksum in every structure that has one (`BTRFS_CSUM_SIZE`).
pub(super) const LEN_BYTES: usize = 32;

/// The filesystem's `csum_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Crc32c,
    Xxhash64,
    Sha256,
    Blake2b,
}

impl Checksum {
    /// The type of that number; `None` when there is none.
    pub(super) const fn new(csum_type: u16) -> Option<Self> {
        match csum_type {
            0 => Some(Self::Crc32c),
            1 => Some(Self::Xxhash64),
            2 => Some(Self::Sha256),
            3 => Some(Self::Blake2b),
            _ => None,
        }
    }

    fn compute(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32c => crc32c::crc32c(bytes).to_le_bytes().to_vec(),
            Self::Xxhash64 => xxhash64(bytes).to_le_bytes().to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Blake2b => blake2b_256(bytes).to_vec(),
        }
    }

    /// Checks a superblock or tree block: its first 32 bytes are the checksum of the others.
    ///
    /// # Errors
    /// The computed and the stored checksum, in hexadecimal.
    pub(super) fn verify(self, raw: &[u8]) -> Result<(), (String, String)> {
        let (stored, covered) = raw.split_at_checked(LEN_BYTES).unwrap_or((raw, &[]));
        let computed = self.compute(covered);
        let stored = stored.get(..computed.len()).unwrap_or_default();
        if stored == computed {
            return Ok(());
        }
        Err((hexadecimal(&computed), hexadecimal(stored)))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn every_type_tells_one_bit() {
        for csum_type in 0..4 {
            let checksum = Checksum::new(csum_type).unwrap();
            let mut raw = vec![7; 4096];
            let computed = checksum.compute(&raw[32..]);
            raw[..computed.len()].copy_from_slice(&computed);
            assert_eq!(checksum.verify(&raw), Ok(()));
            raw[4095] ^= 1;
            assert!(checksum.verify(&raw).is_err());
        }
        assert_eq!(Checksum::new(4), None);
    }
}
