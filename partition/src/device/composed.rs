//! A device put together of pieces: of another device, and of bytes in memory. Everything else of it is zero.

use super::{Geometry, ReadAt, check_range};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// More pieces are not kept.
const PIECES_MAX: usize = 1 << 21;

/// Where a piece comes from.
enum Origin {
    /// From there on, of the device beneath.
    Beneath(u64),
    /// These bytes.
    Bytes(Arc<[u8]>),
}

struct Piece {
    len_bytes: u64,
    origin: Origin,
}

/// A device of pieces. They do not overlap.
pub struct Composed<D> {
    beneath: D,
    geometry: Geometry,
    /// By where each begins.
    pieces: BTreeMap<u64, Piece>,
}

impl<D> fmt::Debug for Composed<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composed")
            .field("geometry", &self.geometry)
            .field("pieces", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

impl<D: ReadAt> Composed<D> {
    /// A device of this geometry, all zero, over `beneath`.
    #[must_use]
    pub const fn new(beneath: D, geometry: Geometry) -> Self {
        Self {
            beneath,
            geometry,
            pieces: BTreeMap::new(),
        }
    }

    /// Shows `bytes` at `offset_bytes`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a piece is there already, or the device ends before; [`Error::Unsupported`] when there
    /// are too many pieces.
    pub fn show(&mut self, offset_bytes: u64, bytes: Arc<[u8]>) -> Result<()> {
        match Extent::new(offset_bytes, bytes.len() as u64) {
            Some(extent) => self.insert(extent, Origin::Bytes(bytes)),
            None => Ok(()),
        }
    }

    /// Shows what is in `from` of the device beneath at `offset_bytes`.
    ///
    /// # Errors
    /// As [`show`](Self::show), and when `from` does not lie on the device beneath.
    pub fn show_beneath(&mut self, offset_bytes: u64, from: Extent) -> Result<()> {
        if from.end_bytes() > self.beneath.geometry().size_bytes {
            return Err(Error::Invalid(format!(
                "the piece {from} does not lie on the device"
            )));
        }
        let extent = Extent::new(offset_bytes, from.len_bytes());
        let extent = extent.ok_or_else(|| Error::Invalid(format!("{from} ends nowhere")))?;
        self.check(extent)?;
        if let Some((start_bytes, piece)) = self.pieces.range_mut(..offset_bytes).next_back()
            && let Origin::Beneath(before_bytes) = piece.origin
            && start_bytes + piece.len_bytes == offset_bytes
            && before_bytes + piece.len_bytes == from.offset_bytes()
        {
            piece.len_bytes += from.len_bytes();
            return Ok(());
        }
        self.insert(extent, Origin::Beneath(from.offset_bytes()))
    }

    /// # Errors
    /// Where the device ends before, or a piece is there.
    fn check(&self, extent: Extent) -> Result<()> {
        if extent.end_bytes() > self.geometry.size_bytes {
            return Err(Error::Invalid(format!(
                "the piece {extent} lies behind the end of the device"
            )));
        }
        match self.touching(extent).next() {
            Some(_) => Err(Error::Invalid(format!(
                "two pieces of a device overlap at {extent}"
            ))),
            None => Ok(()),
        }
    }

    fn insert(&mut self, extent: Extent, origin: Origin) -> Result<()> {
        self.check(extent)?;
        if self.pieces.len() >= PIECES_MAX {
            let reason = format!("it would be read in more than {PIECES_MAX} pieces");
            return Err(Error::unsupported("a volume as fragmented as this", reason));
        }
        let len_bytes = extent.len_bytes();
        let piece = Piece { len_bytes, origin };
        self.pieces.insert(extent.offset_bytes(), piece);
        Ok(())
    }

    /// The pieces that have bytes of `wanted`, each with the part of it that is wanted.
    fn touching(&self, wanted: Extent) -> impl Iterator<Item = (u64, &Piece, Extent)> {
        let before = self.pieces.range(..wanted.offset_bytes()).next_back();
        let others = self.pieces.range(wanted.offset_bytes()..wanted.end_bytes());
        before
            .into_iter()
            .chain(others)
            .filter_map(move |(&start_bytes, piece)| {
                let own = Extent::new(start_bytes, piece.len_bytes)?;
                Some((start_bytes, piece, own.intersection(wanted)?))
            })
    }
}

impl<D: ReadAt> ReadAt for Composed<D> {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Read, offset_bytes, buffer.len())?;
        buffer.fill(0);
        let Some(wanted) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        for (start_bytes, piece, part) in self.touching(wanted) {
            let at = (part.offset_bytes() - offset_bytes) as usize;
            let len = part.len_bytes() as usize;
            let in_piece = part.offset_bytes() - start_bytes;
            let to = buffer.get_mut(at..at + len).unwrap_or_default();
            match &piece.origin {
                Origin::Beneath(from_bytes) => {
                    self.beneath.read_exact_at(to, from_bytes + in_piece)?;
                }
                Origin::Bytes(bytes) => {
                    let from = in_piece as usize;
                    to.copy_from_slice(bytes.get(from..from + len).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let mut found: Vec<Extent> = Vec::new();
        for (start_bytes, piece, part) in self.touching(within) {
            let Origin::Beneath(from_bytes) = piece.origin else {
                found.push(part);
                continue;
            };
            let from_bytes = from_bytes + (part.offset_bytes() - start_bytes);
            let Some(from) = Extent::new(from_bytes, part.len_bytes()) else {
                continue;
            };
            let moved = |extent: Extent| {
                let in_part = extent.offset_bytes().checked_sub(from_bytes)?;
                Extent::new(
                    part.offset_bytes().checked_add(in_part)?,
                    extent.len_bytes(),
                )
            };
            let data = self.beneath.data(from)?;
            found.extend(data.iter().filter_map(moved));
        }
        Ok(found.into_iter().collect())
    }

    /// None: what the device beneath keeps is of other places.
    fn sha256(&self, _extent: Extent) -> Result<Option<[u8; 32]>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::Composed;
    use crate::device::{Geometry, MemoryDevice, ReadAt, read_vec};
    use crate::extent::Extent;
    use std::sync::Arc;

    fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
        Extent::new(offset_bytes, len_bytes).unwrap()
    }

    #[test]
    fn pieces_are_where_they_were_put_and_the_rest_is_zero() {
        let beneath = MemoryDevice::new((0..100).collect(), 512);
        let mut device = Composed::new(beneath, Geometry::new(60, 4096));
        device.show(4, Arc::from([1, 2, 3])).unwrap();
        device.show_beneath(10, extent(50, 5)).unwrap();
        device.show_beneath(15, extent(55, 5)).unwrap();
        device.show_beneath(20, extent(10, 2)).unwrap();
        assert_eq!(device.pieces.len(), 3, "what goes on is one piece");
        let mut expected = [0; 60];
        expected[4..7].copy_from_slice(&[1, 2, 3]);
        expected[10..20].copy_from_slice(&(50..60).collect::<Vec<u8>>());
        expected[20..22].copy_from_slice(&[10, 11]);
        for start in 0..60 {
            for end in start..=60 {
                let found = read_vec(&device, start as u64, end - start).unwrap();
                assert_eq!(found, expected[start..end]);
            }
        }
        let data = device.data(extent(5, 11)).unwrap();
        assert_eq!(
            data.iter().collect::<Vec<_>>(),
            [extent(5, 2), extent(10, 6)]
        );
        assert!(device.read_exact_at(&mut [0; 2], 59).is_err());
        assert_eq!(device.sha256(extent(0, 10)).unwrap(), None);
    }

    #[test]
    fn pieces_neither_overlap_nor_lie_outside() {
        let beneath = MemoryDevice::new(vec![0; 100], 512);
        let mut device = Composed::new(beneath, Geometry::new(60, 4096));
        device.show_beneath(10, extent(0, 10)).unwrap();
        device.show_beneath(30, extent(0, 10)).unwrap();
        assert!(device.show(19, Arc::from([1])).is_err());
        assert!(device.show_beneath(20, extent(10, 11)).is_err());
        assert!(device.show(59, Arc::from([1, 2])).is_err());
        assert!(device.show_beneath(50, extent(95, 6)).is_err());
    }
}
