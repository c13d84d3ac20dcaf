//! The first mebibyte of a source is read even if nothing there is in use. Blocks that the filesystem
//! lists as bad are left out: they hold nothing, and the drive may fail there.

use anyhow::Result;
use klon_imaging::commit::HELD_BYTES;
use klon_partition::device::Unread;
use klon_partition::filesystem::{Basis, Usage, known_bad};
use klon_partition::inspect::DiskUsage;
use klon_partition::{ExtentMap, ReadAt};
use std::sync::Arc;

/// A volume with zeroes for what it lists as bad.
pub fn of_volume(device: Arc<dyn ReadAt>, usage: &Usage) -> Result<Arc<dyn ReadAt>> {
    if usage.basis != Basis::Map || is_used(&usage.extents) {
        return Ok(device);
    }
    let bad = known_bad(&*device)?;
    Ok(without(device, &bad, &usage.extents))
}

/// The same of a disk and its volumes.
pub fn of_disk(device: Arc<dyn ReadAt>, usage: &DiskUsage) -> Result<Arc<dyn ReadAt>> {
    if usage.basis != Basis::Map || is_used(&usage.extents) {
        return Ok(device);
    }
    let bad = usage.known_bad(&*device)?;
    Ok(without(device, &bad, &usage.extents))
}

/// Whether nothing of the first mebibyte is free, so that nothing of it is bad.
fn is_used(used: &ExtentMap) -> bool {
    ExtentMap::whole(HELD_BYTES).difference(used).is_empty()
}

fn without(device: Arc<dyn ReadAt>, bad: &ExtentMap, used: &ExtentMap) -> Arc<dyn ReadAt> {
    let start = ExtentMap::whole(HELD_BYTES);
    let bad = bad.intersection(&start).difference(used);
    if bad.is_empty() {
        device
    } else {
        Arc::new(Unread::new(device, bad))
    }
}
