//! What a volume is called: UUID and label as blkid has them.

use super::btree::Tree;
use super::md5::md5;
use super::node;
use crate::bytes::{be16, be32};
use crate::error::Result;
use crate::text::sealed_utf16;

/// What the finder's identifier is hashed with: `kFSUUIDNamespaceSHA1` of macOS.
const NAMESPACE: [u8; 16] = [
    0xb3, 0xe2, 0x0f, 0x39, 0xf2, 0x92, 0x11, 0xd6, 0x97, 0xa4, 0x00, 0x30, 0x65, 0x43, 0xec, 0xac,
];
const ROOT_PARENT: u32 = 1;

/// The UUID (version 3, RFC 9562) of the identifier in the last 8 bytes of `finderInfo`; `None`
/// when that is zero. `raw` is a volume header of 512 bytes.
pub(super) fn uuid(raw: &[u8]) -> Option<String> {
    let id = raw.get(104..112).filter(|id| **id != [0; 8])?;
    let digest = md5(&[&NAMESPACE[..], id].concat());
    let uuid = uuid::Builder::from_md5_bytes(digest).into_uuid();
    Some(uuid.to_string())
}

/// The name of the root folder, which has the least key of the catalog.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the first leaf fails a check.
pub(super) fn label(catalog: &Tree<'_>) -> Result<Option<String>> {
    let Some(record) = catalog.first()? else {
        return Ok(None);
    };
    let key = node::split(&record).map(|(key, _)| key);
    let Some(key) = key.filter(|key| key.len() >= 8 && be32(key, 2) == ROOT_PARENT) else {
        return Ok(None);
    };
    // nodeName
    let len = usize::from(be16(key, 6)) * 2;
    let units = key.get(8..8 + len).unwrap_or_default().as_chunks::<2>().0;
    let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    let end = units.iter().position(|&unit| unit == 0);
    let label = sealed_utf16(units.into_iter().take(end.unwrap_or(usize::MAX)));
    let label = label.trim_end();
    Ok((!label.is_empty()).then(|| label.to_owned()))
}
