//! Internal snapshots: their names. What is in them is not read.

use klon_partition::bytes::{be16, be32, be64};
use klon_partition::error::Corrupt;
use klon_partition::{ReadAt, Result};

/// What QEMU takes.
const SNAPSHOTS_MAX: u32 = 65_536;
/// QEMU takes 1 KiB of extra data.
const EXTRA_BYTES_MAX: u32 = 1024;
const ENTRY_LEN: usize = 40;

/// Names of the snapshots, by the fields `nb_snapshots` and `snapshots_offset`; the number of one that
/// has no name.
pub(super) fn names(file: &dyn ReadAt, count: u32, offset_bytes: u64) -> Result<Vec<String>> {
    if count > SNAPSHOTS_MAX {
        let expected = format!("at most {SNAPSHOTS_MAX}");
        return Err(Corrupt::new("qcow2 header", "nb_snapshots", 60, expected, count).into());
    }
    let mut names = Vec::new();
    let mut position = offset_bytes;
    for _ in 0..count {
        let mut entry = [0; ENTRY_LEN];
        file.read_exact_at(&mut entry, position)?;
        let (id_len, name_len) = (be16(&entry, 12), be16(&entry, 14));
        let extra_len = be32(&entry, 36);
        if extra_len > EXTRA_BYTES_MAX || be64(&entry, 0) == 0 {
            let expected = format!("a table, and at most {EXTRA_BYTES_MAX} bytes of extra data");
            let structure = "qcow2 snapshot table";
            return Err(Corrupt::new(structure, "entry", position, expected, extra_len).into());
        }
        let text_at = position
            .saturating_add(ENTRY_LEN as u64)
            .saturating_add(extra_len.into());
        let mut text = vec![0; usize::from(id_len) + usize::from(name_len)];
        file.read_exact_at(&mut text, text_at)?;
        let (id, name) = text.split_at(usize::from(id_len));
        let name = if name.is_empty() { id } else { name };
        names.push(String::from_utf8_lossy(name).into_owned());
        let end = text_at.saturating_add(text.len() as u64);
        position = end.checked_next_multiple_of(8).unwrap_or(end);
    }
    Ok(names)
}
