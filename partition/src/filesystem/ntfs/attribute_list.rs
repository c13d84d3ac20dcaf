//! Attribute lists: where the parts of a file are that has more than one record.
//!
//! `ATTRIBUTE_LIST_ENTRY`: Linux-NTFS documentation, "$ATTRIBUTE_LIST":
//! <https://flatcap.github.io/linux-ntfs/ntfs/attributes/attribute_list.html>.

use super::address::Vcn;
use super::record::{Attribute, Key, Record, Reference};
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::{Checked, Result};

const HEADER_LEN: usize = 0x1a;

/// An entry of an attribute list: a part of an attribute, and the record that holds it.
pub(super) struct Entry<'a> {
    pub(super) key: Key<'a>,
    pub(super) lowest_vcn: Vcn,
    pub(super) reference: Reference,
}

/// The entries of the attribute list of a base record, in order.
///
/// # Errors
/// [`crate::Error::Corrupt`] for an entry that reaches beyond the list, which is then the last.
pub(super) fn entries<'a>(
    record: &'a Record,
    list: &'a [u8],
) -> impl Iterator<Item = Result<Entry<'a>>> + 'a {
    let mut rest = list;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = parse(record, &mut rest);
        if parsed.is_err() {
            rest = &[];
        }
        Some(parsed.map_err(Into::into))
    })
}

/// Takes the first entry off `rest`.
fn parse<'a>(record: &Record, rest: &mut &'a [u8]) -> Checked<Entry<'a>> {
    let bad = |found: usize| Err(record.corrupt("attribute list entry", "inside the list", found));
    if rest.len() < HEADER_LEN {
        return bad(rest.len());
    }
    let attribute_type = le32(rest, 0x00);
    let length = usize::from(le16(rest, 0x04));
    let name_length = usize::from(u8_at(rest, 0x06));
    let name_offset = usize::from(u8_at(rest, 0x07));
    let lowest_vcn = Vcn(le64(rest, 0x08));
    let mft_reference = Reference::parse(le64(rest, 0x10));
    let split = rest.split_at_checked(length);
    let Some((entry, after)) = split.filter(|_| length >= HEADER_LEN) else {
        return bad(rest.len());
    };
    // A name is UTF-16.
    let name_len = name_length * 2;
    let name_start = if name_len == 0 { 0 } else { name_offset };
    let Some(name) = entry.get(name_start..name_start + name_len) else {
        return bad(name_len);
    };
    *rest = after;
    Ok(Entry {
        key: Key {
            code: attribute_type,
            name,
        },
        lowest_vcn,
        reference: mft_reference,
    })
}

impl Entry<'_> {
    /// The part of the attribute in the record that holds it.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the record has no such part, or fails a check.
    pub(super) fn find_in<'h>(&self, holder: &'h Record) -> Result<Attribute<'h>> {
        let found = holder.find(self.key, self.lowest_vcn)?;
        found.ok_or_else(|| {
            let expected = format!("a part from cluster {}", self.lowest_vcn);
            holder.corrupt("attribute list", expected, "none").into()
        })
    }
}
