//! A text in place of bytes that could not be read, repeated from the start of each sector. Files
//! with lost bytes can be found by it.

use crate::chunk::{CHUNK_BYTES, to_len};
use crate::source::Filled;
use bytes::Bytes;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap, ReadAt};

/// A sector of any disk is a whole number of these.
const SECTOR_BYTES: usize = 512;

/// `pattern` in each sector of `piece`, which is a whole number of them and at most a chunk.
pub(super) fn content(piece: Extent, pattern: &str) -> Bytes {
    let sector: Vec<u8> = match pattern.is_empty() {
        true => vec![0; SECTOR_BYTES],
        false => pattern.bytes().cycle().take(SECTOR_BYTES).collect(),
    };
    sector
        .into_iter()
        .cycle()
        .take(to_len(piece.len_bytes()))
        .collect()
}

/// The part of `filled` that still stands on `device`, in whole sectors of 512 bytes. Anything else was written since,
/// so somebody wants it there. What can't be read now is no better than it was.
#[must_use]
pub fn still_filled(device: &dyn ReadAt, filled: &Filled) -> ExtentMap {
    let sector = Extent::new(0, SECTOR_BYTES as u64);
    let of_text = |text| sector.map(|sector| content(sector, text));
    let expected: Vec<Bytes> = filled.texts.iter().filter_map(of_text).collect();
    let mut still = ExtentMapBuilder::new();
    let all = filled.extents.aligned_out(SECTOR_BYTES as u64, u64::MAX);
    for piece in all.iter().flat_map(|extent| extent.split(CHUNK_BYTES)) {
        let size_bytes = device.geometry().size_bytes;
        // The last sector of a file may be cut short.
        let end_bytes = piece.end_bytes().min(size_bytes);
        let Some(there) = Extent::between(piece.offset_bytes(), end_bytes) else {
            continue;
        };
        let mut found = vec![0; to_len(there.len_bytes())];
        let is_read = device
            .read_exact_at(&mut found, there.offset_bytes())
            .is_ok();
        for (sector, bytes) in there
            .split(SECTOR_BYTES as u64)
            .zip(found.chunks(SECTOR_BYTES))
        {
            let is_filled = bytes.iter().all(|&byte| byte == 0)
                || expected.iter().any(|text| text.starts_with(bytes));
            if is_filled || !is_read {
                still.push(sector);
            }
        }
    }
    still.finish().intersection(&filled.extents)
}

#[cfg(test)]
mod tests {
    use super::{content, still_filled};
    use crate::source::{FillTexts, Filled};
    use klon_partition::device::MemoryDevice;
    use klon_partition::{Extent, ExtentMap, WriteAt};

    #[test]
    fn what_was_filled_in_is_known_until_something_else_stands_there() {
        let text = "KLON BAD SECTOR\n";
        let device = MemoryDevice::zeroed(8192);
        let bad = Extent::new(1024, 2048).unwrap();
        device.write_all_at(&content(bad, text), 1024).unwrap();
        let mut filled = Filled {
            extents: [Extent::new(100, 50).unwrap(), bad].into_iter().collect(),
            texts: [text].into_iter().collect(),
        };
        let still = |filled: &Filled| still_filled(&device, filled);
        assert_eq!(still(&filled), filled.extents);
        device.write_all_at(b"x", 1024 + 700).unwrap();
        let rest: ExtentMap = [(100, 50), (1024, 512), (2048, 1024)]
            .into_iter()
            .filter_map(|(at, len)| Extent::new(at, len))
            .collect();
        assert_eq!(still(&filled), rest);
        // A text that no rescue filled in is content.
        filled.texts = ["OTHER"].into_iter().collect();
        assert_eq!(still(&filled), Extent::new(100, 50).unwrap().into());
        filled.texts = ["OTHER", text].into_iter().collect();
        assert_eq!(still(&filled), rest);
        filled.texts = FillTexts::default();
        device.write_all_at(&[0; 4096], 0).unwrap();
        assert_eq!(still(&filled), filled.extents);
    }

    #[test]
    fn each_sector_begins_with_the_text() {
        let found = content(Extent::new(512, 1024).unwrap(), "BAD SECTOR ");
        assert_eq!(found.len(), 1024);
        for sector in found.chunks(512) {
            assert!(sector.starts_with(b"BAD SECTOR BAD SECTOR "));
            assert!(sector.ends_with(b"BAD SE"));
        }
        assert!(
            content(Extent::new(0, 512).unwrap(), "")
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}
