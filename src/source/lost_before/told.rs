//! How klon says what was lost before.

use crate::files_hit::{self, stands_for_bad};
use crate::human;
use crate::messages::say;
use crate::output;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::clone::FillTexts;
use klon_partition::ExtentMap;
use klon_partition::filesystem::Owner;
use serde::Serialize;

/// Where it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// As an object on standard output.
    Json,
    /// For people on standard output.
    Text,
    /// On standard error, because standard output carries the image.
    Messages,
}

impl Out {
    /// As the user asked for.
    pub const fn of(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Text }
    }
}

/// What was lost before, and is so in what was made of a source.
#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    name: &'a str,
    source: &'a str,
    bad_bytes: u64,
    bad: &'a ExtentMap,
    #[serde(flatten)]
    bad_fill: &'a FillTexts,
    files: &'a [Owner],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    files_unknown_because: &'a [String],
}

/// Tells which `bad` bytes the source had lost before, and which files have them. `name` is what was made of
/// the source.
///
/// # Errors
/// When standard output can't be written.
pub fn report(name: &str, source: &SourceEnd, bad: &ExtentMap, out: Out) -> Result<()> {
    let bad = bad.intersection(&source.lost_before.extents);
    if bad.is_empty() {
        return Ok(());
    }
    let owners = files_hit::files(&*source.device, source.table.as_ref(), &bad);
    let bad_fill = &source.lost_before.texts;
    let told = Told {
        event: "lost_before",
        name,
        source: &source.name,
        bad_bytes: bad.total_bytes(),
        bad: &bad,
        bad_fill,
        files: &owners.files,
        files_unknown_because: &owners.gaps,
    };
    let text = || {
        format!(
            "{name}: complete, except {} in {} that {} lacks, too ({})\n{}",
            human::size(told.bad_bytes),
            human::count(bad.extents().len(), "place"),
            source.name,
            stands_for_bad(bad_fill),
            files_hit::hit(&owners)
        )
    };
    match out {
        Out::Json => output::json(&told)?,
        Out::Text => output::line(&text())?,
        // Standard output is the image itself.
        Out::Messages => say(text().trim_end()),
    }
    Ok(())
}
