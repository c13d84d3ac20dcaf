//! Targets that klon does not write to: files, without root.

use crate::support::image::{boot_disk, ext4, sparse};
use crate::support::klon::typed;
use crate::support::{Klon, MIB, run, tree};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;

/// A small source.
fn with_source() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    klon
}

#[test]
fn the_source_itself_is_refused_by_any_name() {
    let klon = with_source();
    fs::hard_link(klon.path("source"), klon.path("hard")).unwrap();
    symlink(klon.path("source"), klon.path("soft")).unwrap();
    fs::create_dir(klon.path("folder")).unwrap();
    let before = fs::read(klon.path("source")).unwrap();
    let absolute = klon.text("source");
    for target in ["source", "hard", "soft", "./folder/../source", &absolute] {
        let consent = ["--yes", "--confirm", target];
        let words = [target, "is the source", "Nothing was written"];
        klon.refused(
            &[&["clone", "source", target][..], &consent].concat(),
            &words,
        );
    }
    assert!(fs::read(klon.path("source")).unwrap() == before);
}

#[test]
fn a_target_inside_or_around_the_source_is_refused() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    let before = fs::read(klon.path("disk")).unwrap();
    for (source, target, how) in [
        ("disk", "disk:3", "lies inside the source"),
        ("disk:1", "disk", "contains the source"),
        ("disk:1", "disk:1", "is the source"),
    ] {
        let consent = ["--yes", "--confirm", target];
        klon.refused(&[&["clone", source, target][..], &consent].concat(), &[how]);
    }
    klon.refused(
        &["plan", "--drive", "disk", "A=disk:1"],
        &["contains the source"],
    );
    klon.refused(&["plan", "--drive", "disk", "A=disk"], &["is the source"]);
    assert!(fs::read(klon.path("disk")).unwrap() == before);
}

#[test]
fn a_target_that_is_too_small_is_refused() {
    let klon = with_source();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("small"), 24 * MIB - 512);
    for (source, target) in [("source", "small"), ("disk", "small"), ("disk:3", "small")] {
        let outcome = klon.refused(&["clone", source, target], &[]);
        assert!(outcome.stderr.contains("small"), "{}", outcome.stderr);
    }
    assert!(
        fs::read(klon.path("small"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
}

#[test]
fn what_holds_something_needs_consent_by_its_name() {
    let klon = with_source();
    ext4(&klon.path("target"), 30, 1);
    boot_disk(&klon.path("disk"), 512);
    fs::write(klon.path("noise"), tree::noise(3, 25 << 20)).unwrap();
    let before = ["target", "disk", "noise"].map(|name| fs::read(klon.path(name)).unwrap());
    for (target, there) in [
        ("target", "ext4 \"target\""),
        ("disk", "root äß"),
        ("noise", "unknown content"),
    ] {
        let absolute = klon.text(target);
        let how = format!("--yes --confirm {}", typed(&absolute));
        let words = ["would overwrite", there, &how];
        klon.refused(&["clone", "source", target], &words);
        klon.refused(&["clone", "source", target, "--yes"], &words);
        let wrong = ["clone", "source", target, "--yes", "--confirm", "source"];
        klon.refused(&wrong, &["--confirm names \"source\"", &absolute]);
    }
    let after = ["target", "disk", "noise"].map(|name| fs::read(klon.path(name)).unwrap());
    assert!(before == after);
    klon.ok(&["clone", "source", "target", "--yes", "--confirm", "target"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_backup_is_not_cloned_over_its_original() {
    let klon = with_source();
    klon.ok(&["clone", "source", "backup"]);
    let before = fs::read(klon.path("source")).unwrap();
    let consent = ["--yes", "--confirm", "source"];
    let words = [
        "is the source of the clone",
        "the backup over its original",
        "klonrec",
    ];
    klon.refused(
        &[&["clone", "backup", "source"][..], &consent].concat(),
        &words,
    );
    ext4(&klon.path("third"), 24, 1);
    let words = ["is the source of the clone", "delete its record"];
    klon.refused(
        &[&["clone", "third", "source"][..], &consent].concat(),
        &words,
    );
    assert!(fs::read(klon.path("source")).unwrap() == before);
}

#[test]
fn without_a_record_nobody_knows_which_is_the_original() {
    let klon = with_source();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["clone", "source", "backup"]);
    klon.ok(&["clone", "disk", "disk-backup"]);
    fs::remove_dir_all(klon.records()).unwrap();
    for (from, to) in [
        ("backup", "source"),
        ("source", "backup"),
        ("disk-backup", "disk"),
    ] {
        let before = fs::read(klon.path(to)).unwrap();
        klon.refused(&["clone", from, to], &["would overwrite"]);
        assert!(fs::read(klon.path(to)).unwrap() == before);
    }
    let clone = ["clone", "source", "backup", "--yes", "--confirm", "backup"];
    let done = klon.json(&clone);
    assert_eq!(
        (&done["rung"], &done["written_bytes"]),
        (&"compare".into(), &0.into())
    );
    klon.ok(&["clone", "source", "backup"]);
}

#[test]
fn a_clone_that_became_something_else_needs_consent() {
    let klon = with_source();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["clone", "source", "volume"]);
    klon.ok(&["clone", "disk", "copy"]);
    ext4(&klon.path("volume"), 24, 1);
    fs::remove_file(klon.path("copy")).unwrap();
    boot_disk(&klon.path("copy"), 512);
    run("sgdisk", &["-G", &klon.text("copy")]);
    for (from, to) in [("source", "volume"), ("disk", "copy")] {
        let before = fs::read(klon.path(to)).unwrap();
        klon.refused(&["clone", from, to], &["would overwrite"]);
        assert!(fs::read(klon.path(to)).unwrap() == before);
    }
}

#[test]
fn a_target_that_another_program_writes_to_is_refused() {
    let klon = with_source();
    sparse(&klon.path("target"), 24 * MIB);
    let held = klon_partition::device::open_target(&klon.path("target")).unwrap();
    klon.refused(
        &["clone", "source", "target"],
        &["locked by another program"],
    );
    drop(held);
    klon.ok(&["clone", "source", "target"]);
}

#[test]
fn a_file_that_may_not_be_written_is_left_alone() {
    let klon = with_source();
    sparse(&klon.path("target"), 24 * MIB);
    fs::set_permissions(klon.path("target"), PermissionsExt::from_mode(0o444)).unwrap();
    let mut command = klon.command(&["clone", "source", "target"]);
    if nix::unistd::geteuid().is_root() {
        // Permissions are nothing to root.
        let program = klon.path("klon");
        fs::copy(env!("CARGO_BIN_EXE_klon"), &program).unwrap();
        for path in [klon.directory(), &program] {
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        fs::create_dir(klon.records()).unwrap();
        fs::set_permissions(klon.records(), PermissionsExt::from_mode(0o777)).unwrap();
        command = std::process::Command::new(program);
        command
            .args(["clone", "source", "target"])
            .current_dir(klon.directory());
        command
            .env("KLON_RECORDS", klon.records())
            .uid(65534)
            .gid(65534);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("target"), "{errors}");
    assert!(
        fs::read(klon.path("target"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
}
