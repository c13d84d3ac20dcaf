//! Text that others wrote (names, labels, paths, serial numbers), as a string that is safe in any
//! message: bytes that would steer a terminal or begin a line are sealed.
//!
//! A sealed byte is one character of the private use area of plane 16: U+10FE00 plus its value.
//! The control characters of ASCII, the backslash, and each byte that is not UTF-8 (or is part of
//! one of these characters) are sealed. So two different byte strings are two different texts, and
//! [`unsealed`] returns the bytes. Code that writes to a terminal escapes them with [`printable`] or
//! [`printable_lines`]: a line feed that is not sealed is the message's own.

use serde::{Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The character of the sealed byte 0.
const SEAL: u32 = 0x10_fe00;

/// Text of the system or of a disk, sealed.
#[must_use]
pub fn sealed(text: impl AsRef<OsStr>) -> String {
    sealed_bytes(text.as_ref().as_bytes())
}

/// Bytes of a disk that are meant as UTF-8, sealed.
#[must_use]
pub fn sealed_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            match is_sealed_alone(c) || seal_of(c).is_some() {
                true => text.extend(encoded(c).bytes().map(seal)),
                false => text.push(c),
            }
        }
        text.extend(part.invalid().iter().copied().map(seal));
    }
    text
}

/// UTF-16 of a disk, sealed. Half of a surrogate pair becomes three bytes that UTF-8 never uses.
#[must_use]
pub fn sealed_utf16(units: impl IntoIterator<Item = u16>) -> String {
    let mut bytes = Vec::new();
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(c) => bytes.extend_from_slice(encoded(c).as_bytes()),
            Err(half) => {
                let half = half.unpaired_surrogate();
                let low = |shift: u32| 0x80 | (half >> shift & 0x3f) as u8;
                bytes.extend([0xe0 | (half >> 12) as u8, low(6), low(0)]);
            }
        }
    }
    sealed_bytes(&bytes)
}

/// Text of a file that klon or a user wrote, sealed where it is not yet.
#[must_use]
pub fn resealed(text: &str) -> String {
    let one = |c: char| match is_sealed_alone(c) {
        true => seal(c as u8),
        false => c,
    };
    text.chars().map(one).collect()
}

/// What was sealed, as it was.
#[must_use]
pub fn unsealed(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match seal_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(encoded(c).as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

/// The text for files and programs: as it was, but that bytes that are not UTF-8 stay sealed.
#[must_use]
pub fn plain(text: &str) -> String {
    let one = |c: char| match seal_of(c) {
        Some(byte) if byte.is_ascii() => char::from(byte),
        _ => c,
    };
    text.chars().map(one).collect()
}

/// The text as it was, for formats that hold just that; as [`plain`] where it is not UTF-8.
#[must_use]
pub fn written(text: &str) -> String {
    let bytes = unsealed(text).into_string();
    bytes.unwrap_or_else(|_| plain(text))
}

/// Whether the sealed bytes are not UTF-8, so that [`plain`] does not return all of them.
#[must_use]
pub fn has_foreign_bytes(text: &str) -> bool {
    let mut seals = text.chars().filter_map(seal_of);
    seals.any(|byte| !byte.is_ascii())
}

/// Sealed text between quotation marks. Quotation marks in it are sealed.
#[must_use]
pub fn quoted(text: &str) -> String {
    let inner: String = text
        .chars()
        .map(|c| if c == '"' { seal(b'"') } else { c })
        .collect();
    format!("\"{inner}\"")
}

/// The text for a terminal, in one line: what is sealed, and what a terminal would not show as it
/// is (control and format characters, blanks but the common one), as `\n`, `\\`, `\x1b`,
/// `\u{202e}`. Of two different texts, one is never shown as the other.
#[must_use]
pub fn printable(text: &str) -> String {
    escaped(text, false)
}

/// As [`printable`], for several lines: line feeds stay as they are.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    escaped(text, true)
}

/// Whether a terminal shows the text as it is.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.chars().all(is_shown)
}

/// Sealed text in files that klon writes: [`plain`] there, and sealed again when it is read.
pub mod stored {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::plain(text))
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the format.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer).map(|text| super::resealed(&text))
    }
}

/// As [`stored`], for text that may be missing.
pub mod stored_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(
        text: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().map(super::plain).serialize(serializer)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the format.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.map(|text| super::resealed(&text)))
    }
}

/// Serializes a path as sealed text.
///
/// # Errors
/// Those of the format.
pub fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.shown())
}

/// As [`path()`], for one that may be missing.
///
/// # Errors
/// Those of the format.
pub fn path_option<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Shown::shown).serialize(serializer)
}

/// What has a name that may hold any bytes.
pub trait Shown {
    /// The name, sealed, for messages.
    fn shown(&self) -> String;
}

impl Shown for OsStr {
    fn shown(&self) -> String {
        sealed(self)
    }
}

impl Shown for Path {
    fn shown(&self) -> String {
        sealed(self)
    }
}

fn escaped(text: &str, has_lines: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match seal_of(c) {
            Some(byte) => push_byte(&mut shown, byte),
            None if is_shown(c) || has_lines && c == '\n' => shown.push(c),
            None if c.is_ascii() => push_byte(&mut shown, c as u8),
            // Into a string that can't fail.
            None => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    shown
}

fn push_byte(shown: &mut String, byte: u8) {
    match byte {
        b'\n' => shown.push_str("\\n"),
        b'\r' => shown.push_str("\\r"),
        b'\t' => shown.push_str("\\t"),
        b'\\' => shown.push_str("\\\\"),
        b'"' => shown.push_str("\\\""),
        byte => {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
}

fn is_shown(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    if seal_of(c).is_some() {
        return false;
    }
    // As in the middle of a text: marks that join the letter before them are shown there.
    let mut text = [b'a', 0, 0, 0, 0];
    let len = c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..=len]).is_ok_and(|text| text.escape_debug().count() == 2)
}

const fn is_sealed_alone(c: char) -> bool {
    c.is_ascii_control() || c == '\\'
}

const fn seal(byte: u8) -> char {
    match char::from_u32(SEAL + byte as u32) {
        Some(c) => c,
        None => char::REPLACEMENT_CHARACTER,
    }
}

fn seal_of(c: char) -> Option<u8> {
    u8::try_from(u32::from(c).checked_sub(SEAL)?).ok()
}

fn encoded(c: char) -> String {
    c.to_string()
}

#[cfg(test)]
mod tests {
    use super::{
        has_foreign_bytes, plain, printable, printable_lines, quoted, resealed, sealed,
        sealed_bytes, sealed_utf16, unsealed,
    };
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (text, shown) in [
            (
                &b"x\x1b[2J\n    partition 9"[..],
                "x\\x1b[2J\\n    partition 9",
            ),
            (b"a\\nb", "a\\\\nb"),
            (b"\x7f\t\r\0", "\\x7f\\t\\r\\x00"),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            (
                "gpj.\u{202e}exe\u{2066}".as_bytes(),
                "gpj.\\u{202e}exe\\u{2066}",
            ),
            (
                "a\u{200d}b\u{a0}\u{2028}".as_bytes(),
                "a\\u{200d}b\\u{a0}\\u{2028}",
            ),
            (b"caf\xe9 \xff", "caf\\xe9 \\xff"),
            (
                "B\u{fc}ro, u\u{308}, \u{4e3b}, \u{1f4be}".as_bytes(),
                "B\u{fc}ro, u\u{308}, \u{4e3b}, \u{1f4be}",
            ),
            ("\u{10fe0a}".as_bytes(), "\\xf4\\x8f\\xb8\\x8a"),
        ] {
            assert_eq!(printable(&sealed_bytes(text)), shown);
        }
    }

    #[test]
    fn line_feeds_that_are_not_sealed_are_a_messages_own() {
        let text = format!("one {}\ntwo\u{1b}", sealed_bytes(b"a\nb"));
        assert_eq!(printable_lines(&text), "one a\\nb\ntwo\\x1b");
        assert_eq!(printable(&text), "one a\\nb\\ntwo\\x1b");
    }

    #[test]
    fn quotation_marks_in_a_name_do_not_end_it() {
        let label = quoted(&sealed_bytes(b"a\", 5 GiB\\"));
        assert_eq!(printable(&label), "\"a\\\", 5 GiB\\\\\"");
    }

    #[test]
    fn files_get_back_what_is_utf_8() {
        let text = sealed_bytes(b"/a\\b\n\xff");
        assert!(has_foreign_bytes(&text));
        assert!(!has_foreign_bytes(&sealed("a\\\n")));
        assert_eq!(resealed(&plain(&text)), text);
        assert_eq!(plain(&sealed("/a\\b\n")), "/a\\b\n");
    }

    #[test]
    fn half_a_surrogate_pair_is_not_another_half() {
        let of = |half: u16| printable(&sealed_utf16([0x61, half, 0x62]));
        assert_eq!(of(0xd800), "a\\xed\\xa0\\x80b");
        assert_eq!(of(0xdfff), "a\\xed\\xbf\\xbfb");
        assert_eq!(sealed_utf16("a\u{1f4be}".encode_utf16()), "a\u{1f4be}");
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_none_is_shown_as_another(
            name in prop::collection::vec(any::<u8>(), 0..12),
            text in "\\PC{0,3}[\\\\nx0-9\\x00-\\x1f\u{10fe00}-\u{10feff}]{0,6}\\PC{0,3}",
            other in "[\\\\nx1b\n\x1b]{0,4}",
            another in "[\\\\nx1b\n\x1b]{0,4}",
        ) {
            for name in [&name[..], text.as_bytes(), other.as_bytes()] {
                let sealed = sealed_bytes(name);
                let back = unsealed(&sealed);
                prop_assert_eq!(back.as_bytes(), name);
                prop_assert_eq!(resealed(&plain(&sealed)), sealed.clone());
                let shown = printable(&sealed);
                prop_assert!(!shown.chars().any(char::is_control));
                // What is shown is shown as it is.
                prop_assert_eq!(printable(&shown), shown);
            }
            let (one, two) = (sealed(OsStr::new(&other)), sealed(OsStr::new(&another)));
            prop_assert_eq!(other == another, printable(&one) == printable(&two));
        }
    }
}
