//! Files by their paths. Names are compared without regard to case, as FAT does.

use super::Chains;
use super::directory::{self, Directory, Entry};
use super::layout::Layout;
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::by_path::{Directories, Listing, Node, NodeKind, Run, gather};
use crate::filesystem::cluster::Cluster;

/// The number of the root directory, which may have no cluster. No chain begins there.
const ROOT: u64 = 0;

pub(super) struct Reader<'a> {
    pub(super) device: &'a dyn ReadAt,
    pub(super) layout: &'a Layout,
}

impl Reader<'_> {
    fn directory(&self, node: &Node) -> Result<Directory> {
        let mut chains = Chains::new(self.device, self.layout);
        match cluster(node) {
            Some(cluster) if node.number != ROOT => directory::read(&mut chains, cluster),
            _ => directory::read_root(&mut chains),
        }
    }
}

fn cluster(node: &Node) -> Option<Cluster> {
    u32::try_from(node.number).ok().map(Cluster)
}

fn node(entry: &Entry) -> Node {
    Node {
        number: entry.first_cluster.0.into(),
        kind: match entry.is_directory {
            true => NodeKind::Directory,
            false => NodeKind::File,
        },
        size_bytes: entry.size_bytes,
    }
}

impl Directories for Reader<'_> {
    fn root(&self) -> Result<Node> {
        Ok(Node {
            number: ROOT,
            kind: NodeKind::Directory,
            size_bytes: 0,
        })
    }

    fn names(&self, directory: &Node, names_max: usize) -> Result<Listing> {
        let directory = self.directory(directory)?;
        let entries = directory::entries(&directory.bytes, self.layout);
        Ok(Listing::first(entries.map(|entry| entry.name), names_max))
    }

    fn child(&self, directory: &Node, name: &str) -> Result<Option<Node>> {
        let directory = self.directory(directory)?;
        let name = name.to_lowercase();
        let mut entries = directory::entries(&directory.bytes, self.layout);
        let found = entries.find(|entry| entry.name.to_lowercase() == name);
        Ok(found.map(|entry| node(&entry)))
    }

    fn contents(&self, file: &Node, len_max: usize) -> Result<Vec<u8>> {
        let len = len(file, len_max);
        gather(self.device, len, &self.runs_of(file, len)?)
    }

    fn runs(&self, file: &Node, len_max: usize) -> Result<Option<Vec<Run>>> {
        self.runs_of(file, len(file, len_max)).map(Some)
    }
}

/// How much of a file is read.
fn len(file: &Node, len_max: usize) -> usize {
    usize::try_from(file.size_bytes).map_or(len_max, |len| len.min(len_max))
}

impl Reader<'_> {
    fn runs_of(&self, file: &Node, len: usize) -> Result<Vec<Run>> {
        let mut chains = Chains::new(self.device, self.layout);
        let mut runs = Vec::new();
        let mut position_bytes = 0;
        let mut next = cluster(file).filter(|&first| first != Cluster::NONE);
        while let Some(cluster) = next.filter(|_| position_bytes < len as u64) {
            let run = chains.run(cluster)?;
            runs.push(Run {
                file_offset_bytes: position_bytes,
                extent: run.extent,
            });
            position_bytes = position_bytes.saturating_add(run.extent.len_bytes());
            next = run.next;
        }
        Ok(runs)
    }
}
