//! Golden volumes, whole and with damaged data.

use super::{CheckedSectors, SectorCheck};
use klon_partition::device::{MemoryDevice, read_vec};
use klon_partition::filesystem::extents::{DataExtent, ExtentVisitor, Sectors};
use klon_partition::filesystem::{Filesystem, probe};
use klon_partition::{Extent, ExtentMap, WriteAt};
use std::ops::ControlFlow;
use std::path::Path;

fn image(name: &str) -> MemoryDevice {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let file = std::fs::File::open(root.join(format!("{name}.img.zst"))).unwrap();
    MemoryDevice::new(zstd::decode_all(file).unwrap(), 512)
}

/// The sectors that have a checksum, by the walk over all extents.
#[derive(Default)]
struct Summed(Vec<Extent>);

impl ExtentVisitor for Summed {
    fn extent(&mut self, _: &DataExtent) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, _: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        if sectors.checksums.is_some() {
            let copies = sectors.copies.iter();
            self.0
                .extend(copies.flat_map(|copy| copy.split(sectors.sector_bytes.into())));
        }
        ControlFlow::Continue(())
    }
}

fn summed(filesystem: &dyn Filesystem, device: &MemoryDevice) -> ExtentMap {
    let mut summed = Summed::default();
    filesystem
        .data_extents(device, &mut summed)
        .unwrap()
        .unwrap();
    summed.0.into_iter().collect()
}

/// Looks at all that is in use, in pieces of such a size, in this order or from behind.
fn checked(device: &MemoryDevice, piece_bytes: u64, is_backwards: bool) -> CheckedSectors {
    let filesystem = probe(device).unwrap().unwrap();
    let used = filesystem.used(device).unwrap().unwrap();
    let check = SectorCheck::begin(&*filesystem, device).unwrap().unwrap();
    let mut pieces: Vec<Extent> = used
        .iter()
        .flat_map(|extent| extent.split(piece_bytes))
        .collect();
    if is_backwards {
        pieces.reverse();
    }
    for piece in pieces {
        let len = usize::try_from(piece.len_bytes()).unwrap();
        let content = read_vec(device, piece.offset_bytes(), len).unwrap();
        check.look(piece.offset_bytes(), &content);
    }
    check.finish()
}

const NAMES: [&str; 4] = ["btrfs", "btrfs-mixed", "btrfs-old", "btrfs-64k"];

#[test]
fn sound_data_has_its_checksums_in_any_order() {
    for name in NAMES {
        let device = image(name);
        let filesystem = probe(&device).unwrap().unwrap();
        let expected = CheckedSectors {
            damaged: ExtentMap::new(),
            compared_bytes: summed(&*filesystem, &device).total_bytes(),
            unchecked: ExtentMap::new(),
            unchecked_because: None,
        };
        assert!(expected.compared_bytes > 0, "{name}");
        for (piece_bytes, is_backwards) in [(1 << 20, false), (64 << 10, true)] {
            let found = checked(&device, piece_bytes, is_backwards);
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn a_bit_of_any_copy_of_data_is_one_damaged_sector() {
    for name in NAMES {
        let device = image(name);
        let filesystem = probe(&device).unwrap().unwrap();
        let summed = summed(&*filesystem, &device);
        let sector_bytes = u64::from(filesystem.summary().block_size_bytes);
        let sectors: Vec<Extent> = summed
            .iter()
            .flat_map(|it| it.split(sector_bytes))
            .collect();
        let hit = [0, sectors.len() / 2, sectors.len() - 1].map(|at| sectors[at]);
        for sector in hit {
            let at = sector.end_bytes() - 1;
            let byte = read_vec(&device, at, 1).unwrap()[0];
            device.write_all_at(&[byte ^ 0x10], at).unwrap();
        }
        let found = checked(&device, 1 << 20, false);
        assert_eq!(found.damaged, hit.into_iter().collect(), "{name}");
        assert_eq!(found.compared_bytes, summed.total_bytes(), "{name}");
    }
}

#[test]
fn a_part_of_a_sector_is_told_as_not_compared() {
    let device = image("btrfs");
    let filesystem = probe(&device).unwrap().unwrap();
    let first = summed(&*filesystem, &device).extents()[0];
    let check = SectorCheck::begin(&*filesystem, &device).unwrap().unwrap();
    let content = read_vec(&device, first.offset_bytes(), 4096).unwrap();
    check.look(first.offset_bytes() + 512, &content[512..]);
    check.look(first.offset_bytes(), &content[..100]);
    check.look(first.offset_bytes(), &content);
    let found = check.finish();
    assert!(found.damaged.is_empty());
    assert_eq!(found.compared_bytes, 4096);
    assert_eq!(found.unchecked.total_bytes(), 3584 + 100);
    assert!(found.unchecked_because.is_some());
}

#[test]
fn other_filesystems_keep_no_checksums_of_data() {
    let device = image("ext4");
    let filesystem = probe(&device).unwrap().unwrap();
    assert!(SectorCheck::begin(&*filesystem, &device).is_none());
}
