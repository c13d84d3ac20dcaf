//! What went into an image comes out again, onto noise: golden volumes, real ones, disks.

use crate::support::image::{check_gpt, fat, golden, put, read_range, sfdisk, sparse};
use crate::support::klon::number;
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, LoopDevice, MIB, Mount, NtfsMount, lacks_root, run};
use klon_partition::device::look_at;
use klon_partition::filesystem::usage;
use klon_partition::{ExtentMap, ReadAt};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file as long as another, with noise wherever that is in use.
fn noise_under(used: &ExtentMap, size_bytes: u64, path: &Path) {
    sparse(path, size_bytes);
    let file = File::options().write(true).open(path).unwrap();
    let noise = noise(11, MIB as usize);
    for extent in used.iter().flat_map(|extent| extent.split(MIB)) {
        let part = &noise[..extent.len_bytes() as usize];
        file.write_all_at(part, extent.offset_bytes()).unwrap();
    }
}

fn assert_equal(used: &ExtentMap, a: &Path, b: &Path) {
    let [a_file, b_file] = [a, b].map(|path| File::open(path).unwrap());
    // Nobody needs the log of an empty journal.
    let device = look_at(a).unwrap();
    let used = used.difference(&usage(&device).unwrap().blank(&device));
    for extent in used.iter().flat_map(|extent| extent.split(MIB)) {
        let [x, y] = [&a_file, &b_file].map(|file| {
            let mut bytes = vec![0; extent.len_bytes() as usize];
            file.read_exact_at(&mut bytes, extent.offset_bytes())
                .unwrap();
            bytes
        });
        assert!(x == y, "{} and {} at {extent}", a.display(), b.display());
    }
}

/// Images `source` into `i.klon`, restores it onto noise, and compares what is in use.
fn round_trip(klon: &Klon, source: &str) {
    let device = look_at(&klon.path(source)).unwrap();
    let used = usage(&device).unwrap().extents;
    noise_under(&used, device.geometry().size_bytes, &klon.path("target"));
    // What a replay makes of a volume has tests of its own.
    klon.ok(&["image", source, "i.klon", "--replay", "never"]);
    let target = klon.text("target");
    klon.ok(&["restore", "i.klon", "target", "--yes", "--confirm", &target]);
    assert_equal(&used, &klon.path(source), &klon.path("target"));
}

#[test]
fn every_golden_volume_comes_back() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let mut names: Vec<String> = std::fs::read_dir(images)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".img.zst").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 40);
    // All of them in one file: snapshots of many sources.
    let klon = Klon::new();
    for name in &names {
        golden(name, &klon.path(name));
        round_trip(&klon, name);
        std::fs::remove_file(klon.path(name)).unwrap();
        std::fs::remove_file(klon.path("target")).unwrap();
        std::fs::remove_dir_all(klon.records()).unwrap();
    }
    let list = klon.run(&["list", "i.klon", "--json"]).expect(0).lines();
    assert_eq!(list.len(), names.len());
}

/// A large volume with a rich tree, and what its checker says of the one that came back.
fn real(mkfs: &[&str], check: &[&str], options: &str) {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 4 << 30);
    let source = klon.text("source");
    run(mkfs[0], &[&mkfs[1..], &[&source]].concat());
    let mount = |volume: &str, how: &str| {
        let options = [options, how].concat();
        Mount::new(klon.path(volume), &klon.path("mnt"), &options)
    };
    let mounted = mount("source", "loop");
    fill(mounted.path(), 3, 60);
    add_specials(mounted.path());
    let before = Tree::read(mounted.path());
    drop(mounted);
    round_trip(&klon, "source");
    let verified = klon.json(&["verify", "target"]);
    assert_eq!(number(&verified, "differing_bytes"), 0);
    run(check[0], &[&check[1..], &[&klon.text("target")]].concat());
    before.assert_same(&Tree::read(mount("target", "loop,ro").path()));
}

#[test]
fn a_real_ext4_volume_comes_back() {
    real(&["mkfs.ext4", "-q"], &["e2fsck", "-fn"], "");
}

#[test]
fn a_real_xfs_volume_comes_back() {
    real(&["mkfs.xfs", "-q"], &["xfs_repair", "-n"], "nouuid,");
}

#[test]
fn a_real_btrfs_volume_comes_back() {
    real(
        &["mkfs.btrfs", "-q"],
        &["btrfs", "check", "--check-data-csum"],
        "",
    );
}

/// What ntfs-3g keeps: modes, times, links, holes, attributes and further streams.
const NTFS: &str = "permissions,streams_interface=xattr";

#[test]
fn a_real_ntfs_volume_comes_back() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 4 << 30);
    run("mkfs.ntfs", &["-F", "-q", "-f", &klon.text("source")]);
    let mounted = NtfsMount::new(&klon.path("source"), &klon.path("mnt"), NTFS);
    fill(mounted.path(), 3, 60);
    let script = "cd \"$0\" && ln large hard && ln -s documents soft && truncate -s 64M sparse && \
        printf middle | dd of=sparse bs=1 seek=9999999 conv=notrunc status=none && \
        setfattr -n user.stream -v kept large && chown 1234:5678 large && chmod 4751 large && \
        touch -d '2001-02-03 04:05:06.1234567Z' large && mknod pipe p && rm documents/1*";
    run("sh", &["-ec", script, mounted.path().to_str().unwrap()]);
    drop(mounted);
    // Afresh, as ntfs-3g counts the blocks of a directory otherwise while it is written.
    let tree = |name: &str| {
        let options = format!("ro,{NTFS}");
        Tree::read(NtfsMount::new(&klon.path(name), &klon.path("mnt"), &options).path())
    };
    let before = tree("source");
    round_trip(&klon, "source");
    run("ntfsfix", &["-n", &klon.text("target")]);
    before.assert_same(&tree("target"));
}

const DISK_MIB: u64 = 330;

/// A partition of the disk of four: name, start and size in MiB, how it is made, and checked.
struct Part(
    &'static str,
    u64,
    u64,
    &'static [&'static str],
    &'static [&'static str],
);

/// ESP, ext4, swap and NTFS.
const PARTS: [Part; 4] = [
    Part(
        "esp",
        1,
        34,
        &["mkfs.fat", "-n", "EFI"],
        &["fsck.fat", "-n"],
    ),
    Part(
        "root",
        35,
        120,
        &["mkfs.ext4", "-q", "-L", "root"],
        &["e2fsck", "-fn"],
    ),
    Part("swap", 155, 16, &["mkswap", "-q"], &["swaplabel"]),
    Part(
        "data",
        171,
        120,
        &["mkfs.ntfs", "-q", "-F", "-L", "data"],
        &["ntfsfix", "-n"],
    ),
];

/// What is in the files of one of them.
fn tree_of(klon: &Klon, name: &str) -> Option<Tree> {
    let [volume, at] = [klon.path(name), klon.path("mnt")];
    match name {
        "root" => Some(Tree::read(Mount::new(volume, &at, "loop,ro").path())),
        "data" => Some(Tree::read(NtfsMount::new(&volume, &at, "ro").path())),
        _ => None,
    }
}

/// Makes the disk, with files in each of its filesystems; each partition stays a file as well.
fn disk_of_four(klon: &Klon) {
    sparse(&klon.path("disk"), DISK_MIB * MIB);
    let lines = PARTS.map(|Part(name, start, size, ..)| {
        format!("start={start}MiB,size={size}MiB,name={name}\\n")
    });
    let layout = format!("label: gpt\\n{}", lines.concat());
    let script = format!("printf '{layout}' | sfdisk -q \"$0\"");
    run("sh", &["-ec", &script, &klon.text("disk")]);
    for Part(name, start_mib, size_mib, mkfs, _) in PARTS {
        let [path, at] = [klon.path(name), klon.path("mnt")];
        sparse(&path, size_mib * MIB);
        run(mkfs[0], &[&mkfs[1..], &[&klon.text(name)]].concat());
        match name {
            "root" => fill(Mount::new(&path, &at, "loop").path(), 5, 40),
            "data" => fill(NtfsMount::new(&path, &at, "rw").path(), 6, 40),
            "esp" => fat(&path, size_mib, 512),
            _ => {}
        }
        put(&path, &klon.path("disk"), start_mib * MIB);
    }
}

#[test]
fn a_disk_of_four_partitions_comes_back_also_on_a_larger_one() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    disk_of_four(&klon);
    let trees = PARTS.map(|Part(name, ..)| tree_of(&klon, name));
    klon.ok(&["image", "disk", "i.klon"]);
    let info = klon.json(&["info", "i.klon"]);
    assert_eq!(info["partitions"].as_array().unwrap().len(), 4);
    for (target, size_mib) in [("same", DISK_MIB), ("larger", DISK_MIB + 60)] {
        let noise = noise(7, (size_mib * MIB) as usize);
        std::fs::write(klon.path(target), noise).unwrap();
        let text = klon.text(target);
        klon.ok(&["restore", "i.klon", target, "--yes", "--confirm", &text]);
        check_gpt(&text);
        check_table(&klon.text("disk"), &text);
        for (Part(name, start_mib, size_mib, _, check), tree) in PARTS.iter().zip(&trees) {
            let source = usage(&look_at(&klon.path(name)).unwrap()).unwrap().extents;
            let bytes = read_range(klon.path(target), start_mib * MIB, size_mib * MIB);
            std::fs::write(klon.path("part"), bytes).unwrap();
            assert_equal(&source, &klon.path(name), &klon.path("part"));
            std::fs::rename(klon.path("part"), klon.path(name)).unwrap();
            let found = usage(&look_at(&klon.path(name)).unwrap()).unwrap().extents;
            assert!(source == found, "{name}");
            run(check[0], &[&check[1..], &[&klon.text(name)]].concat());
            if let Some(tree) = tree {
                tree.assert_same(&tree_of(&klon, name).unwrap());
            }
        }
    }
    // A disk that is too small is told so, and left alone.
    sparse(&klon.path("small"), 150 * MIB);
    klon.run(&["restore", "i.klon", "small"])
        .expect(3)
        .says(&["too small"]);
}

/// The partitions of two disks are the same.
fn check_table(expected: &str, found: &str) {
    let [before, after] = [expected, found].map(sfdisk);
    let [before, after] = [&before, &after].map(|table| table["partitions"].as_array().unwrap());
    assert_eq!((before.len(), after.len()), (4, 4));
    for (a, b) in before.iter().zip(after) {
        for key in ["start", "size", "type", "uuid", "name"] {
            assert_eq!(a[key], b[key]);
        }
    }
}

#[test]
fn a_loop_device_is_imaged_and_restored() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    for sector_bytes in [512, 4096] {
        crate::support::image::ext4(&klon.path("source"), 64, 10);
        sparse(&klon.path("target"), 64 * MIB);
        let source = LoopDevice::new(&klon.path("source"), sector_bytes);
        let target = LoopDevice::new(&klon.path("target"), sector_bytes);
        klon.ok(&["image", source.text(), "i.klon"]);
        klon.ok(&["restore", "i.klon", target.text()]);
        klon.ok(&["verify", target.text(), source.text()]);
        std::fs::remove_file(klon.path("i.klon")).unwrap();
    }
}
