//! All chains of clusters that directories lead to, and the clusters that they get.

use super::super::Chains;
use super::super::allocation;
use super::super::directory;
use super::super::layout::Layout;
use super::shape::Shape;
use super::too_large;
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::cluster::Cluster;
use std::collections::BTreeMap;

/// More clusters are not kept in memory: 4 bytes for each, three times.
const CLUSTERS_MAX: u32 = 1 << 24;
/// Directories are kept in memory.
const DIRECTORIES_BYTES_MAX: usize = 256 << 20;

/// A file or directory.
pub(super) struct Chain {
    /// Its clusters.
    pub(super) from: Vec<Cluster>,
    /// The clusters that it gets.
    pub(super) to: Vec<Cluster>,
    /// What a directory holds; `None` for a file.
    pub(super) directory: Option<Vec<u8>>,
    /// Of a directory: the first cluster of the one that it is in, as `..` names it.
    pub(super) parent: Cluster,
}

/// All files and directories that have clusters.
pub(super) struct Tree {
    pub(super) chains: Vec<Chain>,
    /// The root directory of FAT12 and FAT16, which has a place of its own.
    pub(super) root: Option<Vec<u8>>,
    /// Which chain begins with a cluster.
    by_first: BTreeMap<u32, usize>,
}

impl Tree {
    /// Reads all directories and chains.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when chains cross, or one is damaged; [`Error::Refused`] when there are clusters in use that
    /// no directory leads to.
    pub(super) fn read(device: &dyn ReadAt, layout: &Layout) -> Result<Self> {
        if layout.clusters.count() > CLUSTERS_MAX {
            let found = layout.clusters.count();
            return Err(too_large(format!(
                "it has {found} clusters, and klon lays out at most {CLUSTERS_MAX} anew"
            )));
        }
        let mut reading = Reading::new(device, layout);
        let mut tree = Self {
            chains: Vec::new(),
            root: None,
            by_first: BTreeMap::new(),
        };
        match layout.root {
            Some(_) => {
                let root = directory::read_root(&mut reading.chains)?.bytes;
                reading.entries(&root, Cluster::NONE);
                tree.root = Some(root);
            }
            None => reading.pending.push(Pending {
                first: layout.root_cluster,
                is_directory: true,
                parent: Cluster::NONE,
            }),
        }
        while let Some(pending) = reading.pending.pop() {
            let first = pending.first;
            let chain = reading.chain(pending)?;
            tree.by_first.insert(first.0, tree.chains.len());
            tree.chains.push(chain);
        }
        tree.check_lost(device, layout)?;
        Ok(tree)
    }

    /// Clusters of all files and directories.
    pub(super) fn clusters(&self) -> u64 {
        let clusters = self.chains.iter().map(|chain| chain.from.len() as u64);
        clusters.sum()
    }

    /// Where the chain begins now that began with `first`; `None` where none does.
    pub(super) fn moved(&self, first: Cluster) -> Option<Cluster> {
        let chain = self.chains.get(*self.by_first.get(&first.0)?)?;
        chain.to.first().copied()
    }

    /// # Errors
    /// When there are others in use, which would be lost.
    fn check_lost(&self, device: &dyn ReadAt, layout: &Layout) -> Result<()> {
        let mut in_use: u64 = 0;
        allocation::for_each_entry(device, layout, |_, entry| {
            in_use += u64::from(entry != 0 && entry != layout.bad_entry());
        })?;
        let lost = in_use.saturating_sub(self.clusters());
        match lost {
            0 => Ok(()),
            _ => Err(Error::Refused(format!(
                "{lost} clusters of the {} are in use and belong to no file, so klon can't lay it out anew. Let \
                 fsck.fat look at it",
                layout.kind
            ))),
        }
    }

    /// Gives each chain its clusters.
    ///
    /// # Errors
    /// [`Error::Refused`] when there are not enough.
    pub(super) fn place(&mut self, layout: &Layout, shape: &Shape) -> Result<()> {
        let is_same = layout.clusters.size_bytes() == shape.clusters.size_bytes();
        let placed = match is_same {
            true => self.keep(shape),
            false => self.pack(layout, shape),
        };
        placed.ok_or_else(|| {
            Error::Refused(format!(
                "the files of the {} need {} clusters of {} bytes, and there is room for {} of {} bytes",
                layout.kind,
                self.clusters(),
                layout.clusters.size_bytes(),
                shape.clusters.count(),
                shape.clusters.size_bytes()
            ))
        })
    }

    /// Clusters keep their numbers; those that are not there any more get the first free ones.
    fn keep(&mut self, shape: &Shape) -> Option<()> {
        let mut is_taken = vec![false; shape.clusters.end().0 as usize];
        for cluster in self.chains.iter().flat_map(|chain| &chain.from) {
            if let Some(taken) = is_taken.get_mut(cluster.0 as usize) {
                *taken = true;
            }
        }
        let numbers = Cluster::FIRST.0..shape.clusters.end().0;
        let mut free =
            numbers.filter(|&number| !is_taken.get(number as usize).is_some_and(|it| *it));
        for chain in &mut self.chains {
            chain.to = (chain.from.iter())
                .map(|&cluster| match shape.clusters.has(cluster) {
                    true => Some(cluster),
                    false => free.next().map(Cluster),
                })
                .collect::<Option<_>>()?;
        }
        Some(())
    }

    /// Chains lie one behind the other, in the order in which they began.
    fn pack(&mut self, layout: &Layout, shape: &Shape) -> Option<()> {
        let mut next = Cluster::FIRST;
        for &index in self.by_first.values() {
            let chain = self.chains.get_mut(index)?;
            let bytes = chain.from.len() as u64 * u64::from(layout.clusters.size_bytes());
            let count = bytes.div_ceil(shape.clusters.size_bytes().into());
            for _ in 0..count {
                if !shape.clusters.has(next) {
                    return None;
                }
                chain.to.push(next);
                next = next.next()?;
            }
        }
        Some(())
    }
}

/// A chain that a directory names.
struct Pending {
    first: Cluster,
    is_directory: bool,
    parent: Cluster,
}

/// A walk over all directories.
struct Reading<'a> {
    layout: &'a Layout,
    chains: Chains<'a>,
    pending: Vec<Pending>,
    /// By number: whether a chain has the cluster.
    is_met: Vec<bool>,
    directories_bytes: usize,
}

impl<'a> Reading<'a> {
    fn new(device: &'a dyn ReadAt, layout: &'a Layout) -> Self {
        Self {
            layout,
            chains: Chains::new(device, layout),
            pending: Vec::new(),
            is_met: vec![false; layout.clusters.end().0 as usize],
            directories_bytes: 0,
        }
    }

    /// Notes what a directory names.
    fn entries(&mut self, bytes: &[u8], parent: Cluster) {
        let entries = directory::entries(bytes, self.layout);
        let chains = entries.filter(|entry| entry.first_cluster != Cluster::NONE);
        self.pending.extend(chains.map(|entry| Pending {
            first: entry.first_cluster,
            is_directory: entry.is_directory,
            parent,
        }));
    }

    fn chain(&mut self, pending: Pending) -> Result<Chain> {
        let Pending {
            first,
            is_directory,
            parent,
        } = pending;
        let from = self.clusters(first)?;
        let mut directory = None;
        if is_directory {
            let read = directory::read(&mut Chains::new(self.chains.device(), self.layout), first)?;
            self.directories_bytes = self.directories_bytes.saturating_add(read.bytes.len());
            if !read.is_whole || self.directories_bytes > DIRECTORIES_BYTES_MAX {
                return Err(too_large("its directories are too large".to_owned()));
            }
            self.entries(&read.bytes, first);
            directory = Some(read.bytes);
        }
        Ok(Chain {
            from,
            to: Vec::new(),
            directory,
            parent,
        })
    }

    /// The clusters of a chain, none of which another one has.
    fn clusters(&mut self, first: Cluster) -> Result<Vec<Cluster>> {
        let mut found = Vec::new();
        let mut next = Some(first);
        while let Some(cluster) = next {
            let run = self.chains.run(cluster)?;
            let count = run.extent.len_bytes() / u64::from(self.layout.clusters.size_bytes());
            for number in (cluster.0..).take(count as usize) {
                let met = self.is_met.get_mut(number as usize);
                if met.is_none_or(|met| std::mem::replace(met, true)) {
                    return Err(crossed(self.layout, Cluster(number)));
                }
                found.push(Cluster(number));
            }
            next = run.next;
        }
        Ok(found)
    }
}

fn crossed(layout: &Layout, cluster: Cluster) -> Error {
    let at = layout.entry_offset_bytes(cluster);
    let found = format!("two that have cluster {cluster}");
    Corrupt::new("FAT", "chain", at, "each cluster in one file", found).into()
}
