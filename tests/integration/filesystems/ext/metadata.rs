//! Metadata against the maps of files that debugfs and the kernel give.

use super::tool::{Mount, is_root, run};
use super::variant::{VARIANTS, Variant};
use super::{ImageFile, age, assert_same, filesystem};
use klon_partition::{Extent, ExtentMap};
use std::fmt::Write;
use std::path::Path;

/// What klon has in use, and what of it is metadata.
fn maps(image: &Path) -> (ExtentMap, ExtentMap) {
    let device = ImageFile::open(image);
    let filesystem = filesystem(&device);
    let used = filesystem.used(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&used).is_empty());
    (used, metadata)
}

fn variant(name: &str) -> &'static Variant {
    let mut variants = VARIANTS.iter();
    variants.find(|variant| variant.name == name).unwrap()
}

/// The blocks of the files that each variant is made with, by debugfs.
fn contents_by_debugfs(image: &Path, directory: &Path, block_bytes: u64) -> ExtentMap {
    let files = (0..40_u64).map(|index| (format!("a/file-{index}"), index * 997));
    let mut commands = String::new();
    for (path, len_bytes) in files.chain([("a/b/large".to_owned(), 3_000_000)]) {
        for block in 0..len_bytes.div_ceil(block_bytes) {
            writeln!(commands, "bmap {path} {block}").unwrap();
        }
    }
    let script = directory.join("commands");
    std::fs::write(&script, commands).unwrap();
    let arguments = ["-f", script.to_str().unwrap(), image.to_str().unwrap()];
    let text = run("debugfs", &arguments);
    let blocks = text.lines().filter_map(|line| line.parse::<u64>().ok());
    // What is kept in the inode itself has no block.
    let blocks = blocks.filter(|&block| block != 0);
    blocks
        .map(|block| Extent::new(block * block_bytes, block_bytes).unwrap())
        .collect()
}

#[test]
fn metadata_is_what_no_file_has_by_debugfs() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let device = ImageFile::open(&image);
        let block_bytes = u64::from(filesystem(&device).summary().block_size_bytes);
        let (used, metadata) = maps(&image);
        let contents = contents_by_debugfs(&image, directory.path(), block_bytes);
        assert!(contents.total_bytes() >= 3_000_000, "{}", variant.name);
        assert_same(&metadata, &used.difference(&contents), variant.name);
    }
}

/// Where all regular files are, by `FIEMAP`, but for what is kept in inodes.
fn contents_by_kernel(point: &str) -> ExtentMap {
    let arguments = [
        point, "-type", "f", "-exec", "filefrag", "-b512", "-v", "{}", "+",
    ];
    let text = run("find", &arguments);
    let lines = text.lines().filter(|line| !line.contains("inline"));
    let found = lines.filter_map(|line| {
        let mut fields = line.split(':').map(str::trim);
        fields.next()?.parse::<u64>().ok()?;
        let (first, last) = fields.nth(1)?.split_once("..")?;
        let first: u64 = first.trim().parse().unwrap();
        let last: u64 = last.trim().parse().unwrap();
        Extent::between(first * 512, (last + 1) * 512)
    });
    found.collect()
}

#[test]
fn metadata_is_what_no_file_has_by_the_kernel() {
    if !is_root() {
        return;
    }
    for name in [
        "ext4", "ext2", "ext3", "1k", "bigalloc", "journals", "inline",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let image = variant(name).make(directory.path());
        age(variant(name), &image, directory.path());
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let script = "
            mkdir -p \"$0\"/x/many && cd \"$0\"/x
            for i in $(seq 700); do echo $i > many/a-file-with-a-long-name-$i; done
            for i in $(seq 0 2 600); do
                dd if=/dev/zero of=holes bs=1k count=1 seek=$((i * 17)) conv=notrunc status=none
            done
            mkfifo fifo; ln -s $(seq -s/ 60) symlink
            setfattr -n user.long -v $(seq -s. 200) holes";
        run("sh", &["-ec", script, mount.path()]);
        drop(mount);
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop,ro");
        let contents = contents_by_kernel(mount.path());
        drop(mount);
        let (used, metadata) = maps(&image);
        assert!(contents.total_bytes() > 3 << 20, "{name}");
        assert_same(&metadata, &used.difference(&contents), name);
    }
}

/// Where two images differ, in units of 512 bytes.
fn differences(before: &[u8], after: &[u8]) -> ExtentMap {
    let pieces = before.chunks(512).zip(after.chunks(512)).zip(0_u64..);
    let changed = pieces.filter(|((before, after), _)| before != after);
    changed
        .filter_map(|(_, index)| Extent::new(index * 512, 512))
        .collect()
}

#[test]
fn what_changes_is_where_it_should_be() {
    if !is_root() {
        return;
    }
    for name in ["ext4", "ext3"] {
        let directory = tempfile::tempdir().unwrap();
        let image = variant(name).make(directory.path());
        let change = |script: &str| {
            let before = std::fs::read(&image).unwrap();
            let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
            run("sh", &["-ec", script, mount.path()]);
            drop(mount);
            differences(&before, &std::fs::read(&image).unwrap())
        };
        // Attributes, names and owners are metadata throughout.
        let script =
            "cd \"$0\"/a; mv file-9 renamed; chmod 700 file-8; setfattr -n user.x -v y file-7
            mkdir new; ln file-6 new/link; chown 7 b; rm link || true; touch file-1";
        let changed = change(script);
        let (_, metadata) = maps(&image);
        assert!(!changed.is_empty());
        assert_same(&changed.difference(&metadata), &ExtentMap::new(), name);
        // What is written in place is contents, but for the time stamps that go with it.
        let script = "head -c 3000000 /dev/zero | tr '\\0' x |
            dd of=\"$0\"/a/b/large conv=notrunc status=none";
        let changed = change(script);
        let (_, after) = maps(&image);
        assert_eq!(after, metadata, "{name}");
        let contents = changed.difference(&metadata).total_bytes();
        assert_eq!(contents, 3_000_000_u64.next_multiple_of(512), "{name}");
    }
}
