//! Writing a table: validated, built in memory, written in an order that survives a crash.
//!
//! GPT: backup array and header, sync, primary array and header and the protective MBR, sync. So
//! at every moment one copy is whole. MBR: extended boot records, sync, the MBR, sync.

mod gpt;
mod kept;
mod mbr;
mod region;
mod stale;

use super::validate::validate;
use super::{Scheme, Table};
use crate::device::WriteAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// One step of writing a table.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Whole sectors and where they go.
    Write(u64, Vec<u8>),
    /// Sectors of an older table that must not be found any more.
    Zero(Extent),
    /// Everything before this is durable before anything after it is written.
    Sync,
}

impl Step {
    fn extent(&self) -> Option<Extent> {
        match self {
            Self::Write(offset_bytes, bytes) => {
                Extent::new(*offset_bytes, u64::try_from(bytes.len()).ok()?)
            }
            Self::Zero(extent) => Some(*extent),
            Self::Sync => None,
        }
    }
}

/// See [`super::write()`].
pub(super) fn write(disk: &dyn WriteAt, table: &Table) -> Result<()> {
    for step in plan(disk, table)? {
        match step {
            Step::Write(offset_bytes, bytes) => disk.write_all_at(&bytes, offset_bytes)?,
            Step::Zero(extent) => disk.zero(extent)?,
            Step::Sync => disk.sync()?,
        }
    }
    Ok(())
}

/// All steps, before the first is taken. Reads what has to be kept or cleared.
fn plan(disk: &dyn WriteAt, table: &Table) -> Result<Vec<Step>> {
    let sectors = validate(disk.geometry(), table)?;
    let kept = kept::Kept::read(disk, sectors)?;
    let steps = match table.scheme {
        Scheme::Gpt => gpt::steps(table, sectors, &kept)?,
        Scheme::Mbr => mbr::steps(table, sectors, &kept)?,
    };
    let structures: ExtentMap = steps.iter().filter_map(Step::extent).collect();
    let stale = stale::headers(disk, table, &structures)?;
    Ok(stale.iter().map(Step::Zero).chain(steps).collect())
}
