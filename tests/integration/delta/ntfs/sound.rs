//! No change that ntfs-3g makes is missed, on any kind of volume.

use super::{Made, assert_sound, state};
use crate::delta::past;
use crate::support::{lacks_root, run};

/// Kinds of change that ntfs-3g can make on each of these volumes, at least.
const CHANGES: usize = 60;

fn no_change_is_missed(made: &Made, first: &str) {
    made.prepare(first);
    let before = state(made, None);
    let (count, failed) = made.change();
    assert!(count >= CHANGES, "{}: {count}, not {failed:?}", made.name);
    if made.mount != "compression" {
        // What is packed shows no signature, and no boot loader can write it.
        let records = made.records("changes/environment");
        made.write_past(records["f"], 100, "environment");
    }
    let after = state(made, Some(&before));
    assert_sound(made, (&before, &after), 20, "all changes");
    let records = made.records("changes/folder-filled");
    let runs = past::place(&after.bytes, records["f"]).runs;
    // What a file has behind its end is always read, and packed ones have room there.
    let first = runs[0].1.split(4096).next().unwrap();
    assert!(
        after.found.proven.contains(first),
        "{}: a file that stays is read in vain",
        made.name
    );
    let idle = state(made, Some(&after));
    assert_sound(made, (&after, &idle), 22, "no change");
}

#[test]
fn with_clusters_of_4096_bytes() {
    if lacks_root() {
        return;
    }
    no_change_is_missed(&Made::new("4k", &[], "rw"), "");
}

#[test]
fn with_clusters_of_64k() {
    if lacks_root() {
        return;
    }
    no_change_is_missed(&Made::new("64k", &["-c", "65536"], "rw"), "");
}

#[test]
fn with_compressed_files() {
    if lacks_root() {
        return;
    }
    let made = Made::new("compressed", &["-C"], "compression");
    no_change_is_missed(&made, "");
}

/// Holes between small files, into which the table grows, after which it has an attribute list.
const PIECES: &str = r#"
mkdir gaps small; for i in $(seq 400); do head -c 4096 /dev/urandom >gaps/$i; done
head -c 200M /dev/zero >filler 2>/dev/null || :
rm gaps/*[02468]; : >filler2; (for i in $(seq 3000); do : >small/$i; done) 2>/dev/null || :
rm filler filler2
"#;

#[test]
fn with_a_master_file_table_in_pieces() {
    if lacks_root() {
        return;
    }
    let made = Made::new("pieces", &["-c", "512"], "rw");
    no_change_is_missed(&made, PIECES);
    let image = made.image();
    let told = run("ntfsinfo", &["-v", "-i", "0", image.to_str().unwrap()]);
    assert!(told.contains("$ATTRIBUTE_LIST"), "{told}");
}
