//! Headers of virtual disks whose numbers someone chose.

use super::check_whole;
use klon_partition::Error;
use klon_partition::device::MemoryDevice;
use std::path::Path;

fn check(driver: &str, bytes: Vec<u8>) -> klon_partition::Result<()> {
    check_whole(driver, &MemoryDevice::new(bytes, 512), Path::new("none"))
}

/// A file of `len` bytes with little-endian numbers in it: position, value, length.
fn file(len: usize, magic: &[u8], fields: &[(usize, u64, usize)]) -> Vec<u8> {
    let mut bytes = vec![0; len.max(4096)];
    bytes[..magic.len()].copy_from_slice(magic);
    for &(at, value, size) in fields {
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
    bytes.truncate(len);
    bytes
}

fn vdi(len: usize, blocks: u64, entry: u64) -> Vec<u8> {
    let fields = [
        (340, 512, 4),
        (344, 1024, 4),
        (368, 1536, 8),
        (376, 1024, 4),
        (384, blocks, 4),
        (516, entry, 4),
    ];
    file(len, b"<<< ", &fields)
}

#[test]
fn the_highest_block_of_vdi_must_be_in_the_file() {
    // Half of the second block is within the disk.
    check("vdi", vdi(2560, 2, 1)).unwrap();
    let error = check("vdi", vdi(2559, 2, 1)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("2560") && text.contains("2559"), "{text}");
    assert!(text.contains("the file is cut"), "{text}");
    for entry in [0xffff_fffe, 0xffff_ffff] {
        // The first entry is block 0.
        check("vdi", vdi(2048, 2, entry)).unwrap();
    }
    for len in [100, 512, 516, 519] {
        assert!(check("vdi", vdi(len, 2, 1)).is_err());
    }
    assert!(check("vdi", vdi(4096, 0xffff_ffff, 1)).is_err());
}

#[test]
fn the_highest_cluster_of_parallels_must_be_in_the_file() {
    for (magic, unit) in [(&b"WithoutFreeSpace"[..], 512), (b"WithouFreSpacExt", 4096)] {
        let image = |len| {
            let fields = [(28, 8, 4), (32, 2, 4), (36, 16, 8), (64, 4, 4), (68, 3, 4)];
            file(len, magic, &fields)
        };
        check("parallels", image(4 * unit + 4096)).unwrap();
        let error = check("parallels", image(4 * unit + 4095)).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
    }
    let many = [(28, 0xffff_ffff, 4), (32, 0xffff_ffff, 4), (36, 1, 8)];
    assert!(check("parallels", file(4096, b"WithouFreSpacExt", &many)).is_err());
    assert!(check("parallels", b"WithouFreSpacExt".to_vec()).is_err());
}

fn vmdk(len: usize, capacity: u64, directory: u64, more: &[(usize, u64, usize)]) -> Vec<u8> {
    let fields = [
        (4, 1, 4),
        (12, capacity, 8),
        (20, 8, 8),
        (44, 4, 4),
        (56, directory, 8),
    ];
    file(len, b"KDMV", &[&fields, more].concat())
}

#[test]
fn the_highest_grain_of_vmdk_must_be_in_the_file() {
    // One table of four grains at sector 2; the third is at sector 3, and half of it within the disk.
    let grains = [(512, 2, 4), (1024 + 8, 3, 4)];
    check("vmdk", vmdk(1536 + 2048, 20, 1, &grains)).unwrap();
    assert!(check("vmdk", vmdk(1536 + 2047, 20, 1, &grains)).is_err());
    // Compressed: as long as its marker says.
    let packed = [
        &grains[..],
        &[(8, 1 << 16, 4), (77, 1, 2), (1536 + 8, 100, 4)],
    ]
    .concat();
    check("vmdk", vmdk(1536 + 112, 20, 1, &packed)).unwrap();
    for len in [111, 11, 0] {
        assert!(check("vmdk", vmdk(1536 + len, 20, 1, &packed)).is_err());
    }
    for directory in [7, 1 << 40, u64::MAX - 1, u64::MAX] {
        assert!(check("vmdk", vmdk(3584, 20, directory, &grains)).is_err());
    }
    // More tables than there is room for, all the same one.
    let mut same = vmdk(3584, 4 * 8 * 700, 1, &[]);
    for at in (512..3312).step_by(4) {
        same[at..at + 4].copy_from_slice(&6_u32.to_le_bytes());
    }
    assert!(check("vmdk", same).is_err());
    // What QEMU refuses is left to it.
    check("vmdk", vmdk(3584, u64::MAX, 1, &[])).unwrap();
}

/// Of 4096 sectors: one grain in two sectors of the directory's first table, at sector 41.
fn cowd(len: usize, more: &[(usize, u64, usize)]) -> Vec<u8> {
    let fields = [
        (4, 1, 4),
        (12, 4096, 4),
        (16, 8, 4),
        (20, 4, 4),
        (24, 1, 4),
        (2048, 5, 4),
        (2560 + 4, 41, 4),
    ];
    let mut bytes = file(len.max(32 << 10), b"COWD", &[&fields, more].concat());
    bytes.truncate(len);
    bytes
}

#[test]
fn the_highest_grain_of_cowd_must_be_in_the_file() {
    let end = 41 * 512 + 4096;
    check("vmdk", cowd(end, &[])).unwrap();
    for len in [end - 1, 41 * 512, 19000, 2563, 2050, 600] {
        let error = check("vmdk", cowd(len, &[])).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
        assert!(error.to_string().contains(" cut"), "{error}");
    }
    assert!(check("vmdk", b"COWD\x01\0\0\0".to_vec()).is_err());
    // Half of the last grain is within the disk.
    check("vmdk", cowd(end - 2048, &[(12, 12, 4)])).unwrap();
    assert!(check("vmdk", cowd(end - 2049, &[(12, 12, 4)])).is_err());
    for (at, value) in [(20, 0xffff_ffff), (24, 0x00ff_ffff), (2048, 0xffff_ffff)] {
        assert!(check("vmdk", cowd(end, &[(at, value, 4)])).is_err(), "{at}");
    }
    // Two tables that are the same one, where there is room for one.
    let shared = [(24, 2, 4), (2052, 5, 4)];
    assert!(check("vmdk", cowd(end, &shared)).is_err());
    // What QEMU refuses is left to it.
    for (at, value) in [(16, 0), (16, 0xffff_ffff), (24, 0xffff_ffff)] {
        check("vmdk", cowd(end, &[(at, value, 4)])).unwrap();
    }
}

const SE_TABLES: usize = 4096;
const SE_GRAINS: usize = SE_TABLES + 64 * 512;

/// A directory of one sector at 2, tables at 8, grains at 72; the second grain of the disk is the fourth there.
fn space_efficient(len: usize, more: &[(usize, u64, usize)]) -> Vec<u8> {
    let fields = [
        (0, 0xcafe_babe, 8),
        (8, 0x2_0000_0001, 8),
        (16, 4096, 8),
        (24, 8, 8),
        (32, 64, 8),
        (128, 2, 8),
        (136, 1, 8),
        (144, SE_TABLES as u64 / 512, 8),
        (192, SE_GRAINS as u64 / 512, 8),
        (1024, 0x1000_0000_0000_0000, 8),
        (SE_TABLES + 8, 0x3003_0000_0000_0000, 8),
    ];
    let mut bytes = file(len.max(64 << 10), b"", &[&fields, more].concat());
    bytes.truncate(len);
    bytes
}

/// Of a descriptor and this file beside it.
fn check_beside(bytes: &[u8]) -> klon_partition::Result<()> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("disk-sesparse.vmdk"), bytes).unwrap();
    let text = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
        createType=\"seSparse\"\nRW 4096 SESPARSE \"disk-sesparse.vmdk\"\n";
    let path = directory.path().join("disk.vmdk");
    check_whole(
        "vmdk",
        &MemoryDevice::new(text.as_bytes().to_vec(), 512),
        &path,
    )
}

#[test]
fn the_highest_grain_of_sesparse_must_be_in_the_file() {
    let end = SE_GRAINS + 4 * 4096;
    check_beside(&space_efficient(end, &[])).unwrap();
    for len in [end - 1, SE_GRAINS, SE_TABLES + 9, 1025, 700, 500, 0] {
        let error = check_beside(&space_efficient(len, &[])).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("cut in \"disk-sesparse.vmdk\""),
            "{len}: {text}"
        );
    }
    // The twelve bits behind the kind are the lowest of the number.
    let far = [(SE_TABLES + 8, 0x3000_0000_0000_0001, 8)];
    let error = check_beside(&space_efficient(end, &far)).unwrap_err();
    let least = SE_GRAINS + 4096 * 4096 + 4096;
    assert!(error.to_string().contains(&least.to_string()), "{error}");
    // Not in the file: zeroes, and what the guest gave up.
    for entry in [0, 0x1003_0000_0000_0000, 0x2003_0000_0000_0000] {
        check_beside(&space_efficient(SE_GRAINS, &[(SE_TABLES + 8, entry, 8)])).unwrap();
    }
    for (at, value) in [
        (128, u64::MAX),
        (136, 1 << 10),
        (144, u64::MAX),
        (192, u64::MAX),
        (1024, 0x1000_0000_ffff_ffff),
        (SE_TABLES + 8, 0x3fff_ffff_ffff_ffff),
    ] {
        let bytes = space_efficient(end, &[(at, value, 8)]);
        assert!(check_beside(&bytes).is_err(), "{at}");
    }
    // Tables that are all the same one.
    let shared = [
        (1032, 0x1000_0000_0000_0000, 8),
        (1040, 0x1000_0000_0000_0000, 8),
    ];
    assert!(check_beside(&space_efficient(end, &shared)).is_err());
    // What QEMU refuses is left to it.
    for (at, value) in [(0, 1), (8, 1), (24, 16), (32, 1), (136, u64::MAX)] {
        check_beside(&space_efficient(end, &[(at, value, 8)])).unwrap();
    }
}
