//! Chunks that are proven in part: the source is read for the rest alone, and the target has what is proven.

use super::{Current, Knowledge, Outcome, Seen, Worker};
use crate::chunk::{Pieces, differing, range_in, read_chunk, to_len, touched};
use crate::clone::task::{PartlyProven, Task};
use crate::error::{Error, Result};
use crate::record::digest_of;
use klon_partition::{Extent, ExtentMap};

impl Worker<'_> {
    /// Works on a chunk that is proven in part.
    ///
    /// Where the rest is metadata, and that is as the record says, so is the chunk. Otherwise the target is read,
    /// too: where it has what the record says, it has the proven part, and what was read of the source comes
    /// over that. Where the record knows the digests of the chunk's pieces, only those pieces are read in which
    /// anything may have changed, and of these none that the source shows to be as recorded. Where the target has
    /// something else, the source is read whole, and the target is known to be another one.
    pub(super) fn in_part(&self, task: &Task, part: &PartlyProven) -> Result<Outcome> {
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
        let there = match self.on_target(task, part, &content)? {
            Ok(there) => there,
            Err(current) => {
                let outcome = self.whole(task, Knowledge::Unknown, current)?;
                return Ok(Outcome {
                    read_source_bytes: outcome.read_source_bytes.saturating_add(read_source_bytes),
                    ..outcome
                });
            }
        };
        let OnTarget {
            current,
            read,
            same,
            pieces,
        } = there;
        self.compare_sums(chunk, &part.extents.unproven, &content);
        let within = |extents: &[Extent]| -> Vec<Extent> {
            let extents: ExtentMap = extents.iter().copied().collect();
            extents.intersection(&read).iter().collect()
        };
        for extent in within(&part.extents.proven) {
            let range = range_in(chunk, extent);
            content[range.clone()].copy_from_slice(&current.content[range]);
        }
        let content = content.freeze().slice(..to_len(chunk.len_bytes()));
        let (digest, pieces) = match pieces {
            Some(mut pieces) => {
                pieces.replace(chunk, &read, &[chunk], &content);
                (pieces.digest(), Some(pieces))
            }
            None => self.digest(&content, false),
        };
        Ok(Outcome {
            chunk,
            digest,
            pieces,
            metadata: self.metadata(task, &content, digest),
            changed: differing(chunk, &within(&task.wanted), &content, &current.content),
            wanted_bytes: task.wanted_bytes(),
            read_source_bytes,
            read_target_bytes: current.read_bytes,
            seen: Seen::InPart {
                unread_bytes,
                signatures: self.signatures(task, &content),
                untouched: ExtentMap::from(chunk).difference(&read.union(&same)),
            },
            content,
        })
    }

    /// What the target has of a chunk where anything may have changed, when that is as the record says; else what
    /// was read, if that is all of the chunk. `content` has what was read of the source.
    fn on_target(
        &self,
        task: &Task,
        part: &PartlyProven,
        content: &[u8],
    ) -> Result<std::result::Result<OnTarget, Option<Current>>> {
        let chunk = task.chunk;
        let pieces = task.pieces.clone();
        let pieces = pieces.filter(|pieces| pieces.digest() == part.digest);
        let (read, same) = match &pieces {
            Some(pieces) => {
                let touched = touched(chunk, &needed(task, part));
                let same = shown_same(task, part, pieces, &touched, content);
                (touched.difference(&same), same)
            }
            None => (ExtentMap::from(chunk), ExtentMap::new()),
        };
        let current = self.current_of(task, part, &read)?;
        let described = &*part.extents.described;
        let is_as_recorded = match &pieces {
            Some(pieces) => pieces.has(chunk, &read, described, &current.content),
            None => self.digested.of_extents(chunk, described, &current.content) == part.digest,
        };
        Ok(match (is_as_recorded, &pieces) {
            (true, _) => Ok(OnTarget {
                current,
                read,
                same,
                pieces,
            }),
            (false, Some(_)) => Err(None),
            (false, None) => Err(Some(current)),
        })
    }

    /// What the target has in `within` of a chunk: all that the record describes and all that is in use now.
    fn current_of(&self, task: &Task, part: &PartlyProven, within: &ExtentMap) -> Result<Current> {
        let described: ExtentMap = part.extents.described.iter().copied().collect();
        let wanted: ExtentMap = task.wanted.iter().copied().collect();
        let all = described.union(&wanted).intersection(within);
        self.current(task.chunk, all.extents())
    }
}

/// What of the chunk is to be had from the target where the source does not have it as recorded: what may have
/// changed, and proven metadata, whose digest goes into the record.
fn needed(task: &Task, part: &PartlyProven) -> ExtentMap {
    let map = |extents: &[Extent]| extents.iter().copied().collect::<ExtentMap>();
    let metadata = map(&task.metadata).intersection(&map(&part.extents.proven));
    part.extents.touched.union(&metadata)
}

/// Those of the pieces `among` that were read whole from the source, into `content`, and have the digest of the
/// record. The record describes all of what is in use there.
fn shown_same(
    task: &Task,
    part: &PartlyProven,
    pieces: &Pieces,
    among: &ExtentMap,
    content: &[u8],
) -> ExtentMap {
    let chunk = task.chunk;
    let map = |extents: &[Extent]| extents.iter().copied().collect::<ExtentMap>();
    // A block that is in use only now may be zero and leave the digest as it was, while the target holds
    // something old there.
    let new = map(&task.wanted).difference(&map(&part.extents.described));
    let unknown = map(&part.extents.proven).union(&new);
    let read = among.difference(&touched(chunk, &unknown));
    let mut found = pieces.clone();
    found.replace(chunk, &read, &[chunk], content);
    read.difference(&pieces.differing(chunk, &found))
}

/// What was read of a target, and is as its record says.
struct OnTarget {
    current: Current,
    /// The pieces that were read: all of the chunk where nothing is known of them.
    read: ExtentMap,
    /// The pieces that were not, as the source shows them to be as recorded.
    same: ExtentMap,
    pieces: Option<Box<Pieces>>,
}
