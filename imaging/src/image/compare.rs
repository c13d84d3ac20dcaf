//! Comparing what is on two devices. At least one is a snapshot. Digests are compared where both are known;
//! where they differ, bytes are.

use crate::buffer::Pool;
use crate::chunk::{ChunkSize, Digest, differing, range_in, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::pipeline::{self, Flow};
use crate::progress::{Event, Runner, unless_cancelled};
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Error as PartitionError, Extent, ExtentMap, ReadAt};

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Bytes that were compared.
    pub compared_bytes: u64,
    /// Where the two differ, in blocks of 4 KiB, and where that can't be told.
    pub differences: ExtentMap,
    /// The part of these where a side is damaged.
    pub damaged: ExtentMap,
    /// The first byte that differs.
    pub first_bytes: Option<u64>,
}

/// The two devices of a comparison.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// A snapshot, or a part of one.
    pub first: &'a dyn ReadAt,
    /// What it is compared with.
    pub second: &'a dyn ReadAt,
}

/// Compares what both sides have in `within`, which must lie within both.
///
/// The comparison goes by chunks of `size`. Digests are used where a side keeps them for chunks of
/// this size, and where `within` has all that this side has of the chunk. Other chunks are read.
///
/// # Errors
/// [`Error::Image`] when the first side can't be read, [`Error::Source`] when the second can't be,
/// [`Error::Interrupted`]. Damage of an image is no error.
pub fn compare(
    sides: Sides<'_>,
    within: &ExtentMap,
    size: ChunkSize,
    runner: Runner<'_>,
) -> Result<Comparison> {
    let Runner {
        name,
        threads,
        observer,
    } = runner;
    let compared_bytes = within.total_bytes();
    observer.event(&Event::Started {
        name,
        rung: None,
        reason: "by digests where both sides keep them, else byte by byte",
        total_bytes: compared_bytes,
    });
    let [size_bytes, other_bytes] =
        [sides.first, sides.second].map(|side| side.geometry().size_bytes);
    let size_bytes = size_bytes.max(other_bytes);
    let chunks = size.chunks(within, size_bytes);
    let tasks = chunks
        .map(|chunk| unless_cancelled(observer, (chunk, within.within(chunk).collect::<Vec<_>>())));
    let chunk_len = size.buffer_len();
    let pool = Pool::new(chunk_len);
    let mut found = Comparison {
        compared_bytes,
        ..Comparison::default()
    };
    let (mut differences, mut damaged) = (ExtentMapBuilder::new(), ExtentMapBuilder::new());
    pipeline::run(
        Flow::of_items(threads, chunk_len, 3 * chunk_len),
        tasks,
        |(chunk, wanted)| {
            let unlike = unlike(sides, chunk, &wanted, &pool)?;
            Ok((wanted, unlike))
        },
        |(wanted, unlike)| {
            let map = match unlike.is_damaged {
                true => &mut damaged,
                false => &mut differences,
            };
            unlike.extents.iter().for_each(|&extent| map.push(extent));
            found.first_bytes = found.first_bytes.or(unlike.first_bytes);
            let bytes = wanted.iter().map(|extent| extent.len_bytes()).sum();
            observer.event(&Event::Advanced { bytes });
            Ok(())
        },
    )?;
    observer.event(&Event::Finished);
    found.damaged = damaged.finish();
    found.differences = differences.finish().union(&found.damaged);
    Ok(found)
}

/// The parts of a chunk that differ.
#[derive(Default)]
struct Unlike {
    extents: Vec<Extent>,
    is_damaged: bool,
    first_bytes: Option<u64>,
}

fn unlike(sides: Sides<'_>, chunk: Extent, wanted: &[Extent], pool: &Pool) -> Result<Unlike> {
    let Sides { first, second } = sides;
    // A damaged page is met again when the chunk is read.
    let digest_of = |side: &dyn ReadAt| side.sha256(chunk).ok().flatten().map(Digest);
    let digest = digest_of(first);
    // The whole chunk is the same then, with everything outside of each side's data taken as zero.
    if digest.is_some() && digest == digest_of(second) {
        return Ok(Unlike::default());
    }
    let damaged = || Unlike {
        extents: wanted.to_vec(),
        is_damaged: true,
        first_bytes: None,
    };
    let mut b = pool.take();
    match read_chunk(second, chunk, wanted, &mut b) {
        Ok(_) => {}
        Err(PartitionError::Corrupt(_)) => return Ok(damaged()),
        Err(error) => return Err(Error::Source(error)),
    }
    if digest == Some(Digest::of(&b[..to_len(chunk.len_bytes())])) {
        return Ok(Unlike::default());
    }
    let mut a = pool.take();
    match read_chunk(first, chunk, wanted, &mut a) {
        Ok(_) => {}
        Err(PartitionError::Corrupt(_)) => return Ok(damaged()),
        Err(error) => return Err(Error::Image(error)),
    }
    let extents = differing(chunk, wanted, &a, &b);
    let first_bytes = extents.first().and_then(|&extent| {
        let range = range_in(chunk, extent);
        let mut pairs = a[range.clone()].iter().zip(&b[range]);
        let at = pairs.position(|(a, b)| a != b)?;
        extent.offset_bytes().checked_add(at as u64)
    });
    Ok(Unlike {
        extents,
        is_damaged: false,
        first_bytes,
    })
}
