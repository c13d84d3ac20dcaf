//! Which files hold given bytes: a bounded walk over the directory tree.

use super::chain::Chains;
use super::directory::{self, Directory, Entry};
use super::layout::Layout;
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::owners::{FILES_MAX, Forgiving, Gaps};

/// What paths of directories still to be read may take.
const PENDING_BYTES_MAX: usize = 16 << 20;
/// What a deleted entry of a directory starts with: one that can't be read is passed over.
const DELETED: u8 = 0xe5;

struct Walk<'a> {
    chains: Chains<'a>,
    gaps: &'a Gaps,
    wanted: &'a ExtentMap,
    files_max: usize,
    owners: Vec<Owner>,
    pending: Vec<(String, u32)>,
    pending_bytes: usize,
}

/// At most `files_max` files and directories that hold bytes of `wanted`. Chains that are damaged
/// and directories beyond the walk's bound are noted in `gaps`.
pub(super) fn owners(
    device: &dyn ReadAt,
    layout: &Layout,
    (wanted, files_max): (&ExtentMap, usize),
    gaps: &Gaps,
) -> Vec<Owner> {
    let device = Forgiving::new(device, DELETED, gaps);
    let mut walk = Walk {
        chains: Chains::new(&device, layout),
        gaps,
        wanted,
        files_max: files_max.min(FILES_MAX),
        owners: Vec::new(),
        pending: Vec::new(),
        pending_bytes: 0,
    };
    match layout.root {
        Some(_) => {
            let root = directory::read_root(&mut walk.chains);
            if let Some(root) = gaps.tolerate(root) {
                walk.directory("/", &root);
            }
        }
        None => walk.pending.push(("/".to_owned(), layout.root_cluster)),
    }
    while !walk.is_done() {
        let Some((path, cluster)) = walk.pending.pop() else {
            break;
        };
        walk.pending_bytes = walk.pending_bytes.saturating_sub(path.len());
        let (directory, end) = directory::read_as_far_as_possible(&mut walk.chains, cluster);
        gaps.tolerate(end);
        walk.directory(&path, &directory);
    }
    walk.owners
}

impl Walk<'_> {
    fn is_done(&self) -> bool {
        self.owners.len() >= self.files_max
    }

    fn directory(&mut self, path: &str, directory: &Directory) {
        let mut position_bytes = 0;
        for &run in &directory.runs {
            if self.note(path, position_bytes, run) {
                break;
            }
            position_bytes = run.len_bytes().saturating_add(position_bytes);
        }
        for entry in directory::entries(&directory.bytes, self.chains.layout()) {
            if self.is_done() {
                break;
            }
            let entry_path = format!("{}/{}", path.trim_end_matches('/'), entry.name);
            let visited = if entry.is_directory {
                self.enqueue(entry_path, entry.first_cluster)
            } else {
                self.file(&entry_path, &entry)
            };
            self.gaps.tolerate(visited);
        }
    }

    fn enqueue(&mut self, path: String, cluster: u32) -> Result<()> {
        // Each pending entry also costs its place in the list.
        self.pending_bytes = self.pending_bytes.saturating_add(path.len());
        let held_bytes = self
            .pending_bytes
            .saturating_add(self.pending.len().saturating_mul(32));
        if held_bytes > PENDING_BYTES_MAX {
            return Err(Error::unsupported(
                "a FAT directory tree of this size",
                "the paths of its directories need more than 16 MiB; run fsck.fat",
            ));
        }
        self.pending.push((path, cluster));
        Ok(())
    }

    fn file(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let mut position_bytes = 0;
        let mut next = (entry.first_cluster != 0).then_some(entry.first_cluster);
        while let Some(cluster) = next {
            // What lies beyond the size is not the file's content.
            let left_bytes = entry.size_bytes.saturating_sub(position_bytes);
            if left_bytes == 0 {
                break;
            }
            let (run, following) = self.chains.run(cluster)?;
            let content = Extent::new(run.offset_bytes(), run.len_bytes().min(left_bytes));
            if content.is_some_and(|content| self.note(path, position_bytes, content)) {
                break;
            }
            position_bytes = position_bytes.saturating_add(run.len_bytes());
            next = following;
        }
        Ok(())
    }

    /// Records an owner if `run`, which starts at `position_bytes` of the file, holds a wanted
    /// byte.
    fn note(&mut self, path: &str, position_bytes: u64, run: Extent) -> bool {
        if self.is_done() {
            return true;
        }
        let Some(extent) = self.wanted.within(run).next() else {
            return false;
        };
        let delta_bytes = extent.offset_bytes().saturating_sub(run.offset_bytes());
        self.owners.push(Owner {
            path: path.to_owned(),
            file_offset_bytes: position_bytes.saturating_add(delta_bytes),
            extent,
        });
        true
    }
}
