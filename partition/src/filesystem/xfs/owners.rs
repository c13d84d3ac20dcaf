//! Which files hold given bytes: extents of all inodes, then names from all directories.

use super::bmap::Bmaps;
use super::directory::Directories;
use super::group::Group;
use super::inode::{self, Inode};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::owners::{FILES_MAX, Forgiving, Gaps, Links};
use std::collections::HashSet;

/// Directories that can be told from other files; 16 MiB of memory.
const DIRECTORIES_MAX: usize = 1 << 21;

/// A file's first byte in question: where in the file, and where on the volume.
#[derive(Clone, Copy)]
struct Hit {
    inode: u64,
    file_offset_bytes: u64,
    extent: Extent,
}

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
        superblock,
        device: &device,
        gaps,
        hits: Vec::new(),
        directories: Vec::new(),
    };
    search.find(extents, files_max);
    if search.hits.is_empty() {
        return Vec::new();
    }
    let mut links = search.links();
    let hits = search.hits.into_iter();
    hits.map(|hit| Owner {
        path: links.path(hit.inode, |inode| inode),
        file_offset_bytes: hit.file_offset_bytes,
        extent: hit.extent,
        inline_sha256: None,
    })
    .collect()
}

struct Search<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    gaps: &'a Gaps,
    hits: Vec<Hit>,
    /// Inodes of directories, ascending.
    directories: Vec<u64>,
}

impl Search<'_> {
    fn find(&mut self, extents: &ExtentMap, files_max: usize) {
        let (superblock, gaps) = (self.superblock, self.gaps);
        let mut maps = Bmaps::new(superblock, self.device).tolerant(gaps);
        let (hits, directories) = (&mut self.hits, &mut self.directories);
        inodes(superblock, self.device, gaps, &mut |inode| {
            let has_room = directories.len() < DIRECTORIES_MAX;
            if inode.is_directory() && has_room {
                directories.push(inode.number);
            }
            let is_internal = superblock.internal_inodes.contains(&inode.number);
            if !is_internal && hits.len() < files_max {
                hits.extend(first_hit(superblock, &mut maps, inode, (extents, gaps)));
            }
        });
        if self.directories.len() >= DIRECTORIES_MAX {
            gaps.note("names: more directories than fit in memory");
        }
    }

    /// A link to each of the files found and to all directories.
    fn links(&self) -> Links<u64> {
        let (superblock, gaps) = (self.superblock, self.gaps);
        let found: HashSet<u64> = self.hits.iter().map(|hit| hit.inode).collect();
        let mut links = Links::new(superblock.root_inode);
        let mut directories = Directories::new(superblock, self.device, gaps);
        let mut has_room = true;
        inodes(superblock, self.device, gaps, &mut |inode| {
            if !inode.is_directory() {
                return;
            }
            directories.visit(inode, &mut |entry| {
                let is_wanted = found.contains(&entry.inode)
                    || self.directories.binary_search(&entry.inode).is_ok();
                if is_wanted {
                    has_room &= links.add(entry.inode, inode.number, entry.name);
                }
            });
        });
        if !has_room {
            gaps.note("names: more of them than fit in memory");
        }
        links
    }
}

/// Visits every inode in use that can be read.
fn inodes(
    superblock: &Superblock,
    device: &dyn ReadAt,
    gaps: &Gaps,
    visit: &mut dyn FnMut(&Inode),
) {
    for number in 0..superblock.groups {
        let group = Group::of_inodes(superblock, device, number);
        let Some(group) = gaps.tolerate(group) else {
            continue;
        };
        let visited = inode::inodes(superblock, device, (&group, Some(gaps)), &mut |inode| {
            if let Some(inode) = gaps.tolerate(inode) {
                visit(&inode);
            }
            Ok(())
        });
        gaps.tolerate(visited);
    }
}

fn first_hit(
    superblock: &Superblock,
    maps: &mut Bmaps<'_>,
    inode: &Inode,
    (extents, gaps): (&ExtentMap, &Gaps),
) -> Option<Hit> {
    let mut hit = None;
    // Contents on a realtime device are not on this one.
    let data = (!inode.is_realtime()).then(|| inode.data());
    for fork in data.into_iter().chain([inode.attributes()]) {
        let visited = maps.visit(inode, &fork, &mut |run| {
            let extent = extents.within(run.extent).next();
            hit = extent.map(|extent| {
                let in_run = extent
                    .offset_bytes()
                    .saturating_sub(run.extent.offset_bytes());
                Hit {
                    inode: inode.number,
                    file_offset_bytes: superblock.byte(run.file_block).saturating_add(in_run),
                    extent,
                }
            });
            hit.is_none()
        });
        gaps.tolerate(visited);
        if hit.is_some() {
            break;
        }
    }
    hit
}
