//! The name of a file in its directory: `FILE_NAME_ATTR`.
//!
//! Linux-NTFS documentation, "$FILE_NAME":
//! <https://flatcap.github.io/linux-ntfs/ntfs/attributes/file_name.html>.

use super::mft::Mft;
use super::record::{FILE_NAME, Record, Reference};
use crate::bytes::{le64, u8_at};
use crate::device::ReadAt;
use crate::error::Result;
use crate::text::sealed_utf16;

/// Namespace of names in capitals for DOS. The file has a longer name, too.
const DOS: u8 = 2;
/// Namespace of names that Windows can't open.
const POSIX: u8 = 0;

/// One of the names of a file, and the directory that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) parent: Reference,
    pub(super) text: String,
    /// How far the name is from the best.
    rank: u8,
}

/// The first of a file's best names. Names of Windows are better than names of POSIX, and these are better
/// than names of DOS.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a record fails its check before there is any name.
pub(super) fn of(mft: &Mft, device: &dyn ReadAt, record: &Record) -> Result<Option<Name>> {
    let mut best: Option<Name> = None;
    let visited = mft.values(device, record, FILE_NAME, &mut |value| {
        let Some(name) = parse(value) else {
            return;
        };
        if best.as_ref().is_none_or(|best| name.rank < best.rank) {
            best = Some(name);
        }
    });
    match best {
        Some(name) => Ok(Some(name)),
        None => visited.map(|()| None),
    }
}

/// The name in the value of a `$FILE_NAME`; `None` when it is too short for one.
pub(super) fn parse(value: &[u8]) -> Option<Name> {
    if value.len() < 0x42 {
        return None;
    }
    let parent_directory = Reference::parse(le64(value, 0x00));
    let file_name_length = usize::from(u8_at(value, 0x40));
    let file_name_type = u8_at(value, 0x41);
    let file_name = value.get(0x42..0x42 + file_name_length * 2)?;
    Some(Name {
        parent: parent_directory,
        text: from_utf16(file_name),
        rank: match file_name_type {
            DOS => 2,
            POSIX => 1,
            _ => 0,
        },
    })
}

/// Text of little-endian UTF-16.
pub(super) fn from_utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter();
    sealed_utf16(units.map(|unit| u16::from_le_bytes(*unit)))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::filesystem::ntfs::address::RecordNumber;

    #[test]
    fn names_are_ranked_by_their_namespace() {
        let mut value = vec![0; 0x46];
        value[0] = 5;
        value[0x40] = 2;
        value[0x42..].copy_from_slice(&[b'a', 0, 0xe4, 0]);
        for (namespace, expected) in [(0, 1), (1, 0), (2, 2), (3, 0)] {
            value[0x41] = namespace;
            let name = parse(&value).unwrap();
            assert_eq!((name.rank, name.text.as_str()), (expected, "a\u{e4}"));
            assert_eq!(name.parent.number, RecordNumber(5));
        }
        value[0x40] = 3;
        assert_eq!(parse(&value), None);
        assert_eq!(parse(&[]), None);
    }
}
