//! Walks over golden volumes.

use super::{
    Found, Guard, Horizon, Identities, IdentityWriter, Previous, Rule, Verdict, Walk, WalkError,
    walk,
};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::files::Stamp;
use klon_partition::filesystem::probe;
use klon_partition::{ExtentMap, ReadAt, WriteAt};
use std::path::Path;

const LATE: Horizon = Horizon::at(Stamp {
    seconds: i64::MAX,
    nanoseconds: 0,
});

fn image(name: &str) -> MemoryDevice {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let file = std::fs::File::open(root.join(format!("{name}.img.zst"))).unwrap();
    MemoryDevice::new(zstd::decode_all(file).unwrap(), 512)
}

type Walked = Result<Found<Vec<u8>>, WalkError>;

/// A walk after one that kept `stream`, or a first one, until so many files were met.
fn walked(device: &MemoryDevice, stream: Option<&[u8]>, files_max: usize) -> Walked {
    let filesystem = probe(device).unwrap().unwrap();
    let described = ExtentMap::whole(device.geometry().size_bytes);
    let none = ExtentMap::new();
    let previous = stream.map(|stream| Previous {
        identities: Identities::begin(stream).unwrap(),
        signatures: &none,
        written_past: &none,
        described: &described,
    });
    let keep = IdentityWriter::begin(Vec::new(), LATE).unwrap();
    let met = std::cell::Cell::new(0);
    let is_cancelled = || met.replace(met.get() + 1) >= files_max;
    let of = Walk {
        filesystem: &*filesystem,
        device,
        rule: &Rule::default(),
        is_cancelled: &is_cancelled,
    };
    walk(of, previous, keep)
}

#[test]
fn what_did_not_change_is_proven_and_nothing_without_an_earlier_run() {
    for name in ["ext4", "ext3", "xfs", "xfs-v4"] {
        let device = image(name);
        let first = walked(&device, None, usize::MAX).unwrap();
        assert!(first.proven.is_empty() && first.kept.entries > 0, "{name}");
        assert!(!first.files.contains_key(&Verdict::Unchanged), "{name}");
        let second = walked(&device, Some(&first.inner), usize::MAX).unwrap();
        assert_eq!(second.inner, first.inner, "{name}");
        let unchanged = second.files[&Verdict::Unchanged];
        assert_eq!(unchanged.files, first.kept.entries, "{name}");
        assert_eq!(second.proven.total_bytes(), unchanged.bytes, "{name}");
        let filesystem = probe(&device).unwrap().unwrap();
        let metadata = filesystem.metadata(&device).unwrap().unwrap();
        assert!(second.proven.intersection(&metadata).is_empty(), "{name}");
    }
}

#[test]
fn a_walk_that_is_not_whole_proves_nothing() {
    let device = image("ext4");
    let first = walked(&device, None, usize::MAX).unwrap();
    let stopped = walked(&device, Some(&first.inner), 3);
    assert!(matches!(stopped, Err(WalkError::Interrupted)));
    let cut = walked(
        &device,
        Some(&first.inner[..first.inner.len() - 9]),
        usize::MAX,
    );
    assert!(matches!(cut, Err(WalkError::Previous(_))));
    let other = walked(&image("fat32-esp"), None, usize::MAX);
    assert!(matches!(other, Err(WalkError::Kind(_))));
}

#[test]
fn metadata_that_fails_a_check_proves_nothing() {
    let device = image("xfs");
    let first = walked(&device, None, usize::MAX).unwrap();
    let bytes = device.to_vec();
    let inodes = bytes.chunks_exact(512).zip((0..).step_by(512));
    // The last inode in use that has a mode.
    let last = inodes
        .filter(|(raw, _)| raw.starts_with(b"IN") && raw[2] == 0x81)
        .last();
    let (_, at) = last.unwrap();
    device.write_all_at(&[0xff], at + 60).unwrap();
    let damaged = walked(&device, Some(&first.inner), usize::MAX);
    assert!(matches!(damaged, Err(WalkError::Gaps(_))), "{damaged:?}");
}

#[test]
fn the_rule_has_all_of_its_parts() {
    let whole = Rule::default();
    assert!(Guard::ALL.iter().all(|&guard| whole.has(guard)));
    assert!(whole.also_volatile.is_empty());
    for guard in Guard::ALL {
        let has = |other: &&Guard| Rule::without(guard).has(**other);
        assert_eq!(Guard::ALL.iter().filter(has).count(), 17);
    }
}
