//! Which files hold given bytes: extents of all inodes, then names from all directories.

use super::directory::Directories;
use super::files::{inodes_of, walk};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::extent::ExtentMap;
use crate::filesystem::Owner;
use crate::filesystem::files::{File, FileKind, FileRun, FileVisitor, FirstHits, Next};
use crate::filesystem::owners::{FILES_MAX, Forgiving, Gaps, Links};
use std::collections::HashSet;

/// Directories that can be told from other files; 16 MiB of memory.
const DIRECTORIES_MAX: usize = 1 << 21;

/// The files that hold bytes of the extents, and at most that many, by the blocks of their data
/// and their extended attributes; directories too. What is kept inside of inodes is no file's, and
/// neither are the blocks that say where other blocks are. A file without a name is called by its
/// inode, as in `/<131>`. With several names, one is given.
pub(super) fn owners(
    superblock: &Superblock,
    device: &dyn ReadAt,
    (extents, files_max): (&ExtentMap, usize),
    gaps: &Gaps,
) -> Vec<Owner> {
    let files_max = files_max.min(FILES_MAX);
    if extents.is_empty() || files_max == 0 {
        return Vec::new();
    }
    let device = Forgiving::new(device, 0, gaps);
    let mut search = Search {
        hits: FirstHits::new(extents, files_max),
        directories: Vec::new(),
    };
    walk(superblock, &device, gaps, &mut search);
    if search.directories.len() >= DIRECTORIES_MAX {
        gaps.note("names: more directories than fit in memory");
    }
    let hits = search.hits.finish();
    if hits.is_empty() {
        return Vec::new();
    }
    let files: HashSet<u64> = hits.iter().map(|hit| hit.file).collect();
    let is_wanted =
        |inode| files.contains(&inode) || search.directories.binary_search(&inode).is_ok();
    let mut links = links(superblock, &device, gaps, &is_wanted);
    let hits = hits.into_iter();
    hits.map(|hit| Owner {
        path: links.path(hit.file, |inode| inode),
        file_offset_bytes: hit.file_offset_bytes,
        extent: hit.extent,
        inline_sha256: None,
    })
    .collect()
}

struct Search<'a> {
    hits: FirstHits<'a>,
    /// Inodes of directories, ascending.
    directories: Vec<u64>,
}

impl FileVisitor for Search<'_> {
    fn file(&mut self, file: &File<'_>) -> Next {
        // One more directory than there is room for would only be told.
        if file.kind == FileKind::Directory && self.directories.len() < DIRECTORIES_MAX {
            self.directories.push(file.number);
        }
        if file.is_internal || self.hits.is_full() {
            return Next::SkipFile;
        }
        self.hits.file(file)
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        self.hits.run(file, run)
    }
}

/// A link to each file that is wanted.
fn links(
    superblock: &Superblock,
    device: &dyn ReadAt,
    gaps: &Gaps,
    is_wanted: &dyn Fn(u64) -> bool,
) -> Links<u64> {
    let mut links = Links::new(superblock.root_inode);
    let mut directories = Directories::new(superblock, device, gaps);
    let mut has_room = true;
    for number in 0..superblock.groups {
        inodes_of(superblock, device, (number, gaps), &mut |inode| {
            if !inode.is_directory() {
                return;
            }
            directories.visit(inode, &mut |entry| {
                if is_wanted(entry.inode) {
                    has_room &= links.add(entry.inode, inode.number, entry.name);
                }
            });
        });
    }
    if !has_room {
        gaps.note("names: more of them than fit in memory");
    }
    links
}
