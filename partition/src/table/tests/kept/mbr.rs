//! MBRs and their chains.

use super::{Dice, assert_only, at, extent};
use crate::device::MemoryDevice;
use crate::table::tests::{mbr_partition, table_of};
use crate::table::{Table, write};
use proptest::prelude::{ProptestConfig, any, proptest};

const SIZE_BYTES: u64 = 2 << 20;

/// The extended partition, in sectors.
const EXTENDED_LBA: u64 = 100;

struct Mbr {
    disk: MemoryDevice,
    sector_bytes: u32,
    /// The records, in the chain's order.
    records: Vec<u64>,
    /// Whether links stand before partitions in the records.
    is_link_first: bool,
}

fn entry(bytes: &mut [u8], at: usize, kind: u8, start: u64, count: u64) {
    bytes[at + 4] = kind;
    let field = |value: u64| u32::try_from(value).unwrap().to_le_bytes();
    bytes[at + 8..at + 12].copy_from_slice(&field(start));
    bytes[at + 12..at + 16].copy_from_slice(&field(count));
}

impl Mbr {
    /// Primary partitions in slots 2 and, extended, 3; up to four logical ones; noise elsewhere.
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let sector_bytes = dice.pick(&[512_u32, 512, 4096]);
        let mut bytes = vec![0; usize::try_from(SIZE_BYTES).unwrap()];
        dice.fill(&mut bytes);
        // Signatures of a GPT or of a filesystem are not what noise has.
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        for slot in 0..4 {
            let at = 446 + slot * 16;
            bytes[at] = dice.pick(&[0, 0x80]);
            bytes[at + 4] = 0;
        }
        entry(&mut bytes, 462, 0x83, 10, 50);
        let kind = dice.pick(&[0x05, 0x0f, 0x85]);
        entry(&mut bytes, 478, kind, EXTENDED_LBA, 300);
        // Each partition has 20 sectors; its record is the head, or ten sectors before it.
        let mut order = vec![0, 1, 2, 3];
        let turns = dice.index(0..4);
        order.rotate_left(turns);
        order.truncate(dice.index(0..5));
        let is_link_first = dice.of(0..2) == 0;
        let start = |place: u64| EXTENDED_LBA + 20 + place * 50;
        let records: Vec<u64> = match order.is_empty() {
            true => vec![EXTENDED_LBA],
            false => std::iter::once(EXTENDED_LBA)
                .chain(order.iter().skip(1).map(|&place| start(place) - 10))
                .collect(),
        };
        let slots = if is_link_first {
            [462, 446]
        } else {
            [446, 462]
        };
        for (index, &lba) in records.iter().enumerate() {
            let record = at(lba, sector_bytes);
            bytes[record + 510..record + 512].copy_from_slice(&[0x55, 0xaa]);
            for slot in 0..2 {
                bytes[record + 446 + slot * 16] = dice.pick(&[0, 0x80]);
                bytes[record + 446 + slot * 16 + 4] = 0;
            }
            if let Some(&place) = order.get(index) {
                entry(&mut bytes, record + slots[0], 0x83, start(place) - lba, 20);
            }
            if let Some(next) = records.get(index + 1) {
                entry(&mut bytes, record + slots[1], 0x05, next - EXTENDED_LBA, 30);
            }
        }
        Self {
            disk: MemoryDevice::new(bytes, sector_bytes),
            sector_bytes,
            records,
            is_link_first: is_link_first && !order.is_empty(),
        }
    }

    fn table(&self) -> Table {
        table_of(&self.disk).0
    }

    fn check(&self, table: &Table, allowed: &[std::ops::Range<usize>]) {
        let before = self.disk.to_vec();
        let disk = MemoryDevice::new(before.clone(), self.sector_bytes);
        write(&disk, table).unwrap();
        assert_only(&before, &disk.to_vec(), allowed);
        assert_eq!(&table_of(&disk).0, table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_that_stays_is_not_touched(seed in any::<u64>()) {
        let mbr = Mbr::new(seed);
        mbr.check(&mbr.table(), &[]);
    }

    #[test]
    fn a_new_primary_partition_changes_its_entry(seed in any::<u64>()) {
        let mbr = Mbr::new(seed);
        let mut table = mbr.table();
        let sector = u64::from(mbr.sector_bytes);
        table.partitions.push(mbr_partition(4, extent(420 * sector, 30 * sector), 0x82));
        table.partitions.sort_by_key(|it| it.number);
        mbr.check(&table, std::slice::from_ref(&(494..510)));
    }

    #[test]
    fn changed_partitions_change_their_fields(seed in any::<u64>()) {
        let mbr = Mbr::new(seed);
        let mut table = mbr.table();
        table.partitions[0].is_bootable ^= true;
        mbr.check(&table, std::slice::from_ref(&(462..463)));
        let mut table = mbr.table();
        if let Some(last) = table.partitions.last_mut().filter(|it| it.number > 4) {
            last.partition_type = crate::table::PartitionType::Mbr(0x8e);
            let record = at(*mbr.records.last().unwrap(), mbr.sector_bytes);
            let entry = record + if mbr.is_link_first { 462 } else { 446 };
            mbr.check(&table, std::slice::from_ref(&(entry + 4..entry + 5)));
        }
    }

    #[test]
    fn a_new_logical_partition_changes_a_link_and_gets_a_record(seed in any::<u64>()) {
        let mbr = Mbr::new(seed);
        let mut table = mbr.table();
        let sector = u64::from(mbr.sector_bytes);
        let logical = table.partitions.iter().filter(|it| it.number > 4).count();
        let number = 5 + u32::try_from(logical).unwrap();
        let place = extent((EXTENDED_LBA + 250) * sector, 30 * sector);
        table.partitions.push(mbr_partition(number, place, 0x83));
        let last = at(*mbr.records.last().unwrap(), mbr.sector_bytes);
        if logical == 0 {
            return mbr_empty(&mbr, &table, last);
        }
        let disk = MemoryDevice::new(mbr.disk.to_vec(), mbr.sector_bytes);
        write(&disk, &table).unwrap();
        let link = last + if mbr.is_link_first { 446 } else { 462 };
        let after = disk.to_vec();
        let lba = u64::from(crate::bytes::le32(&after, link + 8)) + EXTENDED_LBA;
        let record = at(lba, mbr.sector_bytes);
        let allowed = [link..link + 16, record..record + mbr.sector_bytes as usize];
        mbr.check(&table, &allowed);
    }
}

/// The first logical partition goes into the record that is there.
fn mbr_empty(
    mbr: &Mbr,
    table: &Table,
    head: usize,
) -> std::result::Result<(), proptest::test_runner::TestCaseError> {
    mbr.check(table, std::slice::from_ref(&(head + 446..head + 462)));
    Ok(())
}
