//! The filesystem and device that a walk goes over, the rule that it follows, and when it stops.

use super::rule::Rule;
use klon_partition::ReadAt;
use klon_partition::filesystem::Filesystem;

/// What a walk goes over, and how.
#[derive(Clone, Copy)]
pub struct Walk<'a> {
    /// The filesystem.
    pub filesystem: &'a dyn Filesystem,
    /// The device that it is on.
    pub device: &'a dyn ReadAt,
    /// When something counts as proven.
    pub rule: &'a Rule,
    /// Asked again and again; the walk ends when it says so.
    pub is_cancelled: &'a dyn Fn() -> bool,
}
