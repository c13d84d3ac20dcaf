//! What is known of each byte while a rescue goes on, and the files that keep it.

use super::file::{self, Origin};
use super::first;
use super::passes::Pass;
use super::start::Begun;
use super::status::{Status, StatusMap};
use crate::chunk::{self, Digest, range_in};
use crate::error::Result;
use crate::progress::{Event, Observer};
use crate::target_writer::TargetWriter;
use bytes::Bytes;
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the map is saved: each time costs a sync of the target.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Digests that are kept in memory, enough for a tebibyte; further chunks are read back.
const DIGESTS_MAX: usize = 1 << 20;

/// The state of a rescue.
pub(super) struct Ledger<'a> {
    map: &'a Path,
    observer: &'a dyn Observer,
    pub(super) statuses: StatusMap,
    pub(super) origin: Origin,
    /// The first chunk, which comes to the target last.
    pub(super) first: Extent,
    pub(super) held: Vec<u8>,
    is_held_new: bool,
    /// Digests of chunks that came to the target with one read.
    pub(super) digests: BTreeMap<u64, Digest>,
    saved: Instant,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(
        map: &'a Path,
        observer: &'a dyn Observer,
        first: Extent,
        begun: Begun,
    ) -> Self {
        // What was kept for an earlier run is kept for this one.
        let is_held_new = begun.statuses.with(Status::Finished).overlaps(first);
        Self {
            map,
            observer,
            statuses: begun.statuses,
            origin: begun.origin,
            first,
            held: begun.held,
            is_held_new,
            digests: BTreeMap::new(),
            saved: Instant::now(),
        }
    }

    /// `extents` of `chunk` were read. They are on the target, unless the chunk is the first.
    pub(super) fn rescued(&mut self, chunk: Extent, content: &Bytes, extents: &[Extent]) {
        if chunk == self.first {
            for &extent in extents {
                let range = range_in(chunk, extent);
                self.held[range.clone()].copy_from_slice(&content[range]);
            }
            self.is_held_new = true;
        }
        self.settle(extents, Status::Finished);
    }

    /// The digest of all of a chunk that is on the target now.
    pub(super) fn digested(&mut self, chunk: Extent, digest: Digest) {
        if self.digests.len() < DIGESTS_MAX {
            self.digests.insert(chunk::index(chunk), digest);
        }
    }

    /// `extents` could not be read.
    pub(super) fn failed(&mut self, pass: Pass, extents: &[Extent]) {
        let failed = if self.statuses.is_full() {
            Status::Bad
        } else {
            pass.failed
        };
        if failed == Status::Bad && pass.from != Status::Bad {
            self.settle(extents, failed);
        } else {
            for &extent in extents {
                self.statuses.set(extent, failed);
            }
        }
    }

    /// Gives extents a status that may be final.
    fn settle(&mut self, extents: &[Extent], status: Status) {
        for &extent in extents {
            self.statuses.set(extent, status);
        }
        let bytes = extents.iter().map(|extent| extent.len_bytes()).sum();
        self.observer.event(&Event::Advanced { bytes });
    }

    /// Saves the map now and then.
    pub(super) fn save_if_due(&mut self, writer: &TargetWriter<'_>) -> Result<()> {
        match self.saved.elapsed() >= SAVE_EVERY {
            true => self.save(writer),
            false => Ok(()),
        }
    }

    /// Saves the map once what it says is durable. The first chunk is not on the target yet: the
    /// map, which others read too, calls it untried, and what was read of it is kept beside.
    pub(super) fn save(&mut self, writer: &TargetWriter<'_>) -> Result<()> {
        writer.checkpoint()?;
        if self.is_held_new {
            let good: ExtentMap = self
                .statuses
                .with(Status::Finished)
                .within(self.first)
                .collect();
            first::save(self.map, self.origin.run, &good, &self.held)?;
            self.is_held_new = false;
        }
        let mut durable = self.statuses.clone();
        durable.replace(self.first, Status::Finished, Status::NonTried);
        file::save(self.map, &self.origin, &durable, false)?;
        self.saved = Instant::now();
        Ok(())
    }
}
