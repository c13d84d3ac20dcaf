//! XFS.

use super::everywhere::{mounted, raw};
use super::{Case, Change, Expected, Scene};
use crate::support::{lacks_root, run};

const MAKE: &str = "truncate -s 320M source && mkfs.xfs -q -L drift -m rmapbt=1 source";

fn scene() -> Scene {
    Scene::new(MAKE, true, &["xfs_repair", "-n", "-f"])
}

/// Where xfs_db comes to by these commands.
fn place(scene: &Scene, commands: &[&str]) -> u64 {
    let mut arguments = vec!["-f", "-r"];
    for command in commands {
        arguments.extend(["-c", command]);
    }
    let target = scene.target();
    arguments.extend(["-c", "daddr", &target]);
    let text = run("xfs_db", &arguments);
    let (_, address) = text.trim().rsplit_once(' ').unwrap();
    address.parse::<u64>().unwrap() * 512
}

fn inode(scene: &Scene) -> u64 {
    place(scene, &["sb 0", "addr rootino"]) + 60
}

fn directory(scene: &Scene) -> u64 {
    place(scene, &["path /documents", "dblock 0"]) + 100
}

fn free_tree(scene: &Scene) -> u64 {
    place(scene, &["agf 1", "addr bnoroot"]) + 30
}

fn backup(scene: &Scene) -> u64 {
    place(scene, &["sb 2"]) + 40
}

fn tools() -> Vec<Case> {
    use Change::{Flip, Mounted, Raw};
    use Expected::{Foreign, Metadata, Same, Token, Unsound};
    vec![
        (
            "looked at",
            Raw("xfs_repair -n -f \"$T\"; xfs_db -f -r -c freesp \"$T\"; blkid \"$T\""),
            Same,
        ),
        ("repaired", Raw("xfs_repair -f \"$T\""), Token),
        ("labeled", Raw("xfs_admin -f -L other target"), Token),
        (
            "given another UUID",
            Raw("xfs_admin -f -U generate target"),
            Foreign("someone changed the target"),
        ),
        ("reorganized", Mounted("rw", "xfs_fsr -v large"), Token),
        (
            "space reserved in a file",
            Mounted("rw", "xfs_io -c 'falloc 0 8m' large"),
            Token,
        ),
        ("an inode written", Flip(inode), Metadata),
        ("a directory block written", Flip(directory), Metadata),
        (
            "a tree of free space written",
            Flip(free_tree),
            Unsound("something changed the target's metadata"),
        ),
        ("a backup superblock written", Flip(backup), Metadata),
        (
            "formatted anew",
            Raw("mkfs.xfs -q -f \"$T\""),
            Foreign("someone changed the target"),
        ),
    ]
}

#[test]
fn outside_changes_of_xfs_through_a_mount_are_noticed() {
    if !lacks_root() {
        scene().check_all(&mounted(Expected::Token));
    }
}

#[test]
fn outside_changes_of_xfs_by_tools_are_noticed() {
    if lacks_root() {
        return;
    }
    scene().check_by_tools(&[&tools(), &raw()], 8);
}
