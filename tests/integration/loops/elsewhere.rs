//! Filesystems of which a part lies on another device: never cloned as if they were all there.

use crate::support::image::sparse;
use crate::support::klon::number;
use crate::support::tree::{Tree, add_specials, fill};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};

/// What all such warnings say.
const ADVICE: &str = "Clone the other devices that belong to it too";

/// A sparse file in the directory of `klon`, on a loop device.
fn device(klon: &Klon, name: &str, size_mib: u64) -> LoopDevice {
    sparse(&klon.path(name), size_mib * MIB);
    LoopDevice::new(&klon.path(name), 512)
}

/// Fails unless a volume is told as a part of something: by `klon map`, by `klon devices`, by a
/// refusal with `--strict` that writes nothing, and by a warning of a clone that is exact.
fn check_told(klon: &Klon, device: &LoopDevice, file: &str, hazard: &str) {
    run("blockdev", &["--flushbufs", device.text()]);
    let size_bytes = klon.path(file).metadata().unwrap().len();
    for volume in [device.text(), file] {
        let map = klon.json(&["map", volume]);
        assert_eq!(number(&map, "used_bytes"), size_bytes, "{map:#}");
        let reason = map["whole_because"].as_str().unwrap();
        assert!(reason.contains(hazard), "{volume}: {reason}");
        let shown = klon.ok(&["map", volume]).stdout;
        let told = shown.contains("all of it counts as used") && shown.contains(hazard);
        assert!(told, "{volume}: {shown}");
    }
    let devices = klon.json(&["devices", file]);
    let hazards = &devices["volumes"][0]["filesystem"]["hazards"];
    assert!(!hazards.as_array().unwrap().is_empty(), "{devices:#}");
    let target = format!("{file}.clone");
    let strict = ["clone", device.text(), &target, "--strict"];
    klon.refused(&strict, &["--strict", hazard, ADVICE]);
    assert!(!klon.path(&target).exists());
    let outcome = klon.ok(&["clone", device.text(), &target, "--json"]);
    outcome.says(&["warning", hazard, "copies all of it", ADVICE]);
    assert_eq!(number(&outcome.last(), "used_bytes"), size_bytes);
    run(
        "cmp",
        &[file, &target]
            .map(|name| klon.text(name))
            .each_ref()
            .map(String::as_str),
    );
}

/// Fills what is mounted, and gives what is in it.
fn filled(mount: &Mount) -> Tree {
    fill(&mount.path().join("tree"), 5, 6);
    add_specials(&mount.path().join("tree"));
    Tree::read(mount.path())
}

#[test]
fn ext4_with_its_journal_elsewhere() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let (journal, volume) = (device(&klon, "journal", 16), device(&klon, "volume", 96));
    let (on, at) = (journal.text(), volume.text());
    run("mke2fs", &["-q", "-O", "journal_dev", "-b", "4096", on]);
    let elsewhere = format!("device={on}");
    run(
        "mke2fs",
        &["-q", "-t", "ext4", "-b", "4096", "-J", &elsewhere, at],
    );
    let expected = filled(&Mount::new(at, &klon.path("mnt"), "rw"));
    check_told(&klon, &volume, "volume", "has its journal elsewhere");
    check_told(&klon, &journal, "journal", "has its journal elsewhere");
    // Clones of both make one filesystem, as the warning says.
    let clones =
        ["journal.clone", "volume.clone"].map(|file| LoopDevice::new(&klon.path(file), 512));
    let options = format!("journal_path={}", clones[0].text());
    let mount = Mount::new(clones[1].text(), &klon.path("mnt"), &options);
    expected.assert_same(&Tree::read(mount.path()));
    drop(mount);
    run("e2fsck", &["-fn", "-j", clones[0].text(), clones[1].text()]);
}

#[test]
fn xfs_with_its_log_elsewhere() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let (log, volume) = (device(&klon, "log", 80), device(&klon, "volume", 320));
    let elsewhere = format!("logdev={}", log.text());
    run(
        "mkfs.xfs",
        &["-q", "-l", &format!("{elsewhere},size=64m"), volume.text()],
    );
    let expected = filled(&Mount::new(volume.text(), &klon.path("mnt"), &elsewhere));
    check_told(&klon, &volume, "volume", "has its journal elsewhere");
    // Nothing on the log's device tells klon what it is, so all of it is copied.
    let done = klon.json(&["clone", log.text(), "log.clone"]);
    assert_eq!(number(&done, "used_bytes"), 80 * MIB);
    let clones = ["log.clone", "volume.clone"].map(|file| LoopDevice::new(&klon.path(file), 512));
    let options = format!("logdev={}", clones[0].text());
    let mount = Mount::new(clones[1].text(), &klon.path("mnt"), &options);
    expected.assert_same(&Tree::read(mount.path()));
    drop(mount);
    run(
        "xfs_repair",
        &["-n", "-l", clones[0].text(), clones[1].text()],
    );
}

#[test]
fn xfs_with_a_realtime_device() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let (realtime, volume) = (device(&klon, "realtime", 64), device(&klon, "volume", 320));
    let option = format!("rtdev={}", realtime.text());
    run(
        "mkfs.xfs",
        &[
            "-q",
            "-m",
            "reflink=0,rmapbt=0",
            "-r",
            &option,
            volume.text(),
        ],
    );
    check_told(&klon, &volume, "volume", "spans several devices");
}

/// Two devices with data and metadata in `profiles`; both are needed and both are told.
fn btrfs(profiles: [&str; 2], options: &[&str]) {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let devices = ["a", "b"].map(|name| device(&klon, name, 320));
    let nodes = devices.each_ref().map(LoopDevice::text);
    let [data, metadata] = profiles;
    let make = ["-q", "-d", data, "-m", metadata, nodes[0], nodes[1]];
    run("mkfs.btrfs", &[options, &make].concat());
    let mounted = format!("device={}", nodes[1]);
    let expected = filled(&Mount::new(nodes[0], &klon.path("mnt"), &mounted));
    for (device, file) in devices.iter().zip(["a", "b"]) {
        check_told(&klon, device, file, "spans several devices");
    }
    // Two devices with one UUID and number at once would be taken for each other.
    for node in nodes {
        run("btrfs", &["device", "scan", "--forget", node]);
    }
    drop(devices);
    let clones = ["a.clone", "b.clone"].map(|file| LoopDevice::new(&klon.path(file), 512));
    let mounted = format!("device={}", clones[1].text());
    let mount = Mount::new(clones[0].text(), &klon.path("mnt"), &mounted);
    expected.assert_same(&Tree::read(mount.path()));
    drop(mount);
    run("btrfs", &["check", "--check-data-csum", clones[0].text()]);
    for clone in &clones {
        run("btrfs", &["device", "scan", "--forget", clone.text()]);
    }
}

#[test]
fn btrfs_with_two_copies_on_two_devices() {
    btrfs(["raid1", "raid1"], &[]);
}

#[test]
fn btrfs_with_one_copy_over_two_devices() {
    btrfs(["single", "single"], &[]);
}

#[test]
fn btrfs_in_stripes_over_two_devices() {
    btrfs(["raid0", "raid1"], &["-n", "4096"]);
}
