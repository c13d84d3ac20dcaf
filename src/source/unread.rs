//! Bytes of a source that klon doesn't read, and that are zero on its clone. The first mebibyte is read even
//! if nothing there is in use. Blocks that the filesystem lists as bad are never read: they hold nothing, and the drive may
//! fail there. The filesystem may have blocks in use that it does not need. The target must not keep its
//! own content there: a recovery could replay what is in the log of an empty journal.

use anyhow::Result;
use klon_partition::device::Unread;
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::DiskUsage;
use klon_partition::outside::FIRST_BYTES;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::sync::Arc;

/// A volume with zeroes in place of blocks that its filesystem lists as bad or doesn't need.
pub fn of_volume(device: Arc<dyn ReadAt>, usage: &Usage) -> Arc<dyn ReadAt> {
    if usage.basis != Basis::Map {
        return device;
    }
    let blank = match keeps_digests(&*device) {
        true => ExtentMap::new(),
        false => usage.blank(&*device),
    };
    let bad = match is_used(&usage.extents) {
        true => ExtentMap::new(),
        false => in_first_mebibyte(&usage.known_bad(&*device), &usage.extents),
    };
    without(device, bad.union(&blank))
}

/// A disk with such zeroes in each of its volumes.
///
/// # Errors
/// When a partition does not lie on the disk.
pub fn of_disk(device: Arc<dyn ReadAt>, usage: &DiskUsage) -> Result<Arc<dyn ReadAt>> {
    if usage.basis != Basis::Map {
        return Ok(device);
    }
    let blank = match keeps_digests(&*device) {
        true => ExtentMap::new(),
        false => usage.blank(&*device)?,
    };
    let bad = match is_used(&usage.extents) {
        true => ExtentMap::new(),
        false => in_first_mebibyte(&usage.known_bad(&*device)?, &usage.extents),
    };
    Ok(without(device, bad.union(&blank)))
}

/// Whether the device is a snapshot, which keeps digests of all that was taken.
fn keeps_digests(device: &dyn ReadAt) -> bool {
    let first_bytes = device.geometry().size_bytes.min(FIRST_BYTES);
    let digest = Extent::new(0, first_bytes).map(|first| device.sha256(first));
    matches!(digest, Some(Ok(Some(_))))
}

/// Whether nothing of the first mebibyte is free, so that nothing of it is bad.
fn is_used(used: &ExtentMap) -> bool {
    ExtentMap::whole(FIRST_BYTES).difference(used).is_empty()
}

fn in_first_mebibyte(bad: &ExtentMap, used: &ExtentMap) -> ExtentMap {
    let start = ExtentMap::whole(FIRST_BYTES);
    bad.intersection(&start).difference(used)
}

fn without(device: Arc<dyn ReadAt>, unread: ExtentMap) -> Arc<dyn ReadAt> {
    if unread.is_empty() {
        device
    } else {
        Arc::new(Unread::new(device, unread))
    }
}
