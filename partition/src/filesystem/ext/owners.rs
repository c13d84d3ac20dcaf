//! Which files hold given bytes: block maps of all inodes, then names from all directories.

use super::address::Ino;
use super::directory::Directories;
use super::files;
use super::inode::Inode;
use super::scan::{self, Scan};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::Owner;
use crate::filesystem::files::{FirstHits, Hit};
use crate::filesystem::owners::{Forgiving, Gaps, Links, Wanted};
use std::collections::HashSet;

/// Directories are read again for the names of their children. This is how often all of them
/// together may be.
const READ_AGAIN_MAX: u64 = 16;

/// The files that hold wanted bytes in their blocks of data; directories too. A file without a name
/// is called by its inode, as in `/<12>`. A file with several names is listed under one
/// of them.
pub(super) fn owners(
    superblock: &Superblock,
    device: &dyn ReadAt,
    wanted: &Wanted<'_>,
    gaps: &Gaps,
) -> Vec<Owner> {
    // Where a bitmap can't be read, its inodes may be in use. An inode that can't be read must then
    // map no blocks, and one of all ones maps none.
    let device = Forgiving::new(device, 0xff, gaps);
    let scan = Scan {
        superblock,
        device: &device,
        gaps,
    };
    let mut hits = FirstHits::new(wanted);
    files::walk(&scan, &mut hits);
    let hits = hits.finish();
    if hits.is_empty() {
        return Vec::new();
    }
    let mut links = links(scan, &hits);
    let blocks_max = superblock.blocks.saturating_mul(READ_AGAIN_MAX);
    let mut directories = Directories::new(scan, blocks_max);
    hits.into_iter()
        .map(|hit| {
            climb(&scan, hit.file, &mut links, &mut directories);
            let path = links.path(hit.file, |inode| inode);
            hit.owner(path)
        })
        .collect()
}

/// One link to each of the files found, from all directories.
fn links(scan: Scan<'_>, hits: &[Hit<u64>]) -> Links<u64> {
    let mut links = Links::new(Ino::ROOT.0.into());
    let mut wanted: HashSet<u64> = hits.iter().map(|hit| hit.file).collect();
    let mut directories = Directories::new(scan, scan.superblock.blocks);
    let mut has_room = true;
    scan::inodes(&scan, &mut |inode, _raw| {
        let directory = u64::from(inode.number.0);
        directories.visit(inode, &mut |entry| {
            let file = u64::from(entry.inode.0);
            if !is_dot(entry.name) && wanted.remove(&file) {
                has_room &= links.add(file, directory, entry.name);
            }
            has_room && !wanted.is_empty()
        });
        has_room && !wanted.is_empty()
    });
    if !has_room {
        scan.gaps.note("names: more of them than fit in memory");
    }
    links
}

/// Adds links from a file up to the root directory, as far as there are any.
fn climb(scan: &Scan<'_>, file: u64, links: &mut Links<u64>, directories: &mut Directories<'_>) {
    let mut at = links.parent(file).unwrap_or(file);
    // A file that is linked already ends the climb. So directories in a circle end it, too.
    while at != u64::from(Ino::ROOT.0) && links.parent(at).is_none() {
        let Ok(number) = u32::try_from(at) else {
            return;
        };
        // A file whose name can't be found is called by its inode.
        let Ok(Some(link)) = look_up(scan, Ino(number), directories) else {
            return;
        };
        let parent = u64::from(link.parent.0);
        if !links.add(at, parent, &link.name) {
            return;
        }
        at = parent;
    }
}

/// The directory that has a directory, and the name that it has there.
struct Link {
    parent: Ino,
    name: Vec<u8>,
}

/// Finds a directory's name in the directory that its ".." names.
fn look_up(
    scan: &Scan<'_>,
    number: Ino,
    directories: &mut Directories<'_>,
) -> Result<Option<Link>> {
    let directory = Inode::read(scan.superblock, scan.device, number)?;
    let mut parent = None;
    directories.visit(&directory, &mut |entry| {
        if entry.name == b".." {
            parent = Some(entry.inode);
        }
        parent.is_none()
    });
    let Some(parent) = parent else {
        return Ok(None);
    };
    let above = Inode::read(scan.superblock, scan.device, parent)?;
    let mut name = None;
    directories.visit(&above, &mut |entry| {
        if entry.inode == number && !is_dot(entry.name) {
            name = Some(entry.name.to_vec());
        }
        name.is_none()
    });
    Ok(name.map(|name| Link { parent, name }))
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}
