//! The walk over files against the kernel: what each file is, where it lies, and what of it shows
//! a change.

use super::image_file::ImageFile;
use crate::support::{Mount, lacks_root, run};
use klon_partition::Extent;
use klon_partition::filesystem::files::{
    File, FileIdentity, FileKind, FileRun, FileVisitor, Next, RunKind,
};
use klon_partition::filesystem::probe;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What makes a filesystem in a file.
const VOLUMES: [(&str, &[&str]); 7] = [
    ("mkfs.ext4", &["-q", "-F"]),
    ("mkfs.ext4", &["-q", "-F", "-b", "1024", "-I", "128"]),
    (
        "mkfs.ext4",
        &["-q", "-F", "-O", "bigalloc,inline_data,ea_inode"],
    ),
    ("mkfs.ext2", &["-q", "-F"]),
    ("mkfs.xfs", &["-q"]),
    (
        "mkfs.xfs",
        &["-q", "-b", "size=1024", "-m", "bigtime=0,rmapbt=1"],
    ),
    ("mkfs.xfs", &["-q", "-m", "reflink=0", "-i", "nrext64=1"]),
];

/// A regular file, by klon or by the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    size_bytes: u64,
    /// Seconds and nanoseconds.
    changed: (i64, u32),
    is_immutable: bool,
    /// Where in the file, where on the volume, and whether it was written.
    runs: Vec<(u64, Extent, bool)>,
}

#[derive(Default)]
struct Collector {
    files: BTreeMap<u64, Found>,
    identities: BTreeMap<u64, FileIdentity>,
    directories: usize,
}

impl FileVisitor for Collector {
    fn file(&mut self, file: &File<'_>) -> Next {
        if file.kind == FileKind::Directory {
            self.directories += 1;
        }
        if file.kind != FileKind::Regular || file.is_internal {
            return Next::SkipFile;
        }
        let found = Found {
            size_bytes: file.size_bytes,
            changed: (file.changed.seconds, file.changed.nanoseconds),
            is_immutable: file.is_immutable,
            runs: Vec::new(),
        };
        self.files.insert(file.number, found);
        self.identities.insert(file.number, file.identity());
        Next::Continue
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        if run.kind == RunKind::Contents {
            let found = self.files.get_mut(&file.number).unwrap();
            push(
                &mut found.runs,
                (run.file_offset_bytes, run.extent, run.is_written),
            );
        }
        Next::Continue
    }
}

/// Adds a run, joined with the one before it where they are one.
fn push(runs: &mut Vec<(u64, Extent, bool)>, run: (u64, Extent, bool)) {
    let (at, extent, is_written) = run;
    if let Some((first, last, was_written)) = runs.last_mut()
        && *was_written == is_written
        && last.end_bytes() == extent.offset_bytes()
        && *first + last.len_bytes() == at
    {
        *last = Extent::between(last.offset_bytes(), extent.end_bytes()).unwrap();
        return;
    }
    runs.push(run);
}

fn walk(image: &Path) -> Collector {
    let device = ImageFile::open(image);
    let filesystem = probe(&device).unwrap().unwrap();
    let mut collector = Collector::default();
    let gaps = filesystem.files(&device, &mut collector);
    assert_eq!(gaps, Some(Vec::new()), "{}", image.display());
    collector
}

fn shell(script: &str, directory: &Path) -> String {
    run(
        "bash",
        &["-euc", script, "bash", directory.to_str().unwrap()],
    )
}

/// Files of many shapes: holes, blocks that were never written, pieces, many names, one byte.
const FILL: &str = r#"
cd "$1"; mkdir -p a/b
head -c 3M /dev/urandom >a/plain; printf x >a/b/byte; : >empty
truncate -s 40M sparse; for i in 3 7 20 39; do printf y | dd of=sparse bs=1 seek=${i}000000 conv=notrunc status=none; done
for i in $(seq 200); do printf z | dd of=pieces bs=1 seek=$((i * 9000)) conv=notrunc status=none; done
fallocate -l 2M unwritten 2>/dev/null || head -c 2M /dev/zero >unwritten
head -c 5000 /dev/urandom | dd of=unwritten bs=1 seek=300000 conv=notrunc status=none
ln a/plain a/second; ln -s plain a/link
for i in $(seq 300); do head -c $((i * 37)) /dev/urandom >a/b/$i; done
head -c 100K /dev/urandom >fixed; chattr +i fixed
"#;

fn make(directory: &Path, (tool, options): (&str, &[&str])) -> PathBuf {
    let image = directory.join("volume");
    let _ = std::fs::remove_file(&image);
    let path = image.to_str().unwrap();
    run("truncate", &["-s", "320M", path]);
    let mut arguments = options.to_vec();
    arguments.push(path);
    run(tool, &arguments);
    let mount = Mount::new(&image, &directory.join("mnt"), "loop");
    shell(FILL, mount.path());
    image
}

/// The regular files by `stat`, `lsattr` and `FIEMAP`.
fn by_kernel(image: &Path, directory: &Path) -> BTreeMap<u64, Found> {
    let mount = Mount::new(image, &directory.join("mnt"), "loop,ro");
    let script = r#"cd "$1"; find . -type f -printf '%i %s %C@ %p\n'"#;
    let mut files = BTreeMap::new();
    for line in shell(script, mount.path()).lines() {
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        let (seconds, fraction) = fields[2].split_once('.').unwrap();
        let path = mount.path().join(fields[3]);
        let path = path.to_str().unwrap();
        let flags = run("lsattr", &[path]);
        let found = Found {
            size_bytes: fields[1].parse().unwrap(),
            changed: (seconds.parse().unwrap(), fraction[..9].parse().unwrap()),
            is_immutable: flags.split(' ').next().unwrap().contains('i'),
            runs: runs(&run("filefrag", &["-b512", "-v", path])),
        };
        files.insert(fields[0].parse().unwrap(), found);
    }
    files
}

fn runs(filefrag: &str) -> Vec<(u64, Extent, bool)> {
    let mut runs = Vec::new();
    for line in filefrag.lines() {
        let fields: Vec<&str> = line.split(':').map(str::trim).collect();
        if fields.len() < 5 || fields[0].parse::<u64>().is_err() || line.contains("inline") {
            continue;
        }
        let range = |text: &str| {
            let (first, last) = text.split_once("..").unwrap();
            let [first, last] = [first, last].map(|part| part.trim().parse::<u64>().unwrap());
            (first * 512, (last + 1) * 512)
        };
        let ((at, _), (start, end)) = (range(fields[1]), range(fields[2]));
        let extent = Extent::between(start, end).unwrap();
        push(&mut runs, (at, extent, !line.contains("unwritten")));
    }
    runs
}

#[test]
fn files_are_what_the_kernel_says() {
    if lacks_root() {
        return;
    }
    for volume in VOLUMES {
        let scratch = tempfile::tempdir().unwrap();
        let image = make(scratch.path(), volume);
        let expected = by_kernel(&image, scratch.path());
        let found = walk(&image);
        let numbers: Vec<_> = found.files.keys().collect();
        assert_eq!(numbers, expected.keys().collect::<Vec<_>>(), "{volume:?}");
        for (number, file) in &expected {
            let other = &found.files[number];
            // Inodes of 128 bytes hold no nanoseconds.
            let is_short = volume.1.contains(&"128");
            assert!(
                other == file || is_short && other.changed.0 == file.changed.0,
                "{volume:?} {number}: {other:?}, by the kernel {file:?}"
            );
        }
        assert!(found.directories >= 3, "{volume:?}");
        let is_ext2 = volume.0 == "mkfs.ext2";
        let written = |file: &Found| file.runs.iter().all(|run| run.2);
        assert_eq!(found.files.values().all(written), is_ext2, "{volume:?}");
        unlock(&image, scratch.path());
    }
}

/// What can't be changed would stay when the directory is removed; here it is inside of the file.
fn unlock(image: &Path, directory: &Path) {
    let mount = Mount::new(image, &directory.join("mnt"), "loop");
    shell(r#"chattr -i "$1/fixed""#, mount.path());
}

/// The files that the walk calls the filesystem's own.
#[derive(Default)]
struct Internal(BTreeSet<u64>);

impl FileVisitor for Internal {
    fn file(&mut self, file: &File<'_>) -> Next {
        self.0.extend(file.is_internal.then_some(file.number));
        Next::SkipFile
    }

    fn run(&mut self, file: &File<'_>, _run: &FileRun) -> Next {
        panic!("{} was to be skipped", file.number);
    }
}

fn internal(image: &Path) -> BTreeSet<u64> {
    let device = ImageFile::open(image);
    let filesystem = probe(&device).unwrap().unwrap();
    let mut internal = Internal::default();
    let gaps = filesystem.files(&device, &mut internal);
    assert_eq!(gaps, Some(Vec::new()), "{}", image.display());
    internal.0
}

/// The inodes by `dumpe2fs`, or a list of `stat`, whose lines hold one of `words`.
fn numbers(lines: &str, words: &[&str]) -> BTreeSet<u64> {
    let lines = lines.lines();
    let lines = lines.filter(|line| words.iter().any(|word| line.contains(word)));
    lines
        .map(|line| line.split_whitespace().last().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn files_of_the_filesystem_itself_are_internal() {
    let scratch = tempfile::tempdir().unwrap();
    let (image, files) = (scratch.path().join("volume"), scratch.path().join("files"));
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("file"), [1; 10_000]).unwrap();
    let path = image.to_str().unwrap();
    run("truncate", &["-s", "64M", path]);
    let features = "quota,project,orphan_file,ea_inode";
    let from = files.to_str().unwrap();
    run("mkfs.ext4", &["-q", "-F", "-O", features, "-d", from, path]);
    let kept = ["Project quota inode:", "Orphan file inode:"];
    let expected = numbers(&run("dumpe2fs", &["-h", path]), &kept);
    assert_eq!(expected.len(), 2, "{expected:?}");
    assert_eq!(internal(&image), expected);
    // A value that is too long for a block gets an inode of its own.
    let value = scratch.path().join("value");
    std::fs::write(&value, [b'v'; 9000]).unwrap();
    let set = format!("ea_set -f {} /file user.k", value.display());
    run("debugfs", &["-w", "-R", &set, path]);
    let found = internal(&image);
    assert!(found.is_superset(&expected), "{found:?}");
    assert_eq!(found.len(), expected.len() + 1, "{found:?}");
}

#[test]
fn files_that_the_superblock_of_xfs_names_are_internal() {
    if lacks_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let image = make(scratch.path(), VOLUMES[4]);
    let mount = Mount::new(&image, &scratch.path().join("mnt"), "loop");
    let list = r#"cd "$1"; chattr -i fixed; stat -c '%n %i' a/plain empty sparse"#;
    let files = numbers(&shell(list, mount.path()), &["plain", "empty", "sparse"]);
    drop(mount);
    let path = image.to_str().unwrap();
    let before = internal(&image);
    for (field, number) in ["uquotino", "gquotino", "pquotino"].iter().zip(&files) {
        let write = format!("write -d {field} {number}");
        run("xfs_db", &["-x", "-c", "sb 0", "-c", &write, path]);
    }
    // The bitmap and the summary of the realtime device are there before.
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(internal(&image), &before | &files);
}

/// Changes each of which one file must show, though all its times but `ctime` are set back.
const CHANGES: [&str; 8] = [
    "printf Q | dd of=a/plain bs=1 seek=70000 conv=notrunc status=none; touch -d @1000 a/plain",
    "python3 -c \"import mmap; f = open('a/plain', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[5000:5003] = b'abc'; m.flush()\"",
    "fallocate -p -o 1M -l 64K a/plain",
    "fallocate -z -o 1M -l 64K a/plain",
    "truncate -s 1M a/plain; truncate -s 3M a/plain",
    "chmod 600 a/plain",
    "setfattr -n user.k -v 1 a/plain",
    "cp a/plain a/new; mv a/new a/plain",
];

#[test]
fn a_change_shows_in_the_identity_and_a_read_does_not() {
    if lacks_root() {
        return;
    }
    for volume in [VOLUMES[0], VOLUMES[4], VOLUMES[5]] {
        let scratch = tempfile::tempdir().unwrap();
        let image = make(scratch.path(), volume);
        let mut before = walk(&image).identities;
        let read = r#"find "$1" -type f -exec cat {} + | md5sum"#;
        let mount = Mount::new(&image, &scratch.path().join("mnt"), "loop,strictatime");
        shell(read, mount.path());
        drop(mount);
        let after = walk(&image).identities;
        assert_eq!(before, after, "{volume:?}");
        before = after;
        for change in CHANGES {
            let mount = Mount::new(&image, &scratch.path().join("mnt"), "loop,noatime");
            shell(&format!("cd \"$1\"; {change}"), mount.path());
            drop(mount);
            let after = walk(&image).identities;
            let same = before
                .iter()
                .filter(|(number, identity)| after.get(number) == Some(identity));
            // Nothing but a/plain, whose identity may be gone with its inode.
            assert_eq!(same.count(), before.len() - 1, "{volume:?} {change}");
            before = after;
        }
    }
}
