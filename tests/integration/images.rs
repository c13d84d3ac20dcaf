//! Images of volumes and disks: made, added to, listed, restored, read by others.

mod calendar;
mod commands;
mod damaged;
mod days;
mod described;
mod keep;
mod locks;
mod many;
mod named;
mod own_names;
mod port;
mod races;
mod rescue;
mod round_trip;
mod serve;
mod sizes;
