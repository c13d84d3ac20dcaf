//! The walk over all files: base records in order, each with the runs of all of its attributes, those in
//! extension records included.
//!
//! What identifies a file is all that its records say, nothing masked: not even the time of access. A
//! driver that writes a record gives it another update sequence number, whatever it changed, and times can
//! be set by programs; so that number is the best of the stamps. Windows writes times of access rarely
//! or not at all, and a file that was opened may have been written through a mapping that stamps
//! nothing else.
//!
//! Linux-NTFS documentation, "File Record" and "$STANDARD_INFORMATION":
//! <https://flatcap.github.io/linux-ntfs/ntfs/attributes/standard_information.html>.

use super::address::RecordNumber;
use super::attribute_list::entries;
use super::boot::Geometry;
use super::mft::{FIRST_USER, Mft};
use super::name;
use super::record::{
    ATTRIBUTE_LIST, Attribute, DATA, FILE_NAME, Key, Record, STANDARD_INFORMATION,
};
use super::runs::Run;
use super::scan::for_each_record;
use super::times::{Times, stamp};
use super::unstamped::Unstamped;
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::files::{File, FileKind, FileRun, FileVisitor, Next, RunKind};
use crate::filesystem::owners::{Gaps, Scan};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Runs that are gathered of one file: 40 MiB.
const RUNS_MAX: usize = 1 << 20;

/// Visits all files in use, in the order of their records. What can't be read or fails a check is noted
/// as a gap and left out.
pub(super) fn walk(scan: &Scan<'_, Mft>, visitor: &mut dyn FileVisitor) {
    let (mft, device, gaps) = (scan.superblock, scan.device, scan.gaps);
    let found = Unstamped::find(mft, device).and_then(|unstamped| {
        let bits = mft.record_bitmap(device)?;
        Ok((unstamped, bits))
    });
    let Some((unstamped, bits)) = gaps.tolerate(found) else {
        return;
    };
    let mut walk = Walk {
        mft,
        device,
        gaps,
        unstamped,
        visitor,
        seen: Tally::default(),
        listed: Tally::default(),
    };
    let mut is_stopped = false;
    let walked = for_each_record(mft, device, &bits, &mut |record| {
        let next = match gaps.tolerate(record) {
            Some(record) => walk.record(&record),
            None => Next::Continue,
        };
        is_stopped = next == Next::Stop;
        Ok(next)
    });
    gaps.tolerate(walked);
    if !is_stopped && walk.seen != walk.listed {
        gaps.note("NTFS file records that extend a file which doesn't list them");
    }
}

/// Which records there were, in any order: their count, and the sum of digests of their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    count: u64,
    sum: u128,
}

impl Tally {
    fn add(&mut self, number: RecordNumber) {
        let digest = Sha256::digest(number.0.to_le_bytes());
        let first = digest.first_chunk().copied().unwrap_or_default();
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(first));
        self.count = self.count.saturating_add(1);
    }
}

struct Walk<'a> {
    mft: &'a Mft,
    device: &'a dyn ReadAt,
    gaps: &'a Gaps,
    unstamped: Unstamped,
    visitor: &'a mut dyn FileVisitor,
    /// The extension records in use.
    seen: Tally,
    /// Those of them that the lists of files name.
    listed: Tally,
}

impl Walk<'_> {
    fn record(&mut self, record: &Record) -> Next {
        if record.base().is_some() {
            self.seen.add(record.number);
            return Next::Continue;
        }
        let gathered = self.gather(record);
        let Some(gathered) = self.gaps.tolerate(gathered) else {
            return Next::Continue;
        };
        match self.tell(record, &gathered) {
            Next::Stop => Next::Stop,
            Next::Continue | Next::SkipFile => Next::Continue,
        }
    }

    /// All that the records of a file say.
    fn gather(&mut self, base: &Record) -> Result<Gathered> {
        let mut gathered = Gathered {
            inode: base.content().to_vec(),
            ..Gathered::default()
        };
        gathered.add(&self.mft.geometry, base, &self.unstamped)?;
        if let Some(list) = base.find(Key::unnamed(ATTRIBUTE_LIST), super::address::Vcn(0))? {
            let list = self.mft.list(self.device, base, &list)?;
            gathered.inode.extend(Sha256::digest(&list));
            let mut known = HashSet::from([base.number]);
            for entry in entries(base, &list) {
                let reference = entry?.reference;
                if !known.insert(reference.number) {
                    continue;
                }
                let holder = self.mft.holder(self.device, base, reference)?;
                self.listed.add(reference.number);
                // A file can have thousands of them, each of up to 64 KiB.
                gathered.inode.extend(Sha256::digest(holder.content()));
                gathered.add(&self.mft.geometry, &holder, &self.unstamped)?;
            }
        }
        gathered.finish(&self.mft.geometry);
        Ok(gathered)
    }

    fn tell(&mut self, record: &Record, gathered: &Gathered) -> Next {
        // A file that says nothing of its times is none that can be proven.
        let kind = match gathered.times {
            _ if record.is_directory() => FileKind::Directory,
            Some(_) => FileKind::Regular,
            None => FileKind::Other,
        };
        let times = gathered.times.unwrap_or_default();
        let file = File {
            number: record.number.0,
            kind,
            is_internal: record.number < FIRST_USER || record.is_system(),
            is_immutable: false,
            is_unstamped: gathered.is_unstamped,
            size_bytes: gathered.size_bytes,
            contents_end_bytes: u64::MAX,
            cluster_bytes: self.mft.geometry.cluster_bytes,
            changed: stamp(times.written.max(times.record_changed)),
            made_seconds: Some(stamp(times.made).seconds),
            changes: None,
            inode: &gathered.inode,
            volatile: &[],
        };
        let mut next = self.visitor.file(&file);
        for run in &gathered.runs {
            if next != Next::Continue {
                break;
            }
            next = self.visitor.run(&file, run);
        }
        next
    }
}

/// What the records of a file say.
#[derive(Default)]
struct Gathered {
    /// The base record, digests of its attribute list and of each extension record.
    inode: Vec<u8>,
    times: Option<Times>,
    is_unstamped: bool,
    size_bytes: u64,
    /// How much of the contents was ever written.
    initialized_bytes: u64,
    runs: Vec<FileRun>,
}

impl Gathered {
    /// Adds the attributes of one record.
    fn add(&mut self, geometry: &Geometry, record: &Record, unstamped: &Unstamped) -> Result<()> {
        for attribute in record.attributes() {
            let attribute = attribute?;
            let is_contents = attribute.is(Key::unnamed(DATA));
            if let Some(value) = attribute.resident() {
                match attribute.key.code {
                    STANDARD_INFORMATION => self.times = Times::parse(value),
                    FILE_NAME => {
                        self.is_unstamped |=
                            name::parse(value).is_some_and(|name| unstamped.has(&name));
                    }
                    _ if is_contents => self.size_bytes = value.len() as u64,
                    _ => {}
                }
                continue;
            }
            if is_contents && attribute.lowest_vcn().0 == 0 {
                self.size_bytes = attribute.data_bytes();
                self.initialized_bytes = attribute.initialized_bytes();
            }
            self.add_runs(geometry, &attribute)?;
        }
        Ok(())
    }

    fn add_runs(&mut self, geometry: &Geometry, attribute: &Attribute<'_>) -> Result<()> {
        let kind = match attribute.key.code {
            _ if attribute.is(Key::unnamed(DATA)) => RunKind::Contents,
            ATTRIBUTE_LIST => RunKind::Map,
            code if attribute.is(Key::index(code)) => RunKind::Contents,
            _ => RunKind::Attributes,
        };
        let mut runs: Vec<Run> = Vec::new();
        attribute.pairs().decode(geometry, &mut runs)?;
        if self.runs.len().saturating_add(runs.len()) > RUNS_MAX {
            return Err(Error::unsupported(
                format!("an NTFS file of more than {RUNS_MAX} fragments"),
                "its run lists don't fit in memory",
            ));
        }
        self.runs.extend(runs.iter().filter_map(|run| {
            Some(FileRun {
                kind,
                file_offset_bytes: geometry.vcn_byte(run.vcn),
                extent: run.extent(geometry)?,
                is_written: true,
            })
        }));
        Ok(())
    }

    /// Orders the runs, and tells what was never written: it reads as zeroes, whatever lies there.
    fn finish(&mut self, geometry: &Geometry) {
        let order = |kind: RunKind| match kind {
            RunKind::Contents => 0,
            RunKind::Attributes => 1,
            RunKind::Map => 2,
        };
        self.runs
            .sort_by_key(|run| (order(run.kind), run.file_offset_bytes));
        let clusters = self.initialized_bytes.div_ceil(geometry.cluster_bytes);
        let written_bytes = geometry.bytes(clusters);
        let runs = std::mem::take(&mut self.runs);
        for run in runs {
            self.runs.extend(split(run, written_bytes));
        }
    }
}

/// A run before `written_bytes` of its file, and the part behind that.
fn split(run: FileRun, written_bytes: u64) -> impl Iterator<Item = FileRun> {
    let (start, end) = (run.extent.offset_bytes(), run.extent.end_bytes());
    let before_bytes = match run.kind {
        RunKind::Contents => written_bytes.saturating_sub(run.file_offset_bytes),
        RunKind::Attributes | RunKind::Map => u64::MAX,
    };
    let middle = start.saturating_add(before_bytes).min(end);
    let piece = move |from: u64, to: u64, is_written| {
        Some(FileRun {
            file_offset_bytes: run.file_offset_bytes.saturating_add(from - start),
            extent: Extent::between(from, to)?,
            is_written,
            ..run
        })
    };
    let both = [piece(start, middle, true), piece(middle, end, false)];
    both.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{FileRun, RecordNumber, RunKind, Tally, split};
    use crate::extent::Extent;

    #[test]
    fn what_was_never_written_is_told_apart() {
        let run = |kind| FileRun {
            kind,
            file_offset_bytes: 8192,
            extent: Extent::new(100_000, 8192).unwrap(),
            is_written: true,
        };
        let pieces = |kind, written_bytes| {
            let pieces = split(run(kind), written_bytes);
            let shape = |piece: FileRun| {
                let (at, extent) = (piece.file_offset_bytes, piece.extent);
                (
                    at,
                    extent.offset_bytes(),
                    extent.len_bytes(),
                    piece.is_written,
                )
            };
            pieces.map(shape).collect::<Vec<_>>()
        };
        let all = (8192, 100_000, 8192, true);
        assert_eq!(pieces(RunKind::Contents, u64::MAX), [all]);
        assert_eq!(pieces(RunKind::Contents, 16_384), [all]);
        assert_eq!(pieces(RunKind::Attributes, 0), [all]);
        assert_eq!(
            pieces(RunKind::Contents, 4096),
            [(8192, 100_000, 8192, false)]
        );
        let halves = [(8192, 100_000, 4096, true), (12_288, 104_096, 4096, false)];
        assert_eq!(pieces(RunKind::Contents, 12_288), halves);
    }

    #[test]
    fn a_tally_tells_numbers_and_no_order() {
        let tally = |numbers: &[u64]| {
            let mut tally = Tally::default();
            numbers.iter().for_each(|&it| tally.add(RecordNumber(it)));
            tally
        };
        assert_eq!(tally(&[1, 2, 9]), tally(&[9, 1, 2]));
        assert_ne!(tally(&[1, 2, 9]), tally(&[1, 3, 8]));
        assert_ne!(tally(&[1, 2]), tally(&[1, 2, 2]));
    }
}
