//! An overlay in a file against a copy in memory that is written the same way.

use super::Spill;
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::extent::{Extent, ExtentMap};
use proptest::prelude::*;
use std::fs::File;

const SIZE_BYTES: usize = 300_000;

fn base() -> MemoryDevice {
    let bytes = (0..SIZE_BYTES).map(|at| (at % 251) as u8 + 1);
    MemoryDevice::new(bytes.collect(), 512)
}

fn spill(base: &MemoryDevice) -> Spill<&MemoryDevice> {
    Spill::new(base, tempfile::tempfile().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn reads_are_those_of_a_copy_that_was_written(
        writes in prop::collection::vec((0..SIZE_BYTES, 1..20_000_usize, any::<Option<u8>>()), 0..12),
        reads in prop::collection::vec((0..SIZE_BYTES, 0..30_000_usize), 0..12),
    ) {
        let (source, copy) = (base(), base());
        let overlay = spill(&source);
        let mut touched = Vec::new();
        for (at, len, value) in writes {
            let len = len.min(SIZE_BYTES - at);
            let extent = Extent::new(at as u64, len as u64).unwrap();
            touched.push(extent);
            match value {
                Some(value) => {
                    overlay.write_all_at(&vec![value; len], at as u64).unwrap();
                    copy.write_all_at(&vec![value; len], at as u64).unwrap();
                }
                None => {
                    overlay.zero(extent).unwrap();
                    copy.zero(extent).unwrap();
                }
            }
        }
        for (at, len) in reads {
            let len = len.min(SIZE_BYTES - at);
            let [found, expected] = [&overlay as &dyn ReadAt, &copy]
                .map(|device| read_vec(device, at as u64, len).unwrap());
            prop_assert!(found == expected);
        }
        let touched: ExtentMap = touched.into_iter().collect();
        prop_assert!(overlay.changed_bytes() >= touched.total_bytes());
        prop_assert_eq!(source.to_vec(), base().to_vec());
    }
}

#[test]
fn what_is_behind_the_end_can_not_be_reached() {
    let source = base();
    let overlay = spill(&source);
    let end = SIZE_BYTES as u64;
    assert!(overlay.write_all_at(&[1, 2], end - 1).is_err());
    assert!(overlay.zero(Extent::new(end, 1).unwrap()).is_err());
    overlay.write_all_at(&[1, 2], end - 2).unwrap();
    assert_eq!(read_vec(&overlay, end - 3, 3).unwrap()[1..], [1, 2]);
}

#[test]
fn a_file_that_takes_no_more_is_told() {
    let source = base();
    let overlay = spill(&source);
    assert!(!overlay.is_full());
    // Every write there fails for want of room.
    let full = Spill {
        base: &source,
        geometry: source.geometry(),
        file: File::options().write(true).open("/dev/full").unwrap(),
        changed: std::sync::RwLock::default(),
        is_full: false.into(),
    };
    assert!(full.write_all_at(&[1; 4096], 4096).is_err() && full.is_full());
    // What could not be kept is not taken for changed.
    assert_eq!(full.changed_bytes(), 0);
    assert_eq!(
        read_vec(&full, 4096, 4).unwrap(),
        source.to_vec()[4096..4100]
    );
}
