//! Answers to requests, gathered before they are sent.

use super::status::Descriptor;
use crate::nbd::{
    BLOCK_STATUS, FLAG_DONE, NONE, OFFSET_DATA, OFFSET_HOLE, SIMPLE_MAGIC, STRUCTURED_MAGIC,
};

const ERROR: u16 = (1 << 15) + 1;
const ERROR_OFFSET: u16 = (1 << 15) + 2;

/// Why a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Errno {
    /// Writing.
    Permission = 1,
    /// The device failed.
    Io = 5,
    /// It makes no sense.
    Invalid = 22,
    /// It is too long.
    Overflow = 75,
}

/// The answers to one request.
pub(super) struct Replies<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) cookie: u64,
    pub(super) is_structured: bool,
}

impl Replies<'_> {
    fn chunk(&mut self, flags: u16, kind: u16, len: usize) {
        // No payload is longer than a piece or an error.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.out.extend(STRUCTURED_MAGIC.to_be_bytes());
        self.out.extend(flags.to_be_bytes());
        self.out.extend(kind.to_be_bytes());
        self.out.extend(self.cookie.to_be_bytes());
        self.out.extend(len.to_be_bytes());
    }

    /// Room for `len` bytes of the export from `offset_bytes` on.
    pub(super) fn data(&mut self, offset_bytes: u64, len: usize) -> &mut [u8] {
        self.chunk(0, OFFSET_DATA, len + 8);
        self.out.extend(offset_bytes.to_be_bytes());
        self.plain(len)
    }

    /// Room for `len` bytes behind the head of a simple answer.
    pub(super) fn plain(&mut self, len: usize) -> &mut [u8] {
        let start = self.out.len();
        self.out.resize(start + len, 0);
        &mut self.out[start..]
    }

    /// Zeroes.
    pub(super) fn hole(&mut self, offset_bytes: u64, len: u32) {
        self.chunk(0, OFFSET_HOLE, 12);
        self.out.extend(offset_bytes.to_be_bytes());
        self.out.extend(len.to_be_bytes());
    }

    /// What the context of that number has.
    pub(super) fn status(&mut self, context: u32, descriptors: &[Descriptor]) {
        self.chunk(0, BLOCK_STATUS, 4 + descriptors.len() * 8);
        self.out.extend(context.to_be_bytes());
        for Descriptor { len, flags } in descriptors {
            self.out.extend(len.to_be_bytes());
            self.out.extend(flags.to_be_bytes());
        }
    }

    /// The head of a simple answer. The data of a successful read follow it.
    pub(super) fn simple(&mut self, errno: Option<Errno>) {
        self.out.extend(SIMPLE_MAGIC.to_be_bytes());
        let errno = errno.map_or(0, |errno| errno as u32);
        self.out.extend(errno.to_be_bytes());
        self.out.extend(self.cookie.to_be_bytes());
    }

    /// All of it is answered.
    pub(super) fn done(&mut self) {
        match self.is_structured {
            true => self.chunk(FLAG_DONE, NONE, 0),
            false => self.simple(None),
        }
    }

    /// Nothing of it can be answered.
    pub(super) fn fail(&mut self, errno: Errno, message: &str) {
        if !self.is_structured {
            return self.simple(Some(errno));
        }
        let payload = error(errno, message);
        self.chunk(FLAG_DONE, ERROR, payload.len());
        self.out.extend(payload);
    }

    /// What begins at `offset_bytes` can't be answered; more may follow.
    pub(super) fn fail_at(&mut self, errno: Errno, offset_bytes: u64, message: &str) {
        let payload = error(errno, message);
        self.chunk(0, ERROR_OFFSET, payload.len() + 8);
        self.out.extend(payload);
        self.out.extend(offset_bytes.to_be_bytes());
    }
}

fn error(errno: Errno, message: &str) -> Vec<u8> {
    let message = &message.as_bytes()[..message.floor_char_boundary(1000)];
    let mut payload = (errno as u32).to_be_bytes().to_vec();
    payload.extend(u16::try_from(message.len()).unwrap_or(0).to_be_bytes());
    payload.extend(message);
    payload
}
