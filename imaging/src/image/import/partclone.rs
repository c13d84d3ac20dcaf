//! Images of partclone, formats 0001 and 0002.
//!
//! ```text
//! header       110 bytes (0002) or 4160 (0001)
//! used blocks  0002: one bit a block and a CRC, or one byte a block; 0001: one byte a block;
//!              bytes are followed by "BiTmAgIc"
//! blocks       those in use, in order, with a checksum behind every so many of them and behind the
//!              last
//! ```

mod bitmap;
mod checksum;
mod header;

pub use header::{Checksum, Header};

use super::Stream;
use crate::image::Forward;
use bitmap::Bitmap;
use checksum::Running;
use klon_partition::error::Corrupt;
use klon_partition::{ExtentMap, Result};
use std::io::Read;

/// The first bytes of every image of partclone (field `magic` of the image header).
pub const MAGIC: &[u8] = b"partclone-image";

/// The volume in an image of partclone, formats 0001 and 0002. It is read in order, from any stream.
pub struct Partclone<R> {
    stream: Stream<R>,
    header: Header,
    bitmap: Bitmap,
    running: Running,
    /// The next block of the volume.
    next: u64,
    /// Blocks since the last checksum, and the first of them.
    in_strip: u32,
    strip: u64,
    /// The block that was read last, and its number plus one.
    block: Vec<u8>,
    held: u64,
    /// Bytes behind each checksum of format 0001: 4 in images of some 64-bit versions. `None`
    /// until that is known.
    extra: Option<usize>,
}

impl<R: Read + Send> Partclone<R> {
    /// Reads header and bitmap of the image that is in `input`; errors call it `name`.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] for a header or a bitmap that fails its checks,
    /// [`klon_partition::Error::Unsupported`] for another version, [`klon_partition::Error::Io`] when
    /// `input` fails or ends early.
    pub fn open(input: R, name: String) -> Result<Self> {
        let mut stream = Stream::new(input, name);
        let header = Header::read(&mut stream)?;
        let bitmap = Bitmap::read(&mut stream, &header)?;
        Ok(Self {
            running: Running::new(header.checksum),
            extra: (header.version != 1).then_some(0),
            stream,
            header,
            bitmap,
            next: 0,
            in_strip: 0,
            strip: 0,
            block: Vec::new(),
            held: 0,
        })
    }

    /// What the image says of itself in its header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The blocks that are in the image, in bytes of the volume. Where they are in very many pieces, small
    /// gaps between the pieces count as in the image.
    #[must_use]
    pub fn used(&self) -> ExtentMap {
        self.bitmap.extents(&self.header)
    }

    /// Goes on to a block, and tells whether the image has it. If so, `self.block` holds it.
    fn load(&mut self, number: u64) -> Result<bool> {
        if self.held == number + 1 {
            return Ok(true);
        }
        while self.next <= number {
            if !self.bitmap.is_used(self.next) {
                let skip_to = self.bitmap.next_used(self.next, number + 1);
                self.next = skip_to;
                continue;
            }
            self.read_block()?;
        }
        Ok(self.held == number + 1)
    }

    fn read_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            self.block = self.stream.read_vec(self.header.block_bytes.into())?;
        } else {
            self.stream.read(&mut self.block)?;
        }
        if self.in_strip == 0 {
            self.strip = self.next;
        }
        self.running.update(&self.block);
        self.in_strip += 1;
        self.next += 1;
        self.held = self.next;
        if self.header.checksum != Checksum::None && self.in_strip == self.header.strip_blocks {
            self.check()?;
        }
        Ok(())
    }

    /// Reads and compares the checksum of the strip that ends here.
    fn check(&mut self) -> Result<()> {
        let expected = self.running.value();
        let position = self.stream.position();
        let mut stored = vec![0; expected.len()];
        self.stream.read(&mut stored)?;
        if stored != expected {
            let (first, last, name) = (self.strip, self.next - 1, self.stream.name());
            let found = format!(
                "{} for the used blocks from {first} to {last} of {name}",
                hex(&stored)
            );
            let field = "checksum of blocks";
            let expected = hex(&expected);
            return Err(Corrupt::new("partclone image", field, position, expected, found).into());
        }
        self.in_strip = 0;
        if self.header.reseeds {
            self.running = Running::new(self.header.checksum);
        }
        self.skip_extra()
    }

    /// Some 64-bit versions wrote 8 bytes for each checksum of format 0001. The second checksum shows
    /// whether this one did.
    fn skip_extra(&mut self) -> Result<()> {
        let extra = match self.extra {
            Some(extra) => extra,
            None => {
                let extra = self.find_extra()?;
                self.extra = Some(extra);
                extra
            }
        };
        self.stream.skip(extra)
    }

    fn find_extra(&mut self) -> Result<usize> {
        let block_len = self.block.len();
        let ahead = self.stream.peek(block_len + 8)?;
        let fits = |skip: usize| {
            let rest = ahead.get(skip..)?;
            let (block, rest) = rest.split_at_checked(block_len)?;
            let mut running = self.running.clone();
            running.update(block);
            Some(rest.get(..4)? == running.value())
        };
        Ok(match (fits(0), fits(4)) {
            _ if ahead.len() < block_len => ahead.len().min(4),
            (Some(true), _) => 0,
            (_, Some(true)) => 4,
            // The next checksum says what is wrong.
            _ => 0,
        })
    }
}

impl<R: Read + Send> Forward for Partclone<R> {
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let block_bytes = u64::from(self.header.block_bytes);
        let (mut done, mut position) = (0, offset_bytes);
        while done < buffer.len() {
            let number = position / block_bytes;
            let within = usize::try_from(position % block_bytes).unwrap_or(0);
            let rest = self.header.block_bytes as usize - within;
            let len = rest.min(buffer.len() - done);
            let out = &mut buffer[done..done + len];
            if number < self.header.blocks && self.load(number)? {
                out.copy_from_slice(&self.block[within..within + len]);
            } else {
                out.fill(0);
            }
            done += len;
            position += len as u64;
        }
        Ok(())
    }

    fn check_rest(&mut self) -> Result<()> {
        if self.header.blocks > 0 {
            self.load(self.header.blocks - 1)?;
        }
        if self.in_strip > 0 && self.header.checksum != Checksum::None {
            self.check()?;
        }
        self.stream.drain()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
