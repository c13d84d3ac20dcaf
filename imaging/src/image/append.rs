//! Where an image is written to: something that can be added to at its end.

use klon_partition::device::aligned::ALIGNMENT_BYTES;
use klon_partition::device::{AlignedBuffer, open_direct};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Something that can be added to at its end.
pub trait Append: Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// What the system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything that was added durable, as far as the medium can.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&mut self) -> io::Result<()>;

    /// How many files it is in.
    fn file_count(&self) -> usize {
        1
    }
}

impl Append for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Append for Box<dyn Append> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }

    fn file_count(&self) -> usize {
        (**self).file_count()
    }
}

/// What is written at once.
const BUFFER_BYTES: usize = 4 << 20;
const ALIGN: u64 = ALIGNMENT_BYTES as u64;

/// The end of a plain file, written past the page cache where its filesystem can do that.
pub struct FileAppend {
    file: File,
    /// The same file, past the page cache.
    direct: Option<File>,
    buffer: AlignedBuffer,
    /// Where in the file the buffer begins, a multiple of the alignment.
    start: u64,
    filled: usize,
    /// How much of the buffer is in the file already.
    written: usize,
}

impl FileAppend {
    /// Adds to the file at `path` from `position` on; what it has behind that is cut off.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, position: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Self::over(file, position)
    }

    /// Appends to a file that is open for reading and writing.
    ///
    /// # Errors
    /// What the system says.
    pub fn over(file: File, position: u64) -> io::Result<Self> {
        file.set_len(position)?;
        let direct = open_direct(&file);
        let mut buffer = AlignedBuffer::zeroed(BUFFER_BYTES);
        let start = position / ALIGN * ALIGN;
        let filled = usize::try_from(position - start).unwrap_or(0);
        file.read_exact_at(&mut buffer[..filled], start)?;
        Ok(Self {
            file,
            // Not every filesystem can.
            direct: direct.ok(),
            buffer,
            start,
            filled,
            written: filled,
        })
    }

    fn write_whole(&mut self) -> io::Result<()> {
        let all = &self.buffer[..self.filled];
        match &self.direct {
            Some(direct) => direct.write_all_at(all, self.start)?,
            None => self.file.write_all_at(all, self.start)?,
        }
        self.start += self.filled as u64;
        (self.filled, self.written) = (0, 0);
        Ok(())
    }
}

impl Append for FileAppend {
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = bytes.len().min(BUFFER_BYTES - self.filled);
            let (now, later) = bytes.split_at(len);
            self.buffer[self.filled..self.filled + len].copy_from_slice(now);
            self.filled += len;
            bytes = later;
            if self.filled == BUFFER_BYTES {
                self.write_whole()?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let whole = self.filled / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
        if whole > 0 {
            // What remains is less than a block.
            let rest = self.buffer[whole..self.filled].to_vec();
            let written = self.written.saturating_sub(whole);
            self.filled = whole;
            self.write_whole()?;
            self.buffer[..rest.len()].copy_from_slice(&rest);
            (self.filled, self.written) = (rest.len(), written);
        }
        let rest = &self.buffer[self.written..self.filled];
        self.file
            .write_all_at(rest, self.start + self.written as u64)?;
        self.written = self.filled;
        self.file.sync_all()
    }
}
