//! A few sectors in memory that the `gpt` crate can write to as if they were the disk.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

/// The bytes from `start_bytes` of a disk. Unlike a disk file, it can't be written past its end.
#[derive(Debug)]
pub(super) struct Region {
    start_bytes: u64,
    cursor: Cursor<Box<[u8]>>,
}

impl Region {
    /// `len` zeroes that stand for the disk's bytes from `start_bytes`.
    pub(super) fn zeroed(start_bytes: u64, len: usize) -> Self {
        Self {
            start_bytes,
            cursor: Cursor::new(vec![0; len].into_boxed_slice()),
        }
    }

    /// The bytes written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.cursor.into_inner().into_vec()
    }
}

impl Read for Region {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cursor.read(buffer)
    }
}

impl Write for Region {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.cursor.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Region {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "outside of the region");
        let position = match to {
            SeekFrom::Start(position) => {
                let inside = position.checked_sub(self.start_bytes).ok_or_else(outside)?;
                self.cursor.seek(SeekFrom::Start(inside))?
            }
            other => self.cursor.seek(other)?,
        };
        position.checked_add(self.start_bytes).ok_or_else(outside)
    }
}
