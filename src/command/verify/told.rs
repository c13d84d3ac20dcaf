//! What klon says of a clone that it verified.

use super::NAMED_MAX;
use crate::cli::Common;
use crate::human;
use crate::output;
use crate::report as reports;
use anyhow::Result;
use klon_imaging::VerifySummary;
use klon_partition::filesystem::{Owner, Owners};
use klon_partition::table::Moved;
use serde::Serialize;

/// The answer for one clone.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    pub(super) event: &'static str,
    pub(super) against: &'static str,
    #[serde(flatten)]
    pub(super) summary: &'a VerifySummary,
    /// What the table of the clone says otherwise than the source's, because the disks are of
    /// different sizes.
    #[serde(skip_serializing_if = "<[Moved]>::is_empty")]
    pub(super) table_fitted: &'a [Moved],
    /// Files with bytes in the differing extents, the first of them.
    pub(super) files: &'a [Owner],
    /// Why other files may have some too.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) files_unknown_because: &'a [String],
    /// Files with bytes that could not be read from the source.
    #[serde(skip_serializing_if = "is_none_hit")]
    pub(super) bad_files: &'a Owners,
    /// Files with bytes that can't be read from the source now.
    #[serde(skip_serializing_if = "is_none_hit")]
    pub(super) unread_files: &'a Owners,
}

fn is_none_hit(owners: &Owners) -> bool {
    owners.files.is_empty() && owners.gaps.is_empty()
}

pub(super) fn report(answer: &Answer<'_>, common: &Common) -> Result<()> {
    let summary = answer.summary;
    if common.json {
        return Ok(output::json(answer)?);
    }
    if summary.is_equal {
        if !common.quiet {
            output::line(&format!(
                "{}: equal to its {}, {} compared",
                summary.name,
                answer.against,
                human::size(summary.compared_bytes)
            ))?;
        }
        let told = if common.quiet {
            untold(answer)
        } else {
            fitted(answer) + &untold(answer)
        };
        return if told.is_empty() {
            Ok(())
        } else {
            Ok(output::line(&told)?)
        };
    }
    let mut text = format!(
        "{}: DIFFERENT from its {}: {} of {} in {}\n",
        summary.name,
        answer.against,
        human::size(summary.differing_bytes),
        human::size(summary.compared_bytes),
        human::count(summary.differences.extents().len(), "extent"),
    );
    if let Some(first_bytes) = summary.first_difference_bytes {
        text.push_str(&format!("  first differing byte: {first_bytes}\n"));
    }
    for extent in summary.differences.iter().take(NAMED_MAX) {
        text.push_str(&format!(
            "  bytes {} to {}\n",
            extent.offset_bytes(),
            extent.end_bytes().saturating_sub(1)
        ));
    }
    // A record knows chunks, a source every byte.
    let place = match answer.against {
        "record" => "perhaps in",
        _ => "in",
    };
    for file in answer.files {
        text.push_str(&format!(
            "  {place} {} from byte {}\n",
            file.path, file.file_offset_bytes
        ));
    }
    for gap in answer.files_unknown_because {
        text.push_str(&format!("  more files may differ: {gap}\n"));
    }
    text.push_str(&fitted(answer));
    text.push_str(&untold(answer));
    Ok(output::line(&text)?)
}

/// What was left out by choice, and so not compared.
fn left_out(summary: &VerifySummary) -> String {
    if summary.left_out.is_empty() {
        String::new()
    } else {
        format!(
            "{}: {} that no one proved free were left out by choice, so they are not compared\n",
            summary.name,
            human::size(summary.left_out.total_bytes()),
        )
    }
}

/// What can't be told: what was left out, what could not be read when the clone was made, and what can't be now.
fn untold(answer: &Answer<'_>) -> String {
    let summary = answer.summary;
    let mut text = left_out(summary);
    if !summary.bad.is_empty() {
        text.push_str(&format!(
            "{}: {} in {} could not be read from the source when it was cloned ({})\n{}",
            summary.name,
            human::size(summary.bad_bytes),
            human::count(summary.bad.extents().len(), "place"),
            reports::stands_for_bad(summary.bad_fill.as_deref()),
            reports::hit(answer.bad_files)
        ));
    }
    if !summary.unread.is_empty() {
        text.push_str(&format!(
            "{}: {} in {} can't be read from the source now, so they are not compared. klon verify \
             without a source compares them with the record\n{}",
            summary.name,
            human::size(summary.unread_bytes),
            human::count(summary.unread.extents().len(), "place"),
            reports::hit(answer.unread_files)
        ));
    }
    text
}

/// Where the table is another by intent.
fn fitted(answer: &Answer<'_>) -> String {
    if answer.table_fitted.is_empty() {
        return String::new();
    }
    let moved: Vec<String> = answer.table_fitted.iter().map(Moved::to_string).collect();
    format!(
        "{}: its partition table fits its own size: {}\n",
        answer.summary.name,
        moved.join("; ")
    )
}
