//! What is taken over of a pass, once the source goes on.

use super::way::PassEnd;
use super::{Against, Copied, Ended, Known, Pass, Taken, Volume};
use crate::chunk;
use crate::error::Result;
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;

impl Volume<'_> {
    /// Takes over what a pass copied. What it returns is of use if that pass is the last one.
    ///
    /// # Errors
    /// [`crate::Error::Target`].
    pub(in crate::clone::live) fn take(&mut self, copied: Copied<'_>) -> Result<Taken> {
        let Copied {
            pass,
            way,
            held,
            noted,
            checked,
            ..
        } = copied;
        let PassEnd {
            is_marked,
            written_bytes,
        } = way.end()?;
        let done = &mut self.done;
        done.is_marked |= is_marked;
        done.written_bytes = done.written_bytes.saturating_add(written_bytes);
        done.read_source_bytes += noted.read_source_bytes;
        done.read_target_bytes += noted.read_target_bytes;
        done.changed = done.changed.union(&noted.changed.finish());
        let read = noted.read.finish();
        done.unread = match pass.against {
            Against::Record => read.complement(self.live.job.source.geometry().size_bytes),
            Against::Pass(_) => done.unread.difference(&read),
        };
        let found = match &checked {
            Ok(Some(checked)) => {
                done.checksummed_bytes += checked.compared_bytes;
                checked.damaged.union(&checked.unchecked)
            }
            Ok(None) => ExtentMap::new(),
            // Nothing of what was read could be compared.
            Err(_) => read.clone(),
        };
        self.known.digests = noted.digests;
        self.known.replace(&read, noted.signatures, &found);
        Ok(Taken {
            held,
            metadata: noted.metadata,
            checked,
        })
    }

    /// Keeps what a pass found for the next one, or for the end.
    pub(in crate::clone::live) fn keep(&mut self, mut pass: Pass, taken: Taken) -> Ended {
        let known = &mut self.known;
        let signatures: ExtentMap = known.signatures.values().flatten().copied().collect();
        let (found, described) = (&pass.found, pass.wanted.clone());
        known
            .last
            .follow(found, described, &mut pass.drafts, &signatures);
        self.done.figures.metadata_read_bytes += pass.figures.metadata_read_bytes;
        Ended { pass, taken }
    }
}

impl Known {
    /// Replaces what was found in chunks that were `read` again.
    fn replace(
        &mut self,
        read: &ExtentMap,
        signatures: BTreeMap<u64, Vec<Extent>>,
        damaged: &ExtentMap,
    ) {
        let chunk_at = |number: u64| Extent::new(number * chunk::CHUNK_BYTES, chunk::CHUNK_BYTES);
        let is_read = |number| chunk_at(number).is_some_and(|chunk| read.overlaps(chunk));
        self.signatures.retain(|&number, _| !is_read(number));
        self.signatures.extend(signatures);
        self.last.damaged = self.last.damaged.difference(read).union(damaged);
    }
}
