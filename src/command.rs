//! One module a command: what the user asked for, in the order of show, confirm, run, report.

pub mod clone;
pub mod devices;
pub mod finish;
pub mod map;
pub mod mount;
pub mod plan;
pub mod prepare;
pub mod serve;
pub mod verify;
