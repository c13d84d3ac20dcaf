//! One module a command: what the user asked for, in the order of show, confirm, run, report.

pub mod clone;
pub mod devices;
pub mod diff;
pub mod export;
pub mod extract;
pub mod finish;
pub mod image;
pub mod import;
pub mod info;
pub mod list;
pub mod map;
pub mod mount;
pub mod plan;
pub mod prepare;
pub mod prune;
pub mod restore;
pub mod serve;
pub mod verify;
