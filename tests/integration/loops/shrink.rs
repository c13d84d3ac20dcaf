//! Filesystems that are shrunk in an overlay for a smaller target: the source stays as it is, and the clone has
//! all of its files.

use crate::support::klon::number;
use crate::support::overlay::{alone, assert_nothing_stays};
use crate::support::tool;
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, MIB, Mount, NtfsMount, image, lacks_root, run};
use klon_partition::device::{look_at, read_vec};
use std::fs;
use std::path::Path;
use std::time::Instant;

pub(super) const SIZE_MIB: u64 = 400;

/// Feature sets of ext4.
const EXT4: [(&str, &[&str]); 4] = [
    ("usual", &["-O", "metadata_csum_seed"]),
    ("small", &["-O", "^64bit,^flex_bg"]),
    (
        "no-journal",
        &["-O", "^has_journal,inline_data", "-I", "512"],
    ),
    ("old", &["-O", "^resize_inode,sparse_super2,^metadata_csum"]),
];

pub(super) fn digest(path: &Path) -> String {
    run("sha256sum", &[path.to_str().unwrap()])
}

/// Files over all of a volume: what is in the middle is removed again, so that much of the rest has to move.
pub(super) fn spread(root: &Path) {
    let names = |number: u64| root.join(format!("spread {number}"));
    for number in 0..24 {
        fs::write(names(number), noise(number, 9 << 20)).unwrap();
        run("sync", &["-f", root.to_str().unwrap()]);
    }
    (0..24).filter(|number| number % 4 != 3).for_each(|number| {
        fs::remove_file(names(number)).unwrap();
    });
    fill(root, 3, 6);
    add_specials(root);
}

pub(super) fn tree(klon: &Klon, name: &str) -> Tree {
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), "loop,ro");
    Tree::read(mount.path()).without_numbers()
}

/// Shrinks `source` to a target of that size, and again; fails unless `check` finds it clean.
fn shrink_to(klon: &Klon, target: &str, size_bytes: u64, check: &[&str]) {
    let before = digest(&klon.path("source"));
    image::sparse(&klon.path(target), size_bytes);
    klon.refused(
        &["clone", "source", target],
        &["is too small", "--shrink", "Nothing was written"],
    );
    let begin = Instant::now();
    let outcome = klon.ok(&["clone", "source", target, "--shrink", "--json"]);
    let first = begin.elapsed();
    outcome.says(&["was shrunk to", "nothing is written to it"]);
    let done = outcome.last()["volumes"][0].take();
    assert_eq!(number(&done, "source_bytes"), size_bytes, "{done:#}");
    assert!(number(&done, "shrunk_from_bytes") > size_bytes, "{done:#}");
    assert_eq!(fs::metadata(klon.path(target)).unwrap().len(), size_bytes);
    run(check[0], &[&check[1..], &[&*klon.text(target)]].concat());
    klon.ok(&["verify", target]);
    let again = klon.json(&["clone", "source", target, "--shrink"]);
    println!(
        "{target}: {} used, {} written in {first:?}; again by {}: {} changed, {} written",
        number(&done, "used_bytes"),
        number(&done, "written_bytes"),
        again["rung"],
        number(&again, "changed_bytes"),
        number(&again, "written_bytes")
    );
    run(check[0], &[&check[1..], &[&*klon.text(target)]].concat());
    klon.ok(&["verify", target]);
    assert!(
        digest(&klon.path("source")) == before,
        "the source was written to"
    );
}

fn run_ext(name: &str) {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    let (_, make) = EXT4.iter().find(|(it, _)| *it == name).unwrap();
    let source = klon.text("source");
    image::sparse(&klon.path("source"), SIZE_MIB * MIB);
    let usual = ["-q", "-F", "-t", "ext4", "-b", "4096"];
    run("mke2fs", &[&usual[..], make, &[&source]].concat());
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    spread(mount.path());
    drop(mount);
    let whole = tree(&klon, "source");
    whole.assert_rich();
    // What resize2fs takes for the least.
    run("cp", &["--sparse=always", &source, &klon.text("copy")]);
    run("e2fsck", &["-fp", &klon.text("copy")]);
    let said = run("resize2fs", &["-P", &klon.text("copy")]);
    let blocks: u64 = said.rsplit(' ').next().unwrap().trim().parse().unwrap();
    let least = blocks * 4096;
    let sizes = [
        ("least", least + least / 20),
        ("half", (SIZE_MIB * MIB / 2).max(least)),
    ];
    for (target, size_bytes) in sizes {
        let size_bytes = size_bytes.next_multiple_of(MIB).min(SIZE_MIB * MIB - MIB);
        shrink_to(&klon, target, size_bytes, &["e2fsck", "-fn"]);
        tree(&klon, target).assert_same(&whole);
    }
    // What has no room is refused.
    let small = (least / 2).next_multiple_of(MIB);
    image::sparse(&klon.path("small"), small);
    let words = ["can't be shrunk", "resize2fs", "Nothing was written"];
    klon.refused(&["clone", "source", "small", "--shrink"], &words);
    assert!(
        fs::read(klon.path("small"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
    // The same of an image.
    klon.ok(&["image", "source", "i.klon"]);
    image::sparse(&klon.path("restored"), SIZE_MIB * MIB / 2);
    klon.refused(&["restore", "i.klon", "restored"], &["--shrink"]);
    klon.ok(&["restore", "i.klon", "restored", "--shrink"]);
    run("e2fsck", &["-fn", &klon.text("restored")]);
    tree(&klon, "restored").assert_same(&whole);
    assert_nothing_stays();
}

#[test]
fn ext4_as_usual() {
    run_ext("usual");
}

#[test]
fn ext4_without_64bit_and_groups_of_groups() {
    run_ext("small");
}

#[test]
fn ext4_without_a_journal_and_with_inline_data() {
    run_ext("no-journal");
}

#[test]
fn ext4_without_resize_inode_and_checksums() {
    run_ext("old");
}

/// An NTFS with files all over it.
pub(super) fn ntfs(klon: &Klon) {
    image::sparse(&klon.path("source"), SIZE_MIB * MIB);
    run("mkntfs", &["-q", "-F", "-f", &klon.text("source")]);
    let mount = NtfsMount::new(&klon.path("source"), &klon.path("mnt"), "rw");
    for number in 0..12 {
        let name = mount.path().join(format!("spread {number}"));
        fs::write(name, noise(number, 9 << 20)).unwrap();
    }
    (0..12).filter(|number| number % 3 != 2).for_each(|number| {
        fs::remove_file(mount.path().join(format!("spread {number}"))).unwrap();
    });
    fill(mount.path(), 3, 6);
}

pub(super) fn ntfs_tree(klon: &Klon, name: &str) -> Tree {
    let mount = NtfsMount::new(&klon.path(name), &klon.path("mnt"), "ro");
    Tree::read(mount.path())
}

/// A Btrfs with files all over it.
pub(super) fn btrfs(klon: &Klon) {
    image::sparse(&klon.path("source"), 1200 * MIB);
    run("mkfs.btrfs", &["-q", &klon.text("source")]);
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    spread(mount.path());
}

/// 1.05 times the least size that the tool names of the source.
fn tight_mib(klon: &Klon) -> u64 {
    let least = klon.json(&["map", "source", "--minimum"])["minimum"][0].take();
    let least_bytes = number(&least, "shrink_bytes");
    (least_bytes + least_bytes / 20).div_ceil(MIB)
}

#[test]
fn ntfs_with_the_copy_of_its_boot_sector() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    ntfs(&klon);
    let tree = |name: &str| ntfs_tree(&klon, name);
    let whole = tree("source");
    let tight_mib = tight_mib(&klon);
    for (target, size_mib) in [("half", SIZE_MIB / 2), ("small", 96), ("tight", tight_mib)] {
        let size_bytes = size_mib * MIB;
        shrink_to(&klon, target, size_bytes, &["ntfsinfo", "-f", "-m"]);
        let device = look_at(&klon.path(target)).unwrap();
        let [first, last] = [0, size_bytes - 512].map(|at| read_vec(&device, at, 512).unwrap());
        assert!(first == last, "{target} has its boot sector at its end");
        // Windows will check it; then there is nothing to be put right.
        run("ntfsfix", &["-n", &klon.text(target)]);
        tree(target).assert_same(&whole);
    }
    image::sparse(&klon.path("least"), 20 * MIB);
    let words = ["can't be shrunk", "ntfsresize", "Nothing was written"];
    klon.refused(&["clone", "source", "least", "--shrink"], &words);
    assert_nothing_stays();
}

#[test]
fn btrfs_with_what_lies_behind_its_new_end() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    btrfs(&klon);
    let whole = tree(&klon, "source");
    let tight_mib = tight_mib(&klon);
    for (target, size_mib) in [("half", 600), ("small", 480), ("tight", tight_mib)] {
        shrink_to(
            &klon,
            target,
            size_mib * MIB,
            &["btrfs", "check", "--check-data-csum"],
        );
        tree(&klon, target).assert_same(&whole);
    }
    // The kernel makes none that is so small.
    image::sparse(&klon.path("least"), 100 * MIB);
    let words = ["can't be shrunk", "btrfs", "Nothing was written"];
    klon.refused(&["clone", "source", "least", "--shrink"], &words);
    assert_nothing_stays();
}

#[test]
fn what_can_not_be_shrunk_is_refused_with_the_reason() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("xfs"), 400 * MIB);
    run("mkfs.xfs", &["-q", &klon.text("xfs")]);
    image::sparse(&klon.path("exfat"), 400 * MIB);
    run("mkfs.exfat", &[&klon.text("exfat")]);
    image::sparse(&klon.path("target"), 350 * MIB);
    klon.refused(
        &["clone", "xfs", "target"],
        &["XFS can't be made smaller", "Nothing was written"],
    );
    for options in [&[][..], &["--shrink"]] {
        let clone = [&["clone", "exfat", "target"], options].concat();
        klon.refused(&clone, &["klon can't shrink it", "Nothing was written"]);
    }
    // resize2fs does not vouch for clusters.
    image::sparse(&klon.path("clusters"), 400 * MIB);
    let make = ["-q", "-F", "-t", "ext4", "-O", "bigalloc"];
    run("mke2fs", &[&make[..], &[&klon.text("clusters")]].concat());
    let clone = ["clone", "clusters", "target", "--shrink"];
    klon.refused(&clone, &["resize2fs", "Nothing was written"]);
    // A disk whose partition would have to.
    image::ext4(&klon.path("volume"), 300, 4);
    image::sparse(&klon.path("disk"), 320 * MIB);
    let table = "label: gpt\n2048,614400,L\n";
    tool::run_with_input("sfdisk", &["-q", &klon.text("disk")], table);
    image::put(&klon.path("volume"), &klon.path("disk"), MIB);
    image::sparse(&klon.path("target"), 200 * MIB);
    let words = ["shrinks no partition of a whole disk", "one by one"];
    klon.refused(&["clone", "disk", "target", "--shrink"], &words);
    klon.ok(&["clone", "disk:1", "target", "--shrink"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
    // Scratch without room.
    fs::create_dir(klon.path("small")).unwrap();
    let small = klon.text("small");
    run(
        "mount",
        &["-t", "tmpfs", "-o", "size=4m", "klon-test", &small],
    );
    image::sparse(&klon.path("third"), 200 * MIB);
    let clone = ["clone", "disk:1", "third", "--shrink", "--scratch", "small"];
    let outcome = klon.run(&clone);
    run("umount", &[&small]);
    outcome.expect(3).says(&["--scratch", "free"]);
}
