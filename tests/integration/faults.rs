//! The n-th I/O fails, for every n: the error is typed, what is whole looks whole, nothing else
//! does, and the next run completes the clone. Then the same with the power cut instead.

mod cuts;
mod group;
mod journal;
mod staged;

use crate::support::library::options;
use crate::support::run;
use crate::support::scratch::in_memory;
use klon_imaging::clone::Drive;
use klon_imaging::mark::Mark;
use klon_imaging::progress::Silent;
use klon_imaging::{Ends, Error, Job, RecordStore, clone};
use klon_partition::device::MemoryDevice;
use klon_partition::device::crash::CrashDevice;
use klon_partition::device::fault::{Fault, FaultAt, sweep};
use klon_partition::filesystem::{Basis, Usage, probe, usage};
use klon_partition::inspect::disk_usage;
use klon_partition::table::{Found, read as read_table};
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, WriteAt};
use std::fs;
use std::path::Path;

const MIB: usize = 1 << 20;
const HELD: usize = MIB;

/// A source before and after some changes.
struct Scene {
    name: &'static str,
    before: Vec<u8>,
    after: Vec<u8>,
}

fn noise(len: usize, mut seed: u32) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// An ext4 of 6 MiB at `offset` of the file, with files.
fn make_ext4(image: &Path, directory: &Path, offset: usize) {
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    for index in 0..5 {
        let content = noise(90_000 * index + 10, 7 + index as u32);
        fs::write(tree.join(format!("sub/{index}")), content).unwrap();
    }
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (tree, image) = (path(&tree), path(image));
    let at = format!("offset={offset}");
    let arguments = [
        "-q", "-F", "-t", "ext4", "-b", "1024", "-E", &at, "-d", &tree, &image, "6144",
    ];
    run("mke2fs", &arguments);
}

fn ext4_scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    fs::write(&image, vec![0; 6 * MIB]).unwrap();
    make_ext4(&image, directory.path(), 0);
    let before = fs::read(&image).unwrap();
    let script = directory.path().join("script");
    let added = directory.path().join("added");
    fs::write(&added, noise(200_000, 99)).unwrap();
    let commands = format!(
        "rm sub/3\nwrite {} sub/new\nset_super_value mtime now\n",
        added.display()
    );
    fs::write(&script, commands).unwrap();
    run(
        "debugfs",
        &[
            "-w",
            "-f",
            script.to_str().unwrap(),
            image.to_str().unwrap(),
        ],
    );
    Scene {
        name: "ext4",
        before,
        after: fs::read(&image).unwrap(),
    }
}

fn disk_scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    fs::write(&image, vec![0; 12 * MIB]).unwrap();
    let path = image.to_str().unwrap();
    run(
        "sgdisk",
        &["-n1:2048:+2M", "-t1:ef00", "-n2:0:+6M", "-t2:8300", path],
    );
    run("mkfs.fat", &["-F12", "--offset", "2048", path, "2048"]);
    make_ext4(&image, directory.path(), 3 * MIB);
    let before = fs::read(&image).unwrap();
    let mut after = before.clone();
    after[5 * MIB..5 * MIB + 9000].copy_from_slice(&noise(9000, 3));
    Scene {
        name: "disk",
        before,
        after,
    }
}

fn usage_of(source: &dyn ReadAt) -> Usage {
    if let Found::Table(..) = read_table(source).unwrap() {
        let extents = disk_usage(source).unwrap().extents;
        return Usage::mapped(extents);
    }
    let usage = usage(source).unwrap();
    assert_eq!(usage.basis, Basis::Map);
    usage
}

/// Clones in place; one thread, so that faults fall everywhere.
fn clone_to(source: &dyn ReadAt, target: &dyn WriteAt, records: &RecordStore) -> Result<(), Error> {
    clone_saving(source, target, records, None, None)
}

/// Clones as the program does, saving what is `present`.
fn clone_saving(
    source: &dyn ReadAt,
    target: &dyn WriteAt,
    records: &RecordStore,
    present: Option<&ExtentMap>,
    drive: Option<Drive<'_>>,
) -> Result<(), Error> {
    let used = USED
        .with_borrow(Clone::clone)
        .expect("set_source comes first");
    let present = present.map(|present| Usage::mapped(present.clone()));
    let source_identity = Identity::Path("/source".to_owned());
    let target_identity = Identity::Path("/target".to_owned());
    let job = Job {
        present: present.as_ref(),
        drive,
        ..Job::new(
            "Clone",
            Ends {
                source,
                usage: &used,
                source_identity: &source_identity,
                target,
                target_identity: &target_identity,
            },
        )
    };
    clone(&job, records, &options(), &Silent)?;
    Ok(())
}

thread_local! {
    /// The used map of the source under test: read once, so that faults hit the clone and not
    /// the parsers, which have sweeps of their own.
    static USED: std::cell::RefCell<Option<Usage>> = const { std::cell::RefCell::new(None) };
}

fn set_source(bytes: &[u8]) -> MemoryDevice {
    let source = MemoryDevice::new(bytes.to_vec(), 512);
    USED.set(Some(usage_of(&source)));
    source
}

/// Whether anything but klon would take the target for a whole disk or volume.
fn looks_whole(target: &[u8]) -> bool {
    let target = MemoryDevice::new(target.to_vec(), 512);
    if matches!(read_table(&target), Ok(Found::Table(..))) {
        return true;
    }
    probe(&target)
        .unwrap()
        .is_some_and(|found| found.summary().hazards.is_empty())
}

fn wanted(source: &[u8]) -> ExtentMap {
    let used = usage_of(&MemoryDevice::new(source.to_vec(), 512)).extents;
    used.union(&Extent::new(0, HELD as u64).unwrap().into())
}

fn is_exact(target: &[u8], source: &[u8]) -> bool {
    is_equal(&wanted(source), target, source)
}

fn is_equal(used: &ExtentMap, target: &[u8], source: &[u8]) -> bool {
    used.iter().all(|extent| {
        let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
        target[range.clone()] == source[range]
    })
}

/// What a target may be at any moment: what it was, unmistakably unfinished, or exact.
///
/// While the head (sectors 0 to 2) goes and comes back, its sectors may be old and new. When it
/// goes, everything behind it is still what it was. When it is back, what looks whole must be so
/// but for sectors 0 and 1, which hold nothing that a filesystem here needs once sector 2, the
/// superblock's, is the right one.
fn check_state(scene: &Scene, context: &str, target: &[u8], original: &[u8], was_clone: bool) {
    let with_boot_sectors_of = |bytes: &[u8]| {
        let mut target = target.to_vec();
        target[..1024].copy_from_slice(&bytes[..1024]);
        target
    };
    let is_untouched = match was_clone {
        true => target[3 * 512..] == original[3 * 512..],
        false => target == original,
    };
    if is_untouched || !looks_whole(target) {
        return;
    }
    let is_new = is_exact(&with_boot_sectors_of(&scene.after), &scene.after);
    assert!(is_new, "{}, {context}: looks whole and is not", scene.name);
}

/// A target and records to start from: blank, or a clone of the scene's first state.
fn start(scene: &Scene, is_repeat: bool) -> (Vec<u8>, tempfile::TempDir) {
    let directory = in_memory();
    let len = scene.before.len() + 4096;
    if !is_repeat {
        return (noise(len, 1234), directory);
    }
    let target = MemoryDevice::new(noise(len, 1234), 512);
    let source = set_source(&scene.before);
    clone_to(
        &source,
        &target,
        &RecordStore::new(directory.path().to_owned()),
    )
    .unwrap();
    (target.to_vec(), directory)
}

fn copy_records(from: &Path) -> (RecordStore, tempfile::TempDir) {
    let directory = in_memory();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
    }
    (RecordStore::new(directory.path().to_owned()), directory)
}

fn completes(scene: &Scene, context: &str, target: Vec<u8>, records: &RecordStore) {
    let source = set_source(&scene.after);
    let target = MemoryDevice::new(target, 512);
    clone_to(&source, &target, records)
        .unwrap_or_else(|error| panic!("{}, {context}: {error}", scene.name));
    assert!(
        is_exact(&target.to_vec(), &scene.after),
        "{}, {context}",
        scene.name
    );
    assert_eq!(Mark::read(&target).unwrap(), None);
}

fn sweep_target(scene: &Scene, is_repeat: bool, make: fn(u64) -> Fault) {
    let (original, saved) = start(scene, is_repeat);
    let operations = sweep(make, |fault| {
        let context = format!("repeat {is_repeat}, target {fault:?}");
        let (records, _directory) = copy_records(saved.path());
        let source = set_source(&scene.after);
        let target = FaultAt::new(MemoryDevice::new(original.clone(), 512), Some(fault));
        let result = clone_to(&source, &target, &records);
        let ended = (target.has_tripped(), target.operations());
        if !ended.0 {
            result.unwrap();
            return ended;
        }
        let image = target.device().to_vec();
        match result {
            Err(Error::Target(_)) => check_state(scene, &context, &image, &original, is_repeat),
            Err(Error::AfterCommit(_)) => assert!(is_exact(&image, &scene.after), "{context}"),
            Err(error) => panic!("{context}: {error}"),
            // Looking at what is on the target may fail without harm to the clone.
            Ok(()) => assert!(is_exact(&image, &scene.after), "{context}"),
        }
        completes(scene, &context, image, &records);
        ended
    });
    assert!(operations > 20, "{operations}");
}

fn sweep_source(scene: &Scene, is_repeat: bool) {
    let (original, saved) = start(scene, is_repeat);
    sweep(Fault::Transient, |fault| {
        let context = format!("repeat {is_repeat}, source {fault:?}");
        let (records, _directory) = copy_records(saved.path());
        let source = FaultAt::new(set_source(&scene.after), Some(fault));
        let target = MemoryDevice::new(original.clone(), 512);
        let result = clone_to(&source, &target, &records);
        if source.has_tripped() {
            let image = target.to_vec();
            match result {
                Err(Error::Source(_)) => {
                    check_state(scene, &context, &image, &original, is_repeat);
                }
                // What could not be read together could be, extent by extent.
                Ok(()) => assert!(is_exact(&image, &scene.after), "{context}"),
                Err(error) => panic!("{context}: {error}"),
            }
            completes(scene, &context, target.to_vec(), &records);
        } else {
            result.unwrap();
        }
        (source.has_tripped(), source.operations())
    });
}

/// What a power cut leaves of writes that were not synced: none, all, or some of the sectors.
fn after_power_cut(device: &CrashDevice, luck: u64) -> Vec<u8> {
    device.after_crash(|number, sector| match luck {
        0 => false,
        1 => true,
        _ => {
            let mixed = (sector.offset_bytes() / 512 + number as u64 * 31 + luck)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed >> 62 >= luck % 3
        }
    })
}

/// The power fails at each operation; of what was not yet synced, any part may have reached the
/// medium.
fn sweep_power(scene: &Scene, is_repeat: bool) {
    let (original, saved) = start(scene, is_repeat);
    sweep(Fault::Torn, |fault| {
        let (records, _directory) = copy_records(saved.path());
        let source = set_source(&scene.after);
        let target = FaultAt::new(CrashDevice::new(original.clone(), 512), Some(fault));
        let _ = clone_to(&source, &target, &records);
        for luck in 0..6_u64 {
            let image = after_power_cut(target.device(), luck);
            let context = format!("repeat {is_repeat}, power cut at {fault:?}, luck {luck}");
            check_state(scene, &context, &image, &original, is_repeat);
            if luck < 3 {
                let (records, _directory) = copy_records(records.directory());
                completes(scene, &context, image, &records);
            }
        }
        (target.has_tripped(), target.operations())
    });
}

fn each_scene(test: fn(&Scene, bool)) {
    for scene in [ext4_scene(), disk_scene()] {
        for is_repeat in [false, true] {
            test(&scene, is_repeat);
        }
    }
}

#[test]
fn a_target_that_fails_once_is_never_taken_for_whole() {
    each_scene(|scene, is_repeat| sweep_target(scene, is_repeat, Fault::Transient));
}

#[test]
fn a_target_that_disappears_is_never_taken_for_whole() {
    each_scene(|scene, is_repeat| sweep_target(scene, is_repeat, Fault::Persistent));
}

#[test]
fn a_target_that_tears_a_write_is_never_taken_for_whole() {
    each_scene(|scene, is_repeat| sweep_target(scene, is_repeat, Fault::Torn));
}

#[test]
fn a_source_that_fails_once_costs_nothing() {
    each_scene(sweep_source);
}

#[test]
fn a_power_cut_leaves_the_old_clone_an_unfinished_one_or_the_new_one() {
    each_scene(sweep_power);
}
