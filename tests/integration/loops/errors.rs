//! Block devices that fail with EIO, at each of many positions, once or for good: every run says
//! what failed and where, nothing half-written looks whole, and the next run is exact.
//!
//! `KLON_EIO_POINTS` is at how many positions each kind of run fails (4).

use crate::support::faulty_disk::{Fault, FaultyDisk};
use crate::support::image::ext4;
use crate::support::{Klon, MIB, Outcome, lacks_root, run, tree};
use klon_imaging::mark::Mark;
use klon_partition::device::open_source;
use klon_partition::filesystem::usage;
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::path::Path;

const SIZE_BYTES: u64 = 16 * MIB;

/// Which of the two devices fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Target,
}

/// Source and target on devices that can fail, and what they were before a run.
struct World {
    source: FaultyDisk,
    target: FaultyDisk,
    /// What the source uses, and its first chunk.
    wanted: ExtentMap,
    /// The earlier clone and its records are in this directory; none is there before the first.
    has_clone: bool,
    /// Last, because the devices are in its directory.
    klon: Klon,
}

fn copy_all(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

impl World {
    /// A source, a blank target; or one with an earlier clone of the source.
    fn new(has_clone: bool) -> Self {
        let klon = Klon::new();
        ext4(&klon.path("source"), SIZE_BYTES / MIB, 6);
        fs::write(klon.path("target"), vec![0; SIZE_BYTES as usize]).unwrap();
        let source = FaultyDisk::new(&klon.path("source"));
        let target = FaultyDisk::new(&klon.path("target"));
        if has_clone {
            klon.ok(&["clone", source.text(), target.text()]);
            fs::write(klon.path("added"), tree::noise(5, MIB as usize)).unwrap();
            let added = klon.text("added");
            let commands =
                format!("rm documents/30\nwrite \"{added}\" added\nset_super_value mtime now\n");
            fs::write(klon.path("script"), commands).unwrap();
            let image = klon.text("source");
            run("debugfs", &["-w", "-f", &klon.text("script"), &image]);
        }
        let used = usage(&open_source(&klon.path("source")).unwrap())
            .unwrap()
            .extents;
        let first = Extent::new(0, MIB).unwrap();
        fs::copy(klon.path("target"), klon.path("target.before")).unwrap();
        copy_all(&klon.records(), &klon.path("records.before"));
        Self {
            klon,
            source,
            target,
            wanted: used.union(&first.into()),
            has_clone,
        }
    }

    fn end(&self, end: End) -> &FaultyDisk {
        match end {
            End::Source => &self.source,
            End::Target => &self.target,
        }
    }

    fn reset(&self) {
        let before = fs::read(self.klon.path("target.before")).unwrap();
        fs::write(self.klon.path("target"), before).unwrap();
        copy_all(&self.klon.path("records.before"), &self.klon.records());
        self.source.fail(None);
        self.target.fail(None);
    }

    fn target_image(&self) -> Vec<u8> {
        fs::read(self.klon.path("target")).unwrap()
    }

    /// Whether the target holds all of the source's state.
    fn is_exact(&self) -> bool {
        let source = fs::read(self.klon.path("source")).unwrap();
        let target = self.target_image();
        self.wanted.iter().all(|extent| {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            source[range.clone()] == target[range]
        })
    }

    /// What it was, unmistakably unfinished, or exact.
    ///
    /// An update that was not brought into place has left something in room alone.
    fn check_target(&self, context: &str) {
        let (now, before) = (
            self.target_image(),
            fs::read(self.klon.path("target.before")).unwrap(),
        );
        if Mark::parse(&now).is_some() || now == before || self.is_exact() {
            return;
        }
        assert!(self.has_clone, "{context}: looks like something and is not");
        let path = self.klon.path("target.before");
        let used = usage(&open_source(&path).unwrap()).unwrap().extents;
        for extent in used.union(&Extent::new(0, MIB).unwrap().into()).iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            let is_same = now[range.clone()] == before[range];
            assert!(
                is_same,
                "{context}: neither the earlier clone nor unfinished"
            );
        }
    }

    /// A run may do without what it only looks at: where a table or a signature might have been.
    fn check_unneeded(&self, context: &str, fault: &Fault) {
        let sector = Extent::new(fault.offset_bytes, 512).unwrap();
        assert!(!self.wanted.overlaps(sector), "{context}");
        assert!(self.is_exact(), "{context}");
    }

    /// Positions of requests of a run without faults, spread over all of it.
    fn positions(&self, line: &[&str], end: End, operation: &str) -> Vec<u64> {
        self.reset();
        self.klon.ok(line);
        let mut positions = Vec::new();
        for (found, offset_bytes, _) in self.end(end).journal() {
            if found == operation && !positions.contains(&offset_bytes) {
                positions.push(offset_bytes);
            }
        }
        assert!(positions.len() > 3, "{line:?}: {positions:?}");
        let count = std::env::var("KLON_EIO_POINTS").map_or(4, |n| n.parse().unwrap());
        let last = positions.len() - 1;
        let count = positions.len().min(count);
        (0..count)
            .map(|number| positions[number * last / (count - 1).max(1)])
            .collect()
    }

    /// Lets `line` fail everywhere; `judge` gets what it did, and the position.
    fn sweep(
        &self,
        line: &[&str],
        (end, operation): (End, &'static str),
        mut judge: impl FnMut(&str, &Fault, Outcome),
    ) {
        let positions = self.positions(line, end, operation);
        for (number, offset_bytes) in positions.into_iter().enumerate() {
            self.reset();
            let fault = Fault {
                operation,
                offset_bytes,
                is_once: number % 2 == 0,
            };
            self.end(end).fail(Some(fault));
            let outcome = self.klon.run(line);
            let failed = self.end(end).journal();
            let failed: Vec<_> = failed
                .iter()
                .filter(|request| request.0 == operation.to_uppercase())
                .collect();
            self.end(end).fail(None);
            let context = format!("{}: {end:?} {fault:?}: {}", outcome.line, outcome.stderr);
            assert!(!failed.is_empty(), "{context}: nothing failed");
            judge(&context, &fault, outcome);
        }
    }

    /// Runs of `klon clone` that fail at either end.
    fn sweep_all(&self) {
        for ends in [
            (End::Source, "read"),
            (End::Target, "write"),
            (End::Target, "read"),
        ] {
            self.sweep_clone(ends);
        }
    }

    /// A run of `klon clone` that fails, and the next one.
    fn sweep_clone(&self, ends: (End, &'static str)) {
        let line = ["clone", self.source.text(), self.target.text()];
        self.sweep(&line, ends, |context, fault, outcome| {
            match outcome.code {
                0 => self.check_unneeded(context, fault),
                _ => judge_error(context, &outcome, (self.end(ends.0), ends.1)),
            }
            self.check_target(context);
            let next = self.klon.run(&line);
            assert_eq!(next.code, 0, "{context}, then {}", next.stderr);
            assert!(self.is_exact(), "{context}: the next run is not exact");
            assert!(Mark::parse(&self.target_image()).is_none(), "{context}");
            let verified = self.klon.run(&["verify", self.target.text()]);
            assert_eq!(verified.code, 0, "{context}, then {}", verified.stderr);
        });
    }
}

/// The exit code of a device that failed, and a message that says which, what failed and where.
fn judge_error(context: &str, outcome: &Outcome, (disk, operation): (&FaultyDisk, &str)) {
    assert_eq!(outcome.code, 4, "{context}");
    let said = &outcome.stderr;
    let doing = match operation {
        "write" => &["can't be written", "can't be made zero"][..],
        // A write of part of a block reads the block first.
        _ => &["can't be read", "bad sector", "can't be written"][..],
    };
    assert!(doing.iter().any(|doing| said.contains(doing)), "{context}");
    assert!(
        said.contains(disk.text()) || said.contains("source: "),
        "{context}"
    );
    let has_place = [" from byte ", "at byte "]
        .iter()
        .any(|at| said.contains(at));
    assert!(has_place, "{context}: no place");
    assert!(said.contains("Input/output error"), "{context}");
}

#[test]
fn first_clones_fail_and_are_completed() {
    if !lacks_root() {
        World::new(false).sweep_all();
    }
}

#[test]
fn repeats_fail_and_are_completed() {
    if !lacks_root() {
        World::new(true).sweep_all();
    }
}

#[test]
fn verifying_fails_without_a_verdict() {
    if lacks_root() {
        return;
    }
    let world = World::new(true);
    world
        .klon
        .ok(&["clone", world.source.text(), world.target.text()]);
    fs::copy(world.klon.path("target"), world.klon.path("target.before")).unwrap();
    copy_all(&world.klon.records(), &world.klon.path("records.before"));
    let alone = ["verify", world.target.text()];
    let both = ["verify", world.target.text(), world.source.text()];
    for (line, end) in [
        (&alone[..], End::Target),
        (&both[..], End::Target),
        (&both[..], End::Source),
    ] {
        world.sweep(line, (end, "read"), |context, fault, outcome| {
            match outcome.code {
                // What failed is read again in smaller parts.
                0 if matches!(end, End::Source) && fault.is_once => {}
                0 => world.check_unneeded(context, fault),
                // What of a source can't be read is not compared, and told.
                1 if matches!(end, End::Source) => {
                    let told = "can't be read from the source now";
                    assert!(
                        outcome.stdout.contains(told),
                        "{context}: {}",
                        outcome.stdout
                    );
                }
                _ => judge_error(context, &outcome, (world.end(end), "read")),
            }
            assert!(world.is_exact(), "{context}");
            world.klon.ok(line);
        });
    }
}
