//! A text in place of bytes that could not be read, repeated from the start of each sector. Files
//! with lost bytes can be found by it.

use crate::chunk::to_len;
use bytes::Bytes;
use klon_partition::Extent;

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

#[cfg(test)]
mod tests {
    use super::content;
    use klon_partition::Extent;

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
