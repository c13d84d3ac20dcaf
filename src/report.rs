//! What a clone or a verify did, for people and as JSON.

mod preview;

use crate::cli::Common;
use crate::error::faster;
use crate::explain;
use crate::files_hit::{hit, stands_for_bad};
use crate::human;
use crate::output;
use crate::outside;
use anyhow::Result;
use klon_imaging::clone::live::RestFigures;
use klon_imaging::{CloneSummary, Consistency, RescueSummary, Tally};
use klon_partition::Shown;
use klon_partition::filesystem::{Owner, Owners};
use serde::Serialize;
use std::time::Duration;

pub use preview::{would_clone, would_create};

#[derive(Serialize)]
struct Tagged<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// The sum of all volumes, the last line of `klon clone --json`.
#[derive(Serialize)]
struct Total<'a> {
    rung: String,
    source_bytes: u64,
    #[serde(flatten)]
    tally: Tally,
    unproven_bytes: u64,
    left_out_bytes: u64,
    bad_bytes: u64,
    checked_bytes: u64,
    freed_bytes: u64,
    tracked_bytes: u64,
    metadata_read_bytes: u64,
    files_examined: u64,
    files_unchanged: u64,
    files_changed: u64,
    files_always_read: u64,
    extents_examined: u64,
    extents_unchanged: u64,
    extents_changed: u64,
    extents_always_read: u64,
    checksummed_bytes: u64,
    skipped_bytes: u64,
    audited_bytes: u64,
    seconds: f64,
    volumes: Vec<Volume<'a>>,
}

/// What was done with one volume, and what would make the next run fast.
#[derive(Serialize)]
struct Volume<'a> {
    #[serde(flatten)]
    summary: &'a CloneSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl<'a> From<&'a CloneSummary> for Volume<'a> {
    fn from(summary: &'a CloneSummary) -> Self {
        let remedy = summary.metadata.remedy.and_then(faster);
        Self { summary, remedy }
    }
}

/// One volume was cloned.
///
/// # Errors
/// When standard output can't be written.
pub fn cloned(summary: &CloneSummary, volumes: usize, common: &Common) -> Result<()> {
    if common.json {
        if volumes > 1 {
            output::json(&Tagged {
                event: "volume",
                body: &Volume::from(summary),
            })?;
        }
        return Ok(());
    }
    if !common.quiet {
        output::line(&sentence(&summary.name, summary))?;
        for line in explain::hints(&summary.metadata) {
            output::line(&format!("  {line}"))?;
        }
    }
    Ok(())
}

fn sentence(name: &str, summary: &CloneSummary) -> String {
    let tally = &summary.tally;
    let read_bytes = tally
        .read_source_bytes
        .saturating_add(tally.read_target_bytes);
    let duration = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
    let unproven = match summary.unproven_bytes {
        0 => String::new(),
        bytes => format!(" (and {} that no one proved free)", human::size(bytes)),
    };
    let left_out = outside::summed(&summary.left_out);
    let freed = match summary.freed_bytes {
        0 => String::new(),
        bytes => format!(", {} freed", human::size(bytes)),
    };
    let staged = match tally.staged_bytes {
        0 => String::new(),
        bytes => format!(" ({} staged first)", human::size(bytes)),
    };
    let skipped = match summary.metadata.skipped_bytes {
        0 => String::new(),
        bytes => format!(", {} proven unchanged", human::size(bytes)),
    };
    let checked = match summary.checked_bytes {
        0 => String::new(),
        bytes => format!(" ({} to check the clone)", human::size(bytes)),
    };
    let frozen = frozen(&summary.rest);
    if (tally.changed_bytes, tally.written_bytes) == (0, 0) {
        let read = human::size(read_bytes);
        let duration = human::duration(duration);
        return format!(
            "{name}: nothing changed{left_out}; {read} read{checked}{skipped}{frozen}, {duration}"
        );
    }
    format!(
        "{name}: {} used{unproven}, {} read{checked}{skipped}, {} changed, {} \
         written{staged}{freed}{left_out}{frozen}, {}",
        human::size(tally.used_bytes),
        human::size(read_bytes),
        human::size(tally.changed_bytes),
        human::size(tally.written_bytes),
        human::duration(duration),
    )
}

/// How a source was at rest that was mounted for writing.
pub fn frozen(rest: &RestFigures) -> String {
    if rest.freezes.is_empty() {
        return String::new();
    }
    let each = rest
        .freezes
        .iter()
        .map(|freeze| format!("{:.2} s", freeze.seconds));
    let each = each.collect::<Vec<String>>().join(", ");
    match rest.consistency {
        Consistency::ReadTwice if rest.frozen_seconds > 0.0 => format!(
            ", not all of it at rest, but that the same when it was read twice (the others frozen for {each})"
        ),
        Consistency::ReadTwice => {
            ", at no moment at rest, but the same when it was read twice".to_owned()
        }
        Consistency::ReadOnly => format!(", as it was when it was last read-only (for {each})"),
        _ => format!(", as it was when it was last frozen (for {each})"),
    }
}

/// All volumes were cloned.
///
/// # Errors
/// When standard output can't be written.
pub fn cloned_all(summaries: &[CloneSummary], common: &Common) -> Result<()> {
    let sum = |field: fn(&CloneSummary) -> u64| summaries.iter().map(field).sum::<u64>();
    let mut rungs: Vec<String> = summaries.iter().map(|one| one.rung.to_string()).collect();
    rungs.sort();
    rungs.dedup();
    let total = Total {
        rung: rungs.join("+"),
        source_bytes: sum(|one| one.source_bytes),
        tally: summaries.iter().map(|one| one.tally).sum(),
        unproven_bytes: sum(|one| one.unproven_bytes),
        left_out_bytes: sum(|one| one.left_out.total_bytes()),
        bad_bytes: sum(|one| one.bad.total_bytes()),
        checked_bytes: sum(|one| one.checked_bytes),
        freed_bytes: sum(|one| one.freed_bytes),
        tracked_bytes: sum(|one| one.metadata.tracked_bytes),
        metadata_read_bytes: sum(|one| one.metadata.metadata_read_bytes),
        files_examined: sum(|one| one.metadata.files_examined),
        files_unchanged: sum(|one| one.metadata.files_unchanged),
        files_changed: sum(|one| one.metadata.files_changed),
        files_always_read: sum(|one| one.metadata.files_always_read),
        extents_examined: sum(|one| one.metadata.extents_examined),
        extents_unchanged: sum(|one| one.metadata.extents_unchanged),
        extents_changed: sum(|one| one.metadata.extents_changed),
        extents_always_read: sum(|one| one.metadata.extents_always_read),
        checksummed_bytes: sum(|one| one.metadata.checksummed_bytes),
        skipped_bytes: sum(|one| one.metadata.skipped_bytes),
        audited_bytes: sum(|one| one.metadata.audited_bytes),
        seconds: summaries.iter().map(|one| one.seconds).sum(),
        volumes: summaries.iter().map(Volume::from).collect(),
    };
    if common.json {
        output::json(&Tagged {
            event: "summary",
            body: &total,
        })?;
    } else if summaries.len() > 1 && !common.quiet {
        output::line(&format!(
            "all {} volumes: {} used, {} changed, {} written ({} of what is used), {}",
            summaries.len(),
            human::size(total.tally.used_bytes),
            human::size(total.tally.changed_bytes),
            human::size(total.tally.written_bytes),
            human::percent(total.tally.written_bytes, total.tally.used_bytes),
            human::duration(Duration::try_from_secs_f64(total.seconds).unwrap_or_default()),
        ))?;
    }
    Ok(())
}

/// What was rescued, with the files that are hit.
#[derive(Serialize)]
struct Rescued<'a> {
    event: &'static str,
    #[serde(flatten)]
    summary: &'a RescueSummary,
    files: &'a [Owner],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    files_unknown_because: &'a [String],
}

/// One volume was rescued.
///
/// # Errors
/// When standard output can't be written.
pub fn rescued(summary: &RescueSummary, owners: &Owners, common: &Common) -> Result<()> {
    if common.json {
        return Ok(output::json(&Rescued {
            event: "rescued",
            summary,
            files: &owners.files,
            files_unknown_because: &owners.gaps,
        })?);
    }
    let name = &summary.name;
    if summary.bad.is_empty() {
        if !common.quiet {
            output::line(&format!(
                "{name}: all of {} rescued",
                human::size(summary.used_bytes)
            ))?;
        }
        return Ok(());
    }
    let mut text = format!(
        "{name}: {} of {} rescued. {} in {} can't be read ({})\n",
        human::size(summary.rescued_bytes),
        human::size(summary.used_bytes),
        human::size(summary.bad_bytes),
        human::count(summary.bad.extents().len(), "place"),
        stands_for_bad(&summary.bad_fill),
    );
    if let Some(bytes) = summary.bad_metadata_bytes.filter(|&bytes| bytes > 0) {
        text.push_str(&format!(
            "  {} of that is the filesystem's own: run its fsck on the clone\n",
            human::size(bytes)
        ));
    }
    text.push_str(&hit(owners));
    if let Some(map) = &summary.map {
        text.push_str(&format!("  map: {}\n", map.shown()));
    }
    Ok(output::line(&text)?)
}

#[cfg(test)]
mod tests {
    use super::sentence;
    use klon_imaging::change::{MetadataFigures, Rung};
    use klon_imaging::clone::FillTexts;
    use klon_imaging::{CloneSummary, Tally};
    use klon_partition::ExtentMap;

    fn summary() -> CloneSummary {
        CloneSummary {
            name: "Boot".to_owned(),
            run: uuid::Uuid::nil(),
            rung: Rung::Digest,
            reason: String::new(),
            source_bytes: 8 << 20,
            tally: Tally {
                used_bytes: 4 << 20,
                read_source_bytes: 4 << 20,
                ..Tally::default()
            },
            unproven_bytes: 0,
            left_out: ExtentMap::new(),
            is_replayed: false,
            shrunk_from_bytes: None,
            checked_bytes: 0,
            freed_bytes: 0,
            bad: ExtentMap::new(),
            metadata: MetadataFigures::default(),
            bad_fill: FillTexts::default(),
            rest: klon_imaging::clone::live::RestFigures::default(),
            seconds: 2.0,
        }
    }

    #[test]
    fn a_run_that_changed_nothing_says_so_first() {
        let text = sentence("Boot", &summary());
        assert!(
            text.starts_with("Boot: nothing changed; 4 MiB read, "),
            "{text}"
        );
    }

    #[test]
    fn a_run_says_what_it_read_changed_and_wrote() {
        let changed = CloneSummary {
            tally: Tally {
                changed_bytes: 1 << 20,
                written_bytes: 2 << 20,
                ..summary().tally
            },
            ..summary()
        };
        let text = sentence("Boot", &changed);
        let wanted = "Boot: 4 MiB used, 4 MiB read, 1 MiB changed, 2 MiB written, ";
        assert!(text.starts_with(wanted), "{text}");
    }

    #[test]
    fn what_was_staged_freed_and_checked_is_named_where_there_is_any() {
        let full = CloneSummary {
            unproven_bytes: 3 << 20,
            checked_bytes: 1 << 20,
            tally: Tally {
                changed_bytes: 1 << 20,
                written_bytes: 2 << 20,
                staged_bytes: 1 << 20,
                ..summary().tally
            },
            freed_bytes: 5 << 20,
            ..summary()
        };
        let text = sentence("Boot", &full);
        for wanted in [
            " (and 3 MiB that no one proved free)",
            " (1 MiB to check the clone)",
            " (1 MiB staged first)",
            ", 5 MiB freed",
        ] {
            assert!(text.contains(wanted), "{text}");
        }
    }
}
