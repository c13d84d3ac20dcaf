//! How bytes get somewhere and back: cloning volumes, images with snapshots, records, verification.
//!
//! This crate copies what `klon-partition` finds to be in use, and finds out which of it changed
//! since the last time. It interprets no bytes but those of its own formats. It never prints,
//! prompts or reads the environment; progress leaves it as [`progress::Event`]s.
//!
//! # A clone
//!
//! [`clone::clone`] brings all of a volume that is in use to a target, and keeps a [`Record`]:
//! digests of what it copied, and a token that shows whether someone changed the target since. The
//! next run reads the source and writes only what differs. [`verify()`] reads a clone back.
//!
//! ```
//! use klon_imaging::change::{Reliance, Rung, RungChoice};
//! use klon_imaging::clone::{Freed, Rewrite};
//! use klon_imaging::progress::{Runner, Silent};
//! use klon_imaging::verify::Against;
//! use klon_imaging::{CloneOptions, Ends, Job, RecordStore, Update, clone, verify};
//! use klon_partition::device::MemoryDevice;
//! use klon_partition::filesystem::usage;
//! use klon_partition::{Identity, WriteAt};
//! use std::num::NonZeroUsize;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A volume of no filesystem that klon knows, so all of it is copied.
//! let source = MemoryDevice::new(vec![7; 4 << 20], 512);
//! let target = MemoryDevice::zeroed(4 << 20);
//! let used = usage(&source)?;
//! let directory = tempfile::tempdir()?;
//! let records = RecordStore::new(directory.path().to_owned());
//! let (from, to) = (Identity::Path("/source".to_owned()), Identity::Path("/target".to_owned()));
//! let ends = Ends {
//!     source: &source,
//!     usage: &used,
//!     source_identity: &from,
//!     target: &target,
//!     target_identity: &to,
//! };
//! let job = Job::new("Example", ends);
//! let threads = NonZeroUsize::MIN;
//! let options = CloneOptions {
//!     rung: RungChoice::Auto,
//!     rewrite: Rewrite::Blocks,
//!     freed: Freed::Leave,
//!     update: Update::Staged,
//!     threads,
//!     reliance: Reliance::USUAL,
//! };
//! let done = clone(&job, &records, &options, &Silent)?;
//! assert_eq!(done.rung, Rung::Full, "the first time");
//! assert_eq!(target.to_vec(), source.to_vec());
//!
//! // The clone reads back as its record says.
//! let record = records.load(job.target_identity)?.expect("a record");
//! let runner = Runner {
//!     name: "Example",
//!     threads,
//!     observer: &Silent,
//! };
//! let found = verify(&target, &Against::Record(&record), runner)?;
//! assert!(found.is_equal);
//!
//! // Without a filesystem nothing shows whether someone changed the clone: both sides are compared.
//! source.write_all_at(b"new", 3 << 20)?;
//! let done = clone(&job, &records, &options, &Silent)?;
//! assert_eq!(done.rung, Rung::Compare);
//! assert_eq!(done.tally.changed_bytes, 4096, "one block differs");
//! assert_eq!(target.to_vec(), source.to_vec());
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! [`Error`] says which side failed: [`Error::Source`], [`Error::Target`], [`Error::Image`], or a
//! record. A clone that stops is a [`clone::Stopped`]: the error, and the [`clone::Phase`] in which
//! it came. Whatever the phase, nothing half-written looks complete: the target is what it was, or
//! bears the unfinished [`mark`], or is complete ([`Error::AfterCommit`]). The next run goes on from
//! there. Files of this crate's own formats that fail their checks say what is wrong, and where.
//!
//! # Where to go next
//!
//! - [`change`]: how changes are found, and when a record is believed.
//! - [`target_writer`] and [`stage`]: the order of writes, in place and staged.
//! - [`pipeline`]: reading in order, work on several threads, results in order.
//! - [`image`]: many snapshots of disks in one file; [`serve`] shows them as devices.
//! - [`mod@rescue`]: copies of drives with bad sectors.
//! - [`intent`] and [`record`]: what is kept beside a clone, byte by byte.

#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![forbid(unsafe_code)]

pub mod buffer;
pub mod change;
pub mod chunk;
pub mod clock;
pub mod clone;
mod durable;
pub mod error;
mod extents;
pub mod foreign;
mod hex;
pub mod image;
pub mod intent;
pub mod live;
pub mod mark;
mod nbd;
mod own_file;
pub mod packed;
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
mod tally;
pub mod target_writer;
pub mod verify;

pub use chunk::{CHUNK_BYTES, ChunkSize, Digest, Digested, Pieces};
pub use clone::{CloneOptions, CloneSummary, Ends, Job, Phase, Stopped, Update, clone};
pub use error::{Error, Result};
pub use own_file::OwnFile;
pub use progress::{Event, Observer};
pub use record::{Consistency, Manifest, Record, RecordStore, Role};
pub use rescue::{RescueOptions, RescueSummary, rescue};
pub use tally::Tally;
pub use verify::{Difference, VerifySummary, verify};
