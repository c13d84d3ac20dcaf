//! The name of a file in its directory (`FILE_NAME`).

use super::mft::Mft;
use super::record::{FILE_NAME, Record, Reference};
use crate::bytes::{le64, u8_at};
use crate::device::ReadAt;
use crate::error::Result;
use crate::text::sealed_utf16;

/// Namespace of names in capitals for DOS, beside which there is a longer one.
const DOS: u8 = 2;
/// Namespace of names that Windows can't open.
const POSIX: u8 = 0;

/// One of the names of a file, and the directory in which it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) parent: Reference,
    pub(super) text: String,
}

/// The first of a file's names that are best: those of Windows, or else of POSIX, or else of DOS.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a record fails its check before there is any name.
pub(super) fn of(mft: &Mft, device: &dyn ReadAt, record: &Record) -> Result<Option<Name>> {
    let mut best: Option<(u8, Name)> = None;
    let visited = mft.values(device, record, FILE_NAME, &mut |value| {
        let Some((rank, name)) = parse(value) else {
            return;
        };
        if best.as_ref().is_none_or(|&(least, _)| rank < least) {
            best = Some((rank, name));
        }
    });
    match best {
        Some((_, name)) => Ok(Some(name)),
        None => visited.map(|()| None),
    }
}

/// A name, and how far it is from the best.
fn parse(value: &[u8]) -> Option<(u8, Name)> {
    if value.len() < 0x42 {
        return None;
    }
    let len = usize::from(u8_at(value, 0x40)).saturating_mul(2);
    let text = value.get(0x42..len.saturating_add(0x42))?;
    let rank = match u8_at(value, 0x41) {
        DOS => 2,
        POSIX => 1,
        _ => 0,
    };
    let name = Name {
        parent: Reference::parse(le64(value, 0)),
        text: from_utf16(text),
    };
    Some((rank, name))
}

/// Text of little-endian UTF-16.
pub(super) fn from_utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter();
    sealed_utf16(units.map(|unit| u16::from_le_bytes(*unit)))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_are_ranked_by_their_namespace() {
        let mut value = vec![0; 0x46];
        value[0] = 5;
        value[0x40] = 2;
        value[0x42..].copy_from_slice(&[b'a', 0, 0xe4, 0]);
        for (namespace, expected) in [(0, 1), (1, 0), (2, 2), (3, 0)] {
            value[0x41] = namespace;
            let (rank, name) = parse(&value).unwrap();
            assert_eq!((rank, name.text.as_str()), (expected, "a\u{e4}"));
            assert_eq!(name.parent.number, 5);
        }
        value[0x40] = 3;
        assert_eq!(parse(&value), None);
        assert_eq!(parse(&[]), None);
    }
}
