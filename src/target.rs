//! Targets: looked at, and opened for writing.

pub mod open;
