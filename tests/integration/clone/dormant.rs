//! Clones that are asleep between runs.

use crate::support::image::{boot_disk, check_gpt, ext4, sparse};
use crate::support::klon::number;
use crate::support::tool::{output, signal};
use crate::support::{Klon, MIB, run};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// What blkid finds on a volume, by its own look.
fn found(path: &str) -> String {
    let output = output("blkid", &["-p", "-o", "value", "-s", "TYPE", path]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_dormant_clone_is_repeated_and_verified_and_wakes_as_its_source() {
    for (kind, make) in [
        ("ext4", "mkfs.ext4 -q -F -d /etc/ssl \"$0\""),
        ("xfs", "mkfs.xfs -q \"$0\""),
        ("btrfs", "mkfs.btrfs -q -r /etc/ssl \"$0\""),
        ("vfat", "mkfs.fat -F 32 \"$0\""),
        ("exfat", "mkfs.exfat \"$0\""),
        ("ntfs", "mkntfs -q -F -f -s 512 \"$0\""),
        ("swap", "mkswap \"$0\""),
    ] {
        println!("-- {kind}");
        let klon = Klon::new();
        sparse(&klon.path("source"), 320 * MIB);
        run("sh", &["-ec", make, &klon.text("source")]);
        klon.ok(&["clone", "source", "clone", "--identity", "dormant"])
            .says(&["clone is asleep"]);
        assert_eq!(found(&klon.text("source")), kind);
        assert_eq!(found(&klon.text("clone")), "");
        klon.ok(&["verify", "clone"]);
        klon.ok(&["verify", "clone", "source"]);
        klon.ok(&["verify", "clone", "--against-source"]);
        let again = klon.json(&["clone", "source", "clone"]);
        assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
        assert_eq!(found(&klon.text("clone")), "");
        klon.refused(&["clone", "clone", "other"], &["is asleep"]);
        klon.refused(&["clone", "source", "clone", "--dry-run"], &["is asleep"]);
        klon.ok(&["wake", "clone"]);
        assert_eq!(found(&klon.text("clone")), kind);
        klon.ok(&["wake", "clone"]).shows(&["nothing changed"]);
        klon.ok(&["clone", "source", "clone"]);
        assert_eq!(found(&klon.text("clone")), kind);
        klon.ok(&["verify", "clone", "source"]);
        klon.ok(&["sleep", "clone"]);
        klon.ok(&["sleep", "clone"]);
        assert_eq!(found(&klon.text("clone")), "");
        klon.ok(&["clone", "source", "clone", "--identity", "keep"]);
        assert_eq!(found(&klon.text("clone")), kind);
    }
}

#[test]
fn the_partitions_of_a_disk_sleep_and_its_table_stays() {
    let klon = Klon::new();
    boot_disk(&klon.path("source"), 512);
    klon.ok(&["clone", "source", "clone", "--identity", "new"]);
    klon.ok(&["sleep", "clone"])
        .shows(&["partition 1", "partition 3 (ext4)"]);
    check_gpt(&klon.text("clone"));
    for (start, mib) in [(1, 33), (36, 160)] {
        let bytes = fs::read(klon.path("clone")).unwrap();
        let part = &bytes[start * MIB as usize..(start + mib) * MIB as usize];
        fs::write(klon.path("part"), part).unwrap();
        assert_eq!(found(&klon.text("part")), "");
    }
    klon.ok(&["verify", "clone"]);
    klon.ok(&["verify", "clone", "--against-source"]);
    let again = klon.json(&["clone", "source", "clone"]);
    assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
    klon.ok(&["wake", "clone:3"]);
    klon.ok(&["wake", "clone"]);
    klon.ok(&["verify", "clone", "--against-source"]);
}

#[test]
fn only_clones_sleep_and_only_what_can() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 40, 1);
    klon.refused(&["sleep", "source"], &["no record here says"]);
    assert_eq!(found(&klon.text("source")), "ext4");
    sparse(&klon.path("iso"), 8 * MIB);
    run(
        "mksquashfs",
        &["/etc/ssl", &klon.text("sq"), "-quiet", "-no-progress"],
    );
    klon.ok(&["clone", "sq", "clone"]);
    klon.refused(&["sleep", "clone"], &["squashfs", "Nothing was written"]);
}

#[test]
fn a_run_that_is_killed_leaves_it_asleep_unfinished_or_whole() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 300, 120);
    klon.ok(&["clone", "source", "clone", "--identity", "dormant"]);
    for round in 0..12_u64 {
        let arguments = [
            "clone",
            "source",
            "clone",
            "--in-place",
            "--quiet",
            "--rung",
            "full",
        ];
        let mut command = klon.command(&arguments);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(round * 41 % 300));
        signal(&child, Signal::SIGKILL);
        child.wait().unwrap();
        if found(&klon.text("clone")) == "ext4" {
            run("e2fsck", &["-fn", &klon.text("clone")]);
        }
        if round % 3 == 2 {
            klon.ok(&["clone", "source", "clone"]);
            assert_eq!(found(&klon.text("clone")), "", "{round}");
            klon.ok(&["verify", "clone", "--against-source"]);
        }
    }
    klon.ok(&["wake", "clone"]);
    run("e2fsck", &["-fn", &klon.text("clone")]);
}
