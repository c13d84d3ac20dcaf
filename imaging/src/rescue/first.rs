//! What was read of the first chunk. That chunk is written last, so its contents are kept beside the
//! map, and a continued rescue need not read them again.
//!
//! ```text
//! # klon-first: {"run":…,"good":[[offset,length],…],"digest":…}
//! the chunk, zero where it is not good
//! ```

use super::own::{check_own, write_file};
use crate::chunk::{CHUNK_LEN, Digest};
use crate::error::Result;
use crate::hex::Hex;
use klon_partition::device::open_plain;
use klon_partition::{Extent, ExtentMap};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const MAGIC: &str = "# klon-first: ";
/// A header is never longer: one extent for every other sector of a chunk.
const HEADER_BYTES_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Header {
    run: Uuid,
    good: ExtentMap,
    digest: Hex,
}

/// Where it is for a map.
#[must_use]
pub(super) fn path(map: &Path) -> PathBuf {
    let mut name = map.as_os_str().to_owned();
    name.push(".first");
    name.into()
}

/// Durably replaces what is kept for `map`.
///
/// # Errors
/// [`crate::Error::RecordIo`].
pub(super) fn save(map: &Path, run: Uuid, good: &ExtentMap, content: &[u8]) -> Result<()> {
    let header = Header {
        run,
        good: good.clone(),
        digest: Hex(digest(run, good, content)),
    };
    let path = path(map);
    check_own(&path, MAGIC)?;
    write_file(&path, |output| {
        writeln!(output, "{MAGIC}{}", serde_json::to_string(&header)?)?;
        output.write_all(content)
    })
}

/// What was kept of a first chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// What of it was read.
    pub(super) good: ExtentMap,
    /// All of its bytes; what was not read is of no meaning.
    pub(super) content: Vec<u8>,
}

/// What the rescue `run` kept for `map` of a chunk of `len` bytes. `None` when there is nothing, or
/// when it fails its checks: then the chunk is read again.
pub(super) fn load(map: &Path, run: Uuid, len: usize) -> Option<Kept> {
    let mut reader = BufReader::new(open_plain(&path(map), false).ok()?);
    let mut line = Vec::new();
    (&mut reader)
        .take(HEADER_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .ok()?;
    let text = std::str::from_utf8(&line).ok()?;
    let header: Header = serde_json::from_str(text.strip_prefix(MAGIC)?).ok()?;
    let mut content = Vec::new();
    let len_max = (CHUNK_LEN as u64).saturating_add(1);
    reader.take(len_max).read_to_end(&mut content).ok()?;
    let is_within = header.good.end_bytes() <= content.len() as u64;
    let is_whole = digest(header.run, &header.good, &content) == header.digest.0;
    (content.len() == len && header.run == run && is_within && is_whole).then_some(Kept {
        good: header.good,
        content,
    })
}

fn digest(run: Uuid, good: &ExtentMap, content: &[u8]) -> [u8; 32] {
    let number = |extent: Extent| [extent.offset_bytes(), extent.len_bytes()];
    let numbers = good.iter().flat_map(number).flat_map(u64::to_le_bytes);
    let described: Vec<u8> = run.as_bytes().iter().copied().chain(numbers).collect();
    let both = [Digest::of(&described).0, Digest::of(content).0].concat();
    Digest::of(&both).0
}

#[cfg(test)]
mod tests {
    use super::{Kept, load, path, save};
    use klon_partition::{Extent, ExtentMap};
    use proptest::prelude::{any, proptest};
    use uuid::Uuid;

    #[test]
    fn it_reads_back_for_its_run_and_not_when_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let map = directory.path().join("map");
        let good: ExtentMap = [Extent::new(0, 512), Extent::new(1024, 4096)]
            .into_iter()
            .flatten()
            .collect();
        let content = vec![7; 8192];
        let run = Uuid::from_u128(1);
        assert!(load(&map, run, 8192).is_none());
        save(&map, run, &good, &content).unwrap();
        assert_eq!(load(&map, run, 8192), Some(Kept { good, content }));
        assert!(load(&map, Uuid::from_u128(2), 8192).is_none());
        assert!(load(&map, run, 8191).is_none());
        let bytes = std::fs::read(path(&map)).unwrap();
        for at in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(path(&map), damaged).unwrap();
            assert!(load(&map, run, 8192).is_none(), "{at}");
        }
        // Of a whole chunk, every other sector.
        let every = (0..1024).filter_map(|number| Extent::new(number * 1024, 512));
        let every: ExtentMap = every.collect();
        let content = vec![0; 1 << 20];
        save(&map, run, &every, &content).unwrap();
        let kept = Kept {
            good: every,
            content,
        };
        assert_eq!(load(&map, run, 1 << 20), Some(kept));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let directory = tempfile::tempdir().unwrap();
            let map = directory.path().join("map");
            let bytes = [super::MAGIC.as_bytes(), &text].concat();
            std::fs::write(path(&map), bytes).unwrap();
            assert!(load(&map, Uuid::nil(), 0).is_none());
        }
    }
}
