//! What a rescue can continue from: a map, and a target that agrees with it.

use super::file::{MapFile, Origin, of_another};
use super::first;
use super::status::{Status, StatusMap};
use super::{RescueOptions, UnderWay};
use crate::chunk::{CHUNK_BYTES, Digest, first_chunk, read_chunk, to_len};
use crate::clone::Job;
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::mark::Mark;
use crate::pipeline;
use crate::plan::Plan;
use crate::record::Record;
use klon_partition::device::read_vec;
use klon_partition::{Error as PartitionError, ExtentMap};
use uuid::Uuid;

/// Places in which a map that another program wrote is compared with the target.
const SPOTS: u64 = 64;
/// How much is compared in each.
const SPOT_BYTES: u64 = 4096;

/// Where a rescue begins.
pub(super) struct Begun {
    pub(super) statuses: StatusMap,
    pub(super) origin: Origin,
    /// The first chunk, as far as it is known.
    pub(super) held: Vec<u8>,
    pub(super) reason: String,
}

pub(super) fn begin(under_way: UnderWay<'_>, record: Option<&Record>) -> Result<Begun> {
    let UnderWay {
        job, options, plan, ..
    } = under_way;
    let size_bytes = plan.source_bytes;
    let fresh = Begun {
        statuses: StatusMap::new(size_bytes),
        origin: origin(job, plan),
        held: {
            let first = first_chunk(size_bytes).ok_or_else(Error::no_bytes)?;
            vec![0; to_len(first.len_bytes())]
        },
        reason: "nothing of it is rescued yet".to_owned(),
    };
    let found = match MapFile::load(options.map, size_bytes) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(fresh),
        // The map is klon's own, so nothing of anyone else is lost.
        Err(_) if options.is_own_map => return Ok(fresh),
        Err(error) => return Err(error),
    };
    let finished = found.statuses.with(Status::Finished);
    if finished.intersection(&plan.wanted()).is_empty() {
        // Nothing is claimed of the target, so it may be any.
        return Ok(from_first(options, found, fresh));
    }
    match gone_on(under_way, record, found, &fresh)? {
        Ok(begun) => Ok(begun),
        Err(_) if options.is_own_map => Ok(fresh),
        Err(why) => Err(of_another(options.map, &why)),
    }
}

fn origin(job: &Job<'_>, plan: &Plan) -> Origin {
    Origin {
        run: Uuid::new_v4(),
        source: job.source_identity.clone(),
        target: job.target_identity.clone(),
        source_bytes: plan.source_bytes,
        token: job.usage.token.map(Hex::from),
        record: None,
    }
}

/// The start of a rescue that was stopped when it had read only the first chunk.
fn from_first(options: &RescueOptions<'_>, found: MapFile, fresh: Begun) -> Begun {
    let origin = found.origin;
    let Some(origin) = origin.filter(|origin| differs(origin, &fresh.origin).is_none()) else {
        return fresh;
    };
    let mut begun = Begun {
        statuses: found.statuses,
        origin,
        held: fresh.held.clone(),
        reason: "going on where the map says".to_owned(),
    };
    match begun.load_first(options, begun.origin.run) {
        true => begun,
        false => fresh,
    }
}

/// The state of a map, or why the rescue can't continue from it.
fn gone_on(
    under_way: UnderWay<'_>,
    record: Option<&Record>,
    found: MapFile,
    fresh: &Begun,
) -> Result<std::result::Result<Begun, String>> {
    let UnderWay {
        job, options, plan, ..
    } = under_way;
    let MapFile { origin, statuses } = found;
    let mut begun = Begun {
        statuses,
        origin: fresh.origin.clone(),
        held: fresh.held.clone(),
        reason: String::new(),
    };
    let mark = Mark::read(&job.target).map_err(Error::Target)?;
    let Some(origin) = origin else {
        // One that klon began.
        if let Some(mark) = mark.as_ref().filter(|mark| !mark.run.is_nil()) {
            begun.origin.run = mark.run;
        }
        begun.keep_first(job, options, mark.is_some())?;
        begun.reason = "as the map says, which another program wrote".to_owned();
        return Ok(spot_check(job, plan, &begun.statuses)?.map(|()| begun));
    };
    if let Some(why) = differs(&origin, &fresh.origin) {
        return Ok(Err(why));
    }
    if mark.as_ref().is_some_and(|mark| mark.run == origin.run) {
        begun.origin = origin;
        begun.keep_first(job, options, true)?;
        begun.reason = "going on where the map says".to_owned();
        return Ok(Ok(begun));
    }
    let finished = record.filter(|record| Some(Hex(record.digest)) == origin.record);
    let (None, Some(record)) = (mark, finished) else {
        let why = "the target is not what the rescue of this map left there";
        return Ok(Err(why.to_owned()));
    };
    for extent in changed_since(job, record)?.iter() {
        begun
            .statuses
            .replace(extent, Status::Finished, Status::NonTried);
    }
    begun.keep_first(job, options, false)?;
    begun.load_first(options, origin.run);
    begun.origin.record = origin.record;
    begun.reason = "what could not be read is tried again".to_owned();
    Ok(Ok(begun))
}

fn differs(found: &Origin, expected: &Origin) -> Option<String> {
    if found.source != expected.source || found.source_bytes != expected.source_bytes {
        return Some(format!("it is of the source {}", found.source));
    }
    if found.target != expected.target {
        return Some(format!("it is of the target {}", found.target));
    }
    (found.token != expected.token)
        .then(|| "the source's filesystem was written to since, or can't be read now".to_owned())
}

impl Begun {
    /// The first chunk is written last. For an unfinished target it is taken from the file beside the
    /// map, or read again.
    fn keep_first(
        &mut self,
        job: &Job<'_>,
        options: &RescueOptions<'_>,
        is_marked: bool,
    ) -> Result<()> {
        let first = first_chunk(self.statuses.size_bytes()).ok_or_else(Error::no_bytes)?;
        if is_marked {
            self.statuses
                .replace(first, Status::Finished, Status::NonTried);
            self.load_first(options, self.origin.run);
            return Ok(());
        }
        self.held = read_vec(&job.target, 0, self.held.len()).map_err(Error::Target)?;
        Ok(())
    }

    /// Takes what `run` kept of the first chunk; false when there is nothing.
    fn load_first(&mut self, options: &RescueOptions<'_>, run: Uuid) -> bool {
        let Some(first::Kept {
            good,
            content: held,
        }) = first::load(options.map, run, self.held.len())
        else {
            return false;
        };
        for extent in good.iter() {
            self.statuses.set(extent, Status::Finished);
        }
        self.held = held;
        true
    }
}

/// Chunks of the target that differ from the record, because someone wrote to them.
fn changed_since(job: &Job<'_>, record: &Record) -> Result<ExtentMap> {
    let mut changed = Vec::new();
    let threads = std::num::NonZeroUsize::MIN;
    pipeline::run(
        threads,
        record.digests()?,
        |(chunk, digest)| {
            let extents: Vec<_> = record.data.within(chunk).collect();
            let mut content = vec![0; to_len(CHUNK_BYTES)];
            read_chunk(job.target, chunk, &extents, &mut content).map_err(Error::Target)?;
            let content = &content[..to_len(chunk.len_bytes())];
            Ok::<_, Error>((chunk, Digest::of(content) == digest))
        },
        |(chunk, is_equal)| {
            if !is_equal {
                changed.push(chunk);
            }
            Ok(())
        },
    )?;
    Ok(changed.into_iter().collect())
}

/// Compares the target with the source in a few places that the map calls rescued, which shows when
/// the map is of another target.
fn spot_check(
    job: &Job<'_>,
    plan: &Plan,
    statuses: &StatusMap,
) -> Result<std::result::Result<(), String>> {
    let finished = statuses.with(Status::Finished).intersection(&plan.copy);
    let extents = finished.extents();
    let count = extents.len() as u64;
    for spot in 0..SPOTS.min(count) {
        let index = usize::try_from(spot * count / SPOTS.min(count)).unwrap_or(0);
        let Some(extent) = extents.get(index) else {
            break;
        };
        // The middle of each, and not always its start.
        let offset_bytes = extent.offset_bytes() + extent.len_bytes() / 2 / SPOT_BYTES * SPOT_BYTES;
        let len = to_len(SPOT_BYTES.min(extent.end_bytes() - offset_bytes));
        let source = match read_vec(&job.source, offset_bytes, len) {
            Ok(source) => source,
            Err(PartitionError::Io { .. }) => continue,
            Err(error) => return Err(Error::Source(error)),
        };
        let target = read_vec(&job.target, offset_bytes, len).map_err(Error::Target)?;
        if source != target {
            return Ok(Err(format!(
                "it says that byte {offset_bytes} is on the target already, but there the target \
                 differs from the source: it is the map of another target"
            )));
        }
    }
    Ok(Ok(()))
}
