//! Images of volumes and disks: made, added to, listed, restored.

mod commands;
mod days;
mod round_trip;
