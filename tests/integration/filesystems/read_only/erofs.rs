//! EROFS against erofs-utils and the kernel.

use super::{
    ROOM_BYTES, assert_copied, assert_same_files, check_by_kernel, grow, len_bytes, look, mapped,
    number_after, text, tree, write,
};
use crate::support::oracle::copy_onto_noise;
use crate::support::scratch::on_disk;
use crate::support::{lacks_root, run};
use klon_partition::filesystem::{Basis, Hazard};
use std::path::{Path, PathBuf};

const VARIANTS: [(&str, &[&str]); 9] = [
    ("plain", &[]),
    ("lz4", &["-zlz4"]),
    ("lz4hc-64k", &["-zlz4hc,9", "-C65536"]),
    ("extended", &["-zlz4", "-Eforce-inode-extended"]),
    ("compact", &["-Eforce-inode-compact,noinline_data"]),
    ("chunks", &["--chunksize=4096"]),
    ("unsummed", &["-zlz4", "-Enosbcrc"]),
    ("old", &["-zlz4", "-Elegacy-compress"]),
    ("tails", &["-zlz4", "-C65536", "-Eztailpacking,fragments"]),
];

fn make(directory: &Path, name: &str, options: &[&str]) -> PathBuf {
    let files = directory.join("tree");
    if !files.exists() {
        tree(&files);
    }
    let image = directory.join(name);
    let arguments = [options, &[text(&image), text(&files)]];
    run("mkfs.erofs", &arguments.concat());
    image
}

fn blocks(image: &Path) -> u64 {
    number_after(
        &run("dump.erofs", &["-s", text(image)]),
        "Filesystem blocks:",
    )
}

#[test]
fn used_is_what_dump_erofs_says_and_a_copy_of_it_unpacks() {
    // In memory, mkfs.erofs 1.5 makes no files in chunks.
    let directory = on_disk();
    for (name, options) in VARIANTS {
        let image = make(directory.path(), name, options);
        let end_bytes = blocks(&image) * 4096;
        for more_bytes in [0, ROOM_BYTES] {
            grow(&image, more_bytes);
            let used = mapped(&image, name);
            assert_eq!(
                (used.end_bytes(), used.total_bytes()),
                (end_bytes, end_bytes),
                "{name}"
            );
        }
        let (target, out) = (directory.path().join("copy"), directory.path().join("out"));
        copy_onto_noise(&image, &target, &mapped(&image, name));
        let extract = format!("--extract={}", text(&out));
        run("fsck.erofs", &[&extract, text(&target)]);
        assert_same_files(&directory.path().join("tree"), &out);
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn the_kernel_reads_a_copy_as_the_original() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = make(directory.path(), "image", &[]);
    check_by_kernel(&image, directory.path());
}

#[test]
fn what_is_appended_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let image = make(directory.path(), "image", &["-zlz4"]);
    let end_bytes = len_bytes(&image);
    grow(&image, ROOM_BYTES);
    write(&image, &[1], end_bytes + 70_000);
    assert_copied(&image, end_bytes + 70_000, "appended");
}

#[test]
fn contents_on_another_device_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let blob = format!("--blobdev={}", text(&directory.path().join("blob")));
    let image = make(directory.path(), "image", &["--chunksize=4096", &blob]);
    let usage = look(&image);
    let hazards = usage.summary.unwrap().hazards;
    assert!(
        matches!(hazards[..], [Hazard::MultiDevice(_)]),
        "{hazards:?}"
    );
    assert!(matches!(
        usage.basis,
        Basis::Whole {
            is_warning: true,
            ..
        }
    ));
}
