//! Pruning: snapshots are taken out of the catalog, and space that only they used becomes a hole.
//!
//! The order makes it safe: the new catalog is durable before the first hole is made. Each prune asks
//! the file itself which frames are in use, so the next prune completes an interrupted one.

use super::append::Append;
use super::catalog::Catalog;
use super::catalog::pages::PageNode;
use super::frame::room_bytes;
use super::frames_in_use::FramesInUse;
use super::header::HEADER_LEN;
use super::reader::Image;
use super::reference::Reference;
use super::snapshot::Snapshot;
use super::tail::{COMMIT_ALIGN, FOOTER_BYTES, Tail};
use super::writer::ImageWriter;
use crate::error::{Error, Result};
use crate::progress::{Event, Observer};
use klon_partition::error::Remedy;
use klon_partition::{Extent, ExtentMap};
use std::io;

/// Holes begin and end at multiples of this: the blocks of most filesystems.
pub const HOLE_ALIGN: u64 = 4096;

/// Something in which holes can be made.
pub trait Punch {
    /// Frees the space of `extent`, which reads as zeroes from then on.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where that can't be done; what the system says.
    fn punch(&self, extent: Extent) -> io::Result<()>;

    /// Makes the holes durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;
}

/// What a prune would do.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunePlan {
    /// Numbers of the snapshots that are removed.
    pub remove: Vec<u64>,
    /// The parts of the file that become holes.
    pub holes: ExtentMap,
    /// Bytes of these parts that take space now.
    pub freed_bytes: u64,
    /// Bytes of the file that remain in use.
    pub live_bytes: u64,
    /// Bytes behind the last commit, left by an interrupted run, that are cut off.
    pub torn_bytes: u64,
    /// Whether a catalog must be written first.
    is_commit_needed: bool,
}

impl PrunePlan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.remove.is_empty() && self.freed_bytes == 0
    }
}

/// Plans the removal of the snapshots with these numbers. Without numbers, plans the completion of an
/// earlier prune.
///
/// # Errors
/// [`Error::Image`] when a remaining snapshot is damaged, because the space it uses is then unknown.
/// [`Error::Refused`] when no snapshot would remain.
pub fn plan_prune(image: &Image, remove: &[u64]) -> Result<PrunePlan> {
    ImageWriter::<Vec<u8>>::check_appendable(image)?;
    let remains = remaining(image.catalog(), remove)?;
    let tail = image.tail();
    let before = tail.before(image.device(), image.header());
    let before = before.map_err(Error::Image)?;
    let mut live = live_frames(image, &remains)?;
    // The next catalog refers to those of its pages that stay as they are.
    live.extend(page_frames(tail));
    let is_new = !remove.is_empty();
    if !is_new {
        live.extend(commit_frames(tail));
        live.extend(before.iter().flat_map(commit_frames));
    }
    let live: ExtentMap = live.into_iter().collect();
    let holes = holes(&live, tail.end);
    let allocated = match Extent::new(0, tail.end) {
        Some(all) => image.device().data(all).map_err(Error::Image)?,
        None => ExtentMap::new(),
    };
    let freed_bytes = holes.intersection(&allocated).total_bytes();
    let is_commit_needed = is_new || (freed_bytes > 0 && before.is_none());
    Ok(PrunePlan {
        remove: remove.to_vec(),
        holes,
        freed_bytes,
        live_bytes: live.total_bytes(),
        torn_bytes: match is_commit_needed {
            true => image.size_bytes().saturating_sub(tail.next_position()),
            false => 0,
        },
        is_commit_needed,
    })
}

/// Where the writer for [`forget`] begins; the file is cut off there. `None` when the catalog is right
/// already.
#[must_use]
pub fn forget_from(image: &Image, plan: &PrunePlan) -> Option<u64> {
    plan.is_commit_needed.then(|| image.tail().next_position())
}

/// The most space that [`forget`] takes: two catalogs with their footers, in whole blocks.
#[must_use]
pub fn forget_bytes(image: &Image) -> u64 {
    let catalog_bytes = room_bytes(image.tail().catalog_frame.stored_bytes);
    // Each begins a block; its footer is aligned, too.
    let commit_bytes = catalog_bytes.saturating_add(2 * FOOTER_BYTES);
    commit_bytes
        .div_ceil(COMMIT_ALIGN)
        .saturating_mul(2 * COMMIT_ALIGN)
}

/// Takes the snapshots out of the catalog, durably. `output` adds to the image from
/// [`forget_from`] on.
///
/// # Errors
/// [`Error::ImageWrite`]: the image has its old catalog or the new one.
pub fn forget<A: Append>(image: &Image, plan: &PrunePlan, output: A) -> Result<()> {
    let catalog = remaining(image.catalog(), &plan.remove)?;
    let position = image.tail().next_position();
    ImageWriter::behind(output, image, position)?.commit_twice(&catalog)
}

/// Makes holes of everything that no snapshot of `image` uses. The image must have been opened after
/// [`forget`]. Returns how many bytes were freed.
///
/// # Errors
/// [`Error::ImageWrite`], [`Error::Image`], [`Error::Interrupted`]: the next prune goes on.
pub fn punch_unused(
    image: &Image,
    name: &str,
    store: &dyn Punch,
    observer: &dyn Observer,
) -> Result<u64> {
    let plan = plan_prune(image, &[])?;
    let total_bytes = plan.freed_bytes;
    if plan.is_commit_needed {
        // The caller opens the file again after it was told to forget: only the file shows that it was.
        let what = "the catalog without the removed snapshots is not durable twice";
        return Err(Error::Internal(what.to_owned()));
    }
    observer.event(&Event::Started {
        name,
        rung: None,
        reason: "freeing what no snapshot uses",
        total_bytes,
    });
    let all = Extent::new(0, image.tail().end);
    let allocated = all.map_or_else(|| Ok(ExtentMap::new()), |all| image.device().data(all));
    let allocated = allocated.map_err(Error::Image)?;
    for hole in plan.holes.iter() {
        let bytes: u64 = allocated.within(hole).map(Extent::len_bytes).sum();
        if bytes == 0 {
            continue;
        }
        if observer.is_cancelled() {
            store.sync().map_err(Error::ImageWrite)?;
            return Err(Error::Interrupted);
        }
        store.punch(hole).map_err(Error::ImageWrite)?;
        observer.event(&Event::Advanced { bytes });
    }
    observer.event(&Event::Committing);
    store.sync().map_err(Error::ImageWrite)?;
    observer.event(&Event::Finished);
    Ok(total_bytes)
}

/// The catalog without some snapshots.
fn remaining(catalog: &Catalog, remove: &[u64]) -> Result<Catalog> {
    let mut remains = catalog.clone();
    remains
        .snapshots
        .retain(|entry| !remove.contains(&entry.number));
    let last = |catalog: &Catalog| catalog.snapshots.last().map(|entry| entry.number);
    if last(&remains) != last(catalog) {
        return Err(Error::Refused(
            "the last snapshot of an image is never pruned; delete the file if it isn't needed"
                .to_owned(),
        ));
    }
    Ok(remains)
}

/// The snapshots that a catalog lists.
pub(super) fn open_all(image: &Image, catalog: &Catalog) -> Result<Vec<Snapshot>> {
    let open = |number| image.snapshot(Some(number));
    let opened = catalog.snapshots.iter().map(|entry| open(entry.number));
    opened
        .collect::<klon_partition::Result<_>>()
        .map_err(damaged)
}

/// Checks that every frame of the remaining snapshots is known.
pub(super) fn damaged(error: klon_partition::Error) -> Error {
    Error::Image(match error {
        klon_partition::Error::Corrupt(_) => klon_partition::Error::RefusedUnless {
            reason: format!(
                "a snapshot that is to be kept is damaged, so what it uses can't be told: {error}. Nothing \
                 was changed"
            ),
            remedy: Remedy::CheckImage,
        },
        error => error,
    })
}

/// Everything that the header and the snapshots of `catalog` occupy.
fn live_frames(image: &Image, catalog: &Catalog) -> Result<Vec<Extent>> {
    let snapshots = open_all(image, catalog)?;
    let frames = FramesInUse::of(image, &snapshots);
    if let Some((_, error)) = frames.lost.into_iter().next() {
        return Err(damaged(error));
    }
    let manifests = catalog.snapshots.iter();
    let manifests = manifests.map(|entry| Reference::from(entry.manifest));
    let mut live: Vec<Extent> = Extent::new(0, HEADER_LEN as u64).into_iter().collect();
    let references = manifests.chain(frames.pages).chain(frames.data);
    live.extend(references.filter_map(|reference| frame_of(&reference)));
    Ok(live)
}

/// What a frame occupies, up to where the next may begin.
fn frame_of(reference: &Reference) -> Option<Extent> {
    match reference.is_zero() {
        true => None,
        false => Extent::new(reference.position, room_bytes(reference.stored_bytes)),
    }
}

/// The pages of a catalog.
fn page_frames(tail: &Tail) -> impl Iterator<Item = Extent> + use<> {
    let pages = PageNode::all_frames(&tail.catalog_pages);
    pages.into_iter().filter_map(|page| frame_of(&page))
}

/// The catalog and the footer of a commit.
fn commit_frames(tail: &Tail) -> impl Iterator<Item = Extent> + use<> {
    let footer = match tail.footer {
        0 => None,
        footer => Extent::new(footer, FOOTER_BYTES),
    };
    let frames = frame_of(&tail.catalog_frame).into_iter().chain(footer);
    frames.chain(page_frames(tail))
}

fn holes(live: &ExtentMap, end: u64) -> ExtentMap {
    let gaps = live.complement(end);
    let whole = |gap: Extent| {
        let start = gap.offset_bytes().checked_next_multiple_of(HOLE_ALIGN)?;
        Extent::between(start, gap.end_bytes() / HOLE_ALIGN * HOLE_ALIGN)
    };
    gaps.iter().filter_map(whole).collect()
}
