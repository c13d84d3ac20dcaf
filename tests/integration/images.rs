//! Images of volumes and disks: made, added to, listed, restored.

mod commands;
mod days;
mod keep;
mod rescue;
mod round_trip;
