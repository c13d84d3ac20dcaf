//! Originals and their backups: against the direction of a record only when the user insists.

use crate::support::Klon;
use crate::support::image::{boot_disk, ext4, sfdisk, sparse};
use crate::support::klon::{number, typed};
use crate::support::{MIB, run};
use std::fs;

/// An original that was changed since its backup was made.
fn world() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("original"), 24, 2);
    klon.ok(&["clone", "original", "backup"]);
    run(
        "debugfs",
        &["-w", "-R", "mkdir /new", &klon.text("original")],
    );
    klon
}

/// The command line of a clone against the direction.
fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["clone", "backup", "original"][..], more].concat()
}

#[test]
fn against_the_direction_both_must_be_named() {
    let klon = world();
    let before = fs::read(klon.path("original")).unwrap();
    let (original, backup) = (klon.text("original"), klon.text("backup"));
    let both = ["--yes", "--confirm", &original, "--confirm", &backup];
    klon.refused(
        &with(&both),
        &["--force-direction", "the backup over its original"],
    );
    for wrong in [
        &["--force-direction"][..],
        &["--force-direction", "--yes"],
        &["--force-direction", "--yes", "--confirm", &original],
        &["--force-direction", "--yes", "--confirm", &backup],
    ] {
        let (first, second) = (typed(&original), typed(&backup));
        let how = format!("--yes --confirm {first} --confirm {second}");
        let words = [
            "ORIGINAL",
            "HAS CHANGED SINCE",
            "The backup has not changed",
            &how,
        ];
        klon.refused(&with(wrong), &words);
    }
    assert!(fs::read(klon.path("original")).unwrap() == before);
    klon.ok(&with(&[&["--force-direction"][..], &both].concat()));
    klon.ok(&["verify", "original", "backup"]);
}

#[test]
fn after_a_restore_backups_go_on_and_another_restore_is_asked_for_again() {
    let klon = world();
    let (original, backup) = (klon.text("original"), klon.text("backup"));
    let both = ["--yes", "--confirm", &original, "--confirm", &backup];
    let restore = [
        &["clone", "backup", "original", "--force-direction"][..],
        &both,
    ]
    .concat();
    klon.ok(&restore);
    klon.refused(
        &["clone", "backup", "original"],
        &["the backup over its original"],
    );
    let done = klon.json(&["clone", "original", "backup"]);
    assert_eq!(
        (&done["rung"], number(&done, "written_bytes")),
        (&"digest".into(), 0)
    );
    klon.refused(
        &["clone", "backup", "original"],
        &["the backup over its original"],
    );
    // Without the backup's record, the record of the restore is no consent to another.
    for entry in fs::read_dir(klon.records()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read(&path).unwrap();
        let is_backups = String::from_utf8_lossy(&text).contains("\"role\":\"backup\"");
        if is_backups {
            fs::remove_file(path).unwrap();
        }
    }
    klon.refused(&["clone", "backup", "original"], &["would overwrite"]);
}

#[test]
fn a_new_drive_in_the_place_of_a_lost_original_becomes_the_original() {
    let klon = world();
    sparse(&klon.path("new"), 24 * MIB);
    klon.ok(&["clone", "backup", "new"]);
    let (new, backup) = (klon.text("new"), klon.text("backup"));
    klon.refused(&["clone", "new", "backup"], &["is the source of the clone"]);
    let both = ["--yes", "--confirm", &new, "--confirm", &backup];
    let turn = [&["clone", "new", "backup", "--force-direction"][..], &both].concat();
    klon.ok(&turn);
    // From then on that is the direction.
    klon.ok(&["clone", "new", "backup"]);
    klon.refused(
        &["clone", "backup", "new"],
        &["the backup over its original"],
    );
}

#[test]
fn an_unfinished_clone_is_no_source() {
    let klon = Klon::new();
    ext4(&klon.path("original"), 24, 2);
    klon.ok(&["clone", "original", "backup"]);
    let mark = klon_imaging::mark::Mark::new("path:/somewhere");
    let mut bytes = fs::read(klon.path("backup")).unwrap();
    bytes[..512].copy_from_slice(&mark.to_bytes());
    fs::write(klon.path("backup"), bytes).unwrap();
    klon.refused(
        &["clone", "backup", "third"],
        &["was not finished", "path:/somewhere"],
    );
    assert!(!klon.path("third").exists());
}

#[test]
fn names_hint_at_the_direction_where_no_record_does() {
    let klon = Klon::new();
    for name in ["drive", "disk"] {
        sparse(&klon.path(name), 40 * MIB);
        let partition = if name == "drive" {
            "1:DataClone"
        } else {
            "1:Data"
        };
        run(
            "sgdisk",
            &["-n", "1:0:0", "-c", partition, &klon.text(name)],
        );
    }
    ext4(&klon.path("volume"), 24, 1);
    crate::support::image::put(&klon.path("volume"), &klon.path("drive"), MIB);
    let said = klon.run(&["clone", "drive:1", "disk:1"]);
    said.says(&["is named DataClone", "overwrites it with its backup"]);
    let said = klon.run(&["clone", "disk:1", "drive:1"]);
    assert!(!said.stderr.contains("is named"), "{}", said.stderr);
}

#[test]
fn a_plan_has_a_direction_of_its_own() {
    let klon = world();
    sparse(&klon.path("drive"), 64 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Data=original", "-o", "plan"]);
    let prepared = klon.run(&["prepare", "plan", "--yes", "--confirm", &klon.text("drive")]);
    prepared.expect(0);
    klon.run(&["clone", "plan", "--force-direction"])
        .expect(2)
        .says(&["--force-direction is for"]);
}

/// Partitions of a disk and of its clone have the same PARTUUID, and so would their records.
#[test]
fn volumes_of_a_disk_and_of_its_clone_are_told_apart_by_their_places_alone() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["clone", "disk", "copy"]);
    let part = klon.text("copy:3");
    let to_copy = ["clone", "disk:3", "copy:3"];
    let words = ["would overwrite", "Make sure which is which", &part];
    klon.refused(&to_copy, &words);
    let partuuid = sfdisk(&klon.text("disk"))["partitions"][1]["uuid"]
        .as_str()
        .unwrap()
        .to_lowercase();
    let both = [&to_copy[..], &["--yes", "--confirm", &partuuid]].concat();
    klon.refused(&both, &["--confirm names", &part]);
    klon.ok(&[&to_copy[..], &["--yes", "--confirm", &part]].concat());
    // That run is no consent to the other direction.
    let before = fs::read(klon.path("disk")).unwrap();
    klon.refused(&["clone", "copy:3", "disk:3"], &words[..2]);
    klon.refused(&to_copy, &words);
    assert!(fs::read(klon.path("disk")).unwrap() == before);
}

/// A plan's drive with a clone of "original" on it.
fn planned() -> Klon {
    let klon = world();
    sparse(&klon.path("drive"), 64 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Data=original", "-o", "plan"]);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    klon.ok(&["clone", "plan"]);
    klon
}

#[test]
fn a_copy_of_a_backup_stops_no_further_backup() {
    let klon = planned();
    klon.ok(&["clone", "drive:1", "copy"]);
    klon.ok(&["clone", "plan"]);
    // Several of them, and copies of copies.
    klon.ok(&["clone", "drive:1", "another"]);
    klon.ok(&["clone", "copy", "third"]);
    let done = klon.json(&["clone", "plan"]);
    assert_eq!(done["rung"], "digest");
    klon.ok(&["verify", "plan", "--against-source"]);
    // Without a plan.
    klon.ok(&["clone", "backup", "off"]);
    klon.ok(&["clone", "original", "backup"]);
    klon.ok(&["verify", "backup", "original"]);
    // The copy itself is not cloned over the backup that easily.
    klon.refused(&["clone", "off", "backup"], &["is the source of the clone"]);
}

#[test]
fn a_plan_may_back_up_the_disk_that_took_the_place_of_the_original() {
    let klon = planned();
    klon.ok(&["clone", "drive:1", "new"]);
    fs::rename(klon.path("original"), klon.path("lost")).unwrap();
    klon.ok(&["plan", "--drive", "drive", "Data=new", "-o", "second"]);
    klon.ok(&["prepare", "second", "--yes", "--confirm", "drive"]);
    // The earlier backup is overwritten only with consent.
    klon.refused(&["clone", "second"], &["would overwrite", "DataClone"]);
    klon.run(&["clone", "second", "--yes", "--confirm", "drive"])
        .expect(0);
    run("debugfs", &["-w", "-R", "mkdir /newer", &klon.text("new")]);
    klon.ok(&["clone", "second"]);
    klon.ok(&["verify", "second", "--against-source"]);
    klon.refused(
        &["clone", "drive:1", "new"],
        &["the backup over its original"],
    );
}

#[test]
fn a_plan_over_an_original_is_refused_with_advice_that_plans_take() {
    let klon = planned();
    // What the plan's target is an original of, as nobody has said otherwise.
    let klon_of = |arguments: &[&str]| klon.run(arguments);
    sparse(&klon.path("other"), 64 * MIB);
    klon.ok(&["plan", "--drive", "other", "Data=original", "-o", "first"]);
    klon.ok(&["prepare", "first", "--yes", "--confirm", "other"]);
    // A clone whose source is the planned target, made before the plan was carried out.
    ext4(&klon.path("volume"), 24, 1);
    crate::support::image::put(&klon.path("volume"), &klon.path("other"), MIB);
    klon.ok(&["clone", "other:1", "elsewhere"]);
    let said = klon_of(&["clone", "first", "--yes", "--confirm", "other"]).expect(3);
    said.says(&["is the source of the clone", "--only"]);
    assert!(
        !said.stderr.contains("--force-direction"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_disk_that_holds_an_original_is_one() {
    let klon = Klon::new();
    boot_disk(&klon.path("boot"), 512);
    ext4(&klon.path("other"), 24, 2);
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=boot", "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    let before = fs::read(klon.path("boot")).unwrap();
    let boot = klon.text("boot");
    let sure = ["--yes", "--confirm", &boot];
    let words = ["holds an original", "--force-direction"];
    klon.refused(&[&["clone", "other", "boot"][..], &sure].concat(), &words);
    // Nor is it laid out anew.
    let plan = ["plan", "--drive", "boot", "--replace-table", "A=other"];
    klon.ok(&[&plan[..], &["-o", "wrong"]].concat());
    klon.refused(
        &[&["prepare", "wrong"][..], &sure].concat(),
        &["holds an original"],
    );
    assert!(fs::read(klon.path("boot")).unwrap() == before);
    // The drive goes on as the clone that it is.
    klon.ok(&["clone", "plan"]);
}
