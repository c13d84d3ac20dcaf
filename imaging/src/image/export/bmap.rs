//! Block maps, version 2.0, as bmaptool takes them: which blocks of a raw image must be written to a
//! device, with a SHA-256 of each run of them. What is in no run may hold anything.

use super::{NewFile, Piece, RawFile, Sink};
use crate::chunk::Digest;
use crate::error::Result;
use klon_partition::{Extent, ExtentMap};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Size of a block.
const BLOCK_BYTES: u64 = 4096;

/// Writes a raw file and notes the digests of its mapped runs.
pub struct BmapFile<'a> {
    raw: RawFile<'a>,
    mapped: ExtentMap,
    size_bytes: u64,
    /// The digest of the run that is gone through, and where it goes on.
    hasher: Sha256,
    position: u64,
    digests: Vec<Digest>,
}

impl<'a> BmapFile<'a> {
    /// Maps everything that was in use, `wanted`, in whole blocks.
    #[must_use]
    pub fn new(file: &'a NewFile, wanted: &ExtentMap, size_bytes: u64) -> Self {
        Self {
            raw: RawFile(file),
            mapped: wanted.aligned_out(BLOCK_BYTES, size_bytes),
            size_bytes,
            hasher: Sha256::new(),
            position: 0,
            digests: Vec::new(),
        }
    }

    /// The map as XML.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.zeroes_to(self.size_bytes);
        let ranges = self.mapped.extents().iter().zip(&self.digests);
        let ranges: String = ranges.map(|(run, digest)| range(*run, *digest)).collect();
        let blocks: u64 = (self.mapped.iter())
            .map(|run| run.len_bytes().div_ceil(BLOCK_BYTES))
            .sum();
        let zeroes = "0".repeat(64);
        let text = format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {} </ImageSize>\n    \
             <BlockSize> {BLOCK_BYTES} </BlockSize>\n    <BlocksCount> {} </BlocksCount>\n    \
             <MappedBlocksCount> {blocks} </MappedBlocksCount>\n    \
             <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {zeroes} </BmapFileChecksum>\n    <BlockMap>\n{ranges}    \
             </BlockMap>\n</bmap>\n",
            self.size_bytes,
            self.size_bytes.div_ceil(BLOCK_BYTES),
        );
        // The checksum of the file is that with zeroes in its place.
        let own = Digest(Sha256::digest(&text).into()).to_string();
        text.replacen(&zeroes, &own, 1)
    }

    /// Goes through mapped bytes that came as no chunk: they are zero.
    fn zeroes_to(&mut self, end_bytes: u64) {
        static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
        let Some(gap) = Extent::between(self.position, end_bytes) else {
            return;
        };
        let parts: Vec<Extent> = self.mapped.within(gap).collect();
        for part in parts {
            for piece in part.split(ZEROES.len() as u64) {
                let len = usize::try_from(piece.len_bytes()).unwrap_or(0);
                self.digest(piece, &ZEROES[..len]);
            }
        }
        self.position = end_bytes;
    }

    fn digest(&mut self, part: Extent, bytes: &[u8]) {
        self.hasher.update(bytes);
        let run = self.mapped.extents().get(self.digests.len());
        if run.is_some_and(|run| run.end_bytes() == part.end_bytes()) {
            let digest = self.hasher.finalize_reset();
            self.digests.push(Digest(digest.into()));
        }
    }
}

impl Sink for BmapFile<'_> {
    fn put(&mut self, piece: &Piece) -> Result<()> {
        let chunk = piece.chunk;
        self.zeroes_to(chunk.offset_bytes());
        let parts: Vec<Extent> = self.mapped.within(chunk).collect();
        for part in parts {
            let start = usize::try_from(part.offset_bytes() - chunk.offset_bytes()).unwrap_or(0);
            let len = usize::try_from(part.len_bytes()).unwrap_or(0);
            self.digest(part, &piece.content[start..start + len]);
        }
        self.position = chunk.end_bytes();
        self.raw.put(piece)
    }
}

fn range(run: Extent, digest: Digest) -> String {
    let first = run.offset_bytes() / BLOCK_BYTES;
    let last = (run.end_bytes() - 1) / BLOCK_BYTES;
    let mut line = format!("        <Range chksum=\"{digest}\"> {first}");
    if last > first {
        // Writing to a string can't fail.
        let _ = write!(line, "-{last}");
    }
    line.push_str(" </Range>\n");
    line
}
