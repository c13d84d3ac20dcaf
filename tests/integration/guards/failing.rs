//! Targets and state directories that fail in the middle: what failed and where, what is safe, what
//! to do.

use crate::support::hooked::Hooked;
use crate::support::image::{ext4, sparse};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs;

fn with_source() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 30);
    klon
}

#[test]
fn a_target_file_whose_filesystem_is_full() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    sparse(&klon.path("small"), 24 * MIB);
    run("mke2fs", &["-q", "-t", "ext4", &klon.text("small")]);
    let device = LoopDevice::new(&klon.path("small"), 512);
    let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
    let target = mount.path().join("target");
    let target = target.to_str().unwrap();
    let outcome = klon.run(&["clone", "source", target]).expect(4);
    outcome.says(&[
        " from byte ",
        "No space left",
        "is marked as unfinished",
        "Run the same command again",
        "Make room there",
    ]);
    let head = fs::read(target).unwrap();
    assert!(klon_imaging::mark::Mark::parse(&head).is_some());
}

#[test]
fn a_target_that_fails_at_a_position() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    sparse(&klon.path("target"), 48 * MIB);
    let served = Hooked::at_write(&klon.path("target"), 4 * MIB, "exit 1");
    let outcome = klon.run(&["clone", "source", served.text()]).expect(4);
    outcome.says(&[
        "target: ",
        "can't be written: Input/output error",
        "is marked as unfinished",
        "Check its cable",
    ]);
    // It failed once; the next run goes on.
    klon.ok(&["clone", "source", served.text()]);
    klon.ok(&["verify", served.text(), "source"]);
}

#[test]
fn a_target_that_vanishes() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    sparse(&klon.path("target"), 48 * MIB);
    {
        let kill = "kill -9 $PPID";
        let served = Hooked::at_write(&klon.path("target"), 4 * MIB, kill);
        let outcome = klon.run(&["clone", "source", served.text()]).expect(4);
        outcome.says(&["target: ", "klon can't read", "Attach it again"]);
    }
    let head = fs::read(klon.path("target")).unwrap();
    assert!(klon_imaging::mark::Mark::parse(&head).is_some());
}

#[test]
fn a_device_that_becomes_smaller() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    sparse(&klon.path("target"), 48 * MIB);
    let device = LoopDevice::new(&klon.path("target"), 512);
    let shrink = format!(
        "truncate -s 4M '{}'; losetup -c '{}'",
        klon.text("target"),
        device.text()
    );
    let source = Hooked::while_writing(&klon.path("source"), &klon.path("target"), &shrink);
    let outcome = klon.run(&["clone", source.text(), device.text()]).expect(4);
    outcome.says(&[
        "target: ",
        " from byte ",
        "is marked as unfinished",
        "Run the same command",
    ]);
}

#[test]
fn a_state_directory_without_space_or_leave() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    for (options, words) in [
        (
            "size=40k",
            ["No space left", "where klon keeps its records"],
        ),
        ("ro", ["Read-only", "must be able to write its records"]),
    ] {
        fs::create_dir_all(klon.records()).unwrap();
        let at = klon.records();
        let at = at.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at]);
        let outcome = klon.run(&["clone", "source", "target"]);
        run("umount", &[at]);
        outcome
            .expect(4)
            .says(&["record", at, "Nothing was written", words[0], words[1]]);
        assert!(!klon.path("target").exists(), "{options}");
    }
}

#[test]
fn a_record_that_can_not_be_kept_leaves_a_whole_clone() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    let hook = format!("rm -rf '{}'", klon.records().display());
    let source = Hooked::while_writing(&klon.path("source"), &klon.path("target"), &hook);
    let outcome = klon.run(&["clone", source.text(), "target"]).expect(4);
    outcome.says(&[
        "the clone is complete and in its place",
        "records",
        "compares all of it",
    ]);
    klon.ok(&["verify", "target", "source"]);
    let consent = ["--yes", "--confirm", "target"];
    let again = klon.json(&[&["clone", source.text(), "target"][..], &consent].concat());
    assert_eq!(again["rung"], "compare");
}

#[test]
fn a_clone_killed_before_its_record_was_written_is_gone_on_with_unasked() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    let (records, kept) = (klon.records(), klon.path("kept"));
    let (at, kept) = (records.display(), kept.display());
    let hook = format!("mkdir '{kept}'; cp '{at}'/*.klonlog '{kept}'");
    let source = Hooked::while_writing(&klon.path("source"), &klon.path("target"), &hook);
    klon.ok(&["clone", source.text(), "target"]);
    run("sh", &["-c", &format!("rm '{at}'/*; cp '{kept}'/* '{at}'")]);
    let again = klon.json(&["clone", source.text(), "target"]);
    assert_eq!(again["rung"], "compare");
}

#[test]
fn room_for_the_record_is_taken_before_the_run() {
    if lacks_root() {
        return;
    }
    let klon = with_source();
    fs::create_dir_all(klon.records()).unwrap();
    let at = klon.records();
    let at = at.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=800k", "tmpfs", at]);
    let hook = format!("cat /dev/zero > '{at}/filler' 2>/dev/null; true");
    let source = Hooked::while_writing(&klon.path("source"), &klon.path("target"), &hook);
    let outcome = klon.run(&["clone", source.text(), "target"]);
    let verified = klon.run(&["verify", "target"]);
    run("umount", &[at]);
    outcome.expect(0);
    verified.expect(0);
}
