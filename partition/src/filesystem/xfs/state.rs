//! Whether the free-space trees can be believed: flags, devices, log.
//!
//! XFS Algorithms & Data Structures, "Superblocks" and "Journaling Log":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::feature::Features;
use super::log::{self, End};
use super::superblock::Superblock;
use crate::bytes::{be32, be64, u8_at};
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::filesystem::Hazard;

/// What the superblock (512 bytes) alone says against copying by the trees.
pub(super) fn recorded(raw: &[u8]) -> Vec<Hazard> {
    let features = Features::parse(raw);
    let mut hazards = features.unknown();
    if features.needs_repair() {
        let how = "the needsrepair flag is set; run xfs_repair";
        hazards.push(Hazard::Errors(how.to_owned()));
    }
    let sb_inprogress = u8_at(raw, 126);
    if sb_inprogress != 0 {
        let how = "sb_inprogress is set: mkfs.xfs or xfs_copy did not finish";
        hazards.push(Hazard::Damaged(how.to_owned()));
    }
    let sb_rblocks = be64(raw, 16);
    let sb_rextents = be64(raw, 24);
    if sb_rblocks != 0 || sb_rextents != 0 {
        let which = format!("a realtime device of {sb_rblocks} blocks");
        hazards.push(Hazard::MultiDevice(which));
    }
    let sb_logstart = be64(raw, 48);
    let sb_logblocks = be32(raw, 96);
    if sb_logstart == 0 {
        let which = format!("a log device of {sb_logblocks} blocks");
        hazards.push(Hazard::ExternalJournal(which));
    }
    hazards
}

/// What the log says against copying by the trees.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn observed(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    match log::end(superblock, device) {
        Ok(Some(End::Unclean(hazard))) => Ok(Some(hazard)),
        Ok(Some(End::Clean(_) | End::Covered(_)) | None) => Ok(None),
        Err(Error::Corrupt(corrupt)) => Ok(Some(Hazard::Damaged(corrupt.to_string()))),
        Err(error) => Err(error),
    }
}
