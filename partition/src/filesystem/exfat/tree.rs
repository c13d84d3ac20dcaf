//! A walk over the whole directory tree: that the bitmap has what it names, and which of that is
//! metadata.

use super::directory::{Directory, Runs};
use super::entry::{Allocation, Content, EntrySet, Named};
use super::{Chains, Layout};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::finder::Pending;

/// Directories that were found and not read yet take no more; a million of them.
pub(super) const PENDING_BYTES_MAX: usize = 32 << 20;

const METADATA_EXTENTS_MAX: usize = 1 << 20;

/// What an allocation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Directory,
    File,
    Other,
}

/// Clusters that an entry set names.
pub(super) struct Item<'a> {
    pub(super) purpose: Use,
    /// Empty unless the visitor wants paths.
    pub(super) path: &'a str,
    /// Where the entry set lies; the root directory's own start for the root directory.
    pub(super) set_bytes: u64,
    /// DataLength; 0 for the root directory, which has none.
    pub(super) len_bytes: u64,
}

impl<'a> Item<'a> {
    const fn of(set: &EntrySet, purpose: Use, path: &'a str, clusters: Allocation) -> Self {
        Self {
            purpose,
            path,
            set_bytes: set.offset_bytes(),
            len_bytes: clusters.len_bytes,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next run of this item.
    On,
    /// The next item.
    Skip,
}

/// Sees the runs of everything in the tree.
pub(super) trait Visitor {
    const WANTS_PATHS: bool;

    /// Whether the clusters of files are of interest.
    const WANTS_FILES: bool = true;

    /// Whether the rest of the tree is of no interest.
    fn is_done(&self) -> bool {
        false
    }

    /// Hears of a directory or an entry set that is damaged.
    ///
    /// # Errors
    /// `error`, to end the walk, which is what happens unless the visitor can do without.
    fn damaged(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    /// Sees a run, which starts at `position_bytes` of the item.
    ///
    /// # Errors
    /// The visitor's own, which end the walk.
    fn run(&mut self, item: &Item<'_>, position_bytes: u64, extent: Extent) -> Result<Step>;
}

/// Walks the tree from the root directory on.
///
/// # Errors
/// [`Error::Corrupt`] when an entry set or a chain on the way is damaged;
/// [`Error::Unsupported`] when the tree is larger than the bounds of memory or has critical
/// entries that are unknown.
pub(super) fn walk<V: Visitor>(
    device: &dyn ReadAt,
    layout: &Layout,
    visitor: &mut V,
    pending_bytes_max: usize,
) -> Result<()> {
    let mut walk = Walk {
        chains: Chains::new(device, layout),
        visitor,
        pending: Pending::new(pending_bytes_max),
    };
    let root_bytes = layout.heap.extent(layout.root_cluster);
    let root = Item {
        purpose: Use::Directory,
        path: "/",
        set_bytes: root_bytes.map_or(0, Extent::offset_bytes),
        len_bytes: 0,
    };
    walk.tolerantly(|walk| walk.directory(&root, Runs::root(layout), true))?;
    while !walk.visitor.is_done() {
        let Some((path, named)) = walk.pending.pop() else {
            break;
        };
        let item = Item {
            purpose: Use::Directory,
            path: &path,
            set_bytes: named.set_bytes,
            len_bytes: named.allocation.len_bytes,
        };
        walk.tolerantly(|walk| walk.directory(&item, Runs::new(layout, named)?, false))?;
    }
    Ok(())
}

struct Walk<'a, V> {
    chains: Chains<'a>,
    visitor: &'a mut V,
    pending: Pending<Named>,
}

impl<V: Visitor> Walk<'_, V> {
    fn tolerantly(&mut self, visit: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        visit(self).or_else(|error| self.visitor.damaged(error))
    }

    fn directory(&mut self, item: &Item<'_>, runs: Runs, is_root: bool) -> Result<()> {
        let mut directory = Directory::open(&mut self.chains, runs)?;
        let mut position_bytes = 0_u64;
        for &run in directory.runs() {
            if self.visitor.run(item, position_bytes, run)? == Step::Skip {
                break;
            }
            // Runs are no longer than the volume.
            position_bytes += run.len_bytes();
        }
        while !self.visitor.is_done() {
            let Some(set) = directory.next_set()? else {
                break;
            };
            if set.is_of_root() && !is_root {
                let found = format!("{:#04x}", set.kind());
                return Err(set.corrupt("EntryType", "one of the root directory there", found));
            }
            self.tolerantly(|walk| walk.set(item.path, &set))?;
        }
        Ok(())
    }

    fn set(&mut self, parent: &str, set: &EntrySet) -> Result<()> {
        let path = |name: &str| {
            if V::WANTS_PATHS {
                format!("{}/{name}", parent.trim_end_matches('/'))
            } else {
                String::new()
            }
        };
        match set.content()? {
            Content::Directory { name, clusters } => {
                let named = Named {
                    allocation: clusters,
                    set_bytes: set.offset_bytes(),
                };
                self.pending.push("exFAT", path(&name), named)?;
            }
            Content::File { name, clusters } if V::WANTS_FILES => {
                self.clusters(&Item::of(set, Use::File, &path(&name), clusters), clusters)?;
            }
            Content::File { .. } | Content::Other => {}
        }
        for clusters in set.other_allocations() {
            self.clusters(&Item::of(set, Use::Other, "", clusters), clusters)?;
        }
        Ok(())
    }

    fn clusters(&mut self, item: &Item<'_>, clusters: Allocation) -> Result<()> {
        let named = Named {
            allocation: clusters,
            set_bytes: item.set_bytes,
        };
        let mut runs = Runs::new(self.chains.layout(), named)?;
        let mut position_bytes = 0_u64;
        while let Some(run) = runs.next(&mut self.chains)? {
            if self.visitor.run(item, position_bytes, run)? == Step::Skip {
                break;
            }
            position_bytes += run.len_bytes();
        }
        Ok(())
    }
}

/// Checks that no cluster that an entry set names is outside of `used`.
///
/// Drivers write bitmap, FAT and directories one after the other and clear VolumeDirty at every
/// flush: a bitmap that lags behind the entries shows here and nowhere else.
///
/// # Errors
/// [`Error::Corrupt`] naming the entry set of the first such cluster, and as for [`walk`].
pub(super) fn check(device: &dyn ReadAt, layout: &Layout, used: &ExtentMap) -> Result<()> {
    walk(device, layout, &mut Check(used), PENDING_BYTES_MAX)
}

struct Check<'a>(&'a ExtentMap);

impl Visitor for Check<'_> {
    const WANTS_PATHS: bool = false;

    fn run(&mut self, item: &Item<'_>, _position_bytes: u64, extent: Extent) -> Result<Step> {
        if self.0.contains(extent) {
            return Ok(Step::On);
        }
        let at = item.set_bytes;
        let expected = format!("the clusters {extent} of the entry set at byte {at:#x} in use");
        let structure = "exFAT allocation bitmap";
        Err(Corrupt::new(structure, "bits", at, expected, "free").into())
    }
}

/// The clusters of everything but contents of files: directories, bitmaps, up-case table, and
/// what vendors add to entry sets.
///
/// # Errors
/// As for [`walk`].
pub(super) fn metadata(device: &dyn ReadAt, layout: &Layout) -> Result<ExtentMap> {
    let mut metadata = Metadata(Vec::new());
    walk(device, layout, &mut metadata, PENDING_BYTES_MAX)?;
    Ok(metadata.0.into_iter().collect())
}

struct Metadata(Vec<Extent>);

impl Visitor for Metadata {
    const WANTS_PATHS: bool = false;
    const WANTS_FILES: bool = false;

    fn run(&mut self, _item: &Item<'_>, _position_bytes: u64, extent: Extent) -> Result<Step> {
        if self.0.len() >= METADATA_EXTENTS_MAX {
            return Err(Error::unsupported(
                format!("an exFAT volume with metadata in more than {METADATA_EXTENTS_MAX} pieces"),
                "they don't fit in memory",
            ));
        }
        self.0.push(extent);
        Ok(Step::On)
    }
}
