//! What breaks a rule and may stand for now. These lists may only shrink.

pub(super) const LONG_FILES: &[&str] = &[];

pub(super) const LONG_FUNCTIONS: &[&str] = &[];

/// Imports that close circles.
pub(super) const ARROWS: &[&str] = &[
    // The chunk tree names the chunks, and its blocks lie in chunks.
    "partition/src/filesystem/btrfs/chunks → partition/src/filesystem/btrfs/tree",
];

/// Imports from rooms above.
pub(super) const UPWARD: &[&str] = &[
    // A type of an argument, whose text is parsed where it is worked with.
    "src/cli/still → src/still/snapshot/size",
    // The watch over a source begins where a name is opened, or a snapshot made, and it tells of snapshots.
    "src/named/open → src/source/watch",
    "src/still/ways → src/source/watch",
];

pub(super) const OPTIONS: &[&str] = &[
    // An option of xz.
    "imaging/src/packed.rs: --format",
];
