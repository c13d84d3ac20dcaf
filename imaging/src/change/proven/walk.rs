//! A walk over all files: what is proven of them, and what is kept of them for the next one.

use super::fold::Fold;
use super::identities::{IdentityWriter, Kept};
use super::request::Walk;
use super::verdict::{Count, Largest, Previous, Verdict, WalkError};
use klon_partition::ExtentMap;
use klon_partition::filesystem::Kind;
use klon_partition::filesystem::files::Beside;
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// What a walk found.
#[derive(Debug)]
pub struct Found<W> {
    /// What is proven to be as it was. What is in use now and not proven is to be read.
    pub proven: ExtentMap,
    /// What files have that are written past the filesystem, to be kept for the next walk.
    pub written_past: ExtentMap,
    /// The regular files, by what was found of them.
    pub files: BTreeMap<Verdict, Count>,
    /// The largest of them that are to be read whole.
    pub largest: Largest,
    /// Where the entries for the next walk went.
    pub inner: W,
    /// How many those are.
    pub kept: Kept,
    /// The contents of regular files; `None` when they are in too many pieces.
    pub contents: Option<ExtentMap>,
}

/// Walks over the files of a filesystem: compares them with those of the `previous` run, and keeps
/// what the next one needs. Nothing is proven without a previous run.
///
/// Memory is bounded whatever the number of files; of a file in more than 2¹⁹ pieces nothing is
/// proven, and of more than 2²⁰ proven extents only the larger ones are.
///
/// # Errors
/// [`WalkError`]; then nothing is proven and nothing is kept.
pub fn walk<R: Read, W: Write>(
    of: Walk<'_>,
    previous: Option<Previous<'_, R>>,
    keep: IdentityWriter<W>,
) -> Result<Found<W>, WalkError> {
    let Walk {
        filesystem,
        device,
        rule,
        ..
    } = of;
    let summary = filesystem.summary();
    if !matches!(
        summary.kind,
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 | Kind::Xfs | Kind::Ntfs
    ) {
        return Err(WalkError::Kind(summary.kind));
    }
    let doubtful = previous.as_ref().map(Previous::doubtful);
    let described = previous.as_ref().map(|previous| previous.described);
    let instance = filesystem.instance(device)?;
    let made = instance.and_then(|instance| instance.made);
    let mut fold = Fold::new(of, made, previous, keep);
    let mut beside = Beside::new(&mut fold);
    let gaps = filesystem.files(device, &mut beside);
    let contents = beside.finish().finish();
    let gaps = gaps.ok_or(WalkError::Kind(summary.kind))?;
    let folded = fold.finish()?;
    if !gaps.is_empty() {
        return Err(WalkError::Gaps(gaps));
    }
    let (inner, kept) = folded.keep.finish().map_err(WalkError::Keep)?;
    let none = ExtentMap::new();
    let others = folded.others.union(&folded.written_past);
    let others = others.union(doubtful.as_ref().unwrap_or(&none));
    Ok(Found {
        proven: rule.limit(&folded.proven, &others, described.unwrap_or(&none)),
        written_past: folded.written_past,
        files: folded.files,
        largest: folded.largest,
        inner,
        kept,
        contents,
    })
}
