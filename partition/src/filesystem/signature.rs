//! Filesystems and containers that klon knows by name only, from their signatures.
//!
//! A signature is a magic number and the fields around it, which must fit: a few stray bytes are
//! no filesystem. A volume that is found here is copied whole.

mod container;
mod head;
mod unix;

use super::{Hazard, Kind, Summary};
use crate::device::ReadAt;
use crate::error::Result;
use head::Head;

/// Looks for one signature.
type Check = fn(&Head<'_>) -> Result<Option<Summary>>;

const CHECKS: &[Check] = &[
    container::mdraid,
    container::luks,
    container::zfs,
    container::bitlocker,
    unix::bcachefs,
    unix::nilfs2,
    unix::reiserfs,
    unix::jfs,
    unix::ufs,
    unix::udf,
    container::mdraid_old,
];

/// Everything whose signature is on `volume`, containers first.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Vec<Summary>> {
    let head = Head::read(volume)?;
    let mut found: Vec<Summary> = Vec::new();
    for check in CHECKS {
        found.extend(check(&head)?);
    }
    Ok(found)
}

/// A container that has lost its main signature, when nothing else is on `volume`.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn find_remains(volume: &dyn ReadAt) -> Result<Option<Summary>> {
    container::luks_secondary(&Head::read(volume)?)
}

/// A summary with nothing but its kind and the volume's size.
fn named(kind: Kind, head: &Head<'_>) -> Summary {
    Summary {
        kind,
        label: None,
        uuid: None,
        size_bytes: head.size_bytes(),
        block_size_bytes: 0,
        used_bytes: None,
        hazards: Vec::new(),
    }
}

/// A summary with the size that the filesystem claims, cut at the volume's; a claim beyond it is
/// a hazard.
fn sized(kind: Kind, head: &Head<'_>, blocks: u64, block_size_bytes: u32) -> Summary {
    let size_bytes = blocks.saturating_mul(u64::from(block_size_bytes));
    let mut hazards = Vec::new();
    if size_bytes > head.size_bytes() {
        hazards.push(Hazard::Damaged(format!(
            "claims {size_bytes} bytes of a volume of {}",
            head.size_bytes()
        )));
    }
    Summary {
        size_bytes: size_bytes.min(head.size_bytes()),
        block_size_bytes,
        hazards,
        ..named(kind, head)
    }
}

/// A binary UUID as text; `None` when it is all zeroes.
fn uuid(bytes: &[u8]) -> Option<String> {
    let uuid = uuid::Uuid::from_slice(bytes).ok()?;
    (!uuid.is_nil()).then(|| uuid.to_string())
}
