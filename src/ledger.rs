//! The ledger of a machine: whether it went down uncleanly between two moments. After a power cut a file
//! of ext4 or XFS can hold new data under an old inode, and nothing else on the disk tells.
//!
//! `klon ledger boot` counts each boot before volumes are mounted. `klon ledger shutdown` marks its end once
//! nothing can be written any more. [`state`] says what follows from the two, [`closing`] makes the mark, and
//! [`units`] is how systemd calls both.
//!
//! A ledger can't know what other systems did to the disks while this one was off, and it misses boots in which
//! nobody called it. It may also have been brought back to an earlier state itself. That shows only when a
//! record names a boot that the ledger doesn't know.

pub mod closing;
mod file;
mod machine;
pub mod state;
pub mod units;

use crate::cli::Common;
use crate::error::{plain_words, refused};
use anyhow::{Context as _, Result};
use file::Unread;
use klon_imaging::change::proven::Continuity;
use klon_partition::Shown as _;
use klon_partition::durable::{directory_of, sync_name};
use state::{Counted, Moment, State};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where a ledger is kept, the first that there is. What is on a volume of its own at `/var` can't be
/// written when that is unmounted, so the ledger is then kept in `/etc`.
const PLACES: [&str; 2] = ["var/lib/klon/ledger", "etc/klon/ledger"];

/// Why no ledger covers this moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCovered {
    /// Its boots are not the machine's.
    #[error("klon runs in a container, and a container knows nothing of how its machine went down")]
    Container,
    /// The machine can't be told from another.
    #[error("this machine has no id: /etc/machine-id holds none")]
    NoMachineId,
    /// There is none.
    #[error("this machine keeps no ledger. `klon ledger install` begins one")]
    Missing,
    /// It can't be believed.
    #[error("the ledger {path} can't be believed: {why}. `klon ledger boot` begins another")]
    Damaged {
        /// Where it is.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The disk that it is on came from another machine.
    #[error("the ledger is another machine's. `klon ledger boot` makes it this one's")]
    OtherMachine,
    /// It was not called at boot.
    #[error(
        "the ledger has not counted this boot, as klon-ledger.service did not run. `klon ledger boot` \
         counts it"
    )]
    NotCounted,
    /// What comes after its mark would be missed.
    #[error("the ledger was told that this boot is over. `klon ledger boot` opens it again")]
    Closed,
    /// The system did not say what is needed, or the ledger can't be written.
    #[error("{0}")]
    System(String),
}

/// What the ledger says now of a system. `root` is the root directory of that system; only tests name another
/// than `/`. What is told is durable, and the ledger notes when the clock was set.
///
/// # Errors
/// Why nothing covers it.
pub fn continuity(common: &Common, root: &Path) -> Result<Continuity, NotCovered> {
    Ledger::new(common, root).continuity()
}

/// A ledger by its file.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The root directory of the system that it is kept of.
    pub root: PathBuf,
    /// The file.
    pub path: PathBuf,
}

/// What a look at it shows.
pub struct Look {
    pub state: State,
    now: Moment,
    /// Nobody else changes it meanwhile.
    _lock: File,
}

impl Ledger {
    /// The one that is named, else the one in its usual place.
    pub fn new(common: &Common, root: &Path) -> Self {
        let places = PLACES.map(|place| root.join(place));
        let found = places.iter().find(|path| path.exists()).or(places.first());
        let usual = || found.cloned().unwrap_or_default();
        Self {
            root: root.to_owned(),
            path: common.ledger.clone().unwrap_or_else(usual),
        }
    }

    fn continuity(&self) -> Result<Continuity, NotCovered> {
        let Look { state, now, _lock } = self.look()?;
        let failed = |error: io::Error| {
            let reason = plain_words(&error.to_string());
            NotCovered::System(format!("the ledger {}: {reason}", self.path.shown()))
        };
        let state = if state.is_clock_set(&now) {
            let state = state.noted(&now);
            file::write(&self.path, &state).map_err(failed)?;
            state
        } else {
            // A name that is not durable yet would be another ledger's after a power cut.
            let synced = File::open(&self.path).and_then(|file| file.sync_all());
            synced
                .and_then(|()| sync_name(&self.path))
                .map_err(failed)?;
            state
        };
        let clock_offset_seconds = state.clock_offset_seconds();
        Ok(Continuity {
            machine: state.machine,
            unclean_count: state.unclean_count,
            boot: now.boot,
            boots: state.boots,
            clock_offset_seconds,
        })
    }

    /// The ledger to begin: the one that is there, or one at the first place that outlives the other volumes.
    pub fn to_install(common: &Common, root: &Path) -> Self {
        let usual = Self::new(common, root);
        if common.ledger.is_some() || usual.path.exists() {
            return usual;
        }
        let mut places = PLACES.map(|place| root.join(place)).into_iter();
        let path = places.find(|place| units::is_on_volume_of(root, place));
        Self {
            path: path.unwrap_or_else(|| usual.path.clone()),
            ..usual
        }
    }

    /// A ledger that has counted this boot.
    pub fn look(&self) -> Result<Look, NotCovered> {
        let now = machine::moment(&self.root)?;
        let lock = match self.lock() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(NotCovered::Missing),
            Err(error) => {
                return Err(NotCovered::System(format!(
                    "{}: {}",
                    self.path.shown(),
                    plain_words(&error.to_string())
                )));
            }
            Ok(lock) => lock,
        };
        let state = file::read(&self.path).map_err(|unread| match unread {
            Unread::Missing => NotCovered::Missing,
            unread => NotCovered::Damaged {
                path: self.path.shown(),
                why: unread.to_string(),
            },
        })?;
        if state.machine != now.machine {
            return Err(NotCovered::OtherMachine);
        }
        if !state.has_counted(&now) {
            return Err(NotCovered::NotCounted);
        }
        if state.is_closed() {
            return Err(NotCovered::Closed);
        }
        Ok(Look {
            state,
            now,
            _lock: lock,
        })
    }

    /// What is seen of the machine.
    ///
    /// # Errors
    /// A refusal where no ledger can be kept.
    pub fn moment(&self) -> Result<Moment> {
        machine::moment(&self.root).map_err(|reason| refused(reason.to_string()))
    }

    /// Counts this boot. A ledger that is missing or can't be believed begins anew.
    ///
    /// # Errors
    /// When the ledger can't be kept here. One that can't be written is removed: an old one would say
    /// that nothing happened.
    pub fn count(&self) -> Result<(State, Counted)> {
        let now = self.moment()?;
        fs::create_dir_all(directory_of(&self.path))
            .with_context(|| directory_of(&self.path).shown())?;
        let _lock = self.lock().with_context(|| self.path.shown())?;
        let (state, counted) = match file::read(&self.path) {
            Ok(state) => state.count(&now),
            Err(Unread::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(error).with_context(|| self.path.shown());
            }
            Err(_) => (State::new(&now), Counted::First),
        };
        let Err(error) = file::write(&self.path, &state) else {
            return Ok((state, counted));
        };
        let is_removed = fs::remove_file(&self.path).is_ok() && sync_name(&self.path).is_ok();
        let what_now = match is_removed {
            true => "so klon removed it, and the next boot begins another",
            false => "and it must not be believed again. Remove it",
        };
        let path = self.path.shown();
        Err(error).with_context(|| format!("the ledger {path} can't be written, {what_now}"))
    }

    fn lock(&self) -> io::Result<File> {
        let directory = File::open(directory_of(&self.path))?;
        directory.lock()?;
        Ok(directory)
    }
}
