//! Btrfs.

use super::everywhere::{mounted, raw};
use super::{Case, Change, Expected, Scene};
use crate::support::lacks_root;

const MAKE: &str = "truncate -s 200M source && mkfs.btrfs -q -L drift -m dup source";

fn scene() -> Scene {
    Scene::new(MAKE, true, &["btrfs", "check", "--readonly"])
}

/// In the last tree block, of which another copy lies elsewhere.
fn tree_block(scene: &Scene) -> u64 {
    let metadata = scene.metadata();
    let mut blocks = metadata.iter().filter(|extent| extent.len_bytes() >= 16384);
    blocks.next_back().unwrap().end_bytes() - 9000
}

fn mirror(_: &Scene) -> u64 {
    (64 << 20) + 0x12b
}

fn tools() -> Vec<Case> {
    use Change::{Flip, Mounted, Raw};
    use Expected::{Foreign, Metadata, Same, Token, Unsound};
    vec![
        (
            "looked at",
            Raw(
                "btrfs check --readonly \"$T\"; btrfs inspect-internal dump-tree \"$T\"; blkid \"$T\"",
            ),
            Same,
        ),
        ("scrubbed", Mounted("rw", "btrfs scrub start -B ."), Token),
        (
            "balanced",
            Mounted("rw", "btrfs balance start --full-balance ."),
            Token,
        ),
        (
            "a subvolume made",
            Mounted("rw", "btrfs subvolume create sub"),
            Token,
        ),
        (
            "a snapshot made",
            Mounted("rw", "btrfs subvolume snapshot . snap"),
            Token,
        ),
        (
            "a property set",
            Mounted("rw", "btrfs property set large compression zstd"),
            Token,
        ),
        (
            "defragmented",
            Mounted("rw", "btrfs filesystem defragment -czstd large"),
            Token,
        ),
        ("labeled", Raw("btrfs filesystem label \"$T\" other"), Token),
        (
            "made a seed",
            Raw("btrfstune -S 1 \"$T\""),
            Unsound("someone changed the target"),
        ),
        (
            "given another UUID",
            Raw("btrfstune -f -u \"$T\""),
            Foreign("someone changed the target"),
        ),
        (
            "one copy of a tree block written",
            Flip(tree_block),
            Metadata,
        ),
        ("a mirror of the superblock written", Flip(mirror), Metadata),
        (
            "formatted anew",
            Raw("mkfs.btrfs -q -f \"$T\""),
            Foreign("someone changed the target"),
        ),
    ]
}

#[test]
fn outside_changes_of_btrfs_through_a_mount_are_noticed() {
    if !lacks_root() {
        scene().check_all(&mounted(Expected::Same));
    }
}

#[test]
fn outside_changes_of_btrfs_by_tools_are_noticed() {
    if lacks_root() {
        return;
    }
    scene().check_by_tools(&[&tools(), &raw()], 8);
}
