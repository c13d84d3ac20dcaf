//! All file records in use: whether each cluster that they name is marked as used, and which are
//! metadata.
//!
//! Linux-NTFS documentation, "$MFT", "$Bitmap" and "$BadClus":
//! <https://flatcap.github.io/linux-ntfs/ntfs/files/index.html>.

use super::address::RecordNumber;
use super::bitmap;
use super::mft::{BAD_CLUSTERS, FIRST_USER, Mft};
use super::record::{DATA, Key, Record, is_file_record};
use super::runs::Run;
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::bits::{Order, is_set};
use crate::filesystem::files::Next;
use crate::filesystem::known_bad::Claims;
use std::ops::Range;

/// How much of the master file table is read at once.
const PIECE_LEN: usize = 1 << 20;
const METADATA_EXTENTS_MAX: usize = 1 << 20;

/// What an extent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Contents of a file.
    Contents,
    /// Nothing: its clusters are listed as bad.
    Bad,
    /// Everything else.
    Own,
}

/// The clusters that `$BadClus` lists and that no other file has.
///
/// # Errors
/// [`Error::Corrupt`] when a record in use fails its check.
pub(super) fn known_bad(mft: &Mft, device: &dyn ReadAt) -> Result<ExtentMap> {
    let record = mft.record(device, BAD_CLUSTERS)?;
    let Some(Stream::Nonresident { runs, .. }) =
        mft.stream(device, &record, Key::bad_clusters())?
    else {
        return Ok(ExtentMap::new());
    };
    let listed = runs.iter().filter_map(|run| run.extent(&mft.geometry));
    let mut claims = Claims::new(listed.collect());
    if !claims.is_idle() {
        for_each_run(mft, device, &mut |_, purpose, extent| {
            if purpose != Use::Bad {
                claims.add(extent);
            }
            Ok(())
        })?;
        // The edges count as used, whatever the bitmap says.
        bitmap::edges(&mft.geometry).for_each(|extent| claims.add(extent));
    }
    Ok(claims.unclaimed())
}

/// Checks that no cluster of a file is outside of `used`.
///
/// ntfs-3g leaves no mark on a volume that it has mounted, and its "recover" option wipes the
/// marks of others. So a bitmap that lags behind the files shows here and nowhere else.
///
/// # Errors
/// [`Error::Corrupt`], which names the record of the first such cluster, or a record in use that
/// fails its check.
pub(super) fn check(mft: &Mft, device: &dyn ReadAt, used: &ExtentMap) -> Result<()> {
    for_each_run(mft, device, &mut |record, _, extent| {
        if used.contains(extent) {
            return Ok(());
        }
        let expected = format!("the clusters {extent} of record {} in use", record.number);
        let (structure, offset_bytes) = ("NTFS $Bitmap", record.offset_bytes);
        Err(Corrupt::new(structure, "bits", offset_bytes, expected, "free").into())
    })
}

/// The clusters of everything but contents of files: of the filesystem's own files, and of
/// directories, attribute lists and all other attributes that are not the unnamed `$DATA`.
///
/// # Errors
/// [`Error::Corrupt`] when a record in use fails its check; [`Error::Unsupported`] when there are
/// too many extents for the bounds of memory.
pub(super) fn metadata(mft: &Mft, device: &dyn ReadAt) -> Result<ExtentMap> {
    let mut extents = Vec::new();
    let mut known = None;
    for_each_run(mft, device, &mut |record, purpose, extent| {
        let is_other = match purpose {
            Use::Contents => !is_own(mft, device, record, &mut known)?,
            Use::Bad => true,
            Use::Own => false,
        };
        if is_other {
            return Ok(());
        }
        if extents.len() >= METADATA_EXTENTS_MAX {
            return Err(Error::unsupported(
                format!("an NTFS volume with metadata in more than {METADATA_EXTENTS_MAX} pieces"),
                "they don't fit in memory",
            ));
        }
        extents.push(extent);
        Ok(())
    })?;
    Ok(extents.into_iter().collect())
}

/// What a base record says of its file.
struct Base {
    number: RecordNumber,
    is_own: bool,
}

/// Whether a record belongs to one of the filesystem's own files. Its base record says so; the
/// answer is kept in `known` for the next record.
fn is_own(
    mft: &Mft,
    device: &dyn ReadAt,
    record: &Record,
    known: &mut Option<Base>,
) -> Result<bool> {
    let Some(base) = record.base() else {
        return Ok(record.number < FIRST_USER || record.is_system());
    };
    let number = base.number;
    if let Some(known) = known.as_ref().filter(|known| known.number == number) {
        return Ok(known.is_own);
    }
    let is_own = number < FIRST_USER || mft.record(device, number)?.is_system();
    *known = Some(Base { number, is_own });
    Ok(is_own)
}

/// Calls `visit` with each record in use, what an extent of it holds, and the extent.
fn for_each_run(
    mft: &Mft,
    device: &dyn ReadAt,
    visit: &mut dyn FnMut(&Record, Use, Extent) -> Result<()>,
) -> Result<()> {
    let bits = mft.record_bitmap(device)?;
    let mut runs: Vec<Run> = Vec::new();
    for_each_record(mft, device, &bits, &mut |record| {
        let record = &record?;
        for attribute in record.attributes() {
            let attribute = attribute?;
            if !attribute.is_nonresident() {
                continue;
            }
            runs.clear();
            attribute.pairs().decode(&mft.geometry, &mut runs)?;
            let base = record.base_number();
            let purpose = if attribute.is(Key::unnamed(DATA)) {
                Use::Contents
            } else if base == BAD_CLUSTERS && attribute.is(Key::bad_clusters()) {
                Use::Bad
            } else {
                Use::Own
            };
            for extent in runs.iter().filter_map(|run| run.extent(&mft.geometry)) {
                visit(record, purpose, extent)?;
            }
        }
        Ok(Next::Continue)
    })
}

/// Calls `visit` with each record in use, or with what is wrong with it, until it says [`Next::Stop`].
///
/// # Errors
/// Those of `visit`; [`Error::Io`] when the device fails.
pub(super) fn for_each_record(
    mft: &Mft,
    device: &dyn ReadAt,
    bits: &Stream,
    visit: &mut dyn FnMut(Result<Record>) -> Result<Next>,
) -> Result<()> {
    let geometry = &mft.geometry;
    let record_len = geometry.record_bytes;
    // A multiple of 8 records, so that their bits are whole bytes.
    let piece_records = PIECE_LEN / record_len;
    for first in (0..mft.records()).step_by(piece_records) {
        let left = usize::try_from(mft.records() - first).unwrap_or(piece_records);
        let count = left.min(piece_records);
        let mut piece = vec![0; count * record_len];
        let at = geometry.record_byte(RecordNumber(first));
        mft.data().read(device, geometry, at, &mut piece)?;
        let records = first..first.saturating_add(count as u64);
        let in_use = bits_of(mft, device, bits, records)?;
        for ((number, index), bytes) in (first..).zip(0..).zip(piece.chunks_exact(record_len)) {
            let is_used = is_set(&in_use, Order::LeastFirst, index) == Some(true);
            // A record that was never used may hold anything.
            if !is_used && !is_file_record(bytes) {
                continue;
            }
            let number = RecordNumber(number);
            let offset_bytes = mft.record_offset_bytes(number);
            let record = match Record::parse(bytes.to_vec(), number, offset_bytes) {
                Err(_) if !is_used => continue,
                Ok(record) if !record.is_in_use() => continue,
                parsed => parsed.map_err(Error::from),
            };
            if visit(record)? == Next::Stop {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The bits of `records`, of which the first is a multiple of 8. Those beyond the end of the bitmap are
/// missing, as no record there is in use.
fn bits_of(mft: &Mft, device: &dyn ReadAt, bits: &Stream, records: Range<u64>) -> Result<Vec<u8>> {
    let start = records.start / 8;
    let left = bits.written_bytes().saturating_sub(start);
    let needed = (records.end - records.start).div_ceil(8);
    // A piece of the table has a few thousand records.
    let mut bytes = vec![0; left.min(needed) as usize];
    if !bytes.is_empty() {
        bits.read(device, &mft.geometry, start, &mut bytes)?;
    }
    Ok(bytes)
}
