//! Records: what is known of a target after a clone, so that the next run reads and writes less.
//!
//! One file a target in a state directory. The format is described byte by byte in
//! [`mod@format`]; a record is replaced atomically, never changed in place, also when it is noted in it that a clone was grown. While a staged update
//! is brought into place, the record of the new state waits beside it, in a file of the same format
//! whose name ends with `.pending`.

mod counted;
pub mod format;
mod grown;
mod leftover;
pub mod manifest;
mod outline;
mod own_identity;
mod pending;
mod reader;
#[cfg(test)]
pub(crate) mod sample;
mod scan;
mod spool;
pub mod store;
mod structure_digests;
mod writer;

pub use manifest::{Consistency, Growth, Manifest, Role, RunEntry};
pub use outline::Outline;
pub use own_identity::{Named, OwnIdentity, OwnName};
pub use store::{ImageSource, Record, RecordStore};
pub use structure_digests::MetadataWriter;
pub use writer::{CompleteRecord, RecordWriter};

pub(crate) use structure_digests::{Whole, digest_of};
