//! Drives on which a hybrid MBR lists partitions that no entry of the GPT is.

use crate::support::image::{ext4, read_range, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// A drive of 64 MiB whose GPT has the partitions of `options`, and no longer number 2, which its MBR
/// still lists. Gives that MBR.
fn drive(klon: &Klon, options: &[&str]) -> Vec<u8> {
    let path = klon.text("drive");
    sparse(&klon.path("drive"), 64 * MIB);
    run("sgdisk", &[options, &["-a1", &path]].concat());
    run("sgdisk", &["-h", "1:2", &path]);
    let record = read_range(klon.path("drive"), 0, 512);
    run("sgdisk", &["-d", "2", &path]);
    ext4(&klon.path("source"), 8, 2);
    record
}

fn put_back(klon: &Klon, record: &[u8]) {
    let file = OpenOptions::new().write(true).open(klon.path("drive"));
    file.unwrap().write_all_at(record, 0).unwrap();
}

const PLAN: [&str; 6] = ["plan", "--drive", "drive", "A=source", "-o", "plan.toml"];

#[test]
fn a_plan_goes_around_what_only_the_mbr_lists() {
    let klon = Klon::new();
    let record = drive(&klon, &["-n1:2048:+8M", "-n2:18433:+24M"]);
    put_back(&klon, &record);
    let plan = klon.json(&PLAN);
    let start_bytes = plan["volumes"][0]["extent"][0].as_u64().unwrap();
    assert!(start_bytes >= 33 * MIB, "{plan:#}");
    let consent = ["--yes", "--confirm", &klon.text("drive")];
    klon.ok(&[&["prepare", "plan.toml"][..], &consent].concat());
    assert_eq!(read_range(klon.path("drive"), 0, 512), record);
    klon.ok(&["clone", "plan.toml"]);
    // The same plan again changes nothing.
    fs::remove_file(klon.path("plan.toml")).unwrap();
    let again = klon.json(&PLAN);
    assert_eq!(number(&again["volumes"][0], "number"), 2);
    assert!(again["volumes"][0]["extent"][0] == start_bytes);
}

#[test]
fn room_that_only_the_mbr_lists_is_no_room() {
    let klon = Klon::new();
    let record = drive(&klon, &["-n1:2048:+8M", "-n2:0:0"]);
    klon.ok(&PLAN);
    put_back(&klon, &record);
    let before = fs::read(klon.path("drive")).unwrap();
    // A plan that was made before knows nothing of it.
    let consent = ["--yes", "--confirm", &klon.text("drive")];
    for options in [&consent[..], &["--dry-run"]] {
        let arguments = [&["prepare", "plan.toml"][..], options].concat();
        klon.refused(&arguments, &["hybrid MBR", "would lie on it", "gdisk"]);
    }
    fs::remove_file(klon.path("plan.toml")).unwrap();
    klon.refused(&PLAN, &["hybrid MBR lists partitions", "--replace-table"]);
    assert!(fs::read(klon.path("drive")).unwrap() == before);
    klon.ok(&[&PLAN[..], &["--replace-table"]].concat());
}

/// An entry that ends behind the drive is refused by the plan, not by what carries it out.
#[test]
fn an_entry_that_can_not_be_kept_is_refused_by_the_plan() {
    let klon = Klon::new();
    let mut record = drive(&klon, &["-n1:2048:+8M", "-n2:0:+8M"]);
    for entry in record[446..510].chunks_mut(16) {
        if entry[4] != 0xee && entry[4] != 0 {
            entry[12..16].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
        }
    }
    put_back(&klon, &record);
    let named = ["hybrid MBR", "end of the disk", "--replace-table"];
    klon.refused(&PLAN, &named);
    assert!(!klon.path("plan.toml").exists());
}
