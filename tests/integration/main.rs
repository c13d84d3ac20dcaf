//! Everything that crosses crates or needs outside tools, in one binary.

mod cli;
mod clone;
mod faults;
mod filesystems;
mod formats;
mod guards;
mod images;
mod kills;
mod loops;
mod planner;
mod scripts;
mod support;
mod tables;
