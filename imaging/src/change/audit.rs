//! Audits: before files are left unread, a sample of them is read and compared with what the run before
//! described. Each run begins where the audit before ended, so that in time all files are covered.

use crate::buffer::Pool;
use crate::chunk::{Digest, Digested, differing, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::pipeline::{self, Flow};
use crate::progress::{Observer, unless_cancelled};
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::filesystem::Owner;
use klon_partition::{Extent, ExtentMap, ReadAt};

/// Files that are named.
pub(crate) const FILES_MAX: usize = 10;

/// A chunk that would be left unread, or a part of one.
pub(crate) struct Task<T> {
    pub(crate) chunk: Extent,
    /// What of it would have to be read.
    pub(crate) copy: Vec<Extent>,
    /// What the run before says that it is.
    pub(crate) digest: Digest,
    /// What the run before described of it, if only the part `copy` would be left unread.
    pub(crate) described: Option<Vec<Extent>>,
    /// Where that run stored it.
    pub(crate) stored: T,
}

/// How a sample is taken.
pub(crate) struct Sampling<'a> {
    pub(crate) source: &'a dyn ReadAt,
    /// How much is read; the chunk in which that ends is read whole.
    pub(crate) budget_bytes: u64,
    /// Where the audit before ended.
    pub(crate) cursor_bytes: u64,
    pub(crate) flow: Flow,
    pub(crate) chunk_len: usize,
    /// How the digests of the run before came about.
    pub(crate) digested: Digested,
    pub(crate) observer: &'a dyn Observer,
}

/// What a sample showed.
pub(crate) struct Sample {
    pub(crate) read_bytes: u64,
    /// Where the next audit goes on.
    pub(crate) cursor_bytes: u64,
    /// Blocks that are not as described.
    pub(crate) differs: ExtentMap,
}

impl Sampling<'_> {
    /// Reads a sample of `tasks`, which are all that would be left unread, in order. It begins at the cursor
    /// and goes on from the start of the volume. `stored` fills a buffer with what the run before stored of a
    /// chunk.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Interrupted`], and those of `tasks` and `stored`.
    pub(crate) fn sample<T: Send, I: Iterator<Item = Result<Task<T>>> + Send>(
        &self,
        tasks: impl Fn() -> Result<I>,
        stored: impl Fn(&Task<T>, &mut [u8]) -> Result<()> + Sync,
    ) -> Result<Sample> {
        let mut sample = Sample {
            read_bytes: 0,
            cursor_bytes: self.cursor_bytes,
            differs: ExtentMap::new(),
        };
        let start_bytes = self.cursor_bytes;
        self.go_on(&mut sample, tasks()?, &stored, |at| at >= start_bytes)?;
        if sample.read_bytes < self.budget_bytes {
            self.go_on(&mut sample, tasks()?, &stored, |at| at < start_bytes)?;
        }
        Ok(sample)
    }

    /// Reads the chunks of one side of the cursor, as far as the budget goes.
    fn go_on<T: Send>(
        &self,
        sample: &mut Sample,
        tasks: impl Iterator<Item = Result<Task<T>>> + Send,
        stored: &(impl Fn(&Task<T>, &mut [u8]) -> Result<()> + Sync),
        is_meant: impl Fn(u64) -> bool + Send + Sync,
    ) -> Result<()> {
        let mut left_bytes = self.budget_bytes.saturating_sub(sample.read_bytes);
        let is_wanted = |task: &Result<Task<T>>| {
            let task = task.as_ref().ok();
            task.is_none_or(|task| is_meant(task.chunk.offset_bytes()))
        };
        let tasks = tasks.filter(is_wanted).map_while(|task| {
            if left_bytes == 0 {
                return None;
            }
            let bytes = task.as_ref().map_or(0, copy_bytes);
            left_bytes = left_bytes.saturating_sub(bytes);
            Some(unless_cancelled(self.observer, task).and_then(|task| task))
        });
        let pool = Pool::new(self.chunk_len);
        let mut differs = ExtentMapBuilder::new();
        pipeline::run(
            self.flow,
            tasks,
            |task| {
                let found = self.compare(&task, &pool, stored)?;
                Ok((task, found))
            },
            |(task, found)| {
                sample.read_bytes = sample.read_bytes.saturating_add(copy_bytes(&task));
                sample.cursor_bytes = task.chunk.end_bytes();
                found.into_iter().for_each(|extent| differs.push(extent));
                Ok(())
            },
        )?;
        sample.differs = sample.differs.union(&differs.finish());
        Ok(())
    }

    /// The blocks of a chunk that are not as described, found by comparison with what is stored of it. A part
    /// of a chunk has nothing else to be compared with. If what is stored is not what was described, the chunk
    /// will be read whole, and there is nothing to show.
    fn compare<T>(
        &self,
        task: &Task<T>,
        pool: &Pool,
        stored: impl Fn(&Task<T>, &mut [u8]) -> Result<()>,
    ) -> Result<Vec<Extent>> {
        let len = to_len(task.chunk.len_bytes());
        let mut content = pool.take();
        read_chunk(self.source, task.chunk, &task.copy, &mut content).map_err(Error::Source)?;
        if task.described.is_none() && self.digested.of(&content[..len]) == task.digest {
            return Ok(Vec::new());
        }
        let mut current = pool.take();
        stored(task, &mut current[..len])?;
        if let Some(described) = &task.described
            && self.digested.of_extents(task.chunk, described, &current) != task.digest
        {
            return Ok(Vec::new());
        }
        let found = differing(task.chunk, &task.copy, &content, &current);
        let copy: ExtentMap = task.copy.iter().copied().collect();
        let found = found.into_iter().collect::<ExtentMap>().intersection(&copy);
        Ok(match found.is_empty() && task.described.is_none() {
            // What is stored equals what was read: then nobody knows which block differs.
            true => task.copy.clone(),
            false => found.iter().collect(),
        })
    }
}

fn copy_bytes<T>(task: &Task<T>) -> u64 {
    task.copy.iter().map(|extent| extent.len_bytes()).sum()
}

/// The first file that changed without a trace, and how many others there are at least.
pub(crate) fn named(files: &[Owner]) -> String {
    match files {
        [] => "blocks of no known file".to_owned(),
        [one] => one.path.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.path, rest.len()),
    }
}

/// The part of the metadata that failed to show a change, for a sentence like "its metadata does not show".
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    /// What it does when it tells of a change.
    pub(crate) verb: &'static str,
}

/// The account that a filesystem gives of its files.
pub(crate) const ITS_METADATA: Account = Account {
    name: "its metadata",
    verb: "show",
};

/// Why a run reads everything after its audit found a change in `what` that `account` leaves out.
pub(crate) fn fallen(what: &str, account: Account) -> String {
    let Account { name, verb } = account;
    format!("the audit found a change in {what} that {name} does not {verb}, so everything is read")
}

/// Why the next run reads everything, too.
pub(crate) fn disabled(what: &str, account: Account) -> String {
    let Account { name, verb } = account;
    format!("the audit of the last run found a change in {what} that {name} did not {verb}")
}
