//! How changes were found and why that way, in words: `--explain`, hints and warnings.

use crate::cli::Common;
use crate::error::faster;
use crate::files_hit::{owners_in, partitions};
use crate::human;
use crate::messages::say;
use crate::output;
use anyhow::Result;
use klon_imaging::change::proven::{ExtentVerdict, ReadWhole, Verdict};
use klon_imaging::change::{AuditResult, MetadataFigures, Rung};
use klon_partition::filesystem::owners;
use klon_partition::table::Table;
use klon_partition::{ExtentMap, ReadAt};
use serde::Serialize;

/// Files that are named.
const FILES_MAX: usize = 64;

/// What every run reads of a clean volume.
const ALWAYS: &str = "the filesystem's own structures, directories, small parts of the volume that \
                      hold such beside files, and files that are written past the filesystem (swap, \
                      boot loaders' variables, immutable files; on NTFS the registry, databases and disks \
                      of virtual machines, by their names)";

/// What a heuristic can't do.
const HEURISTIC: &str = "by a heuristic on NTFS: Windows can change a file without a change of its file \
                         record; DELTA.md says when. --audit 100% or --rung compare read everything";

/// What is always read when extents are compared.
const ALWAYS_OF_EXTENTS: &str = "the filesystem's own structures, small parts of the volume that hold \
                                 such beside data, and data without checksums (nodatacow, nodatasum, \
                                 reserved)";

/// What is always read when someone else tells what changed.
const ALWAYS_OF_TRACKED: &str = "the filesystem's own structures, and each mebibyte with one of them or \
                                 with a changed range";

/// Says that a source is damaged, by the checksums that its filesystem keeps.
fn warn_of_damage(name: &str, figures: &MetadataFigures) {
    if !figures.damaged.is_empty() {
        let bytes = human::size(figures.damaged.total_bytes());
        say(&format!(
            "klon: warning: {name}: {bytes} of the source is not what its filesystem wrote there: its \
             checksums differ. The copy has what the source has now. Check the source: btrfs scrub, \
             smartctl -a"
        ));
    }
    for file in &figures.damaged_files {
        let (path, at) = (&file.path, file.file_offset_bytes);
        say(&format!(
            "klon: warning: {name}: {path} from byte {at} is damaged on the source"
        ));
    }
    if let Some(why) = &figures.unchecked_because {
        say(&format!(
            "klon: warning: {name}: not all of the source could be compared with its checksums: {why}. \
             Run: btrfs check"
        ));
    }
}

/// Says loudly that a file changed without a trace in its metadata, or that a source is damaged.
pub fn warn(name: &str, figures: &MetadataFigures) {
    warn_of_damage(name, figures);
    if figures.audit != AuditResult::Failed {
        return;
    }
    let (what, check) = match figures.is_audit_of_tracked {
        true => (
            "something changed that the list of changed ranges, or the bitmap, does not name",
            "how the list or the bitmap is made",
        ),
        false => (
            "something changed blocks of files behind the filesystem's back, on the source or on its way \
             here",
            "the source: its cable, its memory, smartctl -a",
        ),
    };
    say(&format!(
        "klon: warning: {name}: {what}. klon read everything, and the copy has what the source has \
         now; the next run reads everything, too. Check {check}"
    ));
    for file in &figures.audit_files {
        let (path, at) = (&file.path, file.file_offset_bytes);
        say(&format!("klon: warning: {name}: {path} from byte {at}"));
    }
}

/// What the user should know to make the next run fast.
pub fn hints(figures: &MetadataFigures) -> Vec<String> {
    let all = figures
        .next_reads_all_because
        .as_ref()
        .map(|reason| format!("The next run reads everything, too: {reason}"));
    let remedy = figures.remedy.and_then(faster).map(str::to_owned);
    all.into_iter().chain(remedy).collect()
}

/// What `--explain` says of one volume.
#[derive(Serialize)]
struct Explained<'a> {
    event: &'static str,
    name: &'a str,
    rung: String,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    heuristic: bool,
    files: Vec<Files>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extents: Vec<Extents>,
    largest: Vec<Large>,
}

/// Data extents of one verdict.
#[derive(Serialize)]
struct Extents {
    verdict: ExtentVerdict,
    count: u64,
    written_bytes: u64,
}

/// Files of one verdict.
#[derive(Serialize)]
struct Files {
    verdict: Verdict,
    count: u64,
    written_bytes: u64,
}

/// A large file that is read whole.
#[derive(Serialize)]
struct Large {
    /// `None` where the filesystem doesn't tell.
    path: Option<String>,
    verdict: Verdict,
    written_bytes: u64,
}

/// How the changes of a volume or a disk were found.
pub struct Way<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The rung on which they were found.
    pub rung: Rung,
    /// Why it was this rung.
    pub reason: &'a str,
    /// What files showed.
    pub figures: &'a MetadataFigures,
}

impl<'a> Way<'a> {
    /// The way of what is called `name`.
    pub const fn new(
        name: &'a str,
        rung: Rung,
        reason: &'a str,
        figures: &'a MetadataFigures,
    ) -> Self {
        Self {
            name,
            rung,
            reason,
            figures,
        }
    }
}

/// `--explain` of one volume, or of a disk with a table.
pub fn explain(
    way: &Way<'_>,
    source: &dyn ReadAt,
    table: Option<&Table>,
    common: &Common,
) -> Result<()> {
    let Way {
        name,
        rung,
        reason,
        figures,
    } = *way;
    // Without an earlier look at them, all files are new, and that says nothing.
    let is_metadata = rung == Rung::Metadata;
    let files = figures.files.iter().filter(|_| is_metadata);
    let largest = match is_metadata {
        true => named(figures.largest.files(), source, table),
        false => Vec::new(),
    };
    let explained = Explained {
        event: "explained",
        name,
        rung: rung.to_string(),
        reason,
        remedy: figures.remedy.and_then(faster),
        heuristic: is_metadata && figures.is_heuristic,
        files: files
            .map(|&(verdict, count, written_bytes)| Files {
                verdict,
                count,
                written_bytes,
            })
            .collect(),
        extents: match is_metadata {
            true => extents(figures),
            false => Vec::new(),
        },
        largest,
    };
    if common.json {
        return Ok(output::json(&explained)?);
    }
    Ok(output::line(&text(&explained))?)
}

fn extents(figures: &MetadataFigures) -> Vec<Extents> {
    let extents = figures.extents.iter();
    let extents = extents.map(|&(verdict, count, written_bytes)| Extents {
        verdict,
        count,
        written_bytes,
    });
    extents.collect()
}

/// The names of files.
fn named(files: &[ReadWhole], source: &dyn ReadAt, table: Option<&Table>) -> Vec<Large> {
    let extents: ExtentMap = files.iter().map(|file| file.extent).collect();
    let owners = match table.map(partitions) {
        Some(partitions) => owners_in(source, Some(&partitions), &extents),
        None => owners(source, &extents, FILES_MAX),
    };
    let large = |file: &ReadWhole| Large {
        path: owners
            .files
            .iter()
            .find(|owner| owner.extent.intersection(file.extent).is_some())
            .map(|owner| owner.path.clone()),
        verdict: file.verdict,
        written_bytes: file.bytes,
    };
    files.iter().map(large).collect()
}

fn text(explained: &Explained<'_>) -> String {
    let Explained {
        name, rung, reason, ..
    } = explained;
    let mut text = format!("{name}: rung {rung}: {reason}\n");
    if let Some(remedy) = explained.remedy {
        text.push_str(&format!("  {remedy}\n"));
    }
    for files in &explained.files {
        text.push_str(&format!(
            "  {}, {}: {}\n",
            human::count(usize::try_from(files.count).unwrap_or(usize::MAX), "file"),
            human::size(files.written_bytes),
            words(files.verdict)
        ));
    }
    for extents in &explained.extents {
        text.push_str(&format!(
            "  {}, {}: {}\n",
            human::count(
                usize::try_from(extents.count).unwrap_or(usize::MAX),
                "extent"
            ),
            human::size(extents.written_bytes),
            words_of_extents(extents.verdict)
        ));
    }
    if explained.heuristic {
        text.push_str(&format!("  {HEURISTIC}\n"));
    }
    if rung == "metadata" {
        let always = match explained.extents.is_empty() {
            true => ALWAYS,
            false => ALWAYS_OF_EXTENTS,
        };
        text.push_str(&format!("  always read: {always}\n"));
    }
    if rung == "tracked" {
        text.push_str(&format!("  always read: {ALWAYS_OF_TRACKED}\n"));
    }
    for file in &explained.largest {
        let path = file.path.as_deref().unwrap_or("a file without a name");
        text.push_str(&format!(
            "  read whole: {path}, {}: {}\n",
            human::size(file.written_bytes),
            words(file.verdict)
        ));
    }
    text
}

/// What was found of files, in words.
const fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unchanged => "unchanged, not read where nothing else is near",
        Verdict::Empty => "nothing written in it",
        Verdict::New => "new",
        Verdict::Changed => "changed",
        Verdict::Moved => "the same, but it lies elsewhere now",
        Verdict::Racy => {
            "changed when the last run began, or was written by something without a clock, so its time says nothing"
        }
        Verdict::WrittenPast => "always read, as it can be written past the filesystem",
        Verdict::Scattered => "always read, as it is in too many pieces",
    }
}

/// What was found of data extents, in words.
const fn words_of_extents(verdict: ExtentVerdict) -> &'static str {
    match verdict {
        ExtentVerdict::Unchanged => "unchanged, not read where nothing else is near",
        ExtentVerdict::New => "new",
        ExtentVerdict::Changed => "another one than was there",
        ExtentVerdict::Unsummed => "always read, as they have no checksums",
    }
}

#[cfg(test)]
mod tests {
    use super::{Explained, Extents, Files, Large, hints, text};
    use klon_imaging::change::MetadataFigures;
    use klon_imaging::change::proven::{ExtentVerdict, Faster, Verdict};

    fn explained() -> Explained<'static> {
        Explained {
            event: "explained",
            name: "Boot",
            rung: "metadata".to_owned(),
            reason: "because",
            remedy: None,
            heuristic: false,
            files: Vec::new(),
            extents: Vec::new(),
            largest: Vec::new(),
        }
    }

    #[test]
    fn an_explanation_names_counts_and_the_largest() {
        let files = |verdict, count| Files {
            verdict,
            count,
            written_bytes: 3 << 20,
        };
        let said = text(&Explained {
            files: vec![files(Verdict::Unchanged, 1204), files(Verdict::New, 1)],
            largest: vec![Large {
                path: Some("/var/big".to_owned()),
                verdict: Verdict::New,
                written_bytes: 2 << 20,
            }],
            ..explained()
        });
        for wanted in [
            "Boot: rung metadata: because\n",
            "  1 file, 3 MiB: new\n",
            "  always read: the filesystem's own structures",
            "  read whole: /var/big, 2 MiB: new\n",
        ] {
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn extents_are_counted_where_they_are_compared() {
        let extents = |verdict, count| Extents {
            verdict,
            count,
            written_bytes: 3 << 20,
        };
        let said = text(&Explained {
            extents: vec![
                extents(ExtentVerdict::Unchanged, 2),
                extents(ExtentVerdict::Unsummed, 1),
            ],
            ..explained()
        });
        for wanted in [
            "  2 extents, 3 MiB: unchanged, not read",
            "  1 extent, 3 MiB: always read, as they have no checksums\n",
            "data without checksums",
        ] {
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn hints_are_given_where_there_is_something_to_do() {
        assert!(hints(&MetadataFigures::default()).is_empty());
        let figures = MetadataFigures {
            remedy: Some(Faster::SayClean),
            next_reads_all_because: Some("no room".to_owned()),
            ..MetadataFigures::default()
        };
        let said = hints(&figures);
        assert_eq!(said.len(), 2);
        assert!(said[0].ends_with(": no room"));
        assert!(said[1].contains("--assume-clean-since-record"));
    }
}
