//! What klon says of a file that it made.

use super::Request;
use crate::cli::{Common, FormatArg};
use crate::human;
use crate::messages::say;
use crate::output;
use anyhow::Result;
use klon_imaging::image::Damage;
use klon_imaging::image::export::Exported;
use klon_partition::ExtentMap;
use klon_partition::Shown;
use serde::Serialize;
use std::time::Instant;

/// Damages that are told in full.
const REASONS_MAX: usize = 10;

/// Says where zeroes stand for what is damaged, and why.
pub(super) fn damage(damage: &Damage) {
    for reason in damage.reasons.iter().take(REASONS_MAX) {
        say(&format!("klon: damaged: {reason}"));
    }
    for part in damage.extents.iter() {
        say(&format!(
            "klon: zeroes in place of damaged bytes: {:#x} to {:#x} ({})",
            part.offset_bytes(),
            part.end_bytes() - 1,
            human::size(part.len_bytes())
        ));
    }
}

/// What `--json` prints last.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    image: &'a str,
    output: String,
    format: &'static str,
    #[serde(flatten)]
    done: &'a Exported,
    damaged: &'a ExtentMap,
    file_bytes: u64,
    allocated_bytes: u64,
    seconds: f64,
}

/// Says what was made.
pub(super) fn report(
    image: &str,
    request: &Request<'_>,
    (done, damage): (&Exported, &Damage),
    started: Instant,
    common: &Common,
) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(request.output)?;
    let (file_bytes, allocated_bytes) = (file.len(), file.blocks().saturating_mul(512));
    let output = request.output.shown();
    if common.json {
        return Ok(output::json(&Line {
            event: request.words.event,
            image,
            output,
            format: match request.format {
                FormatArg::Raw => "raw",
                FormatArg::Qcow2 => "qcow2",
                FormatArg::Bmap => "bmap",
            },
            done,
            damaged: &damage.extents,
            file_bytes,
            allocated_bytes,
            seconds: started.elapsed().as_secs_f64(),
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    Ok(output::line(&format!(
        "{output}: {} of {image} read and checked, a file of {} ({} on the disk), {}",
        human::size(done.read_bytes),
        human::size(file_bytes),
        human::size(allocated_bytes),
        human::duration(started.elapsed()),
    ))?)
}
