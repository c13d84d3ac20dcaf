//! Clones of volumes and disks in plain files; no root needed.

mod broken;
mod busy_fat;
mod disks;
mod dormant;
mod doubtful;
mod drill;
mod exports;
mod fat_anew;
mod fit;
mod gap;
mod group;
mod grow;
mod least;
mod lvm;
mod other_table;
mod own_identity;
mod sectors;
mod smaller;
mod staged;
mod tracked;
mod verify;
mod volumes;
mod way_back;
