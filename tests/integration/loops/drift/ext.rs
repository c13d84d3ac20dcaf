//! ext4.

use super::everywhere::{mounted, raw};
use super::{Case, Change, Expected, Scene};
use crate::support::{lacks_root, run};

const MAKE: &str = "truncate -s 64M source && \
    mke2fs -q -t ext4 -b 4096 -g 8192 -L drift -O ^resize_inode source";

fn scene() -> Scene {
    Scene::new(MAKE, true, &["e2fsck", "-fn"])
}

fn debugfs(scene: &Scene, command: &str) -> String {
    run("debugfs", &["-R", command, &scene.target()])
}

/// The block in "located at block 37, offset 0x0b00", and the offset in it.
fn inode(scene: &Scene) -> u64 {
    let text = debugfs(scene, "imap /documents/8");
    let (_, place) = text.split_once("located at block ").unwrap();
    let (block, offset) = place.trim().split_once(", offset 0x").unwrap();
    let block: u64 = block.parse().unwrap();
    // Its size.
    block * 4096 + u64::from_str_radix(offset, 16).unwrap() + 4
}

fn directory(scene: &Scene) -> u64 {
    let blocks = debugfs(scene, "blocks /documents");
    let first: u64 = blocks.split_whitespace().next().unwrap().parse().unwrap();
    first * 4096 + 100
}

fn number_after(text: &str, words: &str) -> u64 {
    let (_, rest) = text.split_once(words).unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn bitmap(scene: &Scene) -> u64 {
    let text = run("dumpe2fs", &[&scene.target()]);
    number_after(&text, "Block bitmap at ") * 4096 + 700
}

fn inode_bitmap(scene: &Scene) -> u64 {
    let text = run("dumpe2fs", &[&scene.target()]);
    number_after(&text, "Inode bitmap at ") * 4096 + 5
}

fn backup(scene: &Scene) -> u64 {
    let text = run("dumpe2fs", &[&scene.target()]);
    number_after(&text, "Backup superblock at ") * 4096 + 0x78
}

fn journal(scene: &Scene) -> u64 {
    let blocks = debugfs(scene, "blocks <8>");
    let block: u64 = blocks.split_whitespace().nth(50).unwrap().parse().unwrap();
    block * 4096 + 11
}

fn tools() -> Vec<Case> {
    use Change::{Flip, Raw};
    use Expected::{Foreign, Metadata, Same, Token, Unsound};
    vec![
        (
            "looked at",
            Raw("e2fsck -fn \"$T\"; dumpe2fs \"$T\"; debugfs -R stats \"$T\"; blkid \"$T\""),
            Same,
        ),
        ("checked", Raw("e2fsck -fy \"$T\""), Token),
        (
            "directories rebuilt",
            Raw("e2fsck -fyD \"$T\" || [ $? = 1 ]"),
            Token,
        ),
        ("labeled", Raw("e2label \"$T\" other"), Token),
        ("labeled as before", Raw("tune2fs -L drift \"$T\""), Token),
        (
            "given another UUID",
            // It wants a check since the last mount.
            Raw("e2fsck -fy \"$T\" || [ $? = 1 ]; tune2fs -U random \"$T\""),
            Foreign("someone changed the target"),
        ),
        (
            "given another feature",
            Raw("tune2fs -O ^huge_file \"$T\""),
            Unsound("someone changed the target"),
        ),
        ("given other reserves", Raw("tune2fs -m 3 \"$T\""), Token),
        (
            "shrunk",
            Raw("e2fsck -fy \"$T\"; resize2fs \"$T\" 40M; truncate -s 64M \"$T\""),
            Token,
        ),
        (
            "an inode set",
            Raw("debugfs -w -R 'set_inode_field /documents/8 mtime 19990101' \"$T\""),
            Metadata,
        ),
        ("an inode set in place", Flip(inode), Metadata),
        ("a directory block written", Flip(directory), Metadata),
        (
            "a block bitmap written",
            Flip(bitmap),
            Unsound("something changed the target's metadata"),
        ),
        ("an inode bitmap written", Flip(inode_bitmap), Metadata),
        ("a backup superblock written", Flip(backup), Metadata),
        (
            "an old block of the journal written",
            Flip(journal),
            Metadata,
        ),
        (
            "formatted anew",
            Raw("mke2fs -q -F -t ext4 -b 4096 \"$T\""),
            Foreign("someone changed the target"),
        ),
        (
            "formatted otherwise",
            Raw("mkfs.fat \"$T\""),
            Foreign("someone changed the target"),
        ),
    ]
}

#[test]
fn outside_changes_of_ext4_through_a_mount_are_noticed() {
    if !lacks_root() {
        scene().check_all(&mounted(Expected::Token));
    }
}

#[test]
fn outside_changes_of_ext4_by_tools_are_noticed() {
    if lacks_root() {
        return;
    }
    scene().check_by_tools(&[&tools(), &raw()], 12);
}
