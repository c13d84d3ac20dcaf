//! Which chunks an image has already, wherever they lie in a volume.

use super::reference::Reference;
use crate::chunk::Digest;
use std::collections::HashMap;

/// The most chunks that are remembered, in about 100 MiB. Beyond that, a chunk is found only at its own
/// place of the snapshot before, which needs no memory.
const CHUNKS_MAX: usize = 1_500_000;
/// How many tables there are, by the first byte of the digest. A table that grows needs three times its
/// memory for a moment; with many tables that is little.
const TABLES: usize = 64;

/// Chunks by their digest.
#[derive(Debug)]
pub(super) struct Dedup {
    known: [HashMap<Digest, (u64, u32)>; TABLES],
    count: usize,
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            known: std::array::from_fn(|_| HashMap::new()),
            count: 0,
        }
    }
}

impl Dedup {
    /// Notes a stored chunk.
    pub(super) fn insert(&mut self, reference: &Reference) {
        if !reference.is_zero() && self.count < CHUNKS_MAX {
            let place = (reference.position, reference.stored_bytes);
            let table = &mut self.known[table_of(reference.digest)];
            let before = table.insert(reference.digest, place);
            self.count += usize::from(before.is_none());
        }
    }

    /// Where a chunk of `plain_bytes` with this digest is stored.
    pub(super) fn find(&self, digest: Digest, plain_bytes: u32) -> Option<Reference> {
        let &(position, stored_bytes) = self.known[table_of(digest)].get(&digest)?;
        Some(Reference {
            position,
            stored_bytes,
            plain_bytes,
            digest,
        })
    }
}

fn table_of(digest: Digest) -> usize {
    usize::from(digest.0[0]) % TABLES
}
