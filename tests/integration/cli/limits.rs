//! Limits, full and read-only filesystems: errors like others, with what helps, and nothing useless is
//! left behind.

use crate::support::image::{ext4, flip, sparse};
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

const HELP: [&str; 2] = ["ulimit -f", "File too large"];

#[test]
fn a_limit_on_file_sizes_is_an_error_like_others() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 100, 60);
    ext4(&klon.path("small"), 24, 1);
    klon.ok(&["image", "source", "x.klon"]);
    klon.ok(&["image", "small", "y.klon"]);
    let (raw, packed) = (klon.text("source"), klon.text("s.zst"));
    run("zstd", &["-q", &raw, "-o", &packed]);
    let limited = |command: &str| {
        let run = klon.shell(&format!("ulimit -f 30000; $K {command}"));
        let run = run.expect(4);
        run.says(&HELP);
        assert!(
            !run.stderr
                .to_lowercase()
                .contains("run the same command again"),
            "{}",
            run.stderr
        );
        run
    };
    for (command, word) in [
        ("export x.klon out.raw", "qcow2"),
        ("export x.klon out.qcow2", "limit"),
        ("extract x.klon out.range --range 0+90M", "limit"),
        ("clone source out.clone", "limit"),
        ("restore x.klon out.restored", "limit"),
        ("image source out.klon", "--split 4G"),
        ("import s.zst out.imported", "limit"),
        ("prune x.klon --compact --yes", "limit"),
    ] {
        limited(command).says(&[word]);
        assert!(
            klon.names("out").is_empty(),
            "{command}: {:?}",
            klon.names("out")
        );
        assert!(klon.names(".klon-").is_empty(), "{command}");
    }
    limited("image source y.klon").says(&["The snapshots that y.klon had are as they were"]);
    klon.ok(&["verify", "y.klon", "small"]);
    klon.ok(&["verify", "x.klon", "source"]);
    // What helps does help.
    klon.shell("ulimit -f 30000; $K image source out.klon --split 16M")
        .expect(0);
    klon.ok(&["verify", "out.klon", "source"]);
}

/// A small filesystem, unmounted before its device goes.
struct Filled {
    mount: Mount,
    _device: LoopDevice,
}

impl Filled {
    /// As full as it gets but for `free_kib`.
    fn new(klon: &Klon, free_kib: usize) -> Self {
        sparse(&klon.path("disk"), 48 * MIB);
        let disk = klon.text("disk");
        run("mke2fs", &["-q", "-t", "ext4", "-m", "0", &disk]);
        let device = LoopDevice::new(&klon.path("disk"), 512);
        let filled = Self {
            mount: Mount::new(device.text(), &klon.path("mnt"), "rw"),
            _device: device,
        };
        let free = filled.path("free");
        fs::write(&free, noise(3, free_kib << 10)).unwrap();
        filled.fill();
        fs::remove_file(free).unwrap();
        filled
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    /// Until nothing fits any more.
    fn fill(&self) {
        let mut file = File::options();
        let file = file.create(true).append(true).open(self.path("fill"));
        let mut file = file.unwrap();
        for len in [1 << 16, 1 << 10] {
            while file
                .write_all(&vec![1; len])
                .and_then(|()| file.sync_all())
                .is_ok()
            {}
        }
    }

    fn names(&self) -> Vec<OsString> {
        let entries = fs::read_dir(self.mount.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }
}

#[test]
fn a_full_filesystem_says_what_helps_and_what_is_left() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 30);
    let (raw, packed) = (klon.text("source"), klon.text("s.zst"));
    run("zstd", &["-q", &raw, "-o", &packed]);
    klon.ok(&["image", "source", "x.klon"]);
    let filled = Filled::new(&klon, 8 << 10);
    let before = filled.names();
    let full = |command: &[&str], words: &[&str]| {
        let run = klon.run(command).expect(4);
        run.says(&["is full", "Make room there"]);
        run.says(words);
    };
    full(
        &["import", "s.zst", "mnt/i.klon"],
        &["There is no new image mnt/i.klon"],
    );
    assert_eq!(filled.names(), before);
    full(&["export", "x.klon", "mnt/out"], &[]);
    assert_eq!(filled.names(), before);
    full(
        &["clone", "source", "mnt/target"],
        &["marked as unfinished"],
    );
    fs::remove_file(filled.path("target")).unwrap();
    full(
        &["image", "source", "mnt/i.klon"],
        &["does not write them again", "remove mnt/i.klon"],
    );
    // With room, what is there is gone on with.
    fs::remove_file(filled.path("fill")).unwrap();
    klon.ok(&["image", "source", "mnt/i.klon"]);
    klon.ok(&["verify", "mnt/i.klon", "source"]);
}

#[test]
fn a_rescue_onto_a_full_filesystem_keeps_what_it_has_read() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 30);
    let filled = Filled::new(&klon, 8 << 10);
    let rescue = ["clone", "--rescue", "source", "mnt/target"];
    klon.run(&rescue).expect(4).says(&[
        "klon keeps what it has read",
        "is full",
        "Make room there",
        "goes on from there",
    ]);
    // The half target is no clone yet.
    klon.run(&["verify", "mnt/target", "source"]).expect(3);
    fs::remove_file(filled.path("fill")).unwrap();
    klon.ok(&rescue);
    klon.ok(&["verify", "mnt/target", "source"]);
    run("e2fsck", &["-fn", filled.path("target").to_str().unwrap()]);
}

#[test]
fn a_prune_on_a_full_filesystem_says_what_it_needs() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 6);
    let filled = Filled::new(&klon, 16 << 10);
    for at in 0..3 {
        flip(&klon.path("source"), 20 * MIB + at * 4096);
        klon.ok(&["image", "source", "mnt/i.klon"]);
    }
    filled.fill();
    let prune = ["prune", "mnt/i.klon", "--keep-last", "1", "--yes"];
    klon.refused(
        &prune,
        &["first writes a new catalog", "8 KiB", "Nothing was changed"],
    );
    klon.ok(&["verify", "mnt/i.klon", "source"]);
    // What it says is enough.
    let fill = File::options()
        .write(true)
        .open(filled.path("fill"))
        .unwrap();
    let len = fill.metadata().unwrap().len();
    fill.set_len(len - (16 << 10)).unwrap();
    fill.sync_all().unwrap();
    klon.ok(&prune);
    klon.ok(&["verify", "mnt/i.klon", "source"]);
}

#[test]
fn a_read_only_filesystem_is_named() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 1);
    klon.ok(&["image", "source", "x.klon"]);
    sparse(&klon.path("drive"), 100 * MIB);
    let filled = Filled::new(&klon, 8 << 10);
    run(
        "mount",
        &["-o", "remount,ro", filled.mount.path().to_str().unwrap()],
    );
    for command in [
        &["image", "source", "mnt/i.klon"][..],
        &["image", "source", "mnt/i.klon", "--split", "1M"],
        &["export", "x.klon", "mnt/out"],
        &["clone", "source", "mnt/out"],
        &["plan", "--drive", "drive", "A=source", "-o", "mnt/plan"],
    ] {
        let run = klon.run(command);
        assert_ne!(run.code, 0, "{command:?}");
        run.says(&["read-only", "Mount it for writing"]);
    }
}
