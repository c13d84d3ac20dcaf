//! Packed files in one piece or many: gzip, zstd, xz, lz4 and bzip2, told by their first bytes.

mod gzip;
mod lz4;

use klon_partition::{Error, Result};
use std::io::{self, BufReader, Cursor, Read};

/// A stream of bytes that are not packed any more.
pub type Unpacked = Box<dyn Read + Send>;

/// Memory that an xz stream may ask for: `xz -9` takes 65 MiB, its largest windows 1.5 GiB.
const XZ_MEMORY_KIB: u32 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes that tell the packers apart.
const MAGIC_BYTES: u64 = 8;

/// How a file is packed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not packed, or packed in a way that klon doesn't know.
    None,
    /// gzip, also of pigz.
    Gzip,
    /// zstd.
    Zstd,
    /// xz.
    Xz,
    /// lz4, in frames.
    Lz4,
    /// bzip2.
    Bzip2,
    /// Packed in a way that klon knows and can't unpack, with the program that can.
    Foreign(&'static str),
}

impl Packing {
    /// How a file is packed that begins with `start`; 8 bytes are enough to tell.
    #[must_use]
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            // A block, or the end of a stream without any: the digits of pi, or of its root.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => Self::Bzip2,
            [0x02, 0x21, 0x4c, 0x18, ..] => Self::Foreign("lz4 -d"),
            // Reserved flags are zero, codes have 9 to 16 bits.
            [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && matches!(flags & 0x1f, 9..=16) => {
                Self::Foreign("uncompress")
            }
            [b'R', b'Z', b'I', b'P', 2, 0 | 1, ..] => Self::Foreign("rzip -d"),
            [b'7', b'k', b'S', b't', ..] => Self::Foreign("zpaq x"),
            [0x89, b'L', b'Z', b'O', 0, ..] => Self::Foreign("lzop -d"),
            [b'L', b'Z', b'I', b'P', 1, ..] => Self::Foreign("lzip -d"),
            [b'L', b'R', b'Z', b'I', 0, ..] => Self::Foreign("lrzip -d"),
            [0x5d, 0, 0, _, _, 0xff, 0xff, 0xff, ..] => Self::Foreign("xz --format=lzma -d"),
            _ => Self::None,
        }
    }
}

/// The unpacked bytes of `input`, and how it was packed; errors call it `name`. Several packed files one
/// behind the other count as one.
///
/// # Errors
/// [`Error::Unsupported`] for a packer that klon doesn't have, with the program that unpacks it;
/// [`Error::Open`] when the first bytes can't be read.
pub fn unpack(input: impl Read + Send + 'static, name: &str) -> Result<(Unpacked, Packing)> {
    let mut start = Vec::new();
    let mut input = input;
    let peeked = input.by_ref().take(MAGIC_BYTES).read_to_end(&mut start);
    peeked.map_err(|source| Error::Open {
        path: name.into(),
        doing: "read",
        source,
    })?;
    let packing = Packing::of(&start);
    let input = Cursor::new(start).chain(input);
    let plain: Unpacked = match packing {
        Packing::None => Box::new(BufReader::with_capacity(BUFFER_BYTES, input)),
        Packing::Gzip => buffered(gzip::Members::new(BufReader::with_capacity(
            BUFFER_BYTES,
            input,
        ))),
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(input);
            buffered(OwnWords(
                decoder.map_err(|error| Error::Invalid(error.to_string()))?,
            ))
        }
        Packing::Xz => {
            // It reads in small pieces.
            let input = BufReader::with_capacity(BUFFER_BYTES, input);
            let reader = lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB);
            buffered(OwnWords(reader))
        }
        Packing::Lz4 => buffered(lz4::Frames::new(BufReader::with_capacity(
            BUFFER_BYTES,
            input,
        ))),
        Packing::Bzip2 => buffered(OwnWords(bzip2::read::MultiBzDecoder::new(input))),
        Packing::Foreign(program) => {
            return Err(Error::unsupported(
                format!("the packing of {name}"),
                format!("unpack it first with `{program}`, and import that"),
            ));
        }
    };
    Ok((plain, packing))
}

/// What klon itself found wrong in packed bytes. A library says what is wrong with the unpacked ones.
#[derive(Debug)]
pub(crate) struct Unexpected {
    pub(crate) expected: &'static str,
    pub(crate) found: String,
}

impl std::fmt::Display for Unexpected {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} instead of {}", self.found, self.expected)
    }
}

impl std::error::Error for Unexpected {}

impl From<Unexpected> for io::Error {
    fn from(unexpected: Unexpected) -> Self {
        Self::new(io::ErrorKind::InvalidData, unexpected)
    }
}

/// A reader of a library, with klon's own words for its errors: the packed bytes are damaged, or something
/// else follows them.
struct OwnWords<R>(R);

impl<R: Read> Read for OwnWords<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => error,
            _ if error.raw_os_error().is_some() => error,
            _ => Unexpected {
                expected: "more of the packed stream, or its end",
                found: format!("damage, or bytes that follow the packed stream ({error}),"),
            }
            .into(),
        })
    }
}

fn buffered(input: impl Read + Send + 'static) -> Unpacked {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, input))
}

#[cfg(test)]
mod tests {
    use super::{Packing, unpack};
    use std::io::{Cursor, Read, Write};

    fn plain(packed: Vec<u8>) -> (Vec<u8>, Packing) {
        let (mut reader, packing) = unpack(Cursor::new(packed), "test").unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        (bytes, packing)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_and_frames_in_a_row_are_one() {
        let both = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(plain(both), (b"onetwo".to_vec(), Packing::Gzip));
        let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
        let both = [frame(b"one"), frame(b"two")].concat();
        assert_eq!(plain(both), (b"onetwo".to_vec(), Packing::Zstd));
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(b"one").unwrap();
        let one = encoder.finish().unwrap();
        let both = [one.clone(), one].concat();
        assert_eq!(plain(both), (b"oneone".to_vec(), Packing::Bzip2));
        assert_eq!(plain(b"x".to_vec()), (b"x".to_vec(), Packing::None));
        assert_eq!(plain(Vec::new()), (Vec::new(), Packing::None));
    }
}
