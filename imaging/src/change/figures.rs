//! What a run found of a source's files by their metadata, in figures.

use super::look::{Doubt, Walked};
use super::proven::{ExtentVerdict, Faster, Largest, Verdict};
use klon_partition::ExtentMap;
use klon_partition::filesystem::Owner;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a run found of a source's files by their metadata. All of it is zero where it looked at none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetadataFigures {
    /// What would make the next run fast, where this one had to read everything.
    #[serde(skip)]
    pub remedy: Option<Faster>,
    /// Bytes that a list or a bitmap names as changed, where the run went by one.
    pub tracked_bytes: u64,
    /// Whether the audit was one of what a list or a bitmap does not name.
    #[serde(skip)]
    pub is_audit_of_tracked: bool,
    /// Whether what files are was told by a heuristic, which is no proof.
    #[serde(rename = "heuristic")]
    pub is_heuristic: bool,
    /// Bytes of the source that were read for it.
    pub metadata_read_bytes: u64,
    /// Regular files.
    pub files_examined: u64,
    /// Those of them that are proven to be what they were.
    pub files_unchanged: u64,
    /// Those that are new, or changed, or lie elsewhere.
    pub files_changed: u64,
    /// Files about which nothing can be proven.
    pub files_always_read: u64,
    /// Data extents, where these are compared instead of files.
    pub extents_examined: u64,
    /// Those of them that are proven to be what they were.
    pub extents_unchanged: u64,
    /// Those that are new or others.
    pub extents_changed: u64,
    /// Those with sectors without checksums.
    pub extents_always_read: u64,
    /// Bytes that were read and compared with the filesystem's checksums.
    pub checksummed_bytes: u64,
    /// Sectors of the source that don't have their checksum: the target has what was read.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub damaged: ExtentMap,
    /// The files that those are of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged_files: Vec<Owner>,
    /// Why some of what was read could not be compared with the filesystem's checksums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked_because: Option<String>,
    /// Bytes in use that were not read.
    pub skipped_bytes: u64,
    /// Bytes that could be left unread and were read first, to compare them with the record.
    pub audited_bytes: u64,
    /// What that showed.
    pub audit: AuditResult,
    /// The files in which something had changed that their metadata did not show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audit_files: Vec<Owner>,
    /// Why the next run will read everything; `None` where it need not, or no run can do otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_reads_all_because: Option<String>,
    /// The files, by what was found of them.
    #[serde(skip)]
    pub files: Vec<(Verdict, u64, u64)>,
    /// The data extents, by what was found of them.
    #[serde(skip)]
    pub extents: Vec<(ExtentVerdict, u64, u64)>,
    /// The largest files that are read whole.
    #[serde(skip)]
    pub largest: Largest,
}

/// What an audit showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// There was none.
    #[default]
    None,
    /// All was as the record says.
    Passed,
    /// Something was not.
    Failed,
}

impl MetadataFigures {
    /// Adds what a walk found.
    pub(crate) fn add(&mut self, walked: &Walked) {
        let count = |verdicts: &[Verdict]| {
            let found = verdicts.iter().filter_map(|it| walked.files.get(it));
            found.map(|count| count.files).sum::<u64>()
        };
        self.files_examined = walked.files.values().map(|count| count.files).sum();
        self.files_unchanged = count(&[Verdict::Unchanged]);
        self.files_changed = count(&[Verdict::New, Verdict::Changed, Verdict::Moved]);
        self.files_always_read = count(&[Verdict::Racy, Verdict::WrittenPast, Verdict::Scattered]);
        let files = walked.files.iter();
        self.files = files
            .map(|(&verdict, count)| (verdict, count.files, count.bytes))
            .collect();
        self.largest = walked.largest.clone();
        self.add_extents(walked);
    }

    fn add_extents(&mut self, walked: &Walked) {
        let count = |verdicts: &[ExtentVerdict]| {
            let found = verdicts.iter().filter_map(|it| walked.extents.get(it));
            found.map(|count| count.extents).sum::<u64>()
        };
        self.extents_examined = walked.extents.values().map(|count| count.extents).sum();
        self.extents_unchanged = count(&[ExtentVerdict::Unchanged]);
        self.extents_changed = count(&[ExtentVerdict::New, ExtentVerdict::Changed]);
        self.extents_always_read = count(&[ExtentVerdict::Unsummed]);
        let extents = walked.extents.iter();
        self.extents = extents
            .map(|(&verdict, count)| (verdict, count.extents, count.bytes))
            .collect();
    }

    /// What was shown, as a reason: files or data extents unchanged since `since`.
    pub(crate) fn shown(&self, since: &str) -> String {
        let files = || {
            format!(
                "the metadata of {} of {} files shows them unchanged",
                self.files_unchanged, self.files_examined
            )
        };
        let extents = || {
            format!(
                "the checksums of {} of {} extents show them unchanged",
                self.extents_unchanged, self.extents_examined
            )
        };
        let shown = match (self.files_examined, self.extents_examined) {
            (_, 0) => files(),
            (0, _) => extents(),
            _ => format!("{}, and {}", files(), extents()),
        };
        let heuristic = match self.is_heuristic {
            true => ", by a heuristic where they are on NTFS",
            false => "",
        };
        format!("{shown} since {since}{heuristic}")
    }

    /// Adds what was found of another volume of the same source, which begins at `start_bytes` of it.
    pub(crate) fn join(&mut self, other: Self, start_bytes: u64) {
        self.remedy = self.remedy.or(other.remedy);
        self.is_heuristic |= other.is_heuristic;
        self.metadata_read_bytes += other.metadata_read_bytes;
        self.files_examined += other.files_examined;
        self.files_unchanged += other.files_unchanged;
        self.files_changed += other.files_changed;
        self.files_always_read += other.files_always_read;
        if self.next_reads_all_because.is_none() {
            self.next_reads_all_because = other.next_reads_all_because;
        }
        if self.unchecked_because.is_none() {
            self.unchecked_because = other.unchecked_because;
        }
        self.extents_examined += other.extents_examined;
        self.extents_unchanged += other.extents_unchanged;
        self.extents_changed += other.extents_changed;
        self.extents_always_read += other.extents_always_read;
        self.checksummed_bytes += other.checksummed_bytes;
        let damaged = other.damaged.shifted(start_bytes);
        self.damaged = self.damaged.union(&damaged);
        let shifted = |file: Owner| Owner {
            extent: file.extent.shifted(start_bytes).unwrap_or(file.extent),
            ..file
        };
        self.damaged_files
            .extend(other.damaged_files.into_iter().map(shifted));
        self.files = summed(std::mem::take(&mut self.files), other.files);
        self.extents = summed(std::mem::take(&mut self.extents), other.extents);
        self.largest.join(&other.largest, start_bytes);
    }

    /// Says why this run reads everything.
    pub(crate) fn doubt(&mut self, doubt: &Doubt) {
        self.remedy = (doubt.remedy != Faster::ThisRun).then_some(doubt.remedy);
    }
}

/// The counts and bytes of two volumes, by what was found.
fn summed<V: Ord>(one: Vec<(V, u64, u64)>, other: Vec<(V, u64, u64)>) -> Vec<(V, u64, u64)> {
    let mut sums: BTreeMap<V, (u64, u64)> = BTreeMap::new();
    for (verdict, count, bytes) in one.into_iter().chain(other) {
        let sum = sums.entry(verdict).or_default();
        *sum = (sum.0 + count, sum.1 + bytes);
    }
    let flat = |(verdict, (count, bytes))| (verdict, count, bytes);
    sums.into_iter().map(flat).collect()
}

#[cfg(test)]
mod tests {
    use super::{Faster, MetadataFigures, Verdict};

    #[test]
    fn the_figures_of_the_volumes_of_a_disk_are_one() {
        let figures = |unchanged: u64, verdict| MetadataFigures {
            files_examined: unchanged + 1,
            files_unchanged: unchanged,
            metadata_read_bytes: 10,
            files: vec![(Verdict::Unchanged, unchanged, 100), (verdict, 1, 5)],
            ..MetadataFigures::default()
        };
        let mut all = MetadataFigures::default();
        all.join(figures(3, Verdict::New), 0);
        let second = MetadataFigures {
            remedy: Some(Faster::SayClean),
            next_reads_all_because: Some("no room".to_owned()),
            ..figures(4, Verdict::Changed)
        };
        all.join(second, 1 << 20);
        let sums = [
            all.files_examined,
            all.files_unchanged,
            all.metadata_read_bytes,
        ];
        assert_eq!(sums, [9, 7, 20]);
        assert_eq!(
            all.files,
            [
                (Verdict::Unchanged, 7, 200),
                (Verdict::New, 1, 5),
                (Verdict::Changed, 1, 5)
            ]
        );
        assert_eq!(all.remedy, Some(Faster::SayClean));
        assert_eq!(all.next_reads_all_because.as_deref(), Some("no room"));
        let shown = all.shown("snapshot 3");
        assert!(shown.starts_with("the metadata of 7 of 9 files"), "{shown}");
        assert!(shown.ends_with(" since snapshot 3"), "{shown}");
    }
}
