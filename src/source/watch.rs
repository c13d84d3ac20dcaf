//! Whether a source is written to by someone else while it is read.

use anyhow::Result;
use klon_partition::device::{Kind, Source, Stamp};
use std::sync::Arc;

/// A source and its state when it was claimed.
#[derive(Clone)]
pub struct Watch {
    source: Arc<Source>,
    before: Stamp,
}

impl Watch {
    /// Begins to watch what was claimed, all of it or a part; `None` where nothing would show its changes alone.
    ///
    /// A device that nobody else can claim is written to by nobody else through a filesystem, but
    /// anyone may write to the device itself; and one that is mounted read-only may be mounted
    /// again to be written. The kernel counts what is written to a device.
    pub fn begin(source: &Arc<Source>, is_part: bool) -> Result<Option<Self>> {
        // What is counted is of the whole disk, whose other partitions may be in use.
        if source.kind() == Kind::Block && is_part && !source.is_exclusive() {
            return Ok(None);
        }
        Self::of(source)
    }

    /// Begins to watch a device or file; `None` where the kernel keeps no account of writes to it.
    pub fn of(source: &Arc<Source>) -> Result<Option<Self>> {
        Ok(source.stamp()?.map(|before| Self {
            source: source.clone(),
            before,
        }))
    }

    /// What happened to the source since; `None` for nothing.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        let now = self.source.stamp()?;
        Ok(now.and_then(|now| self.before.difference(&now)))
    }
}
