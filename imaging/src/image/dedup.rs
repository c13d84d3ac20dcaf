//! Which chunks an image has already, wherever they lie in a volume.

use super::reference::Reference;
use crate::chunk::Digest;
use std::collections::HashMap;

/// Chunks that are known at most. Beyond that only those that a chunk's own place had before are
/// found, which needs no memory.
const CHUNKS_MAX: usize = 1_500_000;

/// Chunks by their digest.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    known: HashMap<Digest, (u64, u32)>,
}

impl Dedup {
    /// Notes a stored chunk.
    pub(super) fn insert(&mut self, reference: &Reference) {
        if !reference.is_zero() && self.known.len() < CHUNKS_MAX {
            let place = (reference.position, reference.stored_bytes);
            self.known.insert(reference.digest, place);
        }
    }

    /// Where a chunk of `plain_bytes` with this digest is stored.
    pub(super) fn find(&self, digest: Digest, plain_bytes: u32) -> Option<Reference> {
        let &(position, stored_bytes) = self.known.get(&digest)?;
        Some(Reference {
            position,
            stored_bytes,
            plain_bytes,
            digest,
        })
    }
}
