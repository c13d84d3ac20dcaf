//! Which Btrfs a volume holds (`struct btrfs_super_block`).

use super::feature;
use super::superblock::uuid;
use crate::bytes::{le16, le32, le64};
use crate::filesystem::Instance;

/// What the superblock in `raw` says.
///
/// The size of the device is not part of it: each extent is compared with its places, so that a
/// filesystem may grow, shrink and move. It says neither when it was made nor when it was written.
pub(super) fn instance(raw: &[u8]) -> Instance {
    let (fsid, dev_uuid) = (uuid(raw, 0x20), uuid(raw, 0x10b));
    let [high, low] = [0, 8].map(|at| le64(&dev_uuid, at));
    Instance {
        uuid: uuid::Uuid::from_bytes(fsid).to_string(),
        made: None,
        geometry: vec![
            // `sectorsize`, `nodesize`, `csum_type`, `dev_item.devid`.
            le32(raw, 0x90).into(),
            le32(raw, 0x94).into(),
            le16(raw, 0xc4).into(),
            le64(raw, 0xc9),
            high,
            low,
        ],
        features: feature::lasting(raw).to_vec(),
        written: None,
        checked: None,
    }
}
