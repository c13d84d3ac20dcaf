//! What breaks a rule and may stand for now. These lists may only shrink.

pub(super) const LONG_FILES: &[&str] = &[];

pub(super) const LONG_FUNCTIONS: &[&str] = &[];

/// Imports that close circles.
pub(super) const ARROWS: &[&str] = &[
    // The chunk tree names the chunks, and its blocks lie in chunks.
    "partition/src/filesystem/btrfs/chunks → partition/src/filesystem/btrfs/tree",
    // What these need of each other belongs below both.
    "src/place → src/inventory",
    "src/place → src/watch",
    "src/place → src/foreign",
    "src/volume → src/damaged",
    "src/volume → src/fit",
    "src/foreign/packed → src/volume",
    "src/output → src/progress",
];

pub(super) const OPTIONS: &[&str] = &[
    // An option of xz.
    "imaging/src/image/import/unpack.rs: --format",
];
