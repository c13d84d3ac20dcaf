//! HFS+ inside of an HFS wrapper (TN1150, "HFS Wrapper"): recognised, and refused.

use crate::bytes::{be16, be32};
use crate::device::{ReadAt, Window};
use crate::extent::Extent;
use crate::filesystem::Hazard;

/// Where the volume lies inside of the wrapper whose master directory block is `raw` (512 bytes);
/// `None` when `raw` is none.
pub(super) fn embedded(raw: &[u8]) -> Option<Option<Extent>> {
    let (dr_sig_word, dr_embed_sig_word) = (&raw[..2], &raw[124..126]);
    let is_wrapper = dr_sig_word == b"BD" && matches!(dr_embed_sig_word, b"H+" | b"HX");
    is_wrapper.then(|| {
        let (dr_al_blk_siz, dr_al_bl_st) = (u64::from(be32(raw, 20)), u64::from(be16(raw, 28)));
        // drEmbedExtent: startBlock, blockCount
        let (start_block, block_count) = (u64::from(be16(raw, 126)), u64::from(be16(raw, 128)));
        // Numbers of 16 and of 32 bits.
        let start_bytes = dr_al_bl_st * 512 + start_block * dr_al_blk_siz;
        Extent::new(start_bytes, block_count * dr_al_blk_siz)
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
