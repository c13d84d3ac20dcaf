//! Whether a volume is still what it was when an update for it was staged.

use super::apply::ReadBack;
use super::room::Space;
use crate::chunk::range_in;
use crate::error::{Error, Result};
use klon_partition::Error as PartitionError;
use klon_partition::bytes::is_zero;
use klon_partition::device::AlignedBuffer;
use klon_partition::filesystem::{probe, usage};
use sha2::{Digest as _, Sha256};

/// The largest write that a power cut never splits.
const SECTOR_BYTES: u64 = 512;

/// How much of a volume is read at once for its witness.
const READ_BYTES_MAX: u64 = 1 << 20;

impl ReadBack {
    /// A power cut between the mark and the rest of the first sectors leaves a volume that can still
    /// be mounted. Once it was changed, the update no longer fits it.
    ///
    /// # Errors
    /// [`Error::Refused`] when it was changed or can't be shown not to be; [`Error::Target`].
    pub(super) fn check_unchanged(&self, space: Space<'_>) -> Result<()> {
        if self.staged.is_begun {
            return Ok(());
        }
        // The first sector has become the mark.
        let is_whole = self.has_old_places(space, SECTOR_BYTES)?;
        match filesystem_token(space)? {
            // Some filesystems change nothing in these places when they are mounted, and others have
            // nothing there that would show a change.
            Some(now) if is_whole && (now.is_none() || now != self.staged.token) => Err(changed()),
            _ => Ok(()),
        }
    }

    /// Checks a volume that lacks its mark. A power cut between the commit of its group and its own mark
    /// leaves it so, and it can be mounted like any other volume.
    ///
    /// # Errors
    /// As [`check_unchanged`](Self::check_unchanged).
    pub(super) fn check_untouched(&self, space: Space<'_>, seen: Option<[u8; 32]>) -> Result<()> {
        let is_same = self.has_old_places(space, 0)?
            && match self.staged.token {
                Some(token) => filesystem_token(space)? == Some(Some(token)),
                None => seen.is_some() && seen == Some(witness(space)?),
            };
        match is_same {
            true => Ok(()),
            false => Err(changed()),
        }
    }

    /// Whether the places that the mark replaces hold what they held, from `from_bytes` on; `false`
    /// where they are zero already.
    fn has_old_places(&self, space: Space<'_>, from_bytes: u64) -> Result<bool> {
        let mut now = vec![0; self.old.content.len()];
        space
            .volume
            .read_exact_at(&mut now, self.old.chunk.offset_bytes())
            .map_err(Error::Target)?;
        let mut is_whole = true;
        let places = self.old.map();
        for sector in places.iter().flat_map(|part| part.split(SECTOR_BYTES)) {
            let range = range_in(self.old.chunk, sector);
            if sector.offset_bytes() < from_bytes
                || now[range.clone()] == self.old.content[range.clone()]
            {
                continue;
            }
            is_whole = false;
            if !is_zero(&now[range]) {
                return Err(changed());
            }
        }
        Ok(is_whole)
    }
}

/// SHA-256 over everything that is in use on a volume, and where: what shows that it was not
/// changed where its filesystem has no change token.
///
/// # Errors
/// [`Error::Target`].
pub(super) fn witness(space: Space<'_>) -> Result<[u8; 32]> {
    let used = usage(&space.volume).map_err(Error::Target)?.extents;
    let mut digest = Sha256::new();
    let mut buffer = AlignedBuffer::zeroed(0);
    for piece in used.iter().flat_map(|extent| extent.split(READ_BYTES_MAX)) {
        let len = usize::try_from(piece.len_bytes()).unwrap_or(0);
        if buffer.len() < len {
            buffer = AlignedBuffer::zeroed(len);
        }
        let bytes = &mut buffer[..len];
        space
            .volume
            .read_exact_at(bytes, piece.offset_bytes())
            .map_err(Error::Target)?;
        digest.update(piece.offset_bytes().to_le_bytes());
        digest.update(piece.len_bytes().to_le_bytes());
        digest.update(&*bytes);
    }
    Ok(digest.finalize().into())
}

fn changed() -> Error {
    Error::Refused(
        "the target was changed after an update for it was staged, or nothing shows that it was not. The \
         update may no longer fit it; clone to it again, from its source"
            .to_owned(),
    )
}

/// The change token, if it has one, of the filesystem on the volume that can be mounted in spite
/// of the mark in its first sector; `None` when there is none.
fn filesystem_token(space: Space<'_>) -> Result<Option<Option<[u8; 32]>>> {
    let Some(filesystem) = probe(&space.volume).map_err(Error::Target)? else {
        return Ok(None);
    };
    match filesystem.change_token(&space.volume) {
        Ok(token) => Ok(Some(token.map(|token| token.0))),
        // A damaged filesystem can't show that it is unchanged.
        Err(PartitionError::Corrupt(_) | PartitionError::Unsupported { .. }) => Ok(Some(None)),
        Err(error) => Err(Error::Target(error)),
    }
}
