//! The rule as data, so that tests can show that each part of it is needed.

use klon_partition::ExtentMap;
use std::ops::Range;

/// A part of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Only regular files.
    Regular,
    /// Not what the filesystem keeps for itself.
    Internal,
    /// Not what is marked as immutable.
    Immutable,
    /// Not what is written without a stamp, by its name.
    Unstamped,
    /// The count of changes is the same, or reading explains it.
    Changes,
    /// The runs are where they were.
    Mapping,
    /// Runs are written where they were, and unwritten where they were.
    State,
    /// What was not written is not proven.
    Written,
    /// What lies behind the file's end is not proven.
    End,
    /// The stamp is older than the horizon.
    Horizon,
    /// Not what had a signature of what is written past the filesystem.
    Signatures,
    /// The record describes the block.
    Described,
    /// Nothing else has the block.
    Owners,
    /// The extent lies where it lay.
    Places,
    /// The same transaction allocated the extent.
    Generation,
    /// The checksums of the extent's sectors are the same.
    Checksums,
    /// Each of the extent's sectors has a checksum.
    Summed,
    /// The sector was not damaged when it was read.
    Intact,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Regular,
        Self::Internal,
        Self::Immutable,
        Self::Unstamped,
        Self::Changes,
        Self::Mapping,
        Self::State,
        Self::Written,
        Self::End,
        Self::Horizon,
        Self::Signatures,
        Self::Described,
        Self::Owners,
        Self::Places,
        Self::Generation,
        Self::Checksums,
        Self::Summed,
        Self::Intact,
    ];
}

/// The rule. The default is the sound one, and the only one for anything but tests.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Parts that are left out.
    pub without: Vec<Guard>,
    /// Fields of the inode that are not looked at, beside those that say nothing.
    pub also_volatile: Vec<Range<usize>>,
}

impl Rule {
    /// The rule without one of its parts, which is not sound.
    #[must_use]
    pub fn without(guard: Guard) -> Self {
        Self {
            without: vec![guard],
            also_volatile: Vec::new(),
        }
    }

    /// The rule that doesn't look at these bytes of the inode, which is not sound.
    #[must_use]
    pub fn blind_to(fields: &[Range<usize>]) -> Self {
        Self {
            without: Vec::new(),
            also_volatile: fields.to_vec(),
        }
    }

    /// Whether a part of it holds.
    pub(super) fn has(&self, guard: Guard) -> bool {
        !self.without.contains(&guard)
    }
}

impl Rule {
    /// What is proven of the blocks of unchanged files: not what `others` have as well, and only what
    /// the record describes.
    pub(super) fn limit(
        &self,
        unchanged: &ExtentMap,
        others: &ExtentMap,
        described: &ExtentMap,
    ) -> ExtentMap {
        let mut proven = match self.has(Guard::Owners) {
            true => unchanged.difference(others),
            false => unchanged.clone(),
        };
        if self.has(Guard::Described) {
            proven = proven.intersection(described);
        }
        proven
    }
}
