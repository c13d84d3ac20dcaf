//! An image as a file system: a directory a snapshot, a sparse file a disk, volume or partition.

mod filesystem;
mod seek;
mod session;
mod tree;

pub use session::Mounted;
pub use tree::{Owner, Tree};
