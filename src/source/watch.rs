//! Whether a source is written to by someone else while it is read.

use crate::still::snapshot::State;
use anyhow::Result;
use klon_partition::device::{Kind, Source, Stamp};
use std::sync::Arc;

/// A source and its state when it was claimed.
#[derive(Clone)]
pub struct Watch {
    /// The kernel's account of writes, and what it was; `None` where there is none.
    account: Option<(Arc<Source>, Stamp)>,
    /// Whether the source's LVM snapshot is whole, if it is read from one.
    snapshot: Option<Arc<State>>,
}

impl Watch {
    /// Begins to watch what was claimed, all of it or a part; `None` where nothing would show its changes alone.
    ///
    /// A device that nobody else can claim is written to by nobody else through a filesystem, but
    /// anyone may write to the device itself; and one that is mounted read-only may be mounted
    /// again to be written. The kernel counts what is written to a device.
    ///
    /// # Errors
    /// When the source's size and times, or the kernel's account of writes, can't be read.
    pub fn begin(source: &Arc<Source>, is_part: bool) -> Result<Option<Self>> {
        // The kernel counts writes to the whole disk, and its other partitions may be in use.
        if source.kind() == Kind::Block && is_part && !source.is_exclusive() {
            return Ok(None);
        }
        Self::of(source)
    }

    /// Begins to watch a device or file; `None` where the kernel keeps no account of writes to it.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin).
    pub fn of(source: &Arc<Source>) -> Result<Option<Self>> {
        Ok(source.stamp()?.map(|before| Self {
            account: Some((source.clone(), before)),
            snapshot: None,
        }))
    }

    /// Begins to watch a snapshot of LVM. Nobody writes to it, but LVM may give it up.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin).
    pub fn of_snapshot(source: &Arc<Source>, state: Arc<State>) -> Result<Self> {
        let before = source.stamp()?;
        Ok(Self {
            account: before.map(|before| (source.clone(), before)),
            snapshot: Some(state),
        })
    }

    /// What happened to the source since; `None` for nothing.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin), and when LVM can't be asked for a snapshot.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        if let Some(state) = &self.snapshot
            && let Some(end) = state.broken()?
        {
            return Ok(Some(end));
        }
        let Some((source, before)) = &self.account else {
            return Ok(None);
        };
        let now = source.stamp()?;
        Ok(now.and_then(|now| before.difference(&now)))
    }
}
