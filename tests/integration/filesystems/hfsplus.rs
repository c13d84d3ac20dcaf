//! HFS+ volumes made by a script from the specification, filled by the Linux kernel in a guest,
//! against that script, partclone, blkid and the kernel.
//!
//! Debian has no mkfs and no fsck for HFS+.

mod guest;
pub(super) mod volume;

use klon_partition::filesystem::{Basis, Hazard, Kind};
use klon_partition::{Extent, ExtentMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use volume::Volume;

const MIB: u64 = 1 << 20;

/// Klon's answers against those of the script, of blkid, and of partclone when asked.
fn check(volume: &Volume, asks_partclone: bool) {
    let usage = volume.usage();
    let summary = usage.summary.as_ref().unwrap();
    assert_eq!(usage.basis, Basis::Map, "{:?}", summary.hazards);
    assert_eq!(summary.kind, Kind::Hfsplus);
    assert_eq!(summary.kind.to_string(), volume.blkid("TYPE").unwrap());
    // Blkid looks for the first leaf at the start of a block, where smaller nodes are not.
    let label = volume.blkid("LABEL");
    assert!(label.is_none() || summary.label == label, "{label:?}");
    assert_eq!(summary.uuid, volume.blkid("UUID"));
    assert_eq!(usage.used(), volume.marked());
    assert_eq!(usage.token, None);
    if asks_partclone {
        // It leaves out what follows the last block.
        let partclone = volume.partclone_used();
        let tail = Extent::between(summary.size_bytes, volume.size_bytes());
        let tail: ExtentMap = tail.into_iter().collect();
        // It copies what is known to be bad.
        let with_bad = usage.used().union(&volume.known_bad());
        assert_eq!(with_bad.difference(&tail), partclone.difference(&tail));
        assert_eq!(summary.used_bytes, Some(partclone.total_bytes()));
    }
    let metadata = volume.metadata();
    assert!(metadata.difference(&usage.used()).is_empty());
    assert!(metadata.contains(Extent::new(1024, 512).unwrap()));
    assert!(metadata.contains(Extent::new(summary.size_bytes - 512, 512).unwrap()));
}

macro_rules! variants {
    ($($name:ident: $size:expr, $asks_partclone:literal, $options:expr;)*) => {
        $(#[test]
        fn $name() {
            check(&Volume::make($size, &$options), $asks_partclone);
        })*
    };
}

variants! {
    blocks_of_4096_bytes: 8 * MIB, true, ["--label", "Gr\u{f6}\u{df}e", "--bad"];
    blocks_of_512_bytes: 6 * MIB, true, ["--block", "512", "--files", "60"];
    blocks_of_64k: 40 * MIB, true, ["--block", "65536", "--node", "8192"];
    blocks_of_1m: 80 * MIB, false, ["--block", "1048576", "--files", "10"];
    a_bitmap_in_pieces: 20 * MIB, false, ["--block", "512", "--pieces", "10"];
    a_catalog_in_pieces: 8 * MIB, false, ["--block", "1024", "--catalog-pieces", "30"];
    attributes_with_forks: 8 * MIB, false, ["--attributes"];
    case_sensitive: 8 * MIB, true, ["--signature", "HX", "--journal", "big"];
    a_journal_not_yet_made: 8 * MIB, false, ["--journal", "init"];
    locked_by_software: 8 * MIB, false, ["--flags", "0x8180"];
    map_nodes: 40 * MIB, false, ["--node", "1024", "--tree", "12582912"];
    no_files_and_no_name: 2 * MIB, false, ["--files", "0", "--label", "", "--id", "0000000000000000"];
    a_byte_of_bits_cut_short: 8 * MIB - 3 * 4096, true, ["--past-end"];
    slack_after_the_last_block: 8 * MIB + 1536, true, ["--block", "8192"];
    one_sector_of_slack: 8 * MIB + 512, false, [];
    a_filesystem_smaller_than_the_volume: 16 * MIB, false, ["--fs-size", "4198400"];
}

#[test]
fn what_proves_nothing_is_copied_whole() {
    type Is = fn(&Hazard) -> bool;
    let cases: [(&[&str], Is); 7] = [
        (&["--flags", "0"], |hazard| {
            matches!(hazard, Hazard::NotCleanlyUnmounted(_))
        }),
        (&["--flags", "0x900"], |hazard| {
            matches!(hazard, Hazard::Errors(_))
        }),
        (&["--flags", "0x4100"], |hazard| {
            matches!(hazard, Hazard::Errors(_))
        }),
        (&["--flags", "0x10100"], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (&["--journal", "full"], |hazard| {
            matches!(hazard, Hazard::NeedsRecovery(_))
        }),
        (&["--journal", "other"], |hazard| {
            matches!(hazard, Hazard::ExternalJournal(_))
        }),
        (&["--fs-size", "4194304", "--flags", "0x2100"], |hazard| {
            matches!(hazard, Hazard::Damaged(_))
        }),
    ];
    for (options, is_expected) in cases {
        let volume = Volume::make(8 * MIB, options);
        let hazards = volume.hazards();
        assert!(is_expected(&hazards[0]), "{options:?}: {hazards:?}");
    }
}

/// `freeBlocks` was written with the bitmap by whoever unmounted the volume.
#[test]
fn another_number_of_free_blocks_is_damage() {
    let volume = Volume::make(8 * MIB, &["--free-off", "1"]);
    assert!(
        volume.reason().contains("HFS+ allocation file"),
        "{}",
        volume.reason()
    );
}

#[test]
fn a_file_in_free_blocks_is_damage() {
    let volume = Volume::make(8 * MIB, &[]);
    let used = volume.usage().used();
    // The last of the files lies before the blocks at the end.
    let last = used.extents()[used.extents().len() - 2];
    let block = (last.end_bytes() / 4096 - 1) as usize;
    let file = File::options().read(true).write(true).open(&volume.image);
    let file = file.unwrap();
    let mut word = [0; 4];
    // startBlock of the allocation file's first extent, and freeBlocks.
    file.read_exact_at(&mut word, 1024 + 128).unwrap();
    let at = u64::from(u32::from_be_bytes(word)) * 4096 + block as u64 / 8;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] & !(0x80 >> (block % 8))], at)
        .unwrap();
    file.read_exact_at(&mut word, 1024 + 48).unwrap();
    let free = u32::from_be_bytes(word) + 1;
    file.write_all_at(&free.to_be_bytes(), 1024 + 48).unwrap();
    assert!(
        volume.reason().contains("in use, found free"),
        "{}",
        volume.reason()
    );
}

#[test]
fn a_wrapped_volume_is_named_and_copied_whole() {
    let volume = Volume::make(4 * MIB, &[]);
    let wrapped = volume.wrap();
    let hazards = wrapped.hazards();
    let [Hazard::UnknownFeature(which)] = &hazards[..] else {
        panic!("{hazards:?}");
    };
    assert!(which.contains("HFS wrapper"), "{which}");
    let summary = wrapped.usage().summary.unwrap();
    assert_eq!(summary.kind.to_string(), wrapped.blkid("TYPE").unwrap());
    assert_eq!(summary.uuid, wrapped.blkid("UUID"));
}
