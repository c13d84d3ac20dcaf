//! Golden volumes laid out anew: the same files, and a FAT that klon's own parser finds nothing wrong with. Tests with
//! `fsck.fat` are in `tests/`.

use crate::device::{Geometry, MemoryDevice, ReadAt};
use crate::error::Error;
use crate::filesystem::golden::image;
use crate::filesystem::{Basis, NodeKind, Paths, Usage, probe, usage};
use std::sync::Arc;

const NAMES_MAX: usize = 10_000;

/// Names with contents, all of them.
fn files(device: &dyn ReadAt) -> Vec<(String, Vec<u8>)> {
    let filesystem = probe(device).unwrap().unwrap();
    let paths = filesystem.paths(device).unwrap();
    let mut found = Vec::new();
    gather(&paths, "/", &mut found);
    found
}

fn gather(paths: &Paths<'_>, directory: &str, found: &mut Vec<(String, Vec<u8>)>) {
    let listing = paths.list(directory, NAMES_MAX).unwrap().unwrap();
    for name in listing.names {
        let path = format!("{directory}{name}");
        let node = paths.find(&path).unwrap().unwrap();
        match node.kind {
            NodeKind::Directory => {
                found.push((path.clone(), Vec::new()));
                gather(paths, &format!("{path}/"), found);
            }
            _ => {
                let len = usize::try_from(node.size_bytes).unwrap();
                let contents = paths.read(&path, len).unwrap().unwrap();
                found.push((path, contents));
            }
        }
    }
}

fn laid_out(device: MemoryDevice, to: Geometry) -> Result<Arc<dyn ReadAt>, Error> {
    let filesystem = probe(&device).unwrap().unwrap();
    filesystem.laid_out(Arc::new(device), to).unwrap()
}

fn clean(device: &dyn ReadAt) -> Usage {
    let found = usage(device).unwrap();
    assert_eq!(found.basis, Basis::Map);
    found
}

/// What is told of it, without what counts clusters.
fn identity(found: &Usage) -> (Option<String>, Option<String>) {
    let summary = found.summary.clone().unwrap();
    (summary.label, summary.uuid)
}

const GOLDEN: [&str; 6] = [
    "fat12-floppy",
    "fat16",
    "fat16-4-fats",
    "fat16-unaligned",
    "fat32-esp",
    "fat32-one-fat",
];

#[test]
fn files_are_the_same_in_sectors_of_other_sizes_and_back() {
    for name in GOLDEN {
        let before = image(name);
        let size_bytes = before.geometry().size_bytes;
        let (names, was) = (files(&before), identity(&clean(&before)));
        assert!(!names.is_empty(), "{name}");
        let mut device: Arc<dyn ReadAt> = Arc::new(before);
        for sector_bytes in [4096, 2048, 512, 4096, 512] {
            let filesystem = probe(&device).unwrap().unwrap();
            let to = Geometry::new(size_bytes, sector_bytes);
            device = filesystem.laid_out(device.clone(), to).unwrap().unwrap();
            assert_eq!(files(&device), names, "{name} {sector_bytes}");
            assert_eq!(identity(&clean(&device)), was, "{name} {sector_bytes}");
        }
    }
}

#[test]
fn a_volume_gets_as_small_as_it_says_and_no_smaller() {
    for name in GOLDEN {
        let before = image(name);
        let names = files(&before);
        let filesystem = probe(&before).unwrap().unwrap();
        let least_bytes = filesystem.least_bytes(&before).unwrap().unwrap();
        assert!(least_bytes <= before.geometry().size_bytes, "{name}");
        let small = laid_out(image(name), Geometry::new(least_bytes, 512)).unwrap();
        assert_eq!(small.geometry().size_bytes, least_bytes);
        assert_eq!(files(&small), names, "{name}");
        let found = clean(&small).summary.unwrap();
        assert_eq!(found.kind, filesystem.summary().kind, "{name}");
        // With nothing but what the files need, and less.
        let none = laid_out(image(name), Geometry::new(2048, 512));
        assert!(matches!(none, Err(Error::Refused(_))), "{name}");
    }
}

#[test]
fn clusters_keep_their_numbers_where_they_are_as_large() {
    let before = image("fat32-esp");
    let size_bytes = before.geometry().size_bytes;
    let half = laid_out(image("fat32-esp"), Geometry::new(size_bytes, 512)).unwrap();
    let (mut ours, mut theirs) = (vec![0; size_bytes as usize], vec![0; size_bytes as usize]);
    half.read_exact_at(&mut ours, 0).unwrap();
    before.read_exact_at(&mut theirs, 0).unwrap();
    let used = clean(&before).used();
    let bytes = used
        .iter()
        .flat_map(|it| it.offset_bytes() as usize..it.end_bytes() as usize);
    let differing = bytes.filter(|&at| ours[at] != theirs[at]).count();
    // Free clusters, in both copies of FSInfo, and a bit at the end of each chain.
    assert!(differing < 1000, "{differing}");
}
