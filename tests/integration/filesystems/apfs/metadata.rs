//! Metadata against the records of the trees of files (`extents.py`), against what libfsapfs
//! shows of a copy of it, and against the blocks themselves: what is an object has a checksum.

use super::{BLOCK, Container};
use crate::filesystems::image_file::ImageFile;
use crate::support::{lacks_root, run};
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap};
use std::fs;

/// Golden images with files, and how many blocks those and their snapshots have at least.
const AGED: [(&str, u64); 4] = [
    ("apfs", 40),
    ("apfs-chunks", 40),
    ("apfs-seed-rings", 4),
    ("apfs-trees", 900),
];

/// What is in use, and what of it is metadata.
fn maps(container: &Container) -> (ExtentMap, ExtentMap) {
    let device = ImageFile::open(&container.image);
    let filesystem = probe(&device).unwrap().unwrap();
    let used = filesystem.used(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&used).is_empty());
    (used, metadata)
}

/// What the files of a container hold, those of its snapshots among them.
fn contents_by_records(container: &Container) -> ExtentMap {
    const TOOL: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/filesystems/apfs/extents.py"
    );
    let text = run("python3", &[TOOL, container.text()]);
    let extent = |line: &str| {
        let (first, count) = line.split_once(' ').unwrap();
        let bytes = |blocks: &str| blocks.parse::<u64>().unwrap() * BLOCK;
        Extent::new(bytes(first), bytes(count)).unwrap()
    };
    text.lines().map(extent).collect()
}

#[test]
fn metadata_is_what_no_file_has_by_the_trees_of_files() {
    for (name, blocks_min) in AGED {
        let container = Container::golden(name);
        let (used, metadata) = maps(&container);
        let contents = contents_by_records(&container);
        let blocks = contents.total_bytes() / BLOCK;
        assert!(blocks >= blocks_min, "{name}: {blocks} blocks");
        assert_eq!(used.difference(&metadata), contents, "{name}");
    }
    for name in ["apfs-seed", "apfs-wide"] {
        let container = Container::golden(name);
        assert_eq!(contents_by_records(&container), ExtentMap::new(), "{name}");
        let (used, metadata) = maps(&container);
        assert_eq!(metadata, used, "{name}");
    }
}

/// Fletcher's sums of 32-bit words, the checksum's last, are 0 modulo 2^32 - 1.
fn is_object(block: &[u8]) -> bool {
    let sums = |sums: (u64, u64), word: &[u8; 4]| {
        let first = (sums.0 + u64::from(u32::from_le_bytes(*word))) % 0xffff_ffff;
        (first, (sums.1 + first) % 0xffff_ffff)
    };
    let (words, _) = block.as_chunks::<4>();
    let sum = words[2..].iter().chain(&words[..2]).fold((0, 0), sums);
    sum == (0, 0) && block.iter().any(|&byte| byte != 0)
}

#[test]
fn no_object_is_in_what_is_no_metadata() {
    for (name, _) in AGED {
        let container = Container::golden(name);
        let (used, metadata) = maps(&container);
        let image = fs::read(&container.image).unwrap();
        let objects = |map: &ExtentMap| {
            let blocks = map.iter().flat_map(|extent| extent.split(BLOCK));
            let starts = blocks.map(|block| usize::try_from(block.offset_bytes()).unwrap());
            starts
                .filter(|&start| is_object(&image[start..start + BLOCK as usize]))
                .count()
        };
        assert_eq!(objects(&used.difference(&metadata)), 0, "{name}");
        assert!(objects(&metadata) > 20, "{name}");
    }
}

#[test]
fn a_copy_of_the_metadata_alone_has_every_name() {
    if lacks_root() {
        return;
    }
    // It has no way through the snapshots of the last one.
    for (name, _) in &AGED[..3] {
        let container = Container::golden(name);
        let (_, metadata) = maps(&container);
        let copy = container.copy_of(&metadata);
        assert_eq!(maps(&copy).1, metadata, "{name}");
        let names = |container: &Container| {
            let mount = container.mount();
            let format = "%P %y %m %s %n %T@ %l\\n";
            run("find", &[mount.path().to_str().unwrap(), "-printf", format])
        };
        let expected = names(&container);
        assert!(expected.lines().count() > 3, "{name}: {expected}");
        assert_eq!(names(&copy), expected, "{name}");
    }
}
