//! Files in which the programs of filesystems save them (e2image, ntfsclone, simg), and files of no disk.

use super::{cmp, volume};
use crate::support::image::ext4;
use crate::support::{Klon, run};
use std::fs;
use std::process::Command;

const WARNING: &str =
    "holds a filesystem without the contents of its files, as `e2image -Q` makes it";

/// Fails unless the file system check finds nothing, and `path` in the volume is as in the other one.
fn assert_sound(klon: &Klon, name: &str, original: &str) {
    run("e2fsck", &["-fn", &klon.text(name)]);
    let large = |name: &str| {
        let out = klon.text("dumped");
        run(
            "debugfs",
            &["-R", &format!("dump /large {out}"), &klon.text(name)],
        );
        fs::read(out).unwrap()
    };
    assert!(large(name) == large(original), "{name}");
}

#[test]
fn what_e2image_makes_is_a_qcow2_image_of_what_it_saved() {
    let klon = Klon::new();
    ext4(&klon.path("ext"), 24, 4);
    let ext = klon.text("ext");
    // With the contents of all files: an image as any other.
    run("e2image", &["-Qa", &ext, &klon.text("all.qcow2")]);
    for arguments in [
        ["clone", "all.qcow2", "cloned"],
        ["import", "all.qcow2", "all.klon"],
        ["image", "all.qcow2", "image.klon"],
    ] {
        let done = klon.ok(&arguments);
        assert!(!done.stderr.contains("e2image"), "{}", done.stderr);
    }
    for image in ["all.klon", "image.klon"] {
        klon.ok(&[
            "restore",
            image,
            "restored",
            "--yes",
            "--confirm",
            "restored",
        ]);
        assert_sound(&klon, "restored", "ext");
    }
    assert_sound(&klon, "cloned", "ext");
    let found = klon.json(&["devices", "all.qcow2"]);
    assert_eq!(found["container"], "a qcow2 image", "{found:#}");
    // Without: the structures alone, and nobody takes them for a backup.
    run("e2image", &["-Q", &ext, &klon.text("some.qcow2")]);
    for arguments in [
        &["clone", "some.qcow2", "some"][..],
        &["import", "some.qcow2", "some.klon"],
        &["image", "some.qcow2", "some.klon"],
    ] {
        klon.ok(arguments)
            .says(&["some.qcow2", WARNING, "`e2image -Qa`"]);
    }
    run("e2fsck", &["-fn", &klon.text("some")]);
    let names = |name: &str| run("debugfs", &["-R", "ls -l /", &klon.text(name)]);
    assert_eq!(names("some"), names("ext"));
}

#[test]
fn a_virtual_disk_of_small_clusters_is_not_taken_for_what_e2image_makes() {
    let klon = Klon::new();
    ext4(&klon.path("ext"), 24, 4);
    // A volume of which no file has any contents.
    ext4(&klon.path("empty"), 24, 0);
    for name in ["ext", "empty"] {
        let (from, to) = (klon.text(name), klon.text("x.qcow2"));
        let options = [
            "convert",
            "-O",
            "qcow2",
            "-o",
            "cluster_size=4k,compat=0.10",
        ];
        run(
            "qemu-img",
            &[&options[..], &["-f", "raw", &from, &to]].concat(),
        );
        let done = klon.ok(&["clone", "x.qcow2", "cloned", "--yes", "--confirm", "cloned"]);
        assert!(!done.stderr.contains(WARNING), "{}", done.stderr);
    }
}

/// Does what klon says of a file that it refuses, and gives the name of the raw file.
fn as_advised(klon: &Klon, name: &str) -> String {
    let refused = klon.run(&["import", name, "refused.klon"]).expect(5);
    let (_, rest) = refused.stderr.split_once('`').unwrap();
    let (command, _) = rest.split_once('`').unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(klon.directory());
    let done = shell.output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    format!("{name}.raw")
}

#[test]
fn what_ntfsclone_and_img2simg_save_is_made_raw_as_klon_says() {
    let klon = Klon::new();
    volume("ntfs", &klon.path("ntfs"));
    ext4(&klon.path("ext"), 24, 4);
    let text = |name: &str| klon.text(name);
    run(
        "ntfsclone",
        &["-q", "-s", "-o", &text("ntfs.nc"), &text("ntfs")],
    );
    run("img2simg", &[&text("ext"), &text("ext.simg")]);
    for (saved, original) in [("ntfs.nc", "ntfs"), ("ext.simg", "ext")] {
        let raw = as_advised(&klon, saved);
        let image = format!("{original}.klon");
        klon.ok(&["import", &raw, &image]);
        klon.ok(&["verify", &image, original]);
        klon.ok(&["clone", &raw, "copy", "--yes", "--confirm", "copy"]);
        klon.ok(&["verify", "copy", original]);
        fs::remove_file(klon.path("copy")).unwrap();
    }
    assert!(!klon.path("refused.klon").exists());
}

#[test]
fn documents_and_programs_are_no_disks() {
    let klon = Klon::new();
    fs::copy("/bin/true", klon.path("program")).unwrap();
    fs::write(klon.path("lines"), "one of many lines\n".repeat(400)).unwrap();
    for (name, what) in [
        (
            "program",
            "is an ELF program or core dump, and no disk is in it",
        ),
        ("lines", "is a text file, and no disk is in it"),
    ] {
        for command in ["clone", "image", "import"] {
            let outcome = klon.run(&[command, name, "out"]).expect(5);
            outcome.says(&[what, &format!("raw:{name}")]);
            assert!(!klon.path("out").exists());
        }
        klon.ok(&["clone", &format!("raw:{name}"), "out"]);
        cmp(&klon, name, "out");
        fs::remove_file(klon.path("out")).unwrap();
    }
}
