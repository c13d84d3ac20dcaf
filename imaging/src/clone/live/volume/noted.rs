//! What is noted of each chunk of a pass, in order.

use crate::chunk::{self, Digest, Pieces};
use crate::clone::work::{Outcome, Seen};
use crate::live::Ice;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;

/// Chunks of a volume of which the digests of pieces are kept between passes: they take 128 MiB then. They
/// can't wait in a file, as nothing is written while sources are at rest; without them the next run reads more.
const IN_PIECES_MAX: u64 = 1 << 19;

/// The digest of a chunk, and those of its pieces where they are known.
pub(super) struct ChunkDigests {
    pub(super) digest: Digest,
    pub(super) pieces: Option<Box<Pieces>>,
}

/// What is noted of each chunk of a pass, in order.
pub(super) struct Noted {
    /// By the numbers of the chunks.
    pub(super) digests: Vec<Option<ChunkDigests>>,
    keeps_pieces: bool,
    /// Those of the metadata in each chunk that has any.
    pub(super) metadata: Vec<Digest>,
    /// Signatures of data that is written past the filesystem, by chunks.
    pub(super) signatures: BTreeMap<u64, Vec<Extent>>,
    /// The chunks that were read.
    pub(super) read: ExtentMapBuilder,
    pub(super) changed: ExtentMapBuilder,
    pub(super) read_source_bytes: u64,
    pub(super) read_target_bytes: u64,
}

impl Noted {
    /// Of a volume of so many chunks.
    pub(super) fn of(chunks: u64) -> Self {
        Self {
            digests: (0..chunks).map(|_| None).collect(),
            keeps_pieces: chunks <= IN_PIECES_MAX,
            metadata: Vec::new(),
            signatures: BTreeMap::new(),
            read: ExtentMapBuilder::new(),
            changed: ExtentMapBuilder::new(),
            read_source_bytes: 0,
            read_target_bytes: 0,
        }
    }

    /// Notes what was found out about a chunk. `before` has the signatures that earlier runs found.
    pub(super) fn add(&mut self, outcome: &Outcome, before: Option<&ExtentMap>, ice: &Ice<'_>) {
        let number = chunk::index(outcome.chunk);
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(digest) = self.digests.get_mut(at) {
            *digest = Some(ChunkDigests {
                digest: outcome.digest,
                pieces: outcome.pieces.clone().filter(|_| self.keeps_pieces),
            });
        }
        self.metadata.extend(outcome.metadata);
        let signatures: Vec<Extent> = match &outcome.seen {
            Seen::Read(signatures) => {
                self.read.push(outcome.chunk);
                signatures.clone()
            }
            Seen::InPart {
                signatures,
                untouched,
                ..
            } => {
                self.read.push(outcome.chunk);
                let before = before.map(|map| map.intersection(untouched));
                let found: ExtentMap = signatures.iter().copied().collect();
                found.union(&before.unwrap_or_default()).iter().collect()
            }
            Seen::Kept | Seen::Proven(_) | Seen::Same(_) => {
                let before = before.into_iter().flat_map(|map| map.within(outcome.chunk));
                before.collect()
            }
        };
        if !signatures.is_empty() {
            self.signatures.insert(number, signatures);
        }
        self.read_source_bytes += outcome.read_source_bytes;
        self.read_target_bytes += outcome.read_target_bytes;
        ice.read(outcome.read_source_bytes);
        for &extent in &outcome.changed {
            self.changed.push(extent);
        }
    }
}
