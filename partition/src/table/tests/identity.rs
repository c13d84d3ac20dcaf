//! Random tables: what is written is read again, unchanged.

use super::{disk, extent, table_of};
use crate::device::Geometry;
use crate::table::{Partition, PartitionType, Table, write};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, proptest};
use proptest::sample::{select, subsequence};
use std::collections::BTreeSet;
use uuid::Uuid;

const SIZE_BYTES: u64 = 8 << 20;

/// Disjoint extents out of `cuts` (sectors from the start of the usable range), with gaps.
fn extents(cuts: &BTreeSet<u64>, base: u64, sector: u64) -> Vec<crate::Extent> {
    let cuts: Vec<u64> = cuts.iter().copied().collect();
    cuts.chunks_exact(2)
        .map(|pair| extent((base + pair[0]) * sector, (pair[1] - pair[0]) * sector))
        .collect()
}

fn gpt_tables(sector_bytes: u32) -> impl Strategy<Value = Table> {
    let sector = u64::from(sector_bytes);
    let parts = (
        btree_set(0..SIZE_BYTES / sector - 100, 0..24),
        vec(
            (any::<u128>(), 1..u128::MAX, any::<u64>(), "\\PC{0,18}"),
            12,
        ),
        subsequence((1_u32..=128).collect::<Vec<_>>(), 12).prop_shuffle(),
        (
            any::<u128>(),
            1..u32::MAX,
            select(vec![1_u32, 4, 33, 128, 130]),
        ),
    );
    parts.prop_map(
        move |(cuts, contents, numbers, (guid, signature, slots_max))| {
            let geometry = Geometry::new(SIZE_BYTES, sector_bytes);
            let mut table = Table::new_gpt(geometry, Uuid::from_u128(guid)).unwrap();
            table.disk_signature = signature;
            table.slots_max = slots_max;
            if slots_max > 128 {
                let usable = table.usable;
                table.usable = extent(
                    usable.offset_bytes() + sector,
                    usable.len_bytes() - 2 * sector,
                );
            }
            let base = table.usable.offset_bytes() / sector;
            for ((extent, content), number) in extents(&cuts, base, sector)
                .into_iter()
                .zip(contents)
                .zip(numbers)
            {
                let (guid, type_guid, attributes, name) = content;
                table.partitions.push(Partition {
                    number,
                    extent,
                    partition_type: PartitionType::Gpt(Uuid::from_u128(type_guid)),
                    guid: Some(Uuid::from_u128(guid)),
                    name: crate::text::sealed(&name),
                    attributes,
                    is_bootable: false,
                });
            }
            table
                .partitions
                .retain(|it| it.number <= slots_max && table.usable.contains(it.extent));
            table.partitions.sort_by_key(|it| it.number);
            table
        },
    )
}

fn mbr_tables(sector_bytes: u32) -> impl Strategy<Value = Table> {
    let sector = u64::from(sector_bytes);
    let parts = (
        btree_set(0..500_u64, 0..8),
        btree_set(0..1000_u64, 0..20),
        vec(
            (
                select(vec![0x83_u8, 0x82, 0x07, 0xef, 1, 0xff]),
                any::<bool>(),
            ),
            20,
        ),
        Just((0..10).collect::<Vec<usize>>()).prop_shuffle(),
        (any::<u32>(), select(vec![0x05_u8, 0x0f, 0x85])),
    );
    parts.prop_map(
        move |(primary, logical, kinds, order, (signature, extended_type))| {
            let geometry = Geometry::new(SIZE_BYTES, sector_bytes);
            let mut table = Table::new_mbr(geometry, signature).unwrap();
            let mut add = |number: u32, extent, (type_byte, is_bootable): (u8, bool)| {
                table.partitions.push(Partition {
                    number,
                    extent,
                    partition_type: PartitionType::Mbr(type_byte),
                    guid: None,
                    name: String::new(),
                    attributes: 0,
                    is_bootable,
                });
            };
            let mut kinds = kinds.into_iter();
            for (number, extent) in (1..=3).zip(extents(&primary, 1, sector)) {
                add(number, extent, kinds.next().unwrap());
            }
            let extended_base = 501;
            add(
                4,
                extent(extended_base * sector, 1200 * sector),
                (extended_type, false),
            );
            // From the second sector, with the gap in front that each record needs.
            let logical = extents(&logical, extended_base + 2, sector);
            let mut numbers: Vec<_> = order.into_iter().filter(|&it| it < logical.len()).collect();
            for (number, index) in (5..).zip(numbers.drain(..)) {
                add(number, logical[index], kinds.next().unwrap());
            }
            table
        },
    )
}

proptest! {
    #[test]
    fn gpt_512(table in gpt_tables(512)) {
        let disk = disk(512);
        write(&disk, &table).unwrap();
        prop_assert_eq!(table_of(&disk), (table, vec![]));
    }

    #[test]
    fn gpt_4096(table in gpt_tables(4096)) {
        let disk = disk(4096);
        write(&disk, &table).unwrap();
        prop_assert_eq!(table_of(&disk), (table, vec![]));
    }

    #[test]
    fn mbr_512(table in mbr_tables(512)) {
        let disk = disk(512);
        write(&disk, &table).unwrap();
        prop_assert_eq!(table_of(&disk), (table, vec![]));
    }

    #[test]
    fn mbr_4096(table in mbr_tables(4096)) {
        let disk = disk(4096);
        write(&disk, &table).unwrap();
        prop_assert_eq!(table_of(&disk), (table, vec![]));
    }
}
