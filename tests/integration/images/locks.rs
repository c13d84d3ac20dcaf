//! Who may read, add to and prune an image at the same time.

use super::serve::running::Running;
use crate::support::image::{ext4, flip};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File, OpenOptions};
use std::path::Path;

/// Holds what a prune holds, as long as the file is open.
fn held_alone(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 1 << 62,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    file
}

/// An image of three snapshots, in parts or not.
fn three(split: bool) -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 40, 8);
    for number in 0..3 {
        flip(&klon.path("source"), 30 * MIB + number * 4096);
        let options: &[&str] = if split { &["--split", "4M"] } else { &[] };
        klon.ok(&[&["image", "source", "i.klon"], options].concat());
    }
    klon
}

const PRUNE: [&str; 5] = ["prune", "i.klon", "--keep-last", "1", "--yes"];

#[test]
fn a_prune_waits_for_those_who_read_and_an_append_does_not() {
    for split in [false, true] {
        let klon = three(split);
        let serving = Running::start(&klon, &["serve", "i.klon@1", "--listen", "127.0.0.1:0"]);
        let process = format!("klon serve, process {}", serving.pid());
        klon.refused(&PRUNE, &["is being read", &process, "or end it"]);
        klon.ok(&[&PRUNE[..], &["--dry-run"]].concat());
        flip(&klon.path("source"), 31 * MIB);
        klon.ok(&["image", "source", "i.klon"]);
        klon.ok(&["verify", "i.klon"]);
        let found = klon.text("found");
        run("nbdcopy", &[serving.uri(), &found]);
        klon.ok(&["verify", "i.klon@1", "found"]);
        assert_eq!(serving.end("TERM").0, Some(0));
        klon.ok(&PRUNE);
        klon.ok(&["verify", "i.klon", "source"]);
    }
}

#[test]
fn a_compacted_image_is_a_new_file_and_who_reads_keeps_the_old_one() {
    let klon = three(false);
    klon.ok(&["export", "i.klon@1", "expected"]);
    let serving = Running::start(&klon, &["serve", "i.klon@1", "--listen", "127.0.0.1:0"]);
    klon.ok(&[&PRUNE[..], &["--compact"]].concat());
    let found = klon.text("found");
    run("nbdcopy", &[serving.uri(), &found]);
    run("cmp", &[&found, &klon.text("expected")]);
    // The new file is nobody's.
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&PRUNE);
}

#[test]
fn who_would_read_waits_for_a_prune() {
    for split in [false, true] {
        let klon = three(split);
        let first = if split { "i.klon.000" } else { "i.klon" };
        let alone = held_alone(&klon.path(first));
        let process = format!("process {}", std::process::id());
        let reasons = ["another klon prunes", &process, "Wait until it is done"];
        for arguments in [
            &["list", "i.klon"][..],
            &["verify", "i.klon"],
            &["restore", "i.klon", "target"],
            &["clone", "i.klon@1", "target"],
            &["export", "i.klon", "out"],
            &["diff", "i.klon@1", "i.klon@2"],
            &["serve", "i.klon", "--listen", "127.0.0.1:0"],
            &["image", "source", "i.klon"],
        ] {
            klon.refused(arguments, &reasons);
        }
        assert!(!klon.path("target").exists() && !klon.path("out").exists());
        klon.refused(&PRUNE, &["is being read"]);
        drop(alone);
        klon.ok(&["restore", "i.klon", "target"]);
        klon.ok(&["verify", "target", "source"]);
    }
}

#[test]
fn who_adds_names_who_adds_already() {
    let klon = three(false);
    let held = File::open(klon.path("i.klon")).unwrap();
    held.lock().unwrap();
    let process = format!("process {}", std::process::id());
    for arguments in [&["image", "source", "i.klon"][..], &PRUNE] {
        klon.refused(arguments, &["another klon adds to", &process]);
    }
    klon.ok(&["verify", "i.klon"]);
}

#[test]
fn an_image_is_read_where_nothing_can_be_written() {
    if lacks_root() {
        return;
    }
    let klon = three(false);
    fs::create_dir(klon.path("tree")).unwrap();
    fs::copy(klon.path("i.klon"), klon.path("tree/i.klon")).unwrap();
    let (tree, volume) = (klon.text("tree"), klon.text("volume"));
    run("mke2fs", &["-q", "-t", "ext4", "-d", &tree, &volume, "64m"]);
    let device = LoopDevice::new(&klon.path("volume"), 512);
    let mounted = Mount::new(device.text(), &klon.path("mnt"), "ro");
    let image = mounted.path().join("i.klon");
    let image = image.to_str().unwrap();
    klon.ok(&["verify", image]);
    klon.ok(&["restore", image, "target"]);
    klon.ok(&["verify", "target", "source"]);
    let serving = Running::start(&klon, &["serve", image, "--listen", "127.0.0.1:0"]);
    run("nbdcopy", &[serving.uri(), &klon.text("found")]);
}
