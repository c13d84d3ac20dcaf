//! `--outside`: what it leaves out is named, kept, and told by whatever compares.

use crate::support::image::{allocated_bytes, read_range, sparse};
use crate::support::klon::{Outcome, number};
use crate::support::tool::{run, run_with_input};
use crate::support::tree::noise;
use crate::support::{Klon, MIB};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// Data in the middle of a gap of 60 MiB, and behind the end of a filesystem.
const MIDDLE: u64 = 60 * MIB;
const BEHIND: u64 = 8 * MIB + 123;

/// A disk with a FAT of 6 MiB in a partition of 8, a gap of 60 MiB, another partition.
fn disk() -> Klon {
    let klon = Klon::new();
    let path = klon.path("disk");
    sparse(&path, 120 * MIB);
    let script = "label: dos\n4096,61440,c\n196608,2048,83\n";
    run_with_input("sfdisk", &["-q", path.to_str().unwrap()], script);
    let fat = klon.path("fat");
    sparse(&fat, 6 * MIB);
    run("mkfs.fat", &[fat.to_str().unwrap()]);
    crate::support::image::put(&fat, &path, 2 * MIB);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&noise(1, 5000), MIDDLE).unwrap();
    file.write_all_at(b"behind", BEHIND).unwrap();
    klon
}

fn is_equal(klon: &Klon, target: &str, at: u64) -> bool {
    let [source, target] = ["disk", target].map(|name| read_range(klon.path(name), at, 5000));
    source == target
}

/// A target full of noise.
fn noisy(klon: &Klon, name: &str) -> String {
    fs::write(klon.path(name), noise(9, 120 << 20)).unwrap();
    klon.text(name)
}

#[test]
fn what_clones_leave_out_is_named_and_copied_once_that_is_wanted() {
    let klon = disk();
    let target = noisy(&klon, "target");
    let consent = ["--yes", "--confirm", &target];
    let clone =
        |options: &[&str]| klon.ok(&[&["clone", "disk", "target"], options, &consent].concat());
    let done = clone(&["--outside", "edges"]);
    done.says(&["left out, by --outside edges", "in no partition"]);
    done.shows(&["left out"]);
    assert!(!is_equal(&klon, "target", MIDDLE) && is_equal(&klon, "target", BEHIND));
    klon.ok(&["verify", "target"])
        .shows(&["equal", "were left out by choice"]);
    klon.ok(&["verify", "target", "disk"])
        .shows(&["equal", "were left out by choice"]);
    // The record keeps the choice.
    let again = clone(&["--json"]).last();
    assert!(number(&again, "left_out_bytes") > 50 * MIB, "{again:#}");
    assert!(!is_equal(&klon, "target", MIDDLE));
    let kept = read_range(klon.path("target"), MIDDLE, 5000);
    clone(&["--freed", "zero", "--in-place", "--outside", "none"]);
    assert_eq!(
        read_range(klon.path("target"), MIDDLE, 5000),
        kept,
        "it was not freed"
    );
    assert!(is_equal(&klon, "target", BEHIND), "it was there already");
    // A target that was made anew holds nothing of what was left out.
    fs::remove_file(klon.path("target")).unwrap();
    let anew = clone(&["--json"]).last();
    assert_eq!(number(&anew, "left_out_bytes"), 0, "{anew:#}");
    assert!(is_equal(&klon, "target", MIDDLE) && is_equal(&klon, "target", BEHIND));
    noisy(&klon, "target");
    clone(&["--outside", "none"]);
    noisy(&klon, "target");
    let noise = clone(&["--json"]).last();
    assert_eq!(number(&noise, "left_out_bytes"), 0, "{noise:#}");
    noisy(&klon, "target");
    clone(&["--outside", "none"]);
    // All that was left out is copied, zeroes too.
    let all = clone(&["--outside", "all", "--in-place", "--json"]).last();
    assert_eq!(number(&all, "left_out_bytes"), 0, "{all:#}");
    for at in [MIDDLE, BEHIND, 50 * MIB, 90 * MIB] {
        assert!(is_equal(&klon, "target", at), "{at}");
    }
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "disk"]);
}

#[test]
fn before_a_run_it_is_said_how_much_no_one_proved_free() {
    let klon = disk();
    let dry = klon.ok(&["clone", "disk", "target", "--dry-run"]);
    dry.says(&["no one proved", "in no partition", "--outside edges"]);
    let map = klon.json(&["map", "disk"]);
    assert!(number(&map, "unproven_bytes") > 80 * MIB, "{map:#}");
    assert!(number(&map, "used_bytes") < 3 * MIB, "{map:#}");
    klon.ok(&["map", "disk"]).shows(&["no one proved it free"]);
    let plain = klon.run(&["clone", "disk", "target", "--outside", "some"]);
    plain.expect(2).says(&["all, edges or none"]);
}

#[test]
fn what_images_leave_out_is_told_and_not_taken_for_zero() {
    let klon = disk();
    let done = klon.ok(&["image", "disk", "image.klon", "--outside", "edges"]);
    done.says(&["left out, by --outside edges"]);
    assert_last_line_sums(&done);
    klon.ok(&["info", "image.klon"])
        .shows(&["left out by --outside edges"]);
    klon.ok(&["diff", "image.klon", "disk"])
        .shows(&["equal", "an image left out"]);
    klon.ok(&["verify", "image.klon", "disk"])
        .shows(&["were left out by choice"]);
    let restored = noisy(&klon, "restored");
    let done = klon.ok(&[
        "restore",
        "image.klon",
        "restored",
        "--yes",
        "--confirm",
        &restored,
    ]);
    done.says(&["which the image does not have"]);
    let noise = noise(9, 120 << 20);
    let at = MIDDLE as usize;
    assert_eq!(
        read_range(klon.path("restored"), MIDDLE, 5000),
        noise[at..at + 5000]
    );
    klon.ok(&["verify", "restored"]);
    // The next snapshot keeps the choice, until told otherwise.
    klon.ok(&["image", "disk", "image.klon"])
        .says(&["left out, by --outside edges"]);
    klon.ok(&["image", "disk", "image.klon", "--outside", "all"]);
    let target = noisy(&klon, "target");
    klon.ok(&[
        "restore",
        "image.klon",
        "target",
        "--yes",
        "--confirm",
        &target,
    ]);
    let [source, target] = ["disk", "target"].map(|name| fs::read(klon.path(name)).unwrap());
    let from = 33 << 20;
    assert!(source[from..] == target[from..], "all but the FAT");
}

/// The last line of `klon image` says how much is left out.
fn assert_last_line_sums(done: &Outcome) {
    let last = done.stdout.lines().last().unwrap_or_default();
    let sums = last.contains(" used, ") && last.contains(" left out, ");
    assert!(sums, "{}", done.stdout);
}

#[test]
fn lists_name_what_each_snapshot_left_out() {
    let klon = disk();
    for choice in ["edges", "none", "all"] {
        let done = klon.ok(&["image", "disk", "image.klon", "--outside", choice]);
        match choice {
            "all" => assert!(!done.stdout.contains("left out"), "{}", done.stdout),
            _ => assert_last_line_sums(&done),
        }
    }
    let listed = klon.ok(&["list", "image.klon"]).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    for (line, choice) in lines.iter().zip(["edges", "none"]) {
        let named = format!("left out (--outside {choice})");
        assert!(line.contains(&named), "{line}");
    }
    assert!(!lines[2].contains("left out"), "{}", lines[2]);
    let json = klon.ok(&["list", "image.klon", "--json"]);
    let left_out: Vec<Option<u64>> = json
        .lines()
        .iter()
        .map(|line| line["left_out_bytes"].as_u64())
        .collect();
    assert!(
        left_out[0] > Some(50 * MIB) && left_out[1] > left_out[0],
        "{left_out:?}"
    );
    assert_eq!(left_out[2], None);
}

#[test]
fn zeroes_that_no_one_proved_free_take_no_room_and_holes_are_not_read() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 1 << 30);
    let script = "label: gpt\n2048,4096\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    let done = klon.json(&["clone", "disk", "target"]);
    assert!(number(&done, "read_source_bytes") < 8 * MIB, "{done:#}");
    assert!(allocated_bytes(&klon.path("target")) < 8 * MIB);
    let again = klon.json(&["clone", "disk", "target", "--rung", "compare"]);
    assert!(number(&again, "read_target_bytes") < 8 * MIB, "{again:#}");
    let image = klon.json(&["image", "disk", "image.klon"]);
    assert!(number(&image, "read_source_bytes") < 8 * MIB, "{image:#}");
    assert!(allocated_bytes(&klon.path("image.klon")) < MIB);
}
