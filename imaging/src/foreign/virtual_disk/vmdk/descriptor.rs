//! The text that describes a vmdk image: a file of its own, or inside of a sparse one. It names other files,
//! so that whoever made the image could choose what of this machine is read. It is read here as QEMU's
//! `block/vmdk.c` reads it, which takes more for a line than the format does.

use super::super::{CONVERT, SECTOR_BYTES, chained, to_len};
use super::{MAGIC, esx};
use klon_partition::bytes::{le32, le64};
use klon_partition::device::read_vec;
use klon_partition::text::{quoted, sealed};
use klon_partition::{Error, ReadAt, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A descriptor is text of a few KiB; VMware gives it 20 sectors. QEMU reads more.
const BYTES_MAX: u64 = 64 << 10;
const START: &[u8] = b"# Disk DescriptorFile";
/// Where QEMU looks for the parent of a sparse image, wherever the header says that the descriptor is.
const PARENT_AT: u64 = 512;
const PARENT_BYTES: u64 = 20 * SECTOR_BYTES;

/// Whether a file with this start is a descriptor.
fn is_text(start: &[u8]) -> bool {
    (start.get(..START.len())).is_some_and(|start| start.eq_ignore_ascii_case(START))
}

/// Whether a file with this start may be a vmdk image.
pub(in super::super) fn is_image(head: &[u8]) -> bool {
    head.starts_with(MAGIC) || head.starts_with(esx::MAGIC) || is_text(head)
}

/// Refuses an image that is a part of a chain, or names files elsewhere. Whether it certainly is an image.
///
/// # Errors
/// [`Error::Unsupported`], and [`Error::Io`] when it can't be read.
pub(in super::super) fn check_names(file: &dyn ReadAt, head: &[u8]) -> Result<bool> {
    let version = head.get(..8).map_or(0, |head| le32(head, 4));
    let is_sure = match head {
        _ if is_text(head) => true,
        _ if head.starts_with(MAGIC) => (1..=3).contains(&version),
        _ => version == 1,
    };
    if is_sure {
        for text in texts(file)? {
            check(&text)?;
        }
    }
    Ok(is_sure)
}

/// The descriptors of an image: where its header says, and where QEMU looks for a parent.
pub(super) fn texts(file: &dyn ReadAt) -> Result<Vec<String>> {
    let size_bytes = file.geometry().size_bytes;
    let head = read_vec(file, 0, to_len(size_bytes.min(512)))?;
    if is_text(&head) {
        return Ok(vec![text(file, 0)?]);
    }
    let is_sparse = head.starts_with(MAGIC);
    if !is_sparse && !head.starts_with(esx::MAGIC) {
        return Ok(Vec::new());
    }
    let at = (head.get(..44).filter(|_| is_sparse))
        .map_or(0, |fields| le64(fields, 28).saturating_mul(SECTOR_BYTES));
    let mut found = Vec::new();
    if at != 0 {
        found.push(text(file, at)?);
    }
    if at != PARENT_AT && size_bytes > PARENT_AT {
        let len_bytes = PARENT_BYTES.min(size_bytes - PARENT_AT);
        found.push(until_zero(&read_vec(file, PARENT_AT, to_len(len_bytes))?).0);
    }
    Ok(found)
}

/// The text at a place, which must end within what a descriptor may have.
fn text(file: &dyn ReadAt, at: u64) -> Result<String> {
    let rest_bytes = file.geometry().size_bytes.saturating_sub(at);
    if rest_bytes == 0 {
        return Ok(String::new());
    }
    let bytes = read_vec(file, at, to_len(rest_bytes.min(BYTES_MAX)))?;
    let (text, is_ended) = until_zero(&bytes);
    match is_ended || rest_bytes <= BYTES_MAX {
        true => Ok(text),
        false => Err(Error::unsupported(
            format!("a vmdk image whose descriptor has more than {BYTES_MAX} bytes"),
            CONVERT,
        )),
    }
}

fn until_zero(bytes: &[u8]) -> (String, bool) {
    let end = bytes.iter().position(|&byte| byte == 0);
    let text = &bytes[..end.unwrap_or(bytes.len())];
    (String::from_utf8_lossy(text).into_owned(), end.is_some())
}

/// Refuses a descriptor of a part of a chain, and one that names files elsewhere.
fn check(text: &str) -> Result<()> {
    // VMware goes by the identifier, QEMU by the name.
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let has_parent = lines.any(|(key, value)| {
        key.trim().eq_ignore_ascii_case("parentCID")
            && !value.trim().eq_ignore_ascii_case("ffffffff")
    });
    if has_parent || text.to_ascii_lowercase().contains("parentfilenamehint") {
        return Err(chained("a vmdk image that is a snapshot of another one"));
    }
    match extents(text).find(|extent| extent.is_elsewhere()) {
        Some(_) => Err(elsewhere()),
        None => Ok(()),
    }
}

/// Refuses extents beside `path` that are no plain files: a link leads elsewhere.
pub(super) fn check_extents(text: &str, path: &Path) -> Result<()> {
    for extent in extents(text) {
        match fs::symlink_metadata(beside(path, extent.name)) {
            Ok(found) if found.is_file() => {}
            Ok(_) => {
                return Err(Error::unsupported(
                    format!(
                        "a vmdk image whose extent {} is no plain file",
                        quoted(&sealed(extent.name))
                    ),
                    CONVERT,
                ));
            }
            // In QEMU's names a colon may be the end of a protocol, and this may be another name than QEMU's.
            Err(_) if extent.name.contains([':', char::REPLACEMENT_CHARACTER]) => {
                return Err(elsewhere());
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn elsewhere() -> Error {
    Error::unsupported("a vmdk image of files in other directories", CONVERT)
}

/// A file beside an image. QEMU looks beside the file, and not beside a link to it.
pub(super) fn beside(path: &Path, name: &str) -> PathBuf {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.parent().unwrap_or_else(|| Path::new(".")).join(name)
}

/// A file that has sectors of the disk, as in `RW 16384 FLAT "disk-f001.vmdk" 0`.
pub(super) struct TextExtent<'a> {
    pub(super) sectors: Option<u64>,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    /// Where in the file they begin, in sectors.
    pub(super) start: u64,
}

impl TextExtent<'_> {
    fn is_elsewhere(&self) -> bool {
        self.name.contains(['/', '\\']) || self.name == ".."
    }
}

/// All extents that a descriptor names. QEMU's fields may be on several lines: the name is what is in the next
/// quotation marks.
pub(super) fn extents(text: &str) -> impl Iterator<Item = TextExtent<'_>> {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    lines.filter_map(|at| {
        let line = text.get(at..)?.trim_start();
        let is_extent = ["RW", "RDONLY", "NOACCESS"].iter().any(|access| {
            (line.strip_prefix(access))
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace()))
        });
        if !is_extent {
            return None;
        }
        let (fields, rest) = line.split_once('"')?;
        let end = rest.find(['"', '\n', '\r']).unwrap_or(rest.len());
        let mut words = fields.split_whitespace().skip(1);
        Some(TextExtent {
            sectors: words.next().and_then(|word| word.parse().ok()),
            kind: words.next().unwrap_or_default(),
            name: &rest[..end],
            start: (rest.get(end + 1..))
                .and_then(|behind| behind.split_whitespace().next())
                .and_then(|word| word.parse().ok())
                .unwrap_or(0),
        })
    })
}
