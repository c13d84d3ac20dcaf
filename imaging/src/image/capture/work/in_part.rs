//! Chunks that are proven in part: the source is read for the rest alone, and the snapshot before has what is
//! proven.

use super::{Outcome, Read, ReadChunk, Seen, Task, Worker, bytes_of, is_of_this_run};
use crate::chunk::{Digest, range_in, read_chunk, to_len};
use crate::error::{Error, Result};

impl Worker<'_> {
    /// Works on a chunk that is proven in part; `None` where nothing is.
    pub(super) fn in_part(&self, task: &Task) -> Result<Option<Outcome>> {
        let (Some(part), Some(known), Some(previous)) = (&task.part, task.known(), self.previous)
        else {
            return Ok(None);
        };
        if is_of_this_run(previous, &known) {
            return Ok(None);
        }
        let len = to_len(task.chunk.len_bytes());
        let mut stored = self.pool.take();
        if previous.read_chunk(&known, &mut stored[..len]).is_err() {
            return self.anew(task, len).map(Some);
        }
        let mut plain = self.pool.take();
        let read_source_bytes = read_chunk(self.source, task.chunk, &part.unproven, &mut plain)
            .map_err(Error::Source)?;
        self.checks.look(task.chunk, &part.unproven, &plain);
        for &extent in &part.proven {
            let range = range_in(task.chunk, extent);
            plain[range.clone()].copy_from_slice(&stored[range]);
        }
        let plain = plain.freeze().slice(..len);
        let digest = Digest::of(&plain);
        let seen = Seen::InPart {
            unread_bytes: bytes_of(&part.proven),
            signatures: self.signatures(task, &plain),
        };
        let read = Read {
            plain,
            digest,
            read_source_bytes,
            seen,
        };
        self.read_outcome(task, read).map(Some)
    }

    /// Stores a chunk whatever the image has: what that has there is damaged.
    fn anew(&self, task: &Task, len: usize) -> Result<Outcome> {
        let ReadChunk {
            plain,
            read_bytes: read_source_bytes,
        } = self.read(task, len)?;
        self.checks.look(task.chunk, &task.copy, &plain);
        let digest = Digest::of(&plain);
        let seen = Seen::Read(self.signatures(task, &plain));
        let is_same = task.known().is_some_and(|known| known.digest == digest);
        Ok(Outcome {
            chunk: task.chunk,
            read_source_bytes,
            copy_bytes: bytes_of(&task.copy),
            is_changed: !is_same,
            content: self.new_content(plain, digest)?,
            seen,
        })
    }
}
