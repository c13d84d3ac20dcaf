//! Reading a chunk, and the writes that bring one to a target.

use super::{range_in, to_len};
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

/// Something to be done to the target.
#[derive(Clone, Debug)]
pub enum Write {
    /// Bytes to be written at a position.
    Data {
        /// Where.
        offset_bytes: u64,
        /// What.
        data: Bytes,
    },
    /// A range to be made zero.
    Zero(Extent),
}

impl Write {
    /// What it writes to; `None` for no bytes.
    pub(crate) fn extent(&self) -> Option<Extent> {
        match self {
            Self::Data { offset_bytes, data } => Extent::new(*offset_bytes, data.len() as u64),
            Self::Zero(extent) => Some(*extent),
        }
    }
}

/// Fills `buffer` with `chunk`: `extents` from the device, everything else zero. Returns how many
/// bytes were read.
pub(crate) fn read_chunk(
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

/// As [`read_chunk`], without reading what the device knows to be zero, as the holes of a sparse file.
pub(crate) fn read_data(
    device: &dyn ReadAt,
    chunk: Extent,
    extents: &[Extent],
    buffer: &mut [u8],
) -> klon_partition::Result<u64> {
    let data = device.data(chunk)?;
    if data.contains(chunk) {
        return read_chunk(device, chunk, extents, buffer);
    }
    let wanted: ExtentMap = extents.iter().copied().collect();
    let extents: Vec<Extent> = wanted.intersection(&data).iter().collect();
    read_chunk(device, chunk, &extents, buffer)
}

/// How many bytes [`read_chunk`] reads of a device for `extents` of `chunk`.
pub(crate) fn read_len_bytes(chunk: Extent, extents: &[Extent]) -> u64 {
    let spans = spans(chunk, extents);
    spans.into_iter().map(Extent::len_bytes).sum()
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
pub(crate) fn chunk_writes(chunk: Extent, content: &Bytes, changed: &[Extent]) -> Vec<Write> {
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
    use super::{Write, chunk_writes, read_chunk, spans};
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
        assert_eq!(
            read_chunk(&device, chunk, &extents, &mut buffer).unwrap(),
            12288
        );
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
            let is_read = read_chunk(&faulty, chunk, &extents, &mut buffer).is_ok();
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
        let found: Vec<_> = chunk_writes(chunk, &content, &[chunk])
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
