//! Records: what is known of a target after a clone, so that the next run reads and writes less.
//!
//! One file a target in a state directory. The format is described byte by byte in
//! [`mod@format`]; a record is replaced atomically, never changed in place. While a staged update
//! is brought into place, the record of the new state waits beside it, in a file of the same format
//! whose name ends with `.pending`.

pub mod format;
mod leftover;
pub mod manifest;
mod metadata;
mod pending;
mod scan;
pub mod store;
mod writer;

pub use manifest::{Manifest, Role, RunEntry};
pub use metadata::MetadataWriter;
pub use store::{Record, RecordStore};
pub use writer::{CompleteRecord, RecordWriter};

pub(crate) use metadata::{Whole, digest_of};
