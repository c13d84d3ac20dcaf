//! Btrfs against btrfs-progs and the kernel. Partclone 0.3.23 is no oracle: it leaves out blocks
//! that the extent tree has in use, the second copies of some among them.

mod extents;
mod owners;
pub(crate) mod tool;
mod variant;

use super::image_file::ImageFile;
use crate::support::tree::{self, Tree};
use crate::support::{Counted, MIB, Mount, image, lacks_root, run};
use klon_partition::filesystem::{Basis, ChangeToken, Filesystem, Hazard, probe, usage};
use klon_partition::{Extent, ExtentMap};
use std::path::Path;
use variant::{VARIANTS, Variant};

fn filesystem(device: &ImageFile) -> Box<dyn Filesystem> {
    probe(device).unwrap().expect("a Btrfs filesystem")
}

fn hazards(file: &Path) -> Vec<Hazard> {
    let device = ImageFile::open(file);
    filesystem(&device).summary().hazards.clone()
}

fn token(file: &Path) -> ChangeToken {
    let device = ImageFile::open(file);
    filesystem(&device).change_token(&device).unwrap().unwrap()
}

/// Every byte that klon says is in use is so by btrfs-progs too, and the other way round.
fn assert_agrees(file: &Path, name: &str) {
    let device = ImageFile::open(file);
    let usage = usage(&device).unwrap();
    assert_eq!(usage.basis, Basis::Map, "{name}");
    let oracle = tool::used(file);
    let missing = oracle.difference(&usage.used());
    let extra = usage.used().difference(&oracle);
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{name}: missing {:?}, extra {:?}",
        missing.extents().first(),
        extra.extents().first()
    );
    let metadata = filesystem(&device).metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&usage.used()).is_empty(), "{name}");
    let trees = tool::tree_blocks(file);
    assert!(trees.difference(&metadata).is_empty(), "{name}");
    // The version 1 space cache is in files of the filesystem's own.
    let has_cache = metadata != trees;
    assert_eq!(has_cache, name == "v1-cache aged", "{name}");
}

fn assert_whole(file: &Path, name: &str) {
    let usage = usage(&ImageFile::open(file)).unwrap();
    let is_warned = matches!(usage.basis, Basis::Whole { is_warning, .. } if is_warning);
    assert!(is_warned, "{name}: {:?}", usage.basis);
    let size_bytes = std::fs::metadata(file).unwrap().len();
    assert_eq!(usage.used(), ExtentMap::whole(size_bytes), "{name}");
}

/// Runs a script with the mount point as `$0`.
fn script(mount: &Mount, text: &str) {
    run("sh", &["-e", "-c", text, mount.path().to_str().unwrap()]);
}

/// Subvolumes, snapshots, reflinks, unchecked and reserved files, many small ones, half deleted.
const AGE: &str = "
    cd \"$0\"
    btrfs -q subvolume create home; btrfs -q subvolume create inner; seq 999 > inner/file
    mkdir -p small; seq 60000 | split -l 50 -a 4 - small/file-with-a-name-
    for i in $(seq 40); do head -c $((i * 3000)) /dev/urandom > home/$i; done
    head -c 6000000 /dev/urandom > large; yes compressible | head -c 3000000 > even
    touch plain; chattr +C plain; head -c 2000000 /dev/urandom > plain
    cp --reflink=always large home/reflink || true
    fallocate -l 3M reserved; sync -f .
    btrfs -q subvolume snapshot home snapshot; btrfs -q subvolume snapshot -r home frozen
    rm small/*[acegikmoqsuwy] home/*[02468]; rm snapshot/[1-3]*
    dd if=/dev/urandom of=large bs=4k count=3 seek=50 conv=notrunc status=none
    dd if=/dev/urandom of=plain bs=4k count=3 seek=50 conv=notrunc status=none
    truncate -s 2000000 large; setfattr -n user.long -v $(seq -s. 500) large
    btrfs -q subvolume delete -c inner; sync -f .";

/// Ages a mounted volume.
fn age(mount: &Mount) {
    script(mount, AGE);
}

#[test]
fn used_maps_are_those_of_btrfs_progs() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let file = variant.make(directory.path());
        assert_agrees(&file, variant.name);
        if lacks_root() {
            continue;
        }
        let mount = variant.mount(&file);
        age(&mount);
        drop(mount);
        assert_eq!(hazards(&file), [], "{}", variant.name);
        assert_agrees(&file, &format!("{} aged", variant.name));
        // Full balance runs out of space on a small volume with two copies of everything.
        if !["default", "mixed", "single"].contains(&variant.name) {
            continue;
        }
        let mount = variant.mount(&file);
        script(
            &mount,
            "btrfs -q subvolume delete -c \"$0\"/snapshot; rm -r \"$0\"/small
            btrfs -q balance start --full-balance \"$0\"",
        );
        drop(mount);
        assert_agrees(&file, &format!("{} balanced", variant.name));
    }
}

/// Free space is really not needed: a copy with garbage in it checks and reads as the original.
#[test]
fn a_copy_of_the_used_bytes_alone_is_sound() {
    if lacks_root() {
        return;
    }
    for name in ["mixed", "old", "xxhash"] {
        let variant = Variant::named(name);
        let directory = tempfile::tempdir().unwrap();
        let file = variant.make(directory.path());
        let mount = variant.mount(&file);
        age(&mount);
        tree::fill(&mount.path().join("tree"), 7, 3);
        tree::add_specials(&mount.path().join("tree"));
        let original = Tree::read(mount.path());
        drop(mount);
        scramble_free(&file);
        let path = file.to_str().unwrap();
        run("btrfs", &["check", "--check-data-csum", path]);
        let mount = variant.mount(&file);
        original.assert_same(&Tree::read(mount.path()));
        script(&mount, "btrfs scrub start -B \"$0\"; echo new > \"$0\"/new");
        drop(mount);
        run("btrfs", &["check", "--check-data-csum", path]);
    }
}

/// Keeps the used bytes of a volume; what is free becomes noise.
fn scramble_free(file: &Path) {
    let original = std::fs::read(file).unwrap();
    let mut copy = tree::noise(11, original.len());
    let usage = usage(&ImageFile::open(file)).unwrap();
    assert_eq!(usage.basis, Basis::Map);
    for extent in usage.used().iter() {
        let start = usize::try_from(extent.offset_bytes()).unwrap();
        let end = usize::try_from(extent.end_bytes()).unwrap();
        copy[start..end].copy_from_slice(&original[start..end]);
    }
    std::fs::write(file, copy).unwrap();
}

#[test]
fn kinds_labels_and_counters() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let file = variant.make(directory.path());
        let summary = filesystem(&ImageFile::open(&file)).summary().clone();
        assert_eq!(summary.kind.to_string(), "btrfs");
        assert_eq!(summary.label.as_deref(), Some("klon"));
        assert_eq!(summary.size_bytes, std::fs::metadata(&file).unwrap().len());
        let path = file.to_str().unwrap();
        let blkid = run("blkid", &["-p", "-o", "value", "-s", "UUID", path]);
        assert_eq!(summary.uuid.as_deref(), Some(blkid.trim()));
        let superblock = run("btrfs", &["inspect-internal", "dump-super", path]);
        let used = superblock
            .lines()
            .find(|line| line.starts_with("bytes_used"));
        let used = used.unwrap().split_whitespace().nth(1).unwrap();
        assert_eq!(summary.used_bytes, used.parse().ok(), "{}", variant.name);
    }
}

/// Files synced one by one are in the log tree, whose blocks are in no other tree.
#[test]
fn a_copy_of_a_busy_volume_is_dirty_and_whole() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variant = Variant::named("default");
    let file = variant.make(directory.path());
    let copy = directory.path().join("copy.img");
    let mount = variant.mount(&file);
    tree::fill(mount.path(), 3, 2);
    tree::add_specials(mount.path());
    script(&mount, "sync -f \"$0\"");
    script(
        &mount,
        "for i in $(seq 9); do seq 9999 > \"$0\"/$i; sync \"$0\"/$i; done",
    );
    std::fs::copy(&file, &copy).unwrap();
    let expected = Tree::read(mount.path());
    drop(mount);
    let found = hazards(&copy);
    assert!(matches!(found[..], [Hazard::NeedsRecovery(_)]), "{found:?}");
    assert_whole(&copy, "log tree");
    // The kernel finds every file in such a copy, and leaves it clean.
    let mount = variant.mount(&copy);
    expected.assert_same(&Tree::read(mount.path()));
    drop(mount);
    assert_agrees(&copy, "replayed");
    assert_agrees(&file, "unmounted");
}

/// A frozen volume is clean; so are blocks of a file that is deleted and still open.
#[test]
fn a_frozen_volume_with_orphans_is_clean() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variant = Variant::named("default");
    let file = variant.make(directory.path());
    let mount = variant.mount(&file);
    let copy = directory.path().join("copy.img");
    let text = format!(
        "exec 3> \"$0\"/orphan; head -c 500000 /dev/urandom >&3; sync -f \"$0\"; rm \"$0\"/orphan
        seq 9999 > \"$0\"/logged; sync \"$0\"/logged
        fsfreeze -f \"$0\"; cp '{}' '{}' || status=1; fsfreeze -u \"$0\"; exit $status",
        file.display(),
        copy.display()
    );
    script(&mount, &text);
    drop(mount);
    assert_agrees(&copy, "frozen");
    run("btrfs", &["check", copy.to_str().unwrap()]);
    let (frozen, after) = (tool::used(&copy), tool::used(&file));
    assert!(frozen.total_bytes() > after.total_bytes() + 400_000);
}

#[test]
fn tokens_change_with_every_writer_and_with_no_reader() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variant = Variant::named("default");
    let file = variant.make(directory.path());
    script(
        &variant.mount(&file),
        "seq 99999 > \"$0\"/file; chattr +C \"$0\"",
    );
    script(&variant.mount(&file), "seq 99999 > \"$0\"/unchecked");
    let mut before = token(&file);
    let point = directory.path().join("ro");
    script(&Mount::new(&file, &point, "loop,ro"), "md5sum \"$0\"/*");
    assert_eq!(token(&file), before, "a read-only mount");
    run("btrfs", &["check", file.to_str().unwrap()]);
    assert_eq!(token(&file), before, "a check");
    let overwrite = "dd if=/dev/urandom of=\"$0\"/unchecked bs=4k count=1 conv=notrunc status=none";
    for change in [
        "echo x > \"$0\"/new",
        overwrite,
        "touch \"$0\"/file",
        "cat \"$0\"/file",
    ] {
        script(&variant.mount(&file), change);
        let after = token(&file);
        assert_ne!(after, before, "{change}");
        before = after;
    }
    run("btrfstune", &["-m", file.to_str().unwrap()]);
    assert_ne!(token(&file), before, "another UUID");
    assert_agrees(&file, "metadata_uuid");
}

#[test]
fn resized_and_rewritten_volumes_agree() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variant = Variant::named("default");
    let file = variant.make(directory.path());
    let mount = variant.mount(&file);
    age(&mount);
    script(&mount, "btrfs -q filesystem resize 260m \"$0\"");
    drop(mount);
    assert_agrees(&file, "shrunk");
    let usage_after = usage(&ImageFile::open(&file)).unwrap().used();
    assert!(usage_after.end_bytes() <= 260 * MIB);
    run(
        "sh",
        &["-c", "btrfstune -f -u \"$0\"", file.to_str().unwrap()],
    );
    assert_agrees(&file, "rewritten");
    script(
        &variant.mount(&file),
        "btrfs balance start -f -mconvert=single -sconvert=single \"$0\"",
    );
    assert_agrees(&file, "converted to single");
}

/// A volume that began as ext4 has chunks of data where that had files, and what lay in the places
/// of superblocks elsewhere.
#[test]
fn a_volume_converted_from_ext4_agrees() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("converted.img");
    image::ext4(&file, 400, 70);
    run("btrfs-convert", &["--no-progress", file.to_str().unwrap()]);
    assert_agrees(&file, "converted");
    let point = directory.path().join("mnt");
    let mount = Mount::new(&file, &point, "loop");
    tree::add_specials(mount.path());
    let original = Tree::read(mount.path());
    drop(mount);
    scramble_free(&file);
    let mount = Mount::new(&file, &point, "loop");
    original.assert_same(&Tree::read(mount.path()));
    age(&mount);
    script(&mount, "btrfs -q subvolume delete -c \"$0\"/ext2_saved");
    drop(mount);
    assert_agrees(&file, "converted and aged");
    run(
        "btrfs",
        &["check", "--check-data-csum", file.to_str().unwrap()],
    );
}

#[test]
fn what_needs_other_devices_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["a.img", "b.img"].map(|name| directory.path().join(name));
    let paths = files.each_ref().map(|file| file.to_str().unwrap());
    for file in &files {
        image::sparse(file, 300 * MIB);
    }
    run("mkfs.btrfs", &["-q", "-d", "raid0", paths[0]]);
    let found = hazards(&files[0]);
    assert!(
        matches!(found[..], [Hazard::UnknownFeature(_)]),
        "{found:?}"
    );
    assert_whole(&files[0], "RAID0 on one device");
    run("mkfs.btrfs", &["-q", "-f", paths[0]]);
    run("btrfstune", &["-S", "1", paths[0]]);
    let found = hazards(&files[0]);
    assert!(matches!(found[..], [Hazard::MultiDevice(_)]), "{found:?}");
    run(
        "mkfs.btrfs",
        &["-q", "-f", "-d", "single", paths[0], paths[1]],
    );
    for file in &files {
        let found = hazards(file);
        assert!(matches!(found[..], [Hazard::MultiDevice(_)]), "{found:?}");
        assert_whole(file, "two devices");
    }
}

#[test]
fn a_multi_terabyte_volume_takes_few_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large.img");
    image::sparse(&file, 4 << 40);
    run("mkfs.btrfs", &["-q", file.to_str().unwrap()]);
    let device = Counted::new(ImageFile::open(&file));
    let usage = usage(&device).unwrap();
    let (reads, bytes) = device.take();
    assert_eq!(usage.basis, Basis::Map);
    assert!(reads < 100 && bytes < MIB);
    for mirror in [64 << 10, 64 << 20, 256 << 30] {
        assert!(usage.used().contains(Extent::new(mirror, 4096).unwrap()));
    }
    assert_agrees(&file, "4 TiB");
}
