//! Requests of a client that reads.

use super::option::Fields;
use crate::nbd::REQUEST_MAGIC;
use klon_partition::Extent;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bytes.
    Read,
    /// To write; its data follows.
    Write,
    /// To leave.
    Disconnect,
    /// What was written to be durable.
    Flush,
    /// To write in other ways: trim, zeroes.
    Change,
    /// To know of extents.
    BlockStatus,
    /// Something that is not known.
    Other,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is wanted.
    pub command: Command,
    /// How.
    pub flags: u16,
    /// What the answer is known by.
    pub cookie: u64,
    /// Where.
    pub offset_bytes: u64,
    /// How much.
    pub len_bytes: u32,
}

impl Request {
    /// Length of it.
    pub const LEN: usize = 28;
    /// Flag of a read: in one piece.
    pub const FLAG_DF: u16 = 1 << 2;
    /// Flag of a block status: only the first extent.
    pub const FLAG_REQ_ONE: u16 = 1 << 3;

    /// From its bytes; `None` without the magic number.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let is_request = fields.be32()? == REQUEST_MAGIC;
        let flags = fields.be16()?;
        let command = match fields.be16()? {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Flush,
            4 | 6 => Command::Change,
            7 => Command::BlockStatus,
            _ => Command::Other,
        };
        let request = Self {
            command,
            flags,
            cookie: fields.be64()?,
            offset_bytes: fields.be64()?,
            len_bytes: fields.be32()?,
        };
        is_request.then_some(request)
    }

    /// The bytes that are meant; `None` for none, and for those beyond what can be counted.
    #[must_use]
    pub const fn extent(&self) -> Option<Extent> {
        Extent::new(self.offset_bytes, self.len_bytes as u64)
    }
}
