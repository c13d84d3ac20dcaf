//! Limits of what an index may name. A valid index names every byte once, so following it never
//! reads, keeps or writes more than the volume and its drive hold.

use super::index::{Block, Entry, damaged};
use super::room::Space;
use crate::chunk::HELD_BYTES;
use crate::error::Result;
use crate::spot::{Area, Spot};
use klon_partition::Extent;

/// Sums of what entries name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    new_bytes: u64,
    held_bytes: u64,
    old_bytes: u64,
    room_bytes: u64,
}

impl Sums {
    /// Of one block.
    pub(super) fn of(block: &Block) -> Self {
        block.entries.iter().fold(Self::default(), Self::with)
    }

    fn with(mut self, entry: &Entry) -> Self {
        let len_bytes = entry.to.len_bytes();
        let add = |sum: &mut u64| *sum = sum.saturating_add(len_bytes);
        if entry.is_old {
            add(&mut self.old_bytes);
        } else {
            add(&mut self.new_bytes);
            if entry.to.offset_bytes() < HELD_BYTES {
                add(&mut self.held_bytes);
            }
        }
        if entry.from.is_some() {
            add(&mut self.room_bytes);
        }
        self
    }

    /// These and others.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            new_bytes: self.new_bytes.saturating_add(other.new_bytes),
            held_bytes: self.held_bytes.saturating_add(other.held_bytes),
            old_bytes: self.old_bytes.saturating_add(other.old_bytes),
            room_bytes: self.room_bytes.saturating_add(other.room_bytes),
        }
    }

    /// Fails when the sums show that bytes are named twice.
    ///
    /// # Errors
    /// [`crate::Error::StageCorrupt`], at `index`.
    pub(super) fn check(self, space: Space<'_>, index: Spot) -> Result<()> {
        let volume_bytes = space.volume.geometry().size_bytes;
        let drive_bytes = space.drive.map_or(0, |drive| drive.geometry().size_bytes);
        let first_bytes = volume_bytes.min(HELD_BYTES);
        for (found_bytes, most_bytes) in [
            (self.new_bytes, volume_bytes),
            (self.held_bytes, first_bytes),
            (self.old_bytes, first_bytes),
            (self.room_bytes, volume_bytes.saturating_add(drive_bytes)),
        ] {
            if found_bytes > most_bytes {
                let expected = format!("at most {most_bytes} bytes in its entries");
                return Err(damaged(
                    "index",
                    "bytes named",
                    index,
                    expected,
                    found_bytes,
                ));
            }
        }
        Ok(())
    }
}

/// The part of a spot that lies on the volume itself.
pub(super) fn on_volume(spot: Spot) -> Option<Extent> {
    (spot.area == Area::Volume).then_some(spot.extent)
}

#[cfg(test)]
mod tests {
    use super::Sums;
    use crate::stage::index::{Block, Entry};
    use crate::stage::{Area, Space, Spot};
    use klon_partition::Extent;
    use klon_partition::device::MemoryDevice;
    use uuid::Uuid;

    #[test]
    fn an_index_that_names_bytes_twice_is_refused_before_they_are_read() {
        let extent = |offset, len| Extent::new(offset, len).unwrap();
        let spot = |offset| Spot {
            area: Area::Volume,
            extent: extent(offset, 1 << 20),
        };
        let volume = MemoryDevice::zeroed(3 << 20);
        let space = Space {
            volume: &volume,
            drive: None,
        };
        let refused = |to: u64, from: Option<u64>, is_old, count| {
            let entry = Entry {
                to: extent(to, 1 << 20),
                from: from.map(|at| (spot(at), [0; 32])),
                is_old,
            };
            let block = Block {
                run: Uuid::nil(),
                number: 0,
                before: None,
                entries: vec![entry; count],
            };
            Sums::of(&block).check(space, spot(0)).is_err()
        };
        assert!(!refused(0, Some(1 << 20), false, 1));
        assert!(refused(0, None, false, 2), "the first chunk twice");
        assert!(refused(0, None, true, 2), "the same of what it was");
        assert!(!refused(1 << 20, None, false, 3));
        assert!(refused(1 << 20, None, false, 4), "more than the volume");
        assert!(
            refused(1 << 20, Some(0), true, 4),
            "more room than there is"
        );
    }
}
