//! Data extents of filesystems that keep a checksum of each sector.

mod checksum;

pub use checksum::Checksum;

use crate::extent::Extent;

/// Where on the device some bytes of a filesystem lie: once or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The first copy.
    pub first: Extent,
    /// The second copy, of the same length, where the filesystem keeps two.
    pub second: Option<Extent>,
}

impl Copies {
    /// All copies.
    pub fn iter(self) -> impl Iterator<Item = Extent> {
        [Some(self.first), self.second].into_iter().flatten()
    }
}
