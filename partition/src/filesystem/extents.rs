//! One walk over the data extents of a filesystem that keeps a checksum of each sector.
//!
//! A sector whose checksum is what it was, in an extent that is where it was, holds what it held.
//! Nothing is shown of a sector without a checksum: it may have been written in place.

mod checksum;

pub use checksum::Checksum;

use crate::error::Result;
use crate::extent::Extent;
use std::ops::ControlFlow;

/// Where on the device some bytes of a filesystem lie: once or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The first copy.
    pub first: Extent,
    /// The second copy, of the same length, where the filesystem keeps two.
    pub second: Option<Extent>,
}

impl Copies {
    /// All copies.
    pub fn iter(self) -> impl Iterator<Item = Extent> {
        [Some(self.first), self.second].into_iter().flatten()
    }
}

/// An extent that holds data: contents of files, or of the filesystem's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataExtent {
    /// Where it starts in the filesystem's own address space, which is no place on the device.
    pub logical_bytes: u64,
    /// Its length: whole sectors.
    pub len_bytes: u64,
    /// The transaction that allocated it.
    pub generation: u64,
    /// Its flags as on the disk.
    pub flags: u64,
    /// Where it lies on the device.
    pub copies: Copies,
}

/// Sectors of an extent that follow each other and all have a checksum, or all have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sectors<'a> {
    /// Where the first of them starts in the extent.
    pub offset_bytes: u64,
    /// The size of each.
    pub sector_bytes: u32,
    /// Where they lie on the device.
    pub copies: Copies,
    /// The checksum of each. `None` where they have none: they may be written in place, or were
    /// never written.
    pub checksums: Option<Checksums<'a>>,
}

/// The checksums of sectors that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums<'a> {
    kind: Checksum,
    bytes: &'a [u8],
}

impl<'a> Checksums<'a> {
    pub(super) const fn new(kind: Checksum, bytes: &'a [u8]) -> Self {
        Self { kind, bytes }
    }

    /// Their kind.
    #[must_use]
    pub const fn kind(self) -> Checksum {
        self.kind
    }

    /// All of them, as they lie on the disk: [`Checksum::len_bytes`] for each sector.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The checksum of each sector.
    #[must_use]
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.kind.len_bytes())
    }

    /// Whether `sector`, the bytes of the sector of that index as they were read from one of its
    /// copies, has its checksum. `false` when there is no such index.
    #[must_use]
    pub fn matches(self, index: usize, sector: &[u8]) -> bool {
        let checksum = self.iter().nth(index);
        checksum.is_some_and(|checksum| self.kind.matches(sector, checksum))
    }
}

/// Told of data extents and of their sectors.
pub trait ExtentVisitor {
    /// An extent begins. Extents ascend in the filesystem's address space and don't overlap.
    fn extent(&mut self, extent: &DataExtent) -> ControlFlow<()>;

    /// Sectors of the extent told last. Each of its sectors is told once, in order.
    fn sectors(&mut self, extent: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()>;
}

/// Sectors that follow each other on the device, with the checksums that their bytes must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummedSectors {
    /// Where they lie: whole sectors.
    pub place: Extent,
    /// The size of each.
    pub sector_bytes: u32,
    kind: Checksum,
    bytes: Vec<u8>,
}

impl SummedSectors {
    /// Sectors at `place`, with a checksum for each.
    pub(super) fn new(place: Extent, sector_bytes: u32, checksums: Checksums<'_>) -> Self {
        Self {
            place,
            sector_bytes,
            kind: checksums.kind,
            bytes: checksums.bytes.to_vec(),
        }
    }

    /// The checksum of each.
    #[must_use]
    pub fn checksums(&self) -> Checksums<'_> {
        Checksums::new(self.kind, &self.bytes)
    }
}

/// Looks up checksums by where data lies on the device. It can be asked from several threads, in any
/// order; ascending order costs least.
pub trait ChecksumLookup: Send + Sync {
    /// The sectors in `extent` that have a checksum, in no particular order, none twice. `extent` is a part
    /// of what is in use, and a sector counts if a byte of it is there. Both copies of data count, each where
    /// it lies. Nothing is known of other sectors: they are metadata, or data without checksums.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a structure fails its check in all copies of it,
    /// [`crate::Error::Io`] when the device fails.
    fn within(&self, extent: Extent) -> Result<Vec<SummedSectors>>;
}
