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
    edit_xfs(image, inode, |raw, place| {
        for field in fields {
            raw[field.clone()].copy_from_slice(&before[place..][field.clone()]);
        }
    });
}

/// Changes an inode of XFS, which lies at the given place.
pub(super) fn edit_xfs(image: &Path, inode: u64, edit: impl FnOnce(&mut [u8], usize)) {
    let all = std::fs::read(image).unwrap();
    let place = xfs_inode(&all, inode);
    let mut raw = all[place.clone()].to_vec();
    assert_eq!(&raw[..2], b"IN");
    edit(&mut raw, place.start);
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

/// The chunk items in the leaf at `start` of a Btrfs, all of whose chunks are in one: the length of each
/// chunk of data, and where its only place on the device is written.
fn data_chunks(bytes: &[u8], start: usize) -> Vec<(u64, usize)> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let items = (0..short(start + 0x60) as usize).map(|index| start + 101 + index * 25);
    // `BTRFS_CHUNK_ITEM_KEY`, `BTRFS_BLOCK_GROUP_DATA` alone.
    let items = items.filter(|&item| bytes[item + 8] == 228);
    let data = items.map(|item| start + 101 + short(item + 17) as usize);
    let data = data.filter(|&data| number(data + 0x18) == 1);
    data.map(|data| (number(data), data + 48 + 8)).collect()
}

/// Exchanges the places of two chunks of data of a Btrfs, with all that lies there.
pub(super) fn exchange_chunks(bytes: &mut [u8]) {
    let number =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let node_bytes = u32::from_le_bytes(bytes[0x1_0094..0x1_0098].try_into().unwrap()) as usize;
    // Both copies of the leaf at `chunk_root`.
    let root = number(bytes, 0x1_0058);
    let starts = (0..bytes.len() - node_bytes).step_by(4096);
    let is_leaf = |start: &usize| {
        let sum = crc32c::crc32c(&bytes[start + 32..start + node_bytes]).to_le_bytes();
        number(bytes, start + 0x30) == root
            && number(bytes, start + 0x58) == 3
            && number(bytes, start + 0x50) == number(bytes, 0x1_00a4)
            && bytes[start + 0x64] == 0
            && bytes[*start..start + 4] == sum
    };
    let leaves: Vec<usize> = starts.filter(is_leaf).collect();
    let chunks = data_chunks(bytes, leaves[0]);
    let largest = chunks.iter().map(|chunk| chunk.0).max().unwrap();
    let equal: Vec<usize> = chunks
        .iter()
        .filter(|chunk| chunk.0 == largest)
        .map(|chunk| chunk.1)
        .collect();
    let [one, other] = [equal[0], equal[1]].map(|field| number(bytes, field));
    for &start in &leaves {
        let moved = start - leaves[0];
        bytes[equal[0] + moved..][..8].copy_from_slice(&other.to_le_bytes());
        bytes[equal[1] + moved..][..8].copy_from_slice(&one.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[start + 32..start + node_bytes]).to_le_bytes();
        bytes[start..start + 4].copy_from_slice(&sum);
    }
    let [one, other, len] = [one, other, largest].map(|it| usize::try_from(it).unwrap());
    let (low, high) = (one.min(other), one.max(other));
    let (before, behind) = bytes.split_at_mut(high);
    before[low..low + len].swap_with_slice(&mut behind[..len]);
}
