//! What a change leaves proven: a sector of which extent, places and checksum are what they were
//! holds the bytes that it held.

use super::{Sector, Walk, assert_agrees, read};
use crate::filesystems::btrfs::variant::Variant;
use crate::filesystems::btrfs::{AGE, script};
use crate::filesystems::image_file::ImageFile;
use crate::support::lacks_root;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is done, and how many percent of the sectors with a checksum stay proven at least and at
/// most.
const CHANGES: [(&str, &str, [usize; 2]); 16] = [
    ("nothing", "sync -f .", [100, 100]),
    (
        "a read",
        "cat large even home/* | md5sum; sync -f .",
        [100, 100],
    ),
    (
        "an overwrite",
        "dd if=/dev/urandom of=large bs=4k count=9 seek=70 conv=notrunc status=none; touch -d @9 large",
        [95, 100],
    ),
    (
        "the same bytes again",
        "dd if=large of=large bs=4k count=9 seek=70 skip=70 conv=notrunc,fsync status=none",
        [95, 100],
    ),
    (
        "a mapped write",
        "python3 -c \"import mmap; f = open('large', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[500000:500003] = b'abc'; m.flush()\"",
        [95, 100],
    ),
    (
        "an overwrite of a file without copy-on-write",
        "dd if=/dev/urandom of=plain bs=4k count=9 seek=70 conv=notrunc,fsync status=none",
        [100, 100],
    ),
    (
        "a write into reserved blocks",
        "dd if=/dev/urandom of=reserved bs=4k count=40 seek=100 conv=notrunc,fsync status=none",
        [95, 100],
    ),
    ("a hole", "fallocate -p -o 400k -l 100k large", [95, 100]),
    (
        "a shorter file",
        "truncate -s 900000 large; truncate -s 1500000 large",
        [60, 100],
    ),
    (
        "another file of that name",
        "cp --reflink=never large new; mv new large",
        [40, 99],
    ),
    (
        "a snapshot",
        "btrfs -q subvolume snapshot home later; echo more >> later/11",
        [95, 100],
    ),
    (
        "a snapshot less",
        "btrfs -q subvolume delete -c frozen; sync -f .",
        [50, 100],
    ),
    (
        "a file deleted and made again",
        "cp -p --reflink=never even copy; rm even; sync -f .; cp -p --reflink=never copy even; rm copy",
        [40, 99],
    ),
    (
        "defragmentation",
        "btrfs -q filesystem defragment -r -f -czstd .",
        [0, 99],
    ),
    (
        "deduplication",
        "cp --reflink=never large twin; sync -f .; python3 -c \"$DEDUPE\" large twin; sync -f .",
        [95, 100],
    ),
    ("a balance of data", "btrfs -q balance start -d .", [0, 0]),
];

/// FIDEDUPERANGE of the first MiB of two files, which must be found equal.
const DEDUPE: &str = r#"
import fcntl, os, struct, sys
source, target = (os.open(path, os.O_RDWR) for path in sys.argv[1:])
request = bytearray(struct.pack("=QQHHIqQQiI", 0, 1 << 20, 1, 0, 0, target, 0, 0, 0, 0))
fcntl.ioctl(source, 0xC0189436, request)
assert struct.unpack_from("=Qi", request, 40) == (1 << 20, 0), request
"#;

/// Whether the rule shows that the sector holds what it held.
fn is_proven(before: &Sector, after: &Sector) -> bool {
    before.checksum.is_some() && before == after
}

/// The rule without checksums.
fn is_same_extent(before: &Sector, after: &Sector) -> bool {
    (before.extent, &before.copies) == (after.extent, &after.copies)
}

struct Compared {
    /// Sectors with a checksum, and how many of them are proven.
    checked: usize,
    proven: usize,
    /// Sectors that only the checksums show to be changed or unknown, and that have other bytes.
    only_by_checksum: usize,
}

fn compare(before: (&Path, &Walk), after: (&Path, &Walk), name: &str) -> Compared {
    let files = [before.0, after.0].map(ImageFile::open);
    let mut compared = Compared {
        checked: 0,
        proven: 0,
        only_by_checksum: 0,
    };
    for (address, old) in &before.1.sectors {
        compared.checked += usize::from(old.checksum.is_some());
        let Some(new) = after.1.sectors.get(address) else {
            continue;
        };
        if !is_same_extent(old, new) {
            continue;
        }
        let is_same = old.copies.iter().all(|&copy| {
            let [old, new] = files.each_ref().map(|file| read(file, copy, old.len_bytes));
            old == new
        });
        if is_proven(old, new) {
            compared.proven += 1;
            assert!(is_same, "{name}: {address} is missed");
        } else {
            compared.only_by_checksum += usize::from(!is_same);
        }
    }
    compared
}

#[test]
fn what_the_rule_proves_is_unchanged_after_every_change() {
    if lacks_root() {
        return;
    }
    for name in ["default", "xxhash"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let file = variant.make(directory.path());
        script(&variant.mount_with(&file, "defaults"), AGE);
        let earlier = directory.path().join("earlier.img");
        let mut before = assert_agrees(&file, name);
        for (what, change, [least, most]) in CHANGES {
            // The others have no room for that.
            if name != "default" && what.starts_with("a balance") {
                continue;
            }
            std::fs::copy(&file, &earlier).unwrap();
            let mount = variant.mount_with(&file, "defaults");
            let text = format!("cd \"$0\"; DEDUPE='{DEDUPE}'; {change}");
            script(&mount, &text);
            drop(mount);
            let what = format!("{name}: {what}");
            let after = assert_agrees(&file, &what);
            let compared = compare((&earlier, &before), (&file, &after), &what);
            let percent = compared.proven * 100 / compared.checked;
            println!("{what}: {percent} % of {}", compared.checked);
            assert!((least..=most).contains(&percent), "{what}: {percent} %");
            // Extents alone would have missed these.
            let is_in_place = what.contains("without copy-on-write") || what.contains("reserved");
            assert_eq!(compared.only_by_checksum > 0, is_in_place, "{what}");
            before = after;
        }
    }
}

/// A scrub repairs a bad copy in place, and nothing in either tree shows it. What shows it is the
/// sector itself: read before, it didn't have its checksum.
#[test]
fn a_copy_that_a_scrub_repairs_was_seen_to_be_bad() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // Two copies of all data.
    let variant = Variant::named("xxhash");
    let file = variant.make(directory.path());
    script(&variant.mount_with(&file, "defaults"), AGE);
    let before = assert_agrees(&file, "sound");
    let sector = before
        .sectors
        .values()
        .rfind(|sector| sector.checksum.is_some());
    let sector = sector.unwrap();
    let bad = sector.copies[1];
    let sound = read(&ImageFile::open(&file), bad, sector.len_bytes);
    let writable = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    writable.write_all_at(&[!sound[9]], bad + 9).unwrap();
    drop(writable);
    let is_sound = |copy: u64| {
        let (kind, checksum) = sector.checksum.as_ref().unwrap();
        kind.matches(
            &read(&ImageFile::open(&file), copy, sector.len_bytes),
            checksum,
        )
    };
    assert_eq!(
        sector
            .copies
            .iter()
            .map(|&copy| is_sound(copy))
            .collect::<Vec<_>>(),
        [true, false]
    );
    script(
        &variant.mount_with(&file, "defaults"),
        "btrfs scrub start -B \"$0\"",
    );
    assert!(is_sound(bad));
    let after = assert_agrees(&file, "repaired");
    let is_still_there = |found: &Sector| is_proven(found, sector);
    assert_eq!(
        after
            .sectors
            .values()
            .filter(|found| is_still_there(found))
            .count(),
        1
    );
}
