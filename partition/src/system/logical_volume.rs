//! Logical volumes of LVM, as device-mapper shows them.

use super::mounts::MountPoint;
use super::{Object, System};
use crate::error::Result;
use std::path::Path;

/// What device-mapper's UUID of a volume of LVM begins with.
const PREFIX: &str = "LVM-";
/// The characters of an LVM UUID, without its dashes.
const UUID_LEN: usize = 32;

/// A logical volume of LVM that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalVolume {
    /// UUID of its volume group: 32 letters and digits, without dashes.
    pub group_uuid: String,
    /// Its own UUID: 32 letters and digits, without dashes.
    pub uuid: String,
    /// The kernel's name of its device.
    pub device: String,
    /// How large it is; a snapshot is as large as its origin.
    pub size_bytes: u64,
    /// Where the filesystem that it holds is mounted.
    pub mounts: Vec<MountPoint>,
    /// Whether that filesystem has other devices, too (Btrfs).
    pub is_one_of_several: bool,
}

impl System {
    /// The logical volume that `path` names; `None` for anything else, also for a volume that LVM hides
    /// beneath another one.
    ///
    /// # Errors
    /// [`Error::Open`](crate::Error::Open) when there is nothing at `path`,
    /// [`Error::Invalid`](crate::Error::Invalid) when it is neither a block device nor a plain file.
    pub fn logical_volume(&self, path: &Path) -> Result<Option<LogicalVolume>> {
        let Object::Device(index) = self.object(path)? else {
            return Ok(None);
        };
        let Some(device) = self.device(index) else {
            return Ok(None);
        };
        let uuid = device.mapper_uuid.as_deref();
        let Some((group_uuid, uuid)) = uuid.and_then(uuids) else {
            return Ok(None);
        };
        let is_of_several =
            |devices: &Vec<String>| devices.len() > 1 && devices.contains(&device.name);
        Ok(Some(LogicalVolume {
            group_uuid: group_uuid.to_owned(),
            uuid: uuid.to_owned(),
            device: device.name.clone(),
            size_bytes: device.size_bytes,
            mounts: self.mounts_of(index),
            is_one_of_several: self.btrfs.values().any(is_of_several),
        }))
    }
}

/// The UUIDs of the group and of the volume. What LVM hides has a layer's name behind them: `-real`, `-cow`,
/// `-tpool`.
fn uuids(mapper_uuid: &str) -> Option<(&str, &str)> {
    let uuids = mapper_uuid.strip_prefix(PREFIX)?;
    let is_plain = uuids.len() == 2 * UUID_LEN && uuids.bytes().all(|b| b.is_ascii_alphanumeric());
    is_plain.then(|| uuids.split_at(UUID_LEN))
}

#[cfg(test)]
mod tests {
    use super::uuids;

    #[test]
    fn only_what_lvm_shows_is_a_logical_volume() {
        let (group, volume) = ("g".repeat(32), "V7".repeat(16));
        let whole = format!("LVM-{group}{volume}");
        assert_eq!(uuids(&whole), Some((&*group, &*volume)));
        let others = ["-real", "-cow", "-tpool", "x", "ü"].map(|tail| format!("{whole}{tail}"));
        let none = ["", "LVM-", "CRYPT-LUKS2-abc", "part1-LVM-", &group];
        for text in others.iter().map(String::as_str).chain(none) {
            assert_eq!(uuids(text), None, "{text}");
        }
    }
}
