//! Requests, and the chunks of their answers.

use crate::nbd::{
    BLOCK_STATUS as STATUS, FLAG_DONE, NONE, OFFSET_DATA, OFFSET_HOLE, REQUEST_MAGIC, SIMPLE_MAGIC,
    STRUCTURED_MAGIC,
};
use klon_partition::Extent;
pub(super) use klon_partition::bytes::{be16, be32, be64};
use std::io::{self, Read, Write};

/// Commands.
pub(super) const READ: u16 = 0;
pub(super) const BLOCK_STATUS: u16 = 7;
const DISCONNECT: u16 = 2;
/// Bit of a chunk that refuses.
const ERROR: u16 = 1 << 15;
/// Flag of an extent in `base:allocation`: it reads as zeroes.
pub(super) const STATE_ZERO: u32 = 1 << 1;
/// Flag of an extent in `qemu:dirty-bitmap:NAME` (docs/interop/nbd.rst of QEMU): it was written to.
pub(super) const STATE_DIRTY: u32 = 1 << 0;
/// Longest payload that is no data: some ten thousand extents.
const PAYLOAD_BYTES_MAX: u32 = 1 << 20;
/// Chunks of one answer.
const CHUNKS_MAX: usize = 100_000;
/// There is one request at a time on a connection.
const COOKIE: u64 = 0x6b6c_6f6e;

/// A piece of an answer.
pub(super) enum Reply<'a> {
    /// These bytes are there.
    Data(Extent, &'a [u8]),
    /// Zeroes are there.
    Hole(Extent),
    /// Lengths from the start of what was asked for on, and the flags of each, by the context of that
    /// number.
    Status(u32, Vec<(u64, u32)>),
}

/// Asks for an extent of at most 4 GiB and hands the pieces of the answer to `take`. Gives what the
/// server says when it can't answer; the connection is good for more then.
pub(super) fn ask(
    server: &mut (impl Read + Write),
    command: u16,
    extent: Extent,
    take: &mut dyn FnMut(Reply<'_>) -> io::Result<()>,
) -> io::Result<Option<String>> {
    let len = u32::try_from(extent.len_bytes()).map_err(|_| violation("a request too long"))?;
    server.write_all(&request(command, extent.offset_bytes(), len))?;
    let mut refusal = None;
    for _ in 0..CHUNKS_MAX {
        let mut magic = [0; 4];
        server.read_exact(&mut magic)?;
        match u32::from_be_bytes(magic) {
            SIMPLE_MAGIC => return simple(server, command, extent, take),
            STRUCTURED_MAGIC => {}
            _ => return Err(violation("no answer")),
        }
        let mut head = [0; 16];
        server.read_exact(&mut head)?;
        let (flags, kind, len) = (be16(&head, 0), be16(&head, 2), be32(&head, 12));
        if be64(&head, 4) != COOKIE {
            return Err(violation("an answer to another request"));
        }
        if let Some(failed) = chunk(server, ChunkHead { kind, len }, extent, take)? {
            refusal.get_or_insert(failed);
        }
        if flags & FLAG_DONE != 0 {
            return Ok(refusal);
        }
    }
    Err(violation("chunks without end"))
}

/// Says that nothing more will be asked.
pub(super) fn leave(server: &mut impl Write) -> io::Result<()> {
    server.write_all(&request(DISCONNECT, 0, 0))
}

fn request(command: u16, offset_bytes: u64, len: u32) -> Vec<u8> {
    let mut request = REQUEST_MAGIC.to_be_bytes().to_vec();
    request.extend(0_u16.to_be_bytes());
    request.extend(command.to_be_bytes());
    request.extend(COOKIE.to_be_bytes());
    request.extend(offset_bytes.to_be_bytes());
    request.extend(len.to_be_bytes());
    request
}

/// The rest of an answer in one piece.
fn simple(
    server: &mut impl Read,
    command: u16,
    extent: Extent,
    take: &mut dyn FnMut(Reply<'_>) -> io::Result<()>,
) -> io::Result<Option<String>> {
    let mut head = [0; 12];
    server.read_exact(&mut head)?;
    if be64(&head, 4) != COOKIE || command != READ {
        return Err(violation("an answer to another request"));
    }
    match be32(&head, 0) {
        0 => {
            let mut bytes = vec![0; usize::try_from(extent.len_bytes()).unwrap_or(0)];
            server.read_exact(&mut bytes)?;
            take(Reply::Data(extent, &bytes))?;
            Ok(None)
        }
        errno => Ok(Some(failure(errno, b""))),
    }
}

/// What the head of a chunk says of it.
struct ChunkHead {
    kind: u16,
    len: u32,
}

/// A chunk behind its head: what it says, or why there is nothing to be said.
fn chunk(
    server: &mut impl Read,
    head: ChunkHead,
    asked: Extent,
    take: &mut dyn FnMut(Reply<'_>) -> io::Result<()>,
) -> io::Result<Option<String>> {
    let ChunkHead { kind, len } = head;
    let data_max = asked.len_bytes().saturating_add(8);
    let is_data = kind == OFFSET_DATA && u64::from(len) <= data_max;
    if !is_data && len > PAYLOAD_BYTES_MAX {
        return Err(violation("a chunk that is too long"));
    }
    let mut payload = vec![0; usize::try_from(len).unwrap_or(0)];
    server.read_exact(&mut payload)?;
    let place = |len_bytes: u64| {
        let offset_bytes = payload.get(..8).map(|field| be64(field, 0));
        let extent = offset_bytes.and_then(|offset_bytes| Extent::new(offset_bytes, len_bytes));
        extent.ok_or_else(|| violation("a chunk of nothing"))
    };
    match kind {
        NONE => {}
        OFFSET_DATA => {
            let bytes = payload.get(8..).unwrap_or_default();
            take(Reply::Data(place(bytes.len() as u64)?, bytes))?;
        }
        OFFSET_HOLE if payload.len() == 12 => {
            take(Reply::Hole(place(be32(&payload, 8).into())?))?;
        }
        STATUS if payload.len() >= 4 => {
            let extents = payload[4..].chunks_exact(8);
            let extents = extents.map(|one| (be32(one, 0).into(), be32(one, 4)));
            take(Reply::Status(be32(&payload, 0), extents.collect()))?;
        }
        kind if kind & ERROR != 0 && payload.len() >= 6 => {
            let len = usize::from(be16(&payload, 4));
            let text = payload[6..].get(..len).unwrap_or_default();
            return Ok(Some(failure(be32(&payload, 0), text)));
        }
        _ => return Err(violation("a chunk of an unknown kind")),
    }
    Ok(None)
}

/// What the server says of a failure. Its error numbers are the system's.
fn failure(errno: u32, text: &[u8]) -> String {
    let system = io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or(5)).to_string();
    let system = system.split(" (os error").next().unwrap_or_default();
    match text.is_empty() {
        true => format!("the server says: {system}"),
        false => format!("the server says: {}", text.escape_ascii()),
    }
}

/// Reads `len_bytes` bytes that nobody wants.
pub(super) fn skip(server: &mut impl Read, len_bytes: u64) -> io::Result<()> {
    io::copy(&mut server.take(len_bytes), &mut io::sink()).map(|_| ())
}

/// What is against the protocol.
pub(super) fn violation(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server breaks the protocol: {what}"),
    )
}
