//! Formats that are told by a few bytes at a fixed place of the start (file(1), QEMU's block drivers).

use super::{Foreign, Form, SURE_BYTES, Seen};
use klon_partition::bytes::{be32, be64};
use klon_partition::device::read_vec;
use klon_partition::{ReadAt, Result};

struct Magic {
    at: usize,
    bytes: &'static [u8],
    name: &'static str,
    form: Form,
}

const fn saved(bytes: &'static [u8], name: &'static str, advice: &'static str) -> Magic {
    let form = Form::Saved { advice };
    Magic {
        at: 0,
        bytes,
        name,
        form,
    }
}

const fn archive(bytes: &'static [u8], name: &'static str) -> Magic {
    Magic {
        at: 0,
        bytes,
        name,
        form: Form::Archive,
    }
}

const fn at(at: usize, bytes: &'static [u8], name: &'static str, advice: &'static str) -> Magic {
    Magic {
        at,
        ..saved(bytes, name, advice)
    }
}

const ZFS_RECEIVE: &str = "`zfs receive` makes a dataset of it";
const RESTORE: &str = "`restore` brings it to a formatted volume, which can be cloned";
const OWN_FILE: &str = "it says something of a clone or an image, and holds no disk";
const OWN_PROGRAM: &str =
    "restore it with the program that made it to a disk or a file, and clone that";

const MAGICS: &[Magic] = &[
    Magic {
        at: 0,
        bytes: b"partclone-image",
        name: "an image of partclone",
        form: Form::Partclone,
    },
    saved(
        b"\0ntfsclone-image",
        "an image of ntfsclone",
        "`ntfsclone --restore-image --overwrite {}.raw {}` makes it raw",
    ),
    saved(
        b"\x10\xb7\x2b\x7fExt2 Image",
        "an image of e2image",
        "it holds the metadata of a filesystem and none of its files",
    ),
    saved(
        b"PaRtImAgE-VoLuMe",
        "an image of partimage",
        "restore it with partimage to a partition, and clone that",
    ),
    saved(
        b"FsArCh_00",
        "an archive of fsarchiver",
        "restore it with `fsarchiver restfs` to a partition, and clone that",
    ),
    // sparse_format.h of AOSP: magic, major_version 1.
    saved(
        b"\x3a\xff\x26\xed\x01\0",
        "an Android sparse image",
        "`simg2img {} {}.raw` makes it raw",
    ),
    saved(
        b"\xfe\xef\x01",
        "an image of Ghost",
        "restore it with Ghost to a disk, and clone that",
    ),
    saved(
        b"\xce\x24\xb9\xa2\x20\0\0\0",
        "an archive of Acronis True Image",
        OWN_PROGRAM,
    ),
    saved(
        b"MSWIM\0\0\0",
        "a Windows image (WIM)",
        "`wimapply {} TARGET` brings it to a formatted volume, which can be cloned",
    ),
    saved(
        b"EVF\x09\r\n\xff\0",
        "an image of EnCase (E01)",
        "`ewfexport -f raw {}` makes it raw",
    ),
    saved(
        b"EVF2\r\n\x81\0",
        "an image of EnCase (Ex01)",
        "`ewfexport -f raw {}` makes it raw",
    ),
    saved(
        b"AFF10\r\n\0",
        "an AFF image",
        "`affconvert -r {}` makes it raw",
    ),
    saved(b"IsZ!", "a packed ISO image (ISZ)", OWN_PROGRAM),
    saved(b"DAA\0\0\0\0\0", "a packed ISO image (DAA)", OWN_PROGRAM),
    saved(
        b"encrcdsa",
        "an encrypted disk image of macOS",
        "`hdiutil convert -format UDTO` makes it raw on macOS",
    ),
    saved(
        b"sprs\0\0\0\x03",
        "a sparse disk image of macOS",
        "`hdiutil convert -format UDTO` makes it raw on macOS",
    ),
    saved(
        b"\xbe\xba\xfe\xca\0\0\0\0",
        "an extent of a vmdk image",
        "name the text file that describes the disk; `qemu-img convert -O raw` reads that",
    ),
    saved(
        b"QEVM\0\0\0\x03",
        "the saved state of a virtual machine",
        "it holds memory, and no disk",
    ),
    saved(
        b"LibvirtQemudSave",
        "the saved state of a virtual machine",
        "it holds memory, and no disk",
    ),
    // vma_spec.txt of Proxmox: magic, version 1 in big-endian order.
    saved(
        b"VMA\0\0\0\0\x01",
        "a backup of Proxmox (VMA)",
        "`vma extract {} DIRECTORY` makes its disks raw",
    ),
    saved(
        b"btrfs-stream\0",
        "a stream of btrfs send",
        "`btrfs receive` makes a subvolume of it",
    ),
    saved(
        b"xFSdump0",
        "a dump of xfsdump",
        "`xfsrestore` brings it to a formatted volume, which can be cloned",
    ),
    saved(
        b"age-encryption.org/",
        "an encrypted file (age)",
        "decrypt it with `age -d`, and name what comes out",
    ),
    saved(
        b"-----BEGIN PGP MESSAGE-----",
        "an encrypted file (PGP)",
        "decrypt it with `gpg -d`, and name what comes out",
    ),
    saved(
        b"Salted__",
        "an encrypted file (openssl)",
        "decrypt it with `openssl enc -d`, and name what comes out",
    ),
    // dmu_replay_record of OpenZFS: drr_type 0 (BEGIN) and the length of what follows, then drr_magic.
    at(
        8,
        b"\xac\xcb\xba\xf5\x02\0\0\0",
        "a stream of zfs send",
        ZFS_RECEIVE,
    ),
    at(
        8,
        b"\0\0\0\x02\xf5\xba\xcb\xac",
        "a stream of zfs send",
        ZFS_RECEIVE,
    ),
    // c_magic of protocols/dumprestore.h: 60012.
    at(24, b"\x6c\xea\0\0", "a dump of dump(8)", RESTORE),
    at(24, b"\0\0\xea\x6c", "a dump of dump(8)", RESTORE),
    saved(
        b"MComprHD",
        "a packed disk of MAME (CHD)",
        "`chdman extracthd -i {} -o {}.raw` makes it raw",
    ),
    saved(b"CISO", "a packed ISO image (CISO)", OWN_PROGRAM),
    // ECMA-130, 14: each sector begins with this.
    saved(
        b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0",
        "an image of a CD with sectors of 2352 bytes",
        "where it is of data, `bchunk` makes an ISO image of it and its .cue file",
    ),
    saved(b"klonrec\n", "a record of klon", OWN_FILE),
    saved(b"klonlog\n", "a log of klon", OWN_FILE),
    saved(b"klonevid", "what klon keeps of files", OWN_FILE),
    archive(b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    archive(b"\xed\xab\xee\xdb\x03\0", "an RPM package"),
    archive(b"PAR2\0PKT", "a PAR2 file"),
    archive(b"Rar!\x1a\x07", "a RAR archive"),
    archive(b"MSCF\0\0\0\0", "a cabinet archive"),
    archive(b"!<arch>\n", "an ar archive"),
    archive(b"xar!\0\x1c", "a xar archive"),
    Magic {
        at: 257,
        bytes: b"ustar",
        name: "a tar archive",
        form: Form::Archive,
    },
];

/// What the start of a file is by its magic number.
pub(super) fn see(head: &[u8]) -> Option<Seen> {
    let is_there = |magic: &&Magic| {
        let rest = head.get(magic.at..);
        rest.is_some_and(|rest| rest.starts_with(magic.bytes))
    };
    MAGICS.iter().find(is_there).map(|magic| Seen {
        foreign: Foreign {
            name: magic.name,
            form: magic.form,
        },
        is_sure: magic.bytes.len() >= SURE_BYTES,
    })
}

/// What the end of a file is by its magic number: an image of Nero has a footer that leads to its chunks.
pub(super) fn see_end(file: &dyn ReadAt) -> Result<Option<Seen>> {
    const FOOTER_BYTES: u64 = 12;
    const CHUNKS: [&[u8]; 7] = [
        b"CUES", b"CUEX", b"DAOI", b"DAOX", b"ETNF", b"ETN2", b"SINF",
    ];
    let Some(start) = (file.geometry().size_bytes).checked_sub(FOOTER_BYTES) else {
        return Ok(None);
    };
    let footer = read_vec(file, start, 12)?;
    let chunks_at = match &footer[..] {
        [b'N', b'E', b'R', b'5', ..] => be64(&footer, 4),
        [_, _, _, _, b'N', b'E', b'R', b'O', ..] => be32(&footer, 8).into(),
        _ => return Ok(None),
    };
    if chunks_at > start.saturating_sub(4) {
        return Ok(None);
    }
    let chunk = read_vec(file, chunks_at, 4)?;
    Ok(Some(Seen {
        foreign: Foreign {
            name: "a CD image of Nero (NRG)",
            form: Form::Saved {
                advice: "`nrg2iso {} {}.iso` makes an ISO image of it where it is of data",
            },
        },
        is_sure: CHUNKS.contains(&chunk.as_slice()),
    }))
}
