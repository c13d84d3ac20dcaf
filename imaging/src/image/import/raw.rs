//! A volume that comes as its plain bytes, as `dd` and `partclone.dd` make it.

use super::Stream;
use crate::image::Forward;
use crate::packed::Unpacked;
use klon_partition::Result;
use klon_partition::error::Corrupt;

/// A volume that comes as its plain bytes, in order.
pub struct RawForward {
    stream: Stream<Unpacked>,
    size_bytes: u64,
}

impl RawForward {
    /// The volume of `size_bytes` bytes that `input` is; errors call it `name`.
    #[must_use]
    pub const fn new(input: Unpacked, name: String, size_bytes: u64) -> Self {
        Self {
            stream: Stream::new(input, name),
            size_bytes,
        }
    }

    fn skip_to(&mut self, offset_bytes: u64) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        while self.stream.position() < offset_bytes {
            let len = (offset_bytes - self.stream.position()).min(1 << 16);
            self.stream
                .read(&mut buffer[..usize::try_from(len).unwrap_or(0)])?;
        }
        Ok(())
    }
}

impl Forward for RawForward {
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.skip_to(offset_bytes)?;
        self.stream.read(buffer)
    }

    fn check_rest(&mut self) -> Result<()> {
        self.skip_to(self.size_bytes)?;
        let mut more = [0];
        if self.stream.read_some(&mut more)? == 0 {
            return Ok(());
        }
        let found = format!("more in {}", self.stream.name());
        let expected = format!("the end after {} bytes", self.size_bytes);
        Err(Corrupt::new("raw image", "length", self.size_bytes, expected, found).into())
    }
}
