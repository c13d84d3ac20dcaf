//! Runs that end early, records that are damaged or can't be kept.

use crate::support::image::{ext4, flip, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, Outcome, run, tree};
use std::fs::{self, File};
use std::io::Read as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// Runs a clone and interrupts it as soon as it has begun to write.
fn interrupted(klon: &Klon, arguments: &[&str]) -> Outcome {
    let mut command = klon.command(arguments);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !is_marked(klon) {
        sleep(Duration::from_millis(1));
    }
    run("sh", &["-c", &format!("kill -INT {}", child.id())]);
    Outcome::new(arguments, &child.wait_with_output().unwrap())
}

/// Whether the target bears the mark of an unfinished clone.
fn is_marked(klon: &Klon) -> bool {
    let mut start = [0; 16];
    let read = |mut file: File| file.read_exact(&mut start);
    File::open(klon.path("target")).and_then(read).is_ok() && start == *b"klon-unfinished\n"
}

#[test]
fn an_interrupted_clone_is_marked_and_the_next_run_completes_it() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 240, 180);
    let stopped = interrupted(&klon, &["clone", "source", "target", "--threads", "1"]);
    let stopped = stopped.expect(130);
    stopped.says(&["interrupted", "run the same command again"]);
    assert!(is_marked(&klon));
    klon.refused(
        &["verify", "target"],
        &["not finished", "run the clone again"],
    );
    let devices = klon.json(&["devices", "target"]);
    let source = format!("path:{}", klon.text("source"));
    assert_eq!(devices["unfinished_clone_of"], source, "{devices:#}");
    assert!(
        klon.ok(&["devices", "target"])
            .stdout
            .contains("UNFINISHED clone of")
    );
    let done = klon.json(&["clone", "source", "target"]);
    assert_eq!(done["rung"], "resume", "{done:#}");
    let reason = done["volumes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("its log says"), "{reason}");
    klon.ok(&["verify", "target"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
}

#[test]
fn a_damaged_record_leads_to_a_comparison_that_says_why() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 32, 2);
    klon.ok(&["clone", "source", "target"]);
    flip(&klon.only_record(), 60);
    let done = klon.json(&["clone", "source", "target"]);
    assert_eq!(done["rung"], "compare", "{done:#}");
    let reason = done["volumes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the last clone can't be used"), "{reason}");
    let again = klon.json(&["clone", "source", "target"]);
    assert_eq!(again["rung"], "digest", "{again:#}");
}

#[test]
fn without_a_place_for_records_no_target_is_touched() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 32, 2);
    sparse(&klon.path("target"), 32 * MIB);
    fs::write(klon.path("file"), "not a directory").unwrap();
    for records in ["file", "file/below", "/proc/records"] {
        for target in ["target", "new"] {
            let arguments = ["clone", "source", target, "--records", records];
            klon.run(&arguments).expect(4).says(&["record", records]);
        }
        if records.starts_with("file") {
            // An image is not refused for want of records, but these are none.
            let arguments = ["image", "source", "i.klon", "--records", records];
            let said = klon.run(&arguments).expect(4);
            said.says(&["look for records in", records, "--records DIR"]);
        }
        assert!(!klon.path("new").exists(), "{records}");
        let target = fs::read(klon.path("target")).unwrap();
        assert!(target.iter().all(|&byte| byte == 0), "{records}");
    }
}

#[test]
fn a_target_that_was_changed_from_outside_is_compared_and_ends_exact() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 8);
    klon.ok(&["clone", "source", "target"]);
    fs::write(klon.path("note"), tree::noise(4, 9000)).unwrap();
    let write = format!("write \"{}\" note", klon.text("note"));
    run("debugfs", &["-w", "-R", &write, &klon.text("target")]);
    let done = klon.json(&["clone", "source", "target"]);
    assert_eq!(done["rung"], "compare", "{done:#}");
    let reason = done["volumes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("changed the target"), "{reason}");
    assert!(number(&done, "changed_bytes") > 0);
    klon.ok(&["verify", "target", "source"]);
}
