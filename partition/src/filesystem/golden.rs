//! Golden images, for the unit tests of the parsers.

use super::{Hazard, probe};
use crate::device::MemoryDevice;
use crate::extent::ExtentMap;
use std::fs::File;
use std::path::Path;

pub(super) fn image(name: &str) -> MemoryDevice {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let file = File::open(root.join(format!("{name}.img.zst"))).unwrap();
    MemoryDevice::new(zstd::decode_all(file).unwrap(), 512)
}

pub(super) fn hazards(device: &MemoryDevice) -> Vec<Hazard> {
    let filesystem = probe(device).unwrap().unwrap();
    filesystem.summary().hazards.clone()
}

/// The used map, if there is one to be believed.
pub(super) fn believed(device: &MemoryDevice) -> Option<ExtentMap> {
    let filesystem = probe(device).unwrap()?;
    let _ = filesystem.change_token(device);
    let used = filesystem.used(device);
    if !filesystem.summary().hazards.is_empty() {
        return None;
    }
    used.ok().flatten()
}
