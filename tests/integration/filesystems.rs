//! Used maps against outside tools on real volumes.

mod apfs;
mod btrfs;
mod disks;
mod ext;
mod fat;
mod golden;
mod hostile;
mod image_file;
mod ntfs;
mod signatures;
mod xfs;
