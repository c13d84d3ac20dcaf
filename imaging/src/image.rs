#![doc = include_str!("../IMAGE-FORMAT.md")]

mod append;
mod capture;
mod catalog;
mod dedup;
mod device;
pub mod export;
mod frame;
mod header;
pub mod import;
mod manifest;
mod page;
mod reader;
mod reference;
mod snapshot;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use append::{Append, FileAppend};
pub use capture::{
    CaptureJob, CaptureOptions, CaptureSummary, Forward, ForwardGeometry, capture, capture_forward,
};
pub use catalog::{Catalog, CatalogEntry};
pub use device::SnapshotDevice;
pub use frame::{Encoding, FRAME_ALIGN, FrameHeader, FrameType};
pub use header::{HEADER_LEN, Header, MAGIC};
pub use manifest::{PartitionId, SnapshotManifest, SnapshotMeta, SnapshotRun, VolumeKind};
pub use page::PAGE_CHUNKS;
pub use reader::Image;
pub use reference::Reference;
pub use snapshot::Snapshot;
pub use tail::{Adopted, Tail};
pub use writer::ImageWriter;
