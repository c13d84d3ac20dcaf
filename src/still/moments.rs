//! How a run brings mounted sources to rest for moments.

use super::volume::How;
use crate::cli::StillArg;
use std::time::Duration;

/// How a run brings sources to rest that are mounted for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// The longest that one may be at rest at once.
    pub longest: Duration,
    /// In which ways.
    pub ways: MomentWays,
}

/// In which ways mounted sources come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentWays {
    /// Frozen; FAT is made read-only, as it can't be frozen, or read twice where that is not possible either.
    Best,
    /// Frozen.
    Frozen,
    /// Made read-only.
    ReadOnly,
}

impl Moments {
    /// What the user asked for; `None` where nothing is to be brought to rest for moments.
    pub fn asked(still: StillArg, longest: Duration) -> Option<Self> {
        let ways = match still {
            StillArg::Auto => MomentWays::Best,
            StillArg::Freeze => MomentWays::Frozen,
            StillArg::ReadOnly => MomentWays::ReadOnly,
            StillArg::Snapshot | StillArg::Refuse => return None,
        };
        Some(Self { longest, ways })
    }

    /// Whether what can't be brought to rest may be read twice instead.
    pub fn may_read_twice(self) -> bool {
        self.ways == MomentWays::Best
    }

    /// How a filesystem is held so that its map can be believed; `None` where it can't be. `filesystem` is
    /// its name in the kernel.
    pub fn how(self, filesystem: &str) -> Option<How> {
        let best = match filesystem {
            "ext3" | "ext4" | "xfs" | "btrfs" => How::Frozen,
            // It can't be frozen. The kernel clears its mark of being in use when it becomes read-only.
            "vfat" | "msdos" => How::ReadOnly,
            _ => return None,
        };
        match self.ways {
            MomentWays::Best => Some(best),
            MomentWays::Frozen => Some(best).filter(|how| *how == How::Frozen),
            MomentWays::ReadOnly => Some(How::ReadOnly),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{How, MomentWays, Moments};
    use std::time::Duration;

    #[test]
    fn each_filesystem_is_held_as_it_can_be() {
        let how = |ways, filesystem| {
            let longest = Duration::from_secs(1);
            Moments { longest, ways }.how(filesystem)
        };
        assert_eq!(how(MomentWays::Best, "ext4"), Some(How::Frozen));
        assert_eq!(how(MomentWays::Best, "vfat"), Some(How::ReadOnly));
        assert_eq!(how(MomentWays::Frozen, "vfat"), None);
        assert_eq!(how(MomentWays::ReadOnly, "xfs"), Some(How::ReadOnly));
        assert_eq!(how(MomentWays::Best, "ntfs3"), None);
    }
}
