//! What a file record shows: each of its fields counts by itself. And what it can't show: the limits that
//! DELTA.md names are real.

use super::{Made, assert_sound, state};
use crate::delta::forged::write;
use crate::delta::past;
use crate::delta::state::{State, now, stamped};
use crate::support::{lacks_root, run};
use klon_imaging::change::proven::{Guard, Horizon, Refusal, Rule, refusal};
use klon_partition::filesystem::files::Stamp;
use std::ops::Range;

/// A field of a file record, where it lies, and bits of one of its bytes.
type Field = (&'static str, Range<usize>, (usize, u8));

/// Of `MFT_RECORD`, and of the `$STANDARD_INFORMATION` that is its first attribute, at 0x38.
const FIELDS: &[Field] = &[
    ("lsn", 0x08..0x10, (0x09, 1)),
    ("sequence_number", 0x10..0x12, (0x11, 1)),
    ("next_attr_instance", 0x28..0x2a, (0x28, 0x40)),
    ("creation_time", 0x50..0x58, (0x51, 1)),
    ("last_data_change_time", 0x58..0x60, (0x5a, 1)),
    ("last_mft_change_time", 0x60..0x68, (0x62, 1)),
    ("last_access_time", 0x68..0x70, (0x6a, 1)),
    ("file_attributes", 0x70..0x74, (0x70, 2)),
    ("security_id", 0x84..0x88, (0x84, 1)),
    ("usn", 0x90..0x98, (0x92, 1)),
];
/// `update sequence number`, with the places in which it stands at the ends of the sectors.
const UPDATE: (Range<usize>, [usize; 3]) = (0x30..0x32, [0x30, 0x1fe, 0x3fe]);

/// Where a record lies.
fn place_of(made: &Made, bytes: &[u8], record: u64) -> usize {
    let info = run("ntfsinfo", &["-m", made.image().to_str().unwrap()]);
    let line = info
        .lines()
        .find(|line| line.contains("LCN of Data Attribute for FILE_MFT"));
    let lcn = line.and_then(|line| line.split(':').nth(1)).unwrap().trim();
    let lcn = usize::from_str_radix(
        lcn.trim_start_matches("0x"),
        if lcn.starts_with("0x") { 16 } else { 10 },
    )
    .unwrap();
    let at = lcn * 4096 + usize::try_from(record).unwrap() * 1024;
    assert_eq!(&bytes[at..at + 4], b"FILE");
    at
}

/// Whatever a stamp becomes, it is none of the last moments.
fn late() -> Horizon {
    Horizon::at(Stamp {
        seconds: now().seconds + 100_000_000,
        nanoseconds: 0,
    })
}

/// The files of which a rule misses changes.
fn missed_by(rule: &Rule, before: &[u8], after: &[u8]) -> Vec<String> {
    let first = State::of_bytes(before.to_vec(), None, rule, late());
    let second = State::of_bytes(after.to_vec(), Some(&first), rule, late());
    let missed = second.missed(&first);
    match missed.is_empty() {
        true => Vec::new(),
        false => second.owners(&missed),
    }
}

#[test]
fn each_field_of_a_record_counts() {
    if lacks_root() {
        return;
    }
    // The attribute has all fields only of a file with an owner.
    let made = Made::new("4k", &[], "permissions");
    let names = FIELDS
        .iter()
        .map(|field| format!("noise {} 48K; ", field.0));
    made.script(&format!("{}noise update 48K", names.collect::<String>()));
    let records = made.records("");
    let before = made.bytes();
    for (name, _, (at, bits)) in FIELDS {
        let at = place_of(&made, &before, records[*name]) + at;
        write(&made.image(), at, &[before[at] ^ bits]);
        made.write_past(records[*name], 8192, name);
    }
    let start = place_of(&made, &before, records["update"]);
    for at in UPDATE.1 {
        write(&made.image(), start + at, &[before[start + at] ^ 0x55]);
    }
    made.write_past(records["update"], 8192, "update");
    let after = made.bytes();
    let sound = missed_by(&Rule::default(), &before, &after);
    assert!(sound.is_empty(), "the rule misses {sound:?}");
    let update = ("update", UPDATE.0, (0, 0));
    for (name, field, _) in FIELDS.iter().chain([&update]) {
        let rule = Rule::blind_to(std::slice::from_ref(field));
        let missed = missed_by(&rule, &before, &after);
        assert_eq!(missed, [format!("/{name}")], "blind to {name}");
    }
}

/// ntfs-3g sets three of four times; the fourth is when the record changed, which programs can set in Windows.
/// The record is written for each, and has another update sequence number.
#[test]
fn times_that_a_program_sets_back_hide_nothing() {
    if lacks_root() {
        return;
    }
    let made = Made::new("4k", &[], "rw");
    made.script("noise f 48K; noise g 48K");
    let before = made.bytes();
    made.script(
        "times=$(getfattr -h -e hex -n system.ntfs_times f | sed -n 's/^system.ntfs_times=//p')\n\
         put f 8K 4K; setfattr -h -n system.ntfs_times -v \"$times\" f",
    );
    let after = made.bytes();
    let sound = missed_by(&Rule::default(), &before, &after);
    assert!(sound.is_empty(), "the rule misses {sound:?}");
    // The fourth time is in the file's name, too.
    let blind = Rule::blind_to(&[UPDATE.0, 0x60..0x68, 0xa0..0xc0]);
    let missed = missed_by(&blind, &before, &after);
    assert_eq!(missed, ["/f"], "three times are not what they were");
}

/// A limit: nothing in the volume shows a write that leaves the record as it was, as one through a mapping
/// of a file in Windows can, or one to the disk itself.
#[test]
fn a_write_that_leaves_the_record_is_missed() {
    if lacks_root() {
        return;
    }
    let made = Made::new("4k", &[], "rw");
    made.script("noise mapped 48K; noise still 48K");
    let records = made.records("");
    let before = made.bytes();
    made.write_past(records["mapped"], 8192, "mapped");
    let after = made.bytes();
    assert_eq!(missed_by(&Rule::default(), &before, &after), ["/mapped"]);
}

/// A limit: the update sequence number comes again after 65,534 writes of a record; when all times are set
/// back, too, a file is taken for unchanged.
#[test]
fn a_record_that_is_set_back_as_a_whole_hides_a_write() {
    if lacks_root() {
        return;
    }
    let made = Made::new("4k", &[], "rw");
    made.script("noise f 48K");
    let records = made.records("");
    let before = made.bytes();
    made.script("put f 8K 4K");
    let start = place_of(&made, &before, records["f"]);
    let seen = made.bytes();
    assert!(missed_by(&Rule::default(), &before, &seen).is_empty());
    write(&made.image(), start, &before[start..start + 1024]);
    let after = made.bytes();
    assert_eq!(missed_by(&Rule::default(), &before, &after), ["/f"]);
}

/// Names of files that Windows writes without a stamp, and folders with such.
const UNSTAMPED: &str = r#"
mkdir -p Windows/System32/config Boot "System Volume Information"
noise pagefile.sys 48K; noise Windows/System32/config/SYSTEM 48K; noise Boot/any 48K
noise mail.pst 48K; noise disk.vhdx 48K; noise "System Volume Information/any" 48K; noise linked 48K
ln linked places.sqlite
noise like.txt 48K"#;

#[test]
fn what_windows_writes_without_a_stamp_is_always_read() {
    if lacks_root() {
        return;
    }
    let made = Made::new("4k", &[], "rw");
    made.script(UNSTAMPED);
    let before = made.bytes();
    let mut written = Vec::new();
    for folder in [
        "",
        "Windows/System32/config",
        "Boot",
        "System Volume Information",
    ] {
        for (name, record) in made.records(folder) {
            let runs = past::place(&before, record).runs;
            let is_file = runs
                .first()
                .is_some_and(|(_, run)| run.len_bytes() >= 49_152);
            if is_file && name != "like.txt" && name != "linked" {
                made.write_past(record, 8192, &name);
                written.push(name);
            }
        }
    }
    assert_eq!(written.len(), 7, "{written:?}");
    let after = made.bytes();
    let sound = missed_by(&Rule::default(), &before, &after);
    assert!(sound.is_empty(), "the rule misses {sound:?}");
    let missed = missed_by(&Rule::without(Guard::Unstamped), &before, &after);
    assert_eq!(missed.len(), 7, "{missed:?}");
}

#[test]
fn another_ntfs_is_told_apart() {
    if lacks_root() {
        return;
    }
    let made = Made::new("4k", &[], "rw");
    made.script("noise f 48K");
    let then = stamped(&made.bytes());
    let after = || refusal(&then, &stamped(&made.bytes()), true);
    made.script("put f 4K 20K; noise g 3M");
    let image = made.image();
    let image = image.to_str().unwrap();
    run("ntfslabel", &[image, "another name"]);
    assert_eq!(after(), None);
    run("ntfsfix", &[image]);
    assert_eq!(after(), Some(Refusal::IsNotClean));
    run("ntfsfix", &["--clear-dirty", image]);
    assert_eq!(after(), None);
    run("ntfslabel", &["--new-serial", image]);
    assert_eq!(after(), Some(Refusal::Another));
    run("mkfs.ntfs", &["-F", "-q", "-f", image]);
    assert_eq!(after(), Some(Refusal::Another));
}

/// A file that changed just when the run before looked is read.
#[test]
fn files_of_the_last_moment_are_read() {
    if lacks_root() {
        return;
    }
    let made = Made::new("4k", &[], "rw");
    made.script("noise f 2M; touch f");
    let rule = Rule::default();
    let early = Horizon::at(Stamp {
        seconds: now().seconds - 1000,
        nanoseconds: 0,
    });
    let racy = State::of_bytes(made.bytes(), None, &rule, early);
    let after = State::of_bytes(made.bytes(), Some(&racy), &rule, early);
    assert!(after.found.proven.is_empty(), "{:?}", after.found.files);
    let first = state(&made, None);
    assert_sound(&made, (&first, &state(&made, Some(&first))), 2, "later");
}
