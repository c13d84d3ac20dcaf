//! The places in a volume's first chunk that say what it is: overwritten first, restored last.

use crate::chunk::{BLOCK_BYTES, HELD_BYTES, range_in, to_len};
use crate::error::{Error, Result};
use crate::mark::Mark;
use klon_partition::{Extent, ExtentMap, Geometry, WriteAt};

/// The sectors 0 to 2; more on a device whose sectors are larger.
const HEAD_BYTES: u64 = 3 * 512;

/// Where formats keep their first signature.
pub(crate) struct Places {
    /// The first chunk.
    chunk: Extent,
    /// The first sectors, which are written first and last.
    head: ExtentMap,
    /// The other places where a signature may be.
    signatures: ExtentMap,
    sector_bytes: u64,
}

impl Places {
    /// The places of `chunk`, the first one of a volume.
    pub(crate) fn new(geometry: Geometry, chunk: Extent) -> Self {
        let sector_bytes = u64::from(geometry.logical_sector_bytes);
        let head: ExtentMap = Extent::new(0, HEAD_BYTES.max(sector_bytes))
            .and_then(|head| head.intersection(chunk))
            .into_iter()
            .collect();
        let signatures = signature_blocks(chunk)
            .collect::<ExtentMap>()
            .difference(&head);
        Self {
            chunk,
            head,
            signatures,
            sector_bytes,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> ExtentMap {
        self.head.union(&self.signatures)
    }
}

/// The blocks of the first chunk where formats keep their first signature: block 0 and the blocks
/// at the powers of two (4 KiB: bcachefs, MD; 8 KiB: UFS; 16 KiB and on: second LUKS header;
/// 32 KiB: ISO 9660, JFS; 64 KiB: Btrfs, ReiserFS; 128 KiB: ZFS …).
fn signature_blocks(chunk: Extent) -> impl Iterator<Item = Extent> {
    let powers = (0..)
        .map(|shift| BLOCK_BYTES << shift)
        .take_while(|&at| at < HELD_BYTES);
    std::iter::once(0)
        .chain(powers)
        .filter_map(move |offset_bytes| {
            Extent::new(offset_bytes, BLOCK_BYTES).and_then(|block| block.intersection(chunk))
        })
}

/// Durably replaces the places by `mark` and zeroes, the first sectors first. Returns the bytes
/// written.
pub(crate) fn mark_places(target: &dyn WriteAt, places: &Places, mark: &Mark) -> Result<u64> {
    let mut written_bytes = 0;
    let mut marked = vec![0; to_len(places.head.total_bytes())];
    let mark = mark.to_bytes();
    let len = mark.len().min(marked.len());
    marked[..len].copy_from_slice(&mark[..len]);
    written_bytes += write(target, &marked, 0)?;
    target.sync().map_err(Error::Target)?;
    for extent in places.signatures.iter() {
        let zeroes = vec![0; to_len(extent.len_bytes())];
        written_bytes += write(target, &zeroes, extent.offset_bytes())?;
    }
    target.sync().map_err(Error::Target)?;
    Ok(written_bytes)
}

/// Restores the places of the first chunk, and writes what else of it `changed`. The head comes
/// last, a sector at a time from its end, so that each sector vouches only for what follows it.
/// Returns the bytes written.
pub(crate) fn restore_places(
    target: &dyn WriteAt,
    places: &Places,
    content: &[u8],
    changed: &ExtentMap,
) -> Result<u64> {
    let Places {
        chunk,
        head,
        signatures,
        sector_bytes,
    } = places;
    let rest = changed.difference(&places.all());
    let mut sectors: Vec<Extent> = head.iter().flat_map(|e| e.split(*sector_bytes)).collect();
    sectors.reverse();
    let sectors = sectors.into_iter().map(ExtentMap::from);
    let mut written_bytes = 0;
    for part in [rest, signatures.clone()].into_iter().chain(sectors) {
        for extent in part.iter() {
            let range = range_in(*chunk, extent);
            written_bytes += write(target, &content[range], extent.offset_bytes())?;
        }
        target.sync().map_err(Error::Target)?;
    }
    Ok(written_bytes)
}

fn write(target: &dyn WriteAt, data: &[u8], offset_bytes: u64) -> Result<u64> {
    target
        .write_all_at(data, offset_bytes)
        .map_err(Error::Target)?;
    Ok(data.len() as u64)
}
