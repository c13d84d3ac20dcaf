//! Chunks: the unit of digest, aligned to the start of the volume. They have 1 MiB, or the size that an
//! image was made with.

mod differing;
mod in_step;
mod io;
mod pieces;
mod size;

pub(crate) use differing::differing;
pub(crate) use in_step::InStep;
pub use io::Write;
pub(crate) use io::{chunk_writes, read_chunk, read_data, read_len_bytes};
pub(crate) use pieces::touched;
pub use pieces::{Digested, Pieces};
pub use size::ChunkSize;

use klon_partition::bytes::is_zero;
use klon_partition::outside::FIRST_BYTES;
use klon_partition::{Extent, ExtentMap};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::OnceLock;

/// Size of a chunk. Images may have been made with another.
pub const CHUNK_BYTES: u64 = ChunkSize::USUAL.bytes();

/// How much of the start of a volume is held back until everything else is durable: what every clone
/// has, which is its first chunk.
pub const HELD_BYTES: u64 = FIRST_BYTES;
const _: () = assert!(HELD_BYTES == CHUNK_BYTES, "the first chunk is held back");

/// The size of a chunk, as the length of a buffer.
pub(crate) const CHUNK_LEN: usize = ChunkSize::USUAL.buffer_len();

/// The length of the longest.
const CHUNK_LEN_MAX: usize = ChunkSize::MAX.buffer_len();

/// Unit in which changes inside a chunk are found and written.
pub const BLOCK_BYTES: u64 = 4096;

/// SHA-256 of a chunk, with everything outside its data extents taken as zero.
///
/// A clone, an image, a sparse raw export and an index of another tool so agree on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Length of a digest.
    pub const LEN: usize = 32;

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        // Journals, inode tables and holes make many chunks zero, and seeing that takes a tenth of
        // the time that digesting them takes; any other chunk is told apart at its first bytes.
        match Self::of_zeroes(bytes.len()) {
            Some(zero) if is_zero(bytes) => zero,
            _ => Self(Sha256::digest(bytes).into()),
        }
    }

    /// The digest of `chunk`, of which `content` holds `extents`, and maybe more: everything else is taken as
    /// zero.
    pub(crate) fn of_extents(chunk: Extent, extents: &[Extent], content: &[u8]) -> Self {
        if extents == [chunk] {
            return Self::of(&content[..to_len(chunk.len_bytes())]);
        }
        let mut hash = Sha256::new();
        let mut start_bytes = chunk.offset_bytes();
        for &extent in extents {
            add_zeroes(&mut hash, start_bytes, extent.offset_bytes());
            hash.update(&content[range_in(chunk, extent)]);
            start_bytes = extent.end_bytes();
        }
        add_zeroes(&mut hash, start_bytes, chunk.end_bytes());
        Self(hash.finalize().into())
    }

    /// The digest of a whole chunk of zeroes; `None` for what is no size of a chunk.
    pub(crate) fn of_zeroes(len: usize) -> Option<Self> {
        const MIN: usize = ChunkSize::MIN.buffer_len();
        const COUNT: usize = (CHUNK_LEN_MAX / MIN).ilog2() as usize + 1;
        static ZERO_CHUNKS: [OnceLock<Digest>; COUNT] = [const { OnceLock::new() }; COUNT];
        let number = len.trailing_zeros().checked_sub(MIN.ilog2())?;
        let known = ZERO_CHUNKS.get(number as usize)?;
        let zero = || Self(Sha256::digest(vec![0; len]).into());
        len.is_power_of_two().then(|| *known.get_or_init(zero))
    }
}

/// Adds the zeroes between two places to a digest.
fn add_zeroes(hash: &mut Sha256, start_bytes: u64, end_bytes: u64) {
    const ZEROES: [u8; 4096] = [0; 4096];
    let mut left = to_len(end_bytes.saturating_sub(start_bytes));
    while left > 0 {
        let len = left.min(ZEROES.len());
        hash.update(&ZEROES[..len]);
        left -= len;
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The chunks of a volume of `size_bytes` that hold any byte of `map`, in order.
pub fn chunks(map: &ExtentMap, size_bytes: u64) -> impl Iterator<Item = Extent> + '_ {
    ChunkSize::USUAL.chunks(map, size_bytes)
}

/// The chunk that comes to the target last; `None` of a volume without bytes.
pub(crate) fn first_chunk(size_bytes: u64) -> Option<Extent> {
    Extent::new(0, size_bytes.min(HELD_BYTES))
}

/// The position of a chunk among all chunks of its volume.
#[must_use]
pub const fn index(chunk: Extent) -> u64 {
    ChunkSize::USUAL.index(chunk.offset_bytes())
}

/// Where `extent` lies in the buffer of `chunk`, which contains it.
pub(crate) fn range_in(chunk: Extent, extent: Extent) -> std::ops::Range<usize> {
    let start = to_len(extent.offset_bytes().saturating_sub(chunk.offset_bytes()));
    start..start.saturating_add(to_len(extent.len_bytes()))
}

/// A length within a chunk; the clamp is never reached.
pub(crate) fn to_len(len_bytes: u64) -> usize {
    usize::try_from(len_bytes).map_or(CHUNK_LEN_MAX, |len| len.min(CHUNK_LEN_MAX))
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Digest, chunks};
    use klon_partition::{Extent, ExtentMap};
    use sha2::{Digest as _, Sha256};

    #[test]
    fn only_chunks_with_data_are_visited_and_the_last_one_is_cut() {
        let size_bytes = 5 * CHUNK_BYTES + 7;
        let map: ExtentMap = [(10, 1), (CHUNK_BYTES - 1, 2), (size_bytes - 1, 1)]
            .into_iter()
            .filter_map(|(offset, len)| Extent::new(offset, len))
            .collect();
        let visited: Vec<_> = chunks(&map, size_bytes)
            .map(|c| (c.offset_bytes(), c.len_bytes()))
            .collect();
        assert_eq!(
            visited,
            [
                (0, CHUNK_BYTES),
                (CHUNK_BYTES, CHUNK_BYTES),
                (5 * CHUNK_BYTES, 7)
            ]
        );
    }

    #[test]
    fn digests_print_as_sha256sum_does() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        let zeroes = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";
        assert_eq!(Digest::of(&[0; 1 << 20]).to_string(), zeroes);
    }

    #[test]
    fn all_but_the_extents_of_a_chunk_is_taken_as_zero() {
        let chunk = Extent::new(CHUNK_BYTES, 20_000).unwrap();
        let at = |offset, len| Extent::new(CHUNK_BYTES + offset, len).unwrap();
        let content = vec![7; 1 << 20];
        for extents in [
            vec![],
            vec![at(0, 1)],
            vec![at(512, 4096), at(4700, 100), at(19_999, 1)],
            vec![at(0, 20_000)],
        ] {
            let mut plain = vec![0; 20_000];
            for extent in &extents {
                plain[super::range_in(chunk, *extent)].fill(7);
            }
            let found = Digest::of_extents(chunk, &extents, &content);
            assert_eq!(found, Digest::of(&plain), "{extents:?}");
        }
    }

    #[test]
    fn zeroes_of_any_length_have_the_digest_of_their_bytes() {
        for len in [0, 1, 4096, 1 << 16, 3 << 16, 1 << 17, 1 << 24, 1 << 25] {
            for _ in 0..2 {
                let zeroes = vec![0; len];
                let expected = Digest(Sha256::digest(&zeroes).into());
                assert_eq!(Digest::of(&zeroes), expected, "{len}");
            }
        }
    }
}
