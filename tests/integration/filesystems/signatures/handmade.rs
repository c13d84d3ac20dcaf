//! Signatures whose tools are not at hand, written field by field and judged by blkid too.

use super::{blkid, image};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{self, Hazard, Summary};
use std::fs;
use tempfile::TempDir;

const SIZE_BYTES: usize = 4 << 20;

/// Puts each field at its offset.
fn volume(fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; SIZE_BYTES];
    for (offset, field) in fields {
        bytes[*offset..][..field.len()].copy_from_slice(field);
    }
    bytes
}

/// Klon's kind and UUID, and blkid's of the same.
fn check(bytes: Vec<u8>, kind: &str, blkid_type: &str) -> Summary {
    let directory = TempDir::new().expect("temporary directory");
    let image = image(&directory, 0);
    fs::write(&image, &bytes).expect("write image");
    let device = MemoryDevice::new(bytes, 512);
    let filesystem = filesystem::probe(&device).expect("memory reads");
    let summary = filesystem.expect("recognised").summary().clone();
    assert_eq!(summary.kind.to_string(), kind);
    assert_eq!(blkid(&image, "TYPE").as_deref(), Some(blkid_type));
    if summary.uuid.is_some() {
        assert_eq!(summary.uuid, blkid(&image, "UUID"));
    }
    if summary.label.is_some() {
        assert_eq!(summary.label, blkid(&image, "LABEL"));
    }
    summary
}

const UUID: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

#[test]
fn mdraid_of_every_version() {
    let magic = 0xa92b_4efc_u32.to_le_bytes();
    for sector in [0, 8, (SIZE_BYTES / 512 - 16) & !7] {
        let at = sector * 512;
        let bytes = volume(&[
            (at, &magic),
            (at + 4, &[1]),
            (at + 16, UUID),
            (at + 32, b"host:0"),
            (at + 92, &[2]),
            (at + 144, &(sector as u64).to_le_bytes()),
        ]);
        let summary = check(bytes, "mdraid", "linux_raid_member");
        assert!(matches!(summary.hazards[..], [Hazard::MultiDevice(_)]));
        assert!(summary.uuid.is_some() && summary.label.is_some());
    }
    let at = SIZE_BYTES - (64 << 10);
    let bytes = volume(&[
        (at, &magic),
        (at + 8, &[90]),
        (at + 20, &UUID[..4]),
        (at + 40, &[2]),
        (at + 52, &UUID[4..]),
    ]);
    assert!(check(bytes, "mdraid", "linux_raid_member").uuid.is_some());
}

#[test]
fn lvm2_physical_volume() {
    let id = b"abcdefABCDEFabcdefABCDEFabcdefAB";
    let mut bytes = volume(&[
        (512, b"LABELONE"),
        (520, &[1]),
        (532, &[32]),
        (536, b"LVM2 001"),
        (544, id),
        (576, &(SIZE_BYTES as u64).to_le_bytes()),
    ]);
    let sum = bytes[532..1024].iter().fold(0xf597_a6cf_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    });
    bytes[528..532].copy_from_slice(&sum.to_le_bytes());
    assert!(check(bytes, "lvm2", "LVM2_member").uuid.is_some());
}

#[test]
fn zfs_member() {
    let magic = 0x00ba_b10c_u64.to_le_bytes();
    // A ring of uberblocks in each label.
    let ring = |label: usize| (0..8).map(move |index| label + (128 << 10) + index * 1024);
    let places: Vec<usize> = ring(0).chain(ring(256 << 10)).collect();
    let fields: Vec<(usize, &[u8])> = places.iter().map(|&at| (at, &magic[..])).collect();
    let mut bytes = volume(&fields);
    // No pool is smaller.
    bytes.resize(64 << 20, 0);
    check(bytes, "zfs", "zfs_member");
}

#[test]
fn apfs_container() {
    let bytes = volume(&[
        (8, &[1]),
        (24, &[1, 0, 0, 0x80]),
        (32, b"NXSB"),
        (36, &4096_u32.to_le_bytes()),
        (40, &1024_u64.to_le_bytes()),
        (72, UUID),
    ]);
    let summary = check(bytes, "apfs", "apfs");
    assert_eq!(summary.size_bytes, 4 << 20);
    assert!(summary.uuid.is_some());
}

#[test]
fn iso9660_by_date() {
    let bytes = volume(&[
        (32_768, b"\x01CD001\x01"),
        (32_768 + 40, b"INSTALLER                       "),
        (32_768 + 80, &100_u32.to_le_bytes()),
        (32_768 + 128, &2048_u16.to_le_bytes()),
        (32_768 + 813, b"2026010203040506\x00"),
        (32_768 + 830, b"2026020203040506\x00"),
    ]);
    let summary = check(bytes, "iso9660", "iso9660");
    assert_eq!(summary.uuid.as_deref(), Some("2026-02-02-03-04-05-06"));
    assert_eq!(summary.label.as_deref(), Some("INSTALLER"));
}

#[test]
fn bitlocker_fixed_and_to_go() {
    let guid: [u8; 16] = [
        0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0,
        0x01,
    ];
    let fixed = volume(&[
        (0, b"\xebX\x90-FVE-FS-"),
        (160, &guid),
        (176, &4096_u64.to_le_bytes()),
        (4096, b"-FVE-FS-"),
        (4104, &[8, 0, 2]),
    ]);
    check(fixed, "bitlocker", "BitLocker");
    let to_go = volume(&[
        (0, b"\xebX\x90MSWIN4.1"),
        (11, &[0, 2, 8, 2, 0, 1]),
        (424, &guid),
        (440, &4096_u64.to_le_bytes()),
        (510, &[0x55, 0xaa]),
        (4096, b"-FVE-FS-"),
        (4104, &[8, 0, 2]),
    ]);
    check(to_go, "bitlocker", "BitLocker");
}

#[test]
fn suspended_swap_is_a_hazard() {
    let bytes = volume(&[
        (1024, &[1]),
        (1028, &1023_u32.to_le_bytes()),
        (4086, b"S1SUSPEND"),
    ]);
    let summary = check(bytes, "swap", "swsuspend");
    assert!(matches!(summary.hazards[..], [Hazard::Hibernated(_)]));
}

#[test]
fn ufs2_by_name() {
    let bytes = volume(&[
        (65_536 + 48, &32_768_u32.to_le_bytes()),
        (65_536 + 52, &4096_u32.to_le_bytes()),
        (65_536 + 56, &8_u32.to_le_bytes()),
        (65_536 + 144, UUID),
        (65_536 + 680, b"volume"),
        (65_536 + 1080, &1024_u64.to_le_bytes()),
        (65_536 + 1372, &0x1954_0119_u32.to_le_bytes()),
    ]);
    let summary = check(bytes, "ufs", "ufs");
    assert_eq!(summary.label.as_deref(), Some("volume"));
    assert_eq!(
        (summary.size_bytes, summary.block_size_bytes),
        (4 << 20, 32_768)
    );
}

#[test]
fn reiserfs_of_the_earliest() {
    let bytes = volume(&[
        (8192, &1024_u32.to_le_bytes()),
        (8192 + 12, &[100]),
        (8192 + 44, &[0, 16]),
        (8192 + 52, b"ReIsErFs"),
    ]);
    assert_eq!(check(bytes, "reiserfs", "reiserfs").size_bytes, 4 << 20);
}
