//! Everything that crosses crates or needs outside tools, in one binary.

#![allow(
    clippy::disallowed_methods,
    reason = "tests give their files names that are text"
)]

mod cli;
mod clone;
mod delta;
mod faults;
mod filesystems;
mod formats;
mod guards;
mod images;
mod kills;
mod live;
mod loops;
mod outside;
mod planner;
mod scripts;
mod still;
mod support;
mod tables;
mod tidy;
