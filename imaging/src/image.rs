#![doc = include_str!("../IMAGE-FORMAT.md")]

mod append;
mod capture;
mod catalog;
mod check;
mod chunk_cache;
mod compact;
mod compare;
mod dedup;
mod device;
mod encoded;
pub mod export;
mod frame;
mod frames_in_use;
mod header;
pub mod import;
mod load;
mod manifest;
mod open;
mod page;
mod parts;
mod prune;
mod reader;
mod rebuild;
mod recent;
mod reference;
mod rules;
mod salvage;
mod slots;
mod snapshot;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use append::{Append, FileAppend};
pub use capture::{
    CaptureJob, CaptureOptions, CaptureSummary, Forward, ForwardGeometry, LiveCapture, LookAt,
    LookedAt, SourceVolume, Volumes, capture, capture_forward, capture_live,
};
pub use catalog::{Catalog, CatalogEntry};
pub use check::{CheckSummary, SnapshotBad, SnapshotDamage, check};
pub use compact::{compact, compact_bytes};
pub use compare::{Comparison, Sides, compare};
pub use device::SnapshotDevice;
pub use frame::{Encoding, FRAME_ALIGN, FrameHeader, FrameType};
pub use header::{HEADER_LEN, Header, MAGIC};
pub use manifest::{
    PartitionId, PartitionRest, SnapshotManifest, SnapshotMeta, SnapshotRun, VolumeKind,
};
pub use page::PAGE_CHUNKS;
pub use parts::{FilesAppend, FilesPunch, ImageFiles, StreamAppend};
pub use prune::{
    HOLE_ALIGN, PrunePlan, Punch, forget, forget_bytes, forget_from, plan_prune, punch_unused,
};
pub use reader::Image;
pub use reference::Reference;
pub use rules::{Calendar, Fate, KeepRules};
pub use salvage::{Damage, SalvageDevice, Salvaged, Unreadable};
pub use snapshot::Snapshot;
pub use tail::{Adopted, Tail};
pub use writer::ImageWriter;
