//! Clones on loop devices, with filesystems that are mounted and changed in between; needs root.

mod changes;
mod dirty;
mod drive;
mod names;
mod options;
mod refusals;
mod tables;
