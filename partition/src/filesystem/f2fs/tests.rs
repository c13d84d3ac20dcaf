//! F2FS from golden images, with damage.

use super::probe;
use crate::device::{ReadAt, WriteAt};
use crate::filesystem::Hazard;
use crate::filesystem::golden::{believed, hazards, image};

#[test]
fn clean_volumes_are_believed() {
    for name in ["f2fs", "f2fs-new", "f2fs-aged", "f2fs-large-nat", "f2fs-ro"] {
        assert!(believed(&image(name)).is_some(), "{name}");
    }
}

/// What a power cut leaves: the checkpoint of a mounted volume, or that of the unmount before
/// with nodes that follow it.
#[test]
fn power_cuts_are_seen() {
    let found = hazards(&image("f2fs-cut"));
    assert!(
        matches!(found[..], [Hazard::NotCleanlyUnmounted(_)]),
        "{found:?}"
    );
    let found = hazards(&image("f2fs-synced"));
    assert!(matches!(found[..], [Hazard::NeedsRecovery(_)]), "{found:?}");
}

/// With the newer checkpoint gone the older one is no proof.
#[test]
fn a_torn_checkpoint_is_damage() {
    for pack in [512_u64, 1024] {
        let device = image("f2fs-aged");
        device.write_all_at(&[0; 64], pack * 4096).unwrap();
        let found = hazards(&device);
        assert!(
            found
                .iter()
                .any(|hazard| matches!(hazard, Hazard::Damaged(_))),
            "{found:?}"
        );
    }
}

/// The layout of summaries in them is not proven by any tool here.
#[test]
fn larger_blocks_are_refused() {
    let device = image("f2fs-new");
    for at in [1024 + 16, 5120 + 16] {
        device.write_all_at(&[14], at).unwrap();
    }
    assert!(believed(&device).is_none());
    let found = hazards(&device);
    assert!(matches!(found[0], Hazard::UnknownFeature(_)), "{found:?}");
}

/// A node that isn't where the NAT has it, or fails its checksum, proves nothing.
#[test]
fn nodes_are_checked() {
    let device = image("f2fs-features");
    let filesystem = probe(&device).unwrap().unwrap();
    let used = filesystem.used(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&used).is_empty() && metadata != used);
    let main = metadata.extents()[0].end_bytes();
    let rest = metadata
        .iter()
        .filter(|extent| extent.offset_bytes() > main);
    let blocks = rest.flat_map(|extent| extent.split(4096));
    let mut seen = 0;
    for block in blocks.take(30) {
        // The footer's number, and a generation.
        let is_found = [4072, 68].map(|at| {
            let at = block.offset_bytes() + at;
            let mut byte = [0];
            device.read_exact_at(&mut byte, at).unwrap();
            device.write_all_at(&[byte[0] ^ 0x80], at).unwrap();
            let found = filesystem.metadata(&device);
            device.write_all_at(&byte, at).unwrap();
            found.is_err_and(|error| error.to_string().contains("F2FS node"))
        });
        seen += u32::from(is_found == [true; 2]);
    }
    assert!(seen > 10, "{seen}");
}
