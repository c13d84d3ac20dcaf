//! Blocks and clusters that a filesystem lists as bad: nobody reads them, so that a drive that fails
//! there is cloned and imaged like any other; what something else claims as well is in use.

mod marks;

use crate::support::image::ext4;
use crate::support::{BadDisk, Klon, lacks_root, run};
use klon_partition::device::open_source;
use klon_partition::filesystem::{Basis, known_bad, usage};
use klon_partition::{Extent, ExtentMap};
use marks::{ext_listed, ext_with_bad, mark_exfat, mark_fat, mark_ntfs};
use std::fs;
use std::path::Path;

fn used(path: &Path) -> ExtentMap {
    let usage = usage(&open_source(path).unwrap()).unwrap();
    assert_eq!(usage.basis, Basis::Map, "{:?}", usage.summary);
    usage.extents
}

fn listed(path: &Path) -> ExtentMap {
    known_bad(&open_source(path).unwrap()).unwrap()
}

/// `source` lists `bad`, was the same with `before` in use when it did not, and says so.
fn is_left_out(klon: &Klon, before: &ExtentMap, bad: &ExtentMap) {
    let source = klon.path("source");
    assert!(!bad.is_empty());
    assert_eq!(listed(&source), *bad);
    assert_eq!(used(&source), before.difference(bad));
    let map = klon.json(&["map", "source"]);
    assert_eq!(map["known_bad_bytes"], bad.total_bytes());
    klon.ok(&["map", "source"])
        .shows(&["listed as bad by the filesystem"]);
}

/// A drive that can't read what is bad is cloned, imaged and verified, without a word of rescue.
fn is_copied(klon: &Klon, bad: &ExtentMap) {
    if lacks_root() {
        return;
    }
    let source = klon.path("source");
    let disk = BadDisk::new(&source, bad, klon.directory());
    let disk = disk.text();
    klon.ok(&["clone", disk, "target"]);
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", disk]);
    klon.ok(&["clone", disk, "target"]);
    klon.ok(&["image", disk, "image.klon"]);
    klon.ok(&["verify", "image.klon"]);
    klon.ok(&["verify", "image.klon", disk]);
    let info = klon.json(&["info", "image.klon"]);
    assert_eq!(info["known_bad_bytes"], bad.total_bytes());
    klon.ok(&["restore", "image.klon", "restored"]);
    let source_bytes = fs::read(&source).unwrap();
    for copy in ["target", "restored"] {
        let bytes = fs::read(klon.path(copy)).unwrap();
        for extent in used(&source).iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            assert!(
                source_bytes[range.clone()] == bytes[range],
                "{copy} {extent}"
            );
        }
        assert_eq!(listed(&klon.path(copy)), *bad);
    }
}

#[test]
fn ext_with_blocks_of_all_sizes() {
    for (kind, block_bytes) in [("ext2", 1024), ("ext3", 2048), ("ext4", 4096)] {
        let klon = Klon::new();
        let source = klon.path("source");
        ext_with_bad(&source, kind, block_bytes, &[5000, 5001, 5003, 7777, 9000]);
        let bad = ext_listed(&source);
        assert_eq!(bad.total_bytes(), 5 * u64::from(block_bytes));
        // What e2fsprogs has in use has the bad ones, too.
        let oracle = super::ext::dumpe2fs_used(&source);
        is_left_out(&klon, &oracle, &bad);
        run("e2fsck", &["-fn", source.to_str().unwrap()]);
        is_copied(&klon, &bad);
    }
}

/// All of the first mebibyte is copied, what is free there, too.
#[test]
fn blocks_in_the_first_mebibyte() {
    for kind in ["ext4", "fat", "ntfs", "exfat"] {
        println!("-- {kind}");
        let klon = Klon::new();
        let source = klon.path("source");
        let text = source.to_str().unwrap();
        if kind != "ext4" {
            crate::support::image::sparse(&source, 24 << 20);
        }
        let bad = match kind {
            "ext4" => {
                ext_with_bad(&source, kind, 1024, &[900, 901, 1000]);
                ext_listed(&source)
            }
            "fat" => {
                run("mkfs.fat", &["-F", "16", "-s", "1", text]);
                mark_fat(&source, 16, &[500, 501, 1100])
            }
            "ntfs" => {
                run("mkntfs", &["-q", "-F", "-f", "-c", "4096", text]);
                mark_ntfs(&source, 200, 3)
            }
            _ => {
                let options = ["-c", "4096", "-b", "64K", text];
                run("mkfs.exfat", &options);
                mark_exfat(&source, &[100, 101])
            }
        };
        assert!(bad.end_bytes() <= 1 << 20, "{bad:?}");
        assert_eq!(listed(&source), bad, "{kind}");
        is_copied(&klon, &bad);
    }
}

#[test]
fn many_ext_blocks_in_indirect_ones() {
    let klon = Klon::new();
    let source = klon.path("source");
    let blocks: Vec<u64> = (0..600).map(|index| 12_000 + index * 3).collect();
    ext_with_bad(&source, "ext4", 1024, &blocks);
    let bad = ext_listed(&source);
    assert_eq!(bad.total_bytes(), 600 * 1024);
    is_left_out(&klon, &super::ext::dumpe2fs_used(&source), &bad);
}

#[test]
fn an_ext_block_that_a_file_or_a_directory_has_too_is_in_use() {
    for claim in ["file", "directory", "attribute"] {
        let klon = Klon::new();
        let source = klon.path("source");
        ext_with_bad(&source, "ext2", 1024, &[5000, 7000]);
        let text = source.to_str().unwrap();
        let small = klon.text("small");
        fs::write(&small, "small").unwrap();
        let make = match claim {
            "directory" => "mkdir it".to_owned(),
            _ => format!("write {small} it"),
        };
        let field = match claim {
            "attribute" => "file_acl",
            _ => "block[0]",
        };
        for command in [make, format!("set_inode_field it {field} 5000")] {
            run("debugfs", &["-w", "-R", &command, text]);
        }
        let at =
            |block: u64| -> ExtentMap { Extent::new(block * 1024, 1024).into_iter().collect() };
        assert_eq!(listed(&source), at(7000), "{claim}");
        assert!(used(&source).contains(Extent::new(5000 * 1024, 1024).unwrap()));
    }
}

#[test]
fn fat_of_all_widths() {
    for (bits, size_mib, clusters) in [
        (12, 6, &[500, 501, 900][..]),
        (16, 20, &[3000, 5001]),
        (32, 40, &[9000, 9001, 9002]),
    ] {
        let klon = Klon::new();
        let source = klon.path("source");
        let bits_text = bits.to_string();
        crate::support::image::sparse(&source, size_mib << 20);
        let text = source.to_str().unwrap();
        let sectors = if bits == 12 { "4" } else { "1" };
        run("mkfs.fat", &["-F", &bits_text, "-s", sectors, text]);
        let file = klon.text("file");
        fs::write(&file, crate::support::tree::noise(3, 300_000)).unwrap();
        run("mcopy", &["-i", text, &file, "::/FILE"]);
        let before = used(&source);
        let bad = mark_fat(&source, bits, clusters);
        is_left_out(&klon, &before.union(&bad), &bad);
        if bits < 32 {
            // Its sector of information counts free clusters, too.
            run("fsck.fat", &["-n", text]);
        }
        is_copied(&klon, &bad);
    }
}

#[test]
fn a_fat_cluster_that_something_leads_to_is_in_use() {
    let klon = Klon::new();
    let source = klon.path("source");
    crate::support::image::fat(&source, 20, 512);
    // Cluster 2 is that of a directory, and nothing but its entry leads there.
    let both = mark_fat(&source, 16, &[2, 6000]);
    assert!(listed(&source).is_empty(), "its directory can't be read");
    assert!(both.iter().all(|extent| used(&source).contains(extent)));
}

#[test]
fn ntfs_clusters() {
    for cluster in ["512", "4096"] {
        let klon = Klon::new();
        let source = klon.path("source");
        crate::support::image::sparse(&source, 24 << 20);
        let text = source.to_str().unwrap();
        run("mkntfs", &["-q", "-F", "-f", "-c", cluster, text]);
        let before = used(&source);
        let bad = mark_ntfs(&source, 4500, 3);
        let shown = run("ntfsinfo", &["-f", "-v", "-i", "8", text]);
        assert!(shown.contains("0x1194"), "{shown}");
        is_left_out(&klon, &before.union(&bad), &bad);
        is_copied(&klon, &bad);
    }
}

#[test]
fn exfat_clusters() {
    let klon = Klon::new();
    let source = klon.path("source");
    crate::support::image::sparse(&source, 24 << 20);
    let text = source.to_str().unwrap();
    run("mkfs.exfat", &["-c", "4096", text]);
    let before = used(&source);
    let bad = mark_exfat(&source, &[3000, 3001, 4444]);
    is_left_out(&klon, &before.union(&bad), &bad);
    is_copied(&klon, &bad);
}

#[test]
fn a_volume_with_journal_to_replay_is_copied_whole() {
    let klon = Klon::new();
    let source = klon.path("source");
    ext4(&source, 32, 4);
    let text = source.to_str().unwrap();
    // The list of a filesystem that has to be checked first is not believed.
    ext_with_bad(&source, "ext4", 4096, &[5000]);
    run("debugfs", &["-w", "-R", "set_super_value state 0", text]);
    assert!(listed(&source).is_empty());
    let usage = usage(&open_source(&source).unwrap()).unwrap();
    assert_eq!(
        usage.extents,
        ExtentMap::whole(fs::metadata(&source).unwrap().len())
    );
}
