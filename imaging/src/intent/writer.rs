//! Keeping the log of a run that goes on.

use super::RunMeta;
use super::frame::{chunk_extent, frame, header};
use super::reader::Interrupted;
use crate::chunk::{self, Digest};
use crate::durable;
use crate::error::{Result, io_error};
use crate::extents::encode_extents;
use crate::spot::StagedPart;
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;
use uuid::Uuid;

/// How many chunks are named at once.
const INTENT_CHUNKS: u64 = 256;
/// The time between two checkpoints. Each checkpoint syncs the target.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// Digests in one frame of earlier attempts.
const FRAME_DIGESTS: usize = 1024;

/// How a log begins.
pub struct Start<'a> {
    /// Which run.
    pub run: Uuid,
    /// What it is about.
    pub meta: &'a RunMeta,
    /// Extents whose bytes are in use.
    pub data: &'a ExtentMap,
    /// Extents that are in use and zero.
    pub zero: &'a ExtentMap,
    /// The log of earlier attempts of the run.
    pub earlier: Option<&'a Interrupted>,
    /// What earlier attempts have staged.
    pub staged: &'a [StagedPart],
}

/// The log of a run that goes on. One thread names what will be touched, another what is done.
#[derive(Debug)]
pub struct IntentLog {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The first chunk that may not be touched yet.
    intended_end: u64,
    /// What is done, but not yet known to be durable.
    done: Vec<u8>,
    checkpoint: Instant,
}

impl IntentLog {
    /// Begins a log at `path` in the place of the one that is there.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn begin(path: PathBuf, start: &Start<'_>) -> Result<Self> {
        let file = write_start(&path, start)?;
        Ok(Self {
            path,
            state: Mutex::new(State {
                file,
                intended_end: 0,
                done: Vec::new(),
                checkpoint: Instant::now(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// To be called before `chunk` is touched, in ascending order.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn intend(&self, chunk: Extent) -> Result<()> {
        let index = chunk::index(chunk);
        let mut state = self.state();
        if index < state.intended_end {
            return Ok(());
        }
        let mut payload = index.to_le_bytes().to_vec();
        payload.extend_from_slice(&INTENT_CHUNKS.to_le_bytes());
        state
            .append(&frame(*b"INTN", &payload))
            .map_err(|source| io_error(&self.path, "write", source))?;
        state.intended_end = index.saturating_add(INTENT_CHUNKS);
        Ok(())
    }

    /// `chunk` is on the target and has this digest; not yet known to be durable.
    pub fn done(&self, chunk: Extent, digest: Digest) {
        let mut state = self.state();
        let index = chunk::index(chunk).to_le_bytes();
        state.done.extend_from_slice(&index);
        state.done.extend_from_slice(&digest.0);
    }

    /// That much is staged, and durable; `None` when nothing is.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn staged(&self, part: Option<StagedPart>) -> Result<()> {
        let mut state = self.state();
        state.checkpoint = Instant::now();
        let Some(part) = part else {
            return Ok(());
        };
        state
            .append(&staged_frame(part))
            .map_err(|source| io_error(&self.path, "write", source))
    }

    /// Whether it is time to sync the target, and then to call [`checkpoint`](Self::checkpoint),
    /// or [`staged`](Self::staged) where it is staged.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.state().checkpoint.elapsed() >= CHECKPOINT_EVERY
    }

    /// Everything that was done so far is durable.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn checkpoint(&self) -> Result<()> {
        let mut state = self.state();
        state.checkpoint = Instant::now();
        if state.done.is_empty() {
            return Ok(());
        }
        let done = std::mem::take(&mut state.done);
        state
            .append(&frame(*b"DONE", &done))
            .map_err(|source| io_error(&self.path, "write", source))
    }

    /// The run is complete, and its record durable.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|source| io_error(&self.path, "remove", source))
    }
}

impl State {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }
}

fn staged_frame(part: StagedPart) -> Vec<u8> {
    let mut payload = part.run.as_bytes().to_vec();
    payload.extend_from_slice(&part.index.to_bytes());
    frame(*b"STGD", &payload)
}

fn write_start(path: &Path, start: &Start<'_>) -> Result<File> {
    let failed = |source| io_error(path, "begin", source);
    let begin = || -> io::Result<BufWriter<NamedTempFile>> {
        let mut output = BufWriter::new(durable::begin(path, ".log-")?);
        output.write_all(&header(start.run))?;
        output.write_all(&frame(*b"RUN ", &serde_json::to_vec(start.meta)?))?;
        output.write_all(&frame(*b"DATA", &encode_extents(start.data)?))?;
        output.write_all(&frame(*b"ZERO", &encode_extents(start.zero)?))?;
        for &part in start.staged {
            output.write_all(&staged_frame(part))?;
        }
        Ok(output)
    };
    let mut output = begin().map_err(failed)?;
    if let Some(earlier) = start.earlier {
        write_earlier(&mut output, path, start, earlier)?;
    }
    let end = || -> io::Result<File> {
        output.write_all(&frame(*b"LIVE", &[]))?;
        let file = output.into_inner()?;
        file.as_file().sync_all()?;
        durable::name(file, path)
    };
    end().map_err(failed)
}

/// What earlier attempts did, as far as it is of use now.
fn write_earlier(
    output: &mut impl Write,
    path: &Path,
    start: &Start<'_>,
    earlier: &Interrupted,
) -> Result<()> {
    let failed = |source| io_error(path, "begin", source);
    let touched = encode_extents(&earlier.touched).map_err(failed)?;
    output
        .write_all(&frame(*b"TCHD", &touched))
        .map_err(failed)?;
    let wanted = start.data.union(start.zero);
    let mut done = Vec::new();
    for item in earlier.done()? {
        let (index, digest) = item?;
        let Some(chunk) = chunk_extent(index, 1) else {
            continue;
        };
        // What is in use only now, nobody has put there.
        if wanted
            .within(chunk)
            .any(|extent| !earlier.wanted.contains(extent))
        {
            continue;
        }
        done.extend_from_slice(&index.to_le_bytes());
        done.extend_from_slice(&digest.0);
        if done.len() >= FRAME_DIGESTS * 40 {
            output.write_all(&frame(*b"DONE", &done)).map_err(failed)?;
            done.clear();
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    output.write_all(&frame(*b"DONE", &done)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::{CHECKPOINT_EVERY, IntentLog, Start};
    use crate::hex::Hex;
    use crate::intent::{RunMeta, Untouched};
    use crate::spot::{Area, BlockRef, Spot, StagedPart};
    use klon_partition::{Extent, ExtentMap, Identity};
    use std::time::Instant;
    use uuid::Uuid;

    /// Lets as much time pass as makes a checkpoint due.
    fn wait(log: &IntentLog) {
        let past = Instant::now().checked_sub(CHECKPOINT_EVERY);
        log.state().checkpoint = past.unwrap();
        assert!(log.is_due());
    }

    #[test]
    fn after_a_checkpoint_none_is_due_whatever_came_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let meta = RunMeta {
            source: Identity::Path("/source".to_owned()),
            target: Identity::Path("/target".to_owned()),
            source_bytes: 1 << 20,
            target_bytes: 1 << 20,
            untouched: Untouched::Record(Hex([1; 32])),
        };
        let start = Start {
            run: Uuid::from_u128(7),
            meta: &meta,
            data: &ExtentMap::new(),
            zero: &ExtentMap::new(),
            earlier: None,
            staged: &[],
        };
        let log = IntentLog::begin(directory.path().join("log"), &start).unwrap();
        assert!(!log.is_due());
        let part = StagedPart {
            run: start.run,
            index: BlockRef {
                spot: Spot {
                    area: Area::Volume,
                    extent: Extent::new(4096, 4096).unwrap(),
                },
                digest: [2; 32],
            },
        };
        for staged in [None, Some(part)] {
            wait(&log);
            log.staged(staged).unwrap();
            assert!(!log.is_due());
        }
        wait(&log);
        log.checkpoint().unwrap();
        assert!(!log.is_due());
    }
}
