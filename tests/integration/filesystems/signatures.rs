//! Filesystems that klon knows by name only, made by their own tools, against blkid.

mod handmade;

use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{self, Basis};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const MEBIBYTE: u64 = 1 << 20;

fn run(command: &mut Command) {
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} is needed (see scripts/setup): {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {message}");
}

fn image(directory: &TempDir, size_bytes: u64) -> PathBuf {
    let image = directory.path().join("volume.img");
    let file = fs::File::create(&image).expect("create image");
    file.set_len(size_bytes).expect("size image");
    image
}

/// What blkid says of `tag`.
fn blkid(image: &Path, tag: &str) -> Option<String> {
    let output = Command::new("blkid")
        .args(["-p", "-o", "value", "-s", tag])
        .arg(image)
        .output()
        .expect("blkid is needed (util-linux)");
    let value = String::from_utf8(output.stdout).expect("blkid prints text");
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Klon's kind, label and UUID against blkid's; the whole volume is used, without a warning.
fn check(image: &Path, kind: &str, blkid_type: &str, has_label: bool) {
    let bytes = fs::read(image).expect("read image");
    let size_bytes = bytes.len() as u64;
    let usage = filesystem::usage(&MemoryDevice::new(bytes, 512)).expect("memory reads");
    let summary = usage.summary.expect("recognised");
    assert_eq!(summary.kind.to_string(), kind);
    assert_eq!(blkid(image, "TYPE").as_deref(), Some(blkid_type));
    assert_eq!(summary.uuid, blkid(image, "UUID"));
    if has_label {
        assert!(summary.label.is_some());
        assert_eq!(summary.label, blkid(image, "LABEL"));
    }
    assert!(summary.hazards.is_empty(), "{:?}", summary.hazards);
    assert!(summary.size_bytes <= size_bytes);
    assert_eq!(usage.extents.total_bytes(), size_bytes);
    let is_quiet = matches!(
        usage.basis,
        Basis::Whole {
            is_warning: false,
            ..
        }
    );
    assert!(is_quiet, "{:?}", usage.basis);
}

macro_rules! made_by {
    ($($name:ident: $kind:literal as $blkid:literal, $size:expr, $has_label:literal, $command:expr;)*) => {
        $(#[test]
        fn $name() {
            let directory = TempDir::new().expect("temporary directory");
            let image = image(&directory, $size);
            let [program, options @ ..] = &$command[..] else { unreachable!() };
            run(Command::new(program).args(options).arg(&image));
            check(&image, $kind, $blkid, $has_label);
        })*
    };
}

made_by! {
    swap: "swap" as "swap", 4 * MEBIBYTE, true, ["mkswap", "-L", "pages"];
    swap_with_64k_pages: "swap" as "swap", 4 * MEBIBYTE, true, ["mkswap", "-p", "65536", "-L", "x"];
    luks1: "luks" as "crypto_LUKS", 16 * MEBIBYTE, false,
        ["cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000",
         "--key-file", "/proc/version"];
    luks2: "luks" as "crypto_LUKS", 32 * MEBIBYTE, true,
        ["cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2",
         "--pbkdf-force-iterations", "1000", "--label", "safe", "--key-file", "/proc/version"];
}

#[test]
fn squashfs_and_erofs() {
    let directory = TempDir::new().expect("temporary directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("create directory");
    fs::write(tree.join("file"), "content").expect("write file");
    let squashfs = directory.path().join("squashfs");
    run(Command::new("mksquashfs")
        .arg(&tree)
        .arg(&squashfs)
        .args(["-quiet", "-no-progress"]));
    check(&squashfs, "squashfs", "squashfs", false);
    let erofs = directory.path().join("erofs");
    run(Command::new("mkfs.erofs").arg(&erofs).arg(&tree));
    check(&erofs, "erofs", "erofs", false);
}
