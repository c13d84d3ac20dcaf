//! Agreeing with a server on what is read: fixed newstyle, structured replies, `base:allocation`.

use super::wire::{be32, be64, skip, violation};
use crate::serve::nbd::negotiate::{
    ACK, BASE_ALLOCATION, FIXED_NEWSTYLE, INFO, INFO_EXPORT, META_CONTEXT, NO_ZEROES, REPLY_MAGIC,
    SERVER_MAGIC,
};
use crate::serve::nbd::option::{GO, OPTION_MAGIC, SET_META_CONTEXT, STRUCTURED_REPLY};
use std::io::{self, Read, Write};

/// Bit of a reply that refuses.
const ERROR: u32 = 1 << 31;
/// Longest data of a reply.
const DATA_BYTES_MAX: u32 = 64 << 10;
/// Replies to one option.
const REPLIES_MAX: usize = 1000;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Size of the disk.
    pub(super) size_bytes: u64,
    /// The number of the context that tells what is zero.
    pub(super) allocation: Option<u32>,
}

/// Agrees on reading the default export.
pub(super) fn negotiate(server: &mut (impl Read + Write)) -> io::Result<Session> {
    let mut greeting = [0; 18];
    server.read_exact(&mut greeting)?;
    let flags = u16::from_be_bytes([greeting[16], greeting[17]]);
    if be64(&greeting, 0) != SERVER_MAGIC
        || be64(&greeting, 8) != OPTION_MAGIC
        || flags & FIXED_NEWSTYLE == 0
    {
        return Err(violation("no greeting of the newer style"));
    }
    let wanted = u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES));
    server.write_all(&wanted.to_be_bytes())?;
    let mut allocation = None;
    if option(server, STRUCTURED_REPLY, &[], &mut |_, _| Ok(()))? {
        // The default export, one query.
        let mut data = 0_u32.to_be_bytes().to_vec();
        data.extend(1_u32.to_be_bytes());
        data.extend(15_u32.to_be_bytes());
        data.extend(BASE_ALLOCATION.as_bytes());
        option(server, SET_META_CONTEXT, &data, &mut |kind, data| {
            if kind == META_CONTEXT && data.get(4..) == Some(BASE_ALLOCATION.as_bytes()) {
                allocation = Some(be32(data, 0));
            }
            Ok(())
        })?;
    }
    let mut size_bytes = None;
    // The default export, no items.
    let is_open = option(server, GO, &[0; 6], &mut |kind, data| {
        if kind == INFO && data.get(..2) == Some(&INFO_EXPORT.to_be_bytes()) && data.len() >= 12 {
            size_bytes = Some(be64(data, 2));
        }
        Ok(())
    })?;
    match size_bytes.filter(|_| is_open) {
        Some(size_bytes) => Ok(Session {
            size_bytes,
            allocation,
        }),
        None => Err(violation("no export")),
    }
}

/// Sends an option, hands its replies to `take`, and gives whether it was taken.
fn option(
    server: &mut (impl Read + Write),
    number: u32,
    data: &[u8],
    take: &mut dyn FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut request = OPTION_MAGIC.to_be_bytes().to_vec();
    request.extend(number.to_be_bytes());
    request.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    request.extend(data);
    server.write_all(&request)?;
    for _ in 0..REPLIES_MAX {
        let mut head = [0; 20];
        server.read_exact(&mut head)?;
        let (kind, len) = (be32(&head, 12), be32(&head, 16));
        if be64(&head, 0) != REPLY_MAGIC || be32(&head, 8) != number {
            return Err(violation("no reply to an option"));
        }
        if len > DATA_BYTES_MAX {
            skip(server, len.into())?;
            return Err(violation("a reply that is too long"));
        }
        let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
        server.read_exact(&mut data)?;
        match kind {
            ACK => return Ok(true),
            kind if kind & ERROR != 0 => return Ok(false),
            kind => take(kind, &data)?,
        }
    }
    Err(violation("replies without end"))
}
