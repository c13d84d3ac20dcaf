//! Walks over golden volumes.

use super::{
    ExtentVerdict, ExtentWriter, FoundExtents, KeptExtents, PreviousExtents, WalkError,
    walk_extents,
};
use crate::change::proven::{Horizon, Rule, Walk};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::probe;
use klon_partition::{ExtentMap, ReadAt, WriteAt};
use std::path::Path;

const NAMES: [&str; 4] = ["btrfs", "btrfs-mixed", "btrfs-old", "btrfs-64k"];

fn image(name: &str) -> MemoryDevice {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let file = std::fs::File::open(root.join(format!("{name}.img.zst"))).unwrap();
    MemoryDevice::new(zstd::decode_all(file).unwrap(), 512)
}

type Walked = Result<FoundExtents<Vec<u8>>, WalkError>;

/// A walk after one that kept `stream`, or a first one, until so many extents were met.
fn walked(
    device: &MemoryDevice,
    stream: Option<&[u8]>,
    damaged: &ExtentMap,
    extents_max: usize,
) -> Walked {
    let filesystem = probe(device).unwrap().unwrap();
    let described = ExtentMap::whole(device.geometry().size_bytes);
    let previous = stream.map(|stream| PreviousExtents {
        extents: KeptExtents::begin(stream).unwrap(),
        damaged,
        described: &described,
    });
    let keep = ExtentWriter::begin(Vec::new(), Horizon::NEVER).unwrap();
    let met = std::cell::Cell::new(0);
    let is_cancelled = || met.replace(met.get() + 1) >= extents_max;
    let of = Walk {
        filesystem: &*filesystem,
        device,
        rule: &Rule::default(),
        is_cancelled: &is_cancelled,
    };
    walk_extents(of, previous, keep)
}

#[test]
fn what_did_not_change_is_proven_and_nothing_without_an_earlier_run() {
    let none = ExtentMap::new();
    for name in NAMES {
        let device = image(name);
        let first = walked(&device, None, &none, usize::MAX).unwrap();
        assert!(first.proven.is_empty() && first.kept.entries > 0, "{name}");
        let is_found = |verdict| first.extents.contains_key(&verdict);
        assert!(!is_found(ExtentVerdict::Unchanged), "{name}");
        let second = walked(&device, Some(&first.inner), &none, usize::MAX).unwrap();
        assert_eq!(second.inner, first.inner, "{name}");
        let unchanged = second.extents[&ExtentVerdict::Unchanged];
        assert_eq!(unchanged.extents, first.kept.entries, "{name}");
        let copies = if name == "btrfs-64k" { 2 } else { 1 };
        let proven_bytes = second.proven.total_bytes();
        assert_eq!(proven_bytes, unchanged.bytes * copies, "{name}");
        let filesystem = probe(&device).unwrap().unwrap();
        let used = filesystem.used(&device).unwrap().unwrap();
        assert!(second.proven.difference(&used).is_empty(), "{name}");
        let metadata = filesystem.metadata(&device).unwrap().unwrap();
        assert!(second.proven.intersection(&metadata).is_empty(), "{name}");
    }
}

#[test]
fn what_was_damaged_is_not_proven() {
    let none = ExtentMap::new();
    let device = image("btrfs-64k");
    let first = walked(&device, None, &none, usize::MAX).unwrap();
    let whole = walked(&device, Some(&first.inner), &none, usize::MAX).unwrap();
    let sector = whole.proven.iter().flat_map(|it| it.split(4096)).nth(3);
    let damaged: ExtentMap = sector.into_iter().collect();
    let second = walked(&device, Some(&first.inner), &damaged, usize::MAX).unwrap();
    assert_eq!(second.proven, whole.proven.difference(&damaged));
}

#[test]
fn a_walk_that_is_not_whole_proves_nothing() {
    let none = ExtentMap::new();
    let device = image("btrfs");
    let first = walked(&device, None, &none, usize::MAX).unwrap();
    let stopped = walked(&device, Some(&first.inner), &none, 1);
    assert!(matches!(stopped, Err(WalkError::Interrupted)));
    let cut = &first.inner[..first.inner.len() - 9];
    let cut = walked(&device, Some(cut), &none, usize::MAX);
    assert!(matches!(cut, Err(WalkError::Previous(_))));
    let other = walked(&image("ext4"), None, &none, usize::MAX);
    assert!(matches!(other, Err(WalkError::Kind(_))));
    // A log tree: the filesystem was not unmounted.
    let log_root = 65_536 + 0x60;
    device.write_all_at(&[1], log_root).unwrap();
    let unclean = walked(&device, Some(&first.inner), &none, usize::MAX);
    assert!(matches!(unclean, Err(WalkError::Gaps(_))), "{unclean:?}");
}

#[test]
fn an_extent_takes_18_bytes() {
    let device = image("btrfs");
    let first = walked(&device, None, &ExtentMap::new(), usize::MAX).unwrap();
    let frames_bytes = 32 + 20 + 20 * first.kept.entries.div_ceil(2);
    assert!(first.kept.len_bytes <= frames_bytes + 18 * first.kept.entries);
}
