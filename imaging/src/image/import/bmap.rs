//! Block maps of bmaptool beside a raw image: which of its blocks matter, and their SHA-256.

use klon_partition::device::open_plain;
use klon_partition::error::Corrupt;
use klon_partition::{Error, Extent, ExtentMap, Result};
use roxmltree::{Document, Node, ParsingOptions};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest map that is read. A map of two million runs is smaller.
const FILE_BYTES_MAX: u64 = 256 << 20;
const NODES_MAX: u32 = 1 << 24;
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = 512..=1 << 30;

/// A block map: which ranges of a raw image hold data, as bmaptool writes it (element `bmap`, versions 1
/// and 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmap {
    /// Size of the image that the map is of (`ImageSize`), in bytes.
    pub image_bytes: u64,
    /// The ranges with data (`Range`), ascending, in bytes of the image; each with the SHA-256 of its
    /// bytes, where the map has one.
    pub runs: Vec<(Extent, Option<[u8; 32]>)>,
    /// The kind of the checksums, where they are not of the kind that is compared here.
    pub unchecked: Option<String>,
}

impl Bmap {
    /// The map beside the file at `path`, and where it was found: `NAME.bmap`, and then the same for
    /// `NAME` without its endings, as bmaptool looks for it. `None` when there is none.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); [`Error::Open`] when a map that is there can't be read.
    pub fn beside(path: &Path) -> Result<Option<(PathBuf, Self)>> {
        let mut name = path.to_owned();
        loop {
            let mut map = name.clone().into_os_string();
            map.push(".bmap");
            let map = PathBuf::from(map);
            let failed = |source| Error::Open {
                path: map.clone(),
                doing: "read",
                source,
            };
            match open_plain(&map, false) {
                Ok(file) => {
                    let mut text = String::new();
                    let mut file = file.take(FILE_BYTES_MAX);
                    file.read_to_string(&mut text).map_err(failed)?;
                    return Ok(Some((map.clone(), Self::parse(&text)?)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            if name.extension().is_none() {
                return Ok(None);
            }
            name.set_extension("");
        }
    }

    /// Reads the XML text of a map of version 1 or 2.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the element that is missing or wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let options = ParsingOptions {
            nodes_limit: NODES_MAX,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text, options);
        let document = document.map_err(|error| wrong("text", "XML", error))?;
        let root = document.root_element();
        if root.tag_name().name() != "bmap" {
            return Err(wrong("root element", "bmap", root.tag_name().name()));
        }
        let image_bytes = number(root, "ImageSize")?;
        let block_bytes = number(root, "BlockSize")?;
        if !BLOCK_BYTES.contains(&block_bytes) {
            return Err(wrong("BlockSize", "512 bytes to 1 GiB", block_bytes));
        }
        let kind = value(root, "ChecksumType");
        let is_sha256 = kind.is_none_or(|kind| kind.eq_ignore_ascii_case("sha256"));
        if is_sha256 {
            check_own(text, root)?;
        }
        let runs = child(root, "BlockMap")
            .into_iter()
            .flat_map(|map| map.children());
        let runs = runs.filter(|node| node.tag_name().name() == "Range");
        let mut map = Self {
            image_bytes,
            runs: Vec::new(),
            unchecked: kind.filter(|_| !is_sha256).map(str::to_owned),
        };
        for node in runs {
            let run = run(node, block_bytes, image_bytes)?;
            let before = map.runs.last().map_or(0, |(run, _)| run.end_bytes());
            if run.offset_bytes() < before {
                return Err(wrong("Range", "runs in order", run));
            }
            let digest = node.attribute("chksum").filter(|_| is_sha256);
            let digest = digest.map(|text| {
                digest_of(text).ok_or_else(|| wrong("chksum", "64 hexadecimal digits", text))
            });
            map.runs.push((run, digest.transpose()?));
        }
        Ok(map)
    }

    /// All ranges with data, in bytes of the image. By the map nobody needs the bytes between them.
    #[must_use]
    pub fn mapped(&self) -> ExtentMap {
        self.runs.iter().map(|(run, _)| *run).collect()
    }
}

/// Compares bytes that come in order with the SHA-256 of their ranges.
pub(super) struct Checker<'a> {
    map: &'a Bmap,
    run: usize,
    hasher: Sha256,
}

impl<'a> Checker<'a> {
    pub(super) fn new(map: &'a Bmap) -> Self {
        Self {
            map,
            run: 0,
            hasher: Sha256::new(),
        }
    }

    /// Takes the bytes at `offset_bytes`, which come next.
    pub(super) fn take(&mut self, bytes: &[u8], offset_bytes: u64) -> Result<()> {
        let Some(here) = Extent::new(offset_bytes, bytes.len() as u64) else {
            return Ok(());
        };
        while let Some((run, expected)) = self.map.runs.get(self.run) {
            let Some(part) = run.intersection(here) else {
                return Ok(());
            };
            let start = usize::try_from(part.offset_bytes() - offset_bytes).unwrap_or(0);
            let len = usize::try_from(part.len_bytes()).unwrap_or(0);
            self.hasher.update(&bytes[start..start + len]);
            if part.end_bytes() < run.end_bytes() {
                return Ok(());
            }
            let found: [u8; 32] = self.hasher.finalize_reset().into();
            if expected.is_some_and(|expected| expected != found) {
                let field = "SHA-256 of a run";
                let (at, expected) = (run.offset_bytes(), "that of the block map");
                return Err(Corrupt::new("image", field, at, expected, "another one").into());
            }
            self.run += 1;
        }
        Ok(())
    }
}

/// The map's file has a checksum of itself. It is computed with zeroes in the place of the checksum.
fn check_own(text: &str, root: Node<'_, '_>) -> Result<()> {
    let Some(own) = value(root, "BmapFileChecksum") else {
        return Ok(());
    };
    let zeroes = "0".repeat(own.len());
    let found = Sha256::digest(text.replacen(own, &zeroes, 1));
    match digest_of(own) {
        Some(expected) if expected[..] == found[..] => Ok(()),
        _ => Err(wrong("BmapFileChecksum", "that of the file", own)),
    }
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children()
        .find(|child| child.tag_name().name() == name)
}

fn value<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim)
}

fn number(node: Node<'_, '_>, name: &'static str) -> Result<u64> {
    let text = value(node, name).unwrap_or_default();
    text.parse().map_err(|_| wrong(name, "a number", text))
}

/// `3-7` or `3`, in blocks; the last block of an image may be cut short.
fn run(node: Node<'_, '_>, block_bytes: u64, image_bytes: u64) -> Result<Extent> {
    let text = node.text().unwrap_or_default().trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parsed = first
        .trim()
        .parse::<u64>()
        .ok()
        .zip(last.trim().parse::<u64>().ok());
    let extent = parsed.and_then(|(first, last)| {
        let start = first.checked_mul(block_bytes)?;
        let end = last.checked_add(1)?.checked_mul(block_bytes)?;
        Extent::between(start, end.min(image_bytes))
    });
    extent.ok_or_else(|| wrong("Range", "blocks of the image", text))
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    let text = Some(text.as_bytes()).filter(|text| text.len() == 64)?;
    let mut digest = [0; 32];
    for (out, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|it| u8::try_from(it).ok())
        };
        *out = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

fn wrong(field: &'static str, expected: &str, found: impl std::fmt::Display) -> Error {
    let found: String = found.to_string().chars().take(80).collect();
    Corrupt::new("block map", field, 0, expected, format!("{found:?}")).into()
}

#[cfg(test)]
mod tests {
    use super::{Bmap, Checker};
    use klon_partition::Extent;

    const TEXT: &str = "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n<ImageSize> 9000 </ImageSize>\n\
        <BlockSize> 4096 </BlockSize>\n<ChecksumType> sha256 </ChecksumType>\n<BlockMap>\n\
        <Range chksum=\"@\"> 0 </Range>\n<Range> 2-2 </Range></BlockMap></bmap>";
    /// Of 4096 zeroes.
    const ZEROES: &str = "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7";

    #[test]
    fn runs_are_read_and_compared() {
        let map = Bmap::parse(&TEXT.replace('@', ZEROES)).unwrap();
        assert_eq!(map.image_bytes, 9000);
        assert_eq!(map.runs[1].0, Extent::new(8192, 808).unwrap());
        let image = vec![0; 9000];
        for step in [1, 1000, 4096, 9000] {
            let mut checker = Checker::new(&map);
            for (index, piece) in image.chunks(step).enumerate() {
                checker.take(piece, (index * step) as u64).unwrap();
            }
        }
        let mut damaged = image;
        damaged[4095] = 1;
        assert!(Checker::new(&map).take(&damaged, 0).is_err());
        damaged[4095] = 0;
        damaged[4096] = 1;
        Checker::new(&map).take(&damaged, 0).unwrap();
    }

    #[test]
    fn nonsense_is_refused() {
        let right = TEXT.replace('@', ZEROES);
        for (part, other) in [
            ("9000", "-1"),
            ("> 4096", "> 0"),
            ("> 4096", "> 18446744073709551615"),
            ("2-2", "3-2"),
            ("2-2", "3"),
            ("2-2", "0"),
            ("2-2", "18446744073709551615"),
            ("ad7f", "ad7g"),
            ("bmap version", "map version"),
            ("</bmap>", ""),
            (
                "<BlockMap>",
                "<BmapFileChecksum>00</BmapFileChecksum><BlockMap>",
            ),
        ] {
            let text = right.replacen(part, other, 1);
            assert!(Bmap::parse(&text).is_err(), "{part} {other}");
        }
        for end in 0..right.len() {
            let _ = Bmap::parse(&right[..end]);
        }
    }
}
