//! Packed disks read in any order.

use super::PlainStream;
use crate::image::Forward;
use crate::image::import::bmap::Bmap;
use crate::image::import::split::Parts;
use klon_partition::device::read_vec;
use klon_partition::{Extent, ExtentMap, ReadAt};

const MIB: usize = 1 << 20;

fn content() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..5 * MIB + 1234)
        .map(|at| (at / 977 % 251) as u8 + 1)
        .collect();
    bytes[2 * MIB..3 * MIB].fill(0);
    bytes
}

fn packed(bytes: &[u8]) -> (tempfile::TempDir, Parts) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.img.zst");
    std::fs::write(&path, zstd::bulk::compress(bytes, 1).unwrap()).unwrap();
    let parts = Parts::find(&path).unwrap();
    (directory, parts)
}

#[test]
fn every_order_of_reading_gives_the_content() {
    let bytes = content();
    let (_directory, parts) = packed(&bytes);
    let stream = PlainStream::scan(&parts, None).unwrap();
    assert_eq!(stream.geometry().size_bytes, bytes.len() as u64);
    let all = Extent::new(0, bytes.len() as u64).unwrap();
    let hole = Extent::new(2 << 20, 1 << 20).unwrap();
    assert_eq!(
        stream.data(all).unwrap(),
        ExtentMap::from(all).difference(&hole.into())
    );
    for (at, len) in [
        (4 * MIB, 100),
        (0, 512),
        (MIB + 7, 3 * MIB),
        (MIB, 1),
        (bytes.len() - 512, 512),
        (2 * MIB, MIB),
        (0, bytes.len()),
    ] {
        let found = read_vec(&stream, at as u64, len).unwrap();
        assert!(found == bytes[at..at + len], "{at} {len}");
    }
    assert!(read_vec(&stream, bytes.len() as u64, 1).is_err());
    let ends = stream.ends().unwrap();
    assert!(read_vec(&*ends, 0, 4096).unwrap() == bytes[..4096]);
    assert!(read_vec(&*ends, bytes.len() as u64 - 600, 600).unwrap() == bytes[bytes.len() - 600..]);
    let mut forward = stream.forward().unwrap();
    let mut out = vec![0; 1000];
    forward.read_at(&mut out, 3_500_000).unwrap();
    assert!(out == bytes[3_500_000..3_501_000]);
    forward.check_rest().unwrap();
}

#[test]
fn what_is_damaged_or_empty_is_found_before_anything_is_read() {
    let bytes = content();
    let (directory, parts) = packed(&bytes);
    let path = directory.path().join("x.img.zst");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    assert!(PlainStream::scan(&parts, None).is_err());
    std::fs::write(&path, whole).unwrap();
    let map = |size: usize| Bmap {
        image_bytes: size as u64,
        runs: vec![(Extent::new(0, 4096).unwrap(), None)],
        unchecked: None,
    };
    assert!(PlainStream::scan(&parts, Some(&map(7))).is_err());
    // What the map leaves out is wanted, too, where it is not zero.
    let stream = PlainStream::scan(&parts, Some(&map(bytes.len()))).unwrap();
    let hole = Extent::new(2 << 20, 1 << 20).unwrap();
    let all = ExtentMap::whole(bytes.len() as u64).difference(&hole.into());
    assert_eq!(stream.wanted(), &all);
    let mapped = ExtentMap::from(Extent::new(0, 4096).unwrap());
    assert_eq!(stream.unmapped(), &all.difference(&mapped));
    let (_directory, parts) = packed(&[]);
    let stream = PlainStream::scan(&parts, None).unwrap();
    assert_eq!(stream.geometry().size_bytes, 0);
}
