//! The way back from a clone that was given more room, on a drive that held something before.

use super::{resize, write_at};
use crate::support::image::{ext4, sparse};
use crate::support::{Klon, MIB, run};

#[test]
fn what_was_on_a_drive_before_is_no_part_of_a_clone_that_goes_back() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 24, 4);
    resize(&klon.path("data"), 28 * MIB);
    write_at(&klon.path("data"), 26 * MIB, b"tail");
    std::fs::write(klon.path("drive"), vec![0x5a; 200 << 20]).unwrap();
    let plan = [
        &["plan", "--drive", "drive", "--replace-table", "Master=data"][..],
        &["--size", "Master=grow", "-o", "plan"],
    ]
    .concat();
    klon.ok(&plan);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan"]);
    sparse(&klon.path("back"), 28 * MIB);
    klon.ok(&["clone", "drive:1", "back"])
        .says(&["is no part of the clone"]);
    klon.ok(&["verify", "back", "data"]);
    let back = std::fs::read(klon.path("back")).unwrap();
    assert_eq!(&back[26 << 20..(26 << 20) + 4], b"tail");
    run("e2fsck", &["-fn", &klon.text("back")]);
    // Less than the clone itself is no target, and without its record nothing shows where it ends.
    sparse(&klon.path("less"), 25 * MIB);
    klon.refused(&["clone", "drive:1", "less"], &["--outside none"]);
    std::fs::remove_dir_all(klon.records()).unwrap();
    sparse(&klon.path("other"), 28 * MIB);
    klon.refused(&["clone", "drive:1", "other"], &["--outside none"]);
}
