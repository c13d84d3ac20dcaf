//! FAT volumes that the kernel had mounted when its machine was switched off: golden images, because
//! FAT is not in every kernel.

use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, run, tool};
use std::fs::{self, File};
use std::path::Path;

/// What `yes N | head -c N*900` prints, as scripts/images/guest/fat-busy has it.
fn content(number: usize) -> Vec<u8> {
    let line = format!("{number}\n");
    line.bytes().cycle().take(number * 900).collect()
}

#[test]
fn a_fat_volume_in_use_is_copied_whole_and_has_all_that_was_synced() {
    for name in ["fat16-busy", "fat32-busy"] {
        let klon = Klon::new();
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        let packed = File::open(images.join(format!("{name}.img.zst"))).unwrap();
        let volume = zstd::decode_all(packed).unwrap();
        fs::write(klon.path("source"), &volume).unwrap();
        fs::write(klon.path("target"), noise(3, volume.len())).unwrap();
        let clone = ["clone", "source", "target", "--yes", "--confirm", "target"];
        let strict = [&clone[..], &["--strict"]].concat();
        klon.refused(&strict, &["--strict", "not cleanly unmounted"]);
        let outcome = klon.ok(&[&clone[..], &["--json"]].concat());
        outcome.says(&["warning", "not cleanly unmounted", "copies all of it"]);
        assert_eq!(number(&outcome.last(), "used_bytes"), volume.len() as u64);
        assert!(fs::read(klon.path("target")).unwrap() == volume, "{name}");
        // FAT has no recovery but that of its checker, which says 1 for what it has corrected.
        let checked = tool::output("fsck.fat", &["-a", &klon.text("target")]);
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        run("fsck.fat", &["-n", &klon.text("target")]);
        for file in 1..=30 {
            let path = format!("::/kept/kept file {file}");
            let copy = klon.text("copy");
            run("mcopy", &["-n", "-i", &klon.text("target"), &path, &copy]);
            assert!(fs::read(&copy).unwrap() == content(file), "{name}: {path}");
        }
        assert!(klon.json(&["map", "target"])["whole_because"].is_null());
    }
}
