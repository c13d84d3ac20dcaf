//! Packed files in one piece or many: gzip, zstd, xz and lz4, told by their first bytes.

use klon_partition::Shown;
use klon_partition::{Error, Result};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

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
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Self::Foreign("bzip2 -d"),
            [0x89, b'L', b'Z', b'O', 0, ..] => Self::Foreign("lzop -d"),
            [b'L', b'Z', b'I', b'P', 1, ..] => Self::Foreign("lzip -d"),
            [b'L', b'R', b'Z', b'I', 0, ..] => Self::Foreign("lrzip -d"),
            [0x5d, 0, 0, _, _, 0xff, 0xff, 0xff] => Self::Foreign("xz --format=lzma -d"),
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
        Packing::Gzip => buffered(flate2::read::MultiGzDecoder::new(input)),
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(input);
            buffered(decoder.map_err(|error| Error::Invalid(error.to_string()))?)
        }
        Packing::Xz => {
            // It reads in small pieces.
            let input = BufReader::with_capacity(BUFFER_BYTES, input);
            buffered(lzma_rust2::XzReader::new_mem_limit(
                input,
                true,
                XZ_MEMORY_KIB,
            ))
        }
        Packing::Lz4 => buffered(Lz4Frames::new(input)),
        Packing::Foreign(program) => {
            return Err(Error::unsupported(
                format!("the packing of {name}"),
                format!("unpack it first with `{program}`, and import that"),
            ));
        }
    };
    Ok((plain, packing))
}

fn buffered(input: impl Read + Send + 'static) -> Unpacked {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, input))
}

/// lz4 frames one after the other: the decoder says the end after each.
struct Lz4Frames<R: Read> {
    decoder: lz4_flex::frame::FrameDecoder<BufReader<Chain<Cursor<Vec<u8>>, R>>>,
}

impl<R: Read> Lz4Frames<R> {
    fn new(input: Chain<Cursor<Vec<u8>>, R>) -> Self {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        let decoder = lz4_flex::frame::FrameDecoder::new(input);
        Self { decoder }
    }
}

impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.decoder.read(buffer)?;
            if len > 0 || buffer.is_empty() || self.decoder.get_mut().fill_buf()?.is_empty() {
                return Ok(len);
            }
        }
    }
}

/// Files that are one, opened one after the other.
#[derive(Clone, Debug)]
pub struct Parts {
    paths: std::collections::VecDeque<PathBuf>,
}

impl Parts {
    /// All parts of which `first` is the first (`NAME.aa`, `NAME.ab`, …), or that file alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one between the first and the last is missing, [`Error::Open`].
    pub fn find(first: &Path) -> Result<Self> {
        let alone = || Self {
            paths: [first.to_owned()].into(),
        };
        let name = first.file_name().and_then(|name| name.to_str());
        let Some((stem, suffix)) = name.and_then(|name| name.rsplit_once('.')) else {
            return Ok(alone());
        };
        if suffix.len() < 2 || suffix.len() > 4 || suffix.bytes().any(|byte| byte != b'a') {
            return Ok(alone());
        }
        let failed = |source| Error::Open {
            path: first.to_owned(),
            doing: "list the parts of",
            source,
        };
        let directory = first.parent().filter(|p| !p.as_os_str().is_empty());
        let entries = std::fs::read_dir(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        let mut parts = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?.file_name();
            let part = entry.to_str().and_then(|entry| entry.rsplit_once('.'));
            if let Some((found, end)) = part
                && found == stem
                && end.len() == suffix.len()
                && end.bytes().all(|byte| byte.is_ascii_lowercase())
            {
                parts.push(end.to_owned());
            }
        }
        parts.sort();
        let mut expected = suffix.to_owned();
        let mut paths = std::collections::VecDeque::new();
        for part in parts {
            if part != expected {
                return Err(Error::Invalid(format!(
                    "{stem}.{expected} is missing, but there is {stem}.{part}"
                )));
            }
            paths.push_back(first.with_file_name(format!("{stem}.{part}")));
            expected = next(&part);
        }
        Ok(Self { paths })
    }

    /// The plain bytes, and how they are packed.
    ///
    /// # Errors
    /// As [`unpack`].
    pub fn open(self) -> Result<(Unpacked, Packing)> {
        let name = self.name();
        let reader = PartsReader {
            parts: self,
            current: None,
        };
        unpack(reader, &name)
    }

    /// Whether there are several.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.paths.len() > 1
    }

    /// The first file.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.paths.front();
        first.map_or_else(String::new, |path| path.shown())
    }
}

/// The suffix after one: `az` comes before `ba`.
fn next(suffix: &str) -> String {
    let mut bytes = suffix.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        if *byte < b'z' {
            *byte += 1;
            break;
        }
        *byte = b'a';
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct PartsReader {
    parts: Parts,
    current: Option<File>,
}

impl Read for PartsReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let len = file.read(buffer)?;
                if len > 0 || buffer.is_empty() {
                    return Ok(len);
                }
            }
            let Some(path) = self.parts.paths.pop_front() else {
                return Ok(0);
            };
            self.current = Some(File::open(path)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Packing, Parts, next, unpack};
    use std::fs;
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
        assert_eq!(plain(b"x".to_vec()), (b"x".to_vec(), Packing::None));
        assert_eq!(plain(Vec::new()), (Vec::new(), Packing::None));
    }

    #[test]
    fn parts_are_in_order_and_none_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (suffix, content) in [("aa", "1"), ("ab", "2"), ("ac", "3")] {
            fs::write(path(&format!("sda1.ext4-ptcl-img.{suffix}")), content).unwrap();
        }
        fs::write(path("sda1.info"), "").unwrap();
        let first = path("sda1.ext4-ptcl-img.aa");
        let (mut reader, _) = Parts::find(&first).unwrap().open().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "123");
        fs::remove_file(path("sda1.ext4-ptcl-img.ab")).unwrap();
        let error = Parts::find(&first).unwrap_err().to_string();
        assert!(error.contains(".ab is missing"), "{error}");
        assert_eq!((next("az"), next("aa")), ("ba".to_owned(), "ab".to_owned()));
    }
}
