//! Which files differ, once the differing blocks are known. A block may hold several files, and a
//! filesystem moves the files that it keeps among its own structures.

use klon_partition::device::read_vec;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::filesystem::Owners;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::collections::HashSet;

/// How much is read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// How many bytes klon compares one by one. Beyond that, whole blocks count as different: it would not name so
/// many files anyway.
const LOOKED_AT_BYTES_MAX: u64 = 64 << 20;

/// The bytes of `blocks` that differ; all of a block that can't be read.
pub fn differing(a: &dyn ReadAt, b: &dyn ReadAt, blocks: &ExtentMap) -> ExtentMap {
    let mut found = ExtentMapBuilder::new();
    let mut left_bytes = LOOKED_AT_BYTES_MAX;
    for piece in blocks.iter().flat_map(|extent| extent.split(PIECE_BYTES)) {
        let len = usize::try_from(piece.len_bytes()).unwrap_or(usize::MAX);
        let is_near = piece.len_bytes() <= left_bytes;
        left_bytes = left_bytes.saturating_sub(piece.len_bytes());
        let read = |device: &dyn ReadAt| {
            let bytes = is_near.then(|| read_vec(device, piece.offset_bytes(), len).ok());
            bytes.flatten()
        };
        match (read(a), read(b)) {
            (Some(a), Some(b)) => push_runs(&mut found, piece, &a, &b),
            _ => found.push(piece),
        }
    }
    found.finish()
}

fn push_runs(found: &mut ExtentMapBuilder, piece: Extent, a: &[u8], b: &[u8]) {
    let is_unlike = |at: usize| a.get(at) != b.get(at);
    let mut start = None;
    for at in 0..=a.len() {
        let is_run = at < a.len() && is_unlike(at);
        match (start, is_run) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                let offset_bytes = piece.offset_bytes().saturating_add(from as u64);
                let run = Extent::new(offset_bytes, at.saturating_sub(from) as u64);
                run.into_iter().for_each(|run| found.push(run));
                start = None;
            }
            _ => {}
        }
    }
}

/// Takes the files out of `first` and `second` that are the same on both sides and only lie
/// elsewhere, as `first_blocks` and `second_blocks` show, which have all files with bytes in blocks
/// that differ.
pub fn without_moved(
    first: &mut Owners,
    second: &mut Owners,
    blocks: impl FnOnce() -> (Owners, Owners),
) {
    let has_inline = |owners: &Owners| owners.files.iter().any(|file| file.inline_sha256.is_some());
    if !has_inline(first) && !has_inline(second) {
        return;
    }
    let (first_blocks, second_blocks) = blocks();
    let inline = |owners: Owners| -> HashSet<(String, [u8; 32])> {
        let files = owners.files.into_iter();
        files
            .filter_map(|file| Some((file.path, file.inline_sha256?)))
            .collect()
    };
    let (first_blocks, second_blocks) = (inline(first_blocks), inline(second_blocks));
    for owners in [first, second] {
        owners.files.retain(|file| {
            let Some(sha256) = file.inline_sha256 else {
                return true;
            };
            let file = (file.path.clone(), sha256);
            !(first_blocks.contains(&file) && second_blocks.contains(&file))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::differing;
    use klon_partition::device::MemoryDevice;
    use klon_partition::{Extent, ExtentMap};

    #[test]
    fn bytes_are_told_from_their_neighbors() {
        let a = vec![7; 3 << 20];
        let mut b = a.clone();
        let places = [
            (4096, 1),
            (5000, 96),
            ((1 << 20) - 3, 9),
            ((3 << 20) - 1, 1),
        ];
        for (at, len) in places {
            b[at..at + len].fill(8);
        }
        let expected: ExtentMap = places
            .iter()
            .filter_map(|&(at, len)| Extent::new(at as u64, len as u64))
            .collect();
        let (a, b) = (MemoryDevice::new(a, 512), MemoryDevice::new(b, 512));
        assert_eq!(differing(&a, &b, &ExtentMap::whole(3 << 20)), expected);
        let outside: ExtentMap = Extent::new(8192, 4096).into_iter().collect();
        assert!(differing(&a, &b, &outside).is_empty());
        // Behind the end of a device.
        let beyond: ExtentMap = Extent::new(3 << 20, 4096).into_iter().collect();
        assert_eq!(differing(&a, &b, &beyond), beyond);
    }
}
