//! One volume of a clone: where it comes from, where it goes, and what is known of both.

use super::{Lost, Watch};
use crate::change::proven::Continuity;
use crate::change::{Rested, Tracked};
use crate::record::{OwnIdentity, Role};
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, WriteAt};
use uuid::Uuid;

/// One volume to be cloned.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The name of the clone, for people.
    pub name: &'a str,
    /// What is cloned.
    pub source: &'a dyn ReadAt,
    /// The bytes of it that are in use.
    pub usage: &'a Usage,
    /// How it is recognized.
    pub source_identity: &'a Identity,
    /// Where it goes.
    pub target: &'a dyn WriteAt,
    /// How that is recognized; the key of its record.
    pub target_identity: &'a Identity,
    /// What an earlier clone on the target uses. When it is given, the update is staged, so that the
    /// earlier clone stays intact until the commit. Space that no one proved free holds staged bytes
    /// only where it is zero and lies behind the end of the clone.
    pub present: Option<&'a Usage>,
    /// The drive that the target is a partition of, and room on it that nothing uses.
    pub drive: Option<Drive<'a>>,
    /// What the clone is for, for its record.
    pub role: Role,
    /// Asked before the commit whether the source was written to, beside its change token.
    pub watch: Option<&'a Watch<'a>>,
    /// Asked before the first read and after the last which parts of the source are lost.
    pub lost: Option<&'a Lost<'a>>,
    /// What the machine's ledger says of power cuts; `None` without one.
    pub continuity: Option<&'a Continuity>,
    /// What someone else tells of its changes; `None` where nobody does.
    pub tracked: Option<&'a Tracked>,
    /// The runs that wrote to the source when it was a target, by its records: klon writes past the
    /// filesystem, so nothing else shows it.
    pub written_by: &'a [Uuid],
    /// Since when the source is at rest, of one that is mounted for writing.
    pub rested: Option<&'a Rested>,
    /// The identity that the clone gets of its own, which the source is shown with already.
    pub own_identity: Option<&'a OwnIdentity>,
}

impl<'a> Job<'a> {
    /// A backup of a source that nothing is known of but what is given, to a target whose contents may be
    /// lost.
    #[must_use]
    pub const fn new(name: &'a str, ends: Ends<'a>) -> Self {
        let Ends {
            source,
            usage,
            source_identity,
            target,
            target_identity,
        } = ends;
        Self {
            name,
            source,
            usage,
            source_identity,
            target,
            target_identity,
            present: None,
            drive: None,
            role: Role::Backup,
            watch: None,
            lost: None,
            continuity: None,
            tracked: None,
            written_by: &[],
            rested: None,
            own_identity: None,
        }
    }
}

/// Where a clone comes from and where it goes.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// What is cloned.
    pub source: &'a dyn ReadAt,
    /// The bytes of it that are in use.
    pub usage: &'a Usage,
    /// How it is recognized.
    pub source_identity: &'a Identity,
    /// Where it goes.
    pub target: &'a dyn WriteAt,
    /// How that is recognized.
    pub target_identity: &'a Identity,
}

/// The drive that a target is a partition of.
#[derive(Clone, Copy)]
pub struct Drive<'a> {
    /// The whole drive.
    pub device: &'a dyn WriteAt,
    /// The bytes of it that belong to no partition and no table.
    pub room: &'a ExtentMap,
    /// Whether the contents of the room may be lost; else only zeroes are overwritten.
    pub is_given_up: bool,
    /// Where the target lies on it.
    pub at: Extent,
}
