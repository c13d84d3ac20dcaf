//! Volumes that are asleep: nothing recognizes them, so nothing mounts them by accident. The one sector by which a
//! filesystem is recognized is turned into another one, and all else stays. It is written at once, so that a volume
//! is asleep or awake at any moment, and turned again it is what it was.

use super::{Hazard, Kind, Recognized, recognize};
use crate::device::{Patched, Patches, ReadAt, read_vec};
use crate::error::{Error, Result};

/// What is turned. It is within what any disk writes at once.
const SECTOR_BYTES: usize = 512;

/// What a sector is combined with. Where it was zero, these words stand in the sector.
const WORDS: &[u8; 32] = b"<klon: asleep. klon wake wakes>\n";

/// Sizes of pages, whose ends have the signature of swap space.
const PAGE_BYTES: [u64; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// A sector, and what makes the volume fall asleep or wake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What sleeps, or is to.
    pub kind: Kind,
    /// Where the sector lies on the volume.
    pub offset_bytes: u64,
    /// What it holds.
    old: Vec<u8>,
    /// What it is to hold.
    pub new: Vec<u8>,
}

impl Turn {
    fn at(volume: &dyn ReadAt, kind: Kind, offset_bytes: u64) -> Result<Self> {
        let old = read_vec(volume, offset_bytes, SECTOR_BYTES)?;
        let words = WORDS.iter().cycle();
        let new = old.iter().zip(words).map(|(byte, word)| byte ^ word);
        Ok(Self {
            kind,
            offset_bytes,
            new: new.collect(),
            old,
        })
    }

    /// The same as a change of what is read.
    ///
    /// # Errors
    /// As [`Patches::add`].
    pub fn patches(&self) -> Result<Patches> {
        let mut patches = Patches::new();
        patches.add(self.offset_bytes, &self.old, &self.new)?;
        Ok(patches)
    }
}

/// The sector by which such a filesystem is recognized; `None` where others show it, too.
fn sector(kind: Kind, page_bytes: u64) -> Option<u64> {
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => Some(1024),
        Kind::Fat12 | Kind::Fat16 | Kind::Fat32 | Kind::Exfat | Kind::Ntfs | Kind::Xfs => Some(0),
        Kind::Btrfs => Some(64 << 10),
        Kind::Swap => page_bytes.checked_sub(SECTOR_BYTES as u64),
        _ => None,
    }
}

fn sector_of(filesystem: &Recognized) -> Option<u64> {
    let summary = filesystem.summary();
    sector(summary.kind, summary.block_size_bytes.into())
}

/// What puts the filesystem on `volume` to sleep; `None` where none is.
///
/// # Errors
/// [`Error::Unsupported`] for a kind that can't sleep, [`Error::Io`] when the device fails.
pub fn to_sleep(volume: &dyn ReadAt) -> Result<Option<Turn>> {
    let Some(found) = recognize(volume)? else {
        return Ok(None);
    };
    let kind = found.summary().kind;
    let Some(offset_bytes) = sector_of(&found) else {
        return Err(Error::unsupported(
            format!("putting {kind} to sleep"),
            "more than one sector shows what it is",
        ));
    };
    Turn::at(volume, kind, offset_bytes).map(Some)
}

/// What wakes the filesystem on `volume`; `None` where none sleeps.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub fn to_wake(volume: &dyn ReadAt) -> Result<Option<Turn>> {
    let size_bytes = volume.geometry().size_bytes;
    let pages = PAGE_BYTES.map(|page_bytes| page_bytes - SECTOR_BYTES as u64);
    for offset_bytes in [0, 1024, 64 << 10].into_iter().chain(pages) {
        if offset_bytes.saturating_add(SECTOR_BYTES as u64) > size_bytes {
            continue;
        }
        // The kind is not known before it is awake.
        let turn = Turn::at(volume, Kind::Ext4, offset_bytes)?;
        let Some(found) = recognize(&Patched::new(volume, turn.patches()?))? else {
            continue;
        };
        let is_damaged = |hazard: &Hazard| matches!(hazard, Hazard::Damaged(_));
        let is_sound = !found.summary().hazards.iter().any(is_damaged);
        if is_sound && sector_of(&found) == Some(offset_bytes) {
            let kind = found.summary().kind;
            return Ok(Some(Turn { kind, ..turn }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{to_sleep, to_wake};
    use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
    use crate::filesystem::golden::image;
    use crate::filesystem::probe;

    #[test]
    fn what_sleeps_is_not_recognized_and_wakes_as_it_was() {
        for name in ["ext4", "xfs", "btrfs", "fat16", "exfat", "ntfs", "swap"] {
            let device = image(name);
            let kind = probe(&device).unwrap().unwrap().summary().kind;
            let len = usize::try_from(device.geometry().size_bytes).unwrap();
            let before = read_vec(&device, 0, len).unwrap();
            assert_eq!(to_wake(&device).unwrap(), None, "{name} is awake");
            let turn = to_sleep(&device).unwrap().unwrap();
            device.write_all_at(&turn.new, turn.offset_bytes).unwrap();
            assert!(probe(&device).unwrap().is_none(), "{name}");
            let turn = to_wake(&device).unwrap().unwrap();
            assert_eq!(turn.kind, kind);
            device.write_all_at(&turn.new, turn.offset_bytes).unwrap();
            assert!(read_vec(&device, 0, len).unwrap() == before, "{name}");
        }
    }

    #[test]
    fn nothing_sleeps_where_nothing_is() {
        let device = MemoryDevice::zeroed(1 << 20);
        assert_eq!(to_wake(&device).unwrap(), None);
        assert_eq!(to_sleep(&device).unwrap(), None);
    }
}
