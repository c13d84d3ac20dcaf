//! What the worker threads do with a chunk: read, digest, find what differs.

use super::known::Knowledge;
use super::task::Task;
use super::{Job, Rewrite};
use crate::buffer::{Pool, Pooled};
use crate::change::differing;
use crate::chunk::{CHUNK_LEN, Digest, range_in, to_len};
use crate::commit::Write;
use crate::error::{Error, Result};
use crate::record::digest_of;
use bytes::Bytes;
use klon_partition::bytes::is_zero;
use klon_partition::{Extent, ExtentMap, ReadAt};

/// Runs of zeroes at least this long are made zero instead of written: shorter ones cost more
/// calls than they save.
const ZERO_RUN_BYTES: u64 = 64 << 10;

/// Two extents this close are read with one request: the gap costs less than another request.
const READ_GAP_BYTES: u64 = 64 << 10;

/// Requests begin and end at multiples of this, as O_DIRECT wants it.
const READ_UNIT_BYTES: u64 = 4096;

pub(super) struct Worker<'a> {
    source: &'a dyn ReadAt,
    target: &'a dyn ReadAt,
    rewrite: Rewrite,
    pool: Pool,
    zeroes: Bytes,
}

/// What was found out about a chunk.
pub(super) struct Outcome {
    pub(super) chunk: Extent,
    pub(super) digest: Digest,
    /// The digest of its metadata, if there is any that goes into the record.
    pub(super) metadata: Option<Digest>,
    /// The chunk with everything that is not data taken as zero.
    pub(super) content: Bytes,
    /// What must be written to the target.
    pub(super) changed: Vec<Extent>,
    pub(super) wanted_bytes: u64,
    pub(super) read_source_bytes: u64,
    pub(super) read_target_bytes: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(job: &Job<'a>, rewrite: Rewrite) -> Self {
        let pool = Pool::new(CHUNK_LEN);
        Self {
            source: job.source,
            target: job.target,
            rewrite,
            // What was never lent is still zero.
            zeroes: pool.take().freeze(),
            pool,
        }
    }

    pub(super) fn process(&self, task: &Task) -> Result<Outcome> {
        let chunk = task.chunk;
        let current = match self.kept(task)? {
            Some(kept) => match self.compare(task, kept)? {
                Ok(outcome) => return Ok(outcome),
                Err(current) => current,
            },
            None => None,
        };
        let (content, read_source_bytes) = self.content(task)?;
        // Of what is known to be zero without being read, the digest is known, too.
        let zero = || Digest::of_zeroes(content.len()).filter(|_| task.copy.is_empty());
        let digest = zero().unwrap_or_else(|| Digest::of(&content));
        let metadata = (!task.metadata.is_empty())
            .then(|| digest_of(chunk, &task.metadata, &content, Some(digest)));
        let (changed, read_target_bytes) = self.changed(task, digest, &content, current)?;
        let wanted_bytes = task.wanted_bytes();
        Ok(Outcome {
            chunk,
            digest,
            metadata,
            content,
            changed,
            wanted_bytes,
            read_source_bytes,
            read_target_bytes,
        })
    }

    /// The chunk as it is on the source, and how many bytes were read for that.
    fn content(&self, task: &Task) -> Result<(Bytes, u64)> {
        let len = to_len(task.chunk.len_bytes());
        if task.copy.is_empty() {
            // Volumes in sparse files have many such chunks: no need to fill a buffer for each.
            return Ok((self.zeroes.slice(..len), 0));
        }
        let mut content = self.pool.take();
        let read_bytes =
            read(self.source, task.chunk, &task.copy, &mut content).map_err(Error::Source)?;
        Ok((content.freeze().slice(..len), read_bytes))
    }

    /// The digest of a chunk, where the source keeps it and nothing else of the chunk is needed.
    fn kept(&self, task: &Task) -> Result<Option<Digest>> {
        if !task.is_plain() {
            return Ok(None);
        }
        let Some(kept) = self.source.sha256(task.chunk).map_err(Error::Source)? else {
            return Ok(None);
        };
        // It is of all that reads as anything but zero, also where that is not to be copied.
        let data = self.source.data(task.chunk).map_err(Error::Source)?;
        let copy: ExtentMap = task.copy.iter().copied().collect();
        Ok(data.difference(&copy).is_empty().then_some(Digest(kept)))
    }

    /// What there is to say of a chunk that the target has already, as the source's digest tells;
    /// else the target's chunk, if that was read.
    fn compare(
        &self,
        task: &Task,
        digest: Digest,
    ) -> Result<std::result::Result<Outcome, Option<Current>>> {
        let len = to_len(task.chunk.len_bytes());
        let current = match task.known {
            Knowledge::Digest(known) if known == digest => None,
            Knowledge::Unknown => {
                let current = self.current(task)?;
                if Digest::of(&current.content[..len]) != digest {
                    return Ok(Err(Some(current)));
                }
                Some(current)
            }
            Knowledge::Digest(_) | Knowledge::Nothing => return Ok(Err(None)),
        };
        Ok(Ok(Outcome {
            chunk: task.chunk,
            digest,
            metadata: None,
            // Nothing of it will be written.
            content: self.zeroes.slice(..len),
            changed: Vec::new(),
            wanted_bytes: task.wanted_bytes(),
            read_source_bytes: 0,
            read_target_bytes: current.map_or(0, |current| current.read_bytes),
        }))
    }

    fn current(&self, task: &Task) -> Result<Current> {
        let mut content = self.pool.take();
        let read_bytes = read_data(self.target, task.chunk, &task.wanted, &mut content)
            .map_err(Error::Target)?;
        Ok(Current {
            content,
            read_bytes,
        })
    }

    fn changed(
        &self,
        task: &Task,
        digest: Digest,
        content: &[u8],
        current: Option<Current>,
    ) -> Result<(Vec<Extent>, u64)> {
        match task.known {
            Knowledge::Digest(known) if known == digest => return Ok((Vec::new(), 0)),
            Knowledge::Nothing => return Ok((task.wanted.clone(), 0)),
            Knowledge::Digest(_) if self.rewrite == Rewrite::Chunks => {
                return Ok((task.wanted.clone(), 0));
            }
            Knowledge::Digest(_) | Knowledge::Unknown => {}
        }
        let current = match current {
            Some(current) => current,
            None => self.current(task)?,
        };
        Ok((
            differing(task.chunk, &task.wanted, content, &current.content),
            current.read_bytes,
        ))
    }
}

/// The target's chunk.
struct Current {
    /// What of it the source uses; everything else is zero.
    content: Pooled,
    read_bytes: u64,
}

/// Fills `buffer` with `chunk`: `extents` from the device, everything else zero. Returns how many
/// bytes were read.
pub(crate) fn read(
    device: &dyn ReadAt,
    chunk: Extent,
    extents: &[Extent],
    buffer: &mut [u8],
) -> klon_partition::Result<u64> {
    let buffer = &mut buffer[..to_len(chunk.len_bytes())];
    let mut read_bytes = 0_u64;
    for span in spans(chunk, extents) {
        let range = range_in(chunk, span);
        let read = device.read_exact_at(&mut buffer[range], span.offset_bytes());
        let parts = || {
            extents
                .iter()
                .filter_map(|extent| extent.intersection(span))
        };
        let wanted_bytes: u64 = parts().map(Extent::len_bytes).sum();
        match read {
            // What lies between may be bad, and nobody needs it.
            Err(klon_partition::Error::Io { .. }) if wanted_bytes < span.len_bytes() => {
                for part in parts() {
                    let range = range_in(chunk, part);
                    device.read_exact_at(&mut buffer[range], part.offset_bytes())?;
                }
            }
            read => read?,
        }
        read_bytes = read_bytes.saturating_add(span.len_bytes());
    }
    let mut start_bytes = chunk.offset_bytes();
    for extent in extents {
        if let Some(gap) = Extent::between(start_bytes, extent.offset_bytes()) {
            buffer[range_in(chunk, gap)].fill(0);
        }
        start_bytes = extent.end_bytes();
    }
    if let Some(gap) = Extent::between(start_bytes, chunk.end_bytes()) {
        buffer[range_in(chunk, gap)].fill(0);
    }
    Ok(read_bytes)
}

/// As [`read`], without reading what the device knows to be zero, as the holes of a sparse file.
pub(crate) fn read_data(
    device: &dyn ReadAt,
    chunk: Extent,
    extents: &[Extent],
    buffer: &mut [u8],
) -> klon_partition::Result<u64> {
    let data = device.data(chunk)?;
    if data.contains(chunk) {
        return read(device, chunk, extents, buffer);
    }
    let wanted: ExtentMap = extents.iter().copied().collect();
    let extents: Vec<Extent> = wanted.intersection(&data).iter().collect();
    read(device, chunk, &extents, buffer)
}

/// The requests that read `extents` of `chunk`: aligned, and near ones joined.
fn spans(chunk: Extent, extents: &[Extent]) -> Vec<Extent> {
    let mut spans: Vec<Extent> = Vec::new();
    for extent in extents {
        let start_bytes = extent.offset_bytes() / READ_UNIT_BYTES * READ_UNIT_BYTES;
        let end_bytes = extent
            .end_bytes()
            .div_ceil(READ_UNIT_BYTES)
            .saturating_mul(READ_UNIT_BYTES);
        let start_bytes = start_bytes.max(chunk.offset_bytes());
        let end_bytes = end_bytes.min(chunk.end_bytes());
        let joined = spans
            .last()
            .filter(|last| start_bytes <= last.end_bytes().saturating_add(READ_GAP_BYTES))
            .and_then(|last| Extent::between(last.offset_bytes(), end_bytes.max(last.end_bytes())));
        match (joined, spans.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => spans.extend(Extent::between(start_bytes, end_bytes)),
        }
    }
    spans
}

/// The writes that bring `changed` of a chunk to the target, long runs of zeroes apart.
pub(crate) fn writes(chunk: Extent, content: &Bytes, changed: &[Extent]) -> Vec<Write> {
    let mut runs: Vec<(Extent, bool)> = Vec::new();
    for piece in changed
        .iter()
        .flat_map(|extent| extent.split(ZERO_RUN_BYTES))
    {
        let is_zero_run =
            piece.len_bytes() == ZERO_RUN_BYTES && is_zero(&content[range_in(chunk, piece)]);
        let joined = runs
            .last()
            .filter(|(last, kind)| *kind == is_zero_run && last.end_bytes() == piece.offset_bytes())
            .and_then(|(last, _)| Extent::between(last.offset_bytes(), piece.end_bytes()));
        match (joined, runs.last_mut()) {
            (Some(joined), Some(last)) => last.0 = joined,
            _ => runs.push((piece, is_zero_run)),
        }
    }
    runs.into_iter()
        .map(|(extent, is_zero_run)| {
            if is_zero_run {
                return Write::Zero(extent);
            }
            let data = content.slice(range_in(chunk, extent));
            Write::Data {
                offset_bytes: extent.offset_bytes(),
                data,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{read, spans, writes};
    use crate::commit::Write;
    use bytes::Bytes;
    use klon_partition::Extent;
    use klon_partition::device::{Fault, FaultAt, MemoryDevice};

    fn extent(offset: u64, len: u64) -> Extent {
        Extent::new(offset, len).unwrap()
    }

    #[test]
    fn near_extents_are_read_at_once_and_gaps_read_as_zero() {
        let device = MemoryDevice::new(vec![5; 1 << 20], 512);
        let chunk = extent(0, 1 << 20);
        let extents = [extent(512, 512), extent(8000, 100), extent(500_000, 1)];
        assert_eq!(
            spans(chunk, &extents),
            [extent(0, 8192), extent(499_712, 4096)]
        );
        let mut buffer = vec![9; 1 << 20];
        assert_eq!(read(&device, chunk, &extents, &mut buffer).unwrap(), 12288);
        for (at, &byte) in buffer.iter().enumerate() {
            let is_data = extents.iter().any(|e| e.contains(extent(at as u64, 1)));
            assert_eq!(byte, if is_data { 5 } else { 0 }, "{at}");
        }
    }

    #[test]
    fn what_lies_between_extents_may_be_bad() {
        let device = MemoryDevice::new(vec![5; 1 << 20], 512);
        let chunk = extent(0, 1 << 20);
        let extents = [extent(512, 512), extent(8192, 4096), extent(500_000, 1)];
        let wanted = |bad: Extent| extents.iter().any(|extent| extent.overlaps(bad));
        for at in (0..16_384).step_by(512) {
            let bad = extent(at, 512);
            let faulty = FaultAt::new(&device, Some(Fault::Unreadable(bad)));
            let mut buffer = vec![9; 1 << 20];
            let is_read = read(&faulty, chunk, &extents, &mut buffer).is_ok();
            assert_eq!(is_read, !wanted(bad), "{at}");
            let data = |extent: &Extent| {
                let range = super::range_in(chunk, *extent);
                buffer[range].iter().all(|&byte| byte == 5)
            };
            assert!(
                !is_read || extents.iter().all(data) && buffer[0] == 0,
                "{at}"
            );
        }
    }

    #[test]
    fn long_runs_of_zeroes_are_not_written() {
        let chunk = extent(1 << 20, 1 << 20);
        let mut content = vec![0; 1 << 20];
        content[300_000] = 1;
        let content = Bytes::from(content);
        let found: Vec<_> = writes(chunk, &content, &[chunk])
            .iter()
            .map(|write| match write {
                Write::Zero(extent) => {
                    (extent.offset_bytes() - (1 << 20), extent.len_bytes(), true)
                }
                Write::Data { offset_bytes, data } => {
                    (offset_bytes - (1 << 20), data.len() as u64, false)
                }
            })
            .collect();
        let rest = (1 << 20) - 327_680;
        assert_eq!(
            found,
            [
                (0, 262_144, true),
                (262_144, 65536, false),
                (327_680, rest, true)
            ]
        );
    }
}
