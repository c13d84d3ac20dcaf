//! Packed files in one piece or many: gzip, zstd, xz, lz4 and bzip2, told by their first bytes.

mod gzip;
mod lz4;

use super::stream::Unexpected;
use klon_partition::{Error, Result};
use std::io::{self, BufReader, Cursor, Read};

/// What a plain stream is.
pub type Unpacked = Box<dyn Read + Send>;

/// Memory that an xz stream may ask for: `xz -9` takes 65 MiB, its largest windows 1.5 GiB.
const XZ_MEMORY_KIB: u32 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes that tell the packers apart.
const MAGIC_BYTES: u64 = 8;

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not, or in a way that is not known.
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
    /// In a way that is known, and not unpacked here; the program that does it.
    Foreign(&'static str),
}

impl Packing {
    /// By the first bytes.
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

/// The plain bytes of `input`, and how it is packed.
///
/// # Errors
/// [`Error::Unsupported`] for other packers, with what to do.
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
            buffered(Checked(
                decoder.map_err(|error| Error::Invalid(error.to_string()))?,
            ))
        }
        Packing::Xz => {
            // It reads in small pieces.
            let input = BufReader::with_capacity(BUFFER_BYTES, input);
            let reader = lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB);
            buffered(Checked(reader))
        }
        Packing::Lz4 => buffered(lz4::Frames::new(BufReader::with_capacity(
            BUFFER_BYTES,
            input,
        ))),
        Packing::Bzip2 => buffered(Checked(bzip2::read::MultiBzDecoder::new(input))),
        Packing::Foreign(program) => {
            return Err(Error::unsupported(
                format!("the packing of {name}"),
                format!("unpack it first with `{program}`, and import that"),
            ));
        }
    };
    Ok((plain, packing))
}

/// A library's reader, whose errors say in this program's words that the packed bytes are wrong: damaged,
/// or followed by something else.
struct Checked<R>(R);

impl<R: Read> Read for Checked<R> {
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
