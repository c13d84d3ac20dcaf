//! What the volumes of a run are cloned with, and both ends of one of them.

use super::policy::Policy;
use super::{aftermath, rescue};
use crate::jobs::VolumeJob;
use crate::progress::Progress;
use crate::source::SourceEnd;
use crate::target::open::OpenTarget;
use anyhow::Error;
use klon_imaging::RecordStore;
use klon_imaging::clone::{Phase, Stopped};
use klon_partition::ExtentMap;
use klon_partition::filesystem::Usage;
use klon_partition::system::System;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What every volume of a run is cloned with.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) records: &'a RecordStore,
    pub(super) policy: &'a Policy,
    pub(super) progress: &'a Progress,
    pub(super) system: &'a System,
    /// Set when the run is to stop.
    pub(super) interrupt: &'a Arc<AtomicBool>,
}

/// One volume, both ends open.
pub(super) struct End<'a> {
    pub(super) job: &'a VolumeJob,
    pub(super) source: &'a SourceEnd,
    pub(super) target: &'a OpenTarget,
    /// What must stay of an earlier clone on it, when that is to be saved.
    pub(super) present: Option<Usage>,
    pub(super) room: ExtentMap,
}

impl End<'_> {
    /// The error, with what stands on the target now.
    pub(super) fn told(&self, stopped: Stopped, name: &str, records: &RecordStore) -> Error {
        let Stopped { phase, error } = stopped;
        let error = aftermath::tell(
            error.into(),
            (self.job, name),
            self.source,
            self.target,
            records,
            phase >= Phase::Committing,
        );
        rescue::explained(error, self.source).context(format!("cloning {name}"))
    }
}

/// Names for a sentence: `A`, `A and B`, `A, B and C`.
pub(super) fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
