//! Digests of a clone's metadata: what shows, beside the change token, that a target is still as
//! its record says.

use super::counted::Counted;
use super::spool::Spool;
use crate::chunk::{Digest, range_in};
use crate::error::{Result, io_error};
use klon_partition::{Extent, ExtentMap};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

/// SHA-256 of what lies in `metadata`, one extent after the other; `content` is all of `chunk`,
/// and `digest` its digest, where that is known.
pub(crate) fn digest_of(
    chunk: Extent,
    metadata: &[Extent],
    content: &[u8],
    digest: Option<Digest>,
) -> Digest {
    if metadata == [chunk] {
        return digest.unwrap_or_else(|| Digest::of(&content[range_in(chunk, chunk)]));
    }
    let mut hash = Sha256::new();
    for &extent in metadata {
        hash.update(&content[range_in(chunk, extent)]);
    }
    Digest(hash.finalize().into())
}

/// The one digest over the digests of all chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole(Sha256);

impl Whole {
    pub(crate) fn push(&mut self, digest: Digest) {
        self.0.update(digest.0);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Digests of metadata on their way into a record: kept in a file without a name, because the
/// digests of the chunks come before them and are still being written.
#[derive(Debug)]
pub struct MetadataWriter {
    pub(super) map: ExtentMap,
    spool: Spool,
    path: PathBuf,
    digests: Counted,
    whole: Whole,
}

impl MetadataWriter {
    /// Digests of the chunks of `map`, for the record at `path`.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub(super) fn begin(path: PathBuf, map: ExtentMap) -> Result<Self> {
        let digests_count = crate::chunk::chunks(&map, u64::MAX).count() as u64;
        let spool = Spool::begin(&path, digests_count.saturating_mul(Digest::LEN as u64));
        Ok(Self {
            map,
            spool: spool.map_err(|source| io_error(&path, "begin", source))?,
            path,
            digests: Counted::default(),
            whole: Whole::default(),
        })
    }

    /// Adds the digest of the next chunk that holds metadata.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn push(&mut self, digest: Digest) -> Result<()> {
        self.whole.push(digest);
        self.digests.add();
        let written = self.spool.write(&digest.0);
        written.map_err(|source| io_error(&self.path, "write", source))
    }

    /// The one digest over all of them, as it stands in the manifest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.whole.clone().finish()
    }

    pub(super) const fn len_bytes(&self) -> u64 {
        self.digests.len_bytes()
    }

    /// All digests, from the first.
    pub(super) fn rewind(self) -> io::Result<BufReader<File>> {
        self.spool.rewind()
    }

    /// Checks that there is a digest of each chunk that holds metadata.
    pub(super) fn check(&self, chunks: u64) -> Result<()> {
        self.digests.check("metadata", chunks)
    }
}
