//! A manifest for tests.

use super::{Manifest, Role};
use crate::CHUNK_BYTES;
use klon_partition::Identity;

/// Of a backup of one chunk to `target`, that nothing else is known of.
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
        history: Vec::new(),
    }
}
