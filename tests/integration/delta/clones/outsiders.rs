//! Who writes to a source and is no kernel: boot loaders with their own drivers, and klon itself.

use super::{Pair, WORD};
use crate::delta::changes::On;
use crate::support::image::sparse;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, lacks_root, run};
use std::fs;

/// As U-Boot writes a file: the same inode, the same length, and the same times as ever.
fn write_as_boot_loader(klon: &Klon, content: &str) {
    let source = klon.text("source");
    let edit = |command: &str| run("debugfs", &["-w", "-R", command, &source]);
    edit("rm uboot.env");
    edit(&format!("write \"{}\" uboot.env", klon.text(content)));
    for field in ["ctime", "mtime", "atime", "crtime"] {
        edit(&format!("sif uboot.env {field} 0"));
        edit(&format!("sif uboot.env {field}_extra 0"));
    }
}

#[test]
fn what_a_boot_loader_writes_without_a_clock_is_read() {
    for inode_bytes in ["128", "256"] {
        let klon = Klon::new();
        sparse(&klon.path("source"), 64 * MIB);
        sparse(&klon.path("target"), 64 * MIB);
        let source = klon.text("source");
        run("mkfs.ext4", &["-q", "-F", "-I", inode_bytes, &source]);
        for (name, mib) in [("before", 14), ("behind", 14)] {
            fs::write(klon.path(name), noise(mib, 14 << 20)).unwrap();
        }
        for (name, seed) in [("first", 1), ("second", 2)] {
            fs::write(klon.path(name), noise(seed, 300_000)).unwrap();
        }
        let put = |name: &str| {
            let command = format!("write \"{}\" {name}", klon.text(name));
            run("debugfs", &["-w", "-R", &command, &source]);
        };
        put("before");
        write_as_boot_loader(&klon, "first");
        put("behind");
        // The files of its own were written in the second of the clone.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        klon.ok(&["clone", "source", "target"]);
        write_as_boot_loader(&klon, "second");
        let outcome = klon.ok(&[
            "clone", "source", "target", WORD, "--audit", "none", "--json",
        ]);
        let done = outcome.last()["volumes"][0].take();
        assert_eq!(done["rung"], "metadata", "{done:#}");
        assert!(done["files_unchanged"].as_u64().unwrap() >= 2, "{done:#}");
        klon.ok(&["verify", "target", "source"]);
        let content = |device: &str| {
            let out = klon.path("out");
            let command = format!("dump uboot.env \"{}\"", klon.text("out"));
            run("debugfs", &["-R", &command, &klon.text(device)]);
            fs::read(out).unwrap()
        };
        assert!(content("target") == fs::read(klon.path("second")).unwrap());
    }
}

fn a_restore_is_no_secret(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(on);
    let klon = &pair.klon;
    klon.ok(&["image", "source", "image.klon"]);
    // A block decays, and the clone gets it.
    pair.write_past("still/20", MIB / 2 + 8192);
    klon.ok(&["clone", "source", "target", "--rung", "digest"]);
    let source = klon.text("source");
    klon.ok(&[
        "restore",
        "image.klon",
        "source",
        "--yes",
        "--confirm",
        &source,
    ]);
    let done = pair.by_digest(&[WORD], "klon itself wrote to the source");
    assert_eq!(done["changed_bytes"], 4096, "{done:#}");
    pair.assert_equal();
    pair.change("put f 8K 4K");
    pair.by_metadata(&[]);
    pair.assert_equal();
}

#[test]
fn a_restore_of_the_source_is_carried_to_its_clone_on_ext() {
    a_restore_is_no_secret(On::Ext);
}

#[test]
fn a_restore_of_the_source_is_carried_to_its_clone_on_xfs() {
    a_restore_is_no_secret(On::Xfs);
}
