//! What klon says of a clone that it verified.

use crate::cli::Common;
use crate::files_hit;
use crate::grow;
use crate::human;
use crate::listing;
use crate::output;
use anyhow::Result;
use klon_imaging::record::Growth;
use klon_imaging::{Consistency, VerifySummary};
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Owner, Owners};
use klon_partition::table::Moved;
use serde::Serialize;

/// The answer for one clone.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    pub(super) event: &'static str,
    pub(super) against: &'static str,
    /// What it was compared with, in words.
    #[serde(skip)]
    pub(super) with: String,
    /// What was made of the source: `cloned` or `imaged`.
    #[serde(skip)]
    pub(super) made: &'static str,
    #[serde(flatten)]
    pub(super) summary: &'a VerifySummary,
    /// Bytes that could not be compared, because an image is damaged there.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) damaged_bytes: u64,
    /// Where they are.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub(super) damaged: &'a ExtentMap,
    /// Entries in which the clone's table differs from the source's, because the disks differ in size.
    #[serde(skip_serializing_if = "<[Moved]>::is_empty")]
    pub(super) table_fitted: &'a [Moved],
    /// What was made larger on the clone since its record was written.
    #[serde(skip_serializing_if = "<[Growth]>::is_empty")]
    pub(super) grown: &'a [Growth],
    /// Files with bytes in the differing extents, the first of them.
    pub(super) files: &'a [Owner],
    /// Why other files may have some too.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) files_unknown_because: &'a [String],
    /// Files with bytes that could not be read from the source.
    #[serde(skip_serializing_if = "is_none_hit")]
    pub(super) bad_files: &'a Owners,
    /// How the source was at rest when the clone was made, or for this comparison with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consistency: Option<Consistency>,
    /// Whether the source is mounted and was written to meanwhile.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_in_use: bool,
    /// Files with bytes that can't be read from the source now.
    #[serde(skip_serializing_if = "is_none_hit")]
    pub(super) unread_files: &'a Owners,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
const fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

fn is_none_hit(owners: &Owners) -> bool {
    owners.files.is_empty() && owners.gaps.is_empty()
}

pub(super) fn report(answer: &Answer<'_>, common: &Common) -> Result<()> {
    if common.json {
        return Ok(output::json(answer)?);
    }
    if !answer.summary.is_equal {
        return Ok(output::line(&different(answer))?);
    }
    if !common.quiet {
        output::line(&equal(answer))?;
    }
    let told = if common.quiet {
        untold(answer)
    } else {
        fitted(answer) + &untold(answer)
    };
    match told.is_empty() {
        true => Ok(()),
        false => Ok(output::line(&told)?),
    }
}

fn equal(answer: &Answer<'_>) -> String {
    let summary = answer.summary;
    format!(
        "{}: equal to {}, {} compared",
        summary.name,
        answer.with,
        human::size(summary.compared_bytes)
    )
}

/// What differs, and what klon knows of that.
fn different(answer: &Answer<'_>) -> String {
    let summary = answer.summary;
    let compared = human::size(summary.compared_bytes);
    let mut text = match summary.differences.is_empty() {
        false => format!(
            "{}: DIFFERENT from {}: {} of {compared} in {}\n",
            summary.name,
            answer.with,
            human::size(summary.differing_bytes),
            human::count(summary.differences.extents().len(), "extent"),
        ),
        // An image is damaged.
        true => format!(
            "{}: what can be compared is equal to {}, {compared} compared\n",
            summary.name, answer.with,
        ),
    };
    if let Some(first_bytes) = summary.first_difference_bytes {
        text.push_str(&format!("  first differing byte: {first_bytes}\n"));
    }
    text.push_str(&listing::extents("  ", &summary.differences));
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
    if let Some(grown) = grow::told(answer.grown) {
        text.push_str(&format!(
            "  {grown}. A larger filesystem has other structures than its source, so it differs there; that is no \
             damage. Its own check (fsck) tells whether it is sound, and `klon clone` makes it a clone again\n"
        ));
    }
    text.push_str(&fitted(answer));
    text.push_str(&untold(answer));
    text
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

/// What was not compared, or is not whole: bytes that were left out, that could not be read when the clone
/// or image was made, that an image is damaged in, and that can't be read now.
fn untold(answer: &Answer<'_>) -> String {
    let summary = answer.summary;
    let mut text = left_out(summary);
    if !answer.damaged.is_empty() {
        text.push_str(&format!(
            "{}: {} in {} can't be compared, because the image is damaged there. klon verify of the image alone \
             says more\n{}",
            summary.name,
            human::size(answer.damaged_bytes),
            human::count(answer.damaged.extents().len(), "extent"),
            listing::extents("  ", answer.damaged)
        ));
    }
    if !summary.bad.is_empty() {
        // A record has a digest of what stands there.
        let compared = match answer.against {
            "record" => "",
            _ => ", so klon can't compare it",
        };
        text.push_str(&format!(
            "{}: {} in {} could not be read from the source when it was {} ({}){compared}\n{}",
            summary.name,
            human::size(summary.bad_bytes),
            human::count(summary.bad.extents().len(), "extent"),
            answer.made,
            files_hit::stands_for_bad(&summary.bad_fill),
            files_hit::hit(answer.bad_files)
        ));
    }
    if !summary.unread.is_empty() {
        text.push_str(&format!(
            "{}: {} in {} can't be read from the source now, so they are not compared. klon verify \
             without a source compares them with the record\n{}",
            summary.name,
            human::size(summary.unread_bytes),
            human::count(summary.unread.extents().len(), "place"),
            files_hit::hit(answer.unread_files)
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

#[cfg(test)]
mod tests {
    use super::{Answer, different, equal, fitted, untold};
    use klon_imaging::VerifySummary;
    use klon_imaging::clone::FillTexts;
    use klon_partition::filesystem::{Owner, Owners};
    use klon_partition::table::{Moved, MovedField};
    use klon_partition::{Extent, ExtentMap};

    fn extents(len_bytes: u64) -> ExtentMap {
        ExtentMap::whole(len_bytes)
    }

    fn summary() -> VerifySummary {
        VerifySummary {
            name: "Boot".to_owned(),
            is_equal: true,
            compared_bytes: 3 << 20,
            left_out: ExtentMap::new(),
            differing_bytes: 0,
            differences: ExtentMap::new(),
            bad_bytes: 0,
            bad: ExtentMap::new(),
            bad_fill: FillTexts::default(),
            unread_bytes: 0,
            unread: ExtentMap::new(),
            first_difference_bytes: None,
            seconds: 0.0,
        }
    }

    /// Hands `told` the answer for a summary.
    fn said(summary: &VerifySummary, told: impl FnOnce(Answer<'_>) -> String) -> String {
        told(Answer {
            event: "verified",
            against: "record",
            with: "its record".to_owned(),
            made: "cloned",
            summary,
            damaged_bytes: 0,
            damaged: &ExtentMap::new(),
            table_fitted: &[],
            grown: &[],
            files: &[],
            files_unknown_because: &[],
            bad_files: &Owners::default(),
            consistency: None,
            is_in_use: false,
            unread_files: &Owners::default(),
        })
    }

    fn differing() -> VerifySummary {
        VerifySummary {
            is_equal: false,
            differing_bytes: 4096,
            differences: extents(4096),
            first_difference_bytes: Some(7),
            ..summary()
        }
    }

    #[test]
    fn an_equal_clone_is_told_in_one_line() {
        let text = said(&summary(), |answer| equal(&answer));
        assert_eq!(text, "Boot: equal to its record, 3 MiB compared");
        assert_eq!(
            said(&summary(), |answer| untold(&answer) + &fitted(&answer)),
            ""
        );
    }

    #[test]
    fn what_differs_is_told_with_its_place_and_its_files() {
        let file = Owner {
            path: "/etc/fstab".to_owned(),
            file_offset_bytes: 5,
            extent: Extent::new(0, 512).unwrap(),
            inline_sha256: None,
        };
        let gaps = ["a directory is damaged".to_owned()];
        let text = said(&differing(), |answer| {
            different(&Answer {
                files: std::slice::from_ref(&file),
                files_unknown_because: &gaps,
                ..answer
            })
        });
        assert!(text.starts_with(
            "Boot: DIFFERENT from its record: 4 KiB of 3 MiB in 1 extent\n  first differing byte: 7\n"
        ), "{text}");
        // A record knows chunks only.
        assert!(
            text.contains("  perhaps in /etc/fstab from byte 5\n"),
            "{text}"
        );
        assert!(
            text.contains("  more files may differ: a directory is damaged\n"),
            "{text}"
        );
    }

    #[test]
    fn a_source_shows_which_file_differs_for_sure() {
        let file = Owner {
            path: "/a".to_owned(),
            file_offset_bytes: 0,
            extent: Extent::new(0, 512).unwrap(),
            inline_sha256: None,
        };
        let text = said(&differing(), |answer| {
            different(&Answer {
                against: "source",
                files: std::slice::from_ref(&file),
                ..answer
            })
        });
        assert!(text.contains("\n  in /a from byte 0\n"), "{text}");
    }

    #[test]
    fn damage_of_an_image_is_no_difference() {
        let unequal = VerifySummary {
            is_equal: false,
            ..summary()
        };
        let text = said(&unequal, |answer| {
            different(&Answer {
                damaged_bytes: 4096,
                damaged: &extents(4096),
                ..answer
            })
        });
        assert!(
            text.starts_with("Boot: what can be compared is equal to its record"),
            "{text}"
        );
        assert!(
            text.contains("Boot: 4 KiB in 1 extent can't be compared"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_compared_is_told_of_an_equal_clone_as_well() {
        let partly = VerifySummary {
            left_out: extents(4096),
            bad_bytes: 1024,
            bad: extents(1024),
            unread_bytes: 2048,
            unread: extents(2048),
            ..summary()
        };
        let by_record = said(&partly, |answer| untold(&answer));
        assert!(by_record.contains("4 KiB that no one proved free were left out by choice"));
        assert!(
            by_record
                .contains("1 KiB in 1 extent could not be read from the source when it was cloned")
        );
        assert!(by_record.contains("2 KiB in 1 place can't be read from the source now"));
        // A record has a digest of what stands in place of bad bytes; a source has nothing to compare.
        assert!(!by_record.contains("so klon can't compare it"));
        let by_source = said(&partly, |answer| {
            untold(&Answer {
                against: "source",
                ..answer
            })
        });
        assert!(by_source.contains("so klon can't compare it"));
    }

    #[test]
    fn a_table_that_fits_its_own_disk_is_told() {
        let moved = [Moved {
            field: MovedField::BackupLba,
            source: 99,
            target: 199,
        }];
        let text = said(&summary(), |answer| {
            fitted(&Answer {
                table_fitted: &moved,
                ..answer
            })
        });
        assert!(
            text.starts_with("Boot: its partition table fits its own size: "),
            "{text}"
        );
        assert!(text.contains("99") && text.contains("199"), "{text}");
    }
}
