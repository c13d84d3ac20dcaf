//! What the commands for images say and refuse.

use crate::support::image::{allocated_bytes, boot_disk, ext4, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run};
use std::fs::{self, File};

fn with_source() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 40, 4);
    klon
}

#[test]
fn a_snapshot_is_added_by_each_run_and_listed() {
    let klon = with_source();
    let first = klon.json(&["image", "source", "i.klon", "--note", "the first"]);
    assert_eq!(
        (&first["snapshot"], &first["rung"]),
        (&1.into(), &"full".into())
    );
    let again = klon.json(&["image", "source", "i.klon"]);
    assert_eq!(
        (&again["rung"], number(&again, "changed_bytes")),
        (&"digest".into(), 0)
    );
    assert!(number(&again, "added_bytes") < 16384);
    let list = klon.run(&["list", "i.klon", "--json"]).expect(0).lines();
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["note"], "the first");
    assert_eq!(list[0]["used_bytes"], list[1]["used_bytes"]);
    klon.ok(&["list", "i.klon"])
        .shows(&["\"the first\"", "path:", "image: "]);
    let info = klon.json(&["info", "i.klon@1"]);
    // What a snapshot added is one number, whoever says it.
    let added = [&first, &list[0], &info].map(|one| number(one, "added_bytes"));
    assert!(added.iter().all(|one| *one == added[0]), "{added:?}");
    assert_eq!(
        number(&list[1], "added_bytes"),
        number(&again, "added_bytes")
    );
    assert_eq!(
        (&info["kind"], &info["filesystem"]["label"]),
        (&"volume".into(), &"source".into())
    );
    klon.ok(&["info", "i.klon"]).shows(&[
        "snapshot 2",
        "ext4 \"source\"",
        "compared with snapshot 1",
    ]);
    assert!(number(&info, "stored_bytes") < allocated_bytes(&klon.path("i.klon")));
}

#[test]
fn what_is_stored_is_compared_or_stored_again_when_asked_for() {
    let klon = with_source();
    klon.ok(&["image", "source", "i.klon"]);
    let compared = klon.json(&["image", "source", "i.klon", "--rung", "compare"]);
    assert_eq!(number(&compared, "changed_bytes"), 0);
    assert!(number(&compared, "added_bytes") < 16384);
    // Noise, which is as long as it was.
    let full = klon.json(&["image", "source", "i.klon", "--rung", "full"]);
    assert!(number(&full, "added_bytes") > 4 * MIB);
    klon.ok(&["restore", "i.klon", "target"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn compare_stores_again_what_is_damaged_in_the_file() {
    let klon = with_source();
    klon.ok(&["image", "source", "i.klon"]);
    // The middle of the file is in some chunk's frame.
    let middle = fs::metadata(klon.path("i.klon")).unwrap().len() / 2;
    crate::support::image::flip(&klon.path("i.klon"), middle);
    klon.run(&["restore", "i.klon", "broken"])
        .expect(5)
        .says(&["data frame", "marked as unfinished"]);
    let healed = klon.json(&["image", "source", "i.klon", "--rung", "compare"]);
    assert!((MIB / 2..3 * MIB).contains(&number(&healed, "added_bytes")));
    klon.ok(&["restore", "i.klon", "target"]);
    klon.ok(&["verify", "target", "source"]);
    // What is damaged does not come back by itself.
    klon.run(&["restore", "i.klon@1", "again"]).expect(5);
}

#[test]
fn nothing_but_an_image_is_added_to() {
    let klon = with_source();
    sparse(&klon.path("other"), MIB);
    klon.refused(&["image", "source", "other"], &["is not a klon image"]);
    klon.refused(&["image", "source", "source"], &["is the source itself"]);
    klon.refused(&["image", "source", "."], &["is not a plain file"]);
    assert!(
        fs::read(klon.path("other"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
    klon.ok(&["image", "source", "i.klon"]);
    klon.refused(
        &["clone", "source", "i.klon"],
        &["is a klon image with snapshots"],
    );
    let held = File::open(klon.path("i.klon")).unwrap();
    held.lock().unwrap();
    klon.refused(&["image", "source", "i.klon"], &["another klon adds to"]);
    drop(held);
    klon.ok(&["image", "source", "i.klon"]);
}

#[test]
fn snapshots_that_are_not_there_are_named() {
    let klon = with_source();
    klon.ok(&["image", "source", "i.klon"]);
    klon.run(&["restore", "i.klon@7", "target"])
        .expect(2)
        .says(&["no snapshot 7", "it has 1"]);
    klon.run(&["info", "i.klon@x"])
        .expect(2)
        .says(&["not a snapshot number"]);
    klon.run(&["restore", "source", "target"])
        .expect(2)
        .says(&["neither a klon image", "klon clone"]);
    for missing in ["missing.klon", "missing.klon@2", "missing.klon:2"] {
        klon.run(&["restore", missing, "target"])
            .expect(2)
            .says(&["missing.klon: there is no such file"]);
    }
    for arguments in [
        &["list", "missing.klon"][..],
        &["list", "missing.klon@1"],
        &["info", "missing.klon@1"],
        &["prune", "missing.klon", "--keep-last", "1"],
        &["mount", "missing.klon", "."],
        &["serve", "missing.klon"],
    ] {
        klon.run(arguments)
            .expect(2)
            .says(&["klon: missing.klon: there is no such file"]);
    }
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["diff", "i.klon@1", "i.klon@2"])
        .shows(&["by the digests in the image (klon verify reads"]);
    klon.run(&["restore", "i.klon:2", "target"])
        .expect(2)
        .says(&["no partition table"]);
    assert!(!klon.path("target").exists());
}

#[test]
fn an_interrupted_first_run_leaves_no_snapshot_and_is_gone_on_with() {
    let klon = with_source();
    klon.ok(&["image", "source", "whole.klon"]);
    let whole = fs::read(klon.path("whole.klon")).unwrap();
    fs::write(klon.path("i.klon"), &whole[..whole.len() * 2 / 3]).unwrap();
    let list = klon.ok(&["list", "i.klon"]);
    list.says(&["an interrupted run left"]);
    list.shows(&["no complete snapshot"]);
    klon.run(&["restore", "i.klon", "target"])
        .expect(2)
        .says(&["no complete snapshot"]);
    let on = klon.json(&["image", "source", "i.klon"]);
    assert!(number(&on, "added_bytes") < whole.len() as u64 / 2);
    klon.ok(&["restore", "i.klon", "target"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_restore_asks_before_it_overwrites_and_both_where_the_target_is_the_original() {
    let klon = with_source();
    klon.ok(&["image", "source", "i.klon"]);
    ext4(&klon.path("precious"), 40, 1);
    let precious = klon.text("precious");
    klon.refused(
        &["restore", "i.klon", "precious"],
        &["would overwrite", "ext4 \"precious\""],
    );
    klon.ok(&[
        "restore",
        "i.klon",
        "precious",
        "--yes",
        "--confirm",
        &precious,
    ]);
    klon.ok(&["verify", "precious", "source"]);
    // Nor a second time is the original overwritten unasked.
    klon.ok(&["clone", "source", "backup"]);
    klon.refused(&["restore", "i.klon", "source"], &["ORIGINAL"]);
}

#[test]
fn only_what_differs_is_written() {
    let klon = with_source();
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["restore", "i.klon", "target"]);
    let again = klon.json(&["restore", "i.klon", "target"]);
    assert_eq!(
        (&again["rung"], number(&again, "written_bytes")),
        (&"digest".into(), 0)
    );
    // Without a record, what is there is seen.
    fs::remove_dir_all(klon.records()).unwrap();
    crate::support::image::flip(&klon.path("target"), 30 * MIB);
    let target = klon.text("target");
    let consent = ["--yes", "--confirm", &target];
    let compared = klon.json(&[&["restore", "i.klon", "target"][..], &consent].concat());
    assert_eq!(compared["rung"], "compare");
    assert!(number(&compared, "written_bytes") < 300_000);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_clone_and_its_source_s_image_know_of_each_other() {
    let klon = with_source();
    klon.ok(&["clone", "source", "target"]);
    klon.ok(&["image", "source", "i.klon"]);
    // The record of the clone serves the restore: it is of the same original.
    let restored = klon.json(&["restore", "i.klon", "target"]);
    assert_eq!(
        (&restored["rung"], number(&restored, "written_bytes")),
        (&"digest".into(), 0)
    );
}

#[test]
fn partitions_of_a_disk_go_where_they_are_told() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["image", "disk", "i.klon"]);
    klon.ok(&["info", "i.klon"])
        .shows(&["partition 1", "partition 3", "fat", "ext4"]);
    klon.ok(&["restore", "i.klon@1:3", "root"]);
    klon.ok(&["verify", "root", "disk:3"]);
    klon.ok(&[
        "restore",
        "i.klon",
        "--partition",
        "1=esp",
        "--partition",
        "3=root2",
    ]);
    klon.ok(&["verify", "esp", "disk:1"]);
    klon.ok(&["verify", "root2", "disk:3"]);
    klon.run(&[
        "restore",
        "i.klon",
        "--partition",
        "1=a",
        "--partition",
        "3=a",
    ])
    .expect(2)
    .says(&["twice"]);
    klon.run(&["restore", "i.klon", "--partition", "x"])
        .expect(2)
        .says(&["2=/dev/sdb3"]);
    klon.ok(&["map", "i.klon:3"]).shows(&["ext4"]);
    klon.ok(&["clone", "i.klon@1:1", "esp2"]);
    klon.ok(&["verify", "esp2", "disk:1"]);
}

#[test]
fn an_image_goes_to_standard_output_or_into_parts() {
    let klon = with_source();
    let (source, piped) = (klon.text("source"), klon.text("piped.klon"));
    let program = env!("CARGO_BIN_EXE_klon");
    let script = format!("'{program}' image '{source}' - | cat > '{piped}'");
    run("bash", &["-o", "pipefail", "-c", &script]);
    klon.ok(&["image", "source", "split.klon", "--split", "1M"]);
    klon.ok(&["image", "source", "split.klon", "--split", "1M"]);
    assert!(klon.path("split.klon.003").exists());
    assert!(fs::metadata(klon.path("split.klon.000")).unwrap().len() <= MIB);
    for image in ["piped.klon", "split.klon", "split.klon@1"] {
        klon.ok(&["restore", image, "target"]);
        klon.ok(&["verify", "target", "source"]);
        fs::remove_file(klon.path("target")).unwrap();
    }
    klon.run(&["image", "source", "-", "--json"]).expect(2);
    klon.run(&["image", "source", "other.klon", "--split", "x"])
        .expect(2)
        .says(&["--split x"]);
}

/// The first mebibyte is in every image, also where the filesystem has free blocks there; that is no
/// difference, and nothing that no one proved free.
#[test]
fn a_volume_is_equal_to_its_image_and_restored_without_alarm() {
    let klon = Klon::new();
    let source = klon.path("source");
    crate::support::image::sparse(&source, 4 * MIB);
    run("mke2fs", &["-q", "-F", klon.text("source").as_str()]);
    klon.ok(&["image", "source", "i.klon"]);
    let same = klon.json(&["diff", "i.klon", "source"]);
    assert_eq!(same["is_equal"], true, "{same:#}");
    let restored = klon.ok(&["restore", "i.klon", "target"]);
    assert!(!restored.stderr.contains("proved"), "{}", restored.stderr);
    run("e2fsck", &["-fn", klon.text("target").as_str()]);
}
