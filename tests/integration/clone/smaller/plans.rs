//! Plans whose clones are smaller than their sources, and the way back from a clone that was given room.

use super::{resize, write_at};
use crate::support::image::{check_gpt, ext4, sparse};
use crate::support::{Klon, MIB, run};

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
    klon.refused(&tiny, &["need 40 MiB", "a drive of at least 42 MiB"]);
    // One that grew since does not fit any more.
    run("resize2fs", &[&klon.text("data"), "120M"]);
    klon.refused(&["clone", "plan"], &["is too small", "ends at 120 MiB"]);
}

#[test]
fn what_was_on_a_drive_before_is_no_part_of_a_clone_that_goes_back() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 24, 4);
    resize(&klon.path("data"), 28 * MIB);
    write_at(&klon.path("data"), 26 * MIB, b"tail");
    std::fs::write(klon.path("drive"), vec![0x5a; 200 << 20]).unwrap();
    let plan = [
        &["plan", "--drive", "drive", "--replace-table", "Master=data"][..],
        &["--size", "Master=grow", "-o", "plan"],
    ]
    .concat();
    klon.ok(&plan);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
    sparse(&klon.path("back"), 28 * MIB);
    klon.ok(&["clone", "drive:1", "back"])
        .says(&["was on the drive before"]);
    klon.ok(&["verify", "back", "data"]);
    let back = std::fs::read(klon.path("back")).unwrap();
    assert_eq!(&back[26 << 20..(26 << 20) + 4], b"tail");
    run("e2fsck", &["-fn", &klon.text("back")]);
    // Less than the clone itself is no target, and without its record nothing shows where it ends.
    sparse(&klon.path("less"), 25 * MIB);
    klon.refused(&["clone", "drive:1", "less"], &["--outside none"]);
    std::fs::remove_dir_all(klon.records()).unwrap();
    sparse(&klon.path("other"), 28 * MIB);
    klon.refused(&["clone", "drive:1", "other"], &["--outside none"]);
}
