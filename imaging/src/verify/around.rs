//! Reading a source around its bad sectors, for a comparison that goes on behind them.

use crate::chunk::range_in;
use klon_partition::{Error, Extent, ReadAt};
use std::sync::atomic::{AtomicU32, Ordering};

/// How much is read at once around a failure.
const PIECE_BYTES: u64 = 64 << 10;
/// Then: what can't be read of that is not compared.
const BLOCK_BYTES: u64 = 4096;
/// When nothing of this many chunks in a row can be read, the source is gone.
const CHUNKS_MAX: u32 = 8;

/// Reads around bad sectors, and counts chunks that can't be read at all.
#[derive(Default)]
pub(super) struct Around {
    lost_in_row: AtomicU32,
}

impl Around {
    /// A chunk could be read.
    pub(super) fn is_sound(&self) {
        self.lost_in_row.store(0, Ordering::Relaxed);
    }

    /// Reads `extents` of `chunk` into `buffer`. Skips extents that can't be read, and returns them.
    ///
    /// # Errors
    /// When the source is gone; `None` for the error that led here.
    pub(super) fn read(
        &self,
        device: &dyn ReadAt,
        chunk: Extent,
        extents: &[Extent],
        buffer: &mut [u8],
    ) -> Result<Vec<Extent>, Option<Error>> {
        let mut read = |part: Extent| {
            let range = range_in(chunk, part);
            match device.read_exact_at(&mut buffer[range], part.offset_bytes()) {
                Ok(()) => Ok(true),
                Err(Error::Io { .. }) => Ok(false),
                Err(error) => Err(Some(error)),
            }
        };
        let (mut unread, mut is_any_read) = (Vec::new(), false);
        for piece in extents.iter().flat_map(|extent| extent.split(PIECE_BYTES)) {
            if read(piece)? {
                is_any_read = true;
                continue;
            }
            for block in piece.split(BLOCK_BYTES) {
                match read(block)? {
                    true => is_any_read = true,
                    false => unread.push(block),
                }
            }
        }
        if is_any_read {
            self.is_sound();
        } else if self.lost_in_row.fetch_add(1, Ordering::Relaxed) + 1 >= CHUNKS_MAX {
            return Err(None);
        }
        Ok(unread)
    }
}
