//! Tables with any bytes changed: nothing panics, and what is written reads the same.

use super::gpt::Gpt;
use super::{Dice, moved};
use crate::device::{MemoryDevice, ReadAt};
use crate::table::{Found, read, relocated, write};
use proptest::prelude::{ProptestConfig, any, proptest};

/// Makes the checksum of the header at `at` right.
fn seal(bytes: &mut [u8], at: usize) {
    let len = usize::try_from(crate::bytes::le32(bytes, at + 12)).unwrap();
    if let Some(covered) = at.checked_add(len).and_then(|end| bytes.get(at..end)) {
        let mut covered = covered.to_vec();
        if covered.len() >= 20 {
            covered[16..20].fill(0);
        }
        let sum = crc32fast::hash(&covered).to_le_bytes();
        bytes[at + 16..at + 20].copy_from_slice(&sum);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_of_a_gpt_changed(seed in any::<u64>(), changes in 1..6_usize, is_sealed in any::<bool>()) {
        let gpt = Gpt::new(seed);
        let mut dice = Dice(seed ^ 0x5eed);
        let mut bytes = gpt.disk.to_vec();
        let sector = gpt.sector_bytes as usize;
        let last = bytes.len() - sector;
        for _ in 0..changes {
            let near = dice.pick(&[440..512, sector..sector + 92, last..last + 92, 2 * sector..4 * sector]);
            let index = dice.index(near);
            bytes[index] = dice.pick(&[0, 1, 0x7f, 0xff, dice.0.to_le_bytes()[0]]);
        }
        if is_sealed {
            seal(&mut bytes, sector);
            seal(&mut bytes, last);
        }
        let disk = MemoryDevice::new(bytes, gpt.sector_bytes);
        let Ok(Found::Table(table, _)) = read(&disk) else {
            return Ok(());
        };
        for size_bytes in [1 << 20, (1 << 20) + 4096, 3 << 20] {
            if let Ok(table) = relocated(&table, size_bytes)
                && let Ok(bytes) = moved(&disk, &table, size_bytes)
            {
                let found = read(&MemoryDevice::new(bytes, gpt.sector_bytes));
                assert!(matches!(&found, Ok(Found::Table(found, _)) if *found == table), "{found:?} {table:?}");
            }
        }
        let size_bytes = disk.geometry().size_bytes;
        let copy = MemoryDevice::new(disk.to_vec(), gpt.sector_bytes);
        if write(&copy, &table).is_ok() {
            let found = read(&copy);
            assert!(matches!(&found, Ok(Found::Table(found, _)) if *found == table), "{found:?} {table:?}");
            assert_eq!(copy.geometry().size_bytes, size_bytes);
        }
    }
}
