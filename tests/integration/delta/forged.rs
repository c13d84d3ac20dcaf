//! Changes that no honest system makes: fields of inodes and of extents, written by hand.

use super::past::{Place, place};
use crate::support::run;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where fields lie in an inode of ext4.
pub(super) const EXT_CTIME: &[Range<usize>] = &[0x0c..0x10, 0x84..0x88];
pub(super) const EXT_MTIME: &[Range<usize>] = &[0x10..0x14, 0x88..0x8c];
pub(super) const EXT_VERSION: &[Range<usize>] = &[0x24..0x28, 0x98..0x9c];
/// `di_mtime` and `di_ctime`.
pub(super) const XFS_TIMES: &[Range<usize>] = &[40..48, 48..56];

/// Writes bytes to an image.
pub(super) fn write(image: &Path, offset_bytes: usize, bytes: &[u8]) {
    let image = OpenOptions::new().write(true).open(image).unwrap();
    image.write_all_at(bytes, offset_bytes as u64).unwrap();
}

/// Where an inode of ext lies.
pub(super) fn ext_inode(image: &Path, inode: u64) -> usize {
    let image = image.to_str().unwrap();
    let said = run("debugfs", &["-R", &format!("imap <{inode}>"), image]);
    let field = |name: &str| {
        let rest = said.split(name).nth(1).unwrap();
        rest.split([',', '\n']).next().unwrap().trim().to_owned()
    };
    let offset = field("offset 0x");
    let block: usize = field("located at block").parse().unwrap();
    block * 4096 + usize::from_str_radix(&offset, 16).unwrap()
}

/// Where an inode of XFS lies, and how long it is.
fn xfs_inode(bytes: &[u8], inode: u64) -> Range<usize> {
    let number = |at: usize, len: usize| {
        let field = &bytes[at..at + len];
        field
            .iter()
            .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
    };
    let (block_bytes, group_blocks, inode_bytes) = (number(4, 4), number(84, 4), number(104, 2));
    let (per_block_log, group_log) = (number(123, 1), number(124, 1));
    let group = inode >> (per_block_log + group_log);
    let in_group = inode & ((1 << (per_block_log + group_log)) - 1);
    let start = group * group_blocks * block_bytes + in_group * inode_bytes;
    let start = usize::try_from(start).unwrap();
    start..start + usize::try_from(inode_bytes).unwrap()
}

/// Gives fields of an inode without checksums what they had before.
pub(super) fn set_back_ext(image: &Path, before: &[u8], inode: u64, fields: &[&[Range<usize>]]) {
    let start = ext_inode(image, inode);
    for field in fields.iter().copied().flatten() {
        let [from, to] = [field.start, field.end].map(|at| start + at);
        write(image, from, &before[from..to]);
    }
}

/// The same of XFS, whose checksum is mended.
pub(super) fn set_back_xfs(image: &Path, before: &[u8], inode: u64, fields: &[Range<usize>]) {
    let all = std::fs::read(image).unwrap();
    let place = xfs_inode(&all, inode);
    let mut raw = all[place.clone()].to_vec();
    assert_eq!(&raw[..2], b"IN");
    for field in fields {
        raw[field.clone()].copy_from_slice(&before[place.clone()][field.clone()]);
    }
    raw[100..104].fill(0);
    let crc = crc32c::crc32c(&raw).to_le_bytes();
    raw[100..104].copy_from_slice(&crc);
    write(image, place.start, &raw);
}

/// The entries of the only leaf of a file's extent tree: where each lies.
fn leaf(bytes: &[u8], inode: u64) -> Vec<usize> {
    let Place { maps, .. } = place(bytes, inode);
    let start = usize::try_from(maps[0].offset_bytes()).unwrap();
    let count = usize::from(u16::from_le_bytes([bytes[start + 2], bytes[start + 3]]));
    assert_eq!(
        (maps.len(), &bytes[start..start + 2]),
        (1, &[0x0a, 0xf3][..])
    );
    (1..=count).map(|index| start + index * 12).collect()
}

/// Marks the first extent as written that is not, and leaves something there.
pub(super) fn mark_written(image: &Path, inode: u64) {
    let bytes = std::fs::read(image).unwrap();
    let length = |at: usize| u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]);
    let leaf = leaf(&bytes, inode);
    let entry = leaf.into_iter().find(|&at| length(at) > 0x8000).unwrap();
    write(image, entry + 4, &(length(entry) - 0x8000).to_le_bytes());
    let block = u32::from_le_bytes(bytes[entry + 8..entry + 12].try_into().unwrap());
    write(image, usize::try_from(block).unwrap() * 4096, &[9; 4096]);
}

/// Moves the file's third extent, of one block, to the block at `to_bytes`, with its bytes.
pub(super) fn move_block(image: &Path, inode: u64, to_bytes: u64) {
    let bytes = std::fs::read(image).unwrap();
    let entry = leaf(&bytes, inode)[2];
    let block = u32::from_le_bytes(bytes[entry + 8..entry + 12].try_into().unwrap());
    let from = usize::try_from(block).unwrap() * 4096;
    write(
        image,
        usize::try_from(to_bytes).unwrap(),
        &bytes[from..from + 4096],
    );
    let to = u32::try_from(to_bytes / 4096).unwrap();
    write(image, entry + 8, &to.to_le_bytes());
}
