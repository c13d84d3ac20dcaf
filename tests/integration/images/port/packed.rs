//! Packed disks and volumes: imported and restored as what is packed, with block maps.

use super::cmp;
use crate::support::image::{boot_disk, check_gpt, ext4, flip, read_range};
use crate::support::{Klon, MIB, run};
use std::fs;

fn pack(klon: &Klon, program: &str, name: &str, packed: &str) {
    let (name, packed) = (klon.text(name), klon.text(packed));
    run(
        "sh",
        &["-c", &format!("{program} -c \"{name}\" > \"{packed}\"")],
    );
}

#[test]
fn every_packer_gives_the_disk() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    for (program, end) in [
        ("gzip -1", "gz"),
        ("zstd -q", "zst"),
        ("xz -0", "xz"),
        ("lz4 -q", "lz4"),
        ("bzip2 -1", "bz2"),
    ] {
        let name = format!("disk.img.{end}");
        pack(&klon, program, "disk", &name);
        klon.ok(&["import", &name, "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        cmp(&klon, "disk", "out");
        fs::remove_file(klon.path("out")).unwrap();
        klon.ok(&["restore", &name, "out"]);
        cmp(&klon, "disk", "out");
        klon.ok(&["verify", "out"]);
    }
    let info = klon.json(&["info", "a.klon"]);
    assert_eq!(info["kind"], "disk");
    assert_eq!(info["partitions"][1]["filesystem"]["kind"], "ext4");
    assert_eq!(info["run"]["added_bytes"], 0, "{info:#}");
}

#[test]
fn a_restore_makes_zeroes_and_moves_the_backup_of_the_table() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    pack(&klon, "zstd -q", "disk", "disk.zst");
    let noise = vec![0x5a; MIB as usize];
    let target = fs::File::create(klon.path("target")).unwrap();
    for _ in 0..220 {
        std::io::Write::write_all(&mut &target, &noise).unwrap();
    }
    let refused = klon.refused(&["restore", "disk.zst", "target"], &["--confirm"]);
    assert!(refused.stdout.is_empty());
    let path = klon.text("target");
    klon.ok(&[
        "restore",
        "disk.zst",
        "target",
        "--yes",
        "--confirm",
        &path,
        "--in-place",
    ]);
    check_gpt(&klon.text("target"));
    let part = |name: &str, at: u64, len: u64| read_range(klon.path(name), at * MIB, len * MIB);
    assert!(part("disk", 1, 198) == part("target", 1, 198));
    // A volume, to one of its size.
    ext4(&klon.path("volume"), 24, 5);
    pack(&klon, "gzip", "volume", "volume.gz");
    klon.ok(&["restore", "volume.gz", "new"]);
    cmp(&klon, "volume", "new");
    klon.ok(&["restore", "volume.gz", "dry", "--dry-run"]);
    assert!(!klon.path("dry").exists());
}

#[test]
fn damage_is_found_before_anything_is_written() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    pack(&klon, "xz -0", "volume", "volume.xz");
    let len = fs::metadata(klon.path("volume.xz")).unwrap().len();
    flip(&klon.path("volume.xz"), len / 2);
    klon.run(&["import", "volume.xz", "a.klon"]).expect(5);
    klon.run(&["restore", "volume.xz", "out"]).expect(5);
    pack(&klon, "gzip", "volume", "volume.gz");
    let bytes = fs::read(klon.path("volume.gz")).unwrap();
    fs::write(klon.path("volume.gz"), &bytes[..bytes.len() - 3]).unwrap();
    klon.run(&["import", "volume.gz", "a.klon"]).expect(5);
    klon.run(&["restore", "volume.gz", "out"]).expect(5);
    assert!(!klon.path("a.klon").exists() && !klon.path("out").exists());
    // Packed once more, or something else in it.
    pack(&klon, "gzip", "volume", "once.gz");
    pack(&klon, "gzip", "once.gz", "twice.gz");
    let (directory, tar) = (klon.directory().to_str().unwrap(), klon.text("a.tar"));
    run("tar", &["-C", directory, "-cf", &tar, "volume"]);
    pack(&klon, "zstd -q", "a.tar", "a.tar.zst");
    let (source, disk) = (klon.text("volume"), klon.text("a.qcow2"));
    run(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "qcow2", &source, &disk],
    );
    pack(&klon, "lz4 -q", "a.qcow2", "a.qcow2.lz4");
    for (name, what) in [
        ("twice.gz", "a gzip file"),
        ("a.tar.zst", "a tar archive"),
        ("a.qcow2.lz4", "a qcow2 image"),
    ] {
        klon.run(&["import", name, "a.klon"])
            .expect(5)
            .says(&[what, "Unpack it first"]);
        klon.run(&["restore", name, "out"]).expect(5).says(&[what]);
    }
    klon.run(&["restore", "volume", "out"])
        .expect(2)
        .says(&["klon clone"]);
    klon.run(&["restore", "a.qcow2", "out"])
        .expect(2)
        .says(&["klon clone"]);
}

#[test]
fn a_block_map_beside_it_is_compared_and_tells_what_matters() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    klon.ok(&["image", "volume", "a.klon"]);
    klon.ok(&["export", "a.klon", "out.img", "--format", "bmap"]);
    pack(&klon, "gzip", "out.img", "out.img.gz");
    let done = klon.ok(&["import", "out.img.gz", "b.klon"]);
    done.says(&["out.img.bmap"]);
    let [one, two] = ["a.klon", "b.klon"].map(|name| klon.json(&["info", name]));
    assert!(
        two["run"]["used_bytes"].as_u64() < Some(20 * MIB),
        "{two:#}"
    );
    assert_eq!(one["filesystem"]["uuid"], two["filesystem"]["uuid"]);
    // bmaptool's own map of the file.
    let (image, map) = (klon.text("out.img"), klon.text("out.img.bmap"));
    run("bmaptool", &["-q", "create", "-o", &map, &image]);
    klon.ok(&["restore", "out.img.gz", "restored"]);
    run("e2fsck", &["-fn", &klon.text("restored")]);
    // A file that is another one than its map is of: a byte in what matters, its length, its own sum.
    let whole = fs::read(klon.path("out.img")).unwrap();
    let mut other = whole.clone();
    other[1024 + 120] ^= 1;
    fs::write(klon.path("out.img"), other).unwrap();
    pack(&klon, "gzip", "out.img", "out.img.gz");
    for arguments in [
        ["import", "out.img.gz", "c.klon"],
        ["restore", "out.img.gz", "new"],
    ] {
        klon.run(&arguments).expect(5).says(&["block map"]);
    }
    let mut longer = whole.clone();
    longer.extend([0; 4096]);
    fs::write(klon.path("out.img"), longer).unwrap();
    pack(&klon, "gzip", "out.img", "out.img.gz");
    klon.run(&["import", "out.img.gz", "c.klon"])
        .expect(5)
        .says(&["ImageSize"]);
    fs::write(klon.path("out.img"), whole).unwrap();
    pack(&klon, "gzip", "out.img", "out.img.gz");
    let text = fs::read_to_string(&map).unwrap();
    fs::write(
        &map,
        text.replacen("<MappedBlocksCount>", "<MappedBlocksCount> ", 1),
    )
    .unwrap();
    klon.run(&["import", "out.img.gz", "c.klon"])
        .expect(5)
        .says(&["BmapFileChecksum"]);
    assert!(!klon.path("c.klon").exists() && !klon.path("new").exists());
}

#[test]
fn what_a_block_map_leaves_out_is_copied_where_it_is_not_zero() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    klon.ok(&["image", "volume", "a.klon"]);
    klon.ok(&["export", "a.klon", "out.img", "--format", "bmap"]);
    // A map of an earlier state of the image: it has no checksum that shows it.
    let map = klon.path("out.img.bmap");
    let text = fs::read_to_string(&map).unwrap();
    let kept = text.lines().filter(|line| !line.contains("Checksum>"));
    let mut lines: Vec<String> = kept.map(str::to_owned).collect();
    let last = lines.iter().rposition(|line| line.contains("<Range"));
    lines.remove(last.unwrap());
    for line in &mut lines {
        let checksum = line.find(" chksum=").zip(line.find('>'));
        if let Some((start, end)) = checksum {
            line.replace_range(start..end, "");
        }
    }
    fs::write(&map, lines.join("\n")).unwrap();
    let mut image = fs::read(klon.path("out.img")).unwrap();
    image[23 << 20] = 1;
    fs::write(klon.path("out.img"), &image).unwrap();
    pack(&klon, "gzip", "out.img", "out.img.gz");
    let left_out = ["leaves out", "not zero", "24117248", "copies them, too"];
    klon.ok(&["import", "out.img.gz", "b.klon"]).says(&left_out);
    klon.ok(&["restore", "out.img.gz", "new"]).says(&left_out);
    klon.ok(&["restore", "b.klon", "again"]);
    for name in ["new", "again"] {
        assert!(fs::read(klon.path(name)).unwrap() == image, "{name}");
    }
}

/// `import` and `restore` refuse a file that is damaged, and leave nothing behind.
fn refuse(klon: &Klon, name: &str, says: &[&str]) {
    for arguments in [["import", name, "a.klon"], ["restore", name, "out"]] {
        klon.run(&arguments).expect(5).says(says);
    }
    assert!(!klon.path("a.klon").exists() && !klon.path("out").exists());
}

#[test]
fn an_lz4_file_that_is_cut_at_any_place_is_damaged() {
    let klon = Klon::new();
    let noise = crate::support::tree::noise(3, 9 << 20);
    fs::write(klon.path("volume"), noise).unwrap();
    for program in ["lz4 -q", "lz4 -q --no-frame-crc", "lz4 -q -BX -B4"] {
        pack(&klon, program, "volume", "volume.lz4");
        let bytes = fs::read(klon.path("volume.lz4")).unwrap();
        let size = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let check_bytes = if program.contains("-BX") { 4 } else { 0 };
        let mut ends = vec![7];
        while let Some(&at) = ends.last()
            && size(at) != 0
        {
            ends.push(at + 4 + (size(at) & 0x7fff_ffff) as usize + check_bytes);
        }
        let end = *ends.last().unwrap();
        let whole = bytes.len();
        for cut in [ends[1], ends[1] + 2, ends[2], end, end + 3, whole - 1] {
            fs::write(klon.path("cut.lz4"), &bytes[..cut]).unwrap();
            refuse(&klon, "cut.lz4", &["cut.lz4"]);
        }
        // The second of two frames.
        let two = [&bytes[..], &bytes[..ends[1]]].concat();
        fs::write(klon.path("cut.lz4"), two).unwrap();
        refuse(&klon, "cut.lz4", &["the rest of an lz4 frame", "is cut"]);
        klon.ok(&["restore", "volume.lz4", "whole"]);
        cmp(&klon, "volume", "whole");
        fs::remove_file(klon.path("whole")).unwrap();
        fs::remove_file(klon.path("volume.lz4")).unwrap();
    }
}

#[test]
fn zeroes_may_follow_a_gzip_file_and_anything_else_is_counted() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    pack(&klon, "gzip", "volume", "volume.gz");
    let bytes = fs::read(klon.path("volume.gz")).unwrap();
    for zeroes in [1, 512, 300_000] {
        let padded = [&bytes[..], &vec![0; zeroes]].concat();
        fs::write(klon.path("padded.gz"), padded).unwrap();
        klon.ok(&["restore", "padded.gz", "whole"]);
        cmp(&klon, "volume", "whole");
        fs::remove_file(klon.path("whole")).unwrap();
        klon.ok(&["import", "padded.gz", &format!("{zeroes}.klon")]);
    }
    for (tail, len) in [
        (&b"some junk"[..], 9),
        (b"\0\0\0\0x", 5),
        (b"PK\x03\x04", 4),
    ] {
        fs::write(klon.path("junk.gz"), [&bytes[..], tail].concat()).unwrap();
        let says = format!("{len} bytes that follow the end of the packed stream");
        refuse(&klon, "junk.gz", &[&says]);
    }
}
