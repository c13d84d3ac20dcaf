//! All file records in use: that each cluster they name is marked so, and which are metadata.

use super::bitmap;
use super::mft::{BAD_CLUSTERS, FIRST_USER, Mft};
use super::record::{DATA, Key, Record, is_file_record};
use super::runs::Run;
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::known_bad::Claims;

const PIECE_BYTES: u64 = 1 << 20;
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
    let listed = runs.iter().filter_map(|run| run.place(&mft.geometry));
    let mut claims = Claims::new(listed.collect());
    if !claims.is_idle() {
        for_each_run(mft, device, &mut |_, purpose, extent| {
            if purpose != Use::Bad {
                claims.add(extent);
            }
            Ok(())
        })?;
        // What counts as used whatever the bitmap says.
        bitmap::edges(&mft.geometry).for_each(|extent| claims.add(extent));
    }
    Ok(claims.unclaimed())
}

/// Checks that no cluster of a file is outside of `used`.
///
/// ntfs-3g leaves no mark on a volume that it has mounted, and its "recover" option wipes the
/// marks of others: a bitmap that lags behind the files shows here and nowhere else.
///
/// # Errors
/// [`Error::Corrupt`] naming the record of the first such cluster, or a record in use that fails
/// its check.
pub(super) fn check(mft: &Mft, device: &dyn ReadAt, used: &ExtentMap) -> Result<()> {
    for_each_run(mft, device, &mut |record, _, extent| {
        if used.contains(extent) {
            return Ok(());
        }
        let expected = format!("the clusters {extent} of record {} in use", record.number);
        let bad = Corrupt::new(
            "NTFS $Bitmap",
            "bits",
            record.offset_bytes,
            expected,
            "free",
        );
        Err(bad.into())
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
    let mut base: Option<(u64, bool)> = None;
    for_each_run(mft, device, &mut |record, purpose, extent| {
        let is_other = match purpose {
            Use::Contents => !is_own(mft, device, record, &mut base)?,
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

/// Whether a record belongs to one of the filesystem's own files. Its base record says so, which
/// is kept for the next record.
fn is_own(
    mft: &Mft,
    device: &dyn ReadAt,
    record: &Record,
    known: &mut Option<(u64, bool)>,
) -> Result<bool> {
    let Some(base) = record.base() else {
        return Ok(record.number < FIRST_USER || record.is_system());
    };
    if let Some((number, is_own)) = *known
        && number == base.number
    {
        return Ok(is_own);
    }
    let is_own = base.number < FIRST_USER || mft.record(device, base.number)?.is_system();
    *known = Some((base.number, is_own));
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
            let base = record.base().map_or(record.number, |base| base.number);
            let purpose = if attribute.is(Key::unnamed(DATA)) {
                Use::Contents
            } else if base == BAD_CLUSTERS && attribute.is(Key::bad_clusters()) {
                Use::Bad
            } else {
                Use::Own
            };
            for extent in runs.iter().filter_map(|run| run.place(&mft.geometry)) {
                visit(record, purpose, extent)?;
            }
        }
        Ok(())
    })
}

/// Calls `visit` with each record in use, or with what is wrong with it.
///
/// # Errors
/// Those of `visit`; [`Error::Io`] when the device fails.
pub(super) fn for_each_record(
    mft: &Mft,
    device: &dyn ReadAt,
    bits: &Stream,
    visit: &mut dyn FnMut(Result<Record>) -> Result<()>,
) -> Result<()> {
    let record_bytes = mft.geometry.record_bytes;
    // A multiple of 8 records, so that their bits are whole bytes.
    let piece_records = PIECE_BYTES / record_bytes as u64;
    let mut number = 0;
    while number < mft.records() {
        let count = piece_records.min(mft.records().saturating_sub(number));
        let len = usize::try_from(count)
            .unwrap_or(0)
            .saturating_mul(record_bytes);
        let mut piece = vec![0; len];
        let at = number.saturating_mul(record_bytes as u64);
        mft.data().read(device, &mft.geometry, (at, &mut piece))?;
        let in_use = in_use(mft, device, bits, (number, count))?;
        for ((number, bytes), is_used) in
            (number..).zip(piece.chunks_exact(record_bytes)).zip(in_use)
        {
            // What was never used may hold anything.
            if !is_used && !is_file_record(bytes) {
                continue;
            }
            let offset_bytes = mft.record_offset_bytes(number);
            let record = match Record::parse(bytes.to_vec(), number, offset_bytes) {
                Err(_) if !is_used => continue,
                Ok(record) if !record.is_in_use() => continue,
                parsed => parsed.map_err(Error::from),
            };
            visit(record)?;
        }
        number = number.saturating_add(count);
    }
    Ok(())
}

/// Whether the bitmap of records has these as used; beyond its end none is.
fn in_use(
    mft: &Mft,
    device: &dyn ReadAt,
    bits: &Stream,
    (first, count): (u64, u64),
) -> Result<impl Iterator<Item = bool>> {
    let start = first / 8;
    let end = first
        .saturating_add(count)
        .div_ceil(8)
        .min(bits.written_bytes());
    let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut bytes = vec![0; len];
    if len > 0 {
        bits.read(device, &mft.geometry, (start, &mut bytes))?;
    }
    Ok((0..count).map(move |index| {
        let byte = usize::try_from(index / 8)
            .ok()
            .and_then(|byte| bytes.get(byte));
        byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }))
}
