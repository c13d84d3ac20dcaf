//! What is on a disk and what should be: devices, partition tables, filesystems, the planner.
//!
//! This crate interprets bytes on disks and says which of them are in use. It writes partition
//! tables and nothing else, and it never prints, prompts or reads the environment.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod bytes;
pub mod device;
pub mod durable;
pub mod error;
pub mod extent;
pub mod filesystem;
pub mod identity;
pub mod inspect;
pub mod locks;
pub mod outside;
pub mod planner;
pub mod system;
pub mod table;
pub mod text;

pub use device::{Geometry, ReadAt, WriteAt};
pub use error::{Error, Result};
pub use extent::{Extent, ExtentMap};
pub use identity::Identity;
pub use outside::Outside;
pub use text::Shown;
