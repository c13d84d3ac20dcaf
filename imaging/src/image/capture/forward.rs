//! Streams as sources: images of other programs, compressed or not, which are read once and in order.

use crate::chunk::{range_in, to_len};
use crate::error::{Error, Result};
use bytes::Bytes;
use klon_partition::{Error as PartitionError, Extent, ExtentMap, Geometry, ReadAt};

/// A source that can be read once, in order.
pub trait Forward: Send {
    /// Fills `buffer` from `offset_bytes` on, which is never before the end of what was read last.
    /// What the source does not hold is zero.
    ///
    /// # Errors
    /// [`PartitionError::Corrupt`] for content that fails its checks, [`PartitionError::Io`].
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()>;

    /// Goes through what is left and checks it.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    fn check_rest(&mut self) -> klon_partition::Result<()>;
}

/// The size of a stream, as a device that can't be read.
#[derive(Clone, Copy, Debug)]
pub struct ForwardGeometry(pub Geometry);

impl ReadAt for ForwardGeometry {
    fn geometry(&self) -> Geometry {
        self.0
    }

    fn read_exact_at(&self, _buffer: &mut [u8], _offset_bytes: u64) -> klon_partition::Result<()> {
        let what = "reading a source that comes in order at another place";
        Err(PartitionError::unsupported(what, "it comes once"))
    }
}

/// The content of a chunk. `used` of it is wanted; everything else is zero.
pub(super) fn read(stream: &mut dyn Forward, used: &ExtentMap, chunk: Extent) -> Result<Bytes> {
    let mut content = vec![0; to_len(chunk.len_bytes())];
    for part in used.within(chunk) {
        let buffer = &mut content[range_in(chunk, part)];
        let read = stream.read_at(buffer, part.offset_bytes());
        read.map_err(Error::Source)?;
    }
    Ok(content.into())
}
