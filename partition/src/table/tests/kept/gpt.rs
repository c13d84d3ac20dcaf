//! GPTs.

use super::{Dice, assert_only, at, differing, extent, moved};
use crate::device::MemoryDevice;
use crate::table::tests::{gpt_partition, table_of};
use crate::table::{Finding, Table, relocated, write};
use proptest::prelude::{ProptestConfig, any, proptest};
use std::ops::Range;

const SIZE_BYTES: u64 = 2 << 20;

/// Where everything of a random GPT is.
pub(super) struct Gpt {
    pub(super) disk: MemoryDevice,
    pub(super) sector_bytes: u32,
    entry_bytes: usize,
    array_lba: u64,
    array_sectors: u64,
    backup_array_lba: u64,
    last_lba: u64,
    is_hybrid: bool,
    /// Where a partition fits, behind all others.
    free_lba: u64,
    slots: u64,
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_le_bytes()
}

impl Gpt {
    /// A disk with noise in all bytes, and a GPT in it.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let sector_bytes = dice.pick(&[512_u32, 512, 4096]);
        let entry_bytes = dice.pick(&[128_usize, 128, 256, 512]);
        let slots = dice.pick(&[4_u64, 7, 16, 128]);
        let sector = u64::from(sector_bytes);
        let last_lba = SIZE_BYTES / sector - 1;
        let array_sectors = (slots * entry_bytes as u64).div_ceil(sector);
        let gap = |dice: &mut Dice| dice.of(0..6);
        let array_lba = 2 + gap(&mut dice);
        let first_usable = array_lba + array_sectors + gap(&mut dice);
        let backup_array_lba = last_lba - array_sectors - gap(&mut dice);
        let last_usable = backup_array_lba - 1 - gap(&mut dice);
        let mut bytes = vec![0; usize::try_from(SIZE_BYTES).unwrap()];
        dice.fill(&mut bytes);
        let mut gpt = Self {
            disk: MemoryDevice::zeroed(0),
            sector_bytes,
            entry_bytes,
            array_lba,
            array_sectors,
            backup_array_lba,
            last_lba,
            is_hybrid: dice.of(0..3) == 0,
            free_lba: first_usable + 60,
            slots,
        };
        gpt.entries(&mut dice, &mut bytes, first_usable);
        gpt.headers(&mut dice, &mut bytes, (first_usable, last_usable));
        gpt.record(&mut dice, &mut bytes, first_usable);
        gpt.disk = MemoryDevice::new(bytes, sector_bytes);
        gpt
    }

    /// Up to three partitions of 20 sectors; slot 1 is always in use, the last never.
    fn entries(&self, dice: &mut Dice, bytes: &mut [u8], first_usable: u64) {
        let start = at(self.array_lba, self.sector_bytes);
        for slot in 0..self.slots {
            let entry = start + usize::try_from(slot).unwrap() * self.entry_bytes;
            let is_used = slot == 0 || (slot < 3 && dice.of(0..2) == 0);
            if !is_used {
                // Not in use, whatever else is in it.
                bytes[entry..entry + 16].fill(0);
                continue;
            }
            let first = first_usable + slot * 20;
            put(bytes, entry + 32, &first.to_le_bytes());
            put(bytes, entry + 40, &(first + 19).to_le_bytes());
            // An end of the name with something behind it, or none; half surrogates everywhere.
            if dice.of(0..2) == 0 {
                put(bytes, entry + 56 + dice.index(0..36) * 2, &[0, 0]);
            }
        }
        let len = usize::try_from(self.slots).unwrap() * self.entry_bytes;
        let array = bytes[start..start + len].to_vec();
        put(bytes, at(self.backup_array_lba, self.sector_bytes), &array);
    }

    fn headers(&self, dice: &mut Dice, bytes: &mut [u8], usable: (u64, u64)) {
        let start = at(self.array_lba, self.sector_bytes);
        let len = usize::try_from(self.slots).unwrap() * self.entry_bytes;
        let sum = crc(&bytes[start..start + len]);
        let mut guid = [0; 16];
        dice.fill(&mut guid);
        let size = dice.pick(&[92, 96, 200, self.sector_bytes]);
        let copies = [
            (1, self.last_lba, self.array_lba),
            (self.last_lba, 1, self.backup_array_lba),
        ];
        for (my_lba, alternate_lba, array_lba) in copies {
            let header = at(my_lba, self.sector_bytes);
            put(bytes, header, b"EFI PART");
            put(bytes, header + 8, &[dice.next().to_le_bytes()[0], 0, 1, 0]);
            put(bytes, header + 12, &size.to_le_bytes());
            put(bytes, header + 24, &my_lba.to_le_bytes());
            put(bytes, header + 32, &alternate_lba.to_le_bytes());
            put(bytes, header + 40, &usable.0.to_le_bytes());
            put(bytes, header + 48, &usable.1.to_le_bytes());
            put(bytes, header + 56, &guid);
            put(bytes, header + 72, &array_lba.to_le_bytes());
            put(
                bytes,
                header + 80,
                &u32::try_from(self.slots).unwrap().to_le_bytes(),
            );
            put(
                bytes,
                header + 84,
                &u32::try_from(self.entry_bytes).unwrap().to_le_bytes(),
            );
            put(bytes, header + 88, &sum);
            put(bytes, header + 16, &[0; 4]);
            let covered = header..header + usize::try_from(size).unwrap();
            let sum = crc(&bytes[covered]);
            put(bytes, header + 16, &sum);
        }
    }

    /// A protective entry in any slot, with any flag and CHS; a hybrid one of partition 1.
    fn record(&self, dice: &mut Dice, bytes: &mut [u8], first_usable: u64) {
        put(bytes, 510, &[0x55, 0xaa]);
        let slot = dice.index(0..4);
        for index in 0..4 {
            let entry = 446 + index * 16;
            bytes[entry] = dice.pick(&[0, 0x80]);
            bytes[entry + 4] = 0;
            let (start, count) = if index == slot {
                bytes[entry + 4] = 0xee;
                let all = u32::try_from(self.last_lba).unwrap();
                let count = match self.is_hybrid {
                    true => u32::try_from(first_usable).unwrap() - 1,
                    false => dice.pick(&[all, all, u32::MAX]),
                };
                (1, count)
            } else if index == (slot + 1) % 4 && self.is_hybrid {
                bytes[entry + 4] = 0x0c;
                (u32::try_from(first_usable).unwrap(), 20)
            } else {
                continue;
            };
            put(bytes, entry + 8, &start.to_le_bytes());
            put(bytes, entry + 12, &count.to_le_bytes());
        }
    }

    /// The checksums of both headers.
    fn sums(&self) -> Vec<Range<usize>> {
        [1, self.last_lba]
            .into_iter()
            .flat_map(|lba| {
                let header = at(lba, self.sector_bytes);
                [header + 16..header + 20, header + 88..header + 92]
            })
            .collect()
    }

    /// `field` of the entry of partition `number`, in both arrays.
    fn entry(&self, number: usize, field: Range<usize>) -> Vec<Range<usize>> {
        [self.array_lba, self.backup_array_lba]
            .into_iter()
            .map(|lba| {
                let entry = at(lba, self.sector_bytes) + (number - 1) * self.entry_bytes;
                entry + field.start..entry + field.end
            })
            .collect()
    }

    fn table(&self) -> Table {
        let (table, findings) = table_of(&self.disk);
        let is_known = |finding: &Finding| matches!(finding, Finding::Hybrid(_));
        assert!(findings.iter().all(is_known), "{findings:?}");
        assert_eq!(findings.len(), usize::from(self.is_hybrid));
        table
    }

    /// Writes `table`, and checks that only `allowed` changed and that it is what is read then.
    fn check(&self, table: &Table, allowed: &[Vec<Range<usize>>]) {
        let before = self.disk.to_vec();
        let disk = MemoryDevice::new(before.clone(), self.sector_bytes);
        write(&disk, table).unwrap();
        assert_only(&before, &disk.to_vec(), &allowed.concat());
        assert_eq!(&table_of(&disk).0, table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_that_stays_is_not_touched(seed in any::<u64>()) {
        let gpt = Gpt::new(seed);
        gpt.check(&gpt.table(), &[]);
    }

    #[test]
    fn a_new_partition_changes_its_entry_and_the_checksums(seed in any::<u64>()) {
        let gpt = Gpt::new(seed);
        let mut table = gpt.table();
        let sector = u64::from(gpt.sector_bytes);
        let place = extent(gpt.free_lba * sector, 8 * sector);
        table.partitions.push(gpt_partition(table.slots_max, place, "Neu äöü"));
        let slots = usize::try_from(gpt.slots).unwrap();
        gpt.check(&table, &[gpt.sums(), gpt.entry(slots, 0..gpt.entry_bytes)]);
        // Where it is gone again, only its entry is not what it was.
        let disk = MemoryDevice::new(gpt.disk.to_vec(), gpt.sector_bytes);
        write(&disk, &table).unwrap();
        table.partitions.pop();
        write(&disk, &table).unwrap();
        let allowed = [gpt.sums(), gpt.entry(slots, 0..gpt.entry_bytes)].concat();
        assert_only(&gpt.disk.to_vec(), &disk.to_vec(), &allowed);
    }

    #[test]
    fn a_changed_partition_changes_its_fields(seed in any::<u64>()) {
        let gpt = Gpt::new(seed);
        let mut table = gpt.table();
        table.partitions[0].name = "new".to_owned();
        gpt.check(&table, &[gpt.sums(), gpt.entry(1, 56..128)]);
        let mut table = gpt.table();
        table.partitions[0].attributes ^= 4;
        gpt.check(&table, &[gpt.sums(), gpt.entry(1, 48..56)]);
        let mut table = gpt.table();
        table.partitions[0].partition_type = crate::table::PartitionType::Gpt(crate::table::types::LINUX_SWAP);
        gpt.check(&table, &[gpt.sums(), gpt.entry(1, 0..16)]);
    }

    #[test]
    fn another_size_changes_what_says_the_size(seed in any::<u64>(), more in 1_u64..4000) {
        let gpt = Gpt::new(seed);
        let sector = u64::from(gpt.sector_bytes);
        let size_bytes = SIZE_BYTES + more * sector;
        let table = relocated(&gpt.table(), size_bytes).unwrap();
        let before = gpt.disk.to_vec();
        let after = moved(&gpt.disk, &table, size_bytes).unwrap();
        let last_lba = size_bytes / sector - 1;
        let header = sector as usize;
        let new_array = crate::bytes::le64(&after, at(last_lba, gpt.sector_bytes) + 72);
        let new_array = at(new_array, gpt.sector_bytes);
        let protective = (0..4).map(|slot| 446 + 16 * slot).find(|entry| before[entry + 4] == 0xee);
        let protective = protective.unwrap();
        let array_len = at(gpt.array_sectors, gpt.sector_bytes);
        let allowed = [
            protective + 12..protective + 16,
            header + 16..header + 20,
            header + 32..header + 40,
            header + 48..header + 56,
            new_array..new_array + array_len,
            at(last_lba, gpt.sector_bytes)..after.len(),
        ];
        assert_only(&before, &after, &allowed);
        let count = crate::bytes::le32(&after, protective + 12);
        let old_count = crate::bytes::le32(&before, protective + 12);
        let is_whole = u64::from(old_count) == gpt.last_lba && !gpt.is_hybrid;
        let expected = if is_whole { u32::try_from(last_lba).unwrap() } else { old_count };
        assert_eq!(count, expected);
        // The backup is the old backup but for its fields; its array is the primary's.
        let old_header = at(gpt.last_lba, gpt.sector_bytes);
        let new_header = at(last_lba, gpt.sector_bytes);
        let changed = differing(&before[old_header..], &after[new_header..]);
        let fields = [16..20, 24..32, 48..56, 72..80];
        assert!(changed.iter().all(|index| fields.iter().any(|field| field.contains(index))));
        let old_array = at(gpt.backup_array_lba, gpt.sector_bytes);
        assert_eq!(after[new_array..new_array + array_len], before[old_array..old_array + array_len]);
        let (found, _) = table_of(&MemoryDevice::new(after, gpt.sector_bytes));
        assert_eq!(found, table);
    }

    #[test]
    fn a_damaged_copy_is_made_whole_from_the_other(seed in any::<u64>(), which in 0..4_usize) {
        let gpt = Gpt::new(seed);
        let table = gpt.table();
        let places = [1, gpt.array_lba, gpt.last_lba, gpt.backup_array_lba];
        let mut bytes = gpt.disk.to_vec();
        bytes[at(places[which], gpt.sector_bytes)] ^= 0x55;
        let disk = MemoryDevice::new(bytes, gpt.sector_bytes);
        write(&disk, &table).unwrap();
        // A lost header is made of the other one, reserved bytes included.
        let sector = at(places[which], gpt.sector_bytes);
        let allowed = if matches!(which, 0 | 2) { sector..sector + gpt.sector_bytes as usize } else { 0..0 };
        assert_only(&gpt.disk.to_vec(), &disk.to_vec(), &[allowed]);
        let (found, findings) = table_of(&disk);
        assert_eq!(found, table);
        assert!(findings.iter().all(|it| matches!(it, Finding::Hybrid(_))), "{findings:?}");
    }
}

#[test]
fn hybrid_entries_of_partitions_that_change_are_refused() {
    let hybrid = (0..).map(Gpt::new).find(|gpt| gpt.is_hybrid).unwrap();
    let before = hybrid.disk.to_vec();
    let refused = |change: fn(&mut Table)| {
        let mut table = hybrid.table();
        change(&mut table);
        let error = write(&hybrid.disk, &table).unwrap_err();
        assert!(matches!(error, crate::Error::Refused(_)), "{error}");
        assert!(error.to_string().contains("hybrid MBR"), "{error}");
        assert!(hybrid.disk.to_vec() == before);
    };
    refused(|table| drop(table.partitions.remove(0)));
    refused(|table| {
        let place = table.partitions[0].extent;
        table.partitions[0].extent = extent(place.offset_bytes(), place.len_bytes() / 2);
    });
    refused(|table| {
        let other = extent(table.usable.end_bytes() - 4096, 4096);
        table.partitions[0].extent = other;
    });
}

#[test]
fn bytes_under_a_new_backup_are_named() {
    let gpt = Gpt::new(3);
    let size_bytes = SIZE_BYTES / 2;
    let table = gpt.table();
    let relocated = relocated(&table, size_bytes).unwrap();
    let geometry = crate::device::Geometry::new(size_bytes, gpt.sector_bytes);
    let overlay = crate::device::Overlay::with_geometry(&gpt.disk, geometry, 1 << 20);
    let rewrite = crate::table::Rewrite::plan(&gpt.disk, &overlay, &relocated).unwrap();
    let expected = (gpt.array_sectors + 1) * u64::from(gpt.sector_bytes);
    assert_eq!(rewrite.covered().total_bytes(), expected);
    assert!(rewrite.moved().len() >= 3, "{:?}", rewrite.moved());
}
