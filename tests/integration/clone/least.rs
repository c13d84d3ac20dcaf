//! `klon map --minimum`: how small clones could be, by the tools that would make them so.

use crate::support::image::{ext4, put, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, lacks_root, run};

#[test]
fn the_least_sizes_are_those_that_the_tools_say() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    let blocks = run("resize2fs", &["-P", &klon.text("data")]);
    let blocks: u64 = blocks.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let before = run("sha256sum", &[&klon.text("data")]);
    let answer = klon.json(&["map", "data", "--minimum"]);
    assert_eq!(run("sha256sum", &[&klon.text("data")]), before);
    let least = &answer["minimum"][0];
    let block_bytes = number(&answer, "block_size_bytes");
    assert_eq!(
        number(least, "shrink_bytes"),
        blocks * block_bytes,
        "{least}"
    );
    assert_eq!(
        (&least["shrink_by"], number(least, "trim_bytes")),
        (&"resize2fs".into(), 40 * MIB)
    );
    assert!(number(least, "last_used_bytes") <= 40 * MIB);
    klon.ok(&["map", "data", "--minimum"])
        .shows(&["least size as it is: 40 MiB", "(by resize2fs"]);
    assert!(klon.json(&["map", "data"])["minimum"].is_null());
    sparse(&klon.path("none"), 8 * MIB);
    let least = klon.json(&["map", "none", "--minimum"])["minimum"][0].clone();
    assert!(least["shrink_bytes"].is_null() && least["shrink_unknown_because"].is_string());
    if lacks_root() {
        return;
    }
    // NTFS, in a partition of a disk.
    sparse(&klon.path("ntfs"), 40 * MIB);
    run("mkfs.ntfs", &["-F", "-Q", "-q", &klon.text("ntfs")]);
    let said = run(
        "ntfsresize",
        &["--info", "--no-progress-bar", &klon.text("ntfs")],
    );
    sparse(&klon.path("disk"), 100 * MIB);
    run("sgdisk", &["-n", "1:2048:83967", &klon.text("disk")]);
    put(&klon.path("ntfs"), &klon.path("disk"), MIB);
    let least = klon.json(&["map", "disk", "--minimum"])["minimum"][0].clone();
    let bytes = number(&least, "shrink_bytes");
    assert!(
        said.contains(&format!("You might resize at {bytes} bytes")),
        "{least} {said}"
    );
    assert_eq!(least["partition"], 1);
}

#[test]
fn what_klon_copies_whole_has_no_smaller_size() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 40, 4);
    // It says that it has errors.
    run("debugfs", &["-w", "-R", "ssv state 2", &klon.text("data")]);
    let least = klon.json(&["map", "data", "--minimum"])["minimum"][0].clone();
    assert!(least["shrink_bytes"].is_null(), "{least}");
    let why = least["shrink_unknown_because"].as_str().unwrap();
    assert!(why.contains("klon copies all of it"), "{why}");
}
