//! The headers of an allocation group: AGF, AGI and AGFL, a sector each after the superblock.
//!
//! XFS Algorithms & Data Structures, "AG Free Space Management" and "AG Inode Management":
//! `xfs_agf`, `xfs_agi`, `xfs_agfl`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::{AgBlock, AgNumber};
use super::checksum;
use super::superblock::{Superblock, uuid};
use crate::bytes::be32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};

/// The header before the entries of an AGFL, which only version 5 has.
const AGFL_HEADER_LEN: usize = 36;
const AGFL_ENTRY_LEN: usize = 4;
/// `XFS_BTREE_MAXLEVELS`
const LEVELS_MAX: u32 = 9;

/// An allocation group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) number: AgNumber,
    pub(super) blocks: u32,
}

impl Group {
    fn new(superblock: &Superblock, number: AgNumber) -> Self {
        let blocks = superblock.group_blocks_of(number);
        Self { number, blocks }
    }

    /// Whether `block` lies in the group, after its headers.
    pub(super) fn has(self, superblock: &Superblock, block: AgBlock) -> bool {
        superblock.byte(block.0.into()) >= superblock.header_bytes() && block.0 < self.blocks
    }
}

/// Where a tree begins, and how many levels it has: 1 to 9.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) block: AgBlock,
    pub(super) levels: u32,
}

/// What the headers of a group say of its free space, checked.
#[derive(Clone, Debug)]
pub(super) struct FreeSpace {
    pub(super) group: Group,
    /// The tree of free extents by block.
    pub(super) tree: Root,
    pub(super) free_blocks: u32,
    pub(super) longest_blocks: u32,
    /// Where the AGF starts.
    pub(super) agf_bytes: u64,
    /// Blocks that can't be free: roots of trees, and those in reserve for the trees (AGFL).
    pub(super) taken: Vec<AgBlock>,
}

/// What the AGI of a group says of its inodes, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inodes {
    pub(super) group: Group,
    /// The tree of inodes.
    pub(super) tree: Root,
    /// The root of the tree of chunks of inodes that have free ones.
    free_root: Option<AgBlock>,
}

/// Which of the headers, and in which sector of a group it is.
#[derive(Clone, Copy)]
struct Kind {
    structure: &'static str,
    sector: u32,
}

const AGF: Kind = Kind {
    structure: "XFS AGF",
    sector: 1,
};
const AGI: Kind = Kind {
    structure: "XFS AGI",
    sector: 2,
};
const AGFL: Kind = Kind {
    structure: "XFS AGFL",
    sector: 3,
};

/// One of the headers as it lies on the disk.
struct Header<'a> {
    superblock: &'a Superblock,
    group: Group,
    structure: &'static str,
    offset_bytes: u64,
    raw: Vec<u8>,
}

/// Where a version 5 header has what identifies it.
struct Identity {
    uuid_offset: usize,
    crc_offset: usize,
}

impl<'a> Header<'a> {
    /// Reads a header of the group.
    fn read(
        superblock: &'a Superblock,
        device: &dyn ReadAt,
        number: AgNumber,
        kind: Kind,
    ) -> Result<Self> {
        let start_bytes = superblock.group_byte(number, AgBlock(0));
        let in_group = u64::from(kind.sector) * u64::from(superblock.sector_bytes);
        // The headers were seen to be in each of the groups.
        let offset_bytes = start_bytes.saturating_add(in_group);
        Ok(Self {
            superblock,
            group: Group::new(superblock, number),
            structure: kind.structure,
            offset_bytes,
            raw: read_vec(device, offset_bytes, superblock.sector_len())?,
        })
    }

    fn check(&self, is_valid: bool, field: &'static str, expected: &str, found: u32) -> Checked {
        if is_valid {
            return Ok(());
        }
        let found = format!("{found:#x}");
        let offset_bytes = self.offset_bytes;
        Err(Corrupt::new(
            self.structure,
            field,
            offset_bytes,
            expected,
            found,
        ))
    }

    fn equal(&self, field: &'static str, found: u32, expected: u32) -> Checked {
        self.check(found == expected, field, &format!("{expected:#x}"), found)
    }

    /// Checks CRC and UUID, which version 5 has.
    fn check_self(&self, at: &Identity) -> Checked {
        if !self.superblock.features.is_v5() {
            return Ok(());
        }
        checksum::check(self.structure, self.offset_bytes, &self.raw, at.crc_offset)?;
        let is_valid = uuid(&self.raw, at.uuid_offset) == self.superblock.meta_uuid;
        let found = be32(&self.raw, at.uuid_offset);
        self.check(is_valid, "uuid", "the superblock's", found)
    }

    /// The block that a field names, which must be one of the group.
    fn block(&self, field: &'static str, number: u32) -> Checked<AgBlock> {
        let block = AgBlock(number);
        let is_valid = self.group.has(self.superblock, block);
        self.check(is_valid, field, "a block of the group", number)?;
        Ok(block)
    }
}

/// The AGF and the AGI of a group as they are, which every transaction that allocates or frees
/// changes.
pub(super) fn raw_headers(
    superblock: &Superblock,
    device: &dyn ReadAt,
    number: AgNumber,
) -> Result<[Vec<u8>; 2]> {
    let agf = Header::read(superblock, device, number, AGF)?;
    let agi = Header::read(superblock, device, number, AGI)?;
    Ok([agf.raw, agi.raw])
}

impl Inodes {
    /// Reads and checks the AGI of a group.
    pub(super) fn read(
        superblock: &Superblock,
        device: &dyn ReadAt,
        number: AgNumber,
    ) -> Result<Self> {
        let header = Header::read(superblock, device, number, AGI)?;
        Ok(Self::parse(&header)?)
    }

    fn parse(header: &Header<'_>) -> Checked<Self> {
        let (raw, group) = (&header.raw, header.group);
        let agi_magicnum = be32(raw, 0);
        let agi_versionnum = be32(raw, 4);
        let agi_seqno = be32(raw, 8);
        let agi_length = be32(raw, 12);
        let agi_root = be32(raw, 20);
        let agi_level = be32(raw, 24);
        let agi_free_root = be32(raw, 328);
        header.equal("agi_magicnum", agi_magicnum, u32::from_be_bytes(*b"XAGI"))?;
        header.check_self(&Identity {
            uuid_offset: 296,
            crc_offset: 312,
        })?;
        header.equal("agi_versionnum", agi_versionnum, 1)?;
        header.equal("agi_seqno", agi_seqno, group.number.0)?;
        header.equal("agi_length", agi_length, group.blocks)?;
        let block = header.block("agi_root", agi_root)?;
        let is_valid = (1..=LEVELS_MAX).contains(&agi_level);
        header.check(is_valid, "agi_level", "1 to 9", agi_level)?;
        let has_free_tree = header.superblock.features.has_finobt();
        let free_root = has_free_tree.then(|| header.block("agi_free_root", agi_free_root));
        Ok(Self {
            group,
            tree: Root {
                block,
                levels: agi_level,
            },
            free_root: free_root.transpose()?,
        })
    }
}

impl FreeSpace {
    /// Reads and checks the headers of a group.
    pub(super) fn read(
        superblock: &Superblock,
        device: &dyn ReadAt,
        number: AgNumber,
    ) -> Result<Self> {
        let agf = Header::read(superblock, device, number, AGF)?;
        let mut space = Self::parse(&agf)?;
        let inodes = Inodes::read(superblock, device, number)?;
        space.taken.push(inodes.tree.block);
        space.taken.extend(inodes.free_root);
        let agfl = Header::read(superblock, device, number, AGFL)?;
        space.taken.extend(reserve(&agf, &agfl)?);
        Ok(space)
    }

    fn parse(header: &Header<'_>) -> Checked<Self> {
        let (raw, group) = (&header.raw, header.group);
        let agf_magicnum = be32(raw, 0);
        let agf_versionnum = be32(raw, 4);
        let agf_seqno = be32(raw, 8);
        let agf_length = be32(raw, 12);
        let agf_roots = [16, 20, 24].map(|offset| be32(raw, offset));
        let agf_levels_bno = be32(raw, 28);
        let agf_freeblks = be32(raw, 52);
        let agf_longest = be32(raw, 56);
        let agf_refcount_root = be32(raw, 88);
        header.equal("agf_magicnum", agf_magicnum, u32::from_be_bytes(*b"XAGF"))?;
        header.check_self(&Identity {
            uuid_offset: 64,
            crc_offset: 216,
        })?;
        header.equal("agf_versionnum", agf_versionnum, 1)?;
        header.equal("agf_seqno", agf_seqno, group.number.0)?;
        header.equal("agf_length", agf_length, group.blocks)?;
        let is_valid = (1..=LEVELS_MAX).contains(&agf_levels_bno);
        header.check(is_valid, "agf_levels", "1 to 9", agf_levels_bno)?;
        let is_valid = agf_freeblks < group.blocks && agf_longest <= agf_freeblks;
        let expected = "fewer than the group's blocks";
        header.check(is_valid, "agf_freeblks", expected, agf_freeblks)?;
        let [bno, cnt, rmap] = agf_roots;
        let root = header.block("agf_roots[bno]", bno)?;
        let mut taken = vec![root, header.block("agf_roots[cnt]", cnt)?];
        let features = header.superblock.features;
        if features.has_rmapbt() {
            taken.push(header.block("agf_roots[rmap]", rmap)?);
        }
        if features.has_reflink() {
            taken.push(header.block("agf_refcount_root", agf_refcount_root)?);
        }
        Ok(Self {
            group,
            tree: Root {
                block: root,
                levels: agf_levels_bno,
            },
            free_blocks: agf_freeblks,
            longest_blocks: agf_longest,
            agf_bytes: header.offset_bytes,
            taken,
        })
    }
}

/// The blocks in reserve: a ring of `agf_flcount` entries from `agf_flfirst` to `agf_fllast`.
fn reserve(agf: &Header<'_>, agfl: &Header<'_>) -> Checked<Vec<AgBlock>> {
    let is_v5 = agf.superblock.features.is_v5();
    if is_v5 {
        let agfl_magicnum = be32(&agfl.raw, 0);
        let agfl_seqno = be32(&agfl.raw, 4);
        agfl.equal("agfl_magicnum", agfl_magicnum, u32::from_be_bytes(*b"XAFL"))?;
        agfl.check_self(&Identity {
            uuid_offset: 8,
            crc_offset: 32,
        })?;
        agfl.equal("agfl_seqno", agfl_seqno, agf.group.number.0)?;
    }
    let header_len = if is_v5 { AGFL_HEADER_LEN } else { 0 };
    let entries = agfl.raw.get(header_len..).unwrap_or_default();
    let entries = entries.chunks_exact(AGFL_ENTRY_LEN);
    // A sector has at most 32 KiB.
    let size = entries.len() as u32;
    let agf_flfirst = be32(&agf.raw, 40);
    let agf_fllast = be32(&agf.raw, 44);
    let agf_flcount = be32(&agf.raw, 48);
    let expected = format!("below {size}, the entries of the AGFL");
    agf.check(agf_flfirst < size, "agf_flfirst", &expected, agf_flfirst)?;
    agf.check(agf_fllast < size, "agf_fllast", &expected, agf_fllast)?;
    agf.check(agf_flcount <= size, "agf_flcount", &expected, agf_flcount)?;
    let laps = if agf_fllast >= agf_flfirst { 0 } else { size };
    let active = agf_fllast + laps - agf_flfirst + 1;
    let is_valid = agf_flcount == 0 || agf_flcount == active;
    let expected = format!("{active}, from agf_flfirst to agf_fllast");
    agf.check(is_valid, "agf_flcount", &expected, agf_flcount)?;
    let ring = entries.cycle().skip(agf_flfirst as usize);
    ring.take(agf_flcount as usize)
        .map(|entry| agfl.block("agfl_bno", be32(entry, 0)))
        .collect()
}
