//! Files and directories that a golden image has, made hostile.

use crate::device::{MemoryDevice, WriteAt};
use crate::error::Error;
use crate::filesystem::golden::image;
use crate::filesystem::{NodeKind, probe};

const BLOCK_BYTES: u64 = 1024;
const INODE_BYTES: u64 = 256;
/// Where the table of inodes begins, as `debugfs -R "imap <1>"` says.
const INODES: u64 = 9 * BLOCK_BYTES;
/// `directory`, and its only block (`debugfs -R "blocks directory"`).
const DIRECTORY: u64 = 12;
const DIRECTORY_BLOCK: u32 = 1300;
/// `directory/2`, whose 14 blocks begin here (`debugfs -R "stat <14>"`).
const FILE: u64 = 14;
const FILE_BLOCK: u32 = 1315;

/// A volume without checksums of its structures.
fn volume() -> MemoryDevice {
    image("ext4-plain")
}

/// Writes into an inode.
fn set(device: &MemoryDevice, inode: u64, at: u64, bytes: &[u8]) {
    let offset_bytes = INODES + (inode - 1) * INODE_BYTES + at;
    device.write_all_at(bytes, offset_bytes).unwrap();
}

/// Writes an `i_block` with these extents: block of the file, blocks, where they lie.
fn set_extents(device: &MemoryDevice, inode: u64, extents: &[(u32, u16, u32)]) {
    let mut i_block = vec![0x0a, 0xf3, extents.len() as u8, 0, 4, 0, 0, 0, 0, 0, 0, 0];
    for (ee_block, ee_len, ee_start_lo) in extents {
        i_block.extend(ee_block.to_le_bytes());
        i_block.extend(ee_len.to_le_bytes());
        i_block.extend([0, 0]);
        i_block.extend(ee_start_lo.to_le_bytes());
    }
    set(device, inode, 0x28, &i_block);
}

fn read(device: &MemoryDevice, len_max: usize) -> crate::error::Result<Vec<u8>> {
    let filesystem = probe(device).unwrap().unwrap();
    let paths = filesystem.paths(device).unwrap();
    Ok(paths.read("directory/2", len_max)?.unwrap())
}

#[test]
fn runs_of_a_file_follow_each_other() {
    let device = volume();
    let whole = read(&device, 1 << 20).unwrap();
    assert_eq!(whole.len(), 13_893);
    // The same in three pieces, with a hole that is zero.
    let pieces = [
        (0, 2, FILE_BLOCK),
        (3, 1, FILE_BLOCK + 3),
        (4, 10, FILE_BLOCK + 4),
    ];
    set_extents(&device, FILE, &pieces);
    let mut holed = whole.clone();
    holed[2048..3072].fill(0);
    assert_eq!(read(&device, 1 << 20).unwrap(), holed);
    assert_eq!(read(&device, 2500).unwrap(), holed[..2500]);
    for overlapping in [
        [(0, 2, FILE_BLOCK), (0, 2, FILE_BLOCK)],
        [(0, 2, 1315), (1, 1, 1315)],
    ] {
        set_extents(&device, FILE, &overlapping);
        let error = read(&device, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
        assert!(error.to_string().contains("ee_block"), "{error}");
    }
}

#[test]
fn a_directory_that_maps_one_block_again_and_again_is_listed_as_far_as_asked() {
    let device = volume();
    let filesystem = probe(&device).unwrap().unwrap();
    let paths = filesystem.paths(&device).unwrap();
    let list = |names_max| paths.list("directory", names_max).unwrap().unwrap();
    let sound = list(1 << 20);
    assert!(sound.is_whole, "{sound:?}");
    let extents: Vec<_> = (0..4).map(|block| (block, 1, DIRECTORY_BLOCK)).collect();
    set_extents(&device, DIRECTORY, &extents);
    set(&device, DIRECTORY, 0x04, &4096_u32.to_le_bytes());
    let all = list(1 << 20);
    assert_eq!(
        (all.names.len(), all.is_whole),
        (4 * sound.names.len(), true)
    );
    assert_eq!(list(all.names.len()), all);
    let first = list(sound.names.len());
    assert_eq!((first.names, first.is_whole), (sound.names, false));
}

#[test]
fn names_of_an_inline_directory_that_are_elsewhere_are_not_absent() {
    let device = volume();
    let mut i_block = [0; 60];
    i_block[0] = 2;
    // One entry, in all of the rest.
    i_block[4] = FILE as u8;
    i_block[8] = 56;
    i_block[10..13].copy_from_slice(&[1, 1, b'2']);
    set(&device, DIRECTORY, 0x28, &i_block);
    // EXT4_INLINE_DATA_FL
    set(&device, DIRECTORY, 0x20, &0x1000_0000_u32.to_le_bytes());
    let look = |size_bytes: u32| {
        set(&device, DIRECTORY, 0x04, &size_bytes.to_le_bytes());
        let filesystem = probe(&device).unwrap().unwrap();
        let paths = filesystem.paths(&device).unwrap();
        let kind = paths.find("directory/2").unwrap().unwrap().kind;
        assert_eq!(kind, NodeKind::File);
        let absent = paths.find("directory/none");
        let listed = paths.list("directory", 9);
        (absent, listed)
    };
    let (absent, listed) = look(60);
    assert_eq!(absent.unwrap(), None);
    assert_eq!(listed.unwrap().unwrap().names, ["2"]);
    let (absent, listed) = look(100);
    assert!(
        matches!(absent, Err(Error::Unsupported { .. })),
        "{absent:?}"
    );
    assert!(
        matches!(listed, Err(Error::Unsupported { .. })),
        "{listed:?}"
    );
}
