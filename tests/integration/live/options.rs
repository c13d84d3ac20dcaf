//! What is asked for, and what is refused.

use super::Pair;
use crate::support::lacks_root;
use std::fs;

#[test]
fn a_mounted_source_is_refused_where_that_is_asked_for() {
    if lacks_root() {
        return;
    }
    let pair = Pair::new(&["mkfs.ext4", "-q", "-F"], "rw");
    let ends = [pair.source.text(), pair.target.text()];
    let reasons = ["would change while it is cloned", "mounted at"];
    let arguments = ["clone", ends[0], ends[1], "--yes", "--still", "refuse"];
    pair.klon.refused(&arguments, &reasons);
    // What would do nothing is not taken.
    let arguments = [&arguments[..], &["--snapshot-size", "10%"]].concat();
    let wrong = pair.klon.run(&arguments).expect(2);
    wrong.says(&["--snapshot-size is for"]);
}

#[test]
fn a_copy_without_any_rest_is_refused_with_the_reason() {
    let klon = crate::support::Klon::new();
    fs::write(klon.path("source"), [0; 4096]).unwrap();
    let wrong = klon.run(&["clone", "source", "target", "--still", "crash"]);
    let reasons = [
        "no crash-consistent copy",
        "--still snapshot",
        "--still freeze",
    ];
    wrong.expect(2).says(&reasons);
    assert!(!klon.path("target").exists());
}

#[test]
fn a_filesystem_without_a_journal_is_refused() {
    if lacks_root() {
        return;
    }
    let pair = Pair::new(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal"], "rw");
    fs::write(pair.at().join("file"), "text").unwrap();
    let arguments = ["clone", pair.source.text(), pair.target.text(), "--yes"];
    let reasons = ["can't be copied while it is mounted", "Unmount it first"];
    pair.klon.refused(&arguments, &reasons);
}

#[test]
fn a_live_clone_is_told_in_words_and_in_its_record() {
    if lacks_root() {
        return;
    }
    let pair = Pair::new(&["mkfs.ext4", "-q", "-F"], "rw");
    fs::write(pair.at().join("file"), "text").unwrap();
    let ends = [pair.source.text(), pair.target.text()];
    let outcome = pair.klon.ok(&["clone", ends[0], ends[1], "--yes"]);
    outcome.shows(&["frozen"]);
}
