//! New disks of all sizes for the clones of one that is lost.

use super::*;
use crate::planner::{Growth, Original, Returning, WayBack};
use crate::table::{Partition, Scheme};

/// A disk of 100 GiB: an ESP, a root volume of 90 GiB, 8 GiB of swap.
pub(super) fn original() -> Original {
    let part = |number: u32, guid, name: &str, start: u64, len: u64| Partition {
        number,
        extent: Extent::new(start, len).unwrap(),
        partition_type: PartitionType::Gpt(guid),
        guid: Some(Uuid::from_u128(u128::from(number))),
        name: name.to_owned(),
        attributes: 0,
        is_bootable: false,
    };
    Original {
        identity: Identity::Serial("S4EWNX0M".to_owned()),
        groups: Vec::new(),
        size_bytes: 100 * GIB,
        logical_sector_bytes: 512,
        scheme: Scheme::Gpt,
        disk_guid: Some(Uuid::from_u128(77)),
        disk_signature: 0,
        boot_code: Vec::new(),
        has_loader_in_gap: false,
        loader: None,
        partitions: vec![
            part(1, ESP, "EFI", MIB, 512 * MIB),
            part(3, ROOT, "root", GIB, 90 * GIB),
            part(2, SWAP, "swap", 91 * GIB, 8 * GIB),
        ],
    }
}

/// What comes back: the root volume's filesystem ends at `root_end_bytes`.
fn returning(root_end_bytes: u64) -> Vec<Returning> {
    [
        (1, 512 * MIB, 512 * MIB),
        (3, 90 * GIB, root_end_bytes),
        (2, 8 * GIB, 8 * GIB),
    ]
    .map(|(number, size_bytes, least_bytes)| Returning {
        group: "Boot".to_owned(),
        number,
        size_bytes,
        least_bytes,
    })
    .to_vec()
}

fn laid(size_bytes: u64, root_end_bytes: u64, size: Option<SizePolicy>) -> Result<WayBack> {
    let sizes = size.map(|size| ("Boot".to_owned(), size));
    let sizes: Vec<_> = sizes.into_iter().collect();
    let geometry = Geometry::new(size_bytes, 512);
    original().way_back(geometry, &returning(root_end_bytes), &sizes, false)
}

/// Number, start and size in MiB.
fn extents(way: &WayBack) -> Vec<(u32, u64, u64)> {
    let partitions = way.table.partitions.iter();
    partitions
        .map(|part| {
            let extent = part.extent;
            (
                part.number,
                extent.offset_bytes() / MIB,
                extent.len_bytes() / MIB,
            )
        })
        .collect()
}

#[test]
fn a_disk_that_is_large_enough_gets_all_as_it_was() {
    for size_bytes in [100 * GIB, 300 * GIB] {
        let way = laid(size_bytes, 90 * GIB, None).unwrap();
        let mut wanted = original().partitions;
        wanted.sort_by_key(|part| part.number);
        assert_eq!(way.table.partitions, wanted);
        assert_eq!(way.table.disk_guid, Some(Uuid::from_u128(77)));
        assert!(way.empty.is_empty() && way.missing.is_empty());
    }
}

#[test]
fn what_is_left_on_a_larger_disk_goes_to_the_main_volume_when_asked() {
    let grow = SizePolicy::Grow(Growth::default());
    let way = laid(300 * GIB, 90 * GIB, Some(grow)).unwrap();
    let end = 300 * 1024 - 8 * 1024 - 1;
    assert_eq!(
        extents(&way),
        [(1, 1, 512), (2, end, 8 * 1024), (3, 1024, end - 1024)]
    );
}

#[test]
fn a_smaller_disk_gets_what_filesystems_reach_to() {
    let way = laid(60 * GIB, 40 * GIB, None).unwrap();
    let places = extents(&way);
    let root = places.iter().find(|place| place.0 == 3).unwrap();
    let swap = places.iter().find(|place| place.0 == 2).unwrap();
    assert_eq!((root.1, swap.2), (1024, 8 * 1024));
    assert!(root.2 >= 40 * 1024 && root.1 + root.2 <= swap.1);
    assert!(swap.1 + swap.2 < 60 * 1024);
}

#[test]
fn a_disk_that_is_too_small_is_refused_with_what_would_do() {
    let message = laid(48 * GIB, 40 * GIB, None).unwrap_err().to_string();
    assert!(message.contains("is too small for"), "{message}");
    let least = message.rsplit(' ').take(2).collect::<Vec<_>>();
    let least = format!("{}{}", least[1], least[0]);
    let least_bytes = crate::planner::parse_size(&least).unwrap();
    laid(least_bytes, 40 * GIB, None).unwrap();
    assert!(laid(least_bytes - GIB, 40 * GIB, None).is_err());
}

#[test]
fn what_no_clone_fills_is_missing_or_empty() {
    let geometry = Geometry::new(100 * GIB, 512);
    let root = &returning(90 * GIB)[1..2];
    let original = original();
    let way = original.way_back(geometry, root, &[], false).unwrap();
    assert_eq!(extents(&way), [(3, 1024, 90 * 1024)]);
    let missing: Vec<u32> = way.missing.iter().map(|part| part.number).collect();
    assert_eq!(missing, [1, 2]);
    let way = original.way_back(geometry, root, &[], true).unwrap();
    assert_eq!(way.empty, [1, 2]);
    assert!(way.missing.is_empty());
}

#[test]
fn a_disk_with_larger_sectors_is_laid_out_in_these() {
    let mut original = original();
    original.partitions[0].extent = Extent::new(34 * 512, 512 * MIB).unwrap();
    let geometry = Geometry::new(120 * GIB, 4096);
    let way = original.way_back(geometry, &returning(90 * GIB), &[], false);
    let table = way.unwrap().table;
    assert_eq!(table.logical_sector_bytes, 4096);
    let is_aligned = |part: &Partition| part.extent.offset_bytes().is_multiple_of(4096);
    assert!(table.partitions.iter().all(is_aligned));
}
