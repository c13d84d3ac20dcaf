//! Pieces of chunks. Each has a digest of its own, so that a chunk of which one piece changed can be digested
//! without the others.

use super::{CHUNK_LEN, Digest, range_in, to_len};
use klon_partition::{Extent, ExtentMap};

/// Size of a piece; the last one of a volume is shorter.
pub(crate) const PIECE_BYTES: u64 = 128 << 10;

const PIECE_LEN: usize = 128 << 10;

/// Pieces of a chunk.
const COUNT: usize = CHUNK_LEN / PIECE_LEN;
const _: () = assert!(COUNT * PIECE_LEN == CHUNK_LEN, "a chunk is whole pieces");

/// How the digests of a clone's chunks come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digested {
    /// Each is SHA-256 of the chunk, as in images.
    Whole,
    /// Each is SHA-256 of the digests of the chunk's pieces.
    InPieces,
}

impl Digested {
    /// The digest of a chunk.
    #[must_use]
    pub fn of(self, content: &[u8]) -> Digest {
        match self {
            Self::Whole => Digest::of(content),
            Self::InPieces => Pieces::of(content).digest(),
        }
    }

    /// The digest of `chunk`, of which `content` holds `extents`, and maybe more: everything else is taken as
    /// zero.
    pub(crate) fn of_extents(self, chunk: Extent, extents: &[Extent], content: &[u8]) -> Digest {
        match self {
            Self::Whole => Digest::of_extents(chunk, extents, content),
            Self::InPieces => {
                let mut pieces = Pieces::NONE;
                pieces.replace(chunk, &ExtentMap::from(chunk), extents, content);
                pieces.digest()
            }
        }
    }
}

/// The digests of the pieces of a chunk, in order; those behind its end are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces([Digest; COUNT]);

impl Pieces {
    /// Length of them all.
    pub(crate) const LEN: usize = COUNT * Digest::LEN;

    const NONE: Self = Self([Digest([0; Digest::LEN]); COUNT]);

    /// Those of a chunk.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut pieces = Self::NONE;
        for (digest, piece) in pieces.0.iter_mut().zip(content.chunks(PIECE_LEN)) {
            *digest = Digest::of(piece);
        }
        pieces
    }

    /// Those of a whole chunk of zeroes; `None` for what is no whole chunk.
    pub(crate) fn of_zeroes(len: usize) -> Option<Self> {
        let zero = Digest::of_zeroes(PIECE_LEN).filter(|_| len == CHUNK_LEN)?;
        Some(Self([zero; COUNT]))
    }

    /// Those that were stored; `None` where none are known.
    pub(crate) fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut pieces = Self::NONE;
        for (digest, stored) in pieces.0.iter_mut().zip(bytes.chunks_exact(Digest::LEN)) {
            digest.0.copy_from_slice(stored);
        }
        (pieces != Self::NONE).then_some(pieces)
    }

    /// As they are stored; `None` of none.
    pub(crate) fn to_bytes(pieces: Option<&Self>) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let digests = pieces.unwrap_or(&Self::NONE).0;
        for (stored, digest) in bytes.chunks_exact_mut(Digest::LEN).zip(digests) {
            stored.copy_from_slice(&digest.0);
        }
        bytes
    }

    /// The digest of the chunk.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&Self::to_bytes(Some(self)))
    }

    /// The pieces of `chunk` that have other digests in `other`.
    pub(crate) fn differing(&self, chunk: Extent, other: &Self) -> ExtentMap {
        let pairs = self.0.iter().zip(&other.0);
        let pieces = pairs.zip(chunk.split(PIECE_BYTES));
        let differing = pieces.filter(|((own, other), _)| own != other);
        differing.map(|(_, piece)| piece).collect()
    }

    /// Whether the pieces of `chunk` that touch `within` are these: `content` holds `extents` of the chunk, and
    /// everything else is taken as zero.
    pub(crate) fn has(
        &self,
        chunk: Extent,
        within: &ExtentMap,
        extents: &[Extent],
        content: &[u8],
    ) -> bool {
        let mut found = self.clone();
        found.replace(chunk, within, extents, content);
        found == *self
    }

    /// Digests the pieces of `chunk` that touch `within`, as [`has`](Self::has) takes them.
    pub(crate) fn replace(
        &mut self,
        chunk: Extent,
        within: &ExtentMap,
        extents: &[Extent],
        content: &[u8],
    ) {
        for (digest, piece) in self.0.iter_mut().zip(chunk.split(PIECE_BYTES)) {
            if within.overlaps(piece) {
                let held: Vec<Extent> = extents
                    .iter()
                    .filter_map(|extent| extent.intersection(piece))
                    .collect();
                let range = range_in(chunk, piece);
                let end = range.start + to_len(piece.len_bytes());
                *digest = Digest::of_extents(piece, &held, &content[range.start..end]);
            }
        }
    }
}

/// The pieces of `chunk` that touch `map`.
pub(crate) fn touched(chunk: Extent, map: &ExtentMap) -> ExtentMap {
    map.aligned_out(PIECE_BYTES, chunk.end_bytes())
}

#[cfg(test)]
mod tests {
    use super::{COUNT, Digested, PIECE_BYTES, PIECE_LEN, Pieces, touched};
    use crate::chunk::{CHUNK_BYTES, CHUNK_LEN, Digest};
    use klon_partition::{Extent, ExtentMap};

    fn noise(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    fn at(offset: u64, len: u64) -> Extent {
        Extent::new(CHUNK_BYTES + offset, len).unwrap()
    }

    #[test]
    fn the_digest_of_a_chunk_is_that_of_the_digests_of_its_pieces() {
        for len in [CHUNK_LEN, PIECE_LEN + 5, 5] {
            let content = noise(len);
            let mut all: Vec<u8> = content
                .chunks(PIECE_LEN)
                .flat_map(|piece| Digest::of(piece).0)
                .collect();
            all.resize(COUNT * Digest::LEN, 0);
            assert_eq!(Digested::InPieces.of(&content), Digest::of(&all), "{len}");
            assert_eq!(Digested::Whole.of(&content), Digest::of(&content));
        }
    }

    #[test]
    fn pieces_with_other_digests_differ() {
        let chunk = at(0, CHUNK_BYTES);
        let before = noise(CHUNK_LEN);
        let mut after = before.clone();
        after[PIECE_LEN - 1] ^= 1;
        after[5 * PIECE_LEN] ^= 1;
        let [old, new] = [&before, &after].map(|content| Pieces::of(content));
        let expected = [at(0, PIECE_BYTES), at(5 * PIECE_BYTES, PIECE_BYTES)];
        let expected: ExtentMap = expected.into_iter().collect();
        assert_eq!(old.differing(chunk, &new), expected);
        assert_eq!(old.differing(chunk, &old), ExtentMap::new());
    }

    #[test]
    fn what_is_not_held_counts_as_zero() {
        let chunk = at(0, CHUNK_BYTES);
        let content = noise(CHUNK_LEN);
        let extents = [
            at(5, 10),
            at(PIECE_BYTES - 3, 6),
            at(3 * PIECE_BYTES, PIECE_BYTES),
        ];
        let mut plain = vec![0; CHUNK_LEN];
        for extent in extents {
            let range = crate::chunk::range_in(chunk, extent);
            plain[range.clone()].copy_from_slice(&content[range]);
        }
        for digested in [Digested::Whole, Digested::InPieces] {
            let found = digested.of_extents(chunk, &extents, &content);
            assert_eq!(found, digested.of(&plain), "{digested:?}");
        }
    }

    #[test]
    fn one_piece_is_digested_without_the_others() {
        let chunk = at(0, CHUNK_BYTES);
        let before = noise(CHUNK_LEN);
        let mut after = before.clone();
        after[PIECE_LEN + 9] ^= 1;
        let mut pieces = Pieces::of(&before);
        let within = touched(chunk, &ExtentMap::from(at(PIECE_BYTES + 9, 1)));
        assert_eq!(within, ExtentMap::from(at(PIECE_BYTES, PIECE_BYTES)));
        assert!(pieces.has(chunk, &within, &[chunk], &before));
        assert!(!pieces.has(chunk, &within, &[chunk], &after));
        let mut partly = vec![0; CHUNK_LEN];
        partly[PIECE_LEN..2 * PIECE_LEN].copy_from_slice(&after[PIECE_LEN..2 * PIECE_LEN]);
        pieces.replace(chunk, &within, &[chunk], &partly);
        assert_eq!(pieces, Pieces::of(&after));
        assert_eq!(pieces.digest(), Digested::InPieces.of(&after));
    }

    #[test]
    fn what_is_stored_comes_back() {
        let pieces = Pieces::of(&noise(2 * PIECE_LEN + 1));
        assert_eq!(
            Pieces::parse(&Pieces::to_bytes(Some(&pieces))),
            Some(pieces)
        );
        assert_eq!(Pieces::parse(&Pieces::to_bytes(None)), None);
    }

    #[test]
    fn pieces_of_zeroes_are_known() {
        let zeroes = Pieces::of(&vec![0; CHUNK_LEN]);
        assert_eq!(Pieces::of_zeroes(CHUNK_LEN), Some(zeroes));
        assert_eq!(Pieces::of_zeroes(CHUNK_LEN - 1), None);
    }
}
