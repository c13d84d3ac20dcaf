//! ext2, ext3 and ext4 against e2fsprogs, partclone and the kernel.

mod metadata;
mod tool;
mod variant;

use super::image_file::ImageFile;
use klon_partition::device::{Fault, FaultAt};
use klon_partition::filesystem::{Basis, Filesystem, Hazard, Owner, probe, usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::path::Path;
use tool::{Mount, dumpe2fs_used, is_root, partclone_used, run};
use variant::{VARIANTS, Variant};

fn filesystem(image: &ImageFile) -> Box<dyn Filesystem> {
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
    assert_same(&usage.extents, &dumpe2fs_used(image), name);
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
        for i in $(seq 60); do head -c $((i * 700)) /dev/urandom > $0/f$i; done
        mkdir $0/d && for i in $(seq 40); do echo $i > $0/d/$i; done
        rm $0/f*[13579] $0/d/*[02468]
        head -c 300000 /dev/urandom > $0/large
        sync -f $0
        truncate -s 100000 $0/large";
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
        let variant = VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap();
        let image = variant.make(directory.path());
        let original = std::fs::read(&image).unwrap();
        let mut copy = vec![0xa5; original.len()];
        for extent in usage(&ImageFile::open(&image)).unwrap().extents.iter() {
            let start = usize::try_from(extent.offset_bytes()).unwrap();
            let end = usize::try_from(extent.end_bytes()).unwrap();
            copy[start..end].copy_from_slice(&original[start..end]);
        }
        std::fs::write(&image, copy).unwrap();
        let path = image.to_str().unwrap();
        run("e2fsck", &["-fn", path]);
        let dumped = directory.path().join("dumped");
        std::fs::create_dir(&dumped).unwrap();
        let command = format!("rdump /a {}", dumped.to_str().unwrap());
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
        let klon = usage(&ImageFile::open(&image)).unwrap().extents;
        let partclone = partclone_used(&image, directory.path());
        assert_same(&klon, &partclone, variant.name);
    }
}

#[test]
fn a_copy_of_a_mounted_volume_is_dirty() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for name in ["ext4", "ext3", "ext2"] {
        let variant = VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap();
        let image = variant.make(directory.path());
        let mount = Mount::new(&image, &directory.path().join(name), "loop");
        run(
            "sh",
            &[
                "-c",
                "seq 10000 > $0/busy; sync -f $0; mkdir $0/new",
                mount.path(),
            ],
        );
        let copy = directory.path().join("copy.img");
        std::fs::copy(&image, &copy).unwrap();
        drop(mount);
        let found = hazards(&copy);
        let is_dirty = match found.first() {
            Some(Hazard::NeedsRecovery(_)) => name != "ext2",
            Some(Hazard::NotCleanlyUnmounted(_)) => name == "ext2",
            _ => false,
        };
        assert!(is_dirty, "{name}: {found:?}");
        let usage = usage(&ImageFile::open(&copy)).unwrap();
        assert!(matches!(
            usage.basis,
            Basis::Whole {
                is_warning: true,
                ..
            }
        ));
        assert_eq!(hazards(&image), [], "{name} unmounted");
        if name != "ext2" {
            // A read-only mount of a writable device replays the journal and leaves it clean.
            let script = "
                device=$(losetup --find --show $1)
                trap 'losetup -d $device' EXIT
                mount -o ro $device $0 && umount $0";
            let point = directory.path().join(name);
            let paths = [point.to_str().unwrap(), copy.to_str().unwrap()];
            run("sh", &["-e", "-c", script, paths[0], paths[1]]);
            assert_agrees(&copy, &format!("{name} replayed"));
        }
    }
}

/// A frozen filesystem is clean, and the blocks of a file that is deleted and still open are in
/// its bitmaps.
#[test]
fn a_frozen_volume_with_orphans_is_clean() {
    if !is_root() {
        return;
    }
    for name in ["ext4", "journals"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap();
        let image = variant.make(directory.path());
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let copy = directory.path().join("copy.img");
        let script = "
            exec 3> $0/orphan
            head -c 500000 /dev/urandom >&3
            rm $0/orphan
            fsfreeze -f $0
            cp $1 $2; status=$?
            fsfreeze -u $0
            exit $status";
        let paths = [
            mount.path(),
            image.to_str().unwrap(),
            copy.to_str().unwrap(),
        ];
        run("sh", &["-e", "-c", script, paths[0], paths[1], paths[2]]);
        drop(mount);
        assert_agrees(&copy, &format!("{name} frozen"));
        let (frozen, after) = (dumpe2fs_used(&copy), dumpe2fs_used(&image));
        assert!(
            frozen.total_bytes() > after.total_bytes() + 400_000,
            "{name}"
        );
        run("e2fsck", &["-fp", copy.to_str().unwrap()]);
        assert_agrees(&copy, &format!("{name} without its orphans"));
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
fn journals_elsewhere_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal.img");
    run("truncate", &["-s", "8M", journal.to_str().unwrap()]);
    run(
        "mke2fs",
        &[
            "-q",
            "-O",
            "journal_dev",
            "-b",
            "4096",
            journal.to_str().unwrap(),
        ],
    );
    let found = hazards(&journal);
    assert!(
        matches!(&found[..], [Hazard::ExternalJournal(_)]),
        "{found:?}"
    );
    let image = VARIANTS[0].make(directory.path());
    let path = image.to_str().unwrap();
    run("tune2fs", &["-O", "^has_journal", path]);
    // What `mke2fs -J device=` leaves: the feature, and the journal's UUID and device.
    for command in [
        "feature has_journal",
        "ssv journal_dev 0x700",
        "ssv journal_uuid random",
    ] {
        run("debugfs", &["-w", "-R", command, path]);
    }
    let found = hazards(&image);
    assert!(
        matches!(&found[..], [Hazard::ExternalJournal(_)]),
        "{found:?}"
    );
}

#[test]
fn resized_volumes_agree() {
    let resizes = [
        ("ext4", ["200M", "30M"]),
        ("meta_bg", ["300M", "100M"]),
        ("1k", ["3G", "300M"]),
        ("32-byte", ["6G", "100M"]),
        ("sparse_super2", ["900M", "150M"]),
        ("no-resize", ["1G", "80M"]),
        ("many-groups", ["900M", "200M"]),
        ("uninit-32", ["2G", "200M"]),
    ];
    for (name, sizes) in resizes {
        let directory = tempfile::tempdir().unwrap();
        let variant = VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap();
        let image = variant.make(directory.path());
        let path = image.to_str().unwrap();
        for size in sizes {
            run("e2fsck", &["-fp", path]);
            run("resize2fs", &[path, size]);
            assert_agrees(&image, &format!("{name} resized to {size}"));
        }
    }
}

/// Volumes that began as something else.
#[test]
fn converted_volumes_agree() {
    let conversions = [
        (
            "ext3",
            "tune2fs -O extents,uninit_bg,flex_bg $0; e2fsck -fyD $0",
        ),
        (
            "ext2",
            "tune2fs -j $0; e2fsck -fyD $0; tune2fs -O extents,metadata_csum $0",
        ),
        ("32-byte", "resize2fs -b $0"),
        (
            "1k",
            "resize2fs -s $0; tune2fs -O ^resize_inode $0; e2fsck -fy $0",
        ),
        (
            "no-flex",
            "tune2fs -O ^has_journal,^metadata_csum $0; e2fsck -fy $0; tune2fs -j $0",
        ),
        ("small-inodes", "tune2fs -I 256 $0"),
        ("seed", "tune2fs -U random -Q usrquota $0"),
    ];
    for (name, script) in conversions {
        let directory = tempfile::tempdir().unwrap();
        let variant = VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap();
        let image = variant.make(directory.path());
        let path = image.to_str().unwrap();
        run("e2fsck", &["-fp", path]);
        let token = || {
            let device = ImageFile::open(&image);
            filesystem(&device).change_token(&device).unwrap()
        };
        let before = token();
        // e2fsck says by its exit code that it made the changes asked for.
        run("sh", &["-c", &format!("{script}; true"), path]);
        assert_ne!(token(), before, "{name}: {script}");
        run("e2fsck", &["-fp", path]);
        assert_agrees(&image, &format!("{name}: {script}"));
    }
}

#[test]
fn owners_are_those_of_debugfs() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&device);
        let block_bytes = u64::from(filesystem.summary().block_size_bytes);
        let files = [
            ("/a/file-39", 38_883),
            ("/a/file-7", 6_979),
            ("/a/b/large", 3_000_000),
        ];
        for (path, len_bytes) in files {
            let last = (len_bytes - 1) / block_bytes;
            for file_block in [0, last / 3, last] {
                let command = format!("bmap {path} {file_block}");
                let block = run("debugfs", &["-R", &command, image.to_str().unwrap()]);
                let block: u64 = block.trim().parse().unwrap();
                // The last bytes of the block alone.
                let extent = Extent::new((block + 1) * block_bytes - 7, 7).unwrap();
                let owners = filesystem.owners(&device, &extent.into(), 10);
                assert_eq!(owners.gaps, [""; 0], "{}", variant.name);
                let expected = Owner {
                    path: path.to_owned(),
                    file_offset_bytes: (file_block + 1) * block_bytes - 7,
                    extent,
                };
                assert_eq!(owners.files, [expected], "{}", variant.name);
            }
        }
    }
}

/// Files in pieces, deep directories and hash trees, as the kernel makes them.
#[test]
fn owners_of_a_whole_volume_are_its_files() {
    if !is_root() {
        return;
    }
    for name in ["1k", "ext3", "bigalloc"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap();
        let image = variant.make(directory.path());
        age(variant, &image, directory.path());
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let script = "
            mkdir -p $0/x/y/z/many && cd $0/x/y/z/many
            for i in $(seq 1500); do echo $i > a-file-with-a-long-name-$i; done
            for i in $(seq 0 2 200); do
                dd if=/dev/zero of=../holes bs=1k count=1 seek=$((i * 17)) conv=notrunc status=none
            done";
        run("sh", &["-e", "-c", script, mount.path()]);
        let find = "cd $0 && find . -size +0 \\( -type f -o -type d \\) | sed 's/^.//'";
        let mut expected: Vec<String> = run("sh", &["-c", find, mount.path()])
            .lines()
            .map(str::to_owned)
            .collect();
        expected[0] = "/".to_owned();
        drop(mount);
        let device = ImageFile::open(&image);
        let all = ExtentMap::whole(device.geometry().size_bytes);
        let owners = filesystem(&device).owners(&device, &all, usize::MAX);
        assert_eq!(owners.gaps, [""; 0], "{name}");
        let mut paths: Vec<String> = owners.files.into_iter().map(|owner| owner.path).collect();
        paths.sort();
        expected.sort();
        let only = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter()
                .filter(|path| b.binary_search(path).is_err())
                .cloned()
                .collect()
        };
        assert_eq!(only(&paths, &expected), [] as [&str; 0], "{name}");
        assert_eq!(only(&expected, &paths), [] as [&str; 0], "{name}");
    }
}

/// Each block that holds an inode, a directory or a map is bad once: files elsewhere are found.
#[test]
fn owners_are_found_around_bad_sectors() {
    let variant = &VARIANTS[0];
    let directory = tempfile::tempdir().unwrap();
    let image = variant.make(directory.path());
    let device = ImageFile::open(&image);
    let filesystem = filesystem(&device);
    let all = ExtentMap::whole(device.geometry().size_bytes);
    let paths = |device: &dyn ReadAt| {
        let found = filesystem.owners(device, &all, usize::MAX);
        let paths = found.files.into_iter().map(|file| file.path);
        (paths.collect::<Vec<_>>(), found.gaps)
    };
    let (sound, gaps) = paths(&device);
    assert_eq!(gaps, [""; 0]);
    assert!(sound.len() > 40);
    let block_bytes = u64::from(filesystem.summary().block_size_bytes);
    let used = filesystem.used(&device).unwrap().unwrap();
    let mut bad_blocks = 0;
    let is_read = |extent: &Extent| {
        let counted = FaultAt::new(&device, Some(Fault::Unreadable(*extent)));
        let _ = paths(&counted);
        counted.has_tripped()
    };
    let large = used.iter().flat_map(|extent| extent.split(1 << 18));
    let read = large.filter(is_read);
    for block in read.flat_map(|extent| extent.split(block_bytes)) {
        let faulty = FaultAt::new(&device, Some(Fault::Unreadable(block)));
        let (found, gaps) = paths(&faulty);
        assert_eq!(gaps.is_empty(), !faulty.has_tripped(), "{block}");
        bad_blocks += usize::from(faulty.has_tripped());
        // As many files as inodes fit in a block, and no other.
        let inodes = usize::try_from(block_bytes / 128).unwrap();
        let has_descriptors = block.offset_bytes() == block_bytes;
        assert!(
            has_descriptors || found.len() + inodes >= sound.len(),
            "{block}: {}",
            found.len()
        );
    }
    assert!(bad_blocks > 5, "{bad_blocks}");
}

#[test]
fn a_multi_terabyte_volume_takes_little_time() {
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
    let device = ImageFile::open(&image);
    let start = std::time::Instant::now();
    let usage = usage(&device).unwrap();
    let elapsed = start.elapsed();
    assert_eq!(usage.basis, Basis::Map);
    println!("4 TiB: {elapsed:?}");
    assert!(elapsed.as_secs() < 5, "{elapsed:?}");
    let start = std::time::Instant::now();
    let metadata = filesystem(&device).metadata(&device).unwrap().unwrap();
    let elapsed = start.elapsed();
    println!("metadata of 4 TiB: {elapsed:?}");
    assert!(elapsed.as_secs() < 8, "{elapsed:?}");
    // No file is on it.
    assert_eq!(metadata, usage.extents);
    let first_mebibyte = Extent::new(1024, 1024).unwrap();
    assert!(usage.extents.contains(first_mebibyte));
    assert!(usage.extents.end_bytes() <= device.geometry().size_bytes);
}
