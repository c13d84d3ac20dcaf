//! How bytes get somewhere and back: plan of a run, pipeline, change detection, records, verify.
//!
//! This crate moves bytes and interprets none but its own formats. It never prints, prompts or
//! reads the environment; progress leaves it as [`progress::Event`]s.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![forbid(unsafe_code)]

pub mod buffer;
pub mod change;
pub mod chunk;
pub mod clock;
pub mod clone;
pub mod commit;
mod durable;
pub mod error;
mod extents;
pub mod foreign;
mod hex;
pub mod image;
pub mod intent;
pub mod mark;
mod own_file;
mod pieces;
pub mod pipeline;
pub mod plan;
pub mod progress;
pub mod record;
pub mod rescue;
mod rung;
mod section;
pub mod serve;
mod source;
mod spot;
pub mod stage;
pub mod verify;

pub use chunk::{CHUNK_BYTES, ChunkSize, Digest};
pub use clone::{CloneOptions, CloneSummary, Job, Update, clone};
pub use error::{Error, Result};
pub use own_file::OwnFile;
pub use progress::{Event, Observer};
pub use record::{Manifest, Record, RecordStore, Role};
pub use rescue::{RescueOptions, RescueSummary, rescue};
pub use verify::{Difference, VerifySummary, verify};
