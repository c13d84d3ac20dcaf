//! squashfs against squashfs-tools and the kernel.

use super::{
    ROOM_BYTES, assert_copied, assert_same_files, check_by_kernel, grow, len_bytes, mapped,
    number_after, text, tree, write,
};
use crate::support::oracle::copy_onto_noise;
use crate::support::{lacks_root, run};
use std::path::Path;

const VARIANTS: [(&str, &[&str]); 9] = [
    ("gzip", &[]),
    ("xz-1m", &["-comp", "xz", "-b", "1M"]),
    ("zstd-4k", &["-comp", "zstd", "-b", "4096"]),
    ("lz4", &["-comp", "lz4", "-Xhc"]),
    ("lzo", &["-comp", "lzo", "-no-fragments"]),
    ("lzma", &["-comp", "lzma", "-no-exports"]),
    ("plain", &["-noI", "-noD", "-noF", "-noX"]),
    (
        "packed",
        &["-always-use-fragments", "-no-xattrs", "-all-root"],
    ),
    ("unpadded", &["-nopad", "-no-duplicates"]),
];

fn make(directory: &Path, name: &str, options: &[&str]) -> std::path::PathBuf {
    let files = directory.join("tree");
    if !files.exists() {
        tree(&files);
    }
    let image = directory.join(name);
    let arguments = [
        &[text(&files), text(&image)],
        options,
        &["-quiet", "-no-progress"],
    ];
    run("mksquashfs", &arguments.concat());
    image
}

#[test]
fn used_is_what_unsquashfs_says_and_a_copy_of_it_unpacks() {
    let directory = tempfile::tempdir().unwrap();
    for (name, options) in VARIANTS {
        let image = make(directory.path(), name, options);
        let size_bytes = number_after(&run("unsquashfs", &["-s", text(&image)]), "Filesystem size");
        let end_bytes = size_bytes.next_multiple_of(4096).min(len_bytes(&image));
        for more_bytes in [0, ROOM_BYTES] {
            grow(&image, more_bytes);
            let used = mapped(&image, name);
            let end_bytes = end_bytes.max(size_bytes.next_multiple_of(4096).min(len_bytes(&image)));
            assert_eq!(
                (used.end_bytes(), used.total_bytes()),
                (end_bytes, end_bytes),
                "{name}"
            );
        }
        let (target, out) = (directory.path().join("copy"), directory.path().join("out"));
        copy_onto_noise(&image, &target, &mapped(&image, name));
        run("unsquashfs", &["-n", "-q", "-d", text(&out), text(&target)]);
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

/// A hash tree of dm-verity, an overlay of OpenWrt, a footer.
#[test]
fn what_is_appended_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let image = make(directory.path(), "image", &[]);
    let end_bytes = len_bytes(&image);
    grow(&image, ROOM_BYTES);
    let size_bytes = len_bytes(&image);
    let overlay = (end_bytes.next_multiple_of(65_536) + 1080, b"\x53\xef");
    let footer = (size_bytes - 64, b"AV");
    for (at, bytes) in [overlay, footer] {
        write(&image, bytes, at);
        assert_copied(&image, at, "appended");
        write(&image, &[0; 2], at);
    }
    let offset = format!("--hash-offset={end_bytes}");
    let blocks = format!("--data-blocks={}", end_bytes / 4096);
    let arguments = ["format", &offset, &blocks, text(&image), text(&image)];
    run("veritysetup", &arguments);
    assert_copied(&image, end_bytes, "verity");
}
