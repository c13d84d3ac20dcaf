//! Clones on loop devices, with filesystems that are mounted and changed in between; needs root.

mod changes;
mod copied;
mod dirty;
mod drift;
mod drive;
mod elsewhere;
mod errors;
mod journal;
mod ledger;
mod names;
mod neighbors;
mod options;
mod other_sectors;
mod own_identity;
mod power_cut;
mod recognized;
mod recovered;
mod refusals;
mod replay;
mod rescue;
mod shrink;
mod shrink_disk;
mod shrink_killed;
mod skipped;
mod tables;
