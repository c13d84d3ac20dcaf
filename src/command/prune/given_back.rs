//! How much room a filesystem freed for the holes in a file.

use anyhow::{Context as _, Result};
use klon_imaging::image::ImageFiles;
use klon_partition::Shown;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};
use nix::unistd::syncfs;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// Space at one moment: what files take, or what is free where that does not tell.
pub(super) struct Space {
    taken_bytes: u64,
    free_bytes: Option<u64>,
}

impl Space {
    /// Looks at the files of an image.
    pub(super) fn look(files: &ImageFiles) -> Result<Self> {
        let first = files.first();
        let name = || first.shown();
        let file = File::open(first).with_context(name)?;
        let found = fstatfs(&file).with_context(name)?;
        let mut free_bytes = None;
        // Btrfs keeps an extent as long as any block of it is used, and does not count that as the
        // file's; what is free is counted when a transaction is complete.
        if found.filesystem_type() == BTRFS_SUPER_MAGIC {
            syncfs(&file).with_context(name)?;
            let found = fstatfs(&file).with_context(name)?;
            let block_bytes = u64::try_from(found.block_size()).unwrap_or(0);
            free_bytes = Some(found.blocks_free().saturating_mul(block_bytes));
        }
        let blocks = files.paths().map(|path| Ok(path.metadata()?.blocks()));
        let blocks: u64 = blocks.sum::<std::io::Result<_>>().with_context(name)?;
        Ok(Self {
            taken_bytes: blocks.saturating_mul(512),
            free_bytes,
        })
    }

    /// How many bytes the filesystem gave back between `self` and `now`, for holes of `hole_bytes` bytes.
    pub(super) fn given_back(&self, now: &Self, hole_bytes: u64) -> u64 {
        let given = match (self.free_bytes, now.free_bytes) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.taken_bytes.saturating_sub(now.taken_bytes),
        };
        // Others write to the same filesystem.
        given.min(hole_bytes)
    }
}

/// Whether the user must be told that the filesystem gave back less than the holes have.
pub(super) const fn is_short(given_bytes: u64, hole_bytes: u64) -> bool {
    given_bytes < hole_bytes / 10 * 9 && hole_bytes.saturating_sub(given_bytes) >= 1 << 18
}

#[cfg(test)]
mod tests {
    use super::{Space, is_short};

    #[test]
    fn what_came_back_is_what_the_filesystem_says() {
        let room = |taken_bytes, free_bytes| Space {
            taken_bytes,
            free_bytes,
        };
        let mib = 1 << 20;
        assert_eq!(
            room(9 * mib, None).given_back(&room(4 * mib, None), 6 * mib),
            5 * mib
        );
        // What the file takes says nothing where what is free is known.
        let (before, after) = (room(9 * mib, Some(100)), room(4 * mib, Some(300)));
        assert_eq!(before.given_back(&after, 6 * mib), 200);
        assert_eq!(after.given_back(&before, 6 * mib), 0);
        assert_eq!(before.given_back(&room(0, Some(1 << 40)), 6 * mib), 6 * mib);
        assert!(is_short(0, mib) && is_short(8 * mib, 10 * mib));
        assert!(!is_short(mib, mib) && !is_short(0, 4096) && !is_short(99, 100));
    }
}
