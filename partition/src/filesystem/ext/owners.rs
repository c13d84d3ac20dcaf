//! Which files hold given bytes: block maps of all inodes, then names from all directories.

use super::blockmap::BlockMaps;
use super::directory::Directories;
use super::inode::Inode;
use super::scan::{self, ROOT};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use std::collections::{BTreeMap, HashMap};

/// More files than this are never looked for at once.
const FILES_MAX: usize = 1 << 16;
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

/// The files that hold bytes of `extents`, by their blocks of data; directories too. A file
/// without a name is called by its inode, as in `/<12>`. With several names, one is given.
pub(super) fn owners(
    superblock: &Superblock,
    device: &dyn ReadAt,
    extents: &ExtentMap,
    files_max: usize,
) -> Result<Vec<Owner>> {
    let hits = hits(superblock, device, extents, files_max.min(FILES_MAX))?;
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let links = links(superblock, device, &hits)?;
    let mut paths = Paths::new(superblock, device, links);
    hits.into_iter()
        .map(|hit| {
            Ok(Owner {
                path: paths.of(hit.inode)?,
                file_offset_bytes: hit.file_offset_bytes,
                extent: hit.extent,
            })
        })
        .collect()
}

fn hits(
    superblock: &Superblock,
    device: &dyn ReadAt,
    extents: &ExtentMap,
    files_max: usize,
) -> Result<Vec<Hit>> {
    let mut hits = Vec::new();
    if extents.is_empty() || files_max == 0 {
        return Ok(hits);
    }
    let mut maps = BlockMaps::new(superblock, device);
    scan::inodes(superblock, device, &mut |inode| {
        hits.extend(first_hit(superblock, &mut maps, inode, extents)?);
        Ok(hits.len() < files_max)
    })?;
    Ok(hits)
}

fn first_hit(
    superblock: &Superblock,
    maps: &mut BlockMaps<'_>,
    inode: &Inode,
    extents: &ExtentMap,
) -> Result<Option<Hit>> {
    let mut hit = None;
    maps.visit(inode, &mut |run| {
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
    })?;
    Ok(hit)
}

/// One link to each of the files found, from all directories.
fn links(superblock: &Superblock, device: &dyn ReadAt, hits: &[Hit]) -> Result<HashMap<u32, Link>> {
    let mut wanted: BTreeMap<u32, Option<Link>> =
        hits.iter().map(|hit| (hit.inode, None)).collect();
    let mut missing = wanted.len();
    let mut directories = Directories::new(superblock, device, superblock.blocks);
    scan::inodes(superblock, device, &mut |inode| {
        directories.visit(inode, &mut |entry| {
            let slot = wanted.get_mut(&entry.inode).filter(|slot| slot.is_none());
            if let (Some(slot), false) = (slot, is_dot(entry.name)) {
                *slot = Some(link(inode.number, entry.name));
                missing = missing.saturating_sub(1);
            }
            missing > 0
        })?;
        Ok(missing > 0)
    })?;
    let found = wanted.into_iter();
    Ok(found
        .filter_map(|(inode, link)| Some((inode, link?)))
        .collect())
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

fn link(parent: u32, name: &[u8]) -> Link {
    let name = String::from_utf8_lossy(name).into_owned();
    Link { parent, name }
}

/// Paths, found by going up from directory to directory.
struct Paths<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    directories: Directories<'a>,
    links: HashMap<u32, Link>,
}

impl<'a> Paths<'a> {
    fn new(superblock: &'a Superblock, device: &'a dyn ReadAt, links: HashMap<u32, Link>) -> Self {
        // Each directory may be read for several of its children.
        let blocks_max = superblock.blocks.saturating_mul(16);
        let directories = Directories::new(superblock, device, blocks_max);
        Self {
            superblock,
            device,
            directories,
            links,
        }
    }

    fn of(&mut self, inode: u32) -> Result<String> {
        let mut names = Vec::new();
        let (mut at, mut len) = (inode, 0_usize);
        while at != ROOT {
            let is_sane = names.len() < DEPTH_MAX && len < PATH_LEN_MAX;
            let link = if is_sane { self.link(at)? } else { None };
            let Some(link) = link else {
                names.push(format!("<{at}>"));
                break;
            };
            len = len.saturating_add(link.name.len());
            names.push(link.name);
            at = link.parent;
        }
        names.reverse();
        Ok(format!("/{}", names.join("/")))
    }

    fn link(&mut self, inode: u32) -> Result<Option<Link>> {
        if let Some(link) = self.links.get(&inode) {
            return Ok(Some(link.clone()));
        }
        let found = match self.search(inode) {
            // The name is an extra: without it, the file is called by its inode.
            Err(Error::Corrupt(_)) => None,
            other => other?,
        };
        if let Some(link) = &found {
            self.links.insert(inode, link.clone());
        }
        Ok(found)
    }

    /// Finds a directory's name in the directory that its ".." names.
    fn search(&mut self, inode: u32) -> Result<Option<Link>> {
        let directory = Inode::read(self.superblock, self.device, inode)?;
        let mut parent = None;
        self.directories.visit(&directory, &mut |entry| {
            if entry.name == b".." {
                parent = Some(entry.inode);
            }
            parent.is_none()
        })?;
        let Some(parent) = parent else {
            return Ok(None);
        };
        let above = Inode::read(self.superblock, self.device, parent)?;
        let mut found = None;
        self.directories.visit(&above, &mut |entry| {
            if entry.inode == inode && !is_dot(entry.name) {
                found = Some(link(parent, entry.name));
            }
            found.is_none()
        })?;
        Ok(found)
    }
}
