//! Which files hold given bytes: a bounded walk over the directory tree.

use super::Chains;
use super::directory::{self, Directory, Entry};
use super::layout::Layout;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::Extent;
use crate::filesystem::Owner;
use crate::filesystem::chain::Run;
use crate::filesystem::cluster::Cluster;
use crate::filesystem::finder::{Finder, PENDING_BYTES_MAX, Pending};
use crate::filesystem::owners::{Forgiving, Gaps};

/// What a deleted entry of a directory starts with: one that can't be read is passed over.
const DELETED: u8 = 0xe5;

struct Walk<'a> {
    chains: Chains<'a>,
    gaps: &'a Gaps,
    finder: Finder<'a>,
    pending: Pending<Cluster>,
}

/// The files and directories that `finder` looks for. Chains that are damaged and directories
/// beyond the walk's bound are noted in `gaps`.
pub(super) fn owners(
    device: &dyn ReadAt,
    layout: &Layout,
    finder: Finder<'_>,
    gaps: &Gaps,
) -> Vec<Owner> {
    let device = Forgiving::new(device, DELETED, gaps);
    let mut walk = Walk {
        chains: Chains::new(&device, layout),
        gaps,
        finder,
        pending: Pending::new(PENDING_BYTES_MAX),
    };
    match layout.root {
        Some(_) => {
            let root = directory::read_root(&mut walk.chains);
            if let Some(root) = gaps.tolerate(root) {
                walk.directory("/", &root);
            }
        }
        None => walk.chain("/", layout.root_cluster),
    }
    while !walk.finder.is_done() {
        let Some((path, cluster)) = walk.pending.pop() else {
            break;
        };
        walk.chain(&path, cluster);
    }
    walk.finder.into_owners()
}

impl Walk<'_> {
    fn chain(&mut self, path: &str, cluster: Cluster) {
        let (directory, end) = directory::read_as_far_as_possible(&mut self.chains, cluster);
        self.gaps.tolerate(end);
        self.directory(path, &directory);
    }

    fn directory(&mut self, path: &str, directory: &Directory) {
        let mut position_bytes = 0;
        for &run in &directory.runs {
            if self.finder.note(path, position_bytes, run) {
                break;
            }
            position_bytes += run.len_bytes();
        }
        for entry in directory::entries(&directory.bytes, self.chains.layout()) {
            if self.finder.is_done() {
                break;
            }
            let entry_path = format!("{}/{}", path.trim_end_matches('/'), entry.name);
            let visited = if entry.is_directory {
                self.pending.push("FAT", entry_path, entry.first_cluster)
            } else {
                self.file(&entry_path, &entry)
            };
            self.gaps.tolerate(visited);
        }
    }

    fn file(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let mut position_bytes = 0;
        let mut next = Some(entry.first_cluster).filter(|&first| first != Cluster::NONE);
        while let Some(cluster) = next {
            // What lies beyond the size is not the file's content.
            let left_bytes = entry.size_bytes.saturating_sub(position_bytes);
            if left_bytes == 0 {
                break;
            }
            let Run {
                extent: run,
                next: following,
            } = self.chains.run(cluster)?;
            let content = Extent::new(run.offset_bytes(), run.len_bytes().min(left_bytes));
            if content.is_some_and(|content| self.finder.note(path, position_bytes, content)) {
                break;
            }
            // Chains are no longer than the volume.
            position_bytes += run.len_bytes();
            next = following;
        }
        Ok(())
    }
}
