//! Updates are staged in no byte that someone may want back.

use crate::support::image::sparse;
use crate::support::klon::number;
use crate::support::tool::run;
use crate::support::tree::noise;
use crate::support::{Klon, MIB};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

const VOLUME_MIB: u64 = 40;
const TARGET_MIB: u64 = 120;

/// A full ext4, with other files for each seed.
fn volume(klon: &Klon, seed: u64) {
    let (path, tree) = (klon.path("volume"), klon.path("tree"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("full"), noise(seed, 30 << 20)).unwrap();
    let _ = fs::remove_file(&path);
    sparse(&path, VOLUME_MIB * MIB);
    let (file, tree_text) = (klon.text("volume"), klon.text("tree"));
    let uuid = "11111111-2222-4333-8444-555555555555";
    let options = [
        "-q", "-F", "-t", "ext4", "-U", uuid, "-m", "0", "-d", &tree_text, &file,
    ];
    run("mke2fs", &options);
    fs::remove_dir_all(&tree).unwrap();
}

#[test]
fn behind_the_end_of_a_clone_only_zeroes_are_room_and_they_are_zeroes_again() {
    let klon = Klon::new();
    volume(&klon, 1);
    sparse(&klon.path("target"), TARGET_MIB * MIB);
    let target = klon.text("target");
    klon.ok(&["clone", "volume", "target", "--yes", "--confirm", &target]);
    let junk = noise(5, 3 << 20);
    let places = [VOLUME_MIB * MIB, 45 * MIB + 777, (TARGET_MIB - 3) * MIB];
    let file = OpenOptions::new().write(true).open(&target).unwrap();
    for at in places {
        file.write_all_at(&junk, at).unwrap();
    }
    let before = fs::read(&target).unwrap();
    volume(&klon, 2);
    let done = klon.json(&["clone", "volume", "target", "--yes", "--confirm", &target]);
    assert!(number(&done, "staged_bytes") > 20 * MIB, "{done:#}");
    let after = fs::read(&target).unwrap();
    let end = (VOLUME_MIB * MIB) as usize;
    assert!(before[end..] == after[end..], "what is behind the clone");
    assert!(fs::read(klon.path("volume")).unwrap()[1024..] != before[1024..end]);
    klon.ok(&["verify", "target", "volume"]);
}

#[test]
fn where_all_of_it_is_someones_nothing_is_staged() {
    let klon = Klon::new();
    volume(&klon, 1);
    sparse(&klon.path("target"), TARGET_MIB * MIB);
    let target = klon.text("target");
    klon.ok(&["clone", "volume", "target", "--yes", "--confirm", &target]);
    let file = OpenOptions::new().write(true).open(&target).unwrap();
    let junk = noise(6, ((TARGET_MIB - VOLUME_MIB) * MIB) as usize);
    file.write_all_at(&junk, VOLUME_MIB * MIB).unwrap();
    let before = fs::read(&target).unwrap();
    volume(&klon, 2);
    let ended = klon.run(&["clone", "volume", "target", "--yes", "--confirm", &target]);
    assert_ne!(ended.code, 0, "{}", ended.stderr);
    ended.says(&["--in-place"]);
    let after = fs::read(&target).unwrap();
    let end = (VOLUME_MIB * MIB) as usize;
    assert!(after[end..] == before[end..]);
    klon.ok(&["verify", "target"]);
}

#[test]
fn on_a_drive_that_a_plan_laid_out_nothing_staged_stays_in_no_partition() {
    let klon = Klon::new();
    volume(&klon, 1);
    sparse(&klon.path("drive"), TARGET_MIB * MIB);
    let drive = klon.text("drive");
    let plan = klon.json(&["plan", "--drive", "drive", "A=volume", "-o", "plan.toml"]);
    let end = plan["volumes"][0]["extent"][0].as_u64().unwrap() + VOLUME_MIB * MIB;
    klon.ok(&["prepare", "plan.toml", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan.toml"]);
    let before = fs::read(&drive).unwrap();
    volume(&klon, 2);
    let done = klon.json(&["clone", "plan.toml"]);
    assert!(number(&done, "staged_bytes") > 20 * MIB, "{done:#}");
    let after = fs::read(&drive).unwrap();
    let end = usize::try_from(end).unwrap();
    assert!(
        before[end..] == after[end..],
        "what is behind the partition"
    );
    klon.ok(&["verify", "plan.toml", "--against-source"]);
}
