//! Images that were taken of files.

use crate::support::Klon;
use crate::support::klon::number;
use klon_imaging::image::{Image, SnapshotDevice};
use klon_partition::ReadAt;
use klon_partition::device::MemoryDevice;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Adds a snapshot of `source` to `image`, and gives its number.
pub(super) fn take(klon: &Klon, source: &Path, image: &Path) -> u64 {
    let texts = [source, image].map(|path| path.to_str().unwrap());
    let done = klon.json(&["image", texts[0], texts[1], "--level", "1"]);
    number(&done, "snapshot")
}

/// Writes what the image gives back of a snapshot to `target`: zeroes where nothing was in use.
pub(super) fn restore(image: &Path, number: u64, target: &Path) {
    let bytes = fs::read(image).unwrap();
    let image = Image::open(Arc::new(MemoryDevice::new(bytes, 512))).unwrap();
    let snapshot = image.snapshot(Some(number)).unwrap();
    let device = SnapshotDevice::new(Arc::new(snapshot));
    let mut bytes = vec![0; usize::try_from(device.geometry().size_bytes).unwrap()];
    device.read_exact_at(&mut bytes, 0).unwrap();
    fs::write(target, bytes).unwrap();
}
