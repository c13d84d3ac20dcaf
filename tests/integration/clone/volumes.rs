//! One volume to one file.

use crate::support::image::{allocated_bytes, ext4, fat, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run, tree};
use std::fs;
use std::os::unix::fs::FileExt;

/// A record of what [`clone`] says.
const KEYS: [&str; 9] = [
    "rung",
    "source_bytes",
    "used_bytes",
    "read_source_bytes",
    "read_target_bytes",
    "checked_bytes",
    "changed_bytes",
    "written_bytes",
    "seconds",
];

/// Clones twice with all checks that hold for every kind of volume.
fn check(klon: &Klon, again: &str) {
    let first = klon.json(&["clone", "source", "target"]);
    for key in KEYS {
        assert!(!first[key].is_null(), "{key} is missing in {first:#}");
    }
    assert_eq!(first["rung"], "full");
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "source"]);
    let second = klon.json(&["clone", "source", "target"]);
    assert_eq!(second["rung"], again, "{second:#}");
    assert_eq!(number(&second, "written_bytes"), 0, "{second:#}");
    assert_eq!(number(&second, "changed_bytes"), 0, "{second:#}");
}

/// How much of the file that was made takes up space: what is in use, not the whole.
fn check_sparse(klon: &Klon) {
    let map = klon.json(&["map", "source"]);
    let allocated = allocated_bytes(&klon.path("target"));
    let used = number(&map, "used_bytes");
    assert!(allocated <= used + MIB, "{allocated} of {used} used");
}

#[test]
fn an_ext4_volume_makes_a_sparse_file_with_all_that_is_in_use() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 96, 20);
    check(&klon, "digest");
    check_sparse(&klon);
    run("e2fsck", &["-fn", &klon.text("target")]);
    let large = klon.text("large");
    run(
        "debugfs",
        &[
            "-R",
            &format!("dump large \"{large}\""),
            &klon.text("target"),
        ],
    );
    assert!(fs::read(large).unwrap() == tree::noise(96, 20 << 20));
}

#[test]
fn a_fat_volume_is_cloned_and_told_by_its_files() {
    let klon = Klon::new();
    fat(&klon.path("source"), 40, 512);
    check(&klon, "compare");
    check_sparse(&klon);
    run("fsck.fat", &["-n", &klon.text("target")]);
    let content = |volume: &str| run("mtype", &["-i", &klon.text(volume), "::/EFI/bootx64.efi"]);
    assert_eq!(content("source"), content("target"));
}

#[test]
fn unknown_content_is_copied_whole_and_exactly() {
    let klon = Klon::new();
    sparse(&klon.path("source"), 20 * MIB + 1536);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("source"))
        .unwrap();
    file.write_all_at(&tree::noise(1, 3 << 20), 5 * MIB + 77)
        .unwrap();
    file.write_all_at(&tree::noise(2, 1000), 20 * MIB + 500)
        .unwrap();
    check(&klon, "compare");
    assert!(fs::read(klon.path("source")).unwrap() == fs::read(klon.path("target")).unwrap());
    // The data, and the first chunk, which is always written.
    assert!(allocated_bytes(&klon.path("target")) < 5 * MIB);
}

#[test]
fn a_volume_of_zeroes_wipes_what_the_target_held() {
    let klon = Klon::new();
    sparse(&klon.path("source"), 12 * MIB);
    fs::write(klon.path("target"), tree::noise(9, 12 << 20)).unwrap();
    let target = klon.text("target");
    klon.refused(
        &["clone", "source", "target"],
        &["--yes --confirm", &target],
    );
    klon.ok(&["clone", "source", "target", "--yes", "--confirm", "target"]);
    assert!(
        fs::read(klon.path("target"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
    klon.ok(&["verify", "target"]);
}

#[test]
fn a_larger_target_keeps_its_rest_and_a_smaller_one_is_refused() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 32, 2);
    sparse(&klon.path("target"), 40 * MIB + 4096);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("target"))
        .unwrap();
    file.write_all_at(b"rest", 39 * MIB).unwrap();
    klon.ok(&["clone", "source", "target", "--verify"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
    let target = fs::read(klon.path("target")).unwrap();
    assert_eq!(target.len() as u64, 40 * MIB + 4096);
    assert_eq!(&target[39 << 20..][..4], b"rest");

    sparse(&klon.path("small"), 31 * MIB);
    let before = fs::read(klon.path("small")).unwrap();
    klon.refused(&["clone", "source", "small"], &["small"]);
    assert!(fs::read(klon.path("small")).unwrap() == before);
}

#[test]
fn every_rung_ends_with_the_same_bytes() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 8);
    klon.ok(&["clone", "source", "target"]);
    let wanted = fs::read(klon.path("target")).unwrap();
    for rung in ["digest", "compare", "full"] {
        let done = klon.json(&["clone", "source", "target", "--rung", rung, "--verify"]);
        assert_eq!(done["rung"], rung, "{done:#}");
        assert!(fs::read(klon.path("target")).unwrap() == wanted, "{rung}");
        let checked_bytes = number(&done, "checked_bytes");
        assert_eq!(checked_bytes > 0, rung == "digest", "{done:#}");
        let read_bytes = number(&done, "read_target_bytes") - checked_bytes;
        assert_eq!(read_bytes > 0, rung == "compare", "{done:#}");
        assert_eq!(
            number(&done, "written_bytes") > 0,
            rung == "full",
            "{done:#}"
        );
    }
    fs::remove_dir_all(klon.records()).unwrap();
    let clone = ["clone", "source", "target", "--rung", "digest"];
    klon.refused(&clone, &["would overwrite"]);
    let without = klon.json(&[&clone[..], &["--yes", "--confirm", "target"]].concat());
    assert_eq!(without["rung"], "compare", "{without:#}");
    let reason = without["volumes"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("digest was asked for and is not possible"),
        "{reason}"
    );
}

/// Where `large` lies on the source, and then another content there and in one more place.
fn change(klon: &Klon) -> u64 {
    let blocks = run("debugfs", &["-R", "blocks large", &klon.text("source")]);
    let block: u64 = blocks.split_whitespace().nth(300).unwrap().parse().unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("source"))
        .unwrap();
    file.write_all_at(b"changed", block * 4096 + 10).unwrap();
    block * 4096
}

#[test]
fn only_differing_blocks_are_written_or_whole_chunks_when_told() {
    for (rewrite, changed) in [("blocks", 4096), ("chunks", MIB)] {
        let klon = Klon::new();
        ext4(&klon.path("source"), 48, 8);
        klon.ok(&["clone", "source", "target"]);
        change(&klon);
        let done = klon.json(&["clone", "source", "target", "--rewrite", rewrite]);
        assert_eq!(done["rung"], "digest");
        assert_eq!(number(&done, "changed_bytes"), changed, "{done:#}");
        let reads_target = number(&done, "read_target_bytes") > number(&done, "checked_bytes");
        assert_eq!(reads_target, rewrite == "blocks", "{done:#}");
        klon.ok(&["verify", "target", "source"]);
    }
}

#[test]
fn freed_space_is_left_or_zeroed_or_discarded() {
    for freed in ["leave", "zero", "discard"] {
        let klon = Klon::new();
        ext4(&klon.path("source"), 48, 8);
        klon.ok(&["clone", "source", "target"]);
        let before = allocated_bytes(&klon.path("target"));
        let blocks = run("debugfs", &["-R", "blocks large", &klon.text("source")]);
        let blocks: Vec<u64> = blocks
            .split_whitespace()
            .map(|b| b.parse().unwrap())
            .collect();
        run("debugfs", &["-w", "-R", "rm large", &klon.text("source")]);
        let done = klon.json(&["clone", "source", "target", "--freed", freed]);
        let target = fs::read(klon.path("target")).unwrap();
        let held = blocks.iter().filter(|&&block| {
            let at = usize::try_from(block * 4096).unwrap();
            target[at..at + 4096].iter().any(|&byte| byte != 0)
        });
        let (held, treated) = (held.count(), number(&done, "freed_bytes"));
        if freed == "leave" {
            assert_eq!((held, treated), (blocks.len(), 0), "{done:#}");
        } else {
            assert_eq!(held, 0, "{freed}: {done:#}");
            assert!(treated >= 8 * MIB, "{done:#}");
            assert!(
                allocated_bytes(&klon.path("target")) + 7 * MIB < before,
                "{freed}"
            );
        }
        run("e2fsck", &["-fn", &klon.text("target")]);
        klon.ok(&["verify", "target"]);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 32, 2);
    let would = klon.json(&["clone", "source", "target", "--dry-run"]);
    assert_eq!(would["event"], "preview");
    assert!(!klon.path("target").exists() && !klon.records().exists());
    klon.ok(&["clone", "source", "target"]);
    change(&klon);
    let target = fs::read(klon.path("target")).unwrap();
    let record = fs::read(klon.only_record()).unwrap();
    let would = klon.json(&["clone", "source", "target", "--dry-run"]);
    assert_eq!(would["rung"], "digest", "{would:#}");
    assert!(number(&would, "copy_bytes") > 0);
    klon.ok(&["clone", "source", "target", "--dry-run", "--rung", "full"]);
    assert!(fs::read(klon.path("target")).unwrap() == target);
    assert!(fs::read(klon.only_record()).unwrap() == record);
}

#[test]
fn a_target_whose_start_was_wiped_is_not_taken_for_blank() {
    let klon = Klon::new();
    sparse(&klon.path("source"), 32 * MIB);
    sparse(&klon.path("target"), 64 * MIB);
    let target = fs::File::options()
        .write(true)
        .open(klon.path("target"))
        .unwrap();
    target.write_all_at(&vec![7; 1 << 20], 40 * MIB).unwrap();
    let before = fs::read(klon.path("target")).unwrap();
    klon.refused(&["clone", "source", "target"], &["zeroes in its first MiB"]);
    assert_eq!(fs::read(klon.path("target")).unwrap(), before);
    klon.ok(&["clone", "source", "target", "--yes", "--confirm", "target"]);
}
