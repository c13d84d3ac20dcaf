//! Packed streams: a magic number of a few bytes, and what shows that it is none by chance.

use super::{Foreign, Form, Seen};
use crate::packed::{Packing, unpack};
use klon_partition::ReadAt;
use klon_partition::device::read_vec;
use std::io::{Cursor, Read};

/// So much is unpacked on trial.
const TRIAL_BYTES: u64 = 256 << 10;

/// What the start of a file is.
pub(super) fn see(file: &dyn ReadAt, head: &[u8]) -> Option<Seen> {
    let packing = Packing::of(head);
    let name = match packing {
        Packing::None => return None,
        Packing::Gzip if !is_gzip(head) => return None,
        Packing::Gzip => "a gzip file",
        Packing::Zstd => "a zstd file",
        Packing::Xz => "an xz file",
        Packing::Lz4 => "an lz4 file",
        Packing::Bzip2 => "a bzip2 file",
        Packing::Foreign(_) => "a packed file",
    };
    Some(Seen {
        foreign: Foreign {
            name,
            form: Form::Packed(packing),
        },
        is_sure: unpacks(file),
    })
}

/// RFC 1952: no reserved flag, an operating system that has a number.
fn is_gzip(head: &[u8]) -> bool {
    head.get(3).is_some_and(|flags| flags & 0xe0 == 0)
        && (head.get(9)).is_some_and(|system| matches!(system, 0..=13 | 255))
}

/// Whether something comes out of it.
fn unpacks(file: &dyn ReadAt) -> bool {
    let len = usize::try_from(file.geometry().size_bytes.min(TRIAL_BYTES)).unwrap_or(0);
    let Ok(start) = read_vec(file, 0, len) else {
        return false;
    };
    let mut plain = [0; 1];
    unpack(Cursor::new(start), "")
        .is_ok_and(|(mut stream, _)| stream.read_exact(&mut plain).is_ok())
}
