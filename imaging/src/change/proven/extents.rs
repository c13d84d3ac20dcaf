//! What is proven for a filesystem that keeps a checksum of each sector of data.
//!
//! Such a filesystem never writes an extent in place while its sectors have checksums: what changes
//! gets another extent. So an extent that is the same in all that is said of it holds what it held:
//! its address and length, the transaction that allocated it, its places on the device, and the
//! checksum of each of its sectors. No stamp and no inode is asked, and a power cut changes nothing.
//!
//! An extent is read when one of its sectors has no checksum: it may be written in place. So is what
//! was damaged when it was read last, as a repair of one of two copies leaves no trace.

mod fold;

use super::request::Walk;
use super::rule::Guard;
use super::stream::{Keep, Kept, Stream, StreamWriter, digest_at};
use super::verdict::WalkError;
use fold::Fold;
use klon_partition::ExtentMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// The unit of numbers of extents: no sector of a filesystem is smaller.
const UNIT_BYTES: u64 = 512;

/// What is kept of an extent: 18 bytes of a [`Stream`], its number before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptExtent {
    /// Its address in the filesystem, in units of 512 bytes.
    pub number: u64,
    /// A digest of all that is said of it.
    pub digest: [u8; 16],
}

/// What was kept of each extent, in the order of their addresses.
pub type KeptExtents<R> = Stream<R, KeptExtent>;

/// Writes what is kept of each extent, in the order of their addresses.
pub type ExtentWriter<W> = StreamWriter<W, KeptExtent>;

impl Keep for KeptExtent {
    const MAGIC: [u8; 8] = *b"klonexts";

    fn number(&self) -> u64 {
        self.number
    }

    fn flags(&self) -> u32 {
        0
    }

    fn len(flags: u32) -> Option<usize> {
        (flags == 0).then_some(16)
    }

    fn put(&self, frame: &mut Vec<u8>) {
        frame.extend(self.digest);
    }

    fn parse(number: u64, _flags: u32, raw: &[u8]) -> Self {
        let digest = digest_at(raw, 0);
        Self { number, digest }
    }
}

/// What an earlier run left.
#[derive(Debug)]
pub struct PreviousExtents<'a, R> {
    /// What it kept of each extent.
    pub extents: KeptExtents<R>,
    /// What is [damaged](crate::change::sectors): that run found it in what it read, or earlier runs did in what
    /// it did not read.
    pub damaged: &'a ExtentMap,
    /// What its record describes: all that was in use, but what could not be read or was left out.
    pub described: &'a ExtentMap,
}

/// What a walk found of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtentVerdict {
    /// It is what it was: proven.
    Unchanged,
    /// Nothing was kept of one at this address.
    New,
    /// It is another one than was at this address.
    Changed,
    /// Some of its sectors have no checksum.
    Unsummed,
}

/// Extents, and their bytes: each once, however often it lies on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtentCount {
    /// How many.
    pub extents: u64,
    /// How many bytes of theirs.
    pub bytes: u64,
}

/// What a walk found.
#[derive(Debug)]
pub struct FoundExtents<W> {
    /// What is proven to be as it was, on the device: of data that lies there twice both copies. What
    /// is in use now and not proven is to be read.
    pub proven: ExtentMap,
    /// The extents, by what was found of them.
    pub extents: BTreeMap<ExtentVerdict, ExtentCount>,
    /// Where the entries for the next walk went.
    pub inner: W,
    /// How many those are.
    pub kept: Kept,
}

/// Walks over the data extents of a filesystem: compares them with those of the `previous` run, and keeps
/// what the next one needs. Nothing is proven without a previous run.
///
/// Memory is bounded whatever the number of extents; of more than 2²¹ proven pieces of the device only
/// the larger ones are.
///
/// # Errors
/// [`WalkError`]; then nothing is proven and nothing is kept.
pub fn walk_extents<R: Read, W: Write>(
    of: Walk<'_>,
    previous: Option<PreviousExtents<'_, R>>,
    keep: ExtentWriter<W>,
) -> Result<FoundExtents<W>, WalkError> {
    let Walk {
        filesystem,
        device,
        rule,
        is_cancelled,
    } = of;
    let (previous, limits) = match previous {
        Some(previous) => (
            Some(previous.extents),
            Some((previous.described, previous.damaged)),
        ),
        None => (None, None),
    };
    let mut fold = Fold::new(previous, keep, rule, is_cancelled);
    let walked = filesystem.data_extents(device, &mut fold);
    let walked = walked.ok_or_else(|| WalkError::Kind(filesystem.summary().kind))?;
    // What stopped the fold comes first: the walk itself ended well then.
    let folded = fold.finish()?;
    walked.map_err(|error| WalkError::Gaps(vec![error.to_string()]))?;
    let (inner, kept) = folded.keep.finish().map_err(WalkError::Keep)?;
    let none = ExtentMap::new();
    let (described, damaged) = limits.unwrap_or((&none, &none));
    let damaged = match rule.has(Guard::Intact) {
        true => damaged,
        false => &none,
    };
    let proven = rule.limit(&folded.unchanged, damaged, described);
    Ok(FoundExtents {
        proven,
        extents: folded.extents,
        inner,
        kept,
    })
}

#[cfg(test)]
mod tests;
