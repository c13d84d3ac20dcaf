//! Clones of volumes and disks in plain files; no root needed.

mod broken;
mod disks;
mod verify;
mod volumes;
