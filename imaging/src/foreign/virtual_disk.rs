//! Disks of virtual machines, as QEMU's block drivers and their own descriptions have them.
//!
//! What QEMU would read in another way than is meant, or by way of files that the image names, is
//! refused here: a virtual disk comes from anywhere, and klon runs as root.

mod cut;
mod end;
mod two_levels;
mod vmdk;

pub use cut::check_whole;
pub(crate) use end::check_end;

use super::{Foreign, Form, Seen};
use klon_partition::bytes::{be32, be64, le32};
use klon_partition::device::read_vec;
use klon_partition::error::Corrupt;
use klon_partition::{Error, ReadAt, Result};

/// Of VHD's footer, which dynamic disks have at their start, too.
const VHD_BYTES: u64 = 512;
const VHD_COOKIE: &[u8] = b"conectix";
const SECTOR_BYTES: u64 = 512;

const CONVERT: &str = "`qemu-img convert -O raw` makes a raw file of it where that is meant";

/// What a file is.
pub(super) fn see(file: &dyn ReadAt, head: &[u8]) -> Result<Option<Seen>> {
    let qemu = |name, driver, is_sure| {
        let form = Form::VirtualDisk { driver };
        Ok(Some(Seen {
            foreign: Foreign { name, form },
            is_sure,
        }))
    };
    let has = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    // The rest of a header that is cut short is zero to whoever looks at it.
    let field = |at: usize| head.get(at..at + 4).map_or(0, |_| le32(head, at));
    if has(0, b"QFI\xfb") {
        return match head.get(..8).map(|head| be32(head, 4)) {
            // backing_file_offset (QEMU's block/qcow.c).
            Some(1) if head.get(..16).is_some_and(|head| be64(head, 8) != 0) => {
                Err(chained("a qcow image with a backing file"))
            }
            Some(1) => qemu("a qcow image", "qcow", true),
            version => Ok(Some(Seen {
                foreign: Foreign {
                    name: "a qcow2 image",
                    form: Form::Qcow2,
                },
                is_sure: matches!(version, Some(2 | 3)),
            })),
        };
    }
    if has(0, b"QED\0") {
        let cluster = field(4);
        let is_sure = cluster.is_power_of_two() && (1 << 12..=1 << 26).contains(&cluster);
        if is_sure && field(16) & 1 != 0 {
            return Err(chained("a qed image with a backing file"));
        }
        return qemu("a qed image", "qed", is_sure);
    }
    if vmdk::is_image(head) {
        return qemu("a vmdk image", "vmdk", vmdk::check_names(file, head)?);
    }
    if has(64, b"\x7f\x10\xda\xbe") {
        return qemu("a vdi image", "vdi", true);
    }
    for (magic, name, driver) in [
        (&b"vhdxfile"[..], "a vhdx image", "vhdx"),
        (b"WithoutFreeSpace", "an image of Parallels", "parallels"),
        (b"WithouFreSpacExt", "an image of Parallels", "parallels"),
        (b"Bochs Virtual HD Image", "an image of Bochs", "bochs"),
        (
            b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop",
            "a compressed loop image",
            "cloop",
        ),
    ] {
        if has(0, magic) {
            return qemu(name, driver, true);
        }
    }
    footer(file, head)
}

/// What ends with a footer: VHD, and disk images of macOS.
fn footer(file: &dyn ReadAt, head: &[u8]) -> Result<Option<Seen>> {
    let size_bytes = file.geometry().size_bytes;
    let seen = |name, form| {
        Ok(Some(Seen {
            foreign: Foreign { name, form },
            is_sure: true,
        }))
    };
    let Some(start) = size_bytes.checked_sub(VHD_BYTES) else {
        return Ok(None);
    };
    if head.starts_with(VHD_COOKIE) {
        let copy = head.get(..to_len(VHD_BYTES)).unwrap_or_default();
        return match vhd_type(copy) {
            Some(3) => seen("a vhd image", Form::VirtualDisk { driver: "vpc" }),
            Some(4) => Err(chained("a differencing vhd image")),
            _ => Ok(Some(Seen {
                foreign: Foreign {
                    name: "a vhd image",
                    form: Form::VirtualDisk { driver: "vpc" },
                },
                is_sure: false,
            })),
        };
    }
    let tail = read_vec(file, start, to_len(VHD_BYTES))?;
    // The trailer of UDIF: signature, version 4, its own length.
    if tail.starts_with(b"koly") && be32(&tail, 4) == 4 && be32(&tail, 8) == 512 {
        return seen("a disk image of macOS", Form::VirtualDisk { driver: "dmg" });
    }
    match vhd_type(&tail) {
        Some(2) => {
            let disk_bytes = be64(&tail, 48);
            match disk_bytes > 0 && disk_bytes <= start {
                true => seen(
                    "a fixed vhd image",
                    Form::FixedVhd {
                        size_bytes: disk_bytes,
                    },
                ),
                false => Err(Corrupt::new(
                    "vhd footer",
                    "current size",
                    start,
                    format!("at most {start} bytes, as are before it"),
                    disk_bytes,
                )
                .into()),
            }
        }
        // The copy at the start is lost, and with it where the rest is.
        Some(3 | 4) => seen(
            "a damaged vhd image",
            Form::Saved {
                advice: "its first sector is lost; `qemu-img check -f vpc {}` says more",
            },
        ),
        _ => Ok(None),
    }
}

/// The kind of disk that a footer of VHD is of, if its checksum is right: 2 fixed, 3 dynamic, 4
/// differencing (Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format").
fn vhd_type(footer: &[u8]) -> Option<u32> {
    if !footer.starts_with(VHD_COOKIE) || footer.len() < to_len(VHD_BYTES) {
        return None;
    }
    let sum = |range: std::ops::Range<usize>| {
        let bytes = footer.get(range).unwrap_or_default();
        bytes
            .iter()
            .fold(0_u32, |sum, &byte| sum.wrapping_add(byte.into()))
    };
    let expected = !sum(0..64).wrapping_add(sum(68..512));
    (be32(footer, 64) == expected).then(|| be32(footer, 60))
}

fn chained(what: &str) -> Error {
    Error::unsupported(what, CONVERT)
}

fn to_len(len_bytes: u64) -> usize {
    usize::try_from(len_bytes).unwrap_or(usize::MAX)
}
