//! Filesystems that klon knows by name only, made by their own tools, against blkid.

mod handmade;

use crate::support::oracle::blkid;
use crate::support::tool::{command, run_command};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{self, Basis};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MEBIBYTE: u64 = 1 << 20;

fn image(directory: &TempDir, size_bytes: u64) -> PathBuf {
    let image = directory.path().join("volume.img");
    let file = fs::File::create(&image).expect("create image");
    file.set_len(size_bytes).expect("size image");
    image
}

/// Klon's kind, label and UUID against blkid's; the whole volume is used, without a warning.
fn check(image: &Path, kind: &str, blkid_type: &str, has_label: bool) {
    let bytes = fs::read(image).expect("read image");
    let size_bytes = bytes.len() as u64;
    let usage = filesystem::usage(&MemoryDevice::new(bytes, 512)).expect("memory reads");
    let summary = usage.summary.expect("recognised");
    assert_eq!(summary.kind.to_string(), kind);
    assert_eq!(blkid(image, "TYPE").as_deref(), Some(blkid_type));
    // Klon tells no more of UDF than that it is there.
    if kind != "udf" {
        assert_eq!(summary.uuid, blkid(image, "UUID"));
    }
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
            run_command(command(program).args(options).arg(&image));
            check(&image, $kind, $blkid, $has_label);
        })*
    };
}

made_by! {
    nilfs2: "nilfs2" as "nilfs2", 16 * MEBIBYTE, true,
        ["mkfs.nilfs2", "-q", "-B", "16", "-L", "log"];
    nilfs2_1k: "nilfs2" as "nilfs2", 16 * MEBIBYTE, false,
        ["mkfs.nilfs2", "-q", "-B", "16", "-b", "1024"];
    reiserfs: "reiserfs" as "reiserfs", 40 * MEBIBYTE, true,
        ["mkfs.reiserfs", "-q", "-f", "-l", "tree"];
    reiserfs_3_5: "reiserfs" as "reiserfs", 40 * MEBIBYTE, false,
        ["mkfs.reiserfs", "-q", "-f", "--format", "3.5"];
    reiserfs_other_journal: "reiserfs" as "reiserfs", 40 * MEBIBYTE, false,
        ["mkfs.reiserfs", "-q", "-f", "-s", "1024", "-b", "1024"];
    jfs: "jfs" as "jfs", 16 * MEBIBYTE, true, ["mkfs.jfs", "-q", "-L", "journal"];
    udf: "udf" as "udf", 16 * MEBIBYTE, false, ["mkudffs", "-u", "0123456789abcdef"];
    udf_2k: "udf" as "udf", 16 * MEBIBYTE, false, ["mkudffs", "-b", "2048"];
    udf_4k: "udf" as "udf", 16 * MEBIBYTE, false, ["mkudffs", "-b", "4096"];
    luks1: "luks" as "crypto_LUKS", 16 * MEBIBYTE, false,
        ["cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000",
         "--key-file", "/proc/version"];
    luks2: "luks" as "crypto_LUKS", 32 * MEBIBYTE, true,
        ["cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2",
         "--pbkdf-force-iterations", "1000", "--label", "safe", "--key-file", "/proc/version"];
}

#[test]
fn ufs_of_both_versions_and_byte_orders() {
    let directory = TempDir::new().expect("temporary directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("create directory");
    fs::write(tree.join("file"), "content").expect("write file");
    for version in ["version=1", "version=2", "version=2,bsize=32768,fsize=4096"] {
        for order in ["le", "be"] {
            let image = directory.path().join(format!("{order}-{version}"));
            let options = ["-t", "ffs", "-B", order, "-s", "4m", "-o", version];
            run_command(command("makefs").args(options).arg(&image).arg(&tree));
            check(&image, "ufs", "ufs", false);
        }
    }
}

/// The way to copy less is told.
#[test]
fn what_is_encrypted_says_how_it_copies_faster() {
    let directory = TempDir::new().expect("temporary directory");
    let image = image(&directory, 16 * MEBIBYTE);
    let options = ["luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2"];
    let fast = [
        "--pbkdf-force-iterations",
        "1000",
        "--key-file",
        "/proc/version",
    ];
    let mut command = command("cryptsetup");
    run_command(command.args(options).args(fast).arg(&image));
    let read = |bytes| filesystem::usage(&MemoryDevice::new(bytes, 512)).expect("memory reads");
    let mut bytes = fs::read(&image).expect("read image");
    let Basis::Whole { reason, .. } = read(bytes.clone()).basis else {
        panic!("luks has no map");
    };
    assert!(
        reason.contains("copy its mapping, which is faster"),
        "{reason}"
    );
    // With the first header gone, the second still tells what it is.
    bytes[..4096].fill(0);
    let usage = read(bytes);
    let summary = usage.summary.expect("recognised");
    assert_eq!(
        (summary.kind.to_string(), summary.uuid),
        ("luks".into(), blkid(&image, "UUID"))
    );
    assert!(matches!(
        summary.hazards[..],
        [filesystem::Hazard::Damaged(_)]
    ));
    assert!(matches!(
        usage.basis,
        Basis::Whole {
            is_warning: true,
            ..
        }
    ));
}
