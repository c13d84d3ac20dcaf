//! Archives of files: zip, and cpio, which have no long magic number but a header in digits.

use super::{Foreign, Form, Seen};
use klon_partition::bytes::le16;

/// What the start of a file is.
pub(super) fn see(head: &[u8]) -> Option<Seen> {
    let seen = |name, is_sure| {
        let form = Form::Archive;
        Some(Seen {
            foreign: Foreign { name, form },
            is_sure,
        })
    };
    match head {
        [b'P', b'K', 3, 4, ..] => seen("a zip archive", is_zip(head)),
        [b'P', b'K', 5, 6, ..] => seen("an empty zip archive", head.len() == 22),
        _ if is_cpio(head) => seen("a cpio archive", true),
        _ => None,
    }
}

/// Whether the header of the first file is one (APPNOTE of PKWARE, 4.3.7): version needed, method, name.
fn is_zip(head: &[u8]) -> bool {
    let Some(fields) = head.get(..30) else {
        return false;
    };
    let name = head[30..].get(..usize::from(le16(fields, 26)));
    let is_name = |name: &[u8]| !name.is_empty() && name.iter().all(|&byte| byte >= b' ');
    (10..=63).contains(&le16(fields, 4))
        && matches!(le16(fields, 8), 0..=10 | 12 | 14 | 93..=99)
        && name.is_some_and(is_name)
}

/// cpio(5): numbers of the old portable format are octal, of the new ones hexadecimal.
fn is_cpio(head: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>, radix| {
        let field = head.get(range);
        field.is_some_and(|field| field.iter().all(|&byte| char::from(byte).is_digit(radix)))
    };
    match head.get(..6) {
        Some(b"070707") => digits(6..76, 8),
        Some(b"070701" | b"070702") => digits(6..110, 16),
        _ => false,
    }
}
