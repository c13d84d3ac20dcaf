//! A device that is shown with a few bytes of it changed: what a clone has otherwise than its source.

use super::{Geometry, ReadAt};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};

/// More changes than this are no few. Each takes some 20 bytes of memory.
const PATCHES_MAX: usize = 1 << 20;

/// Bytes in place of others, in order and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patches {
    /// Where each begins, and how much of `bytes` is its.
    places: Vec<Place>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset_bytes: u64,
    start: u32,
    len: u32,
}

impl Place {
    const fn end_bytes(self) -> u64 {
        self.offset_bytes.saturating_add(self.len as u64)
    }
}

impl Patches {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The bytes of a device that they are in place of.
    #[must_use]
    pub fn extents(&self) -> ExtentMap {
        let extents = self.places.iter();
        extents
            .filter_map(|place| Extent::new(place.offset_bytes, place.len.into()))
            .collect()
    }

    /// Adds what makes `old`, which lies at `offset_bytes`, the same as `new`, which is as long.
    ///
    /// # Errors
    /// [`Error::Invalid`] where bytes are changed that others changed before, or the two differ in length;
    /// [`Error::Unsupported`] where they are too many.
    pub fn add(&mut self, offset_bytes: u64, old: &[u8], new: &[u8]) -> Result<()> {
        if old.len() != new.len() {
            return Err(Error::Invalid(format!(
                "{} bytes can't stand in place of {}",
                new.len(),
                old.len()
            )));
        }
        let mut at = 0;
        while let Some(from) = next(old, new, at, |one, other| one != other) {
            at = next(old, new, from, |one, other| one == other).unwrap_or(new.len());
            let changed = new.get(from..at).unwrap_or_default();
            self.put(offset_bytes.saturating_add(from as u64), changed)?;
        }
        Ok(())
    }

    fn put(&mut self, offset_bytes: u64, bytes: &[u8]) -> Result<()> {
        let numbers = (u32::try_from(self.bytes.len()), u32::try_from(bytes.len()));
        let (Ok(start), Ok(len)) = numbers else {
            return Err(too_many());
        };
        if self.places.len() >= PATCHES_MAX {
            return Err(too_many());
        }
        let place = Place {
            offset_bytes,
            start,
            len,
        };
        let at = self.first_behind(offset_bytes);
        let before = at.checked_sub(1).and_then(|at| self.places.get(at));
        let is_hit = before.is_some_and(|before| before.end_bytes() > offset_bytes)
            || (self.places.get(at)).is_some_and(|next| next.offset_bytes < place.end_bytes());
        if is_hit {
            return Err(Error::Invalid(format!(
                "bytes from {offset_bytes} on are changed twice"
            )));
        }
        self.bytes.extend(bytes);
        self.places.insert(at, place);
        Ok(())
    }

    /// The first place that begins behind `offset_bytes`.
    fn first_behind(&self, offset_bytes: u64) -> usize {
        self.places
            .partition_point(|place| place.offset_bytes <= offset_bytes)
    }

    /// Adds those of a part of the device that begins at `start_bytes`.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_part(&mut self, part: &Self, start_bytes: u64) -> Result<()> {
        for &place in &part.places {
            let at = start_bytes.saturating_add(place.offset_bytes);
            self.put(at, part.bytes_of(place))?;
        }
        Ok(())
    }

    fn bytes_of(&self, place: Place) -> &[u8] {
        let start = place.start as usize;
        let end = start.saturating_add(place.len as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Changes what was read from `offset_bytes` on.
    fn apply(&self, buffer: &mut [u8], offset_bytes: u64) {
        let end_bytes = offset_bytes.saturating_add(buffer.len() as u64);
        let first = self.first_behind(offset_bytes).saturating_sub(1);
        for &place in self.places.get(first..).unwrap_or_default() {
            if place.offset_bytes >= end_bytes {
                break;
            }
            let bytes = self.bytes_of(place);
            // What of it lies before the buffer is left out.
            let skipped = offset_bytes.saturating_sub(place.offset_bytes);
            let at = place.offset_bytes.saturating_sub(offset_bytes);
            let (Ok(skipped), Ok(at)) = (usize::try_from(skipped), usize::try_from(at)) else {
                continue;
            };
            let shown = bytes.get(skipped..).unwrap_or_default();
            let there = buffer.get_mut(at..).unwrap_or_default();
            for (byte, &new) in there.iter_mut().zip(shown) {
                *byte = new;
            }
        }
    }
}

/// The first index from `at` on at which `is_it` says so of both.
fn next(old: &[u8], new: &[u8], at: usize, is_it: impl Fn(u8, u8) -> bool) -> Option<usize> {
    let pairs = old.iter().zip(new).enumerate().skip(at);
    let mut found = pairs.filter(|(_, (one, other))| is_it(**one, **other));
    found.next().map(|(index, _)| index)
}

fn too_many() -> Error {
    Error::unsupported(
        "so many changes".to_owned(),
        "klon shows a source with a few changes at most",
    )
}

/// A device with patches over it.
#[derive(Clone, Debug)]
pub struct Patched<D> {
    device: D,
    patches: Patches,
    extents: ExtentMap,
}

impl<D> Patched<D> {
    /// `device`, with `patches` in place of what it has there.
    #[must_use]
    pub fn new(device: D, patches: Patches) -> Self {
        Self {
            device,
            extents: patches.extents(),
            patches,
        }
    }
}

impl<D: ReadAt> ReadAt for Patched<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.device.read_exact_at(buffer, offset_bytes)?;
        self.patches.apply(buffer, offset_bytes);
        Ok(())
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let own: ExtentMap = self.extents.within(within).collect();
        Ok(self.device.data(within)?.union(&own))
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        if self.extents.overlaps(extent) {
            return Ok(None);
        }
        self.device.sha256(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::{Patched, Patches};
    use crate::device::{MemoryDevice, ReadAt, read_vec};
    use crate::extent::{Extent, ExtentMap};

    fn patches() -> Patches {
        let mut patches = Patches::new();
        patches.add(8, &[8, 9, 10, 11], &[80, 9, 100, 110]).unwrap();
        patches.add(2, &[2, 3], &[20, 30]).unwrap();
        patches
    }

    #[test]
    fn every_part_is_read_with_its_changes() {
        let device = Patched::new(MemoryDevice::new((0..16).collect(), 512), patches());
        let whole = [0, 1, 20, 30, 4, 5, 6, 7, 80, 9, 100, 110, 12, 13, 14, 15];
        for from in 0..16 {
            for to in from..=16 {
                let read = read_vec(&device, from as u64, to - from).unwrap();
                assert_eq!(read, whole[from..to], "{from} to {to}");
            }
        }
    }

    #[test]
    fn what_is_changed_is_what_differs() {
        let expected: ExtentMap = [(2, 2), (8, 1), (10, 2)]
            .iter()
            .filter_map(|&(at, len)| Extent::new(at, len))
            .collect();
        assert_eq!(patches().extents(), expected);
        let mut shifted = Patches::new();
        shifted.add_part(&patches(), 100).unwrap();
        assert_eq!(shifted.extents(), expected.shifted(100));
    }

    #[test]
    fn no_byte_is_changed_twice_and_no_length_is() {
        let mut patches = patches();
        let before = patches.clone();
        for at in [1, 2, 3] {
            assert!(patches.add(at, &[0, 0, 0], &[1, 1, 1]).is_err(), "{at}");
        }
        assert!(patches.add(50, &[0], &[1, 2]).is_err());
        assert_eq!(patches, before);
        patches.add(4, &[4], &[5]).unwrap();
    }

    #[test]
    fn holes_with_changes_are_data() {
        let device = Patched::new(
            super::super::Unread::new(MemoryDevice::zeroed(16), ExtentMap::whole(16)),
            patches(),
        );
        let data = device.data(Extent::new(0, 16).unwrap()).unwrap();
        assert_eq!(data, patches().extents());
    }
}
