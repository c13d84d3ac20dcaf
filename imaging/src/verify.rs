//! Verify a clone: against its record (reads the target) or against its source (reads both).

mod around;

use crate::buffer::Pool;
use crate::chunk::{self, CHUNK_LEN, Digest, differing, read_data, to_len};
use crate::error::{Error, Result};
use crate::pipeline;
use crate::plan::Plan;
use crate::progress::{Event, Runner};
use crate::record::Record;
use crate::source::FillTexts;
use around::Around;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::filesystem::Usage;
use klon_partition::planner::human_size;
use klon_partition::{Error as PartitionError, Extent, ExtentMap, ReadAt};
use serde::Serialize;
use std::time::Instant;

/// What a clone is compared with.
pub enum Against<'a> {
    /// The digests that were kept when it was made.
    Record(&'a Record),
    /// The source.
    Source {
        /// What it was made from.
        device: &'a dyn ReadAt,
        /// The bytes of it that are in use.
        usage: &'a Usage,
        /// The bytes that could not be read when the clone was made. They are not compared.
        bad: &'a ExtentMap,
    },
}

impl Against<'_> {
    /// What could not be read from the source.
    const fn bad(&self) -> &ExtentMap {
        match self {
            Self::Record(record) => &record.bad,
            Self::Source { bad, .. } => bad,
        }
    }

    /// What no one proved free, and is not on the target by choice.
    const fn left_out(&self) -> &ExtentMap {
        match self {
            Self::Record(record) => &record.left_out,
            Self::Source { usage, .. } => &usage.left_out,
        }
    }

    /// What stands in the place of that, as far as it is known here.
    fn bad_fill(&self) -> FillTexts {
        match self {
            Self::Record(record) => record.bad_fill.clone(),
            Self::Source { .. } => FillTexts::default(),
        }
    }
}

/// What a verify found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifySummary {
    /// The name of the clone.
    pub name: String,
    /// Whether everything is as it must be.
    pub is_equal: bool,
    /// Bytes that were compared.
    pub compared_bytes: u64,
    /// What no one proved free, and is not compared because it was left out by choice.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub left_out: ExtentMap,
    /// Bytes in chunks (against a record) or 4 KiB blocks (against a source) that differ.
    pub differing_bytes: u64,
    /// Where they are.
    pub differences: ExtentMap,
    /// Bytes that could not be read from the source when the clone was made: what they were is
    /// unknown. They are no differences.
    pub bad_bytes: u64,
    /// Where they are.
    pub bad: ExtentMap,
    /// What stands there beside zeroes, by the record.
    #[serde(flatten)]
    pub bad_fill: FillTexts,
    /// Bytes of the source that can't be read now, so klon does not compare them. Those in [`bad`](Self::bad) are not
    /// counted.
    pub unread_bytes: u64,
    /// Where they are.
    pub unread: ExtentMap,
    /// The first byte that differs, when both sides were read.
    pub first_difference_bytes: Option<u64>,
    /// How long it took.
    pub seconds: f64,
}

/// A part of a chunk that is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub extent: Extent,
    /// The first byte that differs, if that is known.
    pub first_bytes: Option<u64>,
}

/// Compares all of `target` that is in use.
///
/// # Errors
/// [`Error::Source`] when the source is gone, [`Error::Target`], [`Error::RecordIo`],
/// [`Error::Interrupted`]. Differences are no error, nor are bad sectors of the source.
pub fn verify(
    target: &dyn ReadAt,
    against: &Against<'_>,
    runner: Runner<'_>,
) -> Result<VerifySummary> {
    let observer = runner.observer;
    let started = Instant::now();
    let Compared { wanted, size_bytes } = compared(target, against)?;
    let bad = against.bad().intersection(&wanted);
    let compared_bytes = wanted.total_bytes().saturating_sub(bad.total_bytes());
    let reason = match against {
        Against::Record(_) => "comparing with the record of the clone",
        Against::Source { .. } => "comparing with the source",
    };
    observer.event(&Event::Started {
        name: runner.name,
        rung: None,
        reason,
        total_bytes: compared_bytes,
    });
    let tasks = tasks(against, &wanted, size_bytes)?.map(|task| {
        if observer.is_cancelled() {
            Err(Error::Interrupted)
        } else {
            task
        }
    });
    let mut found = Found::default();
    let comparison = Comparison {
        target,
        against,
        around: Around::default(),
        pool: Pool::new(CHUNK_LEN),
    };
    pipeline::run(
        runner.threads,
        tasks,
        |task| comparison.check(&task).map(|unlike| (task, unlike)),
        |(task, unlike)| {
            found.add(&unlike.differences);
            for &extent in &unlike.unread {
                found.unread.push(extent);
            }
            observer.event(&Event::Advanced {
                bytes: task.wanted_bytes(),
            });
            Ok(())
        },
    )?;
    observer.event(&Event::Finished);
    let (differences, unread) = (found.extents.finish(), found.unread.finish());
    Ok(VerifySummary {
        name: runner.name.to_owned(),
        is_equal: differences.is_empty(),
        left_out: against.left_out().clone(),
        compared_bytes: compared_bytes.saturating_sub(unread.total_bytes()),
        differing_bytes: differences.total_bytes(),
        differences,
        bad_bytes: bad.total_bytes(),
        bad_fill: against.bad_fill().if_any(&bad),
        bad,
        unread_bytes: unread.total_bytes(),
        unread,
        first_difference_bytes: found.first_bytes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What is compared, and of how large a volume.
struct Compared {
    wanted: ExtentMap,
    size_bytes: u64,
}

fn compared(target: &dyn ReadAt, against: &Against<'_>) -> Result<Compared> {
    let target_bytes = target.geometry().size_bytes;
    let (wanted, size_bytes) = match against {
        Against::Record(record) => (record.wanted(), record.manifest.source_bytes),
        Against::Source { device, usage, .. } => {
            let source_bytes = device.geometry().size_bytes;
            let all = ExtentMap::whole(source_bytes);
            // A clone of the volume has all of its first mebibyte, one of its disk what is in use.
            Plan::new(usage, &all, source_bytes, target_bytes)?;
            (usage.extents.intersection(&all), source_bytes)
        }
    };
    if wanted.end_bytes() > target_bytes {
        return Err(Error::Refused(format!(
            "by its record the clone takes {}, and the target has only {}: it is not the one that was \
             cloned to",
            human_size(wanted.end_bytes()),
            human_size(target_bytes)
        )));
    }
    Ok(Compared { wanted, size_bytes })
}

struct Task {
    chunk: Extent,
    wanted: Vec<Extent>,
    known: Option<Digest>,
}

impl Task {
    fn wanted_bytes(&self) -> u64 {
        self.wanted.iter().map(|extent| extent.len_bytes()).sum()
    }
}

type Tasks<'a> = Box<dyn Iterator<Item = Result<Task>> + Send + 'a>;

fn tasks<'a>(
    against: &'a Against<'_>,
    wanted: &'a ExtentMap,
    size_bytes: u64,
) -> Result<Tasks<'a>> {
    let bad = against.bad();
    let within = move |chunk| -> Vec<Extent> {
        match (against, bad.overlaps(chunk)) {
            (Against::Source { .. }, true) => {
                let wanted: ExtentMap = wanted.within(chunk).collect();
                wanted.difference(bad).iter().collect()
            }
            _ => wanted.within(chunk).collect(),
        }
    };
    match against {
        Against::Record(record) => Ok(Box::new(record.digests()?.map(move |item| {
            let (chunk, digest) = item?;
            Ok(Task {
                chunk,
                wanted: within(chunk),
                known: Some(digest),
            })
        }))),
        Against::Source { .. } => Ok(Box::new(chunk::chunks(wanted, size_bytes).map(
            move |chunk| {
                Ok(Task {
                    chunk,
                    wanted: within(chunk),
                    known: None,
                })
            },
        ))),
    }
}

/// What is compared with what, and by which means.
struct Comparison<'a> {
    target: &'a dyn ReadAt,
    against: &'a Against<'a>,
    around: Around,
    pool: Pool,
}

/// What was found of a chunk.
#[derive(Default)]
struct Unlike {
    differences: Vec<Difference>,
    /// What of the source can't be read now.
    unread: Vec<Extent>,
}

impl Comparison<'_> {
    fn check(&self, task: &Task) -> Result<Unlike> {
        let len = to_len(task.chunk.len_bytes());
        let mut found = self.pool.take();
        read_data(self.target, task.chunk, &task.wanted, &mut found).map_err(Error::Target)?;
        match self.against {
            Against::Record(record) if task.known == Some(record.digested.of(&found[..len])) => {
                Ok(Unlike::default())
            }
            Against::Record(_) => {
                let different = |&extent| Difference {
                    extent,
                    first_bytes: None,
                };
                Ok(Unlike {
                    differences: task.wanted.iter().map(different).collect(),
                    unread: Vec::new(),
                })
            }
            Against::Source { device, bad, .. } => {
                let mut expected = self.pool.take();
                let is_bad = bad.overlaps(task.chunk);
                let unread = self.read_source(*device, task, is_bad, &mut expected)?;
                let compared: Vec<Extent> = match unread.is_empty() {
                    true => task.wanted.clone(),
                    false => {
                        let wanted: ExtentMap = task.wanted.iter().copied().collect();
                        let unread = unread.iter().copied().collect();
                        wanted.difference(&unread).iter().collect()
                    }
                };
                let differences = differing(task.chunk, &compared, &expected, &found)
                    .into_iter()
                    .map(|extent| Difference {
                        extent,
                        first_bytes: first_difference(task.chunk, extent, &expected, &found),
                    })
                    .collect();
                Ok(Unlike {
                    differences,
                    unread,
                })
            }
        }
    }

    /// Reads what is compared of the source. Gives what of it can't be read.
    fn read_source(
        &self,
        device: &dyn ReadAt,
        task: &Task,
        is_bad: bool,
        expected: &mut [u8],
    ) -> Result<Vec<Extent>> {
        let read = match is_bad {
            true => read_apart(device, task, expected),
            false => read_data(device, task.chunk, &task.wanted, expected).map(drop),
        };
        match read {
            Ok(()) => {
                self.around.is_sound();
                Ok(Vec::new())
            }
            Err(error @ PartitionError::Io { .. }) => self
                .around
                .read(device, task.chunk, &task.wanted, expected)
                .map_err(|gone| Error::Source(gone.unwrap_or(error))),
            Err(error) => Err(Error::Source(error)),
        }
    }
}

/// Reads nothing but what is compared: what lies between may be bad.
fn read_apart(device: &dyn ReadAt, task: &Task, buffer: &mut [u8]) -> klon_partition::Result<()> {
    task.wanted.iter().try_for_each(|&extent| {
        let range = chunk::range_in(task.chunk, extent);
        device.read_exact_at(&mut buffer[range], extent.offset_bytes())
    })
}

fn first_difference(chunk: Extent, extent: Extent, a: &[u8], b: &[u8]) -> Option<u64> {
    let range = chunk::range_in(chunk, extent);
    let at = a[range.clone()]
        .iter()
        .zip(&b[range])
        .position(|(a, b)| a != b)?;
    extent.offset_bytes().checked_add(u64::try_from(at).ok()?)
}

#[derive(Default)]
struct Found {
    extents: ExtentMapBuilder,
    unread: ExtentMapBuilder,
    first_bytes: Option<u64>,
}

impl Found {
    fn add(&mut self, differences: &[Difference]) {
        for difference in differences {
            self.extents.push(difference.extent);
            self.first_bytes = self.first_bytes.or(difference.first_bytes);
        }
    }
}
