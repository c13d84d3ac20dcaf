//! Making snapshots of what other programs made: qcow2, partclone, Clonezilla.
//!
//! Nothing here trusts a byte of what it reads: what is claimed is checked against what is there
//! before anything is allocated or gone through.

pub mod clonezilla;
pub mod partclone;
pub mod qcow2;
mod raw;
mod stream;
pub mod unpack;

pub use raw::RawForward;
pub(crate) use stream::Stream;
