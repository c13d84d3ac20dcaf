//! HFS+ inside of an HFS wrapper (TN1150, "HFS Wrapper"): recognised, and refused.

use crate::bytes::{be16, be32};
use crate::device::{ReadAt, Window};
use crate::extent::Extent;
use crate::filesystem::Hazard;

/// Where the volume lies inside of the wrapper whose master directory block is `raw` (512 bytes);
/// `None` when `raw` is none.
pub(super) fn embedded(raw: &[u8]) -> Option<Option<Extent>> {
    // drSigWord, drEmbedSigWord
    let is_wrapper = raw.starts_with(b"BD") && matches!(&raw[124..126], b"H+" | b"HX");
    is_wrapper.then(|| {
        let block_bytes = u64::from(be32(raw, 20));
        let start_bytes = u64::from(be16(raw, 28)).saturating_mul(512);
        let first = u64::from(be16(raw, 126)).saturating_mul(block_bytes);
        let len_bytes = u64::from(be16(raw, 128)).saturating_mul(block_bytes);
        Extent::new(start_bytes.saturating_add(first), len_bytes)
    })
}

/// The volume inside as a device of its own; `None` when it does not lie on this one.
pub(super) fn inside(device: &dyn ReadAt, place: Option<Extent>) -> Option<Window<&dyn ReadAt>> {
    Window::new(device, place?).ok()
}

/// Why it is copied whole.
pub(super) fn hazard(place: Option<Extent>) -> Hazard {
    let place = place.map_or_else(|| "nowhere".to_owned(), |place| place.to_string());
    Hazard::UnknownFeature(format!(
        "an HFS wrapper around the HFS+ volume at {place}, of which klon has no map"
    ))
}
