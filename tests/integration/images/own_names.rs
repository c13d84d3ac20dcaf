//! Names that klon makes for itself are nobody else's, follow no link, and go when it fails.

use crate::support::image::{ext4, flip, sparse};
use crate::support::{Klon, MIB};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread::sleep;
use std::time::Duration;

fn imaged(files_mib: usize) -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 96, files_mib);
    klon.ok(&["image", "source", "x.klon"]);
    klon
}

#[test]
fn a_rewrite_takes_no_name_and_keeps_owner_and_mode() {
    let klon = imaged(4);
    flip(&klon.path("source"), 30 * MIB);
    klon.ok(&["image", "source", "x.klon"]);
    let compact = ["prune", "x.klon", "--keep-last", "1", "--compact", "--yes"];
    let own = klon.path("x.klon.compact");
    fs::write(&own, "precious").unwrap();
    let mode = fs::metadata(klon.path("x.klon")).unwrap().mode();
    klon.ok(&compact);
    assert_eq!(fs::read(&own).unwrap(), b"precious");
    assert_eq!(fs::metadata(klon.path("x.klon")).unwrap().mode(), mode);
    for to in ["x.klon", "other", "nothing"] {
        fs::remove_file(&own).unwrap();
        fs::write(klon.path("other"), "other").unwrap();
        symlink(to, &own).unwrap();
        klon.ok(&compact);
        assert_eq!(fs::read(klon.path("other")).unwrap(), b"other");
        assert!(!klon.path("nothing").exists());
    }
    klon.ok(&["verify", "x.klon", "source"]);
    // As long as a name may be.
    let long = format!("{}.klon", "n".repeat(250));
    fs::rename(klon.path("x.klon"), klon.path(&long)).unwrap();
    klon.ok(&["prune", &long, "--compact", "--yes"]);
    klon.ok(&["export", &long, &"o".repeat(255)]);
    assert!(klon.names(".klon-").is_empty());
}

#[test]
fn who_is_killed_leaves_no_file() {
    let klon = imaged(60);
    let before = fs::read(klon.path("x.klon")).unwrap();
    for arguments in [
        &["export", "x.klon", "out"][..],
        &["export", "x.klon", "out.qcow2", "--compress"],
        &["extract", "x.klon", "out.range", "--range", "0+90M"],
        &["prune", "x.klon", "--compact", "--yes"],
    ] {
        let mut child = klon.command(arguments).spawn().unwrap();
        sleep(Duration::from_millis(60));
        let was_running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        if was_running && arguments[0] != "prune" {
            assert!(klon.names("out").is_empty(), "{arguments:?}");
        }
        assert!(klon.names(".klon-").is_empty(), "{arguments:?}");
        for name in klon.names("out") {
            fs::remove_file(klon.path(&name)).unwrap();
        }
    }
    klon.ok(&["verify", "x.klon", "source"]);
    assert!(fs::metadata(klon.path("x.klon")).unwrap().len() <= before.len() as u64 + MIB);
}

#[test]
fn a_first_run_that_fails_leaves_nothing_and_what_it_left_before_is_no_image() {
    let klon = imaged(6);
    // Copied to the wrong name: its content is no image.
    fs::write(klon.path("no.qcow2"), b"QFI\xfb and nothing else").unwrap();
    assert_ne!(klon.run(&["import", "no.qcow2", "new.klon"]).code, 0);
    assert!(klon.names("new.klon").is_empty());
    for split in [&[][..], &["--split", "1M"]] {
        let line = [&["image", "source", "new.klon", "--chunk", "3M"], split].concat();
        klon.run(&line).expect(2);
        assert!(klon.names("new.klon").is_empty());
    }
    // An empty first part, as an earlier klon has left it.
    fs::write(klon.path("p.klon.000"), "").unwrap();
    klon.ok(&["image", "source", "p.klon", "--split", "1M"]);
    assert!(klon.path("p.klon.001").exists());
    assert!(!klon.path("p.klon.000.000").exists());
    klon.ok(&["verify", "p.klon", "source"]);
    fs::write(klon.path("q.klon.000"), "").unwrap();
    klon.ok(&["image", "source", "q.klon.000", "--split", "1M"]);
    assert!(klon.path("q.klon.001").exists());
    fs::write(klon.path("r.klon.000"), "").unwrap();
    klon.ok(&["image", "source", "r.klon"])
        .says(&["r.klon.000 is empty", "can be removed"]);
    klon.ok(&["verify", "r.klon", "source"]);
    // What is in the way of parts is somebody else's.
    fs::write(klon.path("s.klon.001"), "precious").unwrap();
    let split = ["image", "source", "s.klon", "--split", "1M"];
    klon.refused(&split, &["s.klon.001 exists already"]);
    assert_eq!(klon.names("s.klon"), ["s.klon.001"]);
    fs::rename(klon.path("s.klon.001"), klon.path("s.klon.002")).unwrap();
    klon.run(&split)
        .expect(4)
        .says(&["s.klon.002 exists already"]);
    assert_eq!(klon.names("s.klon"), ["s.klon.002"]);
    assert_eq!(fs::read(klon.path("s.klon.002")).unwrap(), b"precious");
    // An empty file would hide the parts.
    fs::write(klon.path("t.klon"), "").unwrap();
    klon.refused(
        &["image", "source", "t.klon", "--split", "1M"],
        &["t.klon is an empty file", "hide"],
    );
    assert_eq!(klon.names("t.klon"), ["t.klon"]);
}

#[test]
fn links_to_nothing_are_not_followed() {
    let klon = imaged(1);
    symlink("nothing", klon.path("l.klon")).unwrap();
    for arguments in [
        &["image", "source", "l.klon"][..],
        &["clone", "source", "l.klon"],
        &["export", "x.klon", "l.klon"],
    ] {
        assert_ne!(klon.run(arguments).code, 0, "{arguments:?}");
        assert!(!klon.path("nothing").exists(), "{arguments:?}");
    }
    // A link to an image is a name of it.
    symlink("x.klon", klon.path("y.klon")).unwrap();
    klon.ok(&["image", "source", "y.klon"]);
    assert_eq!(klon.json(&["info", "x.klon"])["snapshot"], 2);
}

#[test]
fn a_clone_that_could_not_begin_leaves_no_file() {
    let klon = imaged(1);
    fs::remove_dir_all(klon.path("records")).unwrap();
    fs::write(klon.path("records"), "a file where records shall be").unwrap();
    assert_ne!(klon.run(&["clone", "source", "new"]).code, 0);
    assert!(klon.names("new").is_empty());
    fs::remove_file(klon.path("records")).unwrap();
    fs::write(klon.path("map"), "no map of any rescue").unwrap();
    let rescue = klon.run(&["clone", "source", "new", "--rescue=map"]);
    assert_ne!(rescue.code, 0);
    assert!(klon.names("new").is_empty());
    klon.ok(&["clone", "source", "new"]);
    // One of nothing but zeroes is whole, too.
    sparse(&klon.path("zero"), 4 * MIB);
    klon.ok(&["clone", "zero", "zeroes"]);
    assert_eq!(fs::metadata(klon.path("zeroes")).unwrap().len(), 4 * MIB);
}
