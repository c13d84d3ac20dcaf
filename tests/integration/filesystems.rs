//! Used maps against outside tools on real volumes.

mod apfs;
pub(crate) mod btrfs;
mod disks;
mod exfat;
mod ext;
mod f2fs;
mod fat;
mod golden;
mod hfsplus;
mod hostile;
mod image_file;
mod known_bad;
mod lvm2;
mod ntfs;
mod owned;
mod power_cut;
mod read_only;
mod reads;
mod signatures;
mod stale;
mod swap;
mod walked;
mod xfs;
