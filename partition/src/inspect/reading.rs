//! Which table a disk has, in which sectors it counts, and whether it can be relied on.
//!
//! An MBR doesn't say how large its sectors are. A disk may show sectors that its table doesn't
//! count in: as a file of a disk with sectors of 4096 bytes, or in an enclosure that reports another
//! size than the disk has. So the table is read in both sizes, and what lies at the
//! partitions' starts decides.

use super::{MEBIBYTE, data_partitions};
use crate::device::{InSectors, ReadAt, Window};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::{self, Hazard, Kind};
use crate::table::{self, Finding, Found, Scheme, Table};

/// The sizes of sectors that disks have.
const SECTOR_BYTES: [u32; 2] = [512, 4096];

/// How much of a partition a filesystem may leave at its end and still be one that was made for it,
/// where half of it is more.
const SLACK_BYTES: u64 = MEBIBYTE;

/// A table, what is unusual about it, and what speaks for it.
pub(super) struct Reading {
    pub(super) table: Option<Table>,
    pub(super) findings: Vec<Finding>,
    sector_bytes: u32,
    /// Partitions with a filesystem at their start.
    begun: usize,
    /// How many of these partitions their filesystem fills. The chain of logical partitions counts as one.
    filled: usize,
}

/// Reads the table of `disk`, unless its boot sector is a filesystem's and only looks like one.
///
/// # Errors
/// [`Error::Io`] when the device fails. A table that can't be relied on is a finding.
pub(super) fn read(disk: &dyn ReadAt) -> Result<Reading> {
    let mut best = Reading::of(disk, disk.geometry().logical_sector_bytes)?;
    if !best.is_mbr() {
        return Ok(best);
    }
    for sector_bytes in SECTOR_BYTES {
        if sector_bytes != disk.geometry().logical_sector_bytes {
            let other = Reading::of(&InSectors { disk, sector_bytes }, sector_bytes)?;
            best = choose(best, other);
        }
    }
    Ok(best)
}

/// The better of two readings of one record. The second is in sectors that the disk doesn't have,
/// and counts only when nothing speaks for the first.
fn choose(own: Reading, other: Reading) -> Reading {
    if !other.is_mbr() || other.begun == 0 && other.filled == 0 {
        return own;
    }
    let is_other = own.begun == 0 && other.doubt().is_none() && other.filled > 0;
    if is_other {
        return other.in_other_sectors(own.sector_bytes);
    }
    if own.doubt().is_none() && own.filled > 0 && other.filled == 0 {
        return own;
    }
    let why = format!(
        "read in sectors of {} bytes it has {} with a filesystem, in sectors of {} bytes {}",
        own.sector_bytes,
        partitions(own.begun),
        other.sector_bytes,
        partitions(other.begun)
    );
    let mut best = match other.filled > own.filled {
        true => other.in_other_sectors(own.sector_bytes),
        false => own,
    };
    best.findings.push(Finding::Doubtful(why));
    best
}

fn partitions(count: usize) -> String {
    match count {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    }
}

impl Reading {
    /// No table.
    const fn none(findings: Vec<Finding>) -> Self {
        Self {
            table: None,
            findings,
            sector_bytes: 0,
            begun: 0,
            filled: 0,
        }
    }

    fn of(disk: &dyn ReadAt, sector_bytes: u32) -> Result<Self> {
        let (table, findings) = match table::read(disk) {
            Ok(Found::Table(table, findings)) => (table, findings),
            Ok(_) => return Ok(Self::none(Vec::new())),
            Err(error @ (Error::Corrupt(_) | Error::Unsupported { .. })) => {
                return Self::doubtful(disk, &error, sector_bytes);
            }
            Err(error) => return Err(error),
        };
        if is_plausible(&table) || filesystem::probe(disk)?.is_none() {
            return Self::weighed(disk, table, findings, sector_bytes);
        }
        let how = "the MBR holds no partition beside the whole-disk filesystem and is ignored";
        Ok(Self::none(vec![Finding::Filesystem(how.to_owned())]))
    }

    /// What can be told of a table that contradicts itself or the disk.
    ///
    /// Tools that make ISO 9660 bootable from disks as well (isohybrid) write tables whose
    /// partitions begin with the table itself or overlap; the filesystem has all of such a disk.
    fn doubtful(disk: &dyn ReadAt, error: &Error, sector_bytes: u32) -> Result<Self> {
        let found = filesystem::probe(disk)?;
        if found.is_some_and(|found| found.summary().kind == Kind::Iso9660) {
            let how = format!("the partition table beside the iso9660 is ignored: {error}");
            return Ok(Self::none(vec![Finding::Filesystem(how)]));
        }
        let findings = vec![Finding::Doubtful(error.to_string())];
        match table::readable(disk)? {
            Some(table) => Self::weighed(disk, table, findings, sector_bytes),
            None => Ok(Self::none(findings)),
        }
    }

    /// Looks what lies at the starts of the partitions.
    fn weighed(
        disk: &dyn ReadAt,
        table: Table,
        findings: Vec<Finding>,
        sector_bytes: u32,
    ) -> Result<Self> {
        let has_chain =
            table.scheme == Scheme::Mbr && table.partitions.iter().any(|it| it.number > 4);
        let mut weighed = Self {
            sector_bytes,
            begun: 0,
            filled: usize::from(has_chain),
            findings,
            table: None,
        };
        if table.scheme == Scheme::Mbr {
            for partition in data_partitions(&table) {
                weighed.look(disk, partition.extent)?;
            }
        }
        weighed.table = Some(table);
        Ok(weighed)
    }

    /// Notes what a partition begins with.
    fn look(&mut self, disk: &dyn ReadAt, partition: Extent) -> Result<()> {
        let filesystem = match filesystem::probe(&Window::new(disk, partition)?) {
            Ok(found) => found,
            Err(Error::Corrupt(_) | Error::Unsupported { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some(filesystem) = filesystem else {
            return Ok(());
        };
        self.begun += 1;
        let summary = filesystem.summary();
        let is_damaged = |hazard: &Hazard| matches!(hazard, Hazard::Damaged(_));
        let rest_bytes = partition.len_bytes().saturating_sub(summary.size_bytes);
        let is_full = rest_bytes <= (partition.len_bytes() / 2).max(SLACK_BYTES);
        if is_full && !summary.hazards.iter().any(is_damaged) {
            self.filled += 1;
        }
        Ok(())
    }

    fn is_mbr(&self) -> bool {
        self.table
            .as_ref()
            .is_some_and(|table| table.scheme == Scheme::Mbr)
    }

    pub(super) fn doubt(&self) -> Option<&str> {
        self.findings.iter().find_map(Finding::doubt)
    }

    /// The same reading with a finding that says in which sectors the table counts.
    fn in_other_sectors(mut self, disk_sector_bytes: u32) -> Self {
        self.findings.push(Finding::Sectors(format!(
            "it counts in sectors of {} bytes, and the disk is read in sectors of {}",
            self.sector_bytes, disk_sector_bytes
        )));
        self
    }
}

/// A FAT boot sector has an MBR's signature, and mkfs.fat writes a partition from sector 0 into
/// it so that Windows takes the disk.
pub(super) fn is_plausible(table: &Table) -> bool {
    let starts_at_zero = |partition: &table::Partition| partition.extent.offset_bytes() == 0;
    table.scheme == Scheme::Gpt
        || !(table.partitions.is_empty() || table.partitions.iter().any(starts_at_zero))
}
