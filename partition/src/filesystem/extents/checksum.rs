//! The checksums of Btrfs: CRC-32C, xxHash64, SHA-256 and BLAKE2b-256.

use blake2::Blake2b256;
use sha2::{Digest, Sha256};
use twox_hash::XxHash64;

/// What Btrfs starts xxHash64 with (`btrfs_csum` of fs/btrfs/fs.c).
const XXHASH64_SEED: u64 = 0;
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
            Self::Xxhash64 => checksum == XxHash64::oneshot(XXHASH64_SEED, bytes).to_le_bytes(),
            Self::Sha256 => checksum == Sha256::digest(bytes).as_slice(),
            Self::Blake2b => checksum == Blake2b256::digest(bytes).as_slice(),
        }
    }

    fn compute(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32c => crc32c::crc32c(bytes).to_le_bytes().to_vec(),
            Self::Xxhash64 => XxHash64::oneshot(XXHASH64_SEED, bytes)
                .to_le_bytes()
                .to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Blake2b => Blake2b256::digest(bytes).to_vec(),
        }
    }

    /// Puts the right checksum into a superblock or a tree block.
    pub(in crate::filesystem) fn renew(self, raw: &mut [u8]) {
        let (field, covered) = raw.split_at_mut_checked(FIELD_BYTES).unwrap_or_default();
        for (byte, new) in field.iter_mut().zip(self.compute(covered)) {
            *byte = new;
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
    use super::{Checksum, hexadecimal};

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

    /// By `b2sum -l 256`, and of the reference implementation of xxHash.
    #[test]
    fn known_values() {
        let blake2b = |len| hexadecimal(&Checksum::Blake2b.compute(&vec![b'a'; len]));
        let empty = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8";
        let long = "3c1292de00a518e36823f9ff908ac2da46be38718c018713403461df077e15f6";
        assert_eq!([blake2b(0), blake2b(300)], [empty, long]);
        let xxhash = |bytes: &[u8]| Checksum::Xxhash64.compute(bytes);
        assert_eq!(xxhash(b""), 0xef46_db37_51d8_e999_u64.to_le_bytes());
        assert_eq!(
            xxhash(b"123456789"),
            0x8cb8_41db_40e6_ae83_u64.to_le_bytes()
        );
    }
}
