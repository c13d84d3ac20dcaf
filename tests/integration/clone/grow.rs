//! Clones that grow: the partition and the filesystem, by the real tools, and what the next run says.

use crate::support::image::{check_gpt, ext4, fat, put, sparse};
use crate::support::klon::number;
use crate::support::tool::output;
use crate::support::{Klon, LoopDevice, MIB, lacks_root, run};
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Where the filesystem of a place ends.
fn filesystem_bytes(klon: &Klon, place: &str) -> u64 {
    let found = klon.json(&["devices", place]);
    number(&found["volumes"][0]["filesystem"], "size_bytes")
}

/// A drive with a clone of `data` (40 MiB) in partition 1, made by a plan.
fn drive_with_clone(klon: &Klon) {
    ext4(&klon.path("data"), 40, 4);
    sparse(&klon.path("drive"), 200 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Master=data", "-o", "plan"]);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
}

#[test]
fn a_partition_and_its_ext4_grow_and_the_next_clone_is_exact() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    drive_with_clone(&klon);
    let told = [
        "the partition grows from 40 MiB to",
        "by e2fsck and resize2fs",
    ];
    klon.ok(&["grow", "drive:1", "--dry-run"]).shows(&told);
    klon.refused(&["grow", "drive:1"], &["nobody said", "--yes"]);
    klon.refused(
        &["grow", "drive:1", "--yes", "--confirm", "other"],
        &["--confirm names"],
    );
    let done = klon.json(&["grow", "drive:1", "--yes"]);
    assert_eq!(
        (&done["event"], &done["recorded"]),
        (&"grown".into(), &true.into())
    );
    assert!(number(&done, "to_bytes") > 190 * MIB, "{done}");
    assert_eq!(done["filesystem_from_bytes"], 40 * MIB);
    check_gpt(&klon.text("drive"));
    let grown_bytes = filesystem_bytes(&klon, "drive");
    assert_eq!(done["filesystem_to_bytes"], grown_bytes);
    assert!(grown_bytes > 190 * MIB);
    klon.refused(
        &["grow", "drive:1", "--yes"],
        &["nothing can grow", "nothing is free behind it"],
    );
    // The tree is the same, and nothing is wrong with it.
    let tree = |volume: &str| {
        run("e2fsck", &["-fn", volume]);
        run("debugfs", &["-R", "ls -lR /", volume])
    };
    let at = |index: usize| done["extent"][index].as_u64().unwrap();
    let window = || LoopDevice::window(&klon.path("drive"), at(0), at(1));
    let shown = window();
    assert_eq!(tree(shown.text()), tree(&klon.text("data")));
    drop(shown);
    // A verify says why it differs.
    let verify = klon.run(&["verify", "drive:1"]).expect(1);
    verify.shows(&["DIFFERENT", "it was grown from 40 MiB", "that is no damage"]);
    let verified = klon.run(&["verify", "drive:1", "--json"]).expect(1).last();
    assert_eq!(verified["grown"][0]["is_complete"], true);
    // The plan knows the partition as it was; another clone asks, and takes the growth back.
    klon.refused(&["clone", "plan"], &["is not the one in the plan"]);
    let told = ["it was grown from 40 MiB", "as small as its source again"];
    klon.refused(&["clone", "data", "drive:1"], &told);
    let volumes = klon.json(&["devices", "drive"]);
    let identity = volumes["volumes"][0]["identity"].as_str().unwrap();
    let again = ["clone", "data", "drive:1", "--yes", "--confirm", identity];
    klon.ok(&again);
    let told = klon.ok(&["verify", "drive:1", "data"]);
    told.shows(&["equal"]);
    assert_eq!(filesystem_bytes(&klon, "drive"), 40 * MIB);
    klon.ok(&["verify", "drive:1"]).shows(&["equal"]);
    klon.ok(&["clone", "data", "drive:1"]);
    let shown = window();
    assert_eq!(tree(shown.text()), tree(&klon.text("data")));
}

#[test]
fn each_filesystem_grows_by_its_own_tool() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let make: [(&str, u64, &[&str], &[&str]); 3] = [
        (
            "mkfs.ntfs",
            40,
            &["-F", "-Q", "-q"],
            &["ntfsresize", "--check", "--force"],
        ),
        ("mkfs.xfs", 320, &["-q"], &["xfs_repair", "-n"]),
        ("mkfs.btrfs", 128, &["-q"], &["btrfs", "check"]),
    ];
    for (mkfs, mib, options, check) in make {
        let (source, target) = (klon.path("source"), klon.path("target"));
        let _ = fs::remove_file(&target);
        sparse(&source, mib * MIB);
        run(
            mkfs,
            &[
                options,
                &["-f"][..usize::from(mkfs != "mkfs.ntfs")],
                &[&klon.text("source")],
            ]
            .concat(),
        );
        sparse(&target, 2 * mib * MIB);
        klon.ok(&["clone", "source", "target"]);
        let done = klon.json(&["grow", "target", "--yes"]);
        let now_bytes = filesystem_bytes(&klon, "target");
        assert!(now_bytes > 2 * mib * MIB - 9 * MIB, "{mkfs}: {done}");
        assert_eq!(done["filesystem_to_bytes"], now_bytes, "{mkfs}");
        run(check[0], &[&check[1..], &[&klon.text("target")]].concat());
        klon.run(&["verify", "target"])
            .expect(1)
            .shows(&["it was grown"]);
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&klon.text("")), "nothing stays mounted");
    let loops = run(
        "losetup",
        &["--list", "--noheadings", "--output", "BACK-FILE"],
    );
    assert!(
        !loops.contains(&klon.text("target")),
        "no loop device stays"
    );
}

#[test]
fn what_is_not_grown_is_refused_with_the_reason() {
    let klon = Klon::new();
    fat(&klon.path("esp"), 33, 512);
    klon.refused(
        &["grow", "esp", "--yes"],
        &["klon does not grow fat", "copy the files"],
    );
    sparse(&klon.path("empty"), 8 * MIB);
    klon.refused(&["grow", "empty", "--yes"], &["does not recognize"]);
    ext4(&klon.path("data"), 40, 4);
    klon.refused(
        &["grow", "data", "--yes"],
        &["nothing can grow", "fills its 40 MiB"],
    );
    // Data behind the partition, and no record that it is a clone.
    sparse(&klon.path("disk"), 100 * MIB);
    run("sgdisk", &["-n", "1:2048:83967", &klon.text("disk")]);
    put(&klon.path("data"), &klon.path("disk"), MIB);
    put(&klon.path("esp"), &klon.path("disk"), 60 * MIB);
    if lacks_root() {
        return;
    }
    let told = [
        "over data in no partition",
        "may be an original",
        "--confirm",
    ];
    klon.refused(&["grow", "disk:1", "--yes"], &told);
    klon.refused(&["grow", "disk", "--yes"], &told);
    klon.run(&["grow", "disk:7"])
        .expect(2)
        .says(&["no partition 7"]);
}

#[test]
fn a_restore_grows_what_it_brings_back() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    klon.ok(&["image", "data", "i.klon"]);
    sparse(&klon.path("back"), 100 * MIB);
    klon.ok(&["restore", "i.klon", "back", "--grow"])
        .shows(&["the ext4 grew from 40 MiB to 100 MiB"]);
    run("e2fsck", &["-fn", &klon.text("back")]);
    let tree = |volume: &str| run("debugfs", &["-R", "ls -lR /", &klon.text(volume)]);
    assert_eq!(tree("back"), tree("data"));
    sparse(&klon.path("same"), 40 * MIB);
    klon.ok(&["restore", "i.klon", "same", "--grow"])
        .says(&["nothing was grown"]);
}

/// The tool goes on when klon is killed. Whatever it left, the volume is whole, or says that it is not, and
/// another run completes it.
#[test]
fn a_growth_that_was_killed_looks_half_done_or_is_whole() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    for milliseconds in [1, 5, 15, 30, 60, 120] {
        let _ = fs::remove_file(klon.path("target"));
        sparse(&klon.path("target"), 600 * MIB);
        klon.ok(&["clone", "data", "target", "--rung", "full"]);
        let mut command: Command = klon.command(&["grow", "target", "--yes"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        wait_for_tools(&klon.text("target"));
        let found = klon.json(&["devices", "target"]);
        let summary = &found["volumes"][0]["filesystem"];
        let is_clean = summary["hazards"].as_array().unwrap().is_empty();
        let check = output("e2fsck", &["-fn", &klon.text("target")]);
        assert!(
            check.status.success() || !is_clean,
            "{milliseconds} ms: {found}"
        );
        let again = klon.command(&["grow", "target", "--yes"]).output().unwrap();
        let code = again.status.code().unwrap();
        assert!([0, 3].contains(&code), "{milliseconds} ms: {code}");
        run("e2fsck", &["-fn", &klon.text("target")]);
        assert!(filesystem_bytes(&klon, "target") > 590 * MIB);
        let verified = klon.run(&["verify", "target", "--json"]).expect(1).last();
        assert_eq!(
            verified["grown"][0]["is_complete"], true,
            "{milliseconds} ms"
        );
    }
}

/// Waits until no tool works on the volume any more.
fn wait_for_tools(volume: &str) {
    let is_busy = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
        let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        lines.any(|line| line.contains(volume))
    };
    for _ in 0..600 {
        if !is_busy() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("a tool is still at {volume}");
}
