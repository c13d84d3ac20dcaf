//! Command lines that make no sense, and things that are not there.

use crate::support::image::{ext4, sparse};
use crate::support::{Klon, MIB};
use std::fs;

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_2() {
    let klon = Klon::new();
    sparse(&klon.path("a"), MIB);
    for arguments in [
        &[][..],
        &["copy"],
        &["clone"],
        &["clone", "a", "b", "--rung", "fast"],
        &["clone", "a", "b", "--threads", "0"],
        &["clone", "a", "b", "--only", "Boot"],
        &["verify"],
        &["verify", "a", "--against-source"],
        &["map"],
        &["plan", "--drive", "a"],
        &["plan", "--drive", "a", "NoName"],
        &["plan", "--drive", "a", "X=a:1"],
        &["plan", "Boot=a"],
        &["prepare"],
        &["completions", "nonesuch"],
    ] {
        let outcome = klon.run(arguments).expect(2);
        assert!(!outcome.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let klon = Klon::new();
    sparse(&klon.path("a"), MIB);
    for arguments in [
        &["map", "nowhere"][..],
        &["clone", "nowhere", "a"],
        &["clone", "nowhere:1", "a"],
        &["verify", "nowhere"],
        &["devices", "nowhere"],
        &["plan", "--drive", "nowhere", "A=a"],
        &["plan", "--drive", "a", "A=nowhere"],
        &["clone", "a", "/dev/nowhere"],
        &["clone", "a", "nowhere/a"],
    ] {
        let outcome = klon.run(arguments);
        assert!(
            [2, 4].contains(&outcome.code),
            "{}: {}",
            outcome.line,
            outcome.code
        );
        outcome.says(&["nowhere"]);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    }
    for tag in ["LABEL=no-such-label-here", "PARTUUID=0-0", "UUID=none"] {
        klon.refused(&["map", tag], &[tag, "no attached disk"]);
    }
    klon.run(&["prepare", "nowhere"])
        .expect(2)
        .says(&["nowhere"]);
}

#[test]
fn what_is_no_volume_is_named() {
    let klon = Klon::new();
    sparse(&klon.path("a"), MIB);
    klon.run(&["map", "."]).expect(2).says(&["directory"]);
    klon.run(&["map", "/dev/null"])
        .expect(2)
        .says(&["character device"]);
    klon.run(&["clone", "a", "/dev/null"])
        .expect(2)
        .says(&["/dev/null"]);
}

#[test]
fn a_plan_that_is_damaged_says_where() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 1);
    sparse(&klon.path("drive"), 64 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Data=source", "-o", "plan"]);
    let plan = fs::read_to_string(klon.path("plan")).unwrap();
    for (old, new, words) in [
        ("version = 2", "version = 99", "99"),
        ("[drive]", "[drive]\ncolor = \"red\"", "color"),
        ("start_bytes = ", "start_bytes = -", "start_bytes"),
        ("[table]", "[tables]", "table"),
    ] {
        assert!(plan.contains(old), "{old}");
        fs::write(
            klon.path("bad"),
            plan.replacen(&format!("\n{old}"), &format!("\n{new}"), 1),
        )
        .unwrap();
        for command in ["prepare", "clone", "verify"] {
            let outcome = klon.run(&[command, "bad"]);
            assert!(
                [2, 5].contains(&outcome.code),
                "{}: {}",
                outcome.line,
                outcome.code
            );
            outcome.says(&["bad", words]);
        }
    }
}

#[test]
fn what_has_no_bytes_or_is_a_plan_is_no_source() {
    let klon = Klon::new();
    std::fs::write(klon.path("empty"), "").unwrap();
    klon.refused(&["clone", "empty", "target"], &["has no bytes"]);
    klon.refused(&["image", "empty", "i.klon"], &["has no bytes"]);
    assert!(!klon.path("i.klon").exists());
    crate::support::image::ext4(&klon.path("source"), 24, 1);
    crate::support::image::sparse(&klon.path("drive"), 100 << 20);
    klon.ok(&["plan", "--drive", "drive", "A=source", "-o", "plan"]);
    for command in [["clone", "plan", "target"], ["image", "plan", "i.klon"]] {
        klon.run(&command)
            .expect(2)
            .says(&["is a plan", "klon clone plan"]);
    }
    assert!(!klon.path("target").exists() && !klon.path("i.klon").exists());
    klon.ok(&["clone", "raw:plan", "target"]);
}
