//! Shapes at the edges: all sizes of blocks and sectors, inode chunks with holes, many groups.

use super::variant::mkfs;
use super::{ImageFile, assert_agrees, filesystem, lacks_root, run};
use crate::support::image::sparse;
use crate::support::{Counted, MIB, Mount};
use klon_partition::filesystem::{Basis, usage};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

#[test]
fn every_block_and_sector_size() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("volume.img");
    for block in (10..=16).map(|shift| 1_u32 << shift) {
        for sector in [512, 1024, 2048, 4096].into_iter().filter(|&s| s <= block) {
            let name = format!("blocks of {block}, sectors of {sector}");
            // Logs of large blocks are large.
            sparse(&image, if block < 32768 { 320 } else { 900 } * MIB);
            let sizes = [block, sector].map(|size| format!("size={size}"));
            let [block_size, sector_size] = sizes.each_ref().map(String::as_str);
            // Every other one with reverse mappings.
            let tree = format!("rmapbt={}", u32::from(sector > 1024));
            let path = image.to_str().unwrap();
            mkfs(&["-q", "-b", block_size, "-s", sector_size, "-m", &tree, path]);
            assert_agrees(&image, &name);
            let filesystem = filesystem(&image);
            assert_eq!(filesystem.summary().block_size_bytes, block, "{name}");
        }
    }
}

/// Fills the space of a volume up and frees every other piece of four blocks, so that no whole
/// chunk of inodes fits anywhere.
fn fragment(mount: &Mount) {
    let path = mount.path().join("all");
    let file = File::create(&path).unwrap();
    let free = run(
        "df",
        &["--output=avail", "-B1", mount.path().to_str().unwrap()],
    );
    let free: i64 = free.lines().nth(1).unwrap().trim().parse().unwrap();
    let len = free - (1 << 20);
    fallocate(file.as_fd(), FallocateFlags::empty(), 0, len).unwrap();
    file.sync_all().unwrap();
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    for piece in 0..len / 32768 {
        fallocate(file.as_fd(), mode, piece * 32768, 16384).unwrap();
    }
    file.sync_all().unwrap();
}

/// Whether the tree of inodes of some group has a chunk with holes.
fn has_sparse_chunks(image: &Path, groups: u32) -> bool {
    (0..groups).any(|group| {
        let group = format!("agi {group}");
        let arguments = ["-r", "-c", &group, "-c", "addr root", "-c", "p recs"];
        let path = [image.to_str().unwrap()];
        let text = run("xfs_db", &[&arguments[..], &path].concat());
        // Records as "1:[startino,holemask,count,freecount,free]".
        let holes = text
            .split(":[")
            .skip(1)
            .map(|record| record.split(',').nth(1));
        holes.flatten().any(|mask| mask != "0" && mask != "0x0")
    })
}

#[test]
fn inode_chunks_with_holes() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("volume.img");
    sparse(&image, 96 * MIB);
    mkfs(&[
        "-q",
        "-d",
        "agcount=2",
        "-l",
        "size=10m",
        image.to_str().unwrap(),
    ]);
    let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
    fragment(&mount);
    // What the kernel holds in reserve has room for whole chunks, so these are many.
    let script = "mkdir \"$0\"/d; cd \"$0\"/d; seq 14000 | xargs touch; seq 9 10 14000 | xargs rm
        for i in $(seq 700); do echo $i > $i; done";
    run("sh", &["-ec", script, mount.path().to_str().unwrap()]);
    drop(mount);
    assert!(has_sparse_chunks(&image, 2));
    assert_agrees(&image, "sparse inodes");
    let device = ImageFile::open(&image);
    let filesystem = filesystem(&image);
    let used = filesystem.used(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&used).is_empty());
    // The files, and the one that is nearly all of the volume, are no metadata.
    assert!(
        metadata.total_bytes() < 20 * MIB,
        "{}",
        metadata.total_bytes()
    );
    super::a_copy_checks(&image, directory.path());
}

#[test]
fn many_groups_of_many_terabytes_take_few_reads() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("large.img");
    sparse(&image, 12 << 40);
    let path = image.to_str().unwrap();
    mkfs(&["-q", "-d", "agcount=1500", "-l", "size=16m", path]);
    let device = Counted::new(ImageFile::open(&image));
    let usage = usage(&device).unwrap();
    let (reads, bytes) = device.take();
    assert_eq!(usage.basis, Basis::Map);
    assert_eq!(usage.summary.clone().unwrap().size_bytes, 12 << 40);
    assert!(usage.used().extents().len() >= 1500);
    // Six headers and roots of each group.
    assert!(reads < 10 * 1500 && bytes < 24 * MIB);
}
