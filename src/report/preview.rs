//! What a dry run says that a clone would do.

use crate::cli::Common;
use crate::confirm::{self, Question};
use crate::error::faster;
use crate::human;
use crate::jobs::VolumeJob;
use crate::output;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::change::{MetadataFigures, Rung};
use klon_imaging::clone::Preview;
use klon_partition::ExtentMap;
use klon_partition::{ReadAt, Shown};
use serde::Serialize;

/// What a dry run says of one volume.
#[derive(Serialize)]
struct Would<'a> {
    event: &'static str,
    name: &'a str,
    source: &'a str,
    target: String,
    rung: String,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    #[serde(flatten)]
    metadata: &'a MetadataFigures,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    confirm: Vec<&'a str>,
}

/// A dry run of a clone to something that exists, with what it would ask first.
///
/// # Errors
/// When standard output can't be written.
pub fn would_clone(
    job: &VolumeJob,
    source: &SourceEnd,
    found: &Preview,
    question: Option<&Question>,
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
        remedy: found.metadata.remedy.and_then(faster),
        metadata: &found.metadata,
        copy_bytes: plan.copy.total_bytes(),
        zero_bytes: plan.zero.total_bytes(),
        leave_bytes: plan.leave.total_bytes(),
        copy: &plan.copy,
        zero: &plan.zero,
        leave: &plan.leave,
        unproven: &plan.unproven,
        left_out: &plan.left_out,
        confirm: named(question),
    };
    if common.json {
        return Ok(output::json(&would)?);
    }
    let asked = question.map_or_else(String::new, |question| {
        format!(
            "\n  would ask first, because it overwrites\n{}\n  without being asked: {}",
            question.description,
            confirm::options(question.identities())
        )
    });
    Ok(output::line(&format!(
        "{}: would clone {} to {} ({})\n  would {}{}, and leave {} as it is{asked}",
        job.name,
        source.name,
        would.target,
        would.reason,
        work(
            found.rung,
            &human::size(
                would
                    .copy_bytes
                    .saturating_sub(found.metadata.skipped_bytes)
            )
        ),
        zeroed(would.zero_bytes),
        human::size(would.leave_bytes),
    ))?)
}

/// What must be named in an answer.
fn named(question: Option<&Question>) -> Vec<&str> {
    let identities = question.into_iter().flat_map(Question::identities);
    identities.map(|identity| &**identity.value()).collect()
}

/// What a run would do with what is in use.
fn work(rung: Rung, size: &str) -> String {
    const LATER: &str = "(how much differs is known only after that)";
    match rung {
        Rung::Full => format!("copy {size}"),
        Rung::Compare => format!("read {size} on both sides and write what differs {LATER}"),
        Rung::Digest | Rung::Metadata | Rung::Tracked | Rung::Resume => {
            format!("read {size} and write what differs {LATER}")
        }
    }
}

fn zeroed(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(", make {} zero", human::size(bytes)),
    }
}

/// A dry run of a clone to a file that would be made.
///
/// # Errors
/// When standard output can't be written.
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
            remedy: None,
            metadata: &MetadataFigures::default(),
            copy_bytes: used_bytes,
            zero_bytes: 0,
            leave_bytes: leave.total_bytes(),
            copy: &source.usage.extents,
            zero: &ExtentMap::new(),
            leave: &leave,
            unproven: &source.usage.unproven,
            left_out: &source.usage.left_out,
            confirm: Vec::new(),
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
    use super::{work, zeroed};
    use klon_imaging::change::Rung;

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
}
