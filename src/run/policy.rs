//! What a run is to do. Commands fill it in; all that a run does is asked of it.

use crate::cli::{Consent, HookArgs};
use crate::jobs::VolumeJob;
use klon_imaging::CloneOptions;
use klon_imaging::change::proven::Continuity;
use klon_imaging::change::{Reliance, Rung, RungChoice};
use klon_imaging::clone::{Freed, Rewrite, Update};
use klon_partition::Outside;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How changes are found and written, and by how many threads.
    pub options: CloneOptions,
    /// What is copied of the bytes that no one proved free; `None` for what the run before did.
    pub outside: Option<Outside>,
    /// Whether a target may be the original of a clone.
    pub is_direction_forced: bool,
    /// Whether a warning about a source ends the run.
    pub is_strict: bool,
    /// How sources with bad sectors are read; `None` when the first bad sector ends the run.
    pub rescue: Option<Rescue>,
    /// Whether boot sectors are made to say where their partition begins.
    pub fixes_boot_fields: bool,
    /// Whether the targets are read back afterwards.
    pub is_verified: bool,
    /// Whether the run only says what it would do.
    pub is_dry_run: bool,
    /// What the machine's ledger says of power cuts; `None` without one.
    pub continuity: Option<Continuity>,
    /// Whether the user wants to know how changes were found, and why that way.
    pub is_explained: bool,
    /// What is run around each freeze of a source that is mounted for writing; `None` for nothing.
    pub hooks: Option<HookArgs>,
    /// What the user consented to beforehand.
    pub consent: Consent,
}

/// How sources with bad sectors are read.
#[derive(Clone, Debug, Default)]
pub struct Rescue {
    /// The map that the user named; `None` for one beside the records.
    pub map: Option<PathBuf>,
    /// How often each bad sector is read again.
    pub retries: u32,
    /// What stands where nothing could be read; `None` for zeroes.
    pub fill: Option<String>,
}

impl Policy {
    /// The least surprising run: staged, asked about, nothing left out, by this many threads.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self {
            options: CloneOptions {
                rung: RungChoice::Auto,
                rewrite: Rewrite::Blocks,
                freed: Freed::Leave,
                update: Update::Staged,
                threads,
                reliance: Reliance::USUAL,
            },
            outside: None,
            is_direction_forced: false,
            is_strict: false,
            rescue: None,
            fixes_boot_fields: false,
            is_verified: false,
            is_dry_run: false,
            continuity: None,
            is_explained: false,
            hooks: None,
            consent: Consent::default(),
        }
    }

    /// The options for one volume, with the better rung that may have been found for it.
    pub fn options_for(&self, job: &VolumeJob) -> CloneOptions {
        CloneOptions {
            rung: rung_for(self.options.rung, job.otherwise),
            ..self.options
        }
    }

    /// How many threads read and digest.
    pub const fn threads(&self) -> NonZeroUsize {
        self.options.threads
    }
}

impl Rescue {
    /// The map that the user named.
    pub fn named_map(&self) -> Option<&Path> {
        self.map.as_deref()
    }
}

/// The rung that the user asked for, or else the rung found for the volume.
const fn rung_for(asked: RungChoice, found: Option<(Rung, &'static str)>) -> RungChoice {
    match (asked, found) {
        (RungChoice::Auto, Some((rung, why))) => RungChoice::Else(rung, why),
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::{Policy, rung_for};
    use klon_imaging::change::{Rung, RungChoice};
    use klon_imaging::clone::{Freed, Update};
    use std::num::NonZeroUsize;

    const FOUND: Option<(Rung, &str)> = Some((Rung::Full, "because"));

    #[test]
    fn a_volume_chooses_its_rung_where_nobody_asked() {
        let rung = rung_for(RungChoice::Auto, FOUND);
        assert_eq!(rung, RungChoice::Else(Rung::Full, "because"));
        assert_eq!(rung_for(RungChoice::Auto, None), RungChoice::Auto);
    }

    #[test]
    fn a_rung_that_was_asked_for_stays() {
        let asked = RungChoice::Only(Rung::Compare);
        assert_eq!(rung_for(asked, FOUND), asked);
        assert_eq!(rung_for(asked, None), asked);
    }

    #[test]
    fn a_new_policy_leaves_what_is_there_safe() {
        let policy = Policy::new(NonZeroUsize::MIN);
        assert_eq!(policy.options.update, Update::Staged);
        assert_eq!(policy.options.freed, Freed::Leave);
        assert!(!policy.is_direction_forced);
        assert!(!policy.consent.yes);
        assert!(policy.rescue.is_none());
        assert_eq!(policy.threads(), NonZeroUsize::MIN);
    }
}
