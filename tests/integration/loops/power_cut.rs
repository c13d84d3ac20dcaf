//! Volumes as a power cut leaves them: they are copied whole where nobody replays their journals, and what the kernel makes of the clone
//! has every file that was durable.

use crate::support::busy::{Host, Kept, check, snapshots};
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, Mount, image, lacks_root, run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A filesystem with a journal, a log or a log tree.
struct Case {
    size_mib: u64,
    /// The program that makes it, with options.
    make: &'static [&'static str],
    /// How it is mounted.
    mounted: &'static str,
    /// The program that checks it, with options.
    check: &'static [&'static str],
    /// What klon says of a volume in use.
    hazard: &'static str,
}

fn ext(make: &'static [&'static str], mounted: &'static str) -> Case {
    Case {
        size_mib: 160,
        make,
        mounted,
        check: &["e2fsck", "-fn"],
        hazard: "needs journal recovery",
    }
}

#[test]
fn ext4() {
    run_case(&ext(&["mkfs.ext4", "-q", "-b", "4096"], "data=ordered"));
}

/// Whether the kernel's replay of fast commits succeeds depends on what it has to replay, so nothing
/// is asked of it here.
#[test]
fn ext4_with_fast_commits() {
    if lacks_root() {
        return;
    }
    let make = &["mkfs.ext4", "-q", "-b", "1024", "-O", "fast_commit"];
    let case = ext(make, "data=ordered");
    let (klon, host) = with_volume(&case);
    snapshots(&host, "volume", case.mounted, &["cut"]);
    check_whole(&klon, &case, &host, "cut");
}

#[test]
fn ext3() {
    run_case(&ext(&["mkfs.ext3", "-q"], "data=journal"));
}

#[test]
fn xfs() {
    run_case(&Case {
        size_mib: 320,
        make: &["mkfs.xfs", "-q", "-m", "rmapbt=1"],
        mounted: "defaults",
        check: &["xfs_repair", "-n"],
        hazard: "needs journal recovery",
    });
}

#[test]
fn btrfs() {
    run_case(&Case {
        size_mib: 320,
        make: &["mkfs.btrfs", "-q", "-m", "dup"],
        mounted: "defaults",
        check: &["btrfs", "check", "--check-data-csum"],
        hazard: "needs journal recovery",
    });
}

/// A file full of noise, so that nothing is right by luck.
fn noisy(path: &Path, size_mib: u64) {
    let piece = noise(17, 1 << 20);
    let file = File::create(path).unwrap();
    for mib in 0..size_mib {
        file.write_all_at(&piece, mib * MIB).unwrap();
    }
}

fn run_tool(arguments: &[&str], last: &str) -> String {
    run(arguments[0], &[&arguments[1..], &[last]].concat())
}

/// A volume on a host of its own, which is gone before the directory that it is in.
fn with_volume(case: &Case) -> (Klon, Host) {
    let klon = Klon::new();
    let host = Host::new(klon.directory());
    let volume = host.path("volume");
    image::sparse(&volume, case.size_mib * MIB);
    run_tool(case.make, volume.to_str().unwrap());
    (klon, host)
}

fn run_case(case: &Case) {
    if lacks_root() {
        return;
    }
    let (klon, host) = with_volume(case);
    let names = ["cut-1", "cut-2"];
    // The volume is no longer mounted when its copies are: Btrfs takes both for one.
    let all = snapshots(&host, "volume", case.mounted, &names);
    assert!(all[0].len() < all[1].len());
    for (name, kept) in names.iter().zip(&all) {
        check_whole(&klon, case, &host, name);
        check_files(&klon, case, name, kept);
    }
    check_recovered(&klon, case, names[1], &all[1]);
}

/// Mounts a clone and fails unless all `kept` files are there; then the checker must be content.
fn check_files(klon: &Klon, case: &Case, name: &str, kept: &Kept) {
    let options = format!("loop,{}", case.mounted);
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), &options);
    check(mount.path(), kept);
    drop(mount);
    run_tool(case.check, &klon.text(name));
}

/// Clones a volume in use onto noise: refused with `--strict`, else whole, with a warning.
fn check_whole(klon: &Klon, case: &Case, host: &Host, name: &str) {
    let path = host.path(name);
    let source = path.to_str().unwrap();
    noisy(&klon.path(name), case.size_mib);
    let arguments = [
        "clone",
        source,
        name,
        "--yes",
        "--confirm",
        name,
        "--replay",
        "never",
    ];
    let strict = [&arguments[..], &["--strict"]].concat();
    klon.refused(&strict, &["--strict", case.hazard]);
    let outcome = klon.ok(&[&arguments[..], &["--json"]].concat());
    outcome.says(&[
        "warning",
        case.hazard,
        "copies all of it",
        "mount and unmount it once",
    ]);
    let used_bytes = number(&outcome.last(), "used_bytes");
    assert_eq!(used_bytes, case.size_mib * MIB);
    let map = klon.json(&["map", source, "--replay", "never"]);
    let reason = map["whole_because"].as_str().unwrap();
    assert!(reason.contains(case.hazard), "{reason}");
    run("cmp", &[source, &klon.text(name)]);
}

/// Recovered by the kernel, the clone is clean, and its map is enough to clone it by.
fn check_recovered(klon: &Klon, case: &Case, name: &str, kept: &Kept) {
    noisy(&klon.path("again"), case.size_mib);
    let done = klon.json(&["clone", name, "again", "--yes", "--confirm", "again"]);
    let used_bytes = number(&done, "used_bytes");
    assert!(used_bytes < case.size_mib * MIB, "{done:#}");
    check_files(klon, case, "again", kept);
}
