//! The description of the file is enough to read it: a reader that was made from it alone.

use crate::support::image::boot_disk;
use crate::support::{Klon, run};
use std::fs;

#[test]
fn a_reader_made_from_the_description_reads_every_snapshot() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["image", "disk", "i.klon"]);
    let first = fs::read(klon.path("disk")).unwrap();
    let volume = format!("{}?offset={}", klon.text("disk"), 36 << 20);
    run("debugfs", &["-w", "-R", "mkdir /new", &volume]);
    klon.ok(&["image", "disk", "i.klon"]);
    let second = fs::read(klon.path("disk")).unwrap();
    let reader = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/images/reader.py"
    );
    for (number, expected) in [("1", first), ("2", second)] {
        let (image, out) = (klon.text("i.klon"), klon.text("raw"));
        run("python3", &[reader, &image, number, &out]);
        // What was not in use is zero on this disk, which was made so.
        assert!(fs::read(klon.path("raw")).unwrap() == expected, "{number}");
    }
}
