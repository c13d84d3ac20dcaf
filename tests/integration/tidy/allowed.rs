//! What breaks a rule and may stand for now. These lists may only shrink.

pub(super) const LONG_FILES: &[&str] = &[];

pub(super) const LONG_FUNCTIONS: &[&str] = &[
    "imaging/src/image/capture.rs::capture_from",
    "imaging/src/record/store.rs::read",
    "imaging/src/rescue.rs::rescue",
];

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
    "imaging/src/rescue/file → imaging/src/rescue/first",
    "imaging/src/foreign/virtual_disk/two_levels → imaging/src/foreign/virtual_disk/cut",
    "imaging/src/foreign/virtual_disk/vmdk → imaging/src/foreign/virtual_disk/cut",
    "imaging/src/change/metadata → imaging/src/clone",
    "imaging/src/record/manifest → imaging/src/change",
    "imaging/src/record/metadata → imaging/src/record/writer",
    "imaging/src/error → imaging/src/stage",
    "imaging/src/mark → imaging/src/stage",
    "imaging/src/stage/apply → imaging/src/stage/group",
    "imaging/src/image/reader → imaging/src/image/rebuild",
    "imaging/src/image/reader → imaging/src/image/snapshot",
    "imaging/src/image/reader → imaging/src/image/tail",
    "imaging/src/image/reader → imaging/src/image/writer",
    "imaging/src/image/reader → imaging/src/image/unpack",
];

pub(super) const OPTIONS: &[&str] = &[
    "imaging/src/change/select.rs: --rung",
    "imaging/src/change/select.rs: --rung",
    "imaging/src/error.rs: --in-place",
    "imaging/src/image/check.rs: --compact",
    "imaging/src/image/export/file.rs: --force",
    "imaging/src/image/import/clonezilla/directory.rs: --disk",
    // An option of xz.
    "imaging/src/image/import/unpack.rs: --format",
    "imaging/src/image/writer.rs: --compact",
    "imaging/src/rescue/file.rs: --rescue",
    "imaging/src/stage/group/finish.rs: --alone",
    "imaging/src/stage/group.rs: --alone",
    "partition/src/planner/ground.rs: --replace-table",
];
