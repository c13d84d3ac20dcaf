//! What lies behind the end of a filesystem of any kind is copied.

use crate::support::Klon;
use crate::support::image::{golden, read_range};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// Room that each volume gets behind its end.
const TAIL_BYTES: u64 = 3 << 20;

/// One of each kind that klon has a map of.
const KINDS: [&str; 15] = [
    "apfs",
    "btrfs",
    "erofs",
    "exfat",
    "ext2",
    "ext4-plain",
    "fat12-floppy",
    "fat32-esp",
    "f2fs",
    "hfsplus",
    "lvm2",
    "ntfs",
    "squashfs",
    "swap",
    "xfs",
];

#[test]
fn of_every_kind_of_filesystem() {
    let directory = format!("{}/images", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".img.zst").map(str::to_owned))
        .collect();
    names.sort();
    names.retain(|name| KINDS.contains(&name.as_str()));
    assert_eq!(names.len(), KINDS.len(), "{names:?}");
    let klon = Klon::new();
    let mut wrong = Vec::new();
    for name in &names {
        let (volume, target) = (klon.path("volume"), klon.path("target"));
        golden(name, &volume);
        let file = OpenOptions::new().write(true).open(&volume).unwrap();
        let end_bytes = file.metadata().unwrap().len();
        file.set_len(end_bytes + TAIL_BYTES).unwrap();
        for at in [0, 70_001, TAIL_BYTES / 2, TAIL_BYTES - 1] {
            file.write_all_at(b"X", end_bytes + at).unwrap();
        }
        klon.run(&["clone", "volume", "target", "--outside", "all"])
            .expect(0);
        let tail = |path| read_range(path, end_bytes, TAIL_BYTES);
        if tail(&volume) != tail(&target) {
            wrong.push(name.as_str());
        }
        fs::remove_file(&target).unwrap();
        fs::remove_dir_all(klon.records()).unwrap();
    }
    assert!(wrong.is_empty(), "lost behind the end of: {wrong:?}");
}
