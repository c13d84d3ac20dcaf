//! Comparisons with volumes that are mounted for writing; needs root.

use super::Pair;
use crate::support::tree::noise;
use crate::support::{lacks_root, run};
use std::fs;

/// Something is written to a volume after it was cloned and imaged.
fn pair() -> Pair {
    let pair = Pair::new(&["mkfs.ext4", "-q", "-F"], "rw");
    fs::write(pair.at().join("same"), noise(1, 3 << 20)).unwrap();
    run("sync", &["-f", pair.at().to_str().unwrap()]);
    pair
}

#[test]
fn a_clone_is_compared_with_its_mounted_source_at_rest_or_while_it_goes_on() {
    if lacks_root() {
        return;
    }
    let pair = pair();
    let ends = [pair.source.text(), pair.target.text()];
    pair.klon.ok(&["clone", ends[0], ends[1], "--yes"]);
    let told = pair.klon.ok(&["verify", ends[1]]);
    told.shows(&["equal to its record (its source was mounted, and frozen)"]);
    pair.klon
        .ok(&["devices", ends[1]])
        .shows(&["clone of", "mounted, and frozen"]);
    // Nothing was written since but what a mount writes, so what is in use of files is equal.
    fs::write(pair.at().join("later"), noise(2, 1 << 20)).unwrap();
    let verify = ["verify", ends[1], "--against-source", "--json"];
    let verified = pair.klon.run(&verify).expect(1).last();
    assert_eq!(verified["consistency"], "frozen", "{verified}");
    assert_eq!(verified["is_in_use"], serde_json::Value::Null, "{verified}");
    let files = verified["files"].to_string();
    assert!(!files.contains("same"), "{verified}");
    let arguments = [
        &verify[..3],
        &["--freeze-max", "300ms", "--still", "freeze"],
    ]
    .concat();
    let outcome = pair.klon.run(&arguments).expect(1);
    outcome.shows(&["DIFFERENT"]);
}

#[test]
fn a_mounted_volume_is_compared_with_a_snapshot_of_it() {
    if lacks_root() {
        return;
    }
    let pair = pair();
    let source = pair.source.text();
    pair.klon.ok(&["image", source, "x.klon"]);
    fs::write(pair.at().join("later"), noise(2, 1 << 20)).unwrap();
    let diff = pair.klon.run(&["diff", "x.klon", source]).expect(1);
    diff.shows(&["/later"]);
    diff.says(&["is mounted, and was compared while it is written to"]);
    assert!(!diff.stdout.contains("/same"), "{}", diff.stdout);
    let verified = pair.klon.run(&["verify", "x.klon", source]).expect(1);
    verified.says(&["is mounted, and was compared while it is written to"]);
    let line = pair
        .klon
        .run(&["diff", "x.klon", source, "--json"])
        .expect(1)
        .last();
    assert_eq!(line["is_in_use"], true, "{line}");
}
