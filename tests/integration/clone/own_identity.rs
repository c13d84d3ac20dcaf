//! Clones with an identity of their own, against what other tools say of them.

mod disks;

use crate::support::image::{ext4, sparse};
use crate::support::klon::number;
use crate::support::tool::{output, signal};
use crate::support::{Klon, MIB, run};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// A kind of volume, how it is made and checked (`$0` is its file), and how many of its bytes may differ.
struct Kind {
    name: &'static str,
    make: &'static str,
    check: &'static str,
    differing_max: usize,
}

const KINDS: [Kind; 12] = [
    Kind {
        name: "ext4",
        make: "mkfs.ext4 -q -F -O ^metadata_csum_seed -d /etc/ssl \"$0\"",
        check: "e2fsck -fn \"$0\"",
        differing_max: 500,
    },
    Kind {
        name: "ext4 with a seed",
        make: "mkfs.ext4 -q -F -O metadata_csum_seed -d /etc/ssl \"$0\"",
        check: "e2fsck -fn \"$0\"",
        differing_max: 400,
    },
    Kind {
        name: "ext4 with blocks of 1 KiB",
        make: "mkfs.ext4 -q -F -b 1024 -O metadata_csum -d /etc/ssl \"$0\"",
        check: "e2fsck -fn \"$0\"",
        differing_max: 1000,
    },
    Kind {
        name: "ext4 with checksums of descriptors alone",
        make: "mkfs.ext4 -q -F -O ^metadata_csum,uninit_bg -d /etc/ssl \"$0\"",
        check: "e2fsck -fn \"$0\"",
        differing_max: 1000,
    },
    Kind {
        name: "ext3",
        make: "mkfs.ext3 -q -F -d /etc/ssl \"$0\"",
        check: "e2fsck -fn \"$0\"",
        differing_max: 400,
    },
    Kind {
        name: "xfs",
        make: "mkfs.xfs -q \"$0\"",
        check: "xfs_repair -n \"$0\" && ! xfs_logprint -t \"$0\" 2>&1 | grep -i mismatch",
        differing_max: 400,
    },
    Kind {
        name: "btrfs",
        make: "mkfs.btrfs -q -r /etc/ssl \"$0\"",
        check: "btrfs check --check-data-csum \"$0\"",
        differing_max: 150,
    },
    Kind {
        name: "fat16",
        make: "mkfs.fat -F 16 \"$0\"",
        check: "fsck.fat -n \"$0\"",
        differing_max: 4,
    },
    Kind {
        name: "fat32",
        make: "mkfs.fat -F 32 \"$0\"",
        check: "fsck.fat -n \"$0\"",
        differing_max: 8,
    },
    Kind {
        name: "exfat",
        make: "mkfs.exfat \"$0\"",
        check: "fsck.exfat -n \"$0\"",
        differing_max: 2 * (4 + 512),
    },
    Kind {
        name: "ntfs",
        make: "mkntfs -q -F -f -s 512 \"$0\"",
        check: "ntfsfix -n \"$0\" && ntfsinfo -m \"$0\"",
        differing_max: 16,
    },
    Kind {
        name: "swap",
        make: "mkswap \"$0\"",
        check: "blkid -p -o value -s TYPE \"$0\" | grep swap",
        differing_max: 16,
    },
];

impl Kind {
    /// A little more than the least that its tool makes.
    fn size_mib(&self) -> u64 {
        match self.name {
            "xfs" => 320,
            "btrfs" => 130,
            _ => 80,
        }
    }
}

fn shell(line: &str, path: &str) -> String {
    run("sh", &["-ec", line, path])
}

fn uuid(path: &str) -> String {
    let found = run("blkid", &["-p", "-o", "value", "-s", "UUID", path]);
    found.trim().to_owned()
}

fn digest(path: &Path) -> String {
    let text = run("sha256sum", &[path.to_str().unwrap()]);
    text.split(' ').next().unwrap().to_owned()
}

/// How many bytes differ where the source has something in use. What is free is not copied, and zero on the clone.
fn differing(klon: &Klon) -> usize {
    let line = "cmp -l source clone | awk '$3 != 0' | wc -l";
    let directory = klon.directory().to_str().unwrap();
    let counted = run("sh", &["-c", &format!("cd '{directory}' && {line}")]);
    counted.trim().parse().unwrap()
}

#[test]
fn every_kind_of_volume_gets_an_identity_of_its_own_and_keeps_it() {
    for kind in KINDS {
        println!("-- {}", kind.name);
        let klon = Klon::new();
        sparse(&klon.path("source"), kind.size_mib() * MIB);
        shell(kind.make, &klon.text("source"));
        let (before, old) = (digest(&klon.path("source")), uuid(&klon.text("source")));
        klon.ok(&["clone", "source", "clone", "--identity", "new"])
            .says(&["has an identity of its own", &old]);
        let own = uuid(&klon.text("clone"));
        assert_ne!(own, old);
        assert_eq!(own.len(), old.len());
        shell(kind.check, &klon.text("clone"));
        let differ = differing(&klon);
        assert!((1..=kind.differing_max).contains(&differ), "{differ}");
        klon.ok(&["verify", "clone"]);
        klon.ok(&["verify", "clone", "source"]);
        klon.ok(&["verify", "clone", "--against-source"]);
        // Again: nothing is asked, nothing changes, and the clone stays what it is.
        let again = klon.json(&["clone", "source", "clone"]);
        assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
        assert_eq!(uuid(&klon.text("clone")), own);
        let again = klon.json(&["clone", "source", "clone", "--rung", "compare"]);
        assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
        assert_eq!(digest(&klon.path("source")), before);
        // And back to what the source has.
        let clone = klon.text("clone");
        let consent = ["--identity", "keep", "--yes", "--confirm", &clone];
        klon.ok(&[&["clone", "source", "clone"][..], &consent].concat());
        assert_eq!((uuid(&klon.text("clone")), differing(&klon)), (old, 0));
    }
}

#[test]
fn what_can_not_have_an_identity_of_its_own_is_refused_by_name() {
    let klon = Klon::new();
    sparse(&klon.path("luks"), 32 * MIB);
    let format = [
        "-q",
        "luksFormat",
        "--type",
        "luks1",
        "--iter-time",
        "1",
        "--key-file",
        "key",
    ];
    fs::write(klon.path("key"), "secret").unwrap();
    let line = format!("cryptsetup {} luks", format.join(" "));
    let made = output(
        "sh",
        &[
            "-ec",
            &format!("cd {} && {line}", klon.directory().to_str().unwrap()),
        ],
    );
    assert!(made.status.success(), "{made:?}");
    klon.refused(
        &["clone", "luks", "clone", "--identity", "new"],
        &["luks", "Nothing was written"],
    );
    assert!(!klon.path("clone").exists());
    // A journal that awaits recovery has copies of the superblock.
    ext4(&klon.path("dirty"), 40, 1);
    run(
        "debugfs",
        &["-w", "-R", "feature needs_recovery", &klon.text("dirty")],
    );
    klon.refused(
        &[
            "clone",
            "dirty",
            "clone",
            "--identity",
            "new",
            "--replay",
            "never",
        ],
        &["needs journal recovery", "Nothing was written"],
    );
    assert!(!klon.path("clone").exists());
    ext4(&klon.path("source"), 40, 1);
    klon.ok(&["image", "source", "i.klon"]);
    klon.refused(
        &["clone", "i.klon", "clone", "--identity", "new"],
        &["is in an image"],
    );
    klon.ok(&["clone", "source", "clone", "--identity", "new"]);
    klon.refused(
        &["clone", "source", "clone", "--rescue"],
        &["to another target"],
    );
}

#[test]
fn a_run_that_is_killed_is_gone_on_with_under_the_same_identity() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 300, 120);
    let mut own = None;
    for round in 0..12_u64 {
        let arguments = [
            "clone",
            "source",
            "clone",
            "--identity",
            "new",
            "--in-place",
            "--quiet",
            "--rung",
            "full",
        ];
        let mut command = klon.command(&arguments[..if round < 6 { 9 } else { 7 }]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(20 + round * 37 % 200));
        signal(&child, Signal::SIGKILL);
        child.wait().unwrap();
        if round % 3 != 2 {
            continue;
        }
        // Without the option, once there is a record, and with it before.
        let more: &[&str] = match own {
            None => &["--identity", "new"],
            Some(_) => &[],
        };
        klon.ok(&[&["clone", "source", "clone"][..], more].concat());
        let found = uuid(&klon.text("clone"));
        assert_ne!(found, uuid(&klon.text("source")));
        assert_eq!(*own.get_or_insert_with(|| found.clone()), found);
        run("e2fsck", &["-fn", &klon.text("clone")]);
        klon.ok(&["verify", "clone", "--against-source"]);
    }
}
