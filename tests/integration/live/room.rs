//! Room of a target in which a pass stages, and which the source comes to use before the next one.

use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, image, lacks_root, run};
use std::fs;

/// Clones a mounted volume to `target`, whose file is sparse, and again while the source comes to use what was
/// free between two passes. Compares the new file on the clone, which begins at `offset_bytes` of `file`.
fn cloned_again(klon: &Klon, [target, confirm]: [&str; 2], file: &str, offset_bytes: u64) {
    image::sparse(&klon.path("source"), 400 * MIB);
    run("mkfs.ext4", &["-q", "-F", &klon.text("source")]);
    let source = LoopDevice::new(&klon.path("source"), 512);
    let mount = Mount::new(source.path(), &klon.path("mount"), "rw");
    let (old, new) = (mount.path().join("old"), mount.path().join("new"));
    fs::write(&old, noise(1, 80 << 20)).unwrap();
    let clone = [
        "clone",
        source.text(),
        target,
        "--yes",
        "--freeze-max",
        "60s",
    ];
    let file = &klon.text(file);
    let clone = [&clone[..], &["--confirm", confirm]].concat();
    klon.ok(&clone);
    // Much has changed, so that there is more than one pass.
    fs::write(&old, noise(2, 80 << 20)).unwrap();
    fs::write(klon.path("content"), noise(3, 40 << 20)).unwrap();
    let (flag, content) = (klon.text("flag"), klon.text("content"));
    let hook = format!(
        "if [ -e '{flag}' ]; then [ -e '{0}' ] || cp '{content}' '{0}'; fi; touch '{flag}'",
        new.to_str().unwrap()
    );
    klon.ok(&[&clone[..], &["--before-freeze", &hook]].concat());
    assert!(new.exists(), "there was one pass only");
    drop(mount);
    klon.ok(&["verify", target]);
    let options = format!(
        "loop,ro,noload,offset={offset_bytes},sizelimit={}",
        400 * MIB
    );
    let there = Mount::new(file, &klon.path("there"), &options);
    let there = there.path().join("new");
    run("cmp", &[&klon.text("content"), there.to_str().unwrap()]);
}

#[test]
fn a_chunk_that_is_staged_again_keeps_what_the_pass_before_found_of_it() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    for name in ["source", "target"] {
        image::sparse(&klon.path(name), 300 * MIB);
    }
    run("mkfs.ext4", &["-q", "-F", &klon.text("source")]);
    let source = LoopDevice::new(&klon.path("source"), 512);
    let mount = Mount::new(source.path(), &klon.path("mount"), "rw");
    let file = mount.path().join("file");
    fs::write(&file, noise(1, 90 << 20)).unwrap();
    let target = klon.text("target");
    let limit = ["--freeze-max", "60s", "--yes", "--confirm", &target];
    let clone = [&["clone", source.text(), "target"], &limit[..]].concat();
    klon.ok(&clone);
    // All of it changes before the first pass, and a block of each chunk before the second.
    fs::write(&file, noise(2, 90 << 20)).unwrap();
    let (flag, file_text) = (klon.text("flag"), file.to_str().unwrap());
    let hook = format!(
        "if [ -e '{flag}' ] && [ ! -e '{flag}2' ]; then touch '{flag}2'; for at in $(seq 100 256 23000); do \
         dd if=/dev/urandom of='{file_text}' bs=4k count=1 seek=$at conv=notrunc status=none; done; fi; touch \
         '{flag}'"
    );
    klon.ok(&[&clone[..], &["--before-freeze", &hook]].concat());
    assert!(klon.path("flag2").exists(), "there was one pass only");
    run("cp", &[file_text, &klon.text("content")]);
    drop(mount);
    klon.ok(&["verify", "target"]);
    let there = Mount::new(klon.path("target"), &klon.path("there"), "loop,ro,noload");
    let there = there.path().join("file");
    run("cmp", &[&klon.text("content"), there.to_str().unwrap()]);
}

#[test]
fn what_came_to_be_used_between_passes_is_on_a_sparse_target() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("target"), 400 * MIB);
    let target = &klon.text("target");
    cloned_again(&klon, [target, target], "target", 0);
}

#[test]
fn what_came_to_be_used_between_passes_is_in_a_partition_of_a_sparse_file() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("drive"), 500 * MIB);
    const GUID: &str = "6d1f8a52-0c55-4b0e-9d7a-3f6b2a1c4e90";
    let guid = format!("-u1:{GUID}");
    run("sgdisk", &["-n1:2048:+400M", &guid, &klon.text("drive")]);
    let ends = [
        format!("{}:1", klon.text("drive")),
        format!("partuuid:{GUID}"),
    ];
    cloned_again(&klon, [&ends[0], &ends[1]], "drive", MIB);
}
