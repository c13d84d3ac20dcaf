//! Mounted volumes of LVM, cloned and imaged from snapshots, on a real kernel that has them.

use crate::support::{Klon, MIB, image, lacks_root, run};
use std::fs;
use std::path::Path;

/// Each attempt follows a line `-- name`.
const SCRIPT: &str = include_str!("lvm.sh");

/// What attempts must say, and how they end.
const EXPECTED: &[(&str, &str, &str)] = &[
    (
        "a thick volume",
        "is read from its snapshot vg/klon-",
        "code 0",
    ),
    ("check of thick", "", "code 0"),
    ("file of thick", "", "code 0"),
    // The record is that of the volume, whatever its snapshot was called.
    (
        "a thick volume again",
        "compared with the record of the last clone",
        "code 0",
    ),
    (
        "a thick volume again",
        "\"consistency\":\"snapshot\"",
        "code 0",
    ),
    ("a dry run", "--dry-run makes no snapshot", "code 0"),
    ("too large", "a snapshot needs 50 GiB", "code 3"),
    ("frozen instead", "is frozen for moments", "code 0"),
    ("frozen instead", "a snapshot needs 50 GiB", "code 0"),
    ("check of the frozen one", "", "code 0"),
    ("file of the frozen one", "", "code 0"),
    ("frozen when asked", "\"consistency\":\"frozen\"", "code 0"),
    ("hooks", "hook with 0 of /mnt/m", "code 0"),
    ("hooks", "hook with 1 of /mnt/m", "code 0"),
    ("a hook that fails", "nothing was frozen", "code 3"),
    (
        "an image is frozen, too",
        "\"consistency\":\"frozen\"",
        "code 0",
    ),
    (
        "by no snapshot",
        "would change while it is cloned",
        "code 3",
    ),
    ("left over 1", "0\n", ""),
    (
        "the run alone was killed",
        "without removing its snapshot",
        "",
    ),
    ("both were killed", "1\n", ""),
    (
        "the next run",
        "was left behind by a run that was killed; klon removed it",
        "",
    ),
    (
        "more than it had room for",
        "was full before everything was read",
        "code 3",
    ),
    ("left over 2", "0\n", ""),
    (
        "a thin volume",
        "thin, so it needs no room of its own",
        "code 0",
    ),
    ("check of thin", "", "code 0"),
    ("file of thin", "", "code 0"),
    (
        "a volume that is not mounted",
        "is read from its snapshot",
        "code 0",
    ),
    (
        "no volume of LVM",
        "it is no logical volume of LVM",
        "code 3",
    ),
    ("left over 3", "0\n", ""),
];

#[test]
fn mounted_volumes_of_lvm_are_read_from_snapshots() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("a"), 300 * MIB);
    image::sparse(&klon.path("b"), 100 * MIB);
    fs::write(klon.path("script"), SCRIPT).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guest");
    let modules = "dm-mod dm-snapshot dm-thin-pool ext4";
    let mut arguments = vec!["--modules", modules, "--with", env!("CARGO_BIN_EXE_klon")];
    for tool in ["lvm", "mke2fs", "e2fsck"] {
        arguments.extend(["--with", tool]);
    }
    let files = ["script", "a", "b"].map(|name| klon.text(name));
    arguments.extend(files.iter().map(String::as_str));
    let said = run(program.to_str().unwrap(), &arguments);
    for (name, reason, end) in EXPECTED {
        let mut attempts = said.split("-- ").filter_map(|text| text.split_once('\n'));
        let attempt = attempts.find(|(found, _)| found == name);
        let (_, attempt) = attempt.unwrap_or_else(|| panic!("{name:?} is not in\n{said}"));
        let is_told = attempt.contains(reason) && attempt.trim_end().ends_with(end);
        assert!(is_told, "{name}: {attempt}\nin\n{said}");
    }
}
