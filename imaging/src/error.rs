//! What can go wrong while bytes are moved.

use crate::spot::Area;
use klon_partition::Error as PartitionError;
use klon_partition::Extent;
use klon_partition::Shown;
use klon_partition::error::{Corrupt, Remedy};
use klon_partition::planner::human_size;
use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while bytes are moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source could not be read.
    #[error("source: {0}")]
    Source(#[source] PartitionError),
    /// Nothing of the source can be read any more, so the failures do not count as bad sectors.
    #[error(
        "source: the last {failed_reads} reads failed, and so did reads of {places} places {}. The \
         source is off, detached or dead, or its cable is bad, so these places are not taken for bad \
         sectors",
        if *was_read { "that could be read before" } else { "all over it" }
    )]
    SourceGone {
        /// Reads in a row that failed.
        failed_reads: u64,
        /// How many other places were tried.
        places: u64,
        /// Whether these places could be read before.
        was_read: bool,
    },
    /// The target could not be read or written. It is marked as unfinished if anything was
    /// written; the next run completes it.
    #[error("target: {0}")]
    Target(#[source] PartitionError),
    /// A record could not be read or written.
    #[error("record {}: {doing}: {source}", path.shown())]
    RecordIo {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A record, log or map whose content fails its checks.
    #[error("{}: {corrupt}", path.shown())]
    RecordCorrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        corrupt: Corrupt,
    },
    /// An image could not be read, or is damaged.
    #[error("image: {0}")]
    Image(#[source] PartitionError),
    /// An image could not be written. What was committed before is as it was.
    #[error("image: write: {0}")]
    ImageWrite(#[source] io::Error),
    /// The source was changed by someone else while it was read.
    #[error(
        "the source changed while it was read ({0}), so what was read may mix two states and is \
         not used. Keep everything else off the source and run the same command again"
    )]
    SourceChanged(String),
    /// The clone is complete and durable, but a step after the commit failed.
    #[error(
        "the clone is complete and in its place, but its record could not be kept, so the next run \
         compares all of it: {0}"
    )]
    AfterCommit(#[source] Box<Self>),
    /// A staged update is not what was staged.
    #[error(
        "the update staged on the {area} is damaged: {corrupt}. Clone to this target again, from its \
         source"
    )]
    StageCorrupt {
        /// On which device.
        area: Area,
        /// What is wrong, and where on the device.
        corrupt: Corrupt,
    },
    /// An update is larger than the room to stage it in. The target is what it was.
    #[error(
        "the update is larger than the {} that are free on the target, so it can't be staged. The \
         earlier clone stays intact, and nothing was written over it",
        human_size(*room_bytes)
    )]
    NoRoom {
        /// The room that there was.
        room_bytes: u64,
    },
    /// Someone asked for the run to stop.
    #[error("interrupted. What was done is kept; run the same command again to go on")]
    Interrupted,
    /// Going on would risk data.
    #[error("refused: {0}")]
    Refused(String),
    /// Going on would risk data, and happens only when the user asks for it explicitly.
    #[error("refused: {reason}")]
    RefusedUnless {
        /// What would be at risk.
        reason: String,
        /// What must be asked for.
        remedy: Remedy,
    },
    /// A run was about to break its own plan. Each use says why types can't rule it out.
    #[error("internal error: {0}. Nothing more was written. Please report this")]
    Internal(String),
}

impl Error {
    /// Says that a run was about to write bytes that its plan leaves alone. What may be written is a map that
    /// is known when the run begins, so each place that writes or stages asks it: a mistake costs the run then,
    /// and no data.
    pub(crate) fn not_to_be_written(extent: Extent) -> Self {
        Self::Internal(format!("{extent} is not to be written"))
    }

    /// Says that there is nothing to read.
    pub(crate) fn no_bytes() -> Self {
        Self::Refused("the source has no bytes".to_owned())
    }
}

/// Says that the file at `path` could not be read or written.
pub(crate) fn io_error(path: &Path, doing: &'static str, source: io::Error) -> Error {
    Error::RecordIo {
        path: path.to_owned(),
        doing,
        source,
    }
}

/// Says that the content of the file at `path` fails its checks.
pub(crate) fn corrupt(path: &Path, corrupt: Corrupt) -> Error {
    Error::RecordCorrupt {
        path: path.to_owned(),
        corrupt,
    }
}
