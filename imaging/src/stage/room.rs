//! Room for staging: extents that nothing uses, handed out front to back.

use super::Area;
use crate::error::{Error, Result};
use klon_partition::{Extent, ExtentMap, WriteAt};

/// What is handed out begins and ends at multiples of this, as O_DIRECT wants it.
pub(super) const UNIT_BYTES: u64 = 4096;

/// A place in room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// On which device.
    pub area: Area,
    /// Where on it.
    pub extent: Extent,
}

/// The devices that hold what is staged.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    /// The volume that is updated.
    pub volume: &'a dyn WriteAt,
    /// The drive that it is a partition of, if it is one.
    pub drive: Option<&'a dyn WriteAt>,
}

impl<'a> Space<'a> {
    fn device(&self, area: Area) -> Result<&'a dyn WriteAt> {
        match area {
            Area::Volume => Ok(self.volume),
            Area::Drive => self.drive(),
        }
    }

    /// The drive.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not there.
    pub fn drive(&self) -> Result<&'a dyn WriteAt> {
        self.drive.ok_or_else(|| {
            Error::Refused(
                "part of the staged update lies outside of the volume, on its drive: name the \
                 volume as a partition of the drive (/dev/sdX2 or FILE:2)"
                    .to_owned(),
            )
        })
    }

    /// Fills `buffer` from the start of `spot`.
    ///
    /// # Errors
    /// [`Error::Target`]; [`Error::Refused`] when the drive is needed and not there.
    pub fn read(&self, spot: Spot, buffer: &mut [u8]) -> Result<()> {
        self.device(spot.area)?
            .read_exact_at(buffer, spot.extent.offset_bytes())
            .map_err(Error::Target)
    }

    /// Writes `data` to the start of `spot`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, spot: Spot, data: &[u8]) -> Result<()> {
        self.device(spot.area)?
            .write_all_at(data, spot.extent.offset_bytes())
            .map_err(Error::Target)
    }

    /// Makes everything durable that was written to either device.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn sync(&self) -> Result<()> {
        if let Some(drive) = self.drive {
            drive.sync().map_err(Error::Target)?;
        }
        self.volume.sync().map_err(Error::Target)
    }
}

/// Room that is left.
#[derive(Clone, Debug)]
pub struct Room {
    /// In the order in which they are handed out, last first.
    left: Vec<Spot>,
    left_bytes: u64,
    total_bytes: u64,
}

impl Room {
    /// Room on a volume and, when that is used up, on its drive.
    #[must_use]
    pub fn new(volume: &ExtentMap, drive: &ExtentMap) -> Self {
        let spots = |area, map: &ExtentMap| {
            map.iter()
                .filter_map(whole_units)
                .map(move |extent| Spot { area, extent })
                .collect::<Vec<_>>()
        };
        let mut left = spots(Area::Volume, volume);
        left.extend(spots(Area::Drive, drive));
        left.reverse();
        let left_bytes = left.iter().map(|spot| spot.extent.len_bytes()).sum();
        Self {
            left,
            left_bytes,
            total_bytes: left_bytes,
        }
    }

    /// Bytes that are left.
    #[must_use]
    pub const fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Bytes that there were.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// One place of at most `len_bytes`, rounded up to whole units; shorter where the room is in
    /// pieces. `None` when nothing is left or nothing is asked for.
    pub fn take(&mut self, len_bytes: u64) -> Option<Spot> {
        let wanted_bytes = len_bytes.div_ceil(UNIT_BYTES).saturating_mul(UNIT_BYTES);
        let mut spot = self.left.pop()?;
        let end_bytes = spot.extent.offset_bytes().saturating_add(wanted_bytes);
        if let Some(rest) = Extent::between(end_bytes, spot.extent.end_bytes()) {
            self.left.push(Spot {
                extent: rest,
                ..spot
            });
            spot.extent = Extent::between(spot.extent.offset_bytes(), end_bytes)?;
        }
        self.left_bytes = self.left_bytes.saturating_sub(spot.extent.len_bytes());
        Some(spot)
    }
}

/// The whole units within an extent.
fn whole_units(extent: Extent) -> Option<Extent> {
    let start_bytes = extent
        .offset_bytes()
        .div_ceil(UNIT_BYTES)
        .checked_mul(UNIT_BYTES)?;
    Extent::between(start_bytes, extent.end_bytes() / UNIT_BYTES * UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::{Area, Room};
    use klon_partition::{Extent, ExtentMap};

    fn map(extents: &[(u64, u64)]) -> ExtentMap {
        extents
            .iter()
            .filter_map(|&(offset, len)| Extent::new(offset, len))
            .collect()
    }

    #[test]
    fn room_is_handed_out_in_whole_units_and_the_volume_comes_first() {
        let volume = map(&[(100, 4096), (9000, 20_000)]);
        let drive = map(&[(1 << 20, 8192)]);
        let mut room = Room::new(&volume, &drive);
        // 100 + 4096 holds no whole unit, 9000 + 20,000 those at 12,288 to 28,672.
        assert_eq!(room.total_bytes(), 16_384 + 8192);
        let mut take = |len| {
            let spot = room.take(len).unwrap();
            (
                spot.area,
                spot.extent.offset_bytes(),
                spot.extent.len_bytes(),
            )
        };
        assert_eq!(take(1), (Area::Volume, 12_288, 4096));
        assert_eq!(take(100_000), (Area::Volume, 16_384, 12_288));
        assert_eq!(take(4097), (Area::Drive, 1 << 20, 8192));
        assert_eq!(room.take(1), None);
        assert_eq!(room.left_bytes(), 0);
    }
}
