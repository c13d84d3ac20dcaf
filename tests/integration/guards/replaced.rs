//! Drives and files that are not what was planned, or what was looked at.

use crate::support::Klon;
use crate::support::image::{ext4, sparse};
use crate::support::{LoopDevice, MIB, lacks_root};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// Clones on a terminal; when the question comes, `change` happens, and then `answer` is typed.
fn typed(klon: &Klon, target: &str, answer: &str, change: impl FnOnce()) -> (i32, String) {
    let clone = format!("'{}' clone source {target}", env!("CARGO_BIN_EXE_klon"));
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &clone, "/dev/null"])
        .current_dir(klon.directory())
        .env("KLON_RECORDS", klon.records())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is needed for this test");
    let mut terminal = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains("to go on:") {
        let len = output.read(&mut piece).unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend(&piece[..len]);
    }
    change();
    terminal
        .write_all(format!("{answer}\n").as_bytes())
        .unwrap();
    output.read_to_end(&mut shown).unwrap();
    let status = child.wait().unwrap();
    drop(terminal);
    let shown = String::from_utf8_lossy(&shown).into_owned();
    (status.code().unwrap(), shown)
}

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
            "stands for another device or file",
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
    klon.refused(&clone, &["is not the one of the plan"]);
    klon.refused(&["clone", "other.plan"], &["is not there any more"]);
    assert!(fs::read(klon.path("drive")).unwrap() == before);
    sparse(&klon.path("drive"), 65 * MIB);
    klon.refused(&clone, &["another drive"]);
}
