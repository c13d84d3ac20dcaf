//! Making snapshots of what other programs made: qcow2, partclone, Clonezilla, packed raw files.
//!
//! Nothing here trusts a byte of what it reads: what is claimed is checked against what is there
//! before anything is allocated or gone through.

pub mod bmap;
pub mod clonezilla;
pub mod partclone;
pub mod plain;
pub mod qcow2;
mod raw;
pub mod split;
mod stream;
mod zeroes;

pub use raw::RawForward;
pub(crate) use stream::Stream;
