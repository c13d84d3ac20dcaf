//! Which files hold given bytes: block maps of all inodes, then names from all directories.

use super::directory::Directories;
use super::files;
use super::inode::Inode;
use super::scan::{self, ROOT};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::filesystem::Owner;
use crate::filesystem::files::{FirstHits, Hit};
use crate::filesystem::owners::{FILES_MAX, Forgiving, Gaps, Links};
use std::collections::HashSet;

/// The files that hold bytes of the extents, and at most that many, by their blocks of data;
/// directories too. A file without a name is called by its inode, as in `/<12>`. With several
/// names, one is given.
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
    // Inodes whose bitmap can't be read may be in use; as inodes, such bytes map no blocks.
    let device = Forgiving::new(device, 0xff, gaps);
    let mut hits = FirstHits::new(extents, files_max);
    files::walk(superblock, &device, gaps, &mut hits);
    let hits = hits.finish();
    if hits.is_empty() {
        return Vec::new();
    }
    let names = Names {
        superblock,
        device: &device,
        gaps,
    };
    let mut links = names.links(&hits);
    // Each directory may be read for several of its children.
    let mut directories = names.directories(superblock.blocks.saturating_mul(16));
    hits.into_iter()
        .map(|hit| {
            names.climb(hit.file, &mut links, &mut directories);
            Owner {
                path: links.path(hit.file, |inode| inode),
                file_offset_bytes: hit.file_offset_bytes,
                extent: hit.extent,
                inline_sha256: None,
            }
        })
        .collect()
}

/// Where names are looked up, and where to note what could not be looked at.
struct Names<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    gaps: &'a Gaps,
}

impl<'a> Names<'a> {
    fn directories(&self, blocks_max: u64) -> Directories<'a> {
        Directories::new(self.superblock, self.device, self.gaps, blocks_max)
    }

    /// One link to each of the files found, from all directories.
    fn links(&self, hits: &[Hit<u64>]) -> Links<u64> {
        let mut links = Links::new(ROOT.into());
        let mut wanted: HashSet<u64> = hits.iter().map(|hit| hit.file).collect();
        let mut directories = self.directories(self.superblock.blocks);
        let mut has_room = true;
        scan::inodes(
            self.superblock,
            self.device,
            self.gaps,
            &mut |inode, _raw| {
                directories.visit(inode, &mut |entry| {
                    let is_name = !is_dot(entry.name);
                    if is_name && wanted.remove(&u64::from(entry.inode)) {
                        has_room &= links.add(entry.inode.into(), inode.number.into(), entry.name);
                    }
                    has_room && !wanted.is_empty()
                });
                has_room && !wanted.is_empty()
            },
        );
        if !has_room {
            self.gaps.note("names: more of them than fit in memory");
        }
        links
    }

    /// Adds links from a file up to the root directory, as far as there are any.
    fn climb(&self, file: u64, links: &mut Links<u64>, directories: &mut Directories<'_>) {
        let mut at = links.parent(file).unwrap_or(file);
        // What is linked already ends this, so directories in a circle do too.
        while at != u64::from(ROOT) && links.parent(at).is_none() {
            // The name is an extra: without it, the file is called by its inode.
            let Ok(Some((parent, name))) = self.look_up(at, directories) else {
                return;
            };
            if !links.add(at, parent, &name) {
                return;
            }
            at = parent;
        }
    }

    /// Finds a directory's name in the directory that its ".." names.
    fn look_up(
        &self,
        number: u64,
        directories: &mut Directories<'_>,
    ) -> Result<Option<(u64, Vec<u8>)>> {
        let Ok(number) = u32::try_from(number) else {
            return Ok(None);
        };
        let directory = Inode::read(self.superblock, self.device, number)?;
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
        let above = Inode::read(self.superblock, self.device, parent)?;
        let mut found = None;
        directories.visit(&above, &mut |entry| {
            if entry.inode == number && !is_dot(entry.name) {
                found = Some((u64::from(parent), entry.name.to_vec()));
            }
            found.is_none()
        });
        Ok(found)
    }
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}
