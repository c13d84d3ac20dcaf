//! Attributes of devices in sysfs.

use crate::text::sealed_bytes;
use std::fs;
use std::path::Path;

/// An attribute's text, sealed; `None` when it is missing or empty.
pub(super) fn attribute(sysfs: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(sysfs.join(name)).ok()?;
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let start = bytes.iter().position(|byte| !is_blank(byte))?;
    let end = bytes.iter().rposition(|byte| !is_blank(byte))?;
    Some(sealed_bytes(bytes.get(start..=end)?))
}
