//! Agreeing with a server on what is read: fixed newstyle, structured replies, `base:allocation`.

use super::wire::{be16, be32, be64, skip, violation};
use crate::nbd::{
    ACK, BASE_ALLOCATION, FIXED_NEWSTYLE, GO, INFO, INFO_EXPORT, LIST, META_CONTEXT, NO_ZEROES,
    OPTION_MAGIC, REPLY_MAGIC, SERVER, SERVER_MAGIC, SET_META_CONTEXT, STRUCTURED_REPLY,
};
use std::io::{self, Read, Write};

/// How the names of contexts begin that tell what was written to (docs/interop/nbd.rst of QEMU).
const DIRTY_BITMAP: &str = "qemu:dirty-bitmap:";
/// Bit of a reply that refuses.
const ERROR: u32 = 1 << 31;
/// Longest data of a reply.
const DATA_BYTES_MAX: u32 = 64 << 10;
/// Replies to one option.
const REPLIES_MAX: usize = 1000;
/// Items of information: the sizes of blocks and requests.
const INFO_BLOCK_SIZE: u16 = 3;
/// Transmission flags: no writes; the same is seen through all connections.
const READ_ONLY: u16 = 1 << 1;
const CAN_MULTI_CONN: u16 = 1 << 8;
/// Names of exports that are told.
const NAMED_MAX: usize = 10;
/// Why an option is refused: bits of a reply beside [`ERROR`].
const POLICY: u32 = 2;
const TLS_REQUIRED: u32 = 5;
const UNKNOWN: u32 = 6;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Size of the disk.
    pub(super) size_bytes: u64,
    /// The number of the context that tells what is zero.
    pub(super) allocation: Option<u32>,
    /// The number of the context that tells what was written to.
    pub(super) bitmap: Option<u32>,
    /// Whether nobody writes through it.
    pub(super) is_read_only: bool,
    /// Whether all connections see the same.
    pub(super) allows_several: bool,
    /// Offsets and lengths of requests are multiples of this power of two.
    pub(super) block_bytes: u64,
    /// What may be asked for at once: a multiple of that.
    pub(super) request_bytes_max: u64,
}

/// Agrees on reading an export; the default one has an empty name.
/// With `bitmap` the blocks are told, too, that QEMU's bitmap of that name has as written to.
pub(super) fn negotiate(
    server: &mut (impl Read + Write),
    export: &str,
    bitmap: Option<&str>,
) -> io::Result<Session> {
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
    let contexts = contexts(server, export, bitmap)?;
    let mut size_and_flags = None;
    let mut sizes = Sizes {
        block_bytes: 1,
        request_bytes_max: u64::MAX,
    };
    // One item.
    let mut data = named(export);
    data.extend(1_u16.to_be_bytes());
    data.extend(INFO_BLOCK_SIZE.to_be_bytes());
    let refusal = option(server, GO, &data, &mut |kind, data| {
        let item = data
            .get(..2)
            .filter(|_| kind == INFO)
            .map(|item| be16(item, 0));
        match item {
            Some(INFO_EXPORT) if data.len() >= 12 => {
                size_and_flags = Some((be64(data, 2), be16(data, 10)));
            }
            Some(INFO_BLOCK_SIZE) if data.len() >= 14 => {
                sizes = Sizes {
                    block_bytes: be32(data, 2).into(),
                    request_bytes_max: be32(data, 10).into(),
                };
            }
            _ => {}
        }
        Ok(())
    })?;
    if let Some(refusal) = refusal {
        let others = match refusal.kind & !ERROR {
            UNKNOWN => exports(server),
            _ => Vec::new(),
        };
        return Err(refused(export, &others, &refusal));
    }
    let (size_bytes, flags) = size_and_flags.ok_or_else(|| violation("no export"))?;
    let Sizes {
        block_bytes,
        request_bytes_max,
    } = sizes.checked()?;
    Ok(Session {
        size_bytes,
        allocation: contexts.allocation,
        bitmap: contexts.bitmap,
        is_read_only: flags & READ_ONLY != 0,
        allows_several: flags & CAN_MULTI_CONN != 0,
        block_bytes,
        request_bytes_max,
    })
}

/// The numbers of contexts.
#[derive(Default)]
struct Contexts {
    allocation: Option<u32>,
    bitmap: Option<u32>,
}

/// Agrees on the contexts that are asked about, where the server can answer in a structured way.
fn contexts(
    server: &mut (impl Read + Write),
    export: &str,
    bitmap: Option<&str>,
) -> io::Result<Contexts> {
    let mut contexts = Contexts::default();
    if option(server, STRUCTURED_REPLY, &[], &mut |_, _| Ok(()))?.is_some() {
        return Ok(contexts);
    }
    let bitmap = bitmap.map(|name| format!("{DIRTY_BITMAP}{name}"));
    let queries = [Some(BASE_ALLOCATION), bitmap.as_deref()];
    let queries: Vec<&str> = queries.into_iter().flatten().collect();
    let mut data = named(export);
    data.extend(u32::try_from(queries.len()).unwrap_or(0).to_be_bytes());
    data.extend(queries.iter().flat_map(|query| named(query)));
    option(server, SET_META_CONTEXT, &data, &mut |kind, data| {
        if kind == META_CONTEXT && data.len() >= 4 {
            let number = Some(be32(data, 0));
            match data.get(4..) {
                Some(name) if name == BASE_ALLOCATION.as_bytes() => contexts.allocation = number,
                Some(name) if Some(name) == bitmap.as_ref().map(|name| name.as_bytes()) => {
                    contexts.bitmap = number;
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(contexts)
}

/// A text with its length before it.
fn named(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap_or(0);
    [&len.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The smallest and the largest request.
struct Sizes {
    block_bytes: u64,
    request_bytes_max: u64,
}

impl Sizes {
    /// As the protocol allows them: powers of two up to 64 KiB, and multiples of those.
    fn checked(self) -> io::Result<Self> {
        let Self {
            block_bytes,
            request_bytes_max,
        } = self;
        let is_size = block_bytes.is_power_of_two() && block_bytes <= 64 << 10;
        if !is_size || request_bytes_max < block_bytes {
            return Err(violation("blocks of an impossible size"));
        }
        Ok(Self {
            block_bytes,
            request_bytes_max: request_bytes_max - request_bytes_max % block_bytes,
        })
    }
}

/// How the server refuses an option.
struct Refusal {
    kind: u32,
    /// What it says; may be empty.
    text: String,
}

/// The names of exports that the server lists. Not every server tells them.
fn exports(server: &mut (impl Read + Write)) -> Vec<String> {
    let mut names = Vec::new();
    let listed = option(server, LIST, &[], &mut |kind, data| {
        let len = data.get(..4).filter(|_| kind == SERVER);
        let len = len.and_then(|len| usize::try_from(be32(len, 0)).ok());
        let name = len.and_then(|len| data.get(4..)?.get(..len));
        if let Some(name) = name.filter(|_| names.len() <= NAMED_MAX) {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        Ok(())
    });
    match listed {
        Ok(None) => names,
        _ => Vec::new(),
    }
}

/// Why the server does not show the export. `others` are those that it has.
fn refused(export: &str, others: &[String], refusal: &Refusal) -> io::Error {
    let Refusal { kind, text } = refusal;
    let named: Vec<String> = (others.iter().take(NAMED_MAX))
        .map(|name| format!("{name:?}"))
        .collect();
    let more = match others.len() > NAMED_MAX {
        true => " and others",
        false => "",
    };
    let has = match named.is_empty() {
        true => String::new(),
        false => format!("; it has {}{more}", named.join(", ")),
    };
    let reason = match kind & !ERROR {
        UNKNOWN => format!("the server has no export {export:?}{has}"),
        TLS_REQUIRED => {
            "the server wants an encrypted connection, which klon can't make".to_owned()
        }
        POLICY => "the server does not let klon read it".to_owned(),
        _ => "the server refuses it".to_owned(),
    };
    let said = match text.is_empty() {
        true => String::new(),
        false => format!(" ({})", text.escape_debug()),
    };
    io::Error::new(io::ErrorKind::Unsupported, format!("{reason}{said}"))
}

/// Sends an option, and hands its replies to `take`. Gives a refusal.
fn option(
    server: &mut (impl Read + Write),
    number: u32,
    data: &[u8],
    take: &mut dyn FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<Option<Refusal>> {
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
            ACK => return Ok(None),
            kind if kind & ERROR != 0 => {
                return Ok(Some(Refusal {
                    kind,
                    text: String::from_utf8_lossy(&data).into_owned(),
                }));
            }
            kind => take(kind, &data)?,
        }
    }
    Err(violation("replies without end"))
}
