//! Clones of volumes and disks in plain files; no root needed.

mod broken;
mod busy_fat;
mod disks;
mod doubtful;
mod group;
mod sectors;
mod smaller;
mod staged;
mod verify;
mod volumes;
mod way_back;
