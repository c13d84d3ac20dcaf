//! Objects: the header that every structure starts with, and its Fletcher-64 checksum.

use crate::bytes::{le16, le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

/// Where `o_cksum` ends and what it covers starts.
const CHECKSUM_BYTES: usize = 8;
/// `OBJECT_TYPE_MASK`.
const TYPE_MASK: u32 = 0xffff;

/// `OBJECT_TYPE_*`.
pub(super) const NX_SUPERBLOCK: u32 = 1;
pub(super) const BTREE: u32 = 2;
pub(super) const BTREE_NODE: u32 = 3;
pub(super) const SPACEMAN: u32 = 5;
pub(super) const SPACEMAN_CAB: u32 = 6;
pub(super) const SPACEMAN_CIB: u32 = 7;
pub(super) const OMAP: u32 = 11;
pub(super) const CHECKPOINT_MAP: u32 = 12;
pub(super) const FS: u32 = 13;

/// What an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// `o_type` without its flags.
    pub(super) kind: u32,
    /// `o_subtype`: what nodes of a tree are for, 0 for all else.
    pub(super) subtype: u32,
}

impl From<u32> for Kind {
    fn from(kind: u32) -> Self {
        Self { kind, subtype: 0 }
    }
}

/// An object whose checksum was compared.
#[derive(Clone, Debug)]
pub(super) struct Object {
    structure: &'static str,
    offset_bytes: u64,
    /// All of it, header included.
    pub(super) raw: Vec<u8>,
}

impl Object {
    /// Takes `raw`, read at `offset_bytes`, for an object of this kind.
    ///
    /// # Errors
    /// [`Corrupt`] when the checksum, the type or the subtype is not as it must be.
    pub(super) fn parse(
        structure: &'static str,
        kind: impl Into<Kind>,
        offset_bytes: u64,
        raw: Vec<u8>,
    ) -> std::result::Result<Self, Corrupt> {
        let object = Self {
            structure,
            offset_bytes,
            raw,
        };
        let (expected, found) = (checksum(&object.raw), le64(&object.raw, 0));
        let hex = |sum: u64| format!("{sum:#018x}");
        object.check(expected == found, "o_cksum", hex(expected), hex(found))?;
        let Kind { kind, subtype } = kind.into();
        let found = object.u32(24) & TYPE_MASK;
        object.check(found == kind, "o_type", kind, found)?;
        let found = object.u32(28);
        object.check(found == subtype, "o_subtype", subtype, found)?;
        Ok(object)
    }

    /// Reads a physical object: one block, whose number is its identifier.
    ///
    /// # Errors
    /// [`Corrupt`] as for [`Self::parse`], and [`crate::Error::Io`] when the device fails.
    pub(super) fn read_physical(
        structure: &'static str,
        kind: impl Into<Kind>,
        block: Block,
        device: &dyn ReadAt,
    ) -> Result<Self> {
        Self::read(structure, kind, (block, block.number), device)
    }

    /// Reads an object of one block, with its identifier.
    ///
    /// # Errors
    /// As for [`Self::read_physical`].
    pub(super) fn read(
        structure: &'static str,
        kind: impl Into<Kind>,
        (block, oid): (Block, u64),
        device: &dyn ReadAt,
    ) -> Result<Self> {
        let raw = read_vec(device, block.offset_bytes(), block.len())?;
        let object = Self::parse(structure, kind, block.offset_bytes(), raw)?;
        let found = object.u64(8);
        object.check(found == oid, "o_oid", oid, found)?;
        Ok(object)
    }

    /// Fails unless it is as old as what names it, of transaction `newest`, or older.
    pub(super) fn check_age(&self, newest: u64) -> std::result::Result<(), Corrupt> {
        let (expected, xid) = (format!("1 to {newest}"), self.xid());
        self.check((1..=newest).contains(&xid), "o_xid", expected, xid)
    }

    pub(super) fn u16(&self, offset: usize) -> u16 {
        le16(&self.raw, offset)
    }

    pub(super) fn u32(&self, offset: usize) -> u32 {
        le32(&self.raw, offset)
    }

    pub(super) fn u64(&self, offset: usize) -> u64 {
        le64(&self.raw, offset)
    }

    /// `o_xid`: the transaction that wrote it.
    pub(super) fn xid(&self) -> u64 {
        self.u64(16)
    }

    /// Says that a field is not as it must be.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        Corrupt::new(self.structure, field, self.offset_bytes, expected, found)
    }

    /// Fails unless `is_valid`.
    pub(super) fn check(
        &self,
        is_valid: bool,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> std::result::Result<(), Corrupt> {
        if is_valid {
            Ok(())
        } else {
            Err(self.corrupt(field, expected, found))
        }
    }
}

/// A block by its number, which was checked against the volume's size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) number: u64,
    pub(super) size_bytes: u32,
}

impl Block {
    pub(super) fn offset_bytes(self) -> u64 {
        self.number.saturating_mul(u64::from(self.size_bytes))
    }

    fn len(self) -> usize {
        usize::try_from(self.size_bytes).unwrap_or(usize::MAX)
    }
}

/// Fletcher's checksum with sums of 32-bit words modulo 2^32 - 1, over all but the checksum
/// itself, turned so that the sums over the whole are 0 ("Objects", "Object Header").
pub(super) fn checksum(raw: &[u8]) -> u64 {
    const MODULUS: u64 = 0xffff_ffff;
    /// So many words can be summed before the second sum could overflow 64 bits.
    const WORDS: usize = 16 << 10;
    let (mut first, mut second) = (0_u64, 0_u64);
    let covered = raw.get(CHECKSUM_BYTES..).unwrap_or_default();
    for part in covered.chunks(4 * WORDS) {
        let (words, _) = part.as_chunks::<4>();
        for word in words {
            first += u64::from(u32::from_le_bytes(*word));
            second += first;
        }
        first %= MODULUS;
        second %= MODULUS;
    }
    let low = MODULUS - (first + second) % MODULUS;
    let high = MODULUS - (first + low) % MODULUS;
    high << 32 | low
}

#[cfg(test)]
mod tests {
    use super::checksum;

    /// The sums over all words, the checksum's as well, are 0 modulo 2^32 - 1.
    fn sums(raw: &[u8]) -> (u64, u64) {
        let (words, _) = raw[8..].as_chunks::<4>();
        let (check, _) = raw[..8].as_chunks::<4>();
        let mut sums = (0, 0);
        for word in words.iter().chain(check) {
            sums.0 = (sums.0 + u64::from(u32::from_le_bytes(*word))) % 0xffff_ffff;
            sums.1 = (sums.1 + sums.0) % 0xffff_ffff;
        }
        sums
    }

    #[test]
    fn sums_over_an_object_and_its_checksum_are_0() {
        for (len, seed) in [(4096, 1_u32), (65_536, 7), (1 << 20, 0)] {
            let mut word = seed;
            let mut raw: Vec<u8> = Vec::new();
            while raw.len() < len {
                word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let word = if seed == 0 { u32::MAX } else { word };
                raw.extend(word.to_le_bytes());
            }
            let sum = checksum(&raw);
            raw[..8].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(sums(&raw), (0, 0), "{len}");
        }
    }
}
