//! Power cuts on the source between two clones. Of an overwrite that was synced without its metadata, the
//! new data can be on the disk under the old inode, and then nothing on the disk tells.

use super::{Pair, WORD};
use crate::delta::changes::On;
use crate::delta::volumes::script;
use crate::support::klon::number;
use crate::support::{Klon, Mount, Outcome, lacks_root};
use serde_json::Value;
use std::fs;

/// Overwrites a block of a file; its data alone is durable.
const DATA: &str = "head -c 4K /dev/urandom |
    dd of=f bs=4K iflag=fullblock seek=16 conv=notrunc,fdatasync status=none";
/// The same, and its inode is durable too.
const ALL: &str = "head -c 4K /dev/urandom |
    dd of=f bs=4K iflag=fullblock seek=32 conv=notrunc,fsync status=none";

/// A ledger of this machine in a root directory of its own. Other boots come in between as it is told.
struct Ledger<'a>(&'a Klon);

impl<'a> Ledger<'a> {
    /// One that counted this boot; `None` where this machine can have none.
    fn new(klon: &'a Klon) -> Option<Self> {
        let ledger = Self(klon);
        let id = fs::read_to_string("/etc/machine-id").ok()?;
        ledger.put("etc/machine-id", &id);
        ledger.put("proc/filesystems", "nodev\tproc\n\text4\n");
        let mounts = "22 21 0:5 / /proc rw - proc proc rw\n";
        ledger.put("proc/self/mountinfo", mounts);
        fs::create_dir_all(klon.path("root/usr/lib/systemd")).unwrap();
        ledger.begins();
        ledger.tell("install");
        let status = ledger.command(&["ledger", "status", "--json"]).last();
        let is_covered = status["is_covered"] == true;
        if !is_covered {
            eprintln!("skipped: no ledger can be kept on this machine: {status}");
        }
        is_covered.then_some(ledger)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.path("root").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The boot of this machine.
    fn this(&self) -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()
    }

    /// Shows the ledger this boot.
    fn begins(&self) {
        self.put("proc/sys/kernel/random/boot_id", &self.this());
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        self.put("proc/uptime", &uptime);
    }

    fn tell(&self, action: &str) {
        self.0.ok(&["ledger", "--root", "root", action]);
    }

    /// The power goes, and another boot ends cleanly before this one. (After a clean end this boot could not come
    /// again: the ledger knows it.)
    fn power_goes(&self) {
        self.put(
            "proc/sys/kernel/random/boot_id",
            "00000002-0000-4000-8000-000000000000\n",
        );
        self.put("proc/uptime", "1.00 1.00\n");
        self.tell("boot");
        self.tell("shutdown");
        self.begins();
        self.tell("boot");
    }

    /// Runs klon by this ledger.
    fn command(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.0.command(arguments);
        command.env("KLON_LEDGER", self.0.path("root/var/lib/klon/ledger"));
        Outcome::new(arguments, &command.output().unwrap()).expect(0)
    }

    fn clone(&self, more: &[&str]) -> Value {
        let arguments = [&["clone", "source", "target", "--json"][..], more].concat();
        self.command(&arguments).last()["volumes"][0].take()
    }
}

impl Pair {
    /// The power goes right after a script; the source is mounted again, recovers, and is unmounted.
    fn cut_after(&self, text: &str) {
        let source = self.klon.path("source");
        let mount = Mount::new(&source, &self.klon.path("mnt"), "loop");
        script(mount.path(), text);
        let at_the_cut = fs::read(&source).unwrap();
        drop(mount);
        fs::write(&source, at_the_cut).unwrap();
        self.change(":");
    }

    /// How many bytes of the target are not the source's, in file `f` alone.
    fn missed_bytes(&self) -> u64 {
        let outcome = self.klon.run(&["verify", "target", "source", "--json"]);
        let found = outcome.last();
        let files = found["files"].as_array().into_iter().flatten();
        assert!(files.clone().all(|file| file["path"] == "/f"), "{found:#}");
        number(&found, "differing_bytes")
    }
}

fn a_power_cut_is_known_by_the_ledger(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(on);
    let Some(ledger) = Ledger::new(&pair.klon) else {
        return;
    };
    // The record gets what the ledger says.
    let first = ledger.clone(&[]);
    assert_eq!(first["rung"], "digest", "{first:#}");
    pair.change("put f 8K 4K");
    let clean = ledger.clone(&["--audit", "none"]);
    assert_eq!(clean["rung"], "metadata", "{clean:#}");
    pair.assert_equal();
    pair.cut_after(DATA);
    ledger.power_goes();
    let after = ledger.clone(&[]);
    assert_eq!(after["rung"], "digest", "{after:#}");
    let reason = after["reason"].as_str().unwrap();
    let expected = "the system went down uncleanly since the last run";
    assert!(reason.contains(expected), "{reason}");
    assert_eq!(number(&after, "skipped_bytes"), 0, "{after:#}");
    pair.assert_equal();
    let next = ledger.clone(&["--audit", "none"]);
    assert_eq!(next["rung"], "metadata", "{next:#}");
    pair.assert_equal();
}

#[test]
fn a_power_cut_on_ext_is_known_by_the_ledger() {
    a_power_cut_is_known_by_the_ledger(On::Ext);
}

#[test]
fn a_power_cut_on_xfs_is_known_by_the_ledger() {
    a_power_cut_is_known_by_the_ledger(On::Xfs);
}

/// Without a word, all is read. With a word that isn't true, what was overwritten shortly before the cut
/// can be missed, until an audit comes upon it or a run reads everything. What was synced with its
/// metadata is seen.
fn a_power_cut_after_a_false_word(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(on);
    pair.cut_after(DATA);
    pair.by_digest(&[], "nothing shows that the power never failed");
    pair.assert_equal();
    pair.cut_after(ALL);
    pair.by_metadata(&["--audit", "none"]);
    pair.assert_equal();
    // A commit that comes by itself just then would show the change.
    let is_missed = (0..5).any(|_| {
        pair.cut_after(DATA);
        pair.by_metadata(&["--audit", "none"]);
        pair.missed_bytes() == 4096
    });
    assert!(is_missed, "nothing shows that a word is needed");
    // The clone is what its record says, so only the source tells.
    pair.klon.ok(&["verify", "target"]);
    let audited = pair.clone(&[WORD, "--audit", "100%"]);
    assert_eq!(audited["audit"], "failed", "{audited:#}");
    assert_eq!(audited["audit_files"][0]["path"], "/f", "{audited:#}");
    assert_eq!(number(&audited, "changed_bytes"), 4096, "{audited:#}");
    pair.assert_equal();
}

#[test]
fn a_word_that_is_not_true_costs_what_was_written_before_the_cut_on_ext() {
    a_power_cut_after_a_false_word(On::Ext);
}

#[test]
fn a_word_that_is_not_true_costs_what_was_written_before_the_cut_on_xfs() {
    a_power_cut_after_a_false_word(On::Xfs);
}
