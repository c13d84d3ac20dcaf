//! A device that shows some blocks from elsewhere on it, as from the log of a journal. Nothing is written,
//! and nothing is copied.

use super::{Geometry, ReadAt, check_range, read_vec};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use std::collections::BTreeMap;
use std::fmt;

/// Which blocks of a volume are read from where, and what stands in few other bytes of it.
#[derive(Clone, Default)]
pub struct Redirection {
    block_bytes: u32,
    /// Where each block is read: both count from the start of the volume.
    blocks: BTreeMap<u64, Origin>,
    patches: Vec<Patch>,
}

/// Where a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The block.
    pub(crate) block: u64,
    /// Whether its first four bytes are others than these there.
    pub(crate) has_other_start: bool,
}

/// Bytes that are others than on the device.
#[derive(Clone, Debug)]
struct Patch {
    extent: Extent,
    /// What the device must have there as long as it is read through this.
    before: Vec<u8>,
    after: Vec<u8>,
}

impl fmt::Debug for Redirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirection")
            .field("blocks", &self.blocks.len())
            .field("patches", &self.patches.len())
            .finish_non_exhaustive()
    }
}

impl Redirection {
    /// The four bytes with which a block begins whose start is another in its place of origin. A log
    /// can't have them, as its own blocks begin so: `JBD2_MAGIC_NUMBER`.
    pub(crate) const START: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

    /// Blocks of `block_bytes` (not 0), each read from where it is said. `blocks` lie on the volume.
    pub(crate) const fn new(block_bytes: u32, blocks: BTreeMap<u64, Origin>) -> Self {
        Self {
            block_bytes,
            blocks,
            patches: Vec::new(),
        }
    }

    /// Shows `after` at `offset_bytes` instead of `before`, which the device must keep there: whoever
    /// reads these bytes when it has others is told that the device was written to.
    pub(crate) fn patch(&mut self, offset_bytes: u64, before: Vec<u8>, after: Vec<u8>) {
        debug_assert_eq!(before.len(), after.len());
        let extent = Extent::new(offset_bytes, after.len() as u64);
        self.patches.extend(extent.map(|extent| Patch {
            extent,
            before,
            after,
        }));
    }

    /// How many bytes are read from elsewhere.
    #[must_use]
    pub fn redirected_bytes(&self) -> u64 {
        let blocks = self.blocks.len() as u64;
        blocks.saturating_mul(self.block_bytes.into())
    }

    /// The parts of `within` that are not as the device has them, at positions of the volume.
    fn touched(&self, within: Extent) -> ExtentMap {
        let block_bytes = u64::from(self.block_bytes);
        let block = |(&block, _): (&u64, _)| {
            let extent = Extent::new(block.checked_mul(block_bytes)?, block_bytes)?;
            extent.intersection(within)
        };
        let patched = |patch: &Patch| patch.extent.intersection(within);
        let blocks = self.blocks.range(self.numbers(within)).filter_map(block);
        let patches = self.patches.iter().filter_map(patched);
        blocks.chain(patches).collect()
    }

    /// The blocks that have bytes of `within`.
    fn numbers(&self, within: Extent) -> std::ops::Range<u64> {
        let block_bytes = u64::from(self.block_bytes).max(1);
        within.offset_bytes() / block_bytes..within.end_bytes().div_ceil(block_bytes)
    }

    /// Puts what is read from elsewhere into `buffer`, which has the bytes of `wanted`.
    fn apply(&self, base: &dyn ReadAt, buffer: &mut [u8], wanted: Extent) -> Result<()> {
        let block_bytes = u64::from(self.block_bytes);
        for (&block, origin) in self.blocks.range(self.numbers(wanted)) {
            let start_bytes = block.saturating_mul(block_bytes);
            let block_extent = Extent::new(start_bytes, block_bytes);
            let Some(part) = block_extent.and_then(|extent| extent.intersection(wanted)) else {
                continue;
            };
            let in_block = part.offset_bytes() - start_bytes;
            let from_bytes = origin.block.saturating_mul(block_bytes);
            let piece = piece_of(buffer, wanted, part);
            base.read_exact_at(piece, from_bytes.saturating_add(in_block))?;
            if origin.has_other_start {
                let start = Self::START.iter().skip(in_block as usize);
                piece
                    .iter_mut()
                    .zip(start)
                    .for_each(|(to, from)| *to = *from);
            }
        }
        for patch in &self.patches {
            let Some(part) = patch.extent.intersection(wanted) else {
                continue;
            };
            patch.check(base)?;
            let start = (part.offset_bytes() - patch.extent.offset_bytes()) as usize;
            let piece = piece_of(buffer, wanted, part);
            let after = &patch.after[start..][..piece.len()];
            piece.copy_from_slice(after);
        }
        Ok(())
    }
}

impl Patch {
    /// # Errors
    /// [`Error::Refused`] when the device was written to since.
    fn check(&self, base: &dyn ReadAt) -> Result<()> {
        let offset_bytes = self.extent.offset_bytes();
        if read_vec(base, offset_bytes, self.before.len())? == self.before {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "the filesystem was written to since its journal was looked at: the {} bytes from byte \
             {offset_bytes} on are others now. Run klon again when nobody uses the volume",
            self.before.len()
        )))
    }
}

/// The bytes of `part`, which lies in `wanted`, in the buffer of `wanted`.
fn piece_of(buffer: &mut [u8], wanted: Extent, part: Extent) -> &mut [u8] {
    let start = (part.offset_bytes() - wanted.offset_bytes()) as usize;
    &mut buffer[start..][..part.len_bytes() as usize]
}

/// A device, shown with redirected blocks in one or several of its volumes.
#[derive(Debug)]
pub struct Redirected<D> {
    base: D,
    /// Each volume in its place. They do not overlap.
    volumes: Vec<(Extent, Redirection)>,
}

impl<D: ReadAt> Redirected<D> {
    /// Shows `base` with these `volumes`: where each lies on it, and what is read from elsewhere.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one does not lie on the device, or two overlap.
    pub fn new(base: D, mut volumes: Vec<(Extent, Redirection)>) -> Result<Self> {
        volumes.sort_by_key(|(extent, _)| extent.offset_bytes());
        let size_bytes = base.geometry().size_bytes;
        let is_apart = volumes
            .windows(2)
            .all(|pair| matches!(pair, [(a, _), (b, _)] if a.end_bytes() <= b.offset_bytes()));
        let is_inside = volumes.iter().all(|(it, _)| it.end_bytes() <= size_bytes);
        if !is_apart || !is_inside {
            let what = "volumes whose journals are replayed overlap, or do not lie on the device";
            return Err(Error::Invalid(what.to_owned()));
        }
        Ok(Self { base, volumes })
    }

    /// What is read from elsewhere in the only volume; `None` when there are several, or none.
    pub(crate) fn into_only(self) -> Option<Redirection> {
        let mut volumes = self.volumes.into_iter();
        let only = volumes.next().map(|(_, redirection)| redirection);
        only.filter(|_| volumes.next().is_none())
    }

    fn touched(&self, within: Extent) -> ExtentMap {
        let mut touched = ExtentMap::new();
        for (place, redirection) in &self.volumes {
            if let Some(part) = inside(*place, within) {
                let found = redirection.touched(part);
                touched = touched.union(&found.shifted(place.offset_bytes()));
            }
        }
        touched
    }
}

/// The part of a volume at `place` that is in `within`, at positions of the volume.
fn inside(place: Extent, within: Extent) -> Option<Extent> {
    let part = place.intersection(within)?;
    let offset_bytes = part.offset_bytes().checked_sub(place.offset_bytes())?;
    Extent::new(offset_bytes, part.len_bytes())
}

impl<D: ReadAt> ReadAt for Redirected<D> {
    fn geometry(&self) -> Geometry {
        self.base.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let Some(wanted) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        self.base.read_exact_at(buffer, offset_bytes)?;
        for (place, redirection) in &self.volumes {
            let (Some(on_device), Some(in_volume)) =
                (place.intersection(wanted), inside(*place, wanted))
            else {
                continue;
            };
            let volume = super::Window::new(&self.base, *place)?;
            let piece = piece_of(buffer, wanted, on_device);
            redirection.apply(&volume, piece, in_volume)?;
        }
        Ok(())
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(self.base.data(within)?.union(&self.touched(within)))
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        match self.touched(extent).is_empty() {
            true => self.base.sha256(extent),
            false => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Redirected, Redirection};
    use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
    use crate::extent::{Extent, ExtentMap};

    fn numbered() -> MemoryDevice {
        let bytes = (0..16_u8).flat_map(|block| [block; 512]).collect();
        MemoryDevice::new(bytes, 512)
    }

    fn redirection(has_other_start: bool) -> Redirection {
        let origin = |block| Origin {
            block,
            has_other_start,
        };
        Redirection::new(512, [(2, origin(5)), (3, origin(1))].into())
    }

    #[test]
    fn blocks_come_from_their_origin_at_any_position_and_length() {
        let disk = numbered();
        let place = Extent::new(1024, 6 * 512).unwrap();
        let shown = Redirected::new(&disk, vec![(place, redirection(false))]).unwrap();
        let all = read_vec(&shown, 0, 16 * 512).unwrap();
        let firsts: Vec<u8> = all.chunks(512).map(|block| block[0]).collect();
        assert_eq!(firsts[..8], [0, 1, 2, 3, 7, 3, 6, 7]);
        for (offset, len) in [(0, 1), (2047, 2), (2100, 900), (1, 8000), (4 * 512, 512)] {
            let part = read_vec(&shown, offset as u64, len).unwrap();
            assert!(part == all[offset..][..len], "{offset} {len}");
        }
        assert!(shown.read_exact_at(&mut [0; 2], 16 * 512 - 1).is_err());
    }

    #[test]
    fn an_escaped_start_is_the_magic_number_and_nothing_else() {
        let disk = numbered();
        let place = Extent::new(0, 4096).unwrap();
        let shown = Redirected::new(&disk, vec![(place, redirection(true))]).unwrap();
        assert_eq!(
            read_vec(&shown, 1023, 7).unwrap(),
            [1, 0xc0, 0x3b, 0x39, 0x98, 5, 5]
        );
        assert_eq!(read_vec(&shown, 1026, 3).unwrap(), [0x39, 0x98, 5]);
        assert_eq!(read_vec(&shown, 1028, 2).unwrap(), [5, 5]);
    }

    #[test]
    fn a_patch_ends_reading_once_the_device_has_other_bytes_there() {
        let disk = numbered();
        let mut changed = redirection(false);
        changed.patch(600, vec![1; 4], vec![9; 4]);
        let place = Extent::new(0, 4096).unwrap();
        let shown = Redirected::new(&disk, vec![(place, changed)]).unwrap();
        assert_eq!(read_vec(&shown, 599, 6).unwrap(), [1, 9, 9, 9, 9, 1]);
        disk.write_all_at(&[8], 601).unwrap();
        let error = shown.read_exact_at(&mut [0; 6], 599).unwrap_err();
        assert!(error.to_string().contains("written to"), "{error}");
        assert!(shown.read_exact_at(&mut [0; 6], 700).is_ok());
    }

    #[test]
    fn what_is_read_from_elsewhere_is_data_and_has_no_digest() {
        let disk = numbered();
        let place = Extent::new(512, 4096).unwrap();
        let shown = Redirected::new(&disk, vec![(place, redirection(false))]).unwrap();
        let touched = shown.touched(Extent::new(0, 8192).unwrap());
        let expected: ExtentMap = Extent::new(3 * 512, 1024).into_iter().collect();
        assert_eq!(touched, expected);
        let overlapping = [(0, 1024), (512, 1024)];
        let volumes =
            overlapping.map(|(at, len)| (Extent::new(at, len).unwrap(), Redirection::default()));
        assert!(Redirected::new(&disk, volumes.to_vec()).is_err());
    }
}
