//! Updates that are staged, through the program: room and the lack of it, and `klon finish`.

use crate::support::image::{ext4, put, sparse};
use crate::support::klon::number;
use crate::support::library::options;
use crate::support::tool::command;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run, tree};
use klon_imaging::clone::{FillTexts, Filled};
use klon_imaging::mark::Mark;
use klon_imaging::progress::Silent;
use klon_imaging::{Ends, Job, RecordStore, clone};
use klon_partition::device::{Fault, FaultAt, look_at, open_target};
use klon_partition::filesystem::usage;
use klon_partition::{Extent, Identity};
use serde_json::json;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// An ext4 volume, its clone, and a file that the volume has got since.
fn changed() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 20);
    klon.ok(&["clone", "source", "target"]);
    fs::write(klon.path("added"), tree::noise(5, 2 * MIB as usize)).unwrap();
    let script = "write added added\nset_super_value mtime now\n";
    fs::write(klon.path("script"), script).unwrap();
    let debugfs = ["-w", "-f", &klon.text("script"), &klon.text("source")];
    let mut command = command("debugfs");
    let status = command.args(debugfs).current_dir(klon.directory()).output();
    assert!(status.unwrap().status.success());
    klon
}

fn check(klon: &Klon, target: &str) {
    klon.ok(&["verify", target, "source"]);
    run("e2fsck", &["-fn", &klon.text(target)]);
}

#[test]
fn an_update_is_staged_and_says_how_much() {
    let klon = changed();
    let outcome = klon.ok(&["clone", "source", "target"]);
    assert!(
        outcome.stdout.contains("staged first"),
        "{}",
        outcome.stdout
    );
    check(&klon, "target");
    let again = klon.json(&["clone", "source", "target"]);
    assert_eq!(number(&again, "staged_bytes"), 0, "{again:#}");
    assert_eq!(again["rung"], "digest", "{again:#}");
}

/// The clone at the moment at which its update is staged, and nothing of it in place.
fn interrupt(klon: &Klon, lost: &Filled) {
    let kept = fs::read(klon.path("target")).unwrap();
    for operation in (0..).step_by(3) {
        fs::write(klon.path("target"), &kept).unwrap();
        update_until(klon, operation, lost);
        let target = look_at(&klon.path("target")).unwrap();
        let mark = Mark::read(&target).unwrap();
        if mark.is_some_and(|mark| mark.staged.is_some()) {
            return;
        }
    }
}

fn update_until(klon: &Klon, operation: u64, lost: &Filled) {
    let source = look_at(&klon.path("source")).unwrap();
    let used = usage(&source).unwrap();
    let target = open_target(&klon.path("target")).unwrap();
    let present = usage(&target).unwrap();
    let target = FaultAt::new(target, Some(Fault::TornAtSector(operation)));
    let identity = |name: &str| Identity::Path(klon.text(name));
    let [source_identity, target_identity] = ["source", "target"].map(identity);
    let job = Job {
        present: Some(&present),
        lost: Some(&|| lost.clone()),
        ..Job::new(
            "target",
            Ends {
                source: &source,
                usage: &used,
                source_identity: &source_identity,
                target: &target,
                target_identity: &target_identity,
            },
        )
    };
    clone(&job, &RecordStore::new(klon.records()), &options(), &Silent).unwrap_err();
}

#[test]
fn an_interrupted_update_is_finished_without_source_and_record() {
    let klon = changed();
    interrupt(&klon, &Filled::default());
    klon.refused(&["verify", "target"], &["was not finished", "klon finish"]);
    let devices = klon.ok(&["devices", "target"]).stdout;
    assert!(devices.contains("klon finish completes it"), "{devices}");
    assert_eq!(klon.json(&["devices", "target"])["is_staged"], true);
    fs::rename(klon.path("source"), klon.path("hidden")).unwrap();
    fs::rename(klon.records(), klon.path("elsewhere")).unwrap();
    let said = klon.ok(&["finish", "target"]).stdout;
    assert!(said.contains("is in place"), "{said}");
    let said = klon.ok(&["finish", "target"]).stdout;
    assert!(said.contains("nothing to finish"), "{said}");
    fs::rename(klon.path("hidden"), klon.path("source")).unwrap();
    check(&klon, "target");
}

#[test]
fn what_could_not_be_read_of_a_source_is_told_when_its_update_is_finished() {
    let klon = changed();
    let lost = Filled {
        extents: Extent::new(0, 1024).into_iter().collect(),
        texts: FillTexts::default(),
    };
    interrupt(&klon, &lost);
    let kept = fs::read(klon.path("target")).unwrap();
    let records = run("cp", &["-a", &klon.text("records"), &klon.text("kept")]);
    assert_eq!(records, "");
    let told = "except 1 KiB in 1 place that could not be read (now zeroes)";
    let again = "klon verify target";
    klon.run(&["finish", "target", "--quiet"])
        .expect(1)
        .shows(&["is in place", told, again]);
    klon.run(&["verify", "target"]).expect(1);
    fs::write(klon.path("target"), kept).unwrap();
    let records = klon.text("kept");
    let line = ["finish", "target", "--json", "--records", &records];
    let finished = klon.run(&line).expect(1).last();
    assert_eq!(finished["bad"], json!([[0, 1024]]));
    assert_eq!(finished["bad_bytes"], 1024);
}

#[test]
fn the_next_run_finishes_an_interrupted_update_first() {
    let klon = changed();
    interrupt(&klon, &Filled::default());
    let outcome = klon.ok(&["clone", "source", "target", "--json"]);
    outcome.says(&["completed the update"]);
    assert_eq!(number(&outcome.last(), "changed_bytes"), 0);
    check(&klon, "target");
}

#[test]
fn an_unfinished_first_clone_can_not_be_finished_without_its_source() {
    let klon = Klon::new();
    fs::write(klon.path("target"), Mark::new("path:/x").to_bytes()).unwrap();
    klon.refused(&["finish", "target"], &["Only its source can complete it"]);
}

fn write_at(path: &Path, offset: u64, content: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(content, offset).unwrap();
}

#[test]
fn an_update_without_room_is_refused_unless_it_may_be_in_place() {
    let klon = Klon::new();
    fs::write(klon.path("source"), tree::noise(1, 8 * MIB as usize)).unwrap();
    klon.ok(&["clone", "source", "target"]);
    let before = fs::read(klon.path("target")).unwrap();
    // Nothing changed, so nothing needs room.
    klon.ok(&["clone", "source", "target"]);
    write_at(&klon.path("source"), 5 * MIB, b"changed");
    klon.refused(
        &["clone", "source", "target"],
        &["--in-place", "stays intact"],
    );
    assert!(fs::read(klon.path("target")).unwrap() == before);
    let done = klon.json(&["clone", "source", "target", "--in-place"]);
    assert_eq!(number(&done, "changed_bytes"), 4096, "{done:#}");
    assert!(fs::read(klon.path("target")).unwrap() == fs::read(klon.path("source")).unwrap());
}

#[test]
fn a_whole_rewrite_without_room_is_refused_before_anything_is_staged() {
    let klon = Klon::new();
    ext4(&klon.path("full"), 64, 36);
    ext4(&klon.path("half"), 64, 20);
    fs::write(klon.path("raw"), tree::noise(1, 8 * MIB as usize)).unwrap();
    sparse(&klon.path("disk"), 80 * MIB);
    run("sgdisk", &["-n1:2048:+64M", &klon.text("disk")]);
    put(&klon.path("full"), &klon.path("disk"), MIB);
    for source in ["full", "raw", "disk"] {
        let target = format!("{source}.clone");
        klon.ok(&["clone", source, &target]);
        let before = fs::read(klon.path(&target)).unwrap();
        let again = ["clone", source, &target, "--rung", "full"];
        let refused = klon.refused(&again, &["stays intact", "--in-place"]);
        assert!(!refused.stdout.contains("staged"), "{}", refused.stdout);
        // Staged, it would be in free room by now.
        assert!(fs::read(klon.path(&target)).unwrap() == before, "{source}");
        klon.ok(&[&again[..], &["--in-place"]].concat());
        klon.ok(&["verify", &target, source]);
    }
    klon.ok(&["clone", "half", "half.clone"]);
    klon.ok(&["clone", "half", "half.clone", "--rung", "full"]);
    klon.ok(&["verify", "half.clone", "half"]);
    run("e2fsck", &["-fn", &klon.text("half.clone")]);
}

/// A source that nothing tells apart from others, so that only the record knows its clone.
#[test]
fn a_new_file_in_the_place_of_a_clone_holds_nothing_to_be_saved() {
    let klon = Klon::new();
    fs::write(klon.path("source"), noise(3, 8 * MIB as usize)).unwrap();
    klon.ok(&["clone", "source", "target"]);
    fs::remove_file(klon.path("target")).unwrap();
    sparse(&klon.path("target"), 8 * MIB);
    klon.ok(&["clone", "source", "target"]);
    assert!(fs::read(klon.path("source")).unwrap() == fs::read(klon.path("target")).unwrap());
}
