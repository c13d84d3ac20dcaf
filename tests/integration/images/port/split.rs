//! Parts that `split` made: of images of partclone, of packed files, of raw disks.

use super::{cmp, save};
use crate::support::image::{boot_disk, ext4};
use crate::support::{Klon, MIB, run};
use std::fs;

fn split(klon: &Klon, options: &[&str], name: &str, prefix: &str) {
    let (name, prefix) = (klon.text(name), klon.text(prefix));
    run("split", &[options, &[&name, &prefix]].concat());
}

#[test]
fn parts_of_every_suffix_are_joined() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 60, 45);
    save("extfs", &klon, "volume", "image", &[]);
    klon.ok(&["import", "image", "whole.klon"]);
    klon.ok(&["export", "whole.klon", "expected"]);
    for (options, first) in [
        // More than 650, and more than 89.
        (&["-b", "64K"][..], "aa"),
        (&["-d", "-b", "256K"], "00"),
        (&["-d", "-a", "4", "-b", "1M"], "0000"),
        (&["--numeric-suffixes=1", "-a", "3", "-b", "1M"], "001"),
        (&["-a", "3", "-b", "100K"], "aaa"),
        (&["-n", "7"], "aa"),
        (&["-x", "-b", "1M"], "00"),
    ] {
        split(&klon, options, "image", "i.");
        let count = fs::read_dir(klon.directory()).unwrap().count();
        let first = format!("i.{first}");
        klon.ok(&["import", &first, "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        cmp(&klon, "out", "expected");
        run(
            "sh",
            &[
                "-c",
                &format!("cd '{}' && rm i.*", klon.directory().display()),
            ],
        );
        assert!(count > 8, "{options:?}");
    }
}

#[test]
fn raw_and_packed_parts_are_the_disk() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    let (disk, packed) = (klon.text("disk"), klon.text("packed"));
    run("sh", &["-c", &format!("zstd -q -c '{disk}' > '{packed}'")]);
    split(&klon, &["-b", "32M"], "disk", "raw.img.");
    split(&klon, &["-d", "-b", "30000000"], "disk", "odd.img.");
    split(&klon, &["-b", "3M"], "packed", "disk.zst.");
    klon.ok(&["image", "disk", "whole.klon"]);
    klon.ok(&["export", "whole.klon", "expected"]);
    for first in ["raw.img.aa", "odd.img.00"] {
        klon.ok(&["import", first, "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        cmp(&klon, "out", "expected");
    }
    klon.ok(&["import", "disk.zst.aa", "a.klon"]);
    klon.ok(&["export", "a.klon", "out", "--force"]);
    cmp(&klon, "out", "disk");
    klon.ok(&["restore", "disk.zst.aa", "restored"]);
    cmp(&klon, "restored", "disk");
    // What is in parts is no disk in its first part alone, and no other part is a first one.
    for command in ["clone", "image", "map"] {
        let mut arguments = vec![command, "raw.img.aa"];
        arguments.extend((command != "map").then_some("x.klon"));
        klon.run(&arguments)
            .expect(5)
            .says(&["the first of 7 parts", "klon import"]);
    }
    klon.run(&["import", "raw.img.ac", "x.klon"])
        .expect(2)
        .says(&["name the first"]);
    klon.ok(&["clone", "raw:raw.img.ac", "part"]);
    cmp(&klon, "raw.img.ac", "part");
}

/// As other tools count them: `.1`, `.2`, …, `.10`.
#[test]
fn counted_raw_parts_are_the_disk_and_partitions_with_numbers_are_not() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    split(&klon, &["-d", "-a", "2", "-b", "16M"], "disk", "two.");
    let count = (0..).take_while(|number| klon.path(&format!("two.{number:02}")).exists());
    for number in count {
        let counted = klon.path(&format!("disk.img.{}", number + 1));
        fs::rename(klon.path(&format!("two.{number:02}")), counted).unwrap();
    }
    klon.ok(&["image", "disk", "whole.klon"]);
    klon.ok(&["export", "whole.klon", "expected"]);
    klon.ok(&["import", "disk.img.1", "a.klon"]);
    klon.ok(&["export", "a.klon", "out"]);
    cmp(&klon, "out", "expected");
    klon.run(&["clone", "disk.img.1", "x"])
        .expect(5)
        .says(&["the first of", "klon import"]);
    klon.run(&["import", "disk.img.3", "x.klon"])
        .expect(2)
        .says(&["name the first of its parts, disk.img.1"]);
    // Two volumes, of which one is whole and the other blank.
    ext4(&klon.path("volume.1"), 16, 2);
    fs::write(klon.path("volume.2"), vec![0; 16 * MIB as usize]).unwrap();
    klon.ok(&["clone", "volume.1", "volume.2"]);
    klon.ok(&["clone", "volume.2", "volume.3"]);
    klon.ok(&["import", "volume.1", "b.klon"]);
    klon.ok(&["verify", "b.klon", "volume.3"]);
}

#[test]
fn sets_that_are_not_whole_are_refused() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 60, 20);
    split(&klon, &["-b", "16M"], "volume", "v.");
    fs::rename(klon.path("v.ab"), klon.path("kept")).unwrap();
    klon.run(&["import", "v.aa", "a.klon"])
        .expect(2)
        .says(&["v.ab is missing"]);
    // Cut short.
    let kept = fs::read(klon.path("kept")).unwrap();
    fs::write(klon.path("v.ab"), &kept[..kept.len() - 1]).unwrap();
    klon.run(&["import", "v.aa", "a.klon"])
        .expect(2)
        .says(&["v.ab", "not whole"]);
    fs::write(klon.path("v.ab"), &kept).unwrap();
    klon.ok(&["import", "v.aa", "b.klon"]);
    // The last one is missing: the filesystem is longer than what is there.
    fs::remove_file(klon.path("v.ad")).unwrap();
    let failed = klon.run(&["import", "v.aa", "a.klon"]).expect(5);
    failed.says(&["Parts at the end may be missing"]);
    assert!(!klon.path("a.klon").exists());
}

#[test]
fn numbered_days_are_no_parts() {
    let klon = Klon::new();
    for (name, mib) in [("disk.00", 8), ("disk.01", 8), ("disk.02", 9)] {
        let made = klon.path("made");
        ext4(&made, mib, 1);
        fs::rename(made, klon.path(name)).unwrap();
    }
    for command in ["clone", "import"] {
        let failed = klon.run(&[command, "disk.00", "x"]).expect(2);
        failed.says(&["may be the first of 3 parts", "begins like a disk"]);
    }
    assert!(!klon.path("x").exists());
    for name in ["disk.01", "disk.02", "raw:disk.00"] {
        klon.ok(&["import", name, "a.klon"]);
    }
    let whole = klon.json(&["info", "a.klon"]);
    assert_eq!(whole["source_bytes"], 8 * MIB, "{whole:#}");
}

/// As `split` makes them by default, and with an ending.
#[test]
fn parts_without_a_dot_are_joined_and_never_taken_alone() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    klon.ok(&["image", "volume", "whole.klon"]);
    klon.ok(&["export", "whole.klon", "expected"]);
    split(&klon, &["-b", "10M"], "volume", "x");
    split(&klon, &["-b", "10M"], "volume", "m.img-");
    let ending = ["-b", "10M", "--additional-suffix=.img"];
    split(&klon, &ending, "volume", "e_");
    split(&klon, &["-a", "1", "-b", "10M"], "volume", "n.");
    std::os::unix::fs::symlink(klon.path("n.a"), klon.path("link")).unwrap();
    for first in ["xaa", "m.img-aa", "e_aa.img", "n.a", "link"] {
        klon.run(&["clone", first, "x"])
            .expect(5)
            .says(&["the first of 3 parts", "klon import"]);
        klon.ok(&["import", first, "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        cmp(&klon, "out", "expected");
    }
    klon.run(&["import", "xab", "a.klon"])
        .expect(2)
        .says(&["name the first of its parts, xaa"]);
    // A part alone is not to be repaired.
    fs::rename(klon.path("xaa"), klon.path("alone")).unwrap();
    let outcome = klon.ok(&["clone", "alone", "fresh"]);
    outcome.says(&["file ends before its filesystem", "first of several parts"]);
    assert!(!outcome.stderr.contains("e2fsck"), "{}", outcome.stderr);
}
