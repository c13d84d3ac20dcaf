//! What the end-to-end tests share: the program as a user runs it, outside tools, loop devices,
//! sources made by real tools, and trees of files to be compared.

pub(crate) mod bad_disk;
pub(crate) mod busy;
pub(crate) mod counted;
pub(crate) mod dice;
pub(crate) mod faulty_disk;
pub(crate) mod hooked;
pub(crate) mod image;
pub(crate) mod klon;
pub(crate) mod library;
pub(crate) mod loop_device;
pub(crate) mod nbd_server;
pub(crate) mod nbdfuse;
pub(crate) mod ntfs_mount;
pub(crate) mod oracle;
pub(crate) mod overlay;
pub(crate) mod scratch;
pub(crate) mod terminal;
pub(crate) mod tool;
pub(crate) mod tree;

pub(crate) use bad_disk::BadDisk;
pub(crate) use counted::Counted;
pub(crate) use klon::{Klon, Outcome};
pub(crate) use loop_device::{LoopDevice, Mount, lacks_root};
pub(crate) use ntfs_mount::NtfsMount;
pub(crate) use tool::run;

/// A mebibyte.
pub(crate) const MIB: u64 = 1 << 20;
