//! Drives and files that are not what was planned, or what was looked at.

use crate::support::Klon;
use crate::support::image::{ext4, sparse};
use crate::support::terminal::typed;
use crate::support::{LoopDevice, MIB, lacks_root};
use std::fs;
use std::os::unix::fs::symlink;

/// A source and two targets with something on them.
fn world() -> Klon {
    let klon = Klon::new();
    for name in ["source", "first", "second"] {
        ext4(&klon.path(name), 24, 1);
    }
    klon
}

#[test]
fn a_target_that_changed_between_look_and_open_is_refused() {
    let klon = world();
    symlink("first", klon.path("target")).unwrap();
    let answer = klon.text("first");
    type Change<'a> = (&'a str, Box<dyn FnOnce() + 'a>);
    let changes: [Change<'_>; 3] = [
        (
            "now means another device or file",
            Box::new(|| {
                fs::remove_file(klon.path("target")).unwrap();
                symlink("second", klon.path("target")).unwrap();
            }),
        ),
        (
            "another size",
            Box::new(|| {
                fs::File::options()
                    .write(true)
                    .open(klon.path("second"))
                    .unwrap()
                    .set_len(30 * MIB)
                    .unwrap();
            }),
        ),
        (
            "something else is on it",
            Box::new(|| {
                fs::write(klon.path("second"), vec![0; (30 * MIB) as usize]).unwrap();
            }),
        ),
    ];
    let mut answer = answer;
    for (reason, change) in changes {
        let kept = [klon.path("first"), klon.path("source")].map(|path| fs::read(path).unwrap());
        let (code, shown) = typed(&klon, "target", &answer, change);
        answer = klon.text("second");
        assert_eq!(code, 3, "{shown}");
        let shown = shown.replace("\r\n", " ").replace('\n', " ");
        assert!(
            shown.contains(reason) && shown.contains("Nothing was written"),
            "{shown}"
        );
        let now = [klon.path("first"), klon.path("source")].map(|path| fs::read(path).unwrap());
        assert!(kept == now);
    }
}

#[test]
fn a_target_that_came_into_use_between_look_and_open_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = world();
    let before = fs::read(klon.path("first")).unwrap();
    let mut device = None;
    let attach = || device = Some(LoopDevice::new(&klon.path("first"), 512));
    let (code, shown) = typed(&klon, "first", &klon.text("first"), attach);
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains("shows it"), "{shown}");
    drop(device);
    assert!(fs::read(klon.path("first")).unwrap() == before);
}

#[test]
fn a_drive_of_the_same_size_in_the_place_of_the_planned_one_is_refused() {
    let klon = world();
    for drive in ["drive", "other"] {
        sparse(&klon.path(drive), 64 * MIB);
        klon.ok(&[
            "plan",
            "--drive",
            drive,
            "Data=source",
            "-o",
            &format!("{drive}.plan"),
        ]);
        let path = klon.text(drive);
        let plan = format!("{drive}.plan");
        klon.ok(&["prepare", &plan, "--yes", "--confirm", &path]);
    }
    klon.ok(&["clone", "drive.plan"]);
    fs::rename(klon.path("drive"), klon.path("away")).unwrap();
    fs::rename(klon.path("other"), klon.path("drive")).unwrap();
    let before = fs::read(klon.path("drive")).unwrap();
    let consent = ["--yes", "--confirm", &klon.text("drive")];
    let clone = [&["clone", "drive.plan"][..], &consent].concat();
    klon.refused(&clone, &["is not the one in the plan"]);
    klon.refused(&["clone", "other.plan"], &["is not there. Attach it"]);
    assert!(fs::read(klon.path("drive")).unwrap() == before);
    sparse(&klon.path("drive"), 65 * MIB);
    klon.refused(&clone, &["another drive"]);
}
