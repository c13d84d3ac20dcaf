//! Clones with an identity of their own, mounted beside their originals; needs root.

use crate::support::image::sparse;
use crate::support::klon::number;
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run, tree};
use std::fs;

/// The user's word that no power cut came.
const WORD: &str = "--assume-clean-since-record";

const KINDS: [(&str, &str); 3] = [
    ("ext4", "e2fsck -fn \"$0\""),
    ("xfs", "xfs_repair -n \"$0\""),
    ("btrfs", "btrfs check --check-data-csum \"$0\""),
];

fn uuid(path: &str) -> String {
    run("blkid", &["-p", "-o", "value", "-s", "UUID", path])
}

#[test]
fn a_clone_is_mounted_beside_its_original_and_repeated_by_what_changed() {
    if lacks_root() {
        return;
    }
    for (kind, check) in KINDS {
        println!("-- {kind}");
        let klon = Klon::new();
        for file in ["source", "clone"] {
            sparse(&klon.path(file), 320 * MIB);
        }
        run(&format!("mkfs.{kind}"), &["-q", &klon.text("source")]);
        let source = LoopDevice::new(&klon.path("source"), 512);
        let clone = LoopDevice::new(&klon.path("clone"), 512);
        let (here, there) = (klon.path("here"), klon.path("there"));
        let mount = Mount::new(source.path(), &here, "rw");
        fs::create_dir(here.join("etc")).unwrap();
        // Longer than what any of them keeps beside its metadata.
        let rest = "# nothing\n".repeat(1000);
        let fstab = format!(
            "UUID={} / {kind} defaults 0 0\n{rest}",
            uuid(source.text()).trim()
        );
        fs::write(here.join("etc/fstab"), &fstab).unwrap();
        for name in 0..20 {
            fs::write(here.join(format!("{name}")), tree::noise(name, 1 << 20)).unwrap();
        }
        drop(mount);
        let pair = ["clone", source.text(), clone.text()];
        klon.ok(&[&pair[..], &["--identity", "new"]].concat());
        let own = uuid(clone.text());
        assert_ne!(own, uuid(source.text()));
        let options = match kind {
            // What it recovers, and be it nothing, it notes in its log.
            "xfs" => "ro,norecovery",
            _ => "ro",
        };
        beside([&source, &clone], [&here, &there], options);
        run("sh", &["-ec", check, clone.text()]);

        // The clone was mounted for reading alone, so the record holds.
        let mount = Mount::new(source.path(), &here, "rw");
        fs::write(here.join("7"), tree::noise(77, 1 << 20)).unwrap();
        drop(mount);
        let done = klon.json(&[&pair[..], &[WORD]].concat());
        let done = &done["volumes"][0];
        assert_eq!(done["rung"], "metadata", "{done:#}");
        assert!(number(done, "read_source_bytes") < 200 * MIB, "{done:#}");
        assert!(number(done, "changed_bytes") < 8 * MIB, "{done:#}");
        assert_eq!(uuid(clone.text()), own);
        klon.ok(&["verify", clone.text()]);
        klon.ok(&["verify", clone.text(), source.text()]);
        beside([&source, &clone], [&here, &there], options);
        let mount = Mount::new(clone.path(), &there, options);
        let found = fs::read_to_string(there.join("etc/fstab")).unwrap();
        drop(mount);
        if kind != "btrfs" {
            assert_eq!(found, fstab.replace(uuid(source.text()).trim(), own.trim()));
        } else {
            // klon says that it can't look into its files.
            assert_eq!(found, fstab);
        }
        run("sh", &["-ec", check, clone.text()]);
    }
}

/// Mounts both at the same time, and compares all files but the one that names them.
fn beside(devices: [&LoopDevice; 2], at: [&std::path::Path; 2], options: &str) {
    let _one = Mount::new(devices[0].path(), at[0], options);
    let _other = Mount::new(devices[1].path(), at[1], options);
    let (one, other) = (at[0].to_str().unwrap(), at[1].to_str().unwrap());
    run("diff", &["-r", "--exclude=fstab", one, other]);
}
