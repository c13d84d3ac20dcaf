//! Used maps against outside tools on real volumes.

mod btrfs;
mod disks;
mod exfat;
mod ext;
mod fat;
mod golden;
mod hostile;
mod image_file;
mod ntfs;
mod read_only;
mod signatures;
mod stale;
mod swap;
mod xfs;
