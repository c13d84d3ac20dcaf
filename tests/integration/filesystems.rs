//! Used maps against outside tools on real volumes.

mod disks;
mod fat;
mod signatures;
