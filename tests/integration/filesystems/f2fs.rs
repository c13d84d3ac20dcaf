//! F2FS made by mkfs.f2fs and filled by sload.f2fs, against dump.f2fs, partclone, fsck.f2fs and
//! blkid.

pub(super) mod volume;

use super::image_file::ImageFile;
use crate::support::run;
use crate::support::tree::noise;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Hazard, Kind, probe, usage};
use std::os::unix::fs::FileExt;
use volume::{VARIANTS, Volume};

/// What klon says is in use, which must be what the other tools say.
fn assert_agrees(volume: &Volume, name: &str) {
    let usage = usage(&ImageFile::open(&volume.image)).unwrap();
    let summary = usage.summary.clone().unwrap();
    assert_eq!(usage.basis, Basis::Map, "{name}: {:?}", summary.hazards);
    assert_eq!(summary.kind, Kind::F2fs, "{name}");
    assert_eq!(summary.uuid, volume.blkid("UUID"), "{name}");
    assert_eq!(summary.label, volume.blkid("LABEL"), "{name}");
    assert_eq!(
        summary.used_bytes,
        Some(usage.used().total_bytes()),
        "{name}"
    );
    assert_eq!(usage.used(), volume.dump_used(), "{name}");
    if let Some(partclone) = volume.partclone_used() {
        assert_eq!(usage.used(), partclone, "{name}");
    }
}

/// Free space is really not needed: a copy with noise in it checks and reads as the original.
#[test]
fn used_maps_are_those_of_the_tools_and_enough_for_a_copy() {
    for variant in VARIANTS {
        let volume = Volume::make(variant);
        assert_agrees(&volume, &format!("{} new", variant.name));
        volume.load(1, "/");
        for round in 2..4 {
            volume.load(round, "/again");
        }
        assert_agrees(&volume, variant.name);
        volume.fsck(variant.name);
        let used = usage(&ImageFile::open(&volume.image)).unwrap().used();
        let copy = volume.copy_of(&used);
        assert_agrees(&copy, &format!("{} copied", variant.name));
        copy.fsck(variant.name);
        let contents = copy.contents();
        assert!(contents.len() > 20, "{}: {}", variant.name, contents.len());
        assert!(contents.contains(&noise(1, 2 << 20)), "{}", variant.name);
        assert_eq!(contents, volume.contents(), "{}", variant.name);
    }
}

/// A checker, which reads all structures, misses nothing but the contents of files.
#[test]
fn metadata_is_enough_for_the_checker() {
    for variant in VARIANTS {
        let name = variant.name;
        let volume = Volume::make(variant);
        assert_eq!(contents_of(&volume), ExtentMap::new(), "{name}");
        volume.load(1, "/");
        volume.load(2, "/again");
        let contents = contents_of(&volume);
        // Of the second tree only new names are added; the smallest files are kept in their inodes.
        let bytes = contents.total_bytes();
        assert!((2_700_000..3_300_000).contains(&bytes), "{name}: {bytes}");
        let copy = volume.copy_of(&volume.metadata());
        copy.fsck(name);
        let large = noise(1, 2 << 20);
        let is_there = contents.iter().any(|extent| {
            let mut bytes = vec![0; extent.len_bytes() as usize];
            let file = volume.open();
            file.read_exact_at(&mut bytes, extent.offset_bytes())
                .unwrap();
            let mut starts = (0..bytes.len()).step_by(4096);
            starts.any(|start| bytes[start..].starts_with(&large))
        });
        assert!(is_there, "{name}: {contents:?}");
    }
}

fn contents_of(volume: &Volume) -> ExtentMap {
    let used = usage(&ImageFile::open(&volume.image)).unwrap().used();
    let metadata = volume.metadata();
    assert!(metadata.difference(&used).is_empty());
    used.difference(&metadata)
}

/// The volume may be larger than the filesystem, and the filesystem than its main area.
#[test]
fn what_follows_the_main_area_is_not_its_own() {
    let volume = Volume::make(&VARIANTS[0]);
    volume.load(1, "/");
    let before = usage(&ImageFile::open(&volume.image)).unwrap().used();
    let file = volume.open();
    file.set_len(volume.size_bytes() + (7 << 20)).unwrap();
    assert_agrees(&volume, "enlarged");
    assert_eq!(
        usage(&ImageFile::open(&volume.image)).unwrap().used(),
        before
    );
}

fn hazards(volume: &Volume) -> Vec<Hazard> {
    let usage = usage(&ImageFile::open(&volume.image)).unwrap();
    let is_whole = matches!(
        usage.basis,
        Basis::Whole {
            is_warning: true,
            ..
        }
    );
    assert!(is_whole, "{:?}", usage.basis);
    assert_eq!(usage.used().total_bytes(), volume.size_bytes());
    usage.summary.unwrap().hazards
}

/// Bytes changed anywhere in a structure with a checksum, or that is there twice, are seen.
#[test]
fn damage_is_seen() {
    let volume = Volume::make(&VARIANTS[1]);
    volume.load(1, "/");
    let file = volume.open();
    let layout = volume.layout();
    let pack = layout.byte("cp_blkaddr");
    let second_pack = pack + 512 * 4096;
    for at in [
        1024 + 48,
        1024 + 2900,
        4096 + 1024 + 130,
        pack + 300,
        pack + 7 * 4096 + 9,
        second_pack + 20,
    ] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        let found = hazards(&volume);
        assert!(
            matches!(found[..], [Hazard::Damaged(_), ..]),
            "{at:#x}: {found:?}"
        );
        file.write_all_at(&byte, at).unwrap();
    }
    assert_agrees(&volume, "mended");
}

/// A bit less in the SIT is no free block, but a contradiction.
#[test]
fn a_table_that_contradicts_the_checkpoint_proves_nothing() {
    let volume = Volume::make(&VARIANTS[0]);
    volume.load(1, "/");
    volume.load(2, "/again");
    let file = volume.open();
    let layout = volume.layout();
    let mut seen = 0;
    // Both copies: that which isn't valid doesn't matter.
    for copy in 0..2 {
        let sit =
            layout.byte("sit_blkaddr") + copy * layout.number("segment_count_sit") / 2 * (2 << 20);
        for segment in 0..10 {
            let at = sit + segment * 74;
            let mut entry = [0; 74];
            file.read_exact_at(&mut entry, at).unwrap();
            let mut changed = entry;
            let Some(byte) = changed[2..66].iter_mut().find(|byte| **byte != 0) else {
                continue;
            };
            *byte &= *byte - 1;
            let vblocks = u16::from_le_bytes([entry[0], entry[1]]) - 1;
            changed[..2].copy_from_slice(&vblocks.to_le_bytes());
            file.write_all_at(&changed, at).unwrap();
            let usage = usage(&ImageFile::open(&volume.image)).unwrap();
            if usage.basis != Basis::Map {
                seen += 1;
                let reason = format!("{:?}", usage.basis);
                assert!(reason.contains("valid_block_count"), "{reason}");
            }
            file.write_all_at(&entry, at).unwrap();
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn several_devices_and_zones_are_refused() {
    let first = Volume::empty(128);
    let second = Volume::empty(128);
    let options = ["-q", "-f", "-c", second.text(), first.text()];
    run("mkfs.f2fs", &options);
    let found = hazards(&first);
    assert!(
        matches!(found[..], [Hazard::MultiDevice(_), ..]),
        "{found:?}"
    );
    assert!(probe(&ImageFile::open(&second.image)).unwrap().is_none());
    let volume = Volume::make(&VARIANTS[0]);
    // The feature word, in both superblocks.
    for at in [1024, 5120] {
        volume.open().write_all_at(&[2], at + 2180).unwrap();
    }
    let found = hazards(&volume);
    assert!(
        matches!(&found[..], [Hazard::UnknownFeature(which)] if which.contains("blkzoned")),
        "{found:?}"
    );
}
