//! APFS against apfsprogs, partclone, blkid and libfsapfs.
//!
//! Containers with files in them are golden images, made by the Linux driver in a virtual
//! machine; see `images/INDEX.md`.

mod container;
mod metadata;

use super::image_file::ImageFile;
use crate::support::{MIB, lacks_root, run};
use container::Container;
use klon_partition::filesystem::{self, Basis, Hazard, Kind, Usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::fs;

const BLOCK: u64 = 4096;
/// One bitmap block's worth of blocks.
const CHUNK: u64 = 8 * BLOCK * BLOCK;

/// Size of the file, options, and blocks of the container.
const VARIANTS: [(u64, &[&str], &str); 8] = [
    (128 * MIB, &[], ""),
    (130 * MIB, &["-s"], ""),
    (1000 * MIB, &["-z", "-L", "klon"], ""),
    (1000 * MIB, &["-s", "-z"], "40000"),
    (1000 * MIB + 5000, &[], ""),
    (40 << 30, &["-L", "a name with spaces"], ""),
    ((1 << 40) + 12_345_678, &[], ""),
    (1200 << 30, &["-s"], ""),
];

fn usage(container: &Container) -> Usage {
    filesystem::usage(&ImageFile::open(&container.image)).unwrap()
}

/// Where partclone is mistaken: a last chunk that is partial and has no bitmap, because all of it
/// is free, gets the bits of block 0 for one.
fn mistaken(container: &Container, usage: &Usage) -> ExtentMap {
    let size_bytes = usage.summary.as_ref().unwrap().size_bytes;
    let start_bytes = size_bytes / CHUNK * CHUNK;
    let chunk = Extent::between(start_bytes, size_bytes);
    let Some(chunk) = chunk.filter(|&chunk| !usage.used().overlaps(chunk)) else {
        return ExtentMap::new();
    };
    let mut block = vec![0; BLOCK as usize];
    let device = ImageFile::open(&container.image);
    device.read_exact_at(&mut block, 0).unwrap();
    let is_one = |bit: &u64| block[(bit / 8) as usize] >> (bit % 8) & 1 == 1;
    let extent = |bit: u64| Extent::new(start_bytes + bit * BLOCK, BLOCK);
    let ones = (0..8 * BLOCK).filter(is_one).filter_map(extent);
    ones.filter_map(|one| one.intersection(chunk)).collect()
}

fn agrees(container: &Container, name: &str) {
    let usage = usage(container);
    assert_eq!(usage.basis, Basis::Map, "{name}");
    let summary = usage.summary.as_ref().unwrap();
    assert_eq!(summary.kind, Kind::Apfs, "{name}");
    assert_eq!(container.blkid("TYPE").as_deref(), Some("apfs"), "{name}");
    assert_eq!(summary.uuid, container.blkid("UUID"), "{name}");
    assert_eq!(summary.label, container.blkid("LABEL"), "{name}");
    assert_eq!(u64::from(summary.block_size_bytes), BLOCK, "{name}");
    let counted = summary.used_bytes;
    assert_eq!(counted, Some(usage.used().total_bytes()), "{name}");
    let expected = usage.used().union(&mistaken(container, &usage));
    assert_eq!(container.partclone_used(), expected, "{name}");
}

/// Partclone waits for seconds in each run, so they run at once.
#[test]
fn used_maps_are_those_of_partclone_and_apfsck() {
    std::thread::scope(|scope| {
        for (size_bytes, options, blocks) in VARIANTS {
            scope.spawn(move || {
                let container = Container::make(size_bytes, options, blocks);
                container.check();
                agrees(&container, &format!("{size_bytes} {options:?} {blocks}"));
            });
        }
    });
}

/// Free space is really not needed: copies with noise in it check as the originals.
#[test]
fn a_copy_of_the_used_bytes_alone_is_sound() {
    for (size_bytes, options, blocks) in &VARIANTS[..2] {
        let container = Container::make(*size_bytes, options, blocks);
        let used = usage(&container).used();
        assert!(used.total_bytes() < size_bytes / 4);
        let copy = container.copy_of(&used);
        copy.check();
        assert_eq!(usage(&copy).used(), used);
    }
}

/// Aged ones, with files and snapshots; Debian's apfsck doesn't know these yet.
#[test]
fn a_copy_of_the_used_bytes_alone_has_every_file() {
    if lacks_root() {
        return;
    }
    for (name, files) in [("apfs", 20), ("apfs-chunks", 20), ("apfs-seed-rings", 2)] {
        let container = Container::golden(name);
        let used = usage(&container).used();
        let copy = container.copy_of(&used);
        assert_eq!(usage(&copy).used(), used, "{name}");
        let (before, after) = (container.mount(), copy.mount());
        let paths = [before.path(), after.path()].map(|path| path.to_str().unwrap());
        run(
            "diff",
            &["--recursive", "--no-dereference", paths[0], paths[1]],
        );
        let found = fs::read_dir(after.path().join("directory")).unwrap();
        let found = found
            .filter(|entry| entry.as_ref().unwrap().metadata().unwrap().is_file())
            .count();
        assert!(found >= files, "{name}: {found} files");
    }
}

/// Nothing proves that no content changed, so there is no token; a container after a power cut is
/// copied whole.
#[test]
fn no_tokens_and_no_maps_of_unclean_containers() {
    let clean = Container::golden("apfs");
    let filesystem = filesystem::probe(&ImageFile::open(&clean.image)).unwrap();
    let token = filesystem
        .unwrap()
        .change_token(&ImageFile::open(&clean.image));
    assert_eq!(token.unwrap(), None);
    let unclean = usage(&Container::golden("apfs-unclean"));
    let hazards = unclean.summary.unwrap().hazards;
    let is_unclean = matches!(&hazards[..], [Hazard::NotCleanlyUnmounted(_)]);
    assert!(is_unclean, "{hazards:?}");
    assert_eq!(unclean.extents, ExtentMap::whole(40 * MIB));
}
