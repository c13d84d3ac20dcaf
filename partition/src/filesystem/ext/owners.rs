//! Which files hold given bytes: block maps of all inodes, then names from all directories.

use super::blockmap::BlockMaps;
use super::directory::Directories;
use super::inode::Inode;
use super::scan::{self, ROOT};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::owners::{FILES_MAX, Forgiving, Gaps};
use crate::text::sealed_bytes;
use std::collections::{BTreeMap, HashMap};

/// Directories deeper than this are taken for a loop.
const DEPTH_MAX: usize = 1024;
/// A path is not made longer than this.
const PATH_LEN_MAX: usize = 1 << 15;

/// A file's first byte in question: where in the file, and where on the volume.
#[derive(Clone, Copy)]
struct Hit {
    inode: u32,
    file_offset_bytes: u64,
    extent: Extent,
}

/// A directory entry: the inode of the directory and the name in it.
#[derive(Clone)]
struct Link {
    parent: u32,
    name: String,
}

/// The files that hold bytes of the extents, and at most that many, by their blocks of data;
/// directories too. A file without a name is called by its inode, as in `/<12>`. With several
/// names, one is given.
pub(super) fn owners(
    superblock: &Superblock,
    device: &dyn ReadAt,
    (extents, files_max): (&ExtentMap, usize),
    gaps: &Gaps,
) -> Vec<Owner> {
    // Inodes whose bitmap can't be read may be in use; as inodes, such bytes map no blocks.
    let device = Forgiving::new(device, 0xff, gaps);
    let search = Search {
        superblock,
        device: &device,
        gaps,
    };
    let hits = search.hits(extents, files_max.min(FILES_MAX));
    if hits.is_empty() {
        return Vec::new();
    }
    let mut paths = Paths::new(search, search.links(&hits));
    hits.into_iter()
        .map(|hit| Owner {
            path: paths.of(hit.inode),
            file_offset_bytes: hit.file_offset_bytes,
            extent: hit.extent,
            inline_sha256: None,
        })
        .collect()
}

/// Where to look, and where to note what could not be looked at.
#[derive(Clone, Copy)]
struct Search<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    gaps: &'a Gaps,
}

impl<'a> Search<'a> {
    fn inodes(&self, visit: &mut scan::Visit<'_>) {
        scan::inodes(self.superblock, self.device, self.gaps, visit);
    }

    fn directories(&self, blocks_max: u64) -> Directories<'a> {
        Directories::new(self.superblock, self.device, self.gaps, blocks_max)
    }

    fn hits(&self, extents: &ExtentMap, files_max: usize) -> Vec<Hit> {
        let mut hits = Vec::new();
        if extents.is_empty() || files_max == 0 {
            return hits;
        }
        let mut maps = BlockMaps::new(self.superblock, self.device);
        self.inodes(&mut |inode| {
            hits.extend(self.first_hit(&mut maps, inode, extents));
            hits.len() < files_max
        });
        hits
    }

    fn first_hit(
        &self,
        maps: &mut BlockMaps<'_>,
        inode: &Inode,
        extents: &ExtentMap,
    ) -> Option<Hit> {
        let superblock = self.superblock;
        let mut hit = None;
        let visited = maps.visit(inode, &mut |run| {
            let found = superblock
                .blocks_extent(run.block, run.blocks)
                .and_then(|run| extents.within(run).next());
            if let (Some(file_block), Some(extent)) = (run.file_block, found) {
                let in_run = extent
                    .offset_bytes()
                    .saturating_sub(superblock.byte(run.block));
                let file_offset_bytes = superblock.byte(file_block).saturating_add(in_run);
                hit = Some(Hit {
                    inode: inode.number,
                    file_offset_bytes,
                    extent,
                });
            }
            hit.is_none()
        });
        self.gaps.tolerate(visited);
        hit
    }

    /// One link to each of the files found, from all directories.
    fn links(&self, hits: &[Hit]) -> HashMap<u32, Link> {
        let mut wanted: BTreeMap<u32, Option<Link>> =
            hits.iter().map(|hit| (hit.inode, None)).collect();
        let mut missing = wanted.len();
        let mut directories = self.directories(self.superblock.blocks);
        self.inodes(&mut |inode| {
            directories.visit(inode, &mut |entry| {
                let slot = wanted.get_mut(&entry.inode).filter(|slot| slot.is_none());
                if let (Some(slot), false) = (slot, is_dot(entry.name)) {
                    *slot = Some(link(inode.number, entry.name));
                    missing = missing.saturating_sub(1);
                }
                missing > 0
            });
            missing > 0
        });
        let found = wanted.into_iter();
        found
            .filter_map(|(inode, link)| Some((inode, link?)))
            .collect()
    }
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

fn link(parent: u32, name: &[u8]) -> Link {
    let name = sealed_bytes(name);
    Link { parent, name }
}

/// Paths, found by going up from directory to directory.
struct Paths<'a> {
    search: Search<'a>,
    directories: Directories<'a>,
    links: HashMap<u32, Link>,
}

impl<'a> Paths<'a> {
    fn new(search: Search<'a>, links: HashMap<u32, Link>) -> Self {
        // Each directory may be read for several of its children.
        let blocks_max = search.superblock.blocks.saturating_mul(16);
        Self {
            search,
            directories: search.directories(blocks_max),
            links,
        }
    }

    fn of(&mut self, inode: u32) -> String {
        let mut names = Vec::new();
        let (mut at, mut len) = (inode, 0_usize);
        while at != ROOT {
            let is_sane = names.len() < DEPTH_MAX && len < PATH_LEN_MAX;
            let link = if is_sane { self.link(at) } else { None };
            let Some(link) = link else {
                names.push(format!("<{at}>"));
                break;
            };
            len = len.saturating_add(link.name.len());
            names.push(link.name);
            at = link.parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    fn link(&mut self, inode: u32) -> Option<Link> {
        if let Some(link) = self.links.get(&inode) {
            return Some(link.clone());
        }
        // The name is an extra: without it, the file is called by its inode.
        let found = self.search(inode).ok().flatten();
        if let Some(link) = &found {
            self.links.insert(inode, link.clone());
        }
        found
    }

    /// Finds a directory's name in the directory that its ".." names.
    fn search(&mut self, inode: u32) -> Result<Option<Link>> {
        let Search {
            superblock, device, ..
        } = self.search;
        let directory = Inode::read(superblock, device, inode)?;
        let mut parent = None;
        self.directories.visit(&directory, &mut |entry| {
            if entry.name == b".." {
                parent = Some(entry.inode);
            }
            parent.is_none()
        });
        let Some(parent) = parent else {
            return Ok(None);
        };
        let above = Inode::read(superblock, device, parent)?;
        let mut found = None;
        self.directories.visit(&above, &mut |entry| {
            if entry.inode == inode && !is_dot(entry.name) {
                found = Some(link(parent, entry.name));
            }
            found.is_none()
        });
        Ok(found)
    }
}
