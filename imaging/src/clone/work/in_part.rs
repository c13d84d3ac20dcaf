//! Chunks that are proven in part: the source is read for the rest alone, and the target has what is proven.

use super::{Current, Knowledge, Outcome, Seen, Worker};
use crate::chunk::{Digest, differing, range_in, read_chunk, read_data, to_len};
use crate::clone::task::{Part, Task};
use crate::error::{Error, Result};
use crate::record::digest_of;
use klon_partition::ExtentMap;

impl Worker<'_> {
    /// Works on a chunk that is proven in part. If the rest is metadata, and is as the record says, so is the
    /// chunk. Else the target is read, too. If its chunk has the digest of the record, it has the proven part,
    /// and what was read of the source replaces the rest. If not, the target has something else, and the
    /// source is read whole.
    pub(super) fn in_part(&self, task: &Task, part: &Part) -> Result<Outcome> {
        let chunk = task.chunk;
        let mut content = self.pool.take();
        let read_source_bytes =
            read_chunk(self.source, chunk, &part.extents.unproven, &mut content)
                .map_err(Error::Source)?;
        let metadata =
            (!task.metadata.is_empty()).then(|| digest_of(chunk, &task.metadata, &content, None));
        let unread_bytes = part.extents.proven.iter().map(|it| it.len_bytes()).sum();
        if metadata.is_some() && metadata == part.metadata {
            self.compare_sums(chunk, &part.extents.unproven, &content);
            return Ok(Outcome {
                metadata,
                read_source_bytes,
                ..self.same(task, part.digest, Seen::Same(unread_bytes), 0)
            });
        }
        let current = self.current_of(task, part)?;
        if Digest::of_extents(chunk, &part.extents.described, &current.content) != part.digest {
            let outcome = self.whole(task, Knowledge::Unknown, Some(current))?;
            return Ok(Outcome {
                read_source_bytes: outcome.read_source_bytes.saturating_add(read_source_bytes),
                ..outcome
            });
        }
        self.compare_sums(chunk, &part.extents.unproven, &content);
        for &extent in &part.extents.proven {
            let range = range_in(chunk, extent);
            content[range.clone()].copy_from_slice(&current.content[range]);
        }
        let content = content.freeze().slice(..to_len(chunk.len_bytes()));
        let digest = Digest::of(&content);
        Ok(Outcome {
            chunk,
            digest,
            metadata: (!task.metadata.is_empty())
                .then(|| digest_of(chunk, &task.metadata, &content, Some(digest))),
            changed: differing(chunk, &task.wanted, &content, &current.content),
            wanted_bytes: task.wanted_bytes(),
            read_source_bytes,
            read_target_bytes: current.read_bytes,
            seen: Seen::InPart {
                unread_bytes,
                signatures: self.signatures(task, &content),
            },
            content,
        })
    }

    /// What the target has of a chunk: all that the record describes and all that is in use now.
    fn current_of(&self, task: &Task, part: &Part) -> Result<Current> {
        let described: ExtentMap = part.extents.described.iter().copied().collect();
        let wanted: ExtentMap = task.wanted.iter().copied().collect();
        let all = described.union(&wanted);
        let mut content = self.pool.take();
        let read_bytes = read_data(self.target, task.chunk, all.extents(), &mut content)
            .map_err(Error::Target)?;
        Ok(Current {
            content,
            read_bytes,
        })
    }
}
