//! ext2, ext3 and ext4 against e2fsprogs, partclone and the kernel.

mod journal;
mod metadata;
mod owners;
mod reshaped;
mod states;
mod tool;
mod unused;
mod variant;

use super::image_file::ImageFile;
use crate::support::oracle::partclone_used;
use crate::support::{Counted, MIB};
use klon_partition::filesystem::{Basis, Filesystem, Hazard, probe, usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::path::Path;
pub(super) use tool::dumpe2fs_used;
use tool::{Mount, is_root, run};
use variant::{VARIANTS, Variant};

fn filesystem(image: &impl ReadAt) -> Box<dyn Filesystem> {
    probe(image).unwrap().expect("an ext filesystem")
}

fn hazards(image: &Path) -> Vec<Hazard> {
    filesystem(&ImageFile::open(image))
        .summary()
        .hazards
        .clone()
}

/// Every byte that klon says is in use is so by e2fsprogs too, and the other way round.
fn assert_agrees(image: &Path, name: &str) {
    let device = ImageFile::open(image);
    let usage = usage(&device).unwrap();
    assert_eq!(usage.basis, Basis::Map, "{name}");
    assert_same(&usage.used(), &dumpe2fs_used(image), name);
}

fn assert_same(klon: &ExtentMap, oracle: &ExtentMap, name: &str) {
    let missing = oracle.difference(klon);
    let extra = klon.difference(oracle);
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{name}: missing {:?}, extra {:?}",
        missing.extents().first(),
        extra.extents().first()
    );
}

#[test]
fn used_maps_are_those_of_e2fsprogs() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        assert_agrees(&image, variant.name);
        if variant.kernel_mounts && is_root() {
            age(variant, &image, directory.path());
            assert_agrees(&image, &format!("{} aged", variant.name));
        }
    }
}

/// Creates and deletes files in a mounted volume until its free space is in pieces.
fn age(variant: &Variant, image: &Path, directory: &Path) {
    let mount = Mount::new(image, &directory.join("mnt"), "loop");
    let script = "
        for i in $(seq 60); do head -c $((i * 700)) /dev/urandom > \"$0\"/f$i; done
        mkdir \"$0\"/d && for i in $(seq 40); do echo $i > \"$0\"/d/$i; done
        rm \"$0\"/f*[13579] \"$0\"/d/*[02468]
        head -c 300000 /dev/urandom > \"$0\"/large
        sync -f \"$0\"
        truncate -s 100000 \"$0\"/large";
    run("sh", &["-e", "-c", script, mount.path()]);
    drop(mount);
    run("e2fsck", &["-fn", image.to_str().unwrap()]);
    assert_eq!(hazards(image), [], "{}", variant.name);
}

#[test]
fn kinds_labels_and_counters() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&device);
        let summary = filesystem.summary();
        assert_eq!(summary.kind, variant.kind, "{}", variant.name);
        assert_eq!(summary.label.as_deref(), Some("klon"), "{}", variant.name);
        let used = filesystem.used(&device).unwrap().unwrap();
        // Bits of the last cluster beyond the end and the boot area are in no counter.
        let slack_bytes = 1 << 20;
        let counted = summary.used_bytes.unwrap();
        assert!(
            used.total_bytes().abs_diff(counted) < slack_bytes,
            "{}",
            variant.name
        );
        let blkid = run("blkid", &["-p", "-o", "export", image.to_str().unwrap()]);
        let uuid = format!("UUID={}", summary.uuid.as_deref().unwrap());
        let kind = format!("TYPE={}", summary.kind);
        for line in [uuid, kind] {
            assert!(
                blkid.lines().any(|found| found == line),
                "{}: {blkid}",
                variant.name
            );
        }
    }
}

/// Free space is really not needed: a copy with garbage in it checks and reads as the original.
#[test]
fn a_copy_of_the_used_bytes_alone_is_sound() {
    for name in ["ext4", "ext3", "1k", "uninit", "bigalloc-1k", "journals"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        let original = std::fs::read(&image).unwrap();
        let mut copy = vec![0xa5; original.len()];
        for extent in usage(&ImageFile::open(&image)).unwrap().used().iter() {
            let start = usize::try_from(extent.offset_bytes()).unwrap();
            let end = usize::try_from(extent.end_bytes()).unwrap();
            copy[start..end].copy_from_slice(&original[start..end]);
        }
        std::fs::write(&image, copy).unwrap();
        let path = image.to_str().unwrap();
        run("e2fsck", &["-fn", path]);
        let dumped = directory.path().join("dumped");
        std::fs::create_dir(&dumped).unwrap();
        let command = format!("rdump /a \"{}\"", dumped.to_str().unwrap());
        run("debugfs", &["-R", &command, path]);
        let trees = [directory.path().join("tree/a"), dumped.join("a")];
        run(
            "diff",
            &["-r", trees[0].to_str().unwrap(), trees[1].to_str().unwrap()],
        );
    }
}

#[test]
fn partclone_copies_the_same_blocks() {
    for variant in VARIANTS.iter().filter(|variant| variant.partclone_knows) {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let klon = usage(&ImageFile::open(&image)).unwrap().used();
        let partclone = partclone_used("extfs", &image);
        assert_same(&klon, &partclone, variant.name);
    }
}

#[test]
fn tokens_change_with_every_writer_and_with_no_reader() {
    let directory = tempfile::tempdir().unwrap();
    let variant = &VARIANTS[0];
    let image = variant.make(directory.path());
    let path = image.to_str().unwrap();
    let token = || {
        let device = ImageFile::open(&image);
        filesystem(&device).change_token(&device).unwrap().unwrap()
    };
    let mut before = token();
    if is_root() {
        drop(Mount::new(&image, &directory.path().join("mnt"), "loop,ro"));
        assert_eq!(token(), before, "a read-only mount");
        drop(Mount::new(&image, &directory.path().join("mnt"), "loop"));
        assert_ne!(token(), before, "a read-write mount");
    }
    let debugfs = ["-w", "-R", "write /etc/hostname new", path];
    let writers: [(&str, &[&str]); 4] = [
        ("tune2fs", &["-L", "other", path]),
        ("e2fsck", &["-fp", path]),
        ("debugfs", &debugfs),
        ("resize2fs", &[path, "40M"]),
    ];
    for (program, arguments) in writers {
        before = token();
        // Times in the superblock count seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        run(program, arguments);
        assert_ne!(token(), before, "{program}");
        run("e2fsck", &["-fp", path]);
    }
    before = token();
    run("e2fsck", &["-fn", path]);
    run("dumpe2fs", &[path]);
    assert_eq!(token(), before);
}

#[test]
fn a_multi_terabyte_volume_takes_few_reads() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("large.img");
    let path = image.to_str().unwrap();
    run("truncate", &["-s", "4T", path]);
    run(
        "mke2fs",
        &[
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-E",
            "lazy_itable_init=1",
            "-N",
            "65536",
            path,
        ],
    );
    let device = Counted::new(ImageFile::open(&image));
    let usage = usage(&device).unwrap();
    assert_eq!(usage.basis, Basis::Map);
    let (reads, bytes) = device.take();
    assert!(reads < 3000 && bytes < 24 * MIB);
    let metadata = filesystem(&device).metadata(&device).unwrap().unwrap();
    let (reads, bytes) = device.take();
    assert!(reads < 3000 && bytes < 24 * MIB);
    // No file is on it.
    assert_eq!(metadata, usage.used());
    let first_mebibyte = Extent::new(1024, 1024).unwrap();
    assert!(usage.used().contains(first_mebibyte));
    assert!(usage.used().end_bytes() <= device.geometry().size_bytes);
}
