//! The overlay against a vector of bytes.

use super::Overlay;
use crate::device::{Geometry, MemoryDevice, ReadAt, Window, WriteAt, read_vec};
use crate::extent::{Extent, ExtentMap};
use proptest::prelude::*;

const BASE_BYTES: usize = 2000;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Zero(u64, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..1500, prop::collection::vec(any::<u8>(), 1..300))
            .prop_map(|(offset, data)| Step::Write(offset, data)),
        (0_u64..1500, 1_u64..300).prop_map(|(offset, len)| Step::Zero(offset, len)),
    ];
    prop::collection::vec(step, 0..30)
}

fn apply(device: &dyn WriteAt, model: &mut [u8], steps: &[Step]) {
    for step in steps {
        match step {
            Step::Write(offset_bytes, data) => {
                model[*offset_bytes as usize..][..data.len()].copy_from_slice(data);
                device.write_all_at(data, *offset_bytes).unwrap();
            }
            Step::Zero(offset_bytes, len_bytes) => {
                model[*offset_bytes as usize..][..*len_bytes as usize].fill(0);
                device
                    .zero(Extent::new(*offset_bytes, *len_bytes).unwrap())
                    .unwrap();
            }
        }
    }
}

fn base() -> Vec<u8> {
    (0..BASE_BYTES).map(|index| (index % 251) as u8).collect()
}

proptest! {
    #[test]
    fn overlay_reads_and_flushes_as_if_written(
        steps in steps(),
        size in prop_oneof![Just(BASE_BYTES), Just(1800), Just(3000)],
        (start, len) in (0_usize..1800, 1_usize..1800),
    ) {
        let below = MemoryDevice::new(base(), 512);
        let overlay = Overlay::with_geometry(&below, Geometry::new(size as u64, 512), 1 << 20);
        let mut model = base();
        model.resize(size, 0);
        apply(&overlay, &mut model, &steps);
        prop_assert_eq!(below.to_vec(), base());
        let end = (start + len).min(size);
        let part = read_vec(&overlay, start as u64, end - start).unwrap();
        prop_assert_eq!(&part[..], &model[start..end]);

        let mut cut = base();
        cut.resize(size, 0);
        let target = MemoryDevice::new(cut, 512);
        overlay.flush_to(&target).unwrap();
        prop_assert_eq!(target.to_vec(), model.clone());

        let dirty = overlay.dirty();
        for pair in dirty.windows(2) {
            prop_assert!(pair[0].0.end_bytes() <= pair[1].0.offset_bytes());
        }
        let data = overlay.data(overlay.geometry().extent().unwrap()).unwrap();
        for (index, &byte) in model.iter().enumerate() {
            let is_data = data.contains(Extent::new(index as u64, 1).unwrap());
            prop_assert!(is_data || byte == 0, "byte {} is lost", index);
        }
    }

    #[test]
    fn a_window_of_an_overlay_is_a_device_like_any_other(steps in steps()) {
        let overlay = Overlay::new(MemoryDevice::new(base(), 512), 1 << 20);
        let window = Window::new(&overlay, Extent::new(100, 1850).unwrap()).unwrap();
        let mut model = base();
        apply(&window, &mut model[100..1950], &steps);
        prop_assert_eq!(read_vec(&overlay, 0, BASE_BYTES).unwrap(), model);
    }

    #[test]
    fn memory_stays_within_the_limit(steps in steps()) {
        let overlay = Overlay::new(MemoryDevice::new(base(), 512), 600);
        for step in &steps {
            let before = read_vec(&overlay, 0, BASE_BYTES).unwrap();
            if let Step::Write(offset_bytes, data) = step
                && overlay.write_all_at(data, *offset_bytes).is_err()
            {
                prop_assert_eq!(read_vec(&overlay, 0, BASE_BYTES).unwrap(), before);
            }
            let held: usize = overlay.dirty().iter().filter_map(|(_, b)| Some(b.as_ref()?.len())).sum();
            prop_assert!(held <= 600);
        }
    }
}

#[test]
fn a_part_is_flushed_alone_so_that_the_caller_can_sync_between() {
    let overlay = Overlay::new(MemoryDevice::zeroed(2000), 1 << 20);
    overlay.write_all_at(&[1; 1000], 0).unwrap();
    overlay.zero(Extent::new(1500, 100).unwrap()).unwrap();
    let target = MemoryDevice::new(vec![9; 2000], 512);
    let part: ExtentMap = Extent::new(500, 1050).unwrap().into();
    overlay.flush_part_to(&target, &part).unwrap();
    let mut expected = vec![9; 2000];
    expected[500..1000].fill(1);
    expected[1500..1550].fill(0);
    assert_eq!(target.to_vec(), expected);
}

/// A device that keeps digests.
struct Keeping(MemoryDevice);

impl ReadAt for Keeping {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> crate::Result<()> {
        self.0.read_exact_at(buffer, offset_bytes)
    }

    fn sha256(&self, _: Extent) -> crate::Result<Option<[u8; 32]>> {
        Ok(Some([7; 32]))
    }
}

#[test]
fn digests_are_those_of_what_nobody_changed() {
    let base = Keeping(MemoryDevice::new(vec![1; BASE_BYTES], 1));
    let larger = Geometry::new(3000, 1);
    let overlay = Overlay::with_geometry(base, larger, 1000);
    overlay.write_all_at(&[2; 100], 500).unwrap();
    overlay.zero(Extent::new(1000, 50).unwrap()).unwrap();
    let has = |offset, len| {
        let extent = Extent::new(offset, len).unwrap();
        overlay.sha256(extent).unwrap().is_some()
    };
    assert!(has(0, 500) && has(600, 400) && has(1050, 950));
    assert!(!has(0, 501) && !has(599, 1) && !has(900, 101) && !has(1049, 9) && !has(1900, 101));
}
