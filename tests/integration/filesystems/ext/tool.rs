//! Outside tools, and what they say is in use.

use crate::support::tool::output;
use crate::support::{self, lacks_root};
use klon_partition::{Extent, ExtentMap};
use std::path::Path;

/// Runs a tool to success and gives what it printed. A missing tool fails the test.
pub(super) fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    // e2fsck says 1 when it has corrected something.
    let is_fine = output.status.success() || program == "e2fsck" && output.status.code() == Some(1);
    assert!(
        is_fine,
        "{program} {arguments:?}: {}\n{text}\n{errors}",
        output.status
    );
    text
}

/// Whether mounting is possible. Under CI it has to be.
pub(super) fn is_root() -> bool {
    !lacks_root()
}

/// A mounted volume, unmounted at the end.
pub(super) struct Mount(support::Mount);

impl Mount {
    pub(super) fn new(image: &Path, point: &Path, options: &str) -> Self {
        Self(support::Mount::new(image, point, options))
    }

    pub(super) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// What dumpe2fs says of a volume.
pub(super) fn dumpe2fs(image: &Path) -> String {
    run("dumpe2fs", &[image.to_str().unwrap()])
}

/// Everything but the "Free blocks:" of all groups.
pub(in super::super) fn dumpe2fs_used(image: &Path) -> ExtentMap {
    let text = dumpe2fs(image);
    let number = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |line| line.trim().parse().unwrap())
    };
    let (blocks, block_bytes) = (number("Block count:"), number("Block size:"));
    // Of a range of free clusters dumpe2fs names the first block of the last one.
    let cluster_blocks = number("Cluster size:").max(block_bytes) / block_bytes;
    let free: ExtentMap = text
        .lines()
        .filter_map(|line| line.strip_prefix("  Free blocks: "))
        .flat_map(|line| line.split(", "))
        .filter(|range| !range.is_empty())
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            let end = (last + 1).next_multiple_of(cluster_blocks);
            Extent::between(first * block_bytes, end.min(blocks) * block_bytes).unwrap()
        })
        .collect();
    free.complement(blocks * block_bytes)
}
