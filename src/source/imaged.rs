//! The part of a place that its image has.

use crate::named::open::OpenPlace;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::outside::FIRST_BYTES;
use klon_partition::table::Partition;

/// Leaves out the bytes that no one proved free and that the image does not have. Nobody knows whether they
/// are zero.
pub fn leave_out_unknown(usage: &mut Usage, open: &OpenPlace) {
    let Some(snapshot) = &open.snapshot else {
        return;
    };
    let wanted = &snapshot.manifest().wanted();
    let known = of_part(wanted, open.partition.as_ref());
    usage.leave_out(&usage.unproven.difference(&known));
    // The image has these bytes for a reason, which the volume alone may not show. The first mebibyte is in
    // every image.
    if usage.basis == Basis::Map {
        let first = match open.partition {
            Some(_) => ExtentMap::new(),
            None => ExtentMap::whole(FIRST_BYTES),
        };
        let more = known.difference(&usage.extents).difference(&first);
        usage.extents = usage.extents.union(&more);
        usage.unproven = usage.unproven.union(&more);
    }
}

/// The extents of a snapshot that lie in the partition. Their offsets count from its start.
pub fn of_part(extents: &ExtentMap, partition: Option<&Partition>) -> ExtentMap {
    match partition {
        Some(partition) => extents.in_part(partition.extent),
        None => extents.clone(),
    }
}
