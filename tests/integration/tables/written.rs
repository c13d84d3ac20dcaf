//! Tables that klon writes.

use super::oracle::{
    GIB, Image, MIB, assert_accepted, extent, logical_mbr, sparse_gpt, table_of, tool,
};
use klon_partition::device::{Geometry, ReadAt};
use klon_partition::table::{Scheme, relocated, write};

#[test]
fn gpts_that_klon_writes_are_accepted_and_equal() {
    let image = Image::new(64 * MIB);
    let table = sparse_gpt(image.disk().geometry());
    write(&image.disk(), &table).unwrap();
    assert_accepted(&table, &image.path);
    let mut again = table;
    again.partitions.remove(1);
    write(&image.disk(), &again).unwrap();
    assert_accepted(&again, &image.path);
}

#[test]
fn gpts_with_other_slot_counts_are_accepted() {
    for slots_max in [16, 64, 129, 256, 1024] {
        let image = Image::new(64 * MIB);
        let mut table = sparse_gpt(image.disk().geometry());
        table.slots_max = slots_max;
        table.usable = extent(MIB, 62 * MIB);
        table.partitions.retain(|it| it.number <= slots_max);
        write(&image.disk(), &table).unwrap();
        assert_accepted(&table, &image.path);
        assert_eq!(table_of(&image.disk()).0, table);
    }
}

#[test]
fn a_gpt_moved_to_a_disk_of_another_size_is_accepted() {
    let image = Image::new(64 * MIB);
    let table = sparse_gpt(image.disk().geometry());
    for size_bytes in [24 * MIB, 200 * MIB, 5 * GIB, 3 << 40] {
        let target = Image::new(size_bytes);
        let moved = relocated(&table, size_bytes).unwrap();
        write(&target.disk(), &moved).unwrap();
        assert_accepted(&moved, &target.path);
    }
}

#[test]
fn mbrs_that_klon_writes_are_accepted_and_equal() {
    // In front of and behind 4 GiB, across it, and up to 2 TiB.
    for base in [4 * MIB, 4 * GIB - 8 * MIB, 5 * GIB, (2 << 40) - 40 * MIB] {
        let image = Image::new(base + 40 * MIB);
        let table = logical_mbr(image.disk().geometry(), base);
        write(&image.disk(), &table).unwrap();
        assert_accepted(&table, &image.path);
        assert_eq!(table_of(&image.disk()), (table, vec![]));
    }
}

#[test]
fn one_table_over_another_leaves_nothing_of_the_old_one() {
    let image = Image::new(64 * MIB);
    let geometry = image.disk().geometry();
    let (gpt, mbr) = (sparse_gpt(geometry), logical_mbr(geometry, 20 * MIB));
    let large = sparse_gpt(Geometry::new(64 * MIB, 4096));
    for table in [&gpt, &mbr, &large, &gpt, &large, &mbr, &gpt] {
        write(&image.disk(), table).unwrap();
        assert_eq!(table_of(&image.disk()), (table.clone(), vec![]));
        if table.logical_sector_bytes == 512 {
            assert_accepted(table, &image.path);
            let signatures = tool("wipefs", &["--noheadings", "-O", "TYPE"], &image.path, "");
            let expected = if table.scheme == Scheme::Gpt {
                "gpt"
            } else {
                "dos"
            };
            let others = signatures
                .lines()
                .filter(|line| ![expected, "PMBR"].contains(&line.trim()));
            assert_eq!(others.count(), 0, "{signatures}");
        }
    }
}
