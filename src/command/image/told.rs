//! What klon says of a snapshot that was added to an image, or could not be.

use super::{Asked, is_stream};
use crate::advice;
use crate::cli::Common;
use crate::error::{Advice, faster};
use crate::explain;
use crate::human;
use crate::image::{ImageName, Left, OpenForAppend, at_rest};
use crate::messages::say;
use crate::output;
use crate::outside;
use crate::report::frozen;
use crate::run::rescue as rescue_run;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::image::{CaptureSummary, ImageFiles};
use klon_partition::Shown;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Gives up an image, and adds to the error what is left of it, where a bad sector is, and what helps.
pub(super) fn failed(
    error: anyhow::Error,
    image: OpenForAppend,
    source: &SourceEnd,
    asked: Asked<'_>,
) -> anyhow::Error {
    // What could never become a whole file is of no use, nor is what has hardly begun.
    let left = image.give_up(!advice::is_final(&error));
    let error = if source.snapshot.is_none() && asked.args.rescue.is_none() {
        rescue_run::at_bad_sector(error, source, rescue_run::IMAGE)
    } else {
        error
    };
    advised(error, left, &asked.name.path).context(format!("imaging {}", source.name))
}

/// Adds to an error what is left of the image, and what helps.
pub(in crate::command) fn advised(error: anyhow::Error, left: Left, image: &Path) -> anyhow::Error {
    let shown = image.shown();
    let number = advice::reason(&error);
    let split = "use --split 4G, which keeps a new image in parts of that size";
    let helps = number.and_then(|number| advice::about(number, image, split));
    let told = match (left, helps) {
        (_, None) if shown.clone() == "-" => return error,
        (_, Some(helps)) if shown.clone() == "-" => helps,
        (Left::Earlier, Some(helps)) => format!(
            "No snapshot was added. The snapshots that {shown} had are as they were. {helps}. The same \
             command does not write again what is in the file already"
        ),
        (Left::Earlier, None) => format!(
            "No snapshot was added. The snapshots that {shown} had are as they were. Run the same \
             command again; it does not write again what is in the file already"
        ),
        (Left::Some(bytes), helps) => format!(
            "No snapshot was added. {}{} of this one are in {shown} already, and the same command does \
             not write them again. If you don't want the image, remove {}",
            helps.map(|helps| helps + ". ").unwrap_or_default(),
            human::size(bytes),
            files_of(image)
        ),
        (Left::Nothing, Some(helps)) => format!("There is no new image {shown}. {helps}"),
        (Left::Nothing, None) => format!("There is no new image {shown}"),
    };
    error.context(Advice(told))
}

/// The file that an image is kept in, or its parts.
fn files_of(image: &Path) -> String {
    let files = ImageFiles::find(image);
    let paths = files.map_or_else(
        |_| vec![image.to_owned()],
        |files| files.paths().map(Path::to_owned).collect(),
    );
    match &paths[..] {
        [first, .., last] => format!("{} to {}", first.shown(), last.shown()),
        _ => paths
            .first()
            .map_or_else(|| image.shown(), |path| path.shown()),
    }
}

/// What `klon image --json` prints last.
#[derive(Serialize)]
struct Imaged<'a> {
    event: &'static str,
    image: &'a str,
    #[serde(flatten)]
    summary: &'a CaptureSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// A snapshot was added.
pub(in crate::command) fn report(
    summary: &CaptureSummary,
    name: &ImageName,
    common: &Common,
) -> Result<()> {
    let image = name.path.shown();
    if common.json {
        return Ok(output::json(&Imaged {
            event: "imaged",
            image: &image,
            summary,
            remedy: summary.metadata.remedy.and_then(faster),
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    let duration = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
    let skipped = match summary.metadata.skipped_bytes {
        0 => String::new(),
        bytes => format!(" ({} proven unchanged)", human::size(bytes)),
    };
    let line = format!(
        "{image}@{}: {} used{skipped}, {} changed, {} added to {}{}{}, {}",
        summary.snapshot,
        human::size(summary.used_bytes),
        human::size(summary.changed_bytes),
        human::size(summary.added_bytes),
        human::size(summary.image_bytes),
        outside::summed(&summary.left_out),
        frozen(&summary.rest),
        human::duration(duration),
    );
    if is_stream(name) {
        say(&line);
        return Ok(());
    }
    output::line(&line)?;
    let told = at_rest::told(summary.rest.consistency, &summary.partitions);
    if let Some(told) = told.filter(|_| !summary.partitions.is_empty()) {
        output::line(&format!("  {told}"))?;
    }
    for line in explain::hints(&summary.metadata) {
        output::line(&format!("  {line}"))?;
    }
    Ok(())
}
