//! Room for staging: extents that nothing uses, handed out front to back.

use crate::error::{Error, Result};
use crate::spot::{Area, Spot};
use klon_partition::bytes::is_zero;
use klon_partition::device::AlignedBuffer;
use klon_partition::{Extent, ExtentMap, WriteAt};

/// What is handed out begins and ends at multiples of this, as O_DIRECT wants it.
pub(super) const UNIT_BYTES: u64 = 4096;

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

/// Where updates may be staged.
#[derive(Clone, Debug, Default)]
pub struct Rooms {
    /// Space of the volume that is proven free in both the old and the new state.
    pub free: ExtentMap,
    /// Other space that neither state uses, without proof: only zeroes are overwritten.
    pub unproven: ExtentMap,
    /// Space of the drive that belongs to no partition.
    pub drive: ExtentMap,
    /// Whether the contents of the room may be lost; else only zeroes are overwritten.
    pub is_drive_given_up: bool,
}

/// Extents on a volume and on its drive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas<'a> {
    pub(super) volume: &'a ExtentMap,
    pub(super) drive: &'a ExtentMap,
}

impl<'a> Areas<'a> {
    pub(super) const fn of(self, area: Area) -> &'a ExtentMap {
        match area {
            Area::Volume => self.volume,
            Area::Drive => self.drive,
        }
    }
}

impl Rooms {
    /// The same without what is occupied, on the volume and on the drive.
    pub(super) fn without(self, occupied: Areas<'_>) -> Self {
        Self {
            free: self.free.difference(occupied.volume),
            unproven: self.unproven.difference(occupied.volume),
            drive: self.drive.difference(occupied.drive),
            is_drive_given_up: self.is_drive_given_up,
        }
    }
}

/// How far the search for zeroes skips after it first finds something else. Each further skip is
/// twice as long.
const SKIP_BYTES: u64 = 1 << 20;

/// Room that is left.
#[derive(Clone, Debug)]
pub struct Room {
    /// In the order in which they are handed out, last first; whether each must be zero.
    left: Vec<(Spot, bool)>,
    left_bytes: u64,
    total_bytes: u64,
    skip_bytes: u64,
}

impl Room {
    /// Room on a volume and, when that is used up, on its drive.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        let spots = |area, map: &ExtentMap, must_be_zero| {
            map.iter()
                .filter_map(whole_units)
                .map(move |extent| (Spot { area, extent }, must_be_zero))
                .collect::<Vec<_>>()
        };
        let mut left = spots(Area::Volume, &rooms.free, false);
        left.extend(spots(Area::Volume, &rooms.unproven, true));
        left.extend(spots(Area::Drive, &rooms.drive, !rooms.is_drive_given_up));
        left.reverse();
        let bytes = left.iter().map(|(spot, _)| spot.extent.len_bytes());
        let left_bytes = bytes.sum();
        Self {
            left,
            left_bytes,
            total_bytes: left_bytes,
            skip_bytes: SKIP_BYTES,
        }
    }

    /// Bytes that are left, as far as is known.
    #[must_use]
    pub const fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Bytes of the room in all, without those that turned out to be in use.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// One place of at most `len_bytes`, rounded up to whole units; shorter where the room is in
    /// pieces. `None` when nothing is left or nothing is asked for.
    ///
    /// # Errors
    /// [`Error::Target`] where what must be zero can't be read.
    pub fn take(&mut self, space: Space<'_>, len_bytes: u64) -> Result<Option<Spot>> {
        let wanted_bytes = len_bytes.div_ceil(UNIT_BYTES).saturating_mul(UNIT_BYTES);
        while let Some((spot, must_be_zero)) = self.cut(wanted_bytes) {
            if !must_be_zero || is_zero_at(space, spot)? {
                self.skip_bytes = SKIP_BYTES;
                return Ok(Some(spot));
            }
            // Old data are often long: looking at each piece would take as long as reading all of
            // the room.
            let skipped = self.cut_of(spot.area, self.skip_bytes);
            self.skip_bytes = self.skip_bytes.saturating_mul(2);
            let lost_bytes = spot.extent.len_bytes().saturating_add(skipped);
            self.total_bytes = self.total_bytes.saturating_sub(lost_bytes);
        }
        Ok(None)
    }

    /// Hands out nothing of `map` on the volume any more.
    pub(super) fn keep_off(&mut self, map: &ExtentMap) {
        let left = std::mem::take(&mut self.left);
        for (spot, must_be_zero) in left {
            let spots = apart(spot, map).into_iter().rev();
            self.left.extend(spots.map(|spot| (spot, must_be_zero)));
        }
        self.left_bytes = self
            .left
            .iter()
            .map(|(spot, _)| spot.extent.len_bytes())
            .sum();
    }

    /// Takes back a place that was handed out. What of `map` is in it stays taken: it may hold anything by
    /// now.
    pub(super) fn give_back(&mut self, spot: Spot, map: &ExtentMap) {
        for spot in apart(spot, map) {
            self.left_bytes = self.left_bytes.saturating_add(spot.extent.len_bytes());
            self.left.push((spot, false));
        }
    }

    /// The next place of at most `len_bytes`.
    fn cut(&mut self, len_bytes: u64) -> Option<(Spot, bool)> {
        let (mut spot, must_be_zero) = self.left.pop()?;
        let end_bytes = spot.extent.offset_bytes().saturating_add(len_bytes);
        if let Some(rest) = Extent::between(end_bytes, spot.extent.end_bytes()) {
            let extent = rest;
            self.left.push((Spot { extent, ..spot }, must_be_zero));
            spot.extent = Extent::between(spot.extent.offset_bytes(), end_bytes)?;
        }
        self.left_bytes = self.left_bytes.saturating_sub(spot.extent.len_bytes());
        Some((spot, must_be_zero))
    }

    /// Drops up to `len_bytes` of the next room, where it must be zero and lies in `area`. Returns how
    /// much was dropped.
    fn cut_of(&mut self, area: Area, len_bytes: u64) -> u64 {
        match self.left.last() {
            Some((next, true)) if next.area == area => {
                let cut = self.cut(len_bytes);
                cut.map_or(0, |(spot, _)| spot.extent.len_bytes())
            }
            _ => 0,
        }
    }
}

/// The whole units of a place that hold nothing of `map`, a map of the volume.
fn apart(spot: Spot, map: &ExtentMap) -> Vec<Spot> {
    if spot.area != Area::Volume || !map.overlaps(spot.extent) {
        return vec![spot];
    }
    let rest = ExtentMap::from(spot.extent).difference(map);
    let units = rest.iter().filter_map(whole_units);
    units.map(|extent| Spot { extent, ..spot }).collect()
}

fn is_zero_at(space: Space<'_>, spot: Spot) -> Result<bool> {
    const READ_BYTES: u64 = 1 << 20;
    for extent in spot.extent.split(READ_BYTES) {
        // At most READ_BYTES.
        let len = usize::try_from(extent.len_bytes()).unwrap_or(0);
        let mut buffer = AlignedBuffer::zeroed(len);
        space.read(Spot { extent, ..spot }, &mut buffer)?;
        if !is_zero(&buffer) {
            return Ok(false);
        }
    }
    Ok(true)
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
    use super::{Room, Rooms, Space};
    use crate::spot::Area;
    use klon_partition::device::MemoryDevice;
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
        let mut room = Room::new(Rooms {
            free: volume,
            drive,
            is_drive_given_up: true,
            ..Rooms::default()
        });
        let device = MemoryDevice::new(vec![1; 2 << 20], 512);
        let space = Space {
            volume: &device,
            drive: Some(&device),
        };
        // 100 + 4096 holds no whole unit, 9000 + 20,000 those at 12,288 to 28,672.
        assert_eq!(room.total_bytes(), 16_384 + 8192);
        let mut take = |len| {
            let spot = room.take(space, len).unwrap().unwrap();
            (
                spot.area,
                spot.extent.offset_bytes(),
                spot.extent.len_bytes(),
            )
        };
        assert_eq!(take(1), (Area::Volume, 12_288, 4096));
        assert_eq!(take(100_000), (Area::Volume, 16_384, 12_288));
        assert_eq!(take(4097), (Area::Drive, 1 << 20, 8192));
        assert_eq!(room.take(space, 1).unwrap(), None);
        assert_eq!(room.left_bytes(), 0);
    }

    #[test]
    fn what_no_one_proved_free_is_room_only_where_it_is_zero() {
        let mut bytes = vec![0; 16 << 20];
        bytes[4 << 20] = 1;
        bytes[(4 << 20) + 4096] = 1;
        bytes[(8 << 20) + 9000] = 1;
        let device = MemoryDevice::new(bytes.clone(), 512);
        let space = Space {
            volume: &device,
            drive: Some(&device),
        };
        let mut room = Room::new(Rooms {
            unproven: map(&[(4 << 20, 16_384), (6 << 20, 8192)]),
            drive: map(&[(8 << 20, 4 << 20)]),
            ..Rooms::default()
        });
        let mut found = Vec::new();
        while let Some(spot) = room.take(space, 4096).unwrap() {
            let at = usize::try_from(spot.extent.offset_bytes()).unwrap();
            assert_eq!(bytes[at..at + 4096], [0; 4096], "{at:#x}");
            found.push((spot.area, at));
        }
        assert!(found.contains(&(Area::Volume, 6 << 20)), "{found:?}");
        assert!(found.contains(&(Area::Drive, 8 << 20)), "{found:?}");
        assert!(found.len() > 100, "{}", found.len());
    }
}
