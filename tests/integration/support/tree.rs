//! Trees of files: made with everything that a filesystem can hold, and compared.

use super::tool::run;
use nix::unistd::{Whence, lseek};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Fills a directory with plain files, of all sizes, `len_mib` in all and a little more.
pub(crate) fn fill(directory: &Path, seed: u64, len_mib: usize) {
    fs::create_dir_all(directory.join("documents/old")).unwrap();
    fs::write(directory.join("large"), noise(seed, len_mib << 20)).unwrap();
    for number in 0..40_usize {
        let content = noise(seed + number as u64, number * 700);
        fs::write(directory.join(format!("documents/{number}")), content).unwrap();
    }
    fs::write(directory.join("documents/old/name with spaces ü"), "text\n").unwrap();
}

/// Adds what only a real mount can: owners, times, links, devices, attributes, holes.
pub(crate) fn add_specials(directory: &Path) {
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    fs::write(at("owned"), "by another").unwrap();
    run("chown", &["1234:5678", &at("owned")]);
    run("chmod", &["4751", &at("owned")]);
    run(
        "touch",
        &["-d", "2001-02-03 04:05:06.123456789Z", &at("owned")],
    );
    run(
        "setfattr",
        &["-n", "user.color", "-v", "blue", &at("owned")],
    );
    run("setfacl", &["-m", "u:4321:rw,g:99:r", &at("owned")]);
    run("setfacl", &["-d", "-m", "u:77:rwx", &at("documents")]);
    let long = "x".repeat(2000);
    run("setfattr", &["-n", "user.long", "-v", &long, &at("large")]);
    fs::hard_link(at("owned"), at("documents/hard")).unwrap();
    std::os::unix::fs::symlink("documents/old", at("short link")).unwrap();
    std::os::unix::fs::symlink("y".repeat(200), at("long link")).unwrap();
    run("mknod", &[&at("null"), "c", "1", "3"]);
    run("mknod", &[&at("disk"), "b", "7", "200"]);
    run("mknod", &[&at("pipe"), "p"]);
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    for (seed, offset) in [(1, 0), (2, 9 << 20), (3, 40 << 20)] {
        sparse.write_all_at(&noise(seed, 12_345), offset).unwrap();
    }
    run("fallocate", &["-l", "1M", &at("reserved")]);
    sparse.sync_all().unwrap();
}

/// Everything that can be told of a file.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    links: u64,
    device: u64,
    size_bytes: u64,
    blocks: u64,
    link: Option<PathBuf>,
    content: Vec<u8>,
    /// Offsets where data and holes begin, in turn.
    holes: Vec<i64>,
}

/// A tree with the content and all attributes of each file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
    attributes: String,
    lists: String,
}

/// What is said of each file, in an order that is not the directories' own.
fn sorted(said: &str) -> String {
    let mut files: Vec<&str> = said.trim().split("\n\n").collect();
    files.sort_unstable();
    files.join("\n\n")
}

impl Tree {
    /// Reads all of `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        walk(root, root, &mut entries);
        let root = root.to_str().unwrap();
        let shell = |script: &str| run("sh", &["-c", &format!("cd '{root}' && {script}")]);
        Self {
            entries,
            attributes: sorted(&shell("getfattr -R -h -d -m - -e hex .")),
            lists: sorted(&shell("getfacl -R -n -P .")),
        }
    }

    /// Fails with the first file that is not the same.
    pub(crate) fn assert_same(&self, other: &Self) {
        for (path, entry) in &self.entries {
            let found = other.entries.get(path);
            let found = found.unwrap_or_else(|| panic!("{} is missing", path.display()));
            let is_same = entry.content == found.content;
            assert!(is_same, "the content of {} differs", path.display());
            let brief = |entry: &Entry| {
                let Entry {
                    content: _, holes, ..
                } = entry;
                (entry.inode, entry.mode, entry.modified, holes.clone())
            };
            assert_eq!(brief(entry), brief(found), "{}", path.display());
            assert!(entry == found, "{} differs", path.display());
        }
        assert_eq!(self.entries.len(), other.entries.len());
        assert_eq!(self.attributes, other.attributes);
        assert_eq!(self.lists, other.lists);
    }

    /// The same without the times of files: the kernel cuts files that were being cut when the power went,
    /// and notes the time of that.
    pub(crate) fn without_times(mut self) -> Self {
        let entries = self.entries.values_mut();
        entries.for_each(|entry| entry.modified = (0, 0));
        self
    }

    /// The same without inode numbers, the times of directories and the blocks that lists of extents take:
    /// resize2fs numbers inodes anew that have no room any more, and notes the time of that in the directories that
    /// name them; it and e2fsck join extents.
    pub(crate) fn without_numbers(mut self) -> Self {
        for entry in self.entries.values_mut() {
            entry.inode = 0;
            entry.blocks = 0;
            let is_directory = entry.mode & 0o170_000 == 0o040_000;
            if is_directory {
                entry.modified = (0, 0);
            }
        }
        self
    }

    /// How many files have holes, extended attributes and links: that a comparison is worth it.
    pub(crate) fn assert_rich(&self) {
        assert!(
            self.attributes.contains("user.color"),
            "{}",
            self.attributes
        );
        assert!(self.lists.contains("user:4321:rw-"), "{}", self.lists);
        assert!(self.entries.values().any(|entry| entry.holes.len() > 4));
        assert!(self.entries.values().any(|entry| entry.device != 0));
    }
}

fn walk(root: &Path, directory: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let mut entry = Entry {
            inode: metadata.ino(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            links: metadata.nlink(),
            device: 0,
            size_bytes: metadata.len(),
            blocks: metadata.blocks(),
            link: fs::read_link(&path).ok(),
            content: Vec::new(),
            holes: Vec::new(),
        };
        if kind.is_char_device() || kind.is_block_device() {
            entry.device = metadata.rdev();
        }
        if kind.is_file() {
            let mut file = File::open(&path).unwrap();
            file.read_to_end(&mut entry.content).unwrap();
            entry.holes = holes(&file, i64::try_from(metadata.len()).unwrap());
        }
        entries.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
        if kind.is_dir() {
            walk(root, &path, entries);
        }
    }
}

/// Where data and holes begin, in turn.
fn holes(file: &File, size_bytes: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut wanted = Whence::SeekData;
    while at < size_bytes {
        // No data up to the end is told as an error.
        at = lseek(file, at, wanted).unwrap_or(size_bytes);
        found.push(at);
        wanted = match wanted {
            Whence::SeekData => Whence::SeekHole,
            _ => Whence::SeekData,
        };
    }
    found
}
