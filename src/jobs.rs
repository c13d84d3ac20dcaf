//! The volumes that a command is about: of a plan, or one pair.

pub mod pair;
pub mod planned;
mod sources;

pub use sources::{Shrinks, Sources};

use crate::source::SourceEnd;
use crate::source::tracking::Tracking;
use crate::target::TargetEnd;
use klon_imaging::Role;
use klon_imaging::change::Rung;
use klon_partition::Identity;

/// One volume to be cloned or verified.
pub struct VolumeJob {
    /// The name of the clone.
    pub name: String,
    /// What is cloned; `None` when only the target is needed.
    pub source: Option<SourceEnd>,
    /// Where it goes.
    pub target: TargetEnd,
    /// What must be named to consent to overwriting it: the target, or the drive of a plan.
    pub consent_identity: Identity,
    /// Whether source and target, both devices, bear the same identity, as partitions of a disk and
    /// of its clone do: records can't tell then which of the two they are of.
    pub is_ambiguous: bool,
    /// Whether a plan says that the target is a clone of the source.
    pub is_planned: bool,
    /// Whether the plan gives up all that was on the drive, also where it has no partition.
    pub is_drive_given_up: bool,
    /// The name of its group: the volumes of a plan that are updated as one.
    pub group: Option<String>,
    /// What the clone is for.
    pub role: Role,
    /// What must be consented to when the target is the original and the user insists.
    pub reversal: Option<String>,
    /// What someone else tells of changes of the source.
    pub tracking: Option<Tracking>,
    /// Whether what stands on the target was shown, and consented to.
    pub is_asked: bool,
    /// The rung for a run without a useful record, and why; `None` lets the library choose.
    pub otherwise: Option<(Rung, &'static str)>,
}

impl VolumeJob {
    /// A job of two ends, with no plan, no group and no reversal. Nothing was asked yet.
    pub fn new(
        name: String,
        source: Option<SourceEnd>,
        target: TargetEnd,
        consent_identity: Identity,
    ) -> Self {
        Self {
            name,
            source,
            target,
            consent_identity,
            is_ambiguous: false,
            is_planned: false,
            is_drive_given_up: false,
            group: None,
            role: Role::Backup,
            reversal: None,
            tracking: None,
            is_asked: false,
            otherwise: None,
        }
    }
}

/// What is done about sources with bad sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSectors {
    /// The first bad sector is an error.
    Stop,
    /// klon reads around them.
    Around,
    /// klon reads around them only if it can't find what is in use otherwise.
    AroundIfNeeded,
}
