//! What a clone or a verify did, for people and as JSON.

use crate::cli::Common;
use crate::human;
use crate::jobs::VolumeJob;
use crate::output;
use crate::outside;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::change::Rung;
use klon_imaging::clone::Preview;
use klon_imaging::{CloneSummary, RescueSummary};
use klon_partition::ExtentMap;
use klon_partition::Shown;
use klon_partition::filesystem::{Owner, Owners};
use serde::Serialize;
use std::time::Duration;

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
    used_bytes: u64,
    unproven_bytes: u64,
    left_out_bytes: u64,
    read_source_bytes: u64,
    read_target_bytes: u64,
    checked_bytes: u64,
    changed_bytes: u64,
    written_bytes: u64,
    staged_bytes: u64,
    freed_bytes: u64,
    seconds: f64,
    volumes: &'a [CloneSummary],
}

/// One volume was cloned.
pub fn cloned(summary: &CloneSummary, volumes: usize, common: &Common) -> Result<()> {
    if common.json {
        if volumes > 1 {
            output::json(&Tagged {
                event: "volume",
                body: summary,
            })?;
        }
        return Ok(());
    }
    if !common.quiet {
        output::line(&sentence(&summary.name, summary))?;
    }
    Ok(())
}

fn sentence(name: &str, summary: &CloneSummary) -> String {
    let read_bytes = summary
        .read_source_bytes
        .saturating_add(summary.read_target_bytes);
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
    let staged = match summary.staged_bytes {
        0 => String::new(),
        bytes => format!(" ({} staged first)", human::size(bytes)),
    };
    let checked = match summary.checked_bytes {
        0 => String::new(),
        bytes => format!(" ({} to check the clone)", human::size(bytes)),
    };
    if (summary.changed_bytes, summary.written_bytes) == (0, 0) {
        let read = human::size(read_bytes);
        let duration = human::duration(duration);
        return format!("{name}: nothing changed{left_out}; {read} read{checked}, {duration}");
    }
    format!(
        "{name}: {} used{unproven}, {} read{checked}, {} changed, {} \
         written{staged}{freed}{left_out}, {}",
        human::size(summary.used_bytes),
        human::size(read_bytes),
        human::size(summary.changed_bytes),
        human::size(summary.written_bytes),
        human::duration(duration),
    )
}

/// All volumes were cloned.
pub fn cloned_all(summaries: &[CloneSummary], common: &Common) -> Result<()> {
    let sum = |field: fn(&CloneSummary) -> u64| summaries.iter().map(field).sum::<u64>();
    let mut rungs: Vec<String> = summaries.iter().map(|one| one.rung.to_string()).collect();
    rungs.sort();
    rungs.dedup();
    let total = Total {
        rung: rungs.join("+"),
        source_bytes: sum(|one| one.source_bytes),
        used_bytes: sum(|one| one.used_bytes),
        unproven_bytes: sum(|one| one.unproven_bytes),
        left_out_bytes: sum(|one| one.left_out.total_bytes()),
        read_source_bytes: sum(|one| one.read_source_bytes),
        read_target_bytes: sum(|one| one.read_target_bytes),
        checked_bytes: sum(|one| one.checked_bytes),
        changed_bytes: sum(|one| one.changed_bytes),
        written_bytes: sum(|one| one.written_bytes),
        staged_bytes: sum(|one| one.staged_bytes),
        freed_bytes: sum(|one| one.freed_bytes),
        seconds: summaries.iter().map(|one| one.seconds).sum(),
        volumes: summaries,
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
            human::size(total.used_bytes),
            human::size(total.changed_bytes),
            human::size(total.written_bytes),
            human::percent(total.written_bytes, total.used_bytes),
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
        human::size(summary.used_bytes.saturating_sub(summary.bad_bytes)),
        human::size(summary.used_bytes),
        human::size(summary.bad_bytes),
        human::count(summary.bad.extents().len(), "place"),
        stands_for_bad(summary.bad_fill.as_deref()),
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

/// What stands on a clone in the place of bad sectors.
pub fn stands_for_bad(fill: Option<&str>) -> String {
    fill.map_or("now zeroes".to_owned(), |fill| {
        format!("now filled with {fill:?}, the filesystem's own structures with zeroes")
    })
}

/// The files that bad sectors belong to.
pub fn hit(owners: &Owners) -> String {
    let mut text = String::new();
    for file in &owners.files {
        text.push_str(&format!(
            "  bad: {} from byte {}\n",
            file.path, file.file_offset_bytes
        ));
    }
    for gap in &owners.gaps {
        text.push_str(&format!("  more files may be hit: {gap}\n"));
    }
    text
}

/// What a dry run says of one volume.
#[derive(Serialize)]
struct Would<'a> {
    event: &'static str,
    name: &'a str,
    source: &'a str,
    target: String,
    rung: String,
    reason: &'a str,
    copy_bytes: u64,
    zero_bytes: u64,
    leave_bytes: u64,
    copy: &'a ExtentMap,
    zero: &'a ExtentMap,
    leave: &'a ExtentMap,
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    unproven: &'a ExtentMap,
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    left_out: &'a ExtentMap,
}

/// A dry run of a clone to something that exists.
pub fn would_clone(
    job: &VolumeJob,
    source: &SourceEnd,
    found: &Preview,
    common: &Common,
) -> Result<()> {
    let plan = &found.plan;
    let would = Would {
        event: "preview",
        name: &job.name,
        source: &source.name,
        target: job.target.place.path.shown(),
        rung: found.rung.to_string(),
        reason: &found.reason,
        copy_bytes: plan.copy.total_bytes(),
        zero_bytes: plan.zero.total_bytes(),
        leave_bytes: plan.leave.total_bytes(),
        copy: &plan.copy,
        zero: &plan.zero,
        leave: &plan.leave,
        unproven: &plan.unproven,
        left_out: &plan.left_out,
    };
    if common.json {
        return Ok(output::json(&would)?);
    }
    Ok(output::line(&format!(
        "{}: would clone {} to {} ({})\n  would {}{}, and leave {} as it is",
        job.name,
        source.name,
        would.target,
        would.reason,
        work(found.rung, &human::size(would.copy_bytes)),
        zeroed(would.zero_bytes),
        human::size(would.leave_bytes),
    ))?)
}

/// What a run would do with what is in use.
fn work(rung: Rung, size: &str) -> String {
    const LATER: &str = "(how much differs is known only after that)";
    match rung {
        Rung::Full => format!("copy {size}"),
        Rung::Compare => format!("read {size} on both sides and write what differs {LATER}"),
        Rung::Digest | Rung::Resume => format!("read {size} and write what differs {LATER}"),
    }
}

fn zeroed(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(", make {} zero", human::size(bytes)),
    }
}

/// A dry run of a clone to a file that would be made.
pub fn would_create(job: &VolumeJob, source: &SourceEnd, common: &Common) -> Result<()> {
    let used_bytes = source.usage.extents.total_bytes();
    let size_bytes = source.device.geometry().size_bytes;
    if common.json {
        let leave = source.usage.extents.complement(size_bytes);
        return Ok(output::json(&Would {
            event: "preview",
            name: &job.name,
            source: &source.name,
            target: job.target.place.path.shown(),
            rung: "full".to_owned(),
            reason: "the file does not exist yet",
            copy_bytes: used_bytes,
            zero_bytes: 0,
            leave_bytes: leave.total_bytes(),
            copy: &source.usage.extents,
            zero: &ExtentMap::new(),
            leave: &leave,
            unproven: &source.usage.unproven,
            left_out: &source.usage.left_out,
        })?);
    }
    Ok(output::line(&format!(
        "{}: would make this file ({}) and copy {} from {}",
        job.name,
        human::size(size_bytes),
        human::size(used_bytes),
        source.name
    ))?)
}

#[cfg(test)]
mod tests {
    use super::{hit, sentence, stands_for_bad, work, zeroed};
    use klon_imaging::CloneSummary;
    use klon_imaging::change::Rung;
    use klon_partition::filesystem::{Owner, Owners};
    use klon_partition::{Extent, ExtentMap};

    fn summary() -> CloneSummary {
        CloneSummary {
            name: "Boot".to_owned(),
            rung: Rung::Digest,
            reason: String::new(),
            source_bytes: 8 << 20,
            used_bytes: 4 << 20,
            unproven_bytes: 0,
            left_out: ExtentMap::new(),
            read_source_bytes: 4 << 20,
            read_target_bytes: 0,
            checked_bytes: 0,
            changed_bytes: 0,
            written_bytes: 0,
            staged_bytes: 0,
            freed_bytes: 0,
            bad: ExtentMap::new(),
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
            changed_bytes: 1 << 20,
            written_bytes: 2 << 20,
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
            changed_bytes: 1 << 20,
            written_bytes: 2 << 20,
            staged_bytes: 1 << 20,
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

    #[test]
    fn only_a_full_run_knows_beforehand_what_it_writes() {
        assert_eq!(work(Rung::Full, "4 MiB"), "copy 4 MiB");
        for rung in [Rung::Compare, Rung::Digest, Rung::Resume] {
            assert!(work(rung, "4 MiB").contains("known only after that"));
        }
        assert!(work(Rung::Compare, "4 MiB").contains("on both sides"));
    }

    #[test]
    fn no_zeroes_are_not_spoken_of() {
        assert_eq!(zeroed(0), "");
        assert_eq!(zeroed(1 << 20), ", make 1 MiB zero");
    }

    #[test]
    fn bad_sectors_are_zeroes_or_the_text_that_fills_them() {
        assert_eq!(stands_for_bad(None), "now zeroes");
        let filled = stands_for_bad(Some("BAD\n"));
        assert!(filled.starts_with("now filled with \"BAD\\n\""), "{filled}");
    }

    #[test]
    fn files_that_are_hit_and_what_hides_others_have_a_line_each() {
        let owners = Owners {
            files: vec![Owner {
                path: "/a".to_owned(),
                file_offset_bytes: 4096,
                extent: Extent::new(0, 512).unwrap(),
                inline_sha256: None,
            }],
            gaps: vec!["no map".to_owned()],
        };
        let wanted = "  bad: /a from byte 4096\n  more files may be hit: no map\n";
        assert_eq!(hit(&owners), wanted);
    }
}
