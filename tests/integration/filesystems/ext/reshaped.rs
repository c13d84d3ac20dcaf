//! ext volumes that were resized, or began as something else.

use super::super::image_file::ImageFile;
use super::tool::run;
use super::variant::Variant;
use super::{assert_agrees, filesystem};

#[test]
fn resized_volumes_agree() {
    let resizes = [
        ("ext4", ["200M", "30M"]),
        ("meta_bg", ["300M", "100M"]),
        ("1k", ["3G", "300M"]),
        ("32-byte", ["6G", "100M"]),
        ("sparse_super2", ["900M", "150M"]),
        ("no-resize", ["1G", "80M"]),
        ("many-groups", ["900M", "200M"]),
        ("uninit-32", ["2G", "200M"]),
    ];
    for (name, sizes) in resizes {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        let path = image.to_str().unwrap();
        for size in sizes {
            run("e2fsck", &["-fp", path]);
            run("resize2fs", &[path, size]);
            assert_agrees(&image, &format!("{name} resized to {size}"));
        }
    }
}

/// Volumes that began as something else.
#[test]
fn converted_volumes_agree() {
    let conversions = [
        (
            "ext3",
            "tune2fs -O extents,uninit_bg,flex_bg \"$0\"; e2fsck -fyD \"$0\"",
        ),
        (
            "ext2",
            "tune2fs -j \"$0\"; e2fsck -fyD \"$0\"; tune2fs -O extents,metadata_csum \"$0\"",
        ),
        ("32-byte", "resize2fs -b \"$0\""),
        (
            "1k",
            "resize2fs -s \"$0\"; tune2fs -O ^resize_inode \"$0\"; e2fsck -fy \"$0\"",
        ),
        (
            "no-flex",
            "tune2fs -O ^has_journal,^metadata_csum \"$0\"; e2fsck -fy \"$0\"; tune2fs -j \"$0\"",
        ),
        ("small-inodes", "tune2fs -I 256 \"$0\""),
        ("seed", "tune2fs -U random -Q usrquota \"$0\""),
    ];
    for (name, script) in conversions {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        let path = image.to_str().unwrap();
        run("e2fsck", &["-fp", path]);
        let token = || {
            let device = ImageFile::open(&image);
            filesystem(&device).change_token(&device).unwrap()
        };
        let before = token();
        // e2fsck says by its exit code that it made the changes asked for.
        run("sh", &["-c", &format!("{script}; true"), path]);
        assert_ne!(token(), before, "{name}: {script}");
        run("e2fsck", &["-fp", path]);
        assert_agrees(&image, &format!("{name}: {script}"));
    }
}
