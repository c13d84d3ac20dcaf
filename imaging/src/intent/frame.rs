//! Header and frames of a write-intent log.

use crate::error::{Error, Result, corrupt, io_error};
use klon_partition::Extent;
use klon_partition::bytes::le32;
use klon_partition::error::Corrupt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use uuid::Uuid;

/// What a log is called in messages.
pub(super) const NAME: &str = "write-intent log";
pub(super) const HEADER_LEN: usize = 64;
const MAGIC: &[u8; 8] = b"klonlog\n";
const VERSION: u32 = 1;
/// A frame is never longer than this: maps of 2²³ extents are shorter.
const PAYLOAD_BYTES_MAX: u32 = 1 << 28;

pub(super) fn header(run: Uuid) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&64_u32.to_le_bytes());
    bytes[16..32].copy_from_slice(run.as_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The run that a header names; `None` when the file is no log or its header is damaged.
fn parse_header(bytes: &[u8; HEADER_LEN]) -> Option<Uuid> {
    let is_whole = bytes.starts_with(MAGIC)
        && le32(bytes, 8) == VERSION
        && le32(bytes, 12) == 64
        && le32(bytes, 60) == crc32c::crc32c(&bytes[..60]);
    Uuid::from_slice(&bytes[16..32]).ok().filter(|_| is_whole)
}

pub(super) fn frame(tag: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(payload.len() + 12);
    bytes.extend_from_slice(&tag);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The frames of a log in order, up to the first damaged one.
pub(super) struct Frames {
    reader: BufReader<File>,
    left_bytes: u64,
}

/// A frame.
pub(super) struct Frame {
    pub(super) tag: [u8; 4],
    pub(super) payload: Vec<u8>,
}

impl Frames {
    /// Opens a log; `None` when there is none.
    pub(super) fn open(path: &Path) -> Result<Option<(Uuid, Self)>> {
        let failed = |source| io_error(path, "open", source);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut header = [0; HEADER_LEN];
        let left_bytes = file_bytes.checked_sub(HEADER_LEN as u64);
        let run = match left_bytes {
            Some(_) => {
                reader.read_exact(&mut header).map_err(failed)?;
                parse_header(&header)
            }
            None => None,
        };
        let (Some(run), Some(left_bytes)) = (run, left_bytes) else {
            let fault = Corrupt::new(NAME, "header", 0, "an intact one", "something else");
            return Err(corrupt(path, fault));
        };
        Ok(Some((run, Self { reader, left_bytes })))
    }

    /// The next frame; `None` at the end of the intact frames.
    fn read(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 8];
        if self.left_bytes < 12 {
            return Ok(None);
        }
        self.reader.read_exact(&mut head)?;
        let len = le32(&head, 4);
        let rest_bytes = self.left_bytes.checked_sub(12 + u64::from(len));
        let Some(rest_bytes) = rest_bytes.filter(|_| len <= PAYLOAD_BYTES_MAX) else {
            self.left_bytes = 0;
            return Ok(None);
        };
        let mut payload = vec![0; len as usize];
        self.reader.read_exact(&mut payload)?;
        let mut crc = [0; 4];
        self.reader.read_exact(&mut crc)?;
        let found = crc32c::crc32c_append(crc32c::crc32c(&head), &payload);
        if u32::from_le_bytes(crc) != found {
            self.left_bytes = 0;
            return Ok(None);
        }
        self.left_bytes = rest_bytes;
        let tag = [head[0], head[1], head[2], head[3]];
        Ok(Some(Frame { tag, payload }))
    }
}

impl Iterator for Frames {
    type Item = io::Result<Frame>;

    fn next(&mut self) -> Option<io::Result<Frame>> {
        self.read().transpose()
    }
}

/// Says that a log that was there is not there any more.
pub(super) fn gone(path: &Path) -> Error {
    io_error(path, "open", io::ErrorKind::NotFound.into())
}

/// Says that the log at `path` is of the run `found`.
pub(super) fn of_another(path: &Path, expected: Uuid, found: Uuid) -> Error {
    corrupt(path, Corrupt::new(NAME, "run", 16, expected, found))
}

/// The bytes of `count` chunks from number `index` on.
pub(super) fn chunk_extent(index: u64, count: u64) -> Option<Extent> {
    let bytes = |chunks: u64| chunks.checked_mul(crate::chunk::CHUNK_BYTES);
    Extent::new(bytes(index)?, bytes(count)?)
}
