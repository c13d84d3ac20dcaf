//! Filesystems in which nothing counts what was done to them: they are compared every time.

use super::{Case, Change, Expected, Scene};
use crate::support::image::read_range;

const WHY: &str = "nothing on such a volume shows";

fn cases(scripts: &[(&'static str, &'static str)]) -> Vec<Case> {
    let case = |&(name, script): &(&'static str, &'static str)| {
        (name, Change::Raw(script), Expected::Compared(WHY))
    };
    let mut cases: Vec<Case> = scripts.iter().map(case).collect();
    cases.push((
        "contents written",
        Change::Flip(Scene::content),
        Expected::Compared(WHY),
    ));
    cases.push((
        "free space written",
        Change::Flip(Scene::free),
        Expected::Compared(WHY),
    ));
    cases
}

#[test]
fn fat_is_compared_whatever_was_done_to_it() {
    let make = "truncate -s 40M source && mkfs.fat -F 32 -n DRIFT source && \
        head -c 300000 /dev/urandom >file && mcopy -i source file ::/file";
    let scene = Scene::new(make, false, &["fsck.fat", "-n"]);
    scene.check_all(&cases(&[
        ("nothing", ""),
        (
            "a file made",
            "echo made >made; mcopy -i \"$T\" made ::/made",
        ),
        (
            "a file overwritten",
            "head -c 300000 /dev/zero >zero; mcopy -o -i \"$T\" zero ::/file",
        ),
        ("a file removed", "mdel -i \"$T\" ::/file"),
        ("a file renamed", "mren -i \"$T\" ::/file other"),
        ("labeled", "fatlabel \"$T\" OTHER"),
        ("an attribute set", "mattrib -i \"$T\" +h ::/file"),
    ]));
}

#[test]
fn ntfs_is_compared_whatever_was_done_to_it() {
    let make = "truncate -s 40M source && mkfs.ntfs -F -q -Q -L drift source && \
        head -c 300000 /dev/urandom >file && ntfscp -q source file file";
    let scene = Scene::new(make, false, &["ntfsfix", "-n"]);
    let repaired = Change::Raw("ntfsfix \"$T\"");
    scene.check(&("repaired", repaired, Expected::Unsound(WHY)));
    scene.check_all(&cases(&[
        ("nothing", ""),
        ("a file made", "echo made >made; ntfscp -q \"$T\" made made"),
        (
            "a file overwritten",
            "head -c 300000 /dev/zero >zero; ntfscp -q \"$T\" zero file",
        ),
        ("labeled", "ntfslabel \"$T\" other"),
    ]));
}

/// A node of a tree of files: the map of what is in use needs none of those.
fn tree_of_files(scene: &Scene) -> u64 {
    const BLOCK: u64 = 4096;
    let metadata = scene.metadata();
    let blocks = metadata.iter().flat_map(|extent| extent.split(BLOCK));
    let is_one = |at: &u64| {
        // o_type: a root or another node; o_subtype: OBJECT_TYPE_FSTREE.
        let header = read_range(scene.target(), *at, 32);
        matches!(header[24], 2 | 3) && header[28] == 14
    };
    let mut starts = blocks.map(|block| block.offset_bytes());
    starts.find(is_one).expect("a tree of files") + 200
}

#[test]
fn apfs_is_compared_whatever_was_done_to_it() {
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/images");
    let make = format!("zstd -dqf '{images}/apfs-seed-rings.img.zst' -o source");
    let scene = Scene::new(&make, false, &["fsapfsinfo"]);
    let flipped = Change::Flip(tree_of_files);
    scene.check(&("a tree of files written", flipped, Expected::Compared(WHY)));
    scene.check_all(&cases(&[("nothing", "")]));
}
