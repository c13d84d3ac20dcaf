//! Clones that were given more room than their source, on the way back, and plans for drives that are
//! smaller than the source.

use super::smaller::{resize, write_at};
use crate::support::image::{check_gpt, ext4, put, sparse};
use crate::support::klon::number;
use crate::support::tool::run_with_input;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};

#[test]
fn a_clone_that_was_given_more_room_goes_back_to_a_disk_of_the_size_of_its_original() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    sparse(&klon.path("drive"), 200 * MIB);
    let plan = [
        "plan",
        "--drive",
        "drive",
        "Master=data",
        "--size",
        "Master=grow",
        "-o",
        "plan",
    ];
    klon.ok(&plan);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
    // To a new one of its size, by a clone and by an image of the partition and of the drive.
    sparse(&klon.path("back"), 40 * MIB);
    klon.ok(&["clone", "drive:1", "back"]);
    klon.ok(&["image", "drive:1", "part.klon"]);
    sparse(&klon.path("from-part"), 40 * MIB);
    klon.ok(&["restore", "part.klon", "from-part"]);
    klon.ok(&["image", "drive", "drive.klon"]);
    sparse(&klon.path("from-drive"), 40 * MIB);
    klon.ok(&["restore", "drive.klon:1", "from-drive"]);
    let tree = |volume: &str| {
        run("e2fsck", &["-fn", &klon.text(volume)]);
        run("debugfs", &["-R", "ls -lR /", &klon.text(volume)])
    };
    for volume in ["back", "from-part", "from-drive"] {
        assert_eq!(tree(volume), tree("data"));
        klon.ok(&["verify", volume, "drive:1"]);
    }
    // Over the original itself, which the user insists on.
    let identity = klon.json(&["devices", "drive"])["volumes"][0]["identity"].clone();
    let (original, clone) = (klon.text("data"), identity.as_str().unwrap());
    let both = [
        "--force-direction",
        "--yes",
        "--confirm",
        &original,
        "--confirm",
        clone,
    ];
    klon.ok(&[&["clone", "drive:1", "data"][..], &both].concat());
    tree("data");
}

#[test]
fn a_volume_with_room_behind_its_filesystem_is_planned_for_a_smaller_drive() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    resize(&klon.path("data"), 150 * MIB);
    sparse(&klon.path("drive"), 60 * MIB);
    let plan = ["plan", "--drive", "drive", "Master=data", "-o", "plan"];
    klon.ok(&plan)
        .says(&["less than the 150 MiB of its source"]);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
    klon.ok(&["verify", "plan"]);
    klon.ok(&["verify", "plan", "--against-source"]);
    klon.ok(&["clone", "plan"]);
    check_gpt(&drive);
    // Made without a record: what was copied off a backup drive is no reason to refuse its runs.
    klon.ok(&["image", "drive:1", "i.klon"]);
    klon.ok(&["extract", "i.klon", "back"]);
    run("e2fsck", &["-fn", &klon.text("back")]);
    klon.ok(&plan).shows(&["as planned already"]);
    // Where nothing is written, nothing is lost.
    write_at(&klon.path("data"), 140 * MIB, b"X");
    klon.refused(
        &["clone", "plan"],
        &["behind the end of its ext4", "--outside none"],
    );
    sparse(&klon.path("tiny"), 41 * MIB);
    let tiny = ["plan", "--drive", "tiny", "Master=data", "-o", "other"];
    klon.refused(&tiny, &["needs 40 MiB", "drive of at least 42 MiB"]);
    // One that grew since does not fit any more.
    run("resize2fs", &[&klon.text("data"), "120M"]);
    klon.refused(&["clone", "plan"], &["is too small", "ends at 120 MiB"]);
}

/// A drive that was in use: behind the end of the clone lies what was there before.
#[test]
fn images_of_a_clone_with_more_room_on_a_used_drive_go_back() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    fs::write(klon.path("drive"), noise(9, 160 * MIB as usize)).unwrap();
    let size = ["--size", "Master=grow", "-o", "plan"];
    let plan = ["plan", "--drive", "drive", "Master=data", "--replace-table"];
    klon.ok(&[&plan[..], &size].concat());
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
    let told = [
        "behind the end of the clone there (40 MiB,",
        "images them, too",
    ];
    klon.ok(&["image", "drive:1", "part.klon"]).says(&told);
    klon.ok(&["image", "drive", "drive.klon"]).says(&told);
    let info = klon.json(&["info", "part.klon"]);
    assert_eq!(info["clone_bytes"], 40 * MIB);
    for image in ["part.klon", "drive.klon:1"] {
        sparse(&klon.path("back"), 40 * MIB);
        let back = klon.ok(&["restore", image, "back"]);
        back.says(&["is no part of the clone, by its record"]);
        run("e2fsck", &["-fn", &klon.text("back")]);
        let verified = klon.ok(&["verify", image, "back"]);
        assert!(!verified.stderr.contains("warning"), "{}", verified.stderr);
        fs::remove_file(klon.path("back")).unwrap();
    }
    // Nothing tells whose it is where there is no record, or where it is of another filesystem.
    let records = klon.text("none");
    klon.ok(&["image", "drive:1", "other.klon", "--records", &records]);
    sparse(&klon.path("back"), 40 * MIB);
    let reasons = ["no record tells whose that is", "--outside none leaves out"];
    klon.refused(&["restore", "other.klon", "back"], &reasons);
    klon.ok(&["restore", "other.klon", "back", "--outside", "none"]);
    run("e2fsck", &["-fn", &klon.text("back")]);
}

#[test]
fn images_of_a_disk_that_was_cloned_to_a_larger_used_one_go_back() {
    for label in ["gpt", "dos"] {
        let klon = Klon::new();
        sparse(&klon.path("disk"), 48 * MIB);
        let script = format!("label: {label}\n2048,32768\n");
        run_with_input("sfdisk", &["-q", &klon.text("disk")], &script);
        ext4(&klon.path("volume"), 16, 2);
        put(&klon.path("volume"), &klon.path("disk"), MIB);
        fs::write(klon.path("large"), noise(9, 80 * MIB as usize)).unwrap();
        klon.ok(&[
            "clone",
            "disk",
            "large",
            "--yes",
            "--confirm",
            &klon.text("large"),
        ]);
        klon.ok(&["image", "large", "i.klon"])
            .says(&["behind the end of the clone there", "images them, too"]);
        sparse(&klon.path("back"), 48 * MIB);
        klon.ok(&["restore", "i.klon", "back"])
            .says(&["is no part of the clone, by its record"]);
        klon.ok(&["verify", "back", "disk"]);
        // The restore said what is no part of the clone, and the record knows it.
        for pair in [["i.klon", "back"], ["back", "i.klon"]] {
            let verified = klon.ok(&[&["verify"], &pair[..]].concat());
            assert!(!verified.stderr.contains("warning"), "{}", verified.stderr);
            verified.shows(&[&format!("{}: equal to ", pair[0].replace("klon", "klon@1"))]);
        }
        let compared = klon.json(&["verify", "i.klon", "back"]);
        assert!(number(&compared, "compared_bytes") <= 48 * MIB);
        run("sfdisk", &["--verify", &klon.text("back")]);
        // What the drive had where the disk ended is nobody's, and no reason to warn or to refuse.
        sparse(&klon.path("again"), 48 * MIB);
        let again = klon.ok(&["clone", "large", "again", "--strict"]);
        assert!(!again.stderr.contains("warning"), "{}", again.stderr);
        klon.ok(&["verify", "again", "disk"]);
        // A little smaller than the source was: what is cut may be the source's.
        write_at(&klon.path("disk"), 44 * MIB, b"X");
        klon.ok(&["clone", "disk", "large"]);
        klon.ok(&["image", "large", "i.klon"]);
        sparse(&klon.path("small"), 40 * MIB);
        klon.refused(&["restore", "i.klon", "small"], &["--outside none"]);
    }
}

/// A drive that once was a plain copy of the disk has an earlier backup of its table where the disk ended.
#[test]
fn an_earlier_backup_of_the_same_table_is_nobodys_data() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 48 * MIB);
    run("sgdisk", &["-n1:2048:+16M", &klon.text("disk")]);
    fs::copy(klon.path("disk"), klon.path("large")).unwrap();
    let file = OpenOptions::new().write(true).open(klon.path("large"));
    file.unwrap().set_len(80 * MIB).unwrap();
    let large = klon.text("large");
    klon.ok(&["clone", "disk", "large", "--yes", "--confirm", &large]);
    sparse(&klon.path("back"), 48 * MIB);
    let back = klon.ok(&["clone", "large", "back"]);
    assert!(!back.stderr.contains("warning"), "{}", back.stderr);
    check_gpt(&klon.text("back"));
    assert!(fs::read(klon.path("disk")).unwrap() == fs::read(klon.path("back")).unwrap());
}

/// What a restore was told to leave out is not compared, and is no surprise later.
#[test]
fn what_a_restore_left_out_by_choice_is_not_compared() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 24, 2);
    let file = OpenOptions::new().write(true).open(klon.path("data"));
    file.unwrap().set_len(64 * MIB).unwrap();
    write_at(&klon.path("data"), 30 * MIB, b"in both");
    write_at(&klon.path("data"), 60 * MIB, b"behind the end");
    klon.ok(&["image", "data", "i.klon"]);
    sparse(&klon.path("back"), 48 * MIB);
    klon.ok(&["restore", "i.klon", "back", "--outside", "none"]);
    let verified = klon.ok(&["verify", "i.klon", "back"]);
    assert!(!verified.stderr.contains("warning"), "{}", verified.stderr);
    verified.shows(&["equal to back", "were left out by choice"]);
}

#[test]
fn the_record_of_a_clone_says_which_of_two_is_its_source() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 24, 2);
    klon.ok(&["clone", "data", "copy"]);
    klon.ok(&["verify", "copy", "data"])
        .shows(&["copy: equal to its source data"]);
    let mixed = klon.ok(&["verify", "data", "copy"]);
    mixed.says(&["copy is the clone, and data its source"]);
    mixed.shows(&["copy: equal to its source data"]);
    klon.ok(&["verify", "copy", "--against-source"])
        .shows(&["copy: equal to its source", "data"]);
    let missing = klon.run(&["verify", "data", "--against-source"]).expect(2);
    missing.says(&["no record", "klon verify data SOURCE"]);
    let block = run("debugfs", &["-R", "bmap /large 7", &klon.text("data")]);
    let block: u64 = block.trim().parse().unwrap();
    write_at(&klon.path("data"), block * 4096, b"changed since");
    let differs = klon.run(&["verify", "data", "copy"]).expect(1);
    differs.shows(&["copy: DIFFERENT from its source data"]);
    fs::remove_file(klon.path("data")).unwrap();
    let gone = klon.run(&["verify", "copy", "--against-source"]).expect(3);
    gone.says(&["is not there", "klon verify copy SOURCE"]);
}

/// The drive of a plan that gives the clone more room, and has noise behind it.
fn with_more_room() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    fs::write(klon.path("drive"), noise(9, 100 * MIB as usize)).unwrap();
    let size = ["--size", "Master=grow", "-o", "plan"];
    let plan = ["plan", "--drive", "drive", "Master=data", "--replace-table"];
    klon.ok(&[&plan[..], &size].concat());
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
    klon
}

#[test]
fn what_lies_behind_a_clone_that_was_used_since_may_be_anybodys() {
    let klon = with_more_room();
    sparse(&klon.path("back"), 40 * MIB);
    klon.ok(&["clone", "drive:1", "back"])
        .says(&["is no part of the clone, by its record"]);
    fs::write(klon.path("note"), noise(4, 9000)).unwrap();
    let write = format!("write \"{}\" note", klon.text("note"));
    let volume = format!("{}?offset={MIB}", klon.text("drive"));
    run("debugfs", &["-w", "-R", &write, &volume]);
    sparse(&klon.path("other"), 40 * MIB);
    let reasons = ["no record tells whose that is", "--outside none leaves out"];
    klon.refused(&["clone", "drive:1", "other"], &reasons);
    klon.ok(&["clone", "drive:1", "other", "--outside", "none"])
        .says(&["left out, by --outside none"]);
    run("e2fsck", &["-fn", &klon.text("other")]);
    // Nor do images of it know more.
    for (source, image) in [("drive:1", "part.klon"), ("drive", "drive.klon:1")] {
        let file = image.trim_end_matches(":1");
        klon.ok(&["image", source, file]);
        sparse(&klon.path("fourth"), 40 * MIB);
        klon.refused(&["restore", image, "fourth"], &reasons);
    }
    let info = klon.json(&["info", "part.klon"]);
    assert!(info["clone_bytes"].is_null(), "{info:#}");
}

#[test]
fn a_disk_whose_table_was_edited_since_is_no_longer_what_its_record_says() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 48 * MIB);
    run_with_input(
        "sfdisk",
        &["-q", &klon.text("disk")],
        "label: gpt\n2048,32768\n",
    );
    fs::write(klon.path("large"), noise(9, 80 * MIB as usize)).unwrap();
    let consent = ["--yes", "--confirm", &klon.text("large")];
    klon.ok(&[&["clone", "disk", "large"][..], &consent].concat());
    sparse(&klon.path("back"), 48 * MIB);
    klon.ok(&["clone", "large", "back"])
        .says(&["is no part of the clone, by its record"]);
    run(
        "sfdisk",
        &["-q", "--part-label", &klon.text("large"), "1", "mine"],
    );
    sparse(&klon.path("other"), 48 * MIB);
    klon.refused(&["clone", "large", "other"], &["--outside none"]);
}
