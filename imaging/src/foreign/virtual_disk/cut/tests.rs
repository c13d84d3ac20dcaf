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
