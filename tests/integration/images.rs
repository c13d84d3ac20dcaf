//! Images of volumes and disks: made, added to, listed, restored.

mod commands;
mod days;
mod described;
mod port;
mod rescue;
mod round_trip;
