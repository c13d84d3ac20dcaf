//! Clones that leave unread what did not change, through the program.

mod audits;
mod btrfs;
mod doubts;
mod outsiders;
mod parts;
mod power;

use super::changes::On;
use super::past;
use super::volumes::script;
use crate::support::image::{boot_disk, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, Mount, lacks_root, run, tree};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The user's word that no power cut came.
pub(super) const WORD: &str = "--assume-clean-since-record";

/// A source with files, which is cloned to a target.
pub(super) struct Pair {
    pub(super) klon: Klon,
    on: On,
}

impl Pair {
    /// A source that was cloned once.
    pub(super) fn cloned(on: On) -> Self {
        let pair = Self {
            klon: Klon::new(),
            on,
        };
        let source = pair.klon.text("source");
        sparse(&pair.klon.path("source"), 320 * MIB);
        match on {
            On::Xfs => run("mkfs.xfs", &["-q", &source]),
            On::Btrfs => run("mkfs.btrfs", &["-q", "-d", "dup", &source]),
            _ => run("mkfs.ext4", &["-q", "-F", "-b", "4096", &source]),
        };
        pair.change("mkdir still; for i in $(seq 40); do noise still/$i 1500K; done; noise f 2M");
        pair.clone(&[]);
        pair
    }

    /// Runs a script in the mounted source.
    pub(super) fn change(&self, text: &str) {
        let mount = Mount::new(self.klon.path("source"), &self.klon.path("mnt"), "loop");
        script(mount.path(), text);
    }

    /// Takes the source out of the page cache. What its filesystem has reserved and never written, as most of an XFS' log,
    /// is a hole of the file only as long as no page of it is cached, and a mount may have read it.
    fn forget_source(&self) {
        let source = format!("of={}", self.klon.text("source"));
        let flags = [
            "oflag=nocache",
            "conv=notrunc,fdatasync",
            "count=0",
            "status=none",
        ];
        run("dd", &[&[source.as_str()][..], &flags].concat());
    }

    /// Writes to the blocks of a file that stays as it is for its filesystem.
    pub(super) fn write_past(&self, name: &str, offset_bytes: u64) {
        let source = self.klon.path("source");
        let mount = Mount::new(&source, &self.klon.path("mnt"), "loop,ro");
        let inode = fs::metadata(mount.path().join(name)).unwrap().ino();
        drop(mount);
        past::write(&source, (inode, offset_bytes), name);
    }

    /// Clones, and gives what the run says of the volume.
    fn clone(&self, more: &[&str]) -> Value {
        let arguments = [&["clone", "source", "target"][..], more].concat();
        self.klon.json(&arguments)["volumes"][0].take()
    }

    /// Clones by metadata.
    pub(super) fn by_metadata(&self, more: &[&str]) -> Value {
        let done = self.clone(&[&[WORD][..], more].concat());
        assert_eq!(done["rung"], "metadata", "{done:#}");
        done
    }

    /// Clones by digests for a reason that has these words.
    fn by_digest(&self, more: &[&str], reason: &str) -> Value {
        let done = self.clone(more);
        assert_eq!(done["rung"], "digest", "{done:#}");
        let found = done["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{found:?}, not {reason:?}");
        assert_eq!(number(&done, "skipped_bytes"), 0, "{done:#}");
        done
    }

    /// The target is what the source is, and the filesystem's own tool likes it.
    fn assert_equal(&self) {
        self.klon.ok(&["verify", "target", "source"]);
        self.klon.ok(&["verify", "target"]);
        let target = self.klon.text("target");
        match self.on {
            On::Xfs => run("xfs_repair", &["-n", &target]),
            On::Btrfs => run("btrfs", &["check", "--check-data-csum", &target]),
            _ => run("e2fsck", &["-fn", &target]),
        };
    }

    /// The file beside the record.
    fn evidence(&self) -> PathBuf {
        let path = self.klon.only_record().with_extension("evidence");
        assert!(path.is_file(), "{path:?}");
        path
    }
}

fn repeats_are_cheap(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(on);
    for more in [&[][..], &["--in-place"], &["--rung", "metadata"]] {
        pair.change("put f 64K 20K; noise new 300K; rm -f still/7; mv still/9 moved || :");
        pair.forget_source();
        let done = pair.by_metadata(more);
        let [used, skipped, read] =
            ["used_bytes", "skipped_bytes", "read_source_bytes"].map(|key| number(&done, key));
        assert!(skipped >= 40 * MIB && skipped < used, "{done:#}");
        // Files of 2 MiB changed; of what is near them a chunk is read, and of metadata.
        assert!(read <= 16 * MIB, "{done:#}");
        assert!(number(&done, "changed_bytes") >= 20 << 10, "{done:#}");
        assert!(number(&done, "files_unchanged") >= 37, "{done:#}");
        assert!(number(&done, "files_changed") >= 1, "{done:#}");
        assert_eq!(done["audit"], "passed", "{done:#}");
        assert!(number(&done, "audited_bytes") > 0, "{done:#}");
        pair.assert_equal();
        let idle = pair.by_metadata(&["--audit", "none"]);
        assert_eq!(number(&idle, "changed_bytes"), 0, "{idle:#}");
        assert_eq!(idle["audit"], "none", "{idle:#}");
        assert_eq!(idle["files_unchanged"], idle["files_examined"], "{idle:#}");
    }
}

#[test]
fn a_repeated_clone_of_ext_reads_what_can_have_changed() {
    repeats_are_cheap(On::Ext);
}

#[test]
fn a_repeated_clone_of_xfs_reads_what_can_have_changed() {
    repeats_are_cheap(On::Xfs);
}

const OWNED: &str = r#"
head -c 3M /dev/urandom >swap; chmod 600 swap; mkswap -q swap 2>/dev/null
head -c 3M /dev/urandom >fixed; chattr +i fixed
{ echo '# GRUB Environment Block'; head -c 4000 /dev/zero | tr '\0' '#'; } >environment"#;

fn what_has_other_owners_is_always_read(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(on);
    pair.change(OWNED);
    for turn in 0..3 {
        let done = pair.by_metadata(&["--audit", "none"]);
        // The first time they are new.
        let always = if turn == 0 { 1 } else { 2 };
        assert!(number(&done, "files_always_read") >= always, "{done:#}");
        pair.klon.ok(&["verify", "target", "source"]);
        pair.write_past("swap", 2 * MIB + 8192 * turn);
        pair.write_past("fixed", MIB + 8192 * turn);
        pair.write_past("environment", 100);
    }
}

#[test]
fn swap_and_fixed_files_on_ext_are_always_read() {
    what_has_other_owners_is_always_read(On::Ext);
}

#[test]
fn swap_and_fixed_files_on_xfs_are_always_read() {
    what_has_other_owners_is_always_read(On::Xfs);
}

#[test]
fn a_dry_run_says_what_would_be_left_unread_and_explains_it() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Ext);
    pair.change("put f 64K 20K; noise large 5M");
    let record = fs::read(pair.klon.only_record()).unwrap();
    let evidence = fs::read(pair.evidence()).unwrap();
    let dry = [
        "clone",
        "source",
        "target",
        "--dry-run",
        WORD,
        "--explain",
        "--json",
    ];
    let lines = pair.klon.ok(&dry).lines();
    let [would, explained] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(
        (&would["event"], &would["rung"]),
        (&"preview".into(), &"metadata".into())
    );
    assert!(number(would, "skipped_bytes") >= 40 * MIB, "{would:#}");
    assert_eq!(explained["event"], "explained");
    let largest = &explained["largest"][0];
    assert_eq!(
        (&largest["path"], &largest["verdict"]),
        (&"/large".into(), &"new".into())
    );
    let text = pair.klon.ok(&dry[..6]);
    text.shows(&[
        "read whole: /large, 5 MiB: new",
        "always read: the filesystem's own",
    ]);
    assert!(fs::read(pair.klon.only_record()).unwrap() == record);
    assert!(fs::read(pair.evidence()).unwrap() == evidence);
    let names = fs::read_dir(pair.klon.records()).unwrap().count();
    assert_eq!(names, 2);
    let done = pair
        .klon
        .ok(&["clone", "source", "target", WORD, "--explain"]);
    done.shows(&[
        "proven unchanged",
        "rung metadata",
        "read whole: /f, 2 MiB: changed",
    ]);
    let done = pair.klon.ok(&["clone", "source", "target", "--explain"]);
    done.shows(&[
        "rung digest",
        "nothing shows that the power never failed",
        WORD,
    ]);
}

#[test]
fn the_volumes_of_a_group_each_take_their_rung() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    klon.ok(&["clone", "plan"]);
    let added = klon.text("added");
    fs::write(&added, tree::noise(5, MIB as usize)).unwrap();
    let script = format!("write \"{added}\" added\nset_super_value mtime now\n");
    fs::write(klon.path("script"), script).unwrap();
    let root = format!("{}?offset={}", klon.text("disk"), 36 * MIB);
    run("debugfs", &["-w", "-f", &klon.text("script"), &root]);
    for _ in 0..2 {
        let done = klon.json(&["clone", "plan", WORD]);
        assert_eq!(done["rung"], "compare+metadata", "{done:#}");
        klon.ok(&["verify", "plan", "--against-source"]);
    }
}
