//! A manifest for tests.

use super::{Manifest, Role};
use crate::CHUNK_BYTES;
use klon_partition::Identity;

/// The manifest of a one-chunk backup to `target`, with nothing else known.
pub(crate) fn manifest(target: &Identity) -> Manifest {
    Manifest {
        source: Identity::Path("/source".to_owned()),
        target: target.clone(),
        source_bytes: CHUNK_BYTES,
        target_bytes: CHUNK_BYTES,
        chunk_bytes: CHUNK_BYTES,
        filesystem: None,
        token: None,
        metadata_digest: None,
        run: None,
        role: Role::Backup,
        outside: klon_partition::Outside::All,
        consistency: Default::default(),
        skipped: Vec::new(),
        grown: Vec::new(),
        is_dormant: false,
        history: Vec::new(),
    }
}
