//! Unpacked chunks of an image, shared by all readers of pieces of them.
//!
//! A whole chunk is checked by its SHA-256 before anyone gets it. For a small piece that check
//! would take longer than everything else. So a reader may choose [`Check::Stored`]: the first piece
//! of a chunk is then checked by the checksum of the stored bytes alone, and a compressed chunk is
//! unpacked only up to the end of the piece. Whoever reads further into the chunk has all of it
//! unpacked and checked.

use super::frame::{self, Encoding, FrameType};
use super::load::LoadFrames;
use super::recent::Recent;
use super::reference::Reference;
use super::slots::Slots;
use crate::buffer::Pool;
use crate::chunk::ChunkSize;
use bytes::Bytes;
use klon_partition::Result;
use klon_partition::locks::lock;
use std::sync::Mutex;
use zstd::zstd_safe::DCtx;

/// Bytes of chunks that are kept at hand.
const KEPT_BYTES: usize = 48 << 20;
/// Bytes of memory for all threads that unpack at the same time.
const ROOM_BYTES: usize = 96 << 20;
/// Chunks that are unpacked at the same time.
const TURNS: usize = 64;
/// What zstd unpacks at once (RFC 8878, 3.1.1.2.4).
const BLOCK_LEN: usize = 128 << 10;

/// What a piece is checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The SHA-256 of the chunk.
    Digest,
    /// The checksum of the stored bytes, for a first piece.
    Stored,
}

/// A piece of a chunk that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    /// The frame of the chunk.
    pub(super) reference: &'a Reference,
    /// Where it begins in the chunk.
    pub(super) start: usize,
    /// What it is checked by.
    pub(super) check: Check,
}

/// Chunks of an image that are unpacked.
pub(super) struct ChunkCache {
    /// By the position of the frame. The reference is kept too: a position alone does not prove which
    /// chunk is meant.
    kept: Recent<(Reference, Content)>,
    /// When several threads read pieces of one chunk, only one of them unpacks it.
    turns: [Mutex<()>; TURNS],
    room: Slots,
    contexts: Mutex<Vec<DCtx<'static>>>,
    /// Buffers for chunks, all as long as one.
    pool: Pool,
    chunk_len: usize,
}

/// What is known of a chunk.
#[derive(Clone)]
enum Content {
    /// All of it, checked.
    Whole(Bytes),
    /// Its first bytes, unpacked from what has the right checksum.
    Start(Bytes),
}

impl ChunkCache {
    /// For an image with chunks of this size.
    pub(super) fn new(chunk_size: ChunkSize) -> Self {
        // What is stored, what it becomes, and a window of as much.
        let each = chunk_size.buffer_len().saturating_mul(3);
        Self {
            kept: Recent::new(KEPT_BYTES),
            turns: [const { Mutex::new(()) }; TURNS],
            room: Slots::new(ROOM_BYTES / each.max(1)),
            contexts: Mutex::default(),
            pool: Pool::new(chunk_size.buffer_len()),
            chunk_len: chunk_size.buffer_len(),
        }
    }

    /// Copies a piece of a chunk to `out`, which ends within the chunk.
    pub(super) fn copy(
        &self,
        frames: &impl LoadFrames,
        piece: Piece<'_>,
        out: &mut [u8],
    ) -> Result<()> {
        if self.copy_kept(piece, out) {
            return Ok(());
        }
        let Piece {
            reference,
            start,
            check,
        } = piece;
        let _turn = self.turn(reference);
        if self.copy_kept(piece, out) {
            return Ok(());
        }
        let _place = self.room.take();
        let end = start.saturating_add(out.len());
        let content = match (check, self.kept(reference)) {
            (Check::Stored, None) => self.start(frames, reference, end)?,
            _ => self.whole(frames, reference)?,
        };
        let (Content::Whole(plain) | Content::Start(plain)) = &content;
        out.copy_from_slice(&plain[start..end]);
        self.keep(reference, content);
        Ok(())
    }

    /// Unpacks a chunk that is likely to be read soon, unless all memory for that is in use.
    pub(super) fn prepare(&self, frames: &impl LoadFrames, reference: &Reference) -> Result<()> {
        let _turn = self.turn(reference);
        if let Some(Content::Whole(_)) = self.kept(reference) {
            return Ok(());
        }
        if let Some(_place) = self.room.try_take() {
            self.keep(reference, self.whole(frames, reference)?);
        }
        Ok(())
    }

    fn turn(&self, reference: &Reference) -> std::sync::MutexGuard<'_, ()> {
        // Positions are multiples of 64, and neighbors shall not wait for each other.
        let number = usize::try_from(reference.position / 64 % TURNS as u64).unwrap_or(0);
        lock(&self.turns[number])
    }

    /// Copies a piece of a chunk that is kept; `false` when it is not kept.
    fn copy_kept(&self, piece: Piece<'_>, out: &mut [u8]) -> bool {
        let start = piece.start;
        let plain = match (self.kept(piece.reference), piece.check) {
            (Some(Content::Whole(plain)), _) => plain,
            (Some(Content::Start(plain)), Check::Stored) => plain,
            _ => return false,
        };
        match plain.get(start..start.saturating_add(out.len())) {
            Some(found) => {
                out.copy_from_slice(found);
                true
            }
            None => false,
        }
    }

    fn kept(&self, reference: &Reference) -> Option<Content> {
        let (of, content) = self.kept.get(reference.position)?;
        (of == *reference).then_some(content)
    }

    fn keep(&self, reference: &Reference, content: Content) {
        // However little of its buffer it needs.
        let kept = (*reference, content);
        self.kept.put(reference.position, kept, self.chunk_len);
    }

    /// All of a chunk.
    fn whole(&self, frames: &impl LoadFrames, reference: &Reference) -> Result<Content> {
        let mut plain = self.pool.take();
        let len = (reference.plain_bytes as usize).min(self.chunk_len);
        frames.read_into(reference, FrameType::Data, &mut plain[..len])?;
        Ok(Content::Whole(plain.freeze().slice(..len)))
    }

    /// A chunk up to `end`, or all of it where that is hardly more.
    fn start(
        &self,
        frames: &impl LoadFrames,
        reference: &Reference,
        end: usize,
    ) -> Result<Content> {
        let len = reference.plain_bytes as usize;
        let end = end.next_multiple_of(BLOCK_LEN);
        if end >= len {
            return self.whole(frames, reference);
        }
        let (header, payload) = frames.load(reference, FrameType::Data)?;
        frame::check_payload(&header, reference.position, &payload)?;
        let mut plain = self.pool.take();
        let is_done = match header.encoding {
            Encoding::Raw if payload.len() == len => {
                plain[..end].copy_from_slice(&payload[..end]);
                true
            }
            Encoding::Zstd => self.decode_start(&payload, &mut plain[..end]),
            _ => false,
        };
        match is_done {
            true => Ok(Content::Start(plain.freeze().slice(..end))),
            // The full check says what is wrong, if anything is.
            false => self.whole(frames, reference),
        }
    }

    fn decode_start(&self, payload: &[u8], plain: &mut [u8]) -> bool {
        let contexts = || lock(&self.contexts);
        let free = contexts().pop();
        let mut context = free.unwrap_or_else(DCtx::create);
        let is_done = frame::decode_start(&mut context, payload, plain);
        contexts().push(context);
        is_done
    }
}
