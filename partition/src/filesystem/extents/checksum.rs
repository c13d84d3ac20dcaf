//! The checksums of Btrfs: CRC-32C, xxHash64, SHA-256 and BLAKE2b-256.

mod blake2b;
mod xxhash64;

use blake2b::blake2b_256;
use sha2::{Digest, Sha256};
use xxhash64::xxhash64;

/// The room for a checksum in tree blocks and superblocks (`BTRFS_CSUM_SIZE`).
const FIELD_BYTES: usize = 32;

/// A kind of checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-32C: 4 bytes.
    Crc32c,
    /// xxHash64: 8 bytes.
    Xxhash64,
    /// SHA-256: 32 bytes.
    Sha256,
    /// BLAKE2b with a digest of 256 bits: 32 bytes.
    Blake2b,
}

/// A structure whose checksum is not the one that it holds; both in hexadecimal.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::filesystem) struct Mismatch {
    pub(in crate::filesystem) computed: String,
    pub(in crate::filesystem) stored: String,
}

impl Checksum {
    /// The kind that `csum_type` of `struct btrfs_super_block` stands for; `None` for an unknown
    /// number.
    pub(in crate::filesystem) const fn new(csum_type: u16) -> Option<Self> {
        match csum_type {
            0 => Some(Self::Crc32c),
            1 => Some(Self::Xxhash64),
            2 => Some(Self::Sha256),
            3 => Some(Self::Blake2b),
            _ => None,
        }
    }

    /// The length of each checksum.
    #[must_use]
    pub const fn len_bytes(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Xxhash64 => 8,
            Self::Sha256 | Self::Blake2b => 32,
        }
    }

    /// Whether `checksum`, as it lies on the disk, is the checksum of `bytes`.
    #[must_use]
    pub fn matches(self, bytes: &[u8], checksum: &[u8]) -> bool {
        match self {
            Self::Crc32c => checksum == crc32c::crc32c(bytes).to_le_bytes(),
            Self::Xxhash64 => checksum == xxhash64(bytes).to_le_bytes(),
            Self::Sha256 => checksum == Sha256::digest(bytes).as_slice(),
            Self::Blake2b => checksum == blake2b_256(bytes),
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

    /// Checks a superblock or a tree block: its first 32 bytes are the checksum of the others.
    ///
    /// # Errors
    /// [`Mismatch`] when they are not.
    pub(in crate::filesystem) fn verify(self, raw: &[u8]) -> Result<(), Mismatch> {
        let (field, covered) = raw.split_at_checked(FIELD_BYTES).unwrap_or((raw, &[]));
        let stored = field.get(..self.len_bytes()).unwrap_or_default();
        if self.matches(covered, stored) {
            return Ok(());
        }
        Err(Mismatch {
            computed: hexadecimal(&self.compute(covered)),
            stored: hexadecimal(stored),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn every_kind_notices_one_bit() {
        for csum_type in 0..4 {
            let checksum = Checksum::new(csum_type).unwrap();
            let mut raw = vec![7; 4096];
            let computed = checksum.compute(&raw[32..]);
            assert_eq!(computed.len(), checksum.len_bytes());
            assert!(checksum.matches(&raw[32..], &computed));
            assert!(!checksum.matches(&raw[33..], &computed));
            assert!(!checksum.matches(&raw[32..], &computed[1..]));
            raw[..computed.len()].copy_from_slice(&computed);
            assert_eq!(checksum.verify(&raw), Ok(()));
            raw[4095] ^= 1;
            assert!(checksum.verify(&raw).is_err());
        }
        assert_eq!(Checksum::new(4), None);
    }
}
