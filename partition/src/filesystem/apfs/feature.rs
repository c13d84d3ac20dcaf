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
    let is_tree =
        |count: usize, base: usize| object.u32(count) >> 31 != 0 || object.u64(base) >> 63 != 0;
    is_tree(104, 112) || is_tree(108, 120)
}

/// The hazards of the container superblock `object`.
///
/// Optional features (`nx_features`) are by definition of no importance to those that don't know
/// them. Encryption is of none here: it changes contents, not places.
pub(super) fn recorded(object: &Object) -> Vec<Hazard> {
    let unknown = |what: String| Hazard::UnknownFeature(what);
    let mut hazards = Vec::new();
    let incompatible = object.u64(64);
    let foreign = incompatible & !(VERSION_1 | VERSION_2 | FUSION);
    if foreign != 0 {
        hazards.push(unknown(format!("nx_incompatible_features {foreign:#x}")));
    }
    if incompatible & VERSION_1 != 0 || incompatible & VERSION_2 == 0 {
        hazards.push(unknown("APFS before version 2".to_owned()));
    }
    let is_fusion = object
        .raw
        .get(1280..1296)
        .is_some_and(|uuid| !is_zero(uuid));
    if incompatible & FUSION != 0 || is_fusion {
        let which = "a Fusion drive: the other half of the container".to_owned();
        hazards.push(Hazard::MultiDevice(which));
    }
    let readonly_compatible = object.u64(56);
    if readonly_compatible != 0 {
        let bits = format!("nx_readonly_compatible_features {readonly_compatible:#x}");
        hazards.push(unknown(bits));
    }
    let flags = object.u64(1264) & !FLAGS;
    if flags != 0 {
        hazards.push(unknown(format!("nx_flags {flags:#x}")));
    }
    if is_scattered(object) {
        let what = "checkpoint areas in several pieces (nx_xp_desc_blocks)";
        hazards.push(unknown(what.to_owned()));
    }
    let resized = object.u64(1248);
    if resized != 0 {
        let how = format!("nx_blocked_out_prange: {resized} blocks, a resize under way");
        hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    hazards
}
