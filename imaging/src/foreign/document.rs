//! Documents, programs, databases and media: files in which no disk can be.

use super::{Foreign, Form, SURE_BYTES, Seen};
use klon_partition::bytes::le32;

/// Where it begins, by which bytes, and what it is (file(1)).
const MAGICS: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF-", "a PDF document"),
    (0, b"%!PS-Adobe-", "a PostScript document"),
    (0, b"{\\rtf1", "an RTF document"),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a document of Microsoft Office or an installer (OLE)",
    ),
    // EI_CLASS, EI_DATA and EI_VERSION of elf(5).
    (0, b"\x7fELF\x01\x01\x01", "an ELF program or core dump"),
    (0, b"\x7fELF\x01\x02\x01", "an ELF program or core dump"),
    (0, b"\x7fELF\x02\x01\x01", "an ELF program or core dump"),
    (0, b"\x7fELF\x02\x02\x01", "an ELF program or core dump"),
    (0, b"KDUMP   ", "a crash dump of a kernel"),
    (0, b"SQLite format 3\0", "a database of SQLite"),
    (0, b"PGDMP", "a dump of PostgreSQL"),
    (0, b"LPKSHHRH", "a journal of systemd"),
    (0, b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (0, b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a picture (JPEG)"),
    (0, b"GIF89a", "a picture (GIF)"),
    (0, b"fLaC\0\0\0\x22", "music (FLAC)"),
    (0, b"\x1a\x45\xdf\xa3", "a film (Matroska)"),
    (4, b"ftypisom", "a film (MP4)"),
    (4, b"ftypmp42", "a film (MP4)"),
    (4, b"ftypqt  ", "a film (QuickTime)"),
];

/// What the start of a file is.
pub(super) fn see(head: &[u8]) -> Option<Seen> {
    let of_magic = MAGICS.iter().find(|(at, bytes, _)| {
        let rest = head.get(*at..);
        rest.is_some_and(|rest| rest.starts_with(bytes))
    });
    if let Some(&(_, bytes, name)) = of_magic {
        return Some(seen(name, bytes.len() >= SURE_BYTES));
    }
    if is_windows_program(head) {
        return Some(seen("a program of Windows or EFI", true));
    }
    is_text(head).then(|| seen("a text file", false))
}

const fn seen(name: &'static str, is_sure: bool) -> Seen {
    let form = Form::Document;
    Seen {
        foreign: Foreign { name, form },
        is_sure,
    }
}

/// Whether `e_lfanew` of the DOS header leads to the signature of a PE header. A kernel of Linux that EFI
/// can start is such a program as well.
fn is_windows_program(head: &[u8]) -> bool {
    let Some(dos_header) = head.get(..64).filter(|head| head.starts_with(b"MZ")) else {
        return false;
    };
    let e_lfanew = le32(dos_header, 60) as usize;
    let header = head.get(e_lfanew..);
    header.is_some_and(|header| header.starts_with(b"PE\0\0"))
}

/// Whether the start of a file is nothing but lines of ASCII or UTF-8.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() && head.len() - error.valid_up_to() < 4 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_of_lines = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c');
    text.contains('\n') && text.chars().all(is_of_lines)
}
