//! Targets that something other than klon changed: what the next run says of each kind of change,
//! and that it ends in an exact clone.

mod btrfs;
mod everywhere;
mod ext;
mod others;
mod partitions;
mod xfs;

use crate::support::image::{flip, read_range};
use crate::support::klon::number;
use crate::support::{Klon, Mount, Outcome, run, tree};
use klon_partition::device::open_source;
use klon_partition::filesystem::{probe, usage};
use klon_partition::{ExtentMap, ReadAt};
use serde_json::Value;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// What is done to a target.
enum Change {
    /// A shell script in a mount of the target with these options; `$T` is the target.
    Mounted(&'static str, &'static str),
    /// A shell script on the target `$T`.
    Raw(&'static str),
    /// The byte at this place of the target is flipped.
    Flip(fn(&Scene) -> u64),
}

/// What klon makes of it.
#[derive(Clone, Copy)]
enum Expected {
    /// The filesystem's change token tells: the target is compared.
    Token,
    /// The token is as it was, but the metadata is not: the target is compared.
    Metadata,
    /// The clone is as exact as it was: the run takes rung `digest` and has nothing to do.
    Same,
    /// Nothing but reading all of the target shows it: `klon verify` does, and `--rung compare`
    /// mends it.
    Hidden,
    /// It is no clone any more, and is overwritten when someone consents; the reason then.
    Foreign(&'static str),
    /// Compared, for this reason.
    Compared(&'static str),
    /// As well, but it is so unsound that no room for staging can be told: it is refused, and then
    /// overwritten in place when that is asked for.
    Unsound(&'static str),
}

/// A kind of change: its name, what is done, what klon makes of it.
type Case = (&'static str, Change, Expected);

/// A volume in a file and a clone of it in another, kept to be had again for each change.
struct Scene {
    klon: Klon,
    used: ExtentMap,
    /// The part of it that is zero on the target.
    blank: ExtentMap,
    /// The part of that of which nobody reads anything.
    unused: ExtentMap,
    /// Says by its exit code whether the volume in the file at its end is sound.
    checker: &'static [&'static str],
}

impl Scene {
    /// Formats `source` with a script and fills it through a mount, if the kernel has the
    /// filesystem; then clones it.
    fn new(format: &str, is_mountable: bool, checker: &'static [&'static str]) -> Self {
        let klon = Klon::new();
        let source = klon.text("source");
        let make = format!("cd '{}' && {format}", klon.directory().display());
        run("sh", &["-ec", &make, "sh", &source]);
        if is_mountable {
            let mount = Mount::new(&source, &klon.path("mnt"), "loop,rw");
            tree::fill(mount.path(), 9, 3);
        }
        let source = open_source(&klon.path("source")).unwrap();
        let used = usage(&source).unwrap();
        let blank = used.blank(&source);
        let log = used.filesystem().map(|it| it.empty_log(&source));
        let scene = Self {
            klon,
            unused: blank.difference(&log.unwrap_or_default()),
            blank,
            used: used.extents,
            checker,
        };
        scene.klon.ok(&["clone", "source", "target"]);
        scene.check_exact();
        let keep = "cp --sparse=always target kept && cp -r records kept-records";
        scene.shell(keep);
        // Filesystems keep their time of writing in seconds: one that is written twice within a
        // second, with nothing else changed, has the same superblock as before.
        sleep(Duration::from_millis(1100));
        scene
    }

    /// The target and its record as they were made.
    fn restore(&self) {
        self.shell("cp --sparse=always kept target && rm -r records && cp -r kept-records records");
    }

    fn shell(&self, script: &str) -> String {
        let target = self.klon.text("target");
        let script = format!(
            "cd '{}'; T='{target}'\n{script}",
            self.klon.directory().display()
        );
        run("sh", &["-ec", &script])
    }

    fn target(&self) -> String {
        self.klon.text("target")
    }

    /// Where the target has metadata.
    fn metadata(&self) -> ExtentMap {
        let target = open_source(&self.klon.path("target")).unwrap();
        let filesystem = probe(&target).unwrap().unwrap();
        let metadata = filesystem.metadata(&target).unwrap().unwrap();
        metadata.intersection(&self.used)
    }

    /// Somewhere in the contents of files that is no zero.
    fn content(&self) -> u64 {
        let contents = self.used.difference(&self.metadata());
        let longest = contents.iter().max_by_key(|extent| extent.len_bytes());
        longest.unwrap().offset_bytes() + 4321
    }

    /// Somewhere in the largest free space.
    fn free(&self) -> u64 {
        let target = open_source(&self.klon.path("target")).unwrap();
        let free = self.used.complement(target.geometry().size_bytes);
        let longest = free.iter().max_by_key(|extent| extent.len_bytes());
        longest.unwrap().offset_bytes() + 4321
    }

    fn apply(&self, change: &Change) {
        match change {
            Change::Mounted(options, script) => {
                let options = format!("loop,{options}");
                let target = self.klon.path("target");
                let mount = Mount::new(target, &self.klon.path("mnt"), &options);
                self.shell(&format!("cd '{}'; {script}", mount.path().display()));
            }
            Change::Raw(script) => {
                self.shell(script);
            }
            Change::Flip(place) => {
                flip(&self.klon.path("target"), place(self));
            }
        }
    }

    fn try_clone(&self, options: &[&str]) -> Outcome {
        let clone = ["clone", "source", "target", "--json"];
        self.klon.run(&[&clone[..], options].concat())
    }

    fn clone(&self, options: &[&str]) -> Value {
        let mut done = self.try_clone(options).expect(0).last();
        done["volumes"][0].take()
    }

    /// Everything in use is on the target as on the source, but for what it needs nothing of, and the
    /// filesystem is sound.
    fn check_exact(&self) {
        let [source, target] = ["source", "target"].map(|name| self.klon.path(name));
        for extent in self.blank.iter() {
            let found = read_range(self.target(), extent.offset_bytes(), extent.len_bytes());
            assert!(found.iter().all(|&byte| byte == 0), "{extent} is not zero");
        }
        for extent in self.used.difference(&self.blank).iter() {
            let [expected, found] = [&source, &target]
                .map(|path| read_range(path, extent.offset_bytes(), extent.len_bytes()));
            assert!(expected == found, "{extent} differs");
        }
        let [program, options @ ..] = self.checker else {
            return;
        };
        run(program, &[options, &[&self.target()]].concat());
    }

    fn check(&self, (name, change, expected): &Case) {
        println!("{name}");
        self.restore();
        self.apply(change);
        let done = match expected {
            Expected::Foreign(_) => {
                self.try_clone(&[]).expect(3).says(&["would overwrite"]);
                self.clone(&["--yes", "--confirm", &self.target()])
            }
            Expected::Unsound(_) => self.clone_unsound(),
            _ => self.clone(&[]),
        };
        let reason = done["reason"].as_str().unwrap();
        let (rung, words) = match expected {
            Expected::Token => ("compare", "someone changed the target since the last clone"),
            Expected::Metadata => ("compare", "something changed the target's metadata"),
            // Btrfs shows by itself what of the source changed.
            Expected::Same | Expected::Hidden if done["rung"] == "metadata" => {
                ("metadata", "unchanged since the last clone")
            }
            Expected::Same | Expected::Hidden => {
                ("digest", "compared with the record of the last clone")
            }
            Expected::Foreign(words) | Expected::Compared(words) | Expected::Unsound(words) => {
                ("compare", *words)
            }
        };
        assert!(reason.contains(words), "{name}: {done:#}");
        assert_eq!(done["rung"], rung, "{name}: {done:#}");
        match expected {
            Expected::Same => assert_eq!(number(&done, "written_bytes"), 0, "{name}: {done:#}"),
            Expected::Hidden => self.mend(name),
            _ => {}
        }
        self.check_exact();
        self.klon.ok(&["verify", "target"]);
        let again = self.clone(&[]);
        assert_eq!(again["written_bytes"], 0, "{name}: {again:#}");
        let rung = again["rung"].as_str().unwrap();
        let is_by_record = ["digest", "metadata"].contains(&rung);
        assert_eq!(is_by_record, self.has_token(), "{name}: {again:#}");
    }

    /// Refused as it is, with nothing written.
    fn clone_unsound(&self) -> Value {
        let target = self.klon.path("target");
        let before = fs::read(&target).unwrap();
        let words = ["is unreliable now", "can't be staged", "--in-place"];
        self.try_clone(&[]).expect(3).says(&words);
        assert!(fs::read(&target).unwrap() == before);
        self.clone(&["--in-place"])
    }

    fn has_token(&self) -> bool {
        let source = open_source(&self.klon.path("source")).unwrap();
        usage(&source).unwrap().token.is_some()
    }

    /// What a run by rung `digest` can't see is seen by a verify.
    fn mend(&self, name: &str) {
        self.klon.run(&["verify", "target"]).expect(1);
        self.klon.run(&["verify", "target", "source"]).expect(1);
        let done = self.clone(&["--rung", "compare"]);
        assert!(number(&done, "changed_bytes") > 0, "{name}: {done:#}");
    }

    /// One byte in each of many places of the metadata, past the first chunk and but for what was never used: whatever it is, it
    /// is noticed. What the token does not cover is told to be metadata.
    fn check_flips(&self, count: usize) {
        let metadata = self.metadata().difference(&self.unused);
        let metadata: Vec<_> = metadata.iter().flat_map(|e| e.split(4096)).collect();
        let step = (metadata.len() / count).max(1);
        let mut of_metadata = 0;
        for extent in metadata.iter().skip(step / 2).step_by(step) {
            let at = extent.offset_bytes() + 77 % extent.len_bytes();
            println!("a flipped byte at {at}");
            self.restore();
            flip(&self.klon.path("target"), at);
            let done = self.clone(&["--in-place", "--yes", "--confirm", &self.target()]);
            assert_eq!(done["rung"], "compare", "{at}: {done:#}");
            let reason = done["reason"].as_str().unwrap();
            of_metadata += usize::from(reason.contains("metadata"));
            self.check_exact();
        }
        assert!(of_metadata > 0);
    }

    /// What is done past the filesystem, and flips of `count` bytes.
    fn check_by_tools(&self, cases: &[&[Case]], count: usize) {
        for cases in cases {
            self.check_all(cases);
        }
        self.check(&(
            "made larger",
            Change::Raw("truncate -s +1M \"$T\""),
            Expected::Compared("changed its size"),
        ));
        self.check_flips(count);
    }

    fn check_all(&self, cases: &[Case]) {
        for case in cases {
            self.check(case);
        }
    }
}
