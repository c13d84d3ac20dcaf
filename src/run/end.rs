//! What all volumes of a run share, and both ends of one volume.

use super::Run;
use crate::jobs::VolumeJob;
use crate::progress::Progress;
use crate::source::SourceEnd;
use crate::target::open::OpenTarget;
use klon_imaging::CloneOptions;
use klon_imaging::clone;
use klon_partition::ExtentMap;
use klon_partition::filesystem::Usage;

/// What every volume of a run is cloned with.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) run: Run<'a>,
    pub(super) progress: &'a Progress,
}

impl<'a> Context<'a> {
    /// What the library is told of a clone with these `options`.
    pub(super) const fn of_clone(self, options: &'a CloneOptions) -> clone::Context<'a> {
        clone::Context {
            records: self.run.records,
            options,
            observer: self.progress,
        }
    }
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

/// Names for a sentence: `A`, `A and B`, `A, B and C`.
pub(super) fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
