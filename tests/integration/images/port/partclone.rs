//! Images of partclone: klon's import and export against partclone's own restore.

use super::{assert_same_in, cmp, data, restore, save, volume};
use crate::support::image::{flip, sparse};
use crate::support::oracle::{copy_onto_noise, partclone_used};
use crate::support::{Klon, run};
use klon_partition::ExtentMap;
use klon_partition::bytes::{le32, le64};
use std::fs;

/// Packs a file as Clonezilla does.
fn pack(klon: &Klon, program: &str, image: &str, packed: &str) {
    let command = format!(
        "{program} -c '{}' > '{}'",
        klon.text(image),
        klon.text(packed)
    );
    run("sh", &["-c", &command]);
}

fn check(kind: &str, options: &[&str], program: Option<&str>) {
    let klon = Klon::new();
    let source = klon.path("volume");
    volume(kind, &source);
    save(kind, &klon, "volume", "image", options);
    let size_bytes = fs::metadata(&source).unwrap().len();
    sparse(&klon.path("expected"), size_bytes);
    restore(&klon, "image", "expected");
    let input = match program {
        Some(program) => {
            pack(&klon, program, "image", "packed");
            "packed"
        }
        None => "image",
    };
    klon.ok(&["import", input, "a.klon"]);
    klon.ok(&["export", "a.klon", "out"]);
    cmp(&klon, "out", "expected");
    let used = partclone_used(kind, &source);
    assert!(used.difference(&data(&klon, "a.klon")).is_empty());
    if program == Some("gzip") {
        let noise = klon.path("noise");
        copy_onto_noise(&source, &noise, &ExtentMap::new());
        restore(&klon, "image", "noise");
        assert_same_in(&noise, &klon.path("out"), &used);
    }
    let info = klon.json(&["info", "a.klon"]);
    assert_eq!(info["kind"], "volume");
    assert!(info["filesystem"]["kind"].is_string(), "{info:#}");
}

#[test]
fn ext4_packed_by_gzip() {
    check("extfs", &[], Some("gzip"));
}

#[test]
fn xfs_packed_by_zstd_without_reseeding() {
    check("xfs", &["-a1", "-k7", "-K"], Some("zstd -q"));
}

#[test]
fn ntfs_packed_by_xz_without_checksums() {
    check("ntfs", &["-a0"], Some("xz -1"));
}

#[test]
fn fat_packed_by_lz4_with_a_checksum_for_each_block() {
    check("fat", &["-a1", "-k1"], Some("lz4 -q"));
}

#[test]
fn ext4_plain() {
    check("extfs", &["-a1", "-k64"], None);
}

/// An image of format 0002 without checksums as one of format 0001; `extra` bytes behind each checksum.
fn as_v1(image: &[u8], extra: usize) -> Vec<u8> {
    let blocks = usize::try_from(le64(image, 60)).unwrap();
    let block_bytes = usize::try_from(le32(image, 84)).unwrap();
    let bits_len = blocks.div_ceil(8);
    let (bits, content) = image[110..].split_at(bits_len);
    let mut old = image[..15].to_vec();
    old.extend(&image[36..51]);
    old.extend(b"0001\0\0");
    old.extend(&image[84..88]);
    old.extend(&image[52..68]);
    old.extend(&image[76..84]);
    old.resize(4160, 0);
    old.extend((0..blocks).map(|at| bits[at / 8] >> (at % 8) & 1));
    old.extend(b"BiTmAgIc");
    let mut crc = u32::MAX;
    for block in content[4..].chunks_exact(block_bytes) {
        for _ in 0..block_bytes {
            crc ^= u32::from(block[0]);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                };
            }
        }
        old.extend(block);
        old.extend(crc.to_le_bytes());
        old.extend(vec![0; extra]);
    }
    old
}

#[test]
fn images_of_the_first_format() {
    let klon = Klon::new();
    volume("extfs", &klon.path("volume"));
    save("extfs", &klon, "volume", "image", &["-a0"]);
    let image = fs::read(klon.path("image")).unwrap();
    fs::write(klon.path("old"), as_v1(&image, 0)).unwrap();
    let size_bytes = fs::metadata(klon.path("volume")).unwrap().len();
    sparse(&klon.path("expected"), size_bytes);
    restore(&klon, "old", "expected");
    for extra in [0, 4] {
        fs::write(klon.path("old"), as_v1(&image, extra)).unwrap();
        klon.ok(&["import", "old", "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        cmp(&klon, "out", "expected");
    }
    flip(
        &klon.path("old"),
        fs::metadata(klon.path("old")).unwrap().len() - 6,
    );
    let failed = klon.run(&["import", "old", "a.klon"]).expect(5);
    failed.says(&["checksum of blocks"]);
}

/// Images of a newer partclone than Debian 12 has; it restored them to the volume that is kept
/// beside them (`scripts/images/partclone.sh`).
#[test]
fn checksums_of_newer_versions() {
    for mode in ["xxh64", "xxh128"] {
        let klon = Klon::new();
        for (name, path) in [(mode, "image"), ("volume", "expected")] {
            let images = concat!(env!("CARGO_MANIFEST_DIR"), "/images");
            let packed = fs::File::open(format!("{images}/partclone-{name}.zst")).unwrap();
            fs::write(klon.path(path), zstd::decode_all(packed).unwrap()).unwrap();
        }
        klon.ok(&["import", "image", "a.klon"]);
        klon.ok(&["export", "a.klon", "out"]);
        cmp(&klon, "out", "expected");
        // In a block, and in the last checksum.
        let len_bytes = fs::metadata(klon.path("image")).unwrap().len();
        for at in [len_bytes / 2, len_bytes - 1] {
            flip(&klon.path("image"), at);
            let failed = klon.run(&["import", "image", "b.klon"]).expect(5);
            failed.says(&["checksum of blocks"]);
            flip(&klon.path("image"), at);
        }
    }
}

#[test]
fn parts_are_put_together_and_a_missing_one_is_named() {
    let klon = Klon::new();
    volume("extfs", &klon.path("volume"));
    save("extfs", &klon, "volume", "image", &[]);
    pack(&klon, "gzip -1", "image", "packed");
    let prefix = klon.text("sda1.ext4-ptcl-img.gz.");
    run("split", &["-b", "1MB", &klon.text("packed"), &prefix]);
    klon.ok(&["import", "image", "a.klon"]);
    klon.ok(&["import", "sda1.ext4-ptcl-img.gz.aa", "a.klon"]);
    let [one, two] = ["a.klon@1", "a.klon@2"].map(|name| klon.json(&["info", name]));
    assert_eq!(one["data"], two["data"]);
    assert_eq!(two["run"]["added_bytes"], 0, "{two:#}");
    fs::remove_file(klon.path("sda1.ext4-ptcl-img.gz.ac")).unwrap();
    let failed = klon.run(&["import", "sda1.ext4-ptcl-img.gz.aa", "a.klon"]);
    failed.expect(2).says(&["ptcl-img.gz.ac is missing"]);
}

#[test]
fn a_bad_checksum_names_blocks_and_file_and_nothing_is_committed() {
    let klon = Klon::new();
    volume("extfs", &klon.path("volume"));
    klon.ok(&["image", "volume", "a.klon"]);
    let before = klon.json(&["list", "a.klon"]);
    save("extfs", &klon, "volume", "image", &["-k64"]);
    let len = fs::metadata(klon.path("image")).unwrap().len();
    flip(&klon.path("image"), len - 5000);
    for image in ["a.klon", "new.klon"] {
        let failed = klon.run(&["import", "image", image]).expect(5);
        failed.says(&["checksum of blocks", "used blocks from", "image"]);
    }
    assert!(!klon.path("new.klon").exists());
    let after = klon.json(&["list", "a.klon"]);
    assert_eq!(before["snapshots"], after["snapshots"]);
    pack(&klon, "gzip -1", "image", "packed");
    flip(
        &klon.path("packed"),
        fs::metadata(klon.path("packed")).unwrap().len() / 2,
    );
    klon.run(&["import", "packed", "a.klon"]).expect(5);
    // What is packed is looked at as well.
    pack(&klon, "gzip -1", "log", "text.gz");
    let refused = klon.run(&["import", "text.gz", "b.klon"]).expect(5);
    refused.says(&["has a text file packed in it"]);
    fs::write(klon.path("bytes"), [1, 2, 3, 4]).unwrap();
    pack(&klon, "gzip -1", "bytes", "bytes.gz");
    let done = klon.ok(&["import", "bytes.gz", "b.klon"]);
    done.says(&["bytes.gz: unknown content"]);
}
