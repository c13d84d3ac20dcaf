//! Tables that klon keeps, on a drive that is prepared and on a clone of another size: every byte
//! that does not have to change stays.

use crate::support::image::{check_gpt, ext4, read_range, sparse};
use crate::support::klon::number;
use crate::support::tool::{run_command, run_with_input};
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn write_at(path: &Path, bytes: &[u8], offset_bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

/// Fails if a byte outside of `allowed` differs between the files, of which the first is not the
/// larger one.
#[track_caller]
fn assert_only(before: &Path, after: &Path, allowed: &[Range<usize>]) {
    let (mut before, after) = (fs::read(before).unwrap(), fs::read(after).unwrap());
    before.resize(after.len(), 0);
    let is_allowed = |index: &usize| allowed.iter().any(|range| range.contains(index));
    let pieces = before.chunks(4096).zip(after.chunks(4096));
    let other = (0..)
        .step_by(4096)
        .zip(pieces)
        .find_map(|(start, (one, other))| {
            let places = 0..if one == other { 0 } else { one.len() };
            let differing = places.filter(|&at| one[at] != other[at]);
            differing
                .map(|at| start + at)
                .find(|index| !is_allowed(index))
        });
    assert_eq!(other.map(|index| format!("{index:#x}")), None);
}

/// A disk of 64 MiB with one partition of 8 MiB at `first`, a flag and noise in the first sector.
fn disk(klon: &Klon, name: &str, options: &[&str]) {
    let path = klon.text(name);
    sparse(&klon.path(name), 64 * MIB);
    run("sgdisk", &[options, &[&path]].concat());
    write_at(&klon.path(name), &[0x80], 446);
    write_at(&klon.path(name), &noise(1, 440), 0);
    write_at(&klon.path(name), b"SIGNzz", 440);
}

/// Prepares `drive` for a clone of a volume of 8 MiB, its table kept.
fn prepare(klon: &Klon, drive: &str) {
    plan(klon, drive);
    let path = klon.text(drive);
    klon.ok(&["prepare", "plan.toml", "--yes", "--confirm", &path]);
    // Before its first partition the drive has a copy of the plan, if nothing was there.
    let drive = klon.path(drive);
    if read_range(&drive, 512 << 10, 4096).starts_with(b"KLONPLAN") {
        write_at(&drive, &vec![0; 512 << 10], 512 << 10);
    }
}

fn plan(klon: &Klon, drive: &str) {
    ext4(&klon.path("source"), 8, 2);
    klon.ok(&["plan", "--drive", drive, "A=source", "-o", "plan.toml"]);
}

/// Bytes that a disk larger than 64 MiB has to change: the size of the MBR's first entry, fields
/// of the primary header, and where the backup was and is.
fn fitted(new_end: usize) -> Vec<Range<usize>> {
    let header = [16..20, 32..40, 48..56].map(|it| 512 + it.start..512 + it.end);
    let mut allowed = vec![458..462, ARRAYS[1]..new_end];
    allowed.extend(header);
    allowed
}

/// Bytes that a new GPT entry changes: it, and the checksums, in both copies. `arrays` and headers
/// in bytes.
fn entry(number: usize, arrays: [usize; 2], headers: [usize; 2]) -> Vec<Range<usize>> {
    let entry = arrays.map(|array| array + (number - 1) * 128..array + number * 128);
    let sums = headers.map(|header| [header + 16..header + 20, header + 88..header + 92]);
    [&entry[..], &sums.concat()].concat()
}

const END: usize = 64 << 20;

/// Both copies of a table where sgdisk puts them on 64 MiB.
const ARRAYS: [usize; 2] = [1024, END - 33 * 512];
const HEADERS: [usize; 2] = [512, END - 512];

#[test]
fn the_first_sector_keeps_flag_code_signature_and_addresses() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-n1:2048:+8M", "-c1:Mine"]);
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    check_gpt(&klon.text("larger"));
    assert_only(&klon.path("disk"), &klon.path("larger"), &fitted(80 << 20));
    let print = run("parted", &["-sm", &klon.text("larger"), "print"]);
    assert!(print.contains("pmbr_boot"), "{print}");
    fs::copy(klon.path("disk"), klon.path("drive")).unwrap();
    prepare(&klon, "drive");
    check_gpt(&klon.text("drive"));
    // The new partition's ends are cleared, which they were.
    assert_only(
        &klon.path("disk"),
        &klon.path("drive"),
        &entry(2, ARRAYS, HEADERS),
    );
}

#[test]
fn a_loader_under_moved_entries_stays() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-j", "2048", "-n1:4096:+8M"]);
    write_at(&klon.path("disk"), &noise(2, 900 << 10), 1024);
    // And between the entries and the first usable sector of a table that has room there.
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    check_gpt(&klon.text("larger"));
    assert_only(&klon.path("disk"), &klon.path("larger"), &fitted(80 << 20));
    klon.ok(&["verify", "larger", "disk"])
        .shows(&["equal", "instead of"]);
    fs::copy(klon.path("disk"), klon.path("drive")).unwrap();
    prepare(&klon, "drive");
    check_gpt(&klon.text("drive"));
    let arrays = [1 << 20, ARRAYS[1]];
    assert_only(
        &klon.path("disk"),
        &klon.path("drive"),
        &entry(2, arrays, HEADERS),
    );
}

#[test]
fn what_hides_before_the_first_usable_sector_and_behind_the_last_stays() {
    let klon = Klon::new();
    let script = "label: gpt\nfirst-lba: 4096\nlast-lba: 126000\nstart=4096, size=";
    let make = |name: &str, sectors: u32| {
        let path = klon.path(name);
        sparse(&path, 64 * MIB);
        let script = format!("{script}{sectors}\n");
        run_with_input("sfdisk", &["-q", path.to_str().unwrap()], &script);
        write_at(&path, &noise(3, 1 << 20), 20 << 10);
        write_at(&path, &noise(4, 1 << 20), 126_100 * 512);
    };
    make("disk", 110_000);
    sparse(&klon.path("larger"), 70 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    check_gpt(&klon.text("larger"));
    assert_only(&klon.path("disk"), &klon.path("larger"), &fitted(70 << 20));
    make("drive", 16_384);
    fs::copy(klon.path("drive"), klon.path("before")).unwrap();
    prepare(&klon, "drive");
    assert_only(
        &klon.path("before"),
        &klon.path("drive"),
        &entry(2, ARRAYS, HEADERS),
    );
}

#[test]
fn a_hybrid_mbr_stays() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-n1:2048:+8M", "-n2:0:+8M"]);
    run("sgdisk", &["-h", "2:1", &klon.text("disk")]);
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    let allowed = &fitted(80 << 20)[1..];
    assert_only(&klon.path("disk"), &klon.path("larger"), allowed);
    fs::copy(klon.path("disk"), klon.path("drive")).unwrap();
    prepare(&klon, "drive");
    assert_only(
        &klon.path("disk"),
        &klon.path("drive"),
        &entry(3, ARRAYS, HEADERS),
    );
}

/// Both copies of the table with `edit` made to the array, and the header's `changes`.
fn reseal(path: &Path, arrays: [usize; 2], edit: impl Fn(&mut [u8]), header: impl Fn(&mut [u8])) {
    for (array_at, header_at) in arrays.into_iter().zip(HEADERS) {
        let mut sector = read_range(path, header_at as u64, 512);
        header(&mut sector);
        let field = |at: usize| u32::from_le_bytes(sector[at..at + 4].try_into().unwrap());
        let len = u64::from(field(80)) * u64::from(field(84));
        let mut array = read_range(path, array_at as u64, len);
        edit(&mut array);
        write_at(path, &array, array_at as u64);
        sector[88..92].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
        sector[16..20].fill(0);
        let size = u32::from_le_bytes(sector[12..16].try_into().unwrap()) as usize;
        let sum = crc32fast::hash(&sector[..size]).to_le_bytes();
        sector[16..20].copy_from_slice(&sum);
        write_at(path, &sector, header_at as u64);
    }
}

#[test]
fn names_that_are_no_text_and_headers_of_later_revisions_stay() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-n1:2048:+8M", "-n3:0:+8M"]);
    let name = |array: &mut [u8]| {
        // Half a surrogate, an end, and something behind it; slot 2 is not in use.
        array[56..60].copy_from_slice(&[0x00, 0xd8, b'a', 0]);
        array[60..128].copy_from_slice(&[&[0, 0][..], &noise(5, 66)].concat());
        array[128 + 16..256].copy_from_slice(&noise(6, 112));
        array[256 + 48..256 + 56].copy_from_slice(&[0xff; 8]);
    };
    let header = |sector: &mut [u8]| {
        sector[8..12].copy_from_slice(&0x0001_0001_u32.to_le_bytes());
        sector[12..16].copy_from_slice(&104_u32.to_le_bytes());
        sector[20..24].copy_from_slice(b"resv");
        sector[92..512].copy_from_slice(&noise(7, 420));
    };
    reseal(&klon.path("disk"), ARRAYS, name, header);
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    assert_only(&klon.path("disk"), &klon.path("larger"), &fitted(80 << 20));
    let backup = read_range(klon.path("larger"), (80 << 20) - 33 * 512, 16_384);
    assert!(backup == read_range(klon.path("disk"), 1024, 16_384));
    let reserved = read_range(klon.path("larger"), (80 << 20) - 512 + 92, 420);
    assert!(reserved == noise(7, 420));
    fs::copy(klon.path("disk"), klon.path("drive")).unwrap();
    prepare(&klon, "drive");
    assert_only(
        &klon.path("disk"),
        &klon.path("drive"),
        &entry(2, ARRAYS, HEADERS),
    );
    check_gpt(&klon.text("drive"));
}

#[test]
fn large_entries_keep_their_second_half() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-n1:2048:+8M"]);
    // 64 entries of 256 bytes take the same room; the partition's is the first.
    let wide = |array: &mut [u8]| array[128..256].copy_from_slice(&noise(8, 128));
    let header = |sector: &mut [u8]| {
        sector[80..88].copy_from_slice(&[64, 0, 0, 0, 0, 1, 0, 0]);
    };
    reseal(&klon.path("disk"), ARRAYS, wide, header);
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    assert_only(&klon.path("disk"), &klon.path("larger"), &fitted(80 << 20));
    klon.ok(&["verify", "larger", "disk"]);
    fs::copy(klon.path("disk"), klon.path("drive")).unwrap();
    prepare(&klon, "drive");
    let wide = ARRAYS.map(|array| array + 256..array + 384);
    let allowed = [&entry(1, ARRAYS, HEADERS)[2..], &wide].concat();
    assert_only(&klon.path("disk"), &klon.path("drive"), &allowed);
    let devices = klon.json(&["devices", "drive"]);
    assert_eq!(
        devices["volumes"].as_array().map(Vec::len),
        Some(2),
        "{devices:#}"
    );
}

#[test]
fn extended_boot_records_keep_their_code_and_places() {
    let klon = Klon::new();
    let drive = klon.path("drive");
    sparse(&drive, 64 * MIB);
    // Three primary ones, so that what is new is logical; the chain is out of order.
    let script = "label: dos\nstart=2048, size=2048, bootable\nstart=4096, size=2048\n\
        start=6144, size=2048\nstart=10240, size=100000, type=f\n\
        start=60000, size=2048\nstart=20480, size=2048, type=82\n";
    run_with_input("sfdisk", &["-q", drive.to_str().unwrap()], script);
    let records = [10_240 * 512, (60_000 - 2048) * 512];
    let used = |at: u64| read_range(&drive, at + 510, 2) == [0x55, 0xaa];
    let second: Vec<u64> = (10_241..70_000)
        .map(|lba| lba * 512)
        .filter(|&at| used(at))
        .collect();
    assert_eq!(second.len(), 1, "{records:?}");
    for at in [0, records[0], second[0]] {
        write_at(&drive, &noise(at, 440), at);
        write_at(&drive, b"zz", at + 444);
    }
    for at in [records[0], second[0]] {
        write_at(&drive, &noise(at, 32), at + 478);
    }
    fs::copy(&drive, klon.path("before")).unwrap();
    prepare(&klon, "drive");
    let text = run("sfdisk", &["--json", drive.to_str().unwrap()]);
    let table: serde_json::Value = serde_json::from_str(&text).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 7, "{text}");
    run("sfdisk", &["--verify", "--quiet", drive.to_str().unwrap()]);
    let link = usize::try_from(second[0]).unwrap() + 462;
    let start = read_range(&drive, link as u64 + 8, 4);
    let start = u32::from_le_bytes(start.try_into().unwrap());
    let record = usize::try_from(10_240 + start).unwrap() * 512;
    let allowed = [link..link + 16, record..record + 512];
    assert_only(&klon.path("before"), &drive, &allowed);
}

#[test]
fn a_table_that_is_mended_by_hand_stays_until_the_disk_is_cloned_again() {
    let klon = Klon::new();
    disk(&klon, "drive", &["-n1:2048:+8M"]);
    prepare(&klon, "drive");
    klon.ok(&["clone", "plan.toml"]);
    let table = |klon: &Klon| read_range(klon.path("drive"), 0, MIB);
    write_at(&klon.path("drive"), &[0x00], 446);
    write_at(&klon.path("drive"), b"mine", 440);
    let mended = table(&klon);
    klon.ok(&["prepare", "plan.toml"]).shows(&["Nothing to do"]);
    klon.ok(&["clone", "plan.toml"]);
    assert!(table(&klon) == mended);
    // The clone of a whole disk is what the disk is, its table included.
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["clone", "drive", "larger"]);
    write_at(&klon.path("larger"), &[0x80], 446);
    klon.run(&["verify", "larger", "drive"])
        .expect(1)
        .shows(&["446"]);
    let again = klon.json(&["clone", "drive", "larger"]);
    assert!(number(&again, "written_bytes") > 0, "{again:#}");
    assert_eq!(read_range(klon.path("larger"), 446, 1), [0]);
}

#[test]
fn a_snapshot_is_equal_to_the_larger_disk_that_it_was_restored_to() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-n1:2048:+8M"]);
    ext4(&klon.path("volume"), 8, 2);
    crate::support::image::put(&klon.path("volume"), &klon.path("disk"), MIB);
    klon.ok(&["image", "disk", "disk.klon"]);
    sparse(&klon.path("larger"), 80 * MIB);
    klon.ok(&["restore", "disk.klon", "larger"]);
    let found = klon.ok(&["verify", "disk.klon", "larger"]);
    found.shows(&[
        "equal",
        "protective MBR covers 163839 sectors instead of 131071",
    ]);
    let json = klon.json(&["verify", "disk.klon", "larger"]);
    assert_eq!(
        json["table_fitted"].as_array().map(Vec::len),
        Some(4),
        "{json:#}"
    );
    assert_eq!(json["table_fitted"][3]["field"], "backup_lba");
    // A copy that left the table as it was is equal, too.
    fs::copy(klon.path("disk"), klon.path("copy")).unwrap();
    let copy = OpenOptions::new()
        .write(true)
        .open(klon.path("copy"))
        .unwrap();
    copy.set_len(80 * MIB).unwrap();
    let json = klon.json(&["verify", "disk.klon", "copy"]);
    assert!(json.get("table_fitted").is_none(), "{json:#}");
    // Anything else is a difference, in the table and beside it.
    for at in [440, 446, 512 + 60, 1024 + 60, 80 * MIB - 512 + 57, 2 * MIB] {
        let byte = read_range(klon.path("larger"), at, 1)[0];
        write_at(&klon.path("larger"), &[byte ^ 1], at);
        klon.run(&["verify", "disk.klon", "larger"]).expect(1);
        write_at(&klon.path("larger"), &[byte], at);
    }
    klon.ok(&["verify", "disk.klon", "larger"]);
}

#[test]
fn updates_are_not_staged_in_parts_of_a_table_far_from_the_ends() {
    let klon = Klon::new();
    sparse(&klon.path("drive"), 64 * MIB);
    // Entries at 20 MiB, and a backup at 64 MiB of a drive that has 100.
    run("sgdisk", &["-o", "-j", "40960", &klon.text("drive")]);
    let file = OpenOptions::new()
        .write(true)
        .open(klon.path("drive"))
        .unwrap();
    file.set_len(100 * MIB).unwrap();
    prepare(&klon, "drive");
    let backup = 64 * MIB - 33 * 512;
    let parts = |klon: &Klon| {
        let drive = klon.path("drive");
        let places = [(0, 1024), (20 * MIB, 16_384), (backup, 33 * 512)];
        places.map(|(at, len)| read_range(&drive, at, len))
    };
    let before = parts(&klon);
    klon.ok(&["clone", "plan.toml"]);
    for seed in 20..23 {
        fs::write(klon.path("new"), noise(seed, 1 << 20)).unwrap();
        let (request, source) = (format!("write new new{seed}"), klon.text("source"));
        let mut debugfs = std::process::Command::new("debugfs");
        debugfs.args(["-w", "-R", &request, &source]);
        run_command(debugfs.current_dir(klon.directory()));
        klon.ok(&["clone", "plan.toml"]);
        assert!(parts(&klon) == before);
    }
    klon.ok(&["verify", "plan.toml", "--against-source"]);
}

#[test]
fn what_lies_where_the_backup_goes_is_named_before_the_run() {
    let klon = Klon::new();
    disk(&klon, "disk", &["-n1:2048:+8M"]);
    write_at(&klon.path("disk"), &noise(9, 4096), 56 * MIB - 8192);
    sparse(&klon.path("smaller"), 56 * MIB);
    // What nobody proved free is lost only to those who say so.
    let place = "in no partition at byte 58712064";
    klon.refused(&["clone", "disk", "smaller"], &[place, "--outside none"]);
    let done = klon.ok(&["clone", "disk", "smaller", "--outside", "none"]);
    done.says(&["from byte 58712064", "are in no partition"]);
    done.says(&["does not copy them"]);
    check_gpt(&klon.text("smaller"));
    sparse(&klon.path("other"), 55 * MIB);
    klon.refused(&["clone", "disk", "other"], &[place, "--outside none"]);
    let done = klon.ok(&["clone", "disk", "other", "--outside", "none"]);
    assert!(
        !done.stderr.contains("are in no partition"),
        "{}",
        done.stderr
    );
}
