//! Headers that are right, nearly right, and chance.

use super::{Foreign, Form, recognize};
use crate::packed::Packing;
use klon_partition::device::MemoryDevice;

const SIZE: usize = 64 << 10;

fn at(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; SIZE];
    for (at, bytes) in parts {
        file[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    file
}

fn seen(file: Vec<u8>) -> Option<Foreign> {
    recognize(&MemoryDevice::new(file, 512)).unwrap()
}

fn name(file: Vec<u8>) -> Option<&'static str> {
    seen(file).map(|found| found.name)
}

/// An MBR with boot code before its table.
fn mbr(code: &[u8]) -> Vec<u8> {
    let entry = [0x80, 0, 2, 0, 0x83, 0, 9, 0, 8, 0, 0, 0, 16, 0, 0, 0];
    at(&[(0, code), (446, &entry), (510, &[0x55, 0xaa])])
}

#[test]
fn formats_are_told_by_their_headers() {
    for (parts, expected) in [
        (&[(0, &b"QFI\xfb\0\0\0\x03"[..])][..], "a qcow2 image"),
        (&[(0, b"QFI\xfb\0\0\0\x01")], "a qcow image"),
        (&[(0, b"QED\0\0\0\x01\0")], "a qed image"),
        (&[(0, b"KDMV\x01\0\0\0")], "a vmdk image"),
        (&[(0, b"COWD\x01\0\0\0")], "a vmdk image"),
        (
            &[(0, b"# Disk DescriptorFile\nversion=1\n")],
            "a vmdk image",
        ),
        (&[(0, b"vhdxfile")], "a vhdx image"),
        (&[(64, b"\x7f\x10\xda\xbe")], "a vdi image"),
        (&[(0, b"WithoutFreeSpace")], "an image of Parallels"),
        (&[(0, b"WithouFreSpacExt")], "an image of Parallels"),
        (&[(0, b"Bochs Virtual HD Image")], "an image of Bochs"),
        (
            &[(SIZE - 512, b"koly\0\0\0\x04\0\0\x02\0")],
            "a disk image of macOS",
        ),
        (&[(0, b"\x3a\xff\x26\xed\x01\0")], "an Android sparse image"),
        (&[(0, b"\0ntfsclone-image")], "an image of ntfsclone"),
        (
            &[(0, b"\x10\xb7\x2b\x7fExt2 Image 1.0")],
            "an image of e2image",
        ),
        (&[(0, b"PaRtImAgE-VoLuMe")], "an image of partimage"),
        (&[(0, b"partclone-image")], "an image of partclone"),
        (&[(0, b"MSWIM\0\0\0")], "a Windows image (WIM)"),
        (&[(0, b"VMA\0\0\0\0\x01")], "a backup of Proxmox (VMA)"),
        (&[(0, b"btrfs-stream\0")], "a stream of btrfs send"),
        (&[(0, b"xFSdump0")], "a dump of xfsdump"),
        (
            &[(0, b"age-encryption.org/v1\n")],
            "an encrypted file (age)",
        ),
        (&[(0, b"\xed\xab\xee\xdb\x03\0")], "an RPM package"),
        (&[(0, b"Salted__")], "an encrypted file (openssl)"),
        (
            &[(8, b"\xac\xcb\xba\xf5\x02\0\0\0")],
            "a stream of zfs send",
        ),
        (&[(24, b"\x6c\xea\0\0")], "a dump of dump(8)"),
        (&[(0, b"MComprHD")], "a packed disk of MAME (CHD)"),
        (&[(0, b"CISO\x18\0\0\0")], "a packed ISO image (CISO)"),
        (
            &[(0, &[&[0][..], &[0xff; 10], &[0]].concat())],
            "an image of a CD with sectors of 2352 bytes",
        ),
        (
            &[
                (SIZE - 512, b"CUEX"),
                (SIZE - 12, b"NER5\0\0\0\0\0\0\xfe\0"),
            ],
            "a CD image of Nero (NRG)",
        ),
        (&[(0, b"klonrec\n")], "a record of klon"),
        (&[(0, b"klonlog\n")], "a log of klon"),
        (&[(0, b"klonevid")], "what klon keeps of files"),
        (&[(0, b"7z\xbc\xaf\x27\x1c")], "a 7z archive"),
        (
            &[(0, b"PK\x03\x04\x14\0\0\0\x08\0"), (26, b"\x01\0\0\0x")],
            "a zip archive",
        ),
        (&[(257, b"ustar\0")], "a tar archive"),
        (
            &[(0, &[b"070701".as_slice(), &[b'0'; 104]].concat())],
            "a cpio archive",
        ),
        (&[(0, b"%PDF-1.7\n")], "a PDF document"),
        (
            &[(0, b"\x7fELF\x02\x01\x01\0")],
            "an ELF program or core dump",
        ),
        (&[(0, b"SQLite format 3\0")], "a database of SQLite"),
        (
            &[(0, b"MZ"), (60, &[128]), (128, b"PE\0\0")],
            "a program of Windows or EFI",
        ),
        (&[(4, b"ftypisom")], "a film (MP4)"),
    ] {
        assert_eq!(name(at(parts)), Some(expected));
    }
    assert_eq!(name(at(&[])), None);
    assert_eq!(name(vec![7; SIZE]), None);
    assert_eq!(
        recognize(&MemoryDevice::new(Vec::new(), 512)).unwrap(),
        None
    );
}

#[test]
fn chance_in_boot_code_is_none() {
    let gzip = |system| [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, system, 0xff, 0xff];
    for code in [
        &b"QFI\xfb"[..],
        b"QED\0",
        b"KDMV",
        b"COWD",
        b"conectix",
        b"\xfe\xef\x01",
        b"IsZ!",
        b"CISO",
        b"PK\x03\x04",
        b"\x28\xb5\x2f\xfd\xff",
        b"\x04\x22\x4d\x18\xff",
        b"\x1f\x9d\x90",
        &[0x5d, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff],
        &gzip(3),
        &gzip(99),
    ] {
        assert_eq!(name(mbr(code)), None, "{code:02x?}");
        // The same where nothing else is known is refused rather than taken for a disk, but for the
        // shortest.
        let is_known = name(at(&[(0, code)])).is_some();
        assert_eq!(is_known, code != gzip(99), "{code:02x?}");
    }
    // A header that is right in itself counts, whatever is in it.
    assert_eq!(name(mbr(b"QFI\xfb\0\0\0\x03")), Some("a qcow2 image"));
    // Boot code of GRUB and of Windows, as it begins.
    for code in [
        &b"\xeb\x63\x90\x10\x8e\xd0\xbc"[..],
        b"\x33\xc0\x8e\xd0\xbc\x00\x7c",
    ] {
        assert_eq!(name(mbr(code)), None);
        assert_eq!(name(at(&[(0, code), (510, &[0x55, 0xaa])])), None);
    }
}

#[test]
fn lines_of_text_are_no_disk() {
    let text = "# Menü\nset default=0\r\n\tboot\n".repeat(200);
    assert_eq!(name(text.clone().into_bytes()), Some("a text file"));
    // The start ends within a character.
    let shifted = format!("x{}\n{}", "\n", "ü".repeat(SIZE));
    assert_eq!(name(shifted.into_bytes()), Some("a text file"));
    for disk in [
        vec![b'a'; SIZE],
        at(&[(0, b"a line\n")]),
        [text.as_bytes(), &[0xff; 9000]].concat()[5000..].to_vec(),
    ] {
        assert_eq!(name(disk), None);
    }
    // A disk on which some program wrote text before its table.
    assert_eq!(name(mbr("a line\n".repeat(60).as_bytes())), None);
}

#[test]
fn packed_streams_are_known_with_their_packing() {
    let packed = zstd::bulk::compress(&[7; 5000], 1).unwrap();
    let form = seen(packed).map(|found| found.form);
    assert_eq!(form, Some(Form::Packed(Packing::Zstd)));
    let form = seen(b"LZIP\x01aaaaaaaaaaaaaaaaaaaaaa".to_vec()).map(|found| found.form);
    assert_eq!(form, Some(Form::Packed(Packing::Foreign("lzip -d"))));
}

/// A footer of VHD.
fn footer(kind: u32, size_bytes: u64) -> [u8; 512] {
    let mut footer = [0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[48..56].copy_from_slice(&size_bytes.to_be_bytes());
    footer[60..64].copy_from_slice(&kind.to_be_bytes());
    let sum = footer
        .iter()
        .fold(0_u32, |sum, &byte| sum + u32::from(byte));
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

#[test]
fn a_vhd_is_what_its_footer_says() {
    let end = SIZE - 512;
    let with = |kind, size_bytes| at(&[(end, &footer(kind, size_bytes))]);
    let form = seen(with(2, end as u64)).map(|found| found.form);
    assert_eq!(
        form,
        Some(Form::FixedVhd {
            size_bytes: end as u64
        })
    );
    for size_bytes in [0, SIZE as u64, u64::MAX] {
        assert!(recognize(&MemoryDevice::new(with(2, size_bytes), 512)).is_err());
    }
    let mut damaged = with(2, end as u64);
    damaged[end + 100] ^= 1;
    assert_eq!(name(damaged), None);
    let driver = Form::VirtualDisk { driver: "vpc" };
    let dynamic = at(&[(0, &footer(3, 1 << 30)), (end, &footer(3, 1 << 30))]);
    assert_eq!(seen(dynamic).map(|found| found.form), Some(driver));
    // QEMU would read the parts of a differencing disk that are elsewhere as zeroes.
    let differencing = at(&[(0, &footer(4, 1 << 30))]);
    assert!(recognize(&MemoryDevice::new(differencing, 512)).is_err());
}

#[test]
fn what_names_other_files_is_refused() {
    let refused = |text: &str| {
        let descriptor = format!("# Disk DescriptorFile\n{text}\n");
        let device = MemoryDevice::new(descriptor.into_bytes(), 512);
        recognize(&device).err().map(|error| error.to_string())
    };
    for text in [
        "RW 63 FLAT \"/etc/shadow\" 0",
        "RW 63 FLAT \"../x\" 0",
        "RDONLY 63 FLAT \"\\\\.\\PhysicalDrive0\" 0",
    ] {
        assert!(
            refused(text).is_some_and(|why| why.contains("other directories")),
            "{text}"
        );
    }
    // QEMU takes several lines for one extent, and goes by the name of a parent.
    assert!(refused("RW\n63 FLAT\n\"/etc/shadow\" 0").is_some());
    assert!(refused("RW 63FLAT \"/etc/shadow\" 0").is_some());
    let far = format!("{}RW 63 FLAT \"/etc/shadow\" 0", "#\n".repeat(40 << 10));
    assert!(refused(&far).is_some_and(|why| why.contains("more than 65536 bytes")));
    for text in [
        "parentCID=12345678",
        "parentcid = 0",
        "parentCID=ffffffff\nparentFileNameHint=\"base.vmdk\"",
    ] {
        assert!(
            refused(text).is_some_and(|why| why.contains("snapshot")),
            "{text}"
        );
    }
    assert_eq!(
        refused("parentCID=ffffffff\nRW 63 FLAT \"x-flat.vmdk\" 0"),
        None
    );
    // The same inside of a sparse one.
    let mut fields = [0; 44];
    fields[..8].copy_from_slice(b"KDMV\x01\0\0\0");
    (fields[28], fields[36]) = (1, 20);
    let hidden = at(&[(0, &fields), (512, b"parentCID=1\n")]);
    assert!(recognize(&MemoryDevice::new(hidden, 512)).is_err());
    // Where QEMU looks for a parent, wherever the header says that the descriptor is.
    fields[28] = 9;
    let hint = b"# Disk DescriptorFile\nparentFileNameHint=\"base.vmdk\"\n";
    let hidden = at(&[(0, &fields), (512, hint)]);
    assert!(recognize(&MemoryDevice::new(hidden, 512)).is_err());
    let backed = at(&[(0, b"QFI\xfb\0\0\0\x01"), (15, &[64])]);
    assert!(recognize(&MemoryDevice::new(backed, 512)).is_err());
    let backed = at(&[(0, b"QED\0\0\0\x01\0"), (16, &[1])]);
    assert!(recognize(&MemoryDevice::new(backed, 512)).is_err());
}

#[test]
fn damage_never_panics() {
    let seeds = [
        at(&[(0, b"KDMV\x01\0\0\0"), (28, &[1]), (36, &[20])]),
        at(&[(0, &footer(3, 1 << 20)), (SIZE - 512, &footer(2, 1 << 12))]),
        b"# Disk DescriptorFile\nRW 1 SPARSE \"x\"\n".to_vec(),
        mbr(b"QFI\xfb\0\0\0\x02"),
    ];
    for seed in seeds {
        for at in (0..80).chain(seed.len().saturating_sub(512)..seed.len()) {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = seed.clone();
                if let Some(byte) = damaged.get_mut(at) {
                    *byte = value;
                }
                let _ = recognize(&MemoryDevice::new(damaged.clone(), 512));
                damaged.truncate(at);
                let _ = recognize(&MemoryDevice::new(damaged, 512));
            }
        }
    }
}
