//! Writing a table: validated, worked out in memory, written in an order that survives a crash.
//!
//! The table that is on the disk is edited ([`edit`]); one that is not is made from scratch
//! ([`gpt`], [`mbr`]). GPT: backup array and header, sync, primary array and header and the
//! protective MBR, sync. So at every moment one copy is whole. MBR: extended boot records, sync,
//! the MBR, sync.

mod edit;
mod gpt;
mod kept;
mod mbr;
mod region;
mod stale;

use super::validate::validate;
use super::{Found, Moved, Scheme, Table, raw_extents, read};
use crate::bytes::is_zero;
use crate::device::{ReadAt, WriteAt, read_vec};
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

/// How a table gets onto a disk: worked out, nothing written yet.
#[derive(Clone, Debug)]
pub struct Rewrite {
    steps: Vec<Step>,
    moved: Vec<Moved>,
    covered: ExtentMap,
}

/// Sectors under a new table's `structures` that are not zero and no part of the table that is there:
/// loaders of boards begin right behind the first sector.
fn covered(disk: &dyn ReadAt, structures: &ExtentMap) -> Result<ExtentMap> {
    const SECTOR_BYTES: u64 = 512;
    let mut known = ExtentMap::whole(SECTOR_BYTES);
    if let Ok(Found::Table(current, _)) = read(disk) {
        let partitions = current.partitions.iter().map(|it| it.extent).collect();
        let own = raw_extents(disk, &current).unwrap_or_default();
        known = known.union(&own).union(&partitions);
    }
    let mut covered = Vec::new();
    for sector in structures
        .difference(&known)
        .iter()
        .flat_map(|extent| extent.split(SECTOR_BYTES))
    {
        let len = usize::try_from(sector.len_bytes()).unwrap_or(0);
        if !is_zero(&read_vec(disk, sector.offset_bytes(), len)?) {
            covered.push(sector);
        }
    }
    Ok(covered.into_iter().collect())
}

impl Rewrite {
    /// What [`super::write()`] would write to `disk`, where `origin` holds the table now: the same
    /// disk, or the one that `disk` is to be a copy of.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] when the table does not fit the disk or contradicts itself;
    /// [`crate::Error::Refused`] when something that is on the disk can't be kept;
    /// [`crate::Error::Io`] when a device fails.
    pub fn plan(origin: &dyn ReadAt, disk: &dyn ReadAt, table: &Table) -> Result<Self> {
        let sectors = validate(disk.geometry(), table)?;
        if let Some(current) = edit::same(origin, table) {
            let tables = edit::Tables {
                current: &current,
                wanted: table,
            };
            return edit::plan(origin, disk, sectors, tables);
        }
        let kept = kept::Kept::read(disk, sectors)?;
        let steps = match table.scheme {
            Scheme::Gpt => gpt::steps(table, sectors, &kept)?,
            Scheme::Mbr => mbr::steps(table, sectors, &kept)?,
        };
        let structures: ExtentMap = steps.iter().filter_map(Step::extent).collect();
        let stale = stale::headers(disk, table, &structures)?;
        Ok(Self {
            steps: stale.iter().map(Step::Zero).chain(steps).collect(),
            moved: Vec::new(),
            covered: covered(disk, &structures)?,
        })
    }

    /// The numbers of the table that differ from before, because the disk has another size.
    #[must_use]
    pub fn moved(&self) -> &[Moved] {
        &self.moved
    }

    /// Bytes of the disk that are no table's and not zero, and are written over.
    #[must_use]
    pub const fn covered(&self) -> &ExtentMap {
        &self.covered
    }

    /// Whether the disk has all of it already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Writes it to the disk that it was planned for.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub fn carry_out(&self, disk: &dyn WriteAt) -> Result<()> {
        for step in &self.steps {
            match step {
                Step::Write(offset_bytes, bytes) => disk.write_all_at(bytes, *offset_bytes)?,
                Step::Zero(extent) => disk.zero(*extent)?,
                Step::Sync => disk.sync()?,
            }
        }
        Ok(())
    }
}
