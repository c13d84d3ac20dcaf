//! What a container's feature bits and flags say against copying by its bitmaps.

use super::object::Object;
use crate::bytes::is_zero;
use crate::filesystem::Hazard;

/// `NX_INCOMPAT_VERSION1`, `NX_INCOMPAT_VERSION2`, `NX_INCOMPAT_FUSION`.
const VERSION_1: u64 = 1 << 0;
const VERSION_2: u64 = 1 << 1;
const FUSION: u64 = 1 << 8;
/// `NX_RESERVED_1`, `NX_RESERVED_2`, `NX_CRYPTO_SW`.
const FLAGS: u64 = 7;

/// Whether the checkpoint areas are lists of extents in B-trees: the highest bits of
/// `nx_xp_desc_blocks` and `nx_xp_data_blocks`, or of the addresses beside them.
fn is_scattered(object: &Object) -> bool {
    let (nx_xp_desc_blocks, nx_xp_desc_base) = (object.u32(104), object.u64(112));
    let (nx_xp_data_blocks, nx_xp_data_base) = (object.u32(108), object.u64(120));
    let counts = nx_xp_desc_blocks | nx_xp_data_blocks;
    let bases = nx_xp_desc_base | nx_xp_data_base;
    counts >> 31 != 0 || bases >> 63 != 0
}

/// The hazards of the container superblock `object`.
///
/// Whoever doesn't know an optional feature (`nx_features`) may ignore it, by definition. Encryption
/// doesn't matter here: it changes contents, not places.
pub(super) fn recorded(object: &Object) -> Vec<Hazard> {
    let unknown = |what: String| Hazard::UnknownFeature(what);
    let mut hazards = Vec::new();
    let nx_readonly_compatible_features = object.u64(56);
    let nx_incompatible_features = object.u64(64);
    let nx_blocked_out_prange = object.prange(1240);
    let nx_flags = object.u64(1264);
    let nx_fusion_uuid = object.raw.get(1280..1296).unwrap_or_default();
    let foreign = nx_incompatible_features & !(VERSION_1 | VERSION_2 | FUSION);
    if foreign != 0 {
        hazards.push(unknown(format!("nx_incompatible_features {foreign:#x}")));
    }
    if nx_incompatible_features & VERSION_1 != 0 || nx_incompatible_features & VERSION_2 == 0 {
        hazards.push(unknown("APFS before version 2".to_owned()));
    }
    if nx_incompatible_features & FUSION != 0 || !is_zero(nx_fusion_uuid) {
        let which = "a Fusion drive: the other half of the container".to_owned();
        hazards.push(Hazard::MultiDevice(which));
    }
    if nx_readonly_compatible_features != 0 {
        let bits = nx_readonly_compatible_features;
        let bits = format!("nx_readonly_compatible_features {bits:#x}");
        hazards.push(unknown(bits));
    }
    let flags = nx_flags & !FLAGS;
    if flags != 0 {
        hazards.push(unknown(format!("nx_flags {flags:#x}")));
    }
    if is_scattered(object) {
        let what = "checkpoint areas in several pieces (nx_xp_desc_blocks)";
        hazards.push(unknown(what.to_owned()));
    }
    let resized = nx_blocked_out_prange.count;
    if resized != 0 {
        let how = format!("nx_blocked_out_prange: {resized} blocks, a resize under way");
        hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    hazards
}
