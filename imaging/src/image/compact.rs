//! Rewriting an image: a new file gets only what the remaining snapshots use.

use super::append::Append;
use super::catalog::Catalog;
use super::frame::{FrameType, room_bytes};
use super::frames_in_use::FramesInUse;
use super::header::{HEADER_LEN, Header};
use super::prune::{damaged, open_all};
use super::reader::Image;
use super::reference::Reference;
use super::snapshot::Snapshot;
use super::writer::{ImageWriter, TreeBuilder};
use crate::error::{Error, Result};
use crate::pipeline::{self, Flow};
use crate::progress::{Event, Runner, unless_cancelled};
use klon_partition::Error as PartitionError;
use uuid::Uuid;

/// Room for everything but data frames: commits and padding.
const SLACK_BYTES: u64 = 1 << 20;
/// Room for a snapshot's two entries of the catalog.
const CATALOG_ENTRY_BYTES: u64 = 1024;

/// The largest size that the new file can have when the snapshots with these numbers are left out.
///
/// # Errors
/// As [`compact`].
pub fn compact_bytes(image: &Image, remove: &[u64]) -> Result<u64> {
    let snapshots = open_all(image, &remaining(image, remove))?;
    let frames = found(FramesInUse::of(image, &snapshots))?;
    let manifests = snapshots
        .iter()
        .map(|snapshot| Reference::from(snapshot.entry().manifest));
    // Pages and manifests hold positions, and may compress less well than before.
    let page = |reference: Reference| room_bytes(reference.plain_bytes);
    let rewritten: u64 = manifests.chain(frames.pages).map(page).sum();
    let data = frames.data.iter().map(|r| room_bytes(r.stored_bytes));
    let catalog_bytes = snapshots.len() as u64 * CATALOG_ENTRY_BYTES;
    Ok(HEADER_LEN as u64 + rewritten + data.sum::<u64>() + catalog_bytes + SLACK_BYTES)
}

/// Writes a new image with the snapshots of `image`, without those whose numbers are in `remove`. The
/// others keep their numbers. Every frame is checked when it is read. Returns `output`, which is
/// durable then.
///
/// # Errors
/// [`Error::Image`] when a remaining snapshot is damaged, [`Error::ImageWrite`],
/// [`Error::Interrupted`].
pub fn compact<A: Append>(
    image: &Image,
    remove: &[u64],
    output: A,
    runner: Runner<'_>,
) -> Result<A> {
    let observer = runner.observer;
    let mut catalog = remaining(image, remove);
    check_possible(image)?;
    let snapshots = open_all(image, &catalog)?;
    let frames = found(FramesInUse::of(image, &snapshots))?;
    let stored = |reference: &Reference| u64::from(reference.stored_bytes);
    observer.event(&Event::Started {
        name: runner.name,
        rung: None,
        reason: "writing what remains to a new file",
        total_bytes: frames.data.iter().map(stored).sum(),
    });
    let mut writer = ImageWriter::create(output, header_of(image))?;
    let moved = copy(image, frames.data, &mut writer, runner)?;
    observer.event(&Event::Committing);
    for (snapshot, entry) in snapshots.iter().zip(&mut catalog.snapshots) {
        let mut manifest = snapshot.manifest().clone();
        manifest.tree = tree(snapshot, &moved, &mut writer)?;
        let plain = manifest.to_bytes().map_err(Error::ImageWrite)?;
        entry.manifest = writer.put_manifest(plain)?.into();
    }
    writer.commit_twice(&catalog)?;
    observer.event(&Event::Finished);
    Ok(writer.into_output())
}

fn check_possible(image: &Image) -> Result<()> {
    let tail = image.tail();
    if !image.header().is_appendable || (tail.damage.is_some() && !tail.is_footer_lost) {
        // Its contents hold for a copy too.
        return ImageWriter::<Vec<u8>>::check_appendable(image);
    }
    Ok(())
}

/// The header of the copy: the same, unless it was lost, except that the catalog is written again.
fn header_of(image: &Image) -> Header {
    let header = Header {
        has_catalog_pages: true,
        ..*image.header()
    };
    match image.header_damage() {
        Some(_) => Header {
            uuid: Uuid::new_v4(),
            ..header
        },
        None => header,
    }
}

fn remaining(image: &Image, remove: &[u64]) -> Catalog {
    let mut catalog = image.catalog().clone();
    catalog
        .snapshots
        .retain(|entry| !remove.contains(&entry.number));
    catalog
}

fn found(frames: FramesInUse) -> Result<FramesInUse> {
    let FramesInUse { pages, data, lost } = frames;
    match lost.into_iter().next() {
        Some((_, error)) => Err(damaged(error)),
        None => Ok(FramesInUse {
            pages,
            data,
            lost: Vec::new(),
        }),
    }
}

/// Where a frame was, and where it is in the copy.
struct Moved {
    from: u64,
    to: u64,
}

/// Copies data frames as they are stored. Returns where each went, in the order of the old positions. A frame
/// has one valid reference, so its position identifies it.
fn copy<A: Append>(
    image: &Image,
    data: Vec<Reference>,
    writer: &mut ImageWriter<A>,
    runner: Runner<'_>,
) -> Result<Vec<Moved>> {
    let Runner {
        threads, observer, ..
    } = runner;
    let mut moved = Vec::with_capacity(data.len());
    let tasks = data
        .into_iter()
        .map(|reference| unless_cancelled(observer, reference));
    let read = |reference: Reference| {
        let stored = image.read_stored(&reference, FrameType::Data);
        Ok((reference, stored.map_err(Error::Image)?))
    };
    let chunk_len = image.header().chunk_size.buffer_len();
    let flow = Flow::of_items(threads, chunk_len, 2 * chunk_len);
    pipeline::run(flow, tasks, read, |(reference, stored)| {
        let now = writer.put(FrameType::Data, &stored)?;
        moved.push(Moved {
            from: reference.position,
            to: now.position,
        });
        observer.event(&Event::Advanced {
            bytes: reference.stored_bytes.into(),
        });
        Ok(())
    })?;
    Ok(moved)
}

/// Writes the pages of a snapshot with the new places.
fn tree<A: Append>(
    snapshot: &Snapshot,
    moved: &[Moved],
    writer: &mut ImageWriter<A>,
) -> Result<Vec<(u64, Reference)>> {
    let mut tree = TreeBuilder::default();
    for item in snapshot.references() {
        let (number, reference) = item.map_err(damaged)?;
        let place = moved.binary_search_by_key(&reference.position, |moved| moved.from);
        let reference = match (reference.is_zero(), place) {
            (true, _) => reference,
            (false, Ok(at)) => Reference {
                position: moved[at].to,
                ..reference
            },
            (false, Err(_)) => {
                let what = format!("the frame at {:#x} was not copied", reference.position);
                return Err(Error::Image(PartitionError::Refused(what)));
            }
        };
        tree.push(writer, number, reference)?;
    }
    tree.finish(writer)
}
