//! The headers of an allocation group: AGF, AGI and AGFL, a sector each after the superblock.
//!
//! XFS Algorithms & Data Structures, "AG Free Space Management" and "AG Inode Management".

use super::checksum;
use super::superblock::{Checked, Superblock, uuid};
use crate::bytes::be32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

/// An AGFL's entries start after its header, which there is in version 5 only.
const AGFL_HEADER_LEN: usize = 36;
/// `XFS_BTREE_MAXLEVELS`
const LEVELS_MAX: u32 = 9;

/// What an AGF says of its group's free space, checked.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) number: u32,
    pub(super) blocks: u32,
    /// Root and levels of the tree of free extents by block.
    pub(super) root: u32,
    pub(super) levels: u32,
    /// Root and levels of the tree of inodes.
    pub(super) inode_root: u32,
    pub(super) inode_levels: u32,
    pub(super) free_blocks: u32,
    pub(super) longest_blocks: u32,
    /// Where the AGF starts.
    pub(super) agf_bytes: u64,
    /// Blocks that can't be free: roots of trees, and those in reserve for the trees (AGFL).
    pub(super) taken: Vec<u32>,
}

/// One of the headers as it lies on the disk.
struct Header {
    structure: &'static str,
    offset_bytes: u64,
    raw: Vec<u8>,
}

impl Header {
    fn read(
        superblock: &Superblock,
        device: &dyn ReadAt,
        group: u32,
        (structure, sector): (&'static str, u64),
    ) -> Result<Self> {
        let in_group = u64::from(superblock.sector_bytes).saturating_mul(sector);
        let offset_bytes = superblock.group_byte(group, 0).saturating_add(in_group);
        let len = usize::try_from(superblock.sector_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            structure,
            offset_bytes,
            raw: read_vec(device, offset_bytes, len)?,
        })
    }

    fn check(&self, is_valid: bool, field: &'static str, expected: &str, found: u32) -> Checked {
        if is_valid {
            return Ok(());
        }
        let found = format!("{found:#x}");
        Err(Corrupt::new(
            self.structure,
            field,
            self.offset_bytes,
            expected,
            found,
        ))
    }

    fn equal(&self, offset: usize, field: &'static str, expected: u32) -> Checked {
        let found = be32(&self.raw, offset);
        self.check(found == expected, field, &format!("{expected:#x}"), found)
    }

    /// CRC and UUID, which version 5 has.
    fn check_self(&self, superblock: &Superblock, uuid_at: usize, crc_at: usize) -> Checked {
        if !superblock.features.is_v5() {
            return Ok(());
        }
        checksum::check(self.structure, self.offset_bytes, &self.raw, crc_at)?;
        let is_valid = uuid(&self.raw, uuid_at) == superblock.meta_uuid;
        let found = be32(&self.raw, uuid_at);
        self.check(is_valid, "uuid", "the superblock's", found)
    }
}

fn agf(superblock: &Superblock, device: &dyn ReadAt, group: u32) -> Result<Header> {
    Header::read(superblock, device, group, ("XFS AGF", 1))
}

fn agi(superblock: &Superblock, device: &dyn ReadAt, group: u32) -> Result<Header> {
    Header::read(superblock, device, group, ("XFS AGI", 2))
}

/// The AGF and the AGI of a group as they are, which every transaction that allocates or frees
/// changes.
pub(super) fn raw_headers(
    superblock: &Superblock,
    device: &dyn ReadAt,
    group: u32,
) -> Result<[Vec<u8>; 2]> {
    let agf = agf(superblock, device, group)?;
    let agi = agi(superblock, device, group)?;
    Ok([agf.raw, agi.raw])
}

impl Group {
    /// Reads and checks the headers of group `number`.
    pub(super) fn read(superblock: &Superblock, device: &dyn ReadAt, number: u32) -> Result<Self> {
        let header = agf(superblock, device, number)?;
        let mut group = Self::parse(superblock, &header, number)?;
        group.add_inode_roots(superblock, &agi(superblock, device, number)?)?;
        let list = Header::read(superblock, device, number, ("XFS AGFL", 3))?;
        group.add_list(superblock, &header, &list)?;
        Ok(group)
    }

    /// Reads and checks the AGI of group `number`: enough to find its inodes.
    pub(super) fn of_inodes(
        superblock: &Superblock,
        device: &dyn ReadAt,
        number: u32,
    ) -> Result<Self> {
        let header = agi(superblock, device, number)?;
        let mut group = Self {
            number,
            blocks: superblock.blocks_of(number),
            root: 0,
            levels: 0,
            inode_root: 0,
            inode_levels: 0,
            free_blocks: 0,
            longest_blocks: 0,
            agf_bytes: 0,
            taken: Vec::new(),
        };
        group.add_inode_roots(superblock, &header)?;
        Ok(group)
    }

    fn parse(superblock: &Superblock, header: &Header, number: u32) -> Checked<Self> {
        let blocks = superblock.blocks_of(number);
        header.equal(0, "agf_magicnum", u32::from_be_bytes(*b"XAGF"))?;
        header.check_self(superblock, 64, 216)?;
        header.equal(4, "agf_versionnum", 1)?;
        header.equal(8, "agf_seqno", number)?;
        header.equal(12, "agf_length", blocks)?;
        let raw = &header.raw;
        let mut group = Self {
            number,
            blocks,
            root: be32(raw, 16),
            levels: be32(raw, 28),
            inode_root: 0,
            inode_levels: 0,
            free_blocks: be32(raw, 52),
            longest_blocks: be32(raw, 56),
            agf_bytes: header.offset_bytes,
            taken: Vec::new(),
        };
        let is_valid = (1..=LEVELS_MAX).contains(&group.levels);
        header.check(is_valid, "agf_levels", "1 to 9", group.levels)?;
        let is_valid = group.free_blocks < blocks && group.longest_blocks <= group.free_blocks;
        let expected = "fewer than the group's blocks";
        header.check(is_valid, "agf_freeblks", expected, group.free_blocks)?;
        group.take(superblock, header, (16, "agf_roots[bno]"))?;
        group.take(superblock, header, (20, "agf_roots[cnt]"))?;
        if superblock.features.has_rmapbt() {
            group.take(superblock, header, (24, "agf_roots[rmap]"))?;
        }
        if superblock.features.has_reflink() {
            group.take(superblock, header, (88, "agf_refcount_root"))?;
        }
        Ok(group)
    }

    fn add_inode_roots(&mut self, superblock: &Superblock, header: &Header) -> Checked {
        header.equal(0, "agi_magicnum", u32::from_be_bytes(*b"XAGI"))?;
        header.check_self(superblock, 296, 312)?;
        header.equal(4, "agi_versionnum", 1)?;
        header.equal(8, "agi_seqno", self.number)?;
        header.equal(12, "agi_length", self.blocks)?;
        self.take(superblock, header, (20, "agi_root"))?;
        self.inode_root = be32(&header.raw, 20);
        self.inode_levels = be32(&header.raw, 24);
        let is_valid = (1..=LEVELS_MAX).contains(&self.inode_levels);
        header.check(is_valid, "agi_level", "1 to 9", self.inode_levels)?;
        if superblock.features.has_finobt() {
            self.take(superblock, header, (328, "agi_free_root"))?;
        }
        Ok(())
    }

    /// Notes the block that a field names as one that isn't free.
    fn take(
        &mut self,
        superblock: &Superblock,
        header: &Header,
        (offset, field): (usize, &'static str),
    ) -> Checked {
        let block = be32(&header.raw, offset);
        let is_valid = self.is_block(superblock, block);
        header.check(is_valid, field, "a block of the group", block)?;
        self.taken.push(block);
        Ok(())
    }

    /// Whether `block` lies in the group, after its headers.
    pub(super) fn is_block(&self, superblock: &Superblock, block: u32) -> bool {
        superblock.byte(block.into()) >= superblock.header_bytes() && block < self.blocks
    }

    /// The blocks in reserve: a ring of `agf_flcount` entries from `agf_flfirst` to `agf_fllast`.
    fn add_list(&mut self, superblock: &Superblock, agf: &Header, list: &Header) -> Checked {
        let header_len = if superblock.features.is_v5() {
            list.equal(0, "agfl_magicnum", u32::from_be_bytes(*b"XAFL"))?;
            list.check_self(superblock, 8, 32)?;
            list.equal(4, "agfl_seqno", self.number)?;
            AGFL_HEADER_LEN
        } else {
            0
        };
        let entries = list.raw.get(header_len..).unwrap_or_default();
        let size = u32::try_from(entries.len() / 4).unwrap_or(0);
        let (first, last, count) = (be32(&agf.raw, 40), be32(&agf.raw, 44), be32(&agf.raw, 48));
        let expected = format!("below {size}, the entries of the AGFL");
        agf.check(first < size, "agf_flfirst", &expected, first)?;
        agf.check(last < size, "agf_fllast", &expected, last)?;
        agf.check(count <= size, "agf_flcount", &expected, count)?;
        let active = if last >= first {
            last.saturating_sub(first)
        } else {
            size.saturating_sub(first).saturating_add(last)
        };
        let active = active.saturating_add(1);
        let is_valid = count == 0 || count == active;
        let expected = format!("{active}, from agf_flfirst to agf_fllast");
        agf.check(is_valid, "agf_flcount", &expected, count)?;
        for index in 0..count {
            let at = first.saturating_add(index).checked_rem(size).unwrap_or(0);
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let entry = at.saturating_mul(4).saturating_add(header_len);
            self.take(superblock, list, (entry, "agfl_bno"))?;
        }
        Ok(())
    }
}
