//! Objects: the header that every structure starts with (`obj_phys_t`), and its Fletcher-64
//! checksum (Apple File System Reference, "Objects").

use super::address::{Block, Blocks, Oid, Paddr, Xid};
use crate::bytes::{le16, le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};

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
    /// What errors call it.
    pub(super) structure: &'static str,
    /// `o_type` without its flags.
    pub(super) number: u32,
    /// `o_subtype`: what nodes of a tree are for, 0 for all else.
    pub(super) subtype: u32,
}

impl Kind {
    /// A kind that is no node of a tree.
    pub(super) const fn new(structure: &'static str, number: u32) -> Self {
        Self {
            structure,
            number,
            subtype: 0,
        }
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
    pub(super) fn parse(kind: Kind, offset_bytes: u64, raw: Vec<u8>) -> Checked<Self> {
        let structure = kind.structure;
        let object = Self {
            structure,
            offset_bytes,
            raw,
        };
        let (o_cksum, o_type, o_subtype) = (object.u64(0), object.u32(24), object.u32(28));
        let sum = checksum(&object.raw);
        let hex = |sum: u64| format!("{sum:#018x}");
        object.check(o_cksum == sum, "o_cksum", hex(sum), hex(o_cksum))?;
        let (expected, found) = (kind.number, o_type & TYPE_MASK);
        object.check(found == expected, "o_type", expected, found)?;
        let (expected, found) = (kind.subtype, o_subtype);
        object.check(found == expected, "o_subtype", expected, found)?;
        Ok(object)
    }

    /// Reads a physical object: one block, whose address is its identifier.
    ///
    /// # Errors
    /// [`Corrupt`] as for [`Self::parse`], and [`crate::Error::Io`] when the device fails.
    pub(super) fn read_physical(kind: Kind, block: Block, device: &dyn ReadAt) -> Result<Self> {
        Self::read(kind, block, block.address().oid(), device)
    }

    /// Reads an object of one block, with the identifier `oid`.
    ///
    /// # Errors
    /// As for [`Self::read_physical`].
    pub(super) fn read(kind: Kind, block: Block, oid: Oid, device: &dyn ReadAt) -> Result<Self> {
        let raw = read_vec(device, block.offset_bytes(), block.len())?;
        let object = Self::parse(kind, block.offset_bytes(), raw)?;
        let found = object.oid();
        object.check(found == oid, "o_oid", oid, found)?;
        Ok(object)
    }

    /// Fails unless it is as old as what names it, of transaction `newest`, or older.
    pub(super) fn check_age(&self, newest: Xid) -> Checked {
        let (expected, xid) = (format!("1 to {newest}"), self.xid());
        self.check((Xid(1)..=newest).contains(&xid), "o_xid", expected, xid)
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

    /// The `paddr_t` at `offset`.
    pub(super) fn paddr(&self, offset: usize) -> Paddr {
        Paddr(self.u64(offset))
    }

    /// The `prange_t` at `offset`.
    pub(super) fn prange(&self, offset: usize) -> Blocks {
        Blocks {
            start: self.paddr(offset),
            count: self.u64(offset + 8),
        }
    }

    /// `o_oid`: its identifier.
    pub(super) fn oid(&self) -> Oid {
        Oid(self.u64(8))
    }

    /// `o_xid`: the transaction that wrote it.
    pub(super) fn xid(&self) -> Xid {
        Xid(self.u64(16))
    }

    /// A field of it, which names something else.
    pub(super) const fn field(&self, name: &'static str) -> Field<'_> {
        Field { object: self, name }
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
    ) -> Checked {
        if is_valid {
            Ok(())
        } else {
            Err(self.corrupt(field, expected, found))
        }
    }
}

/// A field of an object that names another object. Errors about the other one speak of the field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    object: &'a Object,
    name: &'static str,
}

impl Field<'_> {
    /// Says that the field is not as it must be.
    pub(super) fn corrupt(
        self,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        self.object.corrupt(self.name, expected, found)
    }

    /// Fails unless `is_valid`.
    pub(super) fn check(
        self,
        is_valid: bool,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Checked {
        self.object.check(is_valid, self.name, expected, found)
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
