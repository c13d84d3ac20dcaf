//! Used maps against outside tools on real volumes.

mod btrfs;
mod disks;
mod ext;
mod f2fs;
mod fat;
mod golden;
mod hostile;
mod image_file;
mod ntfs;
mod signatures;
mod xfs;
