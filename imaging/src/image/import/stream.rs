//! A stream of bytes with a name and a position, whose errors say both.

use crate::packed::Unexpected;
use klon_partition::error::{Corrupt, Operation};
use klon_partition::{Error, Result};
use std::io::{self, Read};

/// A stream of bytes with a name and a position.
pub(crate) struct Stream<R> {
    input: R,
    /// What was looked at and not read yet.
    ahead: std::collections::VecDeque<u8>,
    name: String,
    position: u64,
}

impl<R: Read> Stream<R> {
    pub(crate) const fn new(input: R, name: String) -> Self {
        Self {
            input,
            ahead: std::collections::VecDeque::new(),
            name,
            position: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes were read.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Fills `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let looked_at = self.take_ahead(buffer);
        let read = self.input.read_exact(&mut buffer[looked_at..]);
        read.map_err(|error| self.error(buffer.len() as u64, error))?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn take_ahead(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.ahead.len().min(buffer.len());
        for (out, byte) in buffer.iter_mut().zip(self.ahead.drain(..len)) {
            *out = byte;
        }
        len
    }

    /// Looks at the next `len` bytes, or as many as there are.
    pub(crate) fn peek(&mut self, len: usize) -> Result<&[u8]> {
        let mut more = vec![0; len.saturating_sub(self.ahead.len())];
        let position = self.position;
        // What was looked at before stays where it is.
        let before = std::mem::take(&mut self.ahead);
        let filled = self.read_some(&mut more);
        self.position = position;
        self.ahead = before;
        self.ahead.extend(&more[..filled?]);
        Ok(self.ahead.make_contiguous())
    }

    /// Leaves out some bytes.
    pub(crate) fn skip(&mut self, len: usize) -> Result<()> {
        match len {
            0 => Ok(()),
            len => self.read(&mut vec![0; len]),
        }
    }

    /// Reads `len_bytes` bytes; what is allocated is never much more than what there is.
    pub(crate) fn read_vec(&mut self, len_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len_bytes {
            let start = bytes.len();
            let more = (len_bytes - start as u64).min(1 << 20);
            bytes.resize(start + usize::try_from(more).unwrap_or(0), 0);
            self.read(&mut bytes[start..])?;
        }
        Ok(bytes)
    }

    /// Fills as much of `buffer` as there is.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = self.take_ahead(buffer);
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(buffer.len() as u64, error)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// Goes to the end, so that a packer's own checksums are checked.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        while self.read_some(&mut buffer)? > 0 {}
        Ok(())
    }

    /// What the system said is an error of the device; everything else is the packer's.
    fn error(&self, len_bytes: u64, error: io::Error) -> Error {
        if error.raw_os_error().is_some() {
            return Error::io(Operation::Read, self.position, len_bytes, error);
        }
        let unexpected = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(Unexpected { expected, found }) = unexpected {
            let found = format!("{found} in {}", self.name);
            return Corrupt::new("stream", "content", self.position, expected, found).into();
        }
        let expected = format!("{len_bytes} bytes more");
        let found = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the end of {}", self.name),
            _ => format!("{error} in {}", self.name),
        };
        Corrupt::new("stream", "content", self.position, expected, found).into()
    }
}
