//! What the fuzz targets share: volumes made of their input, and what must hold for any volume.

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::extents::{DataExtent, ExtentVisitor, Sectors};
use klon_partition::filesystem::files::{File, FileRun, FileVisitor, Next, RunKind};
use klon_partition::filesystem::{Kind, probe, usage};
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use std::ops::ControlFlow;

/// A volume that starts with some bytes and is zero from there on.
pub struct Padded {
    /// Its start.
    pub bytes: Vec<u8>,
    /// Its size.
    pub size_bytes: u64,
}

impl ReadAt for Padded {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        buffer.fill(0);
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        let data = self.bytes.get(start..).unwrap_or_default();
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Ok(())
    }
}

/// A volume's bytes, at least `len_min` and 4 MiB at most, and whether its checksums are to be made
/// right. The input is their start; its last byte says that, and how many more zeroes follow.
pub fn start(input: &[u8], len_min: usize) -> Option<(Vec<u8>, bool)> {
    const SIZE_BYTES_MAX: usize = 4 << 20;
    let &extra = input.last()?;
    let more = usize::from((extra >> 1) & 0x3f) << 15;
    let len_min = if extra & 0x80 == 0 { len_min } else { 0 };
    let mut bytes = input.to_vec();
    bytes.resize((input.len().max(len_min) + more).min(SIZE_BYTES_MAX), 0);
    Some((bytes, extra & 1 == 1))
}

/// What can't move in a format, and is in use in every volume of it.
fn fixed(kind: Kind) -> Option<Extent> {
    let (offset_bytes, len_bytes) = match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => (1024, 1024),
        Kind::Xfs => (0, 512),
        Kind::Apfs => (0, 4096),
        Kind::F2fs => (0, 8192),
        Kind::Lvm2 => (0, 1024),
        Kind::Btrfs => (64 << 10, 4096),
        _ => return None,
    };
    Extent::new(offset_bytes, len_bytes)
}

/// Holds a walk over data extents to what it promises.
struct Extents {
    size_bytes: u64,
    /// Bytes of the last extent that were told of.
    told_bytes: u64,
}

impl ExtentVisitor for Extents {
    fn extent(&mut self, extent: &DataExtent) -> ControlFlow<()> {
        for copy in extent.copies.iter() {
            assert!(copy.end_bytes() <= self.size_bytes);
        }
        self.told_bytes = 0;
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, extent: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        let len_bytes = sectors.copies.first.len_bytes();
        assert_eq!(sectors.offset_bytes, self.told_bytes);
        self.told_bytes += len_bytes;
        assert!(self.told_bytes <= extent.len_bytes);
        if let Some(checksums) = sectors.checksums {
            let count = checksums.iter().len() as u64;
            assert_eq!(count * u64::from(sectors.sector_bytes), len_bytes);
        }
        ControlFlow::Continue(())
    }
}

/// Holds a walk over files to what it promises: in one part of a file, runs ascend.
#[derive(Default)]
struct Told {
    last: Option<(RunKind, u64)>,
}

impl FileVisitor for Told {
    fn file(&mut self, file: &File<'_>) -> Next {
        let _ = file.identity();
        self.last = None;
        Next::Continue
    }

    fn run(&mut self, _file: &File<'_>, run: &FileRun) -> Next {
        if run.kind == RunKind::Contents {
            let at = (run.kind, run.file_offset_bytes);
            assert!(self.last.is_none_or(|last| last.1 <= at.1));
            self.last = Some(at);
        }
        Next::Continue
    }
}

/// What must hold for a volume, whatever is on it: nothing outside of it is told of, what is
/// metadata is in use, and so is what its format has in a fixed place.
pub fn check(volume: &dyn ReadAt) {
    let size_bytes = volume.geometry().size_bytes;
    let usage = usage(&volume).expect("memory reads");
    assert!(usage.extents.end_bytes() <= size_bytes);
    let Some(filesystem) = probe(&volume).expect("memory reads") else {
        return;
    };
    assert!(filesystem.summary().size_bytes <= size_bytes);
    let maps = [filesystem.used(&volume), filesystem.metadata(&volume)].map(|map| match map {
        Ok(map) => map,
        Err(error) => {
            assert!(!matches!(error, Error::Io { .. }), "{error}");
            None
        }
    });
    for map in maps.iter().flatten() {
        assert!(map.end_bytes() <= size_bytes);
    }
    if let Some(used) = &maps[0] {
        let fixed = fixed(filesystem.summary().kind);
        assert!(fixed.is_none_or(|fixed| used.contains(fixed)));
    }
    if let [Some(used), Some(metadata)] = &maps {
        assert!(metadata.difference(used).is_empty());
    }
    let _ = filesystem.change_token(&volume);
    let mut extents = Extents {
        size_bytes,
        told_bytes: 0,
    };
    if let Some(Err(error)) = filesystem.data_extents(&volume, &mut extents) {
        assert!(!matches!(error, Error::Io { .. }), "{error}");
    }
    if let Some(Ok(checksums)) = filesystem.checksums(&volume) {
        for extent in ExtentMap::whole(size_bytes).iter().flat_map(|all| all.split(1 << 20)) {
            for sectors in checksums.within(extent).into_iter().flatten() {
                assert!(sectors.place.end_bytes() <= size_bytes);
                let count = sectors.checksums().iter().len() as u64;
                assert_eq!(count * u64::from(sectors.sector_bytes), sectors.place.len_bytes());
            }
        }
    }
    let _ = filesystem.instance(&volume);
    let _ = filesystem.files(&volume, &mut Told::default());
    let _ = filesystem.whole_because();
    let owners = filesystem.owners(&volume, &ExtentMap::whole(size_bytes), 1000);
    assert!(owners.files.len() <= 1000);
    for owner in owners.files {
        assert!(owner.extent.end_bytes() <= size_bytes);
    }
}
