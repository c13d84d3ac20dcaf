//! Sources that are mounted for writing: they are brought to rest while klon looks at them.

use super::SourceEnd;
use super::open::Read;
use crate::cli::StillArg;
use crate::error::{INTERRUPTED, code, refused};
use crate::messages::say;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::still::{Freezer, Frozen, How, Moments};
use anyhow::{Context as _, Result, bail};
use klon_imaging::change::Audit;
use klon_imaging::change::proven::Session;
use klon_imaging::clock::since_1970;
use klon_imaging::clone::live::Found;
use klon_imaging::{Consistency, Event, Observer};
use klon_partition::Geometry;
use klon_partition::device::{IoMode, Kind};
use klon_partition::filesystem::{Basis, usage};
use klon_partition::system::{System, Use, session};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

/// A source that is mounted for writing.
#[derive(Clone)]
pub struct Live {
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
    /// How it is held.
    pub how: How,
    /// The longest that it may be at rest at once.
    pub longest: Duration,
    open: Arc<OpenPlace>,
    target: Option<Geometry>,
}

/// What `look` finds of a volume that is mounted for writing, while the volume is at rest; `None` for any
/// other volume.
///
/// # Errors
/// As `look`; a refusal when it can't be brought to rest.
pub fn looked_at<T>(
    place: &Place,
    system: &System,
    moments: Moments,
    look: impl FnOnce(&OpenPlace) -> Result<T>,
) -> Result<Option<T>> {
    let Some((mounts, how)) = mounts(place, system, moments)? else {
        return Ok(None);
    };
    let held: Vec<_> = mounts.into_iter().take(1).map(|at| (at, how)).collect();
    let mut freezer = Freezer::holding(&held, moments.longest)?;
    let frozen = freezer.freeze()?;
    let looked = claim(place).and_then(|open| open.as_ref().map(look).transpose());
    frozen.thaw()?;
    looked
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
    let Some((mounts, how)) = mounts(place, system, moments)? else {
        return Ok(None);
    };
    let Some(open) = claim(place)? else {
        return Ok(None);
    };
    let live = Live {
        mounts,
        how,
        longest: moments.longest,
        open: Arc::new(open),
        target,
    };
    let read = live.rest_and_read(system)?;
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

/// Where a volume is mounted for writing, and how it is held, when that can be and nothing else writes to it.
fn mounts(place: &Place, system: &System, moments: Moments) -> Result<Option<(Vec<PathBuf>, How)>> {
    if place.number.is_some() || place.image.is_some() || place.is_export() {
        return Ok(None);
    }
    let uses = system.uses(&place.path)?;
    let name = fs::canonicalize(&place.path).unwrap_or_default();
    // Its node need not be named as the kernel names it.
    let logical = system.logical_volume(&place.path)?;
    let is_it = |on: &str| {
        let is_logical = logical.as_ref().is_some_and(|it| it.device == on);
        is_logical || name.ends_with(on)
    };
    let (mut mounts, mut held) = (Vec::new(), None);
    for one in uses.iter().filter(|one| one.changes_source()) {
        match one {
            Use::Mounted { at, on, .. } if is_it(on) => {
                let point = system.mount_point(at);
                let how = point.and_then(|kind| moments.how(&kind));
                if how.is_none() {
                    return Ok(None);
                }
                held = how;
                mounts.push(at.clone());
            }
            _ => return Ok(None),
        }
    }
    Ok(held.map(|how| (mounts, how)))
}

impl Live {
    /// What is brought to rest, and how.
    pub fn held(&self) -> Option<(PathBuf, How)> {
        let at = self.mounts.first()?;
        Some((at.clone(), self.how))
    }

    /// How it is at rest then.
    pub const fn consistency(&self) -> Consistency {
        match self.how {
            How::Frozen => Consistency::Frozen,
            How::ReadOnly => Consistency::ReadOnly,
        }
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
        compare: &dyn Fn(&Found, &dyn Observer) -> Result<T>,
    ) -> Result<(T, bool)> {
        let bytes = of.usage.extents.total_bytes();
        let seconds = Duration::from_secs(bytes / RATE_BYTES);
        if seconds <= self.longest * 3 / 4 {
            let held: Vec<_> = self.held().into_iter().collect();
            let mut freezer = Freezer::holding(&held, self.longest)?;
            let frozen = freezer.freeze()?;
            let observer = AtRest {
                frozen: &frozen,
                observer,
            };
            let found = self.look(of, system);
            let compared = found.and_then(|found| compare(&found, &observer));
            match frozen.thaw() {
                Ok(_) => return Ok((compared?, true)),
                Err(error) if code(&error) == INTERRUPTED => return Err(error),
                // It took longer than it may.
                Err(_) => {}
            }
        }
        let found = Found {
            source: Arc::clone(&of.device),
            usage: of.usage.clone(),
            session: None,
            consistency: self.consistency(),
        };
        Ok((compare(&found, observer)?, false))
    }

    fn rest_and_read(&self, system: &System) -> Result<Read> {
        let held: Vec<_> = self.held().into_iter().collect();
        let mut freezer = Freezer::holding(&held, self.longest)?;
        let frozen = freezer.freeze()?;
        let read = self.read(system);
        frozen.thaw()?;
        read
    }

    /// What is read of it, and what is in use now. It must be frozen.
    ///
    /// # Errors
    /// When it can't be read, is unfinished, or does not fit the target any more.
    pub(super) fn read(&self, system: &System) -> Result<Read> {
        let open = &*self.open;
        let usage = usage(&*open.device).with_context(|| open.place.given.clone())?;
        SourceEnd::read(open, system, usage, self.target)
    }

    /// As [`read`](Self::read), but leaves out what the user chose to leave out of `of`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn look(&self, of: &SourceEnd, system: &System) -> Result<Found> {
        let mut read = self.read(system)?;
        read.usage.limit(of.usage.choice);
        if read.device.geometry().size_bytes != of.device.geometry().size_bytes {
            bail!("{} has another size than before", of.name);
        }
        Ok(Found {
            source: read.device,
            usage: read.usage,
            session: self.session(),
            consistency: self.consistency(),
        })
    }

    /// How it is mounted.
    pub fn session(&self) -> Option<Session> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let boot = read("/proc/sys/kernel/random/boot_id")?;
        let up = read("/proc/uptime")?;
        let up_seconds: f64 = up.split_whitespace().next()?.parse().ok()?;
        let now = since_1970(SystemTime::now());
        let mounts = session::mounts(&self.open.place.path, &self.mounts);
        (!mounts.is_empty()).then(|| Session {
            boot: boot.trim().to_owned(),
            mounts,
            clock_offset_seconds: (now.as_secs_f64() - up_seconds) as i64,
        })
    }
}
