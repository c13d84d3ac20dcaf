//! Reading around bad sectors, and paths of files in directories that make no sense.

use super::{Forgiving, Gaps, Links};
use crate::device::{Fault, FaultAt, MemoryDevice, ReadAt, read_vec};
use crate::extent::Extent;

#[test]
fn bad_sectors_alone_are_lost() {
    let bytes: Vec<u8> = (0..64 * 512_u32).map(|at| (at / 512) as u8).collect();
    let bad = Extent::new(10 * 512 + 100, 512).unwrap();
    let device = FaultAt::new(
        MemoryDevice::new(bytes.clone(), 512),
        Some(Fault::Unreadable(bad)),
    );
    let gaps = Gaps::new();
    let forgiving = Forgiving::new(&device, 0xee, &gaps);
    let mut expected = bytes;
    expected[10 * 512..12 * 512].fill(0xee);
    for (start, len) in [
        (0, 64 * 512),
        (5121, 3),
        (5119, 2),
        (6143, 2),
        (77, 20_000),
        (0, 0),
    ] {
        let found = read_vec(&forgiving, start as u64, len).unwrap();
        assert_eq!(found, expected[start..start + len], "{start} {len}");
    }
    assert_eq!(gaps.list().len(), 2, "{:?}", gaps.list());
    let operations = device.operations();
    let _ = read_vec(&forgiving, 10 * 512, 1024).unwrap();
    assert_eq!(device.operations(), operations, "read again");
    assert!(forgiving.read_exact_at(&mut [0; 2], 64 * 512 - 1).is_err());
}

#[test]
fn a_device_that_is_gone_is_left_alone() {
    let device = FaultAt::new(MemoryDevice::zeroed(16 << 20), Some(Fault::Persistent(0)));
    let gaps = Gaps::new();
    let forgiving = Forgiving::new(&device, 0, &gaps);
    for at in 0..16 {
        let _ = read_vec(&forgiving, at << 20, 1 << 20).unwrap();
    }
    assert_eq!(device.operations(), 4096);
    assert!(gaps.list().last().unwrap().starts_with("and "));
}

#[test]
fn paths_end_at_the_root_or_at_what_has_no_name() {
    let mut links = Links::new(1_u64);
    for (file, parent, name) in [(2, 1, "a"), (3, 2, "b"), (3, 1, "other"), (4, 9, "c")] {
        assert!(links.add(file, parent, name.as_bytes()));
    }
    let mut path = |file| links.path(file, |file| file);
    assert_eq!([path(1), path(2), path(3)], ["/", "/a", "/a/b"]);
    assert_eq!([path(4), path(9)], ["/<9>/c", "/<9>"]);
}

#[test]
fn directories_in_a_circle_have_an_end() {
    let mut links = Links::new(1_u64);
    links.add(2, 3, b"a");
    links.add(3, 2, b"b");
    let path = links.path(2, |file| file);
    assert!(
        path.starts_with("/<2>/") && path.ends_with("/b/a"),
        "{path}"
    );
}
