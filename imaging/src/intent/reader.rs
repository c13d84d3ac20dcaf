//! Reading the log of a run that was interrupted.

use super::RunMeta;
use super::frame::{Frame, Frames, NAME, chunk_extent, gone, of_another};
use crate::chunk::Digest;
use crate::error::{Result, corrupt, io_error};
use crate::extents::decode_extents;
use crate::spot::{BlockRef, StagedPart};
use klon_partition::bytes::le64;
use klon_partition::error::Corrupt;
use klon_partition::{Extent, ExtentMap};
use std::collections::VecDeque;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// How many attempts' staged parts are remembered.
const STAGED_MAX: usize = 16;

/// Length of a chunk's number and digest.
const DONE_LEN: usize = 40;

/// A run that was interrupted, as its log tells.
#[derive(Debug)]
pub struct Interrupted {
    /// Which run.
    pub run: Uuid,
    /// What it is about.
    pub meta: RunMeta,
    /// What the target was to share with the source.
    pub wanted: ExtentMap,
    /// The chunks that may have been touched.
    pub touched: ExtentMap,
    /// What was staged, by the latest attempts, last one last.
    pub staged: Vec<StagedPart>,
    /// The chunks that the latest attempt may have touched.
    live: ExtentMap,
    path: PathBuf,
}

impl Interrupted {
    /// The log at `path`; `None` when there is none, or none that is whole up to its `LIVE`.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`]; [`crate::Error::RecordCorrupt`].
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let Some((run, frames)) = Frames::open(path)? else {
            return Ok(None);
        };
        let mut found = Parts::default();
        for frame in frames {
            found
                .add(frame.map_err(|source| io_error(path, "read", source))?)
                .map_err(|error| {
                    corrupt(path, Corrupt::new(NAME, "frame", 0, "a valid one", error))
                })?;
        }
        let (Some(meta), true) = (found.meta, found.is_live) else {
            return Ok(None);
        };
        let live: ExtentMap = found.live.into_iter().collect();
        Ok(Some(Self {
            run,
            meta,
            wanted: found.wanted,
            touched: found.touched.union(&live),
            staged: found.staged,
            live,
            path: path.to_owned(),
        }))
    }

    /// What earlier attempts did, from the log that was just begun at `path`.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`crate::Error::RecordIo`] when the log is gone.
    pub(crate) fn begun(path: &Path) -> Result<Self> {
        Self::load(path)?.ok_or_else(|| gone(path))
    }

    /// The chunks that are known to be durable: number and digest, ascending, read as they are
    /// asked for.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn done(&self) -> Result<impl Iterator<Item = Result<(u64, Digest)>> + Send + '_> {
        let live = self.live.clone();
        let is_replaced =
            move |index: u64| chunk_extent(index, 1).is_none_or(|chunk| live.overlaps(chunk));
        let earlier = self.stream(false)?.filter(move |item| {
            // The latest attempt may have changed it since.
            item.as_ref()
                .map_or(true, |&(index, _)| !is_replaced(index))
        });
        Ok(Merge {
            earlier: earlier.peekable(),
            latest: self.stream(true)?.peekable(),
        })
    }

    /// What the latest attempt has done, or what earlier ones have.
    fn stream(&self, is_live: bool) -> Result<Done> {
        let Some((run, frames)) = Frames::open(&self.path)? else {
            return Err(gone(&self.path));
        };
        if run != self.run {
            return Err(of_another(&self.path, self.run, run));
        }
        Ok(Done {
            frames,
            path: self.path.clone(),
            wants_live: is_live,
            is_live: false,
            items: VecDeque::new(),
            last: None,
        })
    }
}

#[derive(Default)]
struct Parts {
    meta: Option<RunMeta>,
    wanted: ExtentMap,
    touched: ExtentMap,
    is_live: bool,
    live: Vec<Extent>,
    staged: Vec<StagedPart>,
}

impl Parts {
    fn add(&mut self, frame: Frame) -> std::result::Result<(), String> {
        let Frame { tag, payload } = frame;
        let size_bytes = self.meta.as_ref().map_or(0, |meta| meta.target_bytes);
        match &tag {
            b"RUN " => {
                let meta = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
                self.meta = Some(meta);
            }
            b"DATA" | b"ZERO" => {
                let map = decode_extents(&payload, size_bytes)?;
                self.wanted = self.wanted.union(&map);
            }
            // Whole chunks: the last one may reach beyond the end.
            b"TCHD" => self.touched = decode_extents(&payload, u64::MAX)?,
            b"LIVE" => self.is_live = true,
            b"INTN" if payload.len() == 16 => {
                let extent = chunk_extent(le64(&payload, 0), le64(&payload, 8));
                self.live
                    .push(extent.ok_or("an intent beyond all volumes")?);
            }
            b"STGD" if payload.len() == 64 => self.add_staged(&payload)?,
            b"DONE" if payload.len().is_multiple_of(DONE_LEN) => {}
            _ => return Err(String::from_utf8_lossy(&tag).into_owned()),
        }
        Ok(())
    }
}

impl Parts {
    fn add_staged(&mut self, payload: &[u8]) -> std::result::Result<(), String> {
        let run = Uuid::from_slice(&payload[..16]).map_err(|error| error.to_string())?;
        let index = BlockRef::parse(&payload[16..]).ok_or("no reference to an index")?;
        // The last one of each attempt says it all.
        self.staged.retain(|part| part.run != run);
        self.staged.push(StagedPart { run, index });
        let surplus = self.staged.len().saturating_sub(STAGED_MAX);
        self.staged.drain(..surplus);
        Ok(())
    }
}

/// The `DONE` frames on one side of `LIVE`.
struct Done {
    frames: Frames,
    path: PathBuf,
    wants_live: bool,
    is_live: bool,
    items: VecDeque<(u64, Digest)>,
    last: Option<u64>,
}

impl Iterator for Done {
    type Item = Result<(u64, Digest)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((index, digest)) = self.items.pop_front() {
                // Ascending, or not believed.
                if self.last.is_some_and(|last| last >= index) {
                    continue;
                }
                self.last = Some(index);
                return Some(Ok((index, digest)));
            }
            let frame = match self.frames.next()? {
                Ok(frame) => frame,
                Err(source) => return Some(Err(io_error(&self.path, "read", source))),
            };
            match &frame.tag {
                b"LIVE" => self.is_live = true,
                b"DONE" if self.is_live == self.wants_live => {
                    self.items
                        .extend(frame.payload.chunks_exact(DONE_LEN).map(|item| {
                            let mut digest = [0; 32];
                            digest.copy_from_slice(&item[8..]);
                            (le64(item, 0), Digest(digest))
                        }));
                }
                _ => {}
            }
        }
    }
}

/// Two ascending sequences without common numbers as one.
struct Merge<A: Iterator, B: Iterator> {
    earlier: Peekable<A>,
    latest: Peekable<B>,
}

type Item = Result<(u64, Digest)>;

impl<A: Iterator<Item = Item>, B: Iterator<Item = Item>> Iterator for Merge<A, B> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let index = |item: Option<&Item>| match item {
            Some(Ok((index, _))) => *index,
            // An error comes at once.
            Some(Err(_)) => 0,
            None => u64::MAX,
        };
        if index(self.earlier.peek()) < index(self.latest.peek()) {
            return self.earlier.next();
        }
        self.latest.next().or_else(|| self.earlier.next())
    }
}
