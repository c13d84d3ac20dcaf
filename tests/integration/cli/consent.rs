//! Consent that is typed at a terminal.

use crate::support::Klon;
use crate::support::image::{boot_disk, ext4, put, sparse};
use crate::support::terminal::{typed, typed_to};
use crate::support::{MIB, run};
use std::fs;
use std::path::Path;

#[test]
fn only_the_identity_typed_at_the_terminal_is_consent() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("target"), 24, 1);
    let before = fs::read(klon.path("target")).unwrap();
    for answer in ["", "yes", "source"] {
        let (code, shown) = typed(&klon, "target", answer, || ());
        assert_eq!(code, 3, "{shown}");
        assert!(shown.contains("This will overwrite") && shown.contains("ext4 \"target\""));
        assert!(shown.contains("Nothing was written"), "{shown}");
        assert!(fs::read(klon.path("target")).unwrap() == before, "{answer}");
    }
    let (code, shown) = typed(&klon, "target", &klon.text("target"), || ());
    assert_eq!(code, 0, "{shown}");
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_dry_run_says_what_would_be_asked() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("target"), 24, 1);
    let dry_run = ["clone", "source", "target", "--dry-run"];
    let named = klon.text("target");
    let said = klon.ok(&dry_run).stdout;
    for part in [
        "would ask first, because it overwrites",
        "ext4 \"target\"",
        &format!("--yes --confirm {named}"),
    ] {
        assert!(said.contains(part), "{said}");
    }
    let confirm = |arguments: &[&str]| klon.json(arguments)["confirm"].clone();
    assert_eq!(confirm(&dry_run), serde_json::json!([named]));
    let given = [&dry_run[..], &["--yes", "--confirm", "target"]].concat();
    assert!(confirm(&given).is_null(), "it would not ask");
    klon.ok(&["clone", "source", "target", "--yes", "--confirm", "target"]);
    assert!(confirm(&dry_run).is_null(), "it is an earlier clone");
    sparse(&klon.path("blank"), 24 * MIB);
    assert!(confirm(&["clone", "source", "blank", "--dry-run"]).is_null());
    // An original that is cloned over is named with what replaces it.
    let back = [
        "clone",
        "target",
        "source",
        "--dry-run",
        "--force-direction",
    ];
    let both = serde_json::json!([klon.text("source"), named]);
    assert_eq!(confirm(&back), both);
}

/// Writes a mebibyte of something that is no filesystem.
fn junk(path: &Path, offset_bytes: u64) {
    let from = path.with_extension("junk");
    fs::write(&from, vec![7; 1 << 20]).unwrap();
    put(&from, path, offset_bytes);
}

#[test]
fn what_came_to_a_disk_after_it_was_shown_is_not_overwritten() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    boot_disk(&klon.path("target"), 512);
    // Its table stays, and a filesystem in it becomes another one.
    let other = klon.text("other");
    run(
        "mke2fs",
        &["-q", "-t", "ext4", "-L", "precious", &other, "160m"],
    );
    let change = || put(&klon.path("other"), &klon.path("target"), 36 * MIB);
    let (code, shown) = typed(&klon, "target", &klon.text("target"), change);
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains("after klon looked at it"), "{shown}");
    let before = fs::read(klon.path("target")).unwrap();
    run("sgdisk", &["-v", &klon.text("target")]);
    // Nobody changes it, so it goes.
    let (code, shown) = typed(&klon, "target", &klon.text("target"), || ());
    assert_eq!(code, 0, "{shown}");
    assert!(fs::read(klon.path("target")).unwrap() != before);
}

#[test]
fn what_was_blank_when_it_was_looked_at_must_be_blank_still() {
    let klon = Klon::new();
    boot_disk(&klon.path("source"), 512);
    klon.ok(&["image", "source", "i.klon"]);
    ext4(&klon.path("asked"), 40, 1);
    sparse(&klon.path("blank"), 200 * MIB);
    let line = "restore i.klon --partition 3=blank --partition 1=asked";
    let change = || junk(&klon.path("blank"), 50 * MIB);
    let (code, shown) = typed_to(&klon, line, &klon.text("asked"), change);
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains("that klon did not ask about"), "{shown}");
    let found = fs::read(klon.path("blank")).unwrap();
    assert_eq!(found.iter().filter(|&&byte| byte != 0).count(), 1 << 20);
}

#[test]
fn a_drive_that_changed_is_not_prepared() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 24, 1);
    boot_disk(&klon.path("drive"), 512);
    let plan = [
        "plan",
        "--drive",
        "drive",
        "--replace-table",
        "Data=data",
        "-o",
        "plan",
    ];
    klon.ok(&plan);
    let answer = klon.text("drive");
    let sgdisk = || drop(run("sgdisk", &["-c", "3:another", &klon.text("drive")]));
    let (code, shown) = typed_to(&klon, "prepare plan", &answer, sgdisk);
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains("after klon looked at it"), "{shown}");
    run(
        "mke2fs",
        &[
            "-q",
            "-t",
            "ext4",
            "-L",
            "precious",
            &klon.text("other"),
            "160m",
        ],
    );
    let change = || put(&klon.path("other"), &klon.path("drive"), 36 * MIB);
    let (code, shown) = typed_to(&klon, "prepare plan", &answer, change);
    assert_eq!(code, 3, "{shown}");
    let swap = || {
        fs::rename(klon.path("drive"), klon.path("away")).unwrap();
        fs::copy(klon.path("away"), klon.path("drive")).unwrap();
    };
    let (code, shown) = typed_to(&klon, "prepare plan", &answer, swap);
    assert_eq!(code, 3, "{shown}");
    let (code, shown) = typed_to(&klon, "prepare plan", &answer, || ());
    assert_eq!(code, 0, "{shown}");
}
