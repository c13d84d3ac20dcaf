//! Sources that are mounted for writing: they are brought to rest while klon looks at them.

mod beside;
mod disk;
mod in_use;
mod twice;

use super::SourceEnd;
use super::open::Read;
use crate::cli::StillArg;
use crate::error::{INTERRUPTED, code, refused};
use crate::messages::say;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::still::{Freezer, Frozen, How, Moments};
use anyhow::{Context as _, Result};
use beside::Beside;
use disk::changed;
use disk::whole_because;
pub use disk::{explained, open_disk};
use in_use::{InUse, Mounted};
use klon_imaging::change::Audit;
use klon_imaging::change::Rested;
use klon_imaging::clone::live::LiveSource;
use klon_imaging::{Consistency, Event, Observer};
use klon_partition::Geometry;
use klon_partition::device::{IoMode, Kind};
use klon_partition::filesystem::{Basis, usage};
use klon_partition::system::System;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use twice::Looked;

/// How a clone holds a filesystem that is mounted for writing, if it can. `filesystem` is its name in the
/// kernel.
pub fn held_as(filesystem: &str) -> Option<How> {
    Moments::asked(StillArg::Auto, Duration::ZERO)?.how(filesystem)
}

/// Bytes a second that are taken for granted of a comparison.
const RATE_BYTES: u64 = 64 << 20;

/// Says that `name`, which is mounted for writing, is not sampled, where the user asked for a sample.
pub fn tell_unaudited(name: &str, asked: Option<Audit>) {
    if asked.is_some_and(|audit| audit != Audit::Nothing) {
        say(&format!(
            "klon: warning: {name} is mounted for writing, so --audit reads nothing of it: a change past its \
             filesystem can't be told from one that comes meanwhile. Unmount it, or use --rung digest"
        ));
    }
}

/// Says nothing while a source is at rest, and ends the work once the source is thawed.
struct AtRest<'a> {
    frozen: &'a Frozen<'a>,
    observer: &'a dyn Observer,
}

impl Observer for AtRest<'_> {
    fn event(&self, _: &Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        self.frozen.left().is_zero() || self.observer.is_cancelled()
    }
}

/// A source that is mounted for writing, or a disk of which partitions are.
#[derive(Clone)]
pub struct Live {
    /// What of it is in use.
    pub in_use: InUse,
    /// The longest that it may be at rest at once.
    pub longest: Duration,
    moments: Moments,
    open: Arc<OpenPlace>,
    target: Option<Geometry>,
    /// The partitions of a disk that nobody has mounted for writing.
    beside: Arc<Beside>,
}

/// What `look` finds of a volume that is mounted for writing, or of a disk of which partitions are, at rest for that
/// look; `None` of any other.
///
/// # Errors
/// As `look`; a refusal when it can't be brought to rest.
pub fn looked_at<T>(
    place: &Place,
    system: &System,
    moments: Moments,
    look: impl FnOnce(&OpenPlace) -> Result<T>,
) -> Result<Option<T>> {
    let in_use = match InUse::of_volume(place, system, moments)? {
        None => InUse::of_disk(place, system, moments)?,
        volume => volume,
    };
    let Some(mut in_use) = in_use.filter(|in_use| !in_use.is_nothing()) else {
        return Ok(None);
    };
    twice::settle(&mut in_use, moments)?;
    let mut freezer = Freezer::holding(&held(&in_use), moments.longest)?;
    let frozen = freezer.freeze()?;
    let looked = claim(place).and_then(|open| match open {
        None => Ok(None),
        Some(open) => look(twice::shown(&open, &in_use)?.as_ref().unwrap_or(&open)).map(Some),
    });
    frozen.thaw()?;
    looked
}

/// What is in use, and how it is brought to rest, if it can be: one mount of each volume is enough.
fn held(in_use: &InUse) -> Vec<(PathBuf, Option<How>)> {
    let all = in_use.mounted.iter();
    all.filter_map(|it| Some((it.mounts.first()?.clone(), it.how)))
        .collect()
}

/// Opens a device past its page cache; `None` of what is no device.
fn claim(place: &Place) -> Result<Option<OpenPlace>> {
    let open = place.claim()?;
    let source = open.own()?;
    if source.kind() != Kind::Block {
        return Ok(None);
    }
    match source.io_mode() {
        IoMode::Buffered { reason } => Err(refused(format!(
            "{} can't be read past the page cache ({reason}), and the cache of a mounted device is not what is \
             on it. Unmount it first",
            place.given
        ))),
        _ => Ok(Some(open)),
    }
}

/// Opens a volume that is mounted for writing, and that nothing else writes to, as it would be on a target of
/// `target` geometry. It is brought to rest for the look at it. `None` of any other.
///
/// # Errors
/// As [`SourceEnd::open`]; a refusal when it can't be frozen, or can't be believed then.
pub fn open_mounted(
    place: &Place,
    system: &System,
    target: Option<Geometry>,
    moments: Moments,
) -> Result<Option<SourceEnd>> {
    let Some(mut in_use) = InUse::of_volume(place, system, moments)? else {
        return Ok(None);
    };
    twice::settle(&mut in_use, moments)?;
    let Some(open) = claim(place)? else {
        return Ok(None);
    };
    let live = Live {
        in_use,
        longest: moments.longest,
        moments,
        open: Arc::new(open),
        target,
        beside: Arc::new(Beside::default()),
    };
    let read = live.at_rest(|| live.read(system))?;
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &read.usage.basis {
        return Err(refused(format!(
            "{} can't be copied while it is mounted: {reason}. Unmount it first",
            place.given
        )));
    }
    let open = Arc::clone(&live.open);
    let mut source = SourceEnd::new(&open, system, read)?;
    // What is written to it while it is not frozen is what passes are for.
    source.watch = None;
    source.live = Some(live);
    Ok(Some(source))
}

impl Live {
    /// What is in use, and how it is brought to rest, if it can be.
    pub fn held(&self) -> Vec<(PathBuf, Option<How>)> {
        held(&self.in_use)
    }

    /// How it is at rest then.
    pub fn consistency(&self) -> Consistency {
        self.in_use.consistency()
    }

    /// What was opened of it.
    pub fn open(&self) -> &OpenPlace {
        &self.open
    }

    /// Lets `compare` read it at rest, with what is in use then, if it may be at rest for long enough. Otherwise
    /// `compare` reads it as it was looked at before, while others write to it. Returns whether it was at rest.
    ///
    /// # Errors
    /// As `compare`; a refusal when it can't be brought to rest.
    pub fn compared<T>(
        &self,
        of: &SourceEnd,
        system: &System,
        observer: &dyn Observer,
        compare: &dyn Fn(&LiveSource, &dyn Observer) -> Result<T>,
    ) -> Result<(T, bool)> {
        let bytes = of.usage.extents.total_bytes();
        let seconds = Duration::from_secs(bytes / RATE_BYTES);
        if seconds <= self.longest * 3 / 4 {
            let mut freezer = Freezer::holding(&self.held(), self.longest)?;
            let frozen = freezer.freeze()?;
            let observer = AtRest {
                frozen: &frozen,
                observer,
            };
            let found = self.look(of, system, frozen.since());
            let compared = found.and_then(|found| compare(&found, &observer));
            match frozen.thaw() {
                Ok(_) => {
                    let is_at_rest = self.in_use.read_twice().next().is_none();
                    return Ok((compared?, is_at_rest));
                }
                Err(error) if code(&error) == INTERRUPTED => return Err(error),
                // It took longer than it may.
                Err(_) => {}
            }
        }
        let found = LiveSource {
            source: Arc::clone(&of.device),
            usage: of.usage.clone(),
            consistency: self.consistency(),
            volumes: Vec::new(),
            written_past: None,
        };
        Ok((compare(&found, observer)?, false))
    }

    /// What `look` finds while it is at rest.
    fn at_rest<T>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut freezer = Freezer::holding(&self.held(), self.longest)?;
        let frozen = freezer.freeze()?;
        let looked = look();
        frozen.thaw()?;
        looked
    }

    /// What is read of it, and what is in use now. It must be frozen.
    ///
    /// # Errors
    /// When it can't be read, is unfinished, or does not fit the target any more.
    pub(super) fn read(&self, system: &System) -> Result<Read> {
        twice::fitting(&self.in_use, &|| {
            let shown = twice::shown(&self.open, &self.in_use)?;
            let open = shown.as_ref().unwrap_or(&self.open);
            let usage = usage(&*open.device).with_context(|| open.place.given.clone())?;
            let misfit = whole_because(&usage).map(ToOwned::to_owned);
            let found = SourceEnd::read(open, system, usage, self.target)?;
            Ok(Looked { found, misfit })
        })
    }

    /// What is read of it, and what is in use now, without what the user chose to leave out of `of`. It must be at
    /// rest `since` then.
    ///
    /// # Errors
    /// As [`read`](Self::read), and as [`look_at_disk`](Self::look_at_disk).
    pub fn look(&self, of: &SourceEnd, system: &System, since: SystemTime) -> Result<LiveSource> {
        if of.table.is_some() {
            let (mut found, _) = self.look_at_disk(since)?;
            found.usage.limit(of.usage.choice);
            return Ok(found);
        }
        // Something that was mounted over it since would be at rest in its place.
        let now = || InUse::of_volume(&self.open.place, &System::current()?, self.moments);
        if self.consistency() == Consistency::Frozen
            && !now()?.is_some_and(|now| self.in_use.is_all(&now))
        {
            return Err(changed(&of.name, "what is mounted of it is"));
        }
        let mut read = self.read(system)?;
        read.usage.limit(of.usage.choice);
        if read.device.geometry().size_bytes != of.device.geometry().size_bytes {
            return Err(changed(&of.name, "its size is"));
        }
        let rested = Rested {
            since,
            consistency: self.consistency(),
            session: self.in_use.mounted.first().and_then(Mounted::session),
        };
        Ok(LiveSource::of_volume(read.device, read.usage, rested))
    }
}
