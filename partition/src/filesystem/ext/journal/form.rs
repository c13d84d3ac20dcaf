//! How the blocks of a log are written: headers, tags, revoke records, checksums.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Journal (jbd2)": block header,
//! descriptor block, revocation block, commit block. All of it is big-endian:
//! <https://docs.kernel.org/filesystems/ext4/index.html>. What that page does not say (how version 1 of the
//! checksums is made) is as in `fs/jbd2/recovery.c` of Linux.

use super::super::address::Block;
use super::super::checksum::crc32c;
use super::{
    COMPAT_CHECKSUM, Features, INCOMPAT_64BIT, INCOMPAT_ASYNC_COMMIT, INCOMPAT_CSUM_V2,
    INCOMPAT_CSUM_V3, MAGIC,
};
use crate::bytes::{be16, be32, be64, u8_at};

/// Length of the header that each block of the log has that is not a logged one.
pub(super) const HEADER_LEN: usize = 12;
/// `JBD2_FLAG_ESCAPE`
const FLAG_ESCAPE: u16 = 1;
/// `JBD2_FLAG_SAME_UUID`
const FLAG_SAME_UUID: u16 = 2;
/// `JBD2_FLAG_LAST_TAG`
const FLAG_LAST_TAG: u16 = 8;
/// `struct jbd2_journal_block_tail`
const TAIL_LEN: usize = 4;
/// `h_chksum` of the commit block.
const COMMIT_CHECKSUM: usize = 16;
/// `JBD2_CRC32_CHKSUM`
const CRC32_TYPE: u8 = 1;

/// What a block of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    Descriptor,
    Commit,
    Revoke,
}

/// The kind of a block that is of the transaction with that number; `None` for any other block.
pub(super) fn kind(block: &[u8], sequence: u32) -> Option<BlockKind> {
    let h_magic = be32(block, 0x0);
    let h_blocktype = be32(block, 0x4);
    let h_sequence = be32(block, 0x8);
    if h_magic != MAGIC || h_sequence != sequence {
        return None;
    }
    match h_blocktype {
        1 => Some(BlockKind::Descriptor),
        2 => Some(BlockKind::Commit),
        5 => Some(BlockKind::Revoke),
        _ => None,
    }
}

/// Where a logged block belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Its place on the volume.
    pub(super) block: Block,
    /// Whether its first four bytes were `JBD2_MAGIC_NUMBER`, and are not in the log.
    pub(super) is_escaped: bool,
    checksum: u32,
}

/// How a journal with these features is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    block_len: usize,
    is_wide: bool,
    is_async: bool,
    version: ChecksumVersion,
    /// Checksum of the journal's UUID.
    seed: u32,
}

/// Which checksums a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChecksumVersion {
    None,
    /// `JBD2_FEATURE_COMPAT_CHECKSUM`: of each transaction, in its commit block.
    Commit,
    /// Each block has one, and tags have 16 bits of it.
    V2,
    /// Each block has one.
    V3,
}

impl Form {
    /// The form of a journal by its features; `uuid` is `s_uuid` of the journal. `None` where two
    /// kinds of checksums exclude each other.
    pub(super) fn new(block_len: usize, features: Features, uuid: &[u8]) -> Option<Self> {
        let Features { compat, incompat } = features;
        let versions = [
            (compat & COMPAT_CHECKSUM, ChecksumVersion::Commit),
            (incompat & INCOMPAT_CSUM_V2, ChecksumVersion::V2),
            (incompat & INCOMPAT_CSUM_V3, ChecksumVersion::V3),
        ];
        let mut set = versions.into_iter().filter(|&(bit, _)| bit != 0);
        let version = set.next().map_or(ChecksumVersion::None, |(_, it)| it);
        set.next().is_none().then(|| Self {
            block_len,
            is_wide: incompat & INCOMPAT_64BIT != 0,
            is_async: incompat & INCOMPAT_ASYNC_COMMIT != 0,
            version,
            seed: crc32c(!0, uuid),
        })
    }

    /// Whether commit blocks may be written before what they commit, so that their checksum alone tells
    /// whether that was.
    pub(super) const fn is_async(self) -> bool {
        self.is_async
    }

    pub(super) const fn version(self) -> ChecksumVersion {
        self.version
    }

    /// Whether each block has a checksum of its own.
    pub(super) const fn has_block_checksums(self) -> bool {
        matches!(self.version, ChecksumVersion::V2 | ChecksumVersion::V3)
    }

    /// `journal_tag_bytes`
    const fn tag_len(self) -> usize {
        match (self.version, self.is_wide) {
            (ChecksumVersion::V3, _) => 16,
            (ChecksumVersion::V2, true) => 14,
            (ChecksumVersion::V2, false) => 10,
            (_, true) => 12,
            (_, false) => 8,
        }
    }

    /// Where tags and records end in a block.
    const fn end(self) -> usize {
        if self.has_block_checksums() {
            self.block_len - TAIL_LEN
        } else {
            self.block_len
        }
    }

    /// The tags of a descriptor block, in order.
    pub(super) fn tags(self, block: &[u8]) -> Vec<Tag> {
        let mut tags = Vec::new();
        let mut at = HEADER_LEN;
        while at + self.tag_len() <= self.end() {
            let Some(raw) = block.get(at..at + self.tag_len()) else {
                break;
            };
            let t_blocknr = be32(raw, 0);
            // Version 3 has 32 bits of flags. These are the lower ones.
            let t_flags = be16(raw, 6);
            let t_blocknr_high = if self.is_wide { be32(raw, 8) } else { 0 };
            let checksum = match self.version {
                ChecksumVersion::V3 => be32(raw, 12),
                ChecksumVersion::V2 => be16(raw, 4).into(),
                ChecksumVersion::Commit | ChecksumVersion::None => 0,
            };
            tags.push(Tag {
                block: Block(u64::from(t_blocknr_high) << 32 | u64::from(t_blocknr)),
                is_escaped: t_flags & FLAG_ESCAPE != 0,
                checksum,
            });
            at += self.tag_len();
            if t_flags & FLAG_SAME_UUID == 0 {
                at += 16;
            }
            if t_flags & FLAG_LAST_TAG != 0 {
                break;
            }
        }
        tags
    }

    /// The blocks that a revoke block names; `None` when it says that it has more than it can.
    pub(super) fn revoked(self, block: &[u8]) -> Option<Vec<Block>> {
        let r_count = be32(block, HEADER_LEN) as usize;
        let records = block.get(HEADER_LEN + 4..r_count).unwrap_or_default();
        if r_count > self.end() {
            return None;
        }
        Some(match self.is_wide {
            true => (records.chunks_exact(8))
                .map(|raw| Block(be64(raw, 0)))
                .collect(),
            false => (records.chunks_exact(4))
                .map(|raw| Block(be32(raw, 0).into()))
                .collect(),
        })
    }

    /// Whether a descriptor or revoke block has the checksum that it says.
    pub(super) fn is_whole(self, block: &[u8]) -> bool {
        if !self.has_block_checksums() {
            return true;
        }
        let Some((covered, tail)) = block.split_at_checked(self.end()) else {
            return false;
        };
        be32(tail, 0) == crc32c(crc32c(self.seed, covered), &[0; TAIL_LEN])
    }

    /// Whether a commit block has the checksum that it says.
    pub(super) fn is_whole_commit(self, block: &[u8]) -> bool {
        if !self.has_block_checksums() {
            return true;
        }
        let (before, rest) = block.split_at_checked(COMMIT_CHECKSUM).unwrap_or_default();
        let after = rest.get(4..).unwrap_or_default();
        let crc = crc32c(crc32c(crc32c(self.seed, before), &[0; 4]), after);
        be32(block, COMMIT_CHECKSUM) == crc
    }

    /// Whether a commit block of version 1 says that its transaction has this checksum, or has none.
    pub(super) fn is_committed(block: &[u8], crc: u32) -> bool {
        let h_chksum_type = u8_at(block, 12);
        let h_chksum_size = u8_at(block, 13);
        let h_chksum = be32(block, COMMIT_CHECKSUM);
        (h_chksum_type, h_chksum_size, h_chksum) == (CRC32_TYPE, 4, crc)
            || (h_chksum_type, h_chksum_size, h_chksum) == (0, 0, 0)
    }

    /// Whether a logged block has the checksum of its tag.
    pub(super) fn is_logged(self, tag: &Tag, sequence: u32, block: &[u8]) -> bool {
        let crc = || crc32c(crc32c(self.seed, &sequence.to_be_bytes()), block);
        match self.version {
            ChecksumVersion::V3 => tag.checksum == crc(),
            ChecksumVersion::V2 => tag.checksum == crc() & 0xffff,
            ChecksumVersion::Commit | ChecksumVersion::None => true,
        }
    }
}

/// `h_commit_sec` of a commit block.
pub(super) fn commit_seconds(block: &[u8]) -> u64 {
    be64(block, 48)
}

/// CRC-32 of the usual polynomial, most significant bit first, continued from `seed`: `crc32_be` of Linux.
pub(super) fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(seed, |crc, &byte| {
        let index = (crc >> 24) ^ u32::from(byte);
        crc << 8 ^ TABLE[(index & 0xff) as usize]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            crc = crc << 1 ^ carry;
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Features, Form, crc32_be};

    #[test]
    fn the_checksum_of_version_1_is_the_known_one() {
        // CRC-32/BZIP2 without its final inversion.
        assert_eq!(!crc32_be(!0, b"123456789"), 0xfc89_1918);
        assert_eq!(crc32_be(crc32_be(7, b"12"), b"34"), crc32_be(7, b"1234"));
    }

    #[test]
    fn tags_are_as_long_as_their_features_say() {
        let length = |compat, incompat| {
            let form = Form::new(1024, Features { compat, incompat }, &[0; 16]);
            form.map(Form::tag_len)
        };
        let lengths = [0, 0x2, 0x8, 0xa, 0x10, 0x12].map(|incompat| length(0, incompat));
        assert_eq!(lengths, [8, 12, 10, 14, 16, 16].map(Some));
        assert_eq!(length(1, 2), Some(12));
        assert_eq!([length(1, 8), length(0, 0x18)], [None, None]);
    }

    #[test]
    fn revoke_records_that_a_block_has_no_room_for_are_none() {
        let features = Features {
            compat: 0,
            incompat: 0x10,
        };
        let form = Form::new(1024, features, &[0; 16]).unwrap();
        let mut block = [0; 1024];
        for (count, found) in [(16, 0), (24, 2), (1020, 251)] {
            block[12..16].copy_from_slice(&u32::to_be_bytes(count));
            assert_eq!(form.revoked(&block).unwrap().len(), found);
        }
        for count in [1021, u32::MAX] {
            block[12..16].copy_from_slice(&count.to_be_bytes());
            assert!(form.revoked(&block).is_none());
        }
        block[12..16].copy_from_slice(&[0; 4]);
        assert!(form.revoked(&block).unwrap().is_empty());
    }
}
