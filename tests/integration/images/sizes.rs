//! Images with chunks of other sizes than 1 MiB, from making them to pruning them.

use super::serve::running::Running;
use crate::support::image::{allocated_bytes, ext4, flip, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run};
use std::fs;

/// The sizes at the ends, and how many bytes they are.
const SIZES: [(&str, u64); 2] = [("64K", 65_536), ("16M", 16 << 20)];

/// Two snapshots of a volume of 40 MiB, of which one byte was changed between.
fn two(klon: &Klon, size: &str) {
    ext4(&klon.path("source"), 40, 12);
    fs::copy(klon.path("source"), klon.path("before")).unwrap();
    klon.ok(&["image", "source", "i.klon", "--chunk", size]);
    let blocks = run("debugfs", &["-R", "blocks large", &klon.text("source")]);
    let first: u64 = blocks.split_whitespace().next().unwrap().parse().unwrap();
    flip(&klon.path("source"), first * 4096 + 5);
    // The size of the file is taken without being asked for.
    let again = klon.json(&["image", "source", "i.klon"]);
    assert_eq!(again["rung"], "digest");
    let info = klon.json(&["info", "i.klon"]);
    assert_eq!(
        number(&again, "changed_bytes"),
        number(&info, "chunk_bytes")
    );
}

#[test]
fn an_image_of_any_size_of_chunks_does_all_that_one_of_the_usual_does() {
    let reader = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/images/reader.py"
    );
    for (size, bytes) in SIZES {
        let klon = Klon::new();
        two(&klon, size);
        assert_eq!(
            number(&klon.json(&["info", "i.klon"]), "chunk_bytes"),
            bytes
        );
        for rung in ["compare", "full"] {
            klon.ok(&["image", "source", "i.klon", "--rung", rung, "--chunk", size]);
        }
        klon.ok(&["verify", "i.klon"]);
        klon.ok(&["verify", "i.klon@2", "source"]);
        for (snapshot, source) in [("1", "before"), ("2", "source")] {
            let image = format!("i.klon@{snapshot}");
            klon.ok(&["restore", &image, "target", "--in-place"]);
            klon.ok(&["verify", "target", source]);
            let (file, out) = (klon.text("i.klon"), klon.text("raw"));
            run("python3", &[reader, &file, snapshot, &out]);
            klon.ok(&["export", &image, "out.img", "--force"]);
            run("cmp", &[&klon.text("out.img"), &out]);
            klon.ok(&["export", &image, "out.qcow2", "--compress", "--force"]);
            let qcow2 = klon.text("out.qcow2");
            run("qemu-img", &["compare", "-F", "qcow2", &out, &qcow2]);
        }
        let diff = klon.run(&["diff", "i.klon@1", "i.klon@2", "--json"]);
        let diff = diff.expect(1).last();
        assert_eq!(number(&diff, "differing_bytes"), 4096);
        assert_eq!(diff["first_files"]["files"][0]["path"], "/large");
        klon.ok(&["diff", "i.klon@2", "i.klon@4"]);
        let taken = allocated_bytes(&klon.path("i.klon"));
        klon.ok(&["prune", "i.klon", "--keep-last", "1", "--yes"]);
        assert!(allocated_bytes(&klon.path("i.klon")) < taken);
        klon.ok(&["prune", "i.klon", "--compact", "--yes"]);
        assert_eq!(
            number(&klon.json(&["info", "i.klon"]), "chunk_bytes"),
            bytes
        );
        klon.ok(&["verify", "i.klon", "source"]);
    }
}

#[test]
fn others_read_images_of_any_size_of_chunks() {
    for (size, bytes) in SIZES {
        let klon = Klon::new();
        two(&klon, size);
        klon.ok(&["export", "i.klon", "out.img"]);
        let serving = Running::start(&klon, &["serve", "i.klon", "--listen", "127.0.0.1:0"]);
        let found = klon.text("found");
        run("nbdcopy", &[serving.uri(), &found]);
        run("cmp", &[&klon.text("out.img"), &found]);
        let map = "--map=klon:changed-since:1";
        let map = run("nbdinfo", &["--json", map, serving.uri()]);
        let map: serde_json::Value = serde_json::from_str(&map).unwrap();
        let changed = map.as_array().unwrap().iter();
        let changed = changed.filter(|entry| entry["type"] == 1);
        let changed: u64 = changed.map(|entry| number(entry, "length")).sum();
        assert_eq!(changed, bytes);
    }
}

#[test]
fn images_of_several_sizes_are_compared_with_each_other() {
    let klon = Klon::new();
    two(&klon, "128K");
    klon.ok(&["image", "source", "large.klon", "--chunk", "8M"]);
    klon.ok(&["diff", "i.klon", "large.klon"]);
    klon.ok(&["diff", "large.klon", "i.klon"]);
    let diff = klon.run(&["diff", "large.klon", "i.klon@1", "--json"]);
    assert_eq!(number(&diff.expect(1).last(), "differing_bytes"), 4096);
}

#[test]
fn new_images_of_every_kind_take_a_size_and_others_keep_theirs() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 40, 4);
    let chunks = |image: &str| number(&klon.json(&["info", image]), "chunk_bytes");
    klon.ok(&["image", "source", "usual.klon"]);
    assert_eq!(chunks("usual.klon"), MIB);
    klon.ok(&["image", "source", "usual.klon", "--chunk", "1M"]);
    klon.ok(&[
        "image",
        "source",
        "split.klon",
        "--split",
        "1M",
        "--chunk",
        "64K",
    ]);
    klon.ok(&["image", "source", "split.klon", "--split", "1M"]);
    let source = klon.text("source");
    let (program, piped) = (env!("CARGO_BIN_EXE_klon"), klon.text("piped.klon"));
    let script = format!("'{program}' image '{source}' - --chunk 64K >'{piped}'");
    run("sh", &["-c", &script]);
    let qcow2 = klon.text("in.qcow2");
    let convert = ["convert", "-f", "raw", "-O", "qcow2", "-c"];
    run("qemu-img", &[&convert[..], &[&source, &qcow2]].concat());
    for input in ["in.qcow2", "source"] {
        klon.ok(&["import", input, "in.klon", "--chunk", "64K"]);
    }
    klon.refused(
        &["import", "in.qcow2", "in.klon", "--chunk", "1M"],
        &["chunks of 64 KiB", "begin a new image"],
    );
    for image in ["split.klon", "piped.klon", "in.klon"] {
        assert_eq!(chunks(image), 65_536, "{image}");
        klon.ok(&["verify", image, "source"]);
    }
    let before = fs::read(klon.path("usual.klon")).unwrap();
    klon.refused(
        &["image", "source", "usual.klon", "--chunk", "64K"],
        &["chunks of 1 MiB", "Leave out --chunk"],
    );
    assert!(fs::read(klon.path("usual.klon")).unwrap() == before);
    for wrong in ["32K", "32M", "100K", "0", "x"] {
        let failed = klon.run(&["image", "source", "new.klon", "--chunk", wrong]);
        failed.expect(2).says(&["--chunk"]);
    }
    assert!(!klon.path("new.klon").exists());
    sparse(&klon.path("empty"), MIB);
    klon.ok(&["image", "empty", "empty.klon", "--chunk", "16M"]);
    klon.ok(&["verify", "empty.klon", "empty"]);
}

#[test]
fn a_restore_writes_only_what_differs_with_any_size_of_chunks() {
    for (size, _) in SIZES {
        let klon = Klon::new();
        two(&klon, size);
        klon.ok(&["restore", "i.klon@1", "target"]);
        let again = klon.json(&["restore", "i.klon@2", "target"]);
        assert_eq!(again["rung"], "digest");
        assert_eq!(number(&again, "changed_bytes"), 4096);
        fs::remove_dir_all(klon.records()).unwrap();
        let target = klon.text("target");
        let consent = ["--yes", "--confirm", &target];
        let compared = klon.json(&[&["restore", "i.klon@1", "target"][..], &consent].concat());
        assert_eq!(compared["rung"], "compare");
        assert_eq!(number(&compared, "changed_bytes"), 4096);
        klon.ok(&["verify", "target", "before"]);
    }
}
