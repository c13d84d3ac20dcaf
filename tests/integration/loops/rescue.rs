//! Sources with bad sectors, real ones as far as anybody can tell: EIO from a block device; beside
//! ddrescue.

mod disks;
mod kept;
mod kinds;
mod told;

use crate::support::image::{ext4, sparse};
use crate::support::tool::output;
use crate::support::{BadDisk, Klon, MIB, Mount, lacks_root, run};
use klon_imaging::clone::{Ends, Job};
use klon_imaging::rescue::domain_path;
use klon_imaging::{Error, Event, Observer, RecordStore, RescueOptions, rescue};
use klon_partition::device::{create_target_file, open_source};
use klon_partition::filesystem::{probe, usage};
use klon_partition::{Extent, ExtentMap, Identity};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const SECTOR_BYTES: u64 = 512;

/// A volume `source` of 64 MiB; what of it holds contents of files; what of it is in use.
fn volume() -> (Klon, ExtentMap, ExtentMap) {
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 24);
    let device = open_source(&klon.path("source")).unwrap();
    let used = usage(&device).unwrap().extents;
    let filesystem = probe(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    let contents = used.difference(&metadata);
    (klon, contents, used)
}

/// `count` ranges of one to nine sectors in `within`, and some outside of what is `used`.
fn bad_ranges(within: &ExtentMap, used: &ExtentMap, count: u64) -> ExtentMap {
    let mut state = 5_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below.max(1)
    };
    let free = used.complement(64 * MIB);
    let mut all = Vec::new();
    for number in 0..count + 20 {
        let map = if number < count { within } else { &free };
        let extents = map.extents();
        let extent = extents[random(extents.len() as u64) as usize];
        let at = extent.offset_bytes() + random(extent.len_bytes() / SECTOR_BYTES) * SECTOR_BYTES;
        let range = Extent::new(at, (1 + random(9)) * SECTOR_BYTES).unwrap();
        all.extend(range.intersection(extent));
    }
    all.into_iter().collect()
}

fn range_of(extent: Extent) -> std::ops::Range<usize> {
    extent.offset_bytes() as usize..extent.end_bytes() as usize
}

/// What the target of a rescue must be in `used`: the source, with zeroes where it is bad.
fn check(klon: &Klon, target: &str, used: &ExtentMap, bad: &ExtentMap) {
    let source = fs::read(klon.path("source")).unwrap();
    let found = fs::read(klon.path(target)).unwrap();
    let range = range_of;
    for extent in used.difference(bad).iter() {
        assert!(source[range(extent)] == found[range(extent)], "{extent}");
    }
    for extent in used.intersection(bad).iter() {
        assert!(
            found[range(extent)].iter().all(|&byte| byte == 0),
            "{extent}"
        );
    }
}

/// The bad sectors of a map, as ddrescuelog lists them.
fn listed(map: &str) -> BTreeSet<u64> {
    let list = run("ddrescuelog", &["--list-blocks=-", "--block-size=512", map]);
    list.lines()
        .map(|line| line.trim().parse().unwrap())
        .collect()
}

fn sectors(map: &ExtentMap) -> BTreeSet<u64> {
    map.iter()
        .flat_map(|e| e.offset_bytes() / SECTOR_BYTES..e.end_bytes() / SECTOR_BYTES)
        .collect()
}

/// The files below `directory`, as paths of the volume, that can't be read.
fn unreadable(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            unreadable(root, &path, found);
        } else if kind.is_file() && fs::read(&path).is_err() {
            found.insert(format!("/{}", path.strip_prefix(root).unwrap().display()));
        }
    }
}

#[test]
fn every_good_sector_arrives_and_map_and_files_are_those_of_others() {
    if lacks_root() {
        return;
    }
    let (klon, contents, used) = volume();
    let bad = bad_ranges(&contents, &used, 300);
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let source = disk.text();
    let bad = bad.intersection(&used);

    let plain = klon.run(&["clone", source, "plain"]).expect(4);
    plain.says(&["has a bad sector at byte", "klon clone --rescue"]);

    let line = ["clone", "--rescue=map", source, "target", "--json"];
    let found = klon.run(&line).expect(1).last();
    assert_eq!(found["event"], "rescued");
    assert_eq!(found["bad"], serde_json::to_value(&bad).unwrap());
    check(&klon, "target", &used, &bad);
    let map = klon.text("map");
    assert_eq!(listed(&map), sectors(&bad));

    let domain = domain_path(&klon.path("map"));
    let domain = domain.to_str().unwrap();
    let (other, other_map) = (klon.text("ddrescued"), klon.text("other.map"));
    let ddrescue = |target: &str, map: &str| {
        let options = ["-q", "-d", "-r1", "-m", domain, source, target, map];
        run("ddrescue", &options);
    };
    sparse(Path::new(&other), 64 * MIB);
    ddrescue(&other, &other_map);
    assert_eq!(listed(&other_map), sectors(&bad));
    check(&klon, "ddrescued", &used, &bad);
    // Nothing is left for ddrescue to do after klon, nor for klon after ddrescue.
    ddrescue(&klon.text("target"), &map);
    assert_eq!(listed(&map), sectors(&bad));
    let after = [
        "clone",
        "--rescue=other.map",
        source,
        "ddrescued",
        "--json",
        "--yes",
    ];
    let after = [&after[..], &["--confirm", &other]].concat();
    let gone_on = klon.run(&after).expect(1).last();
    assert_eq!(gone_on["read_source_bytes"], 0, "{gone_on:#}");
    assert_eq!(gone_on["bad"], found["bad"]);

    let files = |found: &serde_json::Value| -> BTreeSet<String> {
        assert!(found.get("files_unknown_because").is_none(), "{found:#}");
        let files = found["files"].as_array().unwrap();
        files
            .iter()
            .map(|file| file["path"].as_str().unwrap().to_owned())
            .collect()
    };
    let mount = Mount::new(source, &klon.path("mnt"), "ro,noload");
    let mut expected = BTreeSet::new();
    unreadable(mount.path(), mount.path(), &mut expected);
    drop(mount);
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(files(&found), expected);

    let verified = klon.run(&["verify", "target", "--json"]).expect(1).last();
    assert_eq!(verified["is_equal"], true);
    assert_eq!(verified["bad"], found["bad"]);
    assert_eq!(files(&verified["bad_files"]), expected);
    let verified = klon
        .run(&["verify", "target", source, "--json"])
        .expect(1)
        .last();
    assert_eq!(verified["is_equal"], true, "{verified:#}");
    assert_eq!(verified["bad"], found["bad"]);
}

/// Cancels after so many events.
struct CancelAfter(AtomicU64);

impl Observer for CancelAfter {
    fn event(&self, _event: &Event<'_>) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn what_klon_began_ddrescue_can_finish() {
    if lacks_root() {
        return;
    }
    let (klon, contents, used) = volume();
    let bad = bad_ranges(&contents, &used, 40);
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let device = open_source(Path::new(disk.text())).unwrap();
    let target = create_target_file(&klon.path("target"), 64 * MIB).unwrap();
    let usage = usage(&device).unwrap();
    let source_identity = Identity::Path("/source".to_owned());
    let target_identity = Identity::Path("/target".to_owned());
    let job = Job::new(
        "target",
        Ends {
            source: &device,
            usage: &usage,
            source_identity: &source_identity,
            target: &target,
            target_identity: &target_identity,
        },
    );
    let options = RescueOptions {
        map: &klon.path("map"),
        is_own_map: false,
        metadata: &ExtentMap::new(),
        retries: 1,
        fill: None,
        threads: std::num::NonZeroUsize::MIN,
    };
    let observer = CancelAfter(AtomicU64::new(20));
    let result = rescue(&job, &RecordStore::new(klon.records()), &options, &observer);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    drop((device, target));
    klon.refused(&["verify", "target"], &["not finished"]);
    let (map, target) = (klon.text("map"), klon.text("target"));
    let domain = format!("{map}.domain");
    let done = output("ddrescuelog", &["--done-status", "-m", &domain, &map]);
    assert!(!done.status.success());
    run(
        "ddrescue",
        &["-q", "-d", "-m", &domain, disk.text(), &target, &map],
    );
    let bad = bad.intersection(&used);
    assert_eq!(listed(&map), sectors(&bad));
    check(&klon, "target", &used, &bad);
}

#[test]
fn where_the_used_map_cannot_be_read_all_of_it_is_copied() {
    if lacks_root() {
        return;
    }
    let (klon, ..) = volume();
    let described = run("dumpe2fs", &[&klon.text("source")]);
    let line = described
        .lines()
        .find(|line| line.contains("Block bitmap at"))
        .unwrap();
    let block: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    let bad: ExtentMap = [(block * 4096, 512), (30 * MIB, 1024)]
        .into_iter()
        .filter_map(|(at, len)| Extent::new(at, len))
        .collect();
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let plain = klon.run(&["clone", disk.text(), "plain"]).expect(4);
    plain.says(&["klon clone --rescue"]);
    let outcome = klon
        .run(&["clone", "--rescue", disk.text(), "target", "--json"])
        .expect(1);
    outcome.says(&["warning", "copies all of it"]);
    assert_eq!(outcome.last()["bad"], serde_json::to_value(&bad).unwrap());
    check(&klon, "target", &ExtentMap::whole(64 * MIB), &bad);
}
