//! Swap space as `mkswap -U UUID -L LABEL` makes it: a header and nothing else.

use klon_partition::error::Corrupt;
use klon_partition::{Error, Result};
use uuid::Uuid;

const PAGE_BYTES: usize = 4096;
const FIELDS_AT: usize = 1024;
const LABEL_LEN: usize = 16;

/// The header page for swap space of `size_bytes`; `info` has lines like UUID="…" and LABEL="…".
pub(super) fn header(info: &str, size_bytes: u64) -> Result<Vec<u8>> {
    let value = |key: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(key));
        let value = line.map(|value| value.trim().trim_matches('"').to_owned());
        value.filter(|value| !value.is_empty())
    };
    let pages = size_bytes / PAGE_BYTES as u64;
    if pages < 10 {
        return Err(Error::Invalid(format!(
            "a partition of {size_bytes} bytes is too small for swap space"
        )));
    }
    let uuid = match value("UUID=") {
        Some(text) => Uuid::parse_str(&text).map_err(|error| {
            Corrupt::new(
                "swappt-*.info",
                "UUID",
                0,
                "a UUID",
                format!("{text}: {error}"),
            )
        })?,
        None => Uuid::new_v4(),
    };
    let mut page = vec![0; PAGE_BYTES];
    let last_page = u32::try_from(pages - 1).unwrap_or(u32::MAX);
    page[FIELDS_AT..][..4].copy_from_slice(&1_u32.to_le_bytes());
    page[FIELDS_AT + 4..][..4].copy_from_slice(&last_page.to_le_bytes());
    page[FIELDS_AT + 12..][..16].copy_from_slice(uuid.as_bytes());
    let label = value("LABEL=").unwrap_or_default().into_bytes();
    // As mkswap, which ends a label with a NUL.
    let len = label.len().min(LABEL_LEN - 1);
    page[FIELDS_AT + 28..][..len].copy_from_slice(&label[..len]);
    page[PAGE_BYTES - 10..].copy_from_slice(b"SWAPSPACE2");
    Ok(page)
}
