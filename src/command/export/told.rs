//! What klon says of a file that it made.

use super::Request;
use super::exported::Exported as Source;
use crate::cli::{Common, FormatArg};
use crate::files_hit;
use crate::human;
use crate::messages::say;
use crate::output;
use anyhow::Result;
use klon_imaging::image::export::Exported;
use klon_imaging::image::{Damage, Snapshot, VolumeKind};
use klon_partition::device::KnownBad;
use klon_partition::{Extent, ExtentMap, Shown};
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
            "klon: {} that are damaged are zeroes in the output: bytes {} to {}",
            human::size(part.len_bytes()),
            part.offset_bytes(),
            part.end_bytes().saturating_sub(1)
        ));
    }
}

/// Warns of what was lost before.
pub(super) fn bad(name: &str, bad: &ExtentMap) {
    if !bad.is_empty() {
        say(&format!(
            "klon: warning: {name}: {} could not be read when it was imaged (now zeroes)",
            human::size(bad.total_bytes())
        ));
    }
}

/// Names the files that have what was lost before, of a snapshot or of its partition `number`.
pub(super) fn files(snapshot: &Snapshot, number: Option<u32>, part: &Source) {
    if part.bad.is_empty() {
        return;
    }
    let meta = snapshot.meta();
    let is_disk = meta.kind == VolumeKind::Disk && number.is_none();
    let partitions: Option<Vec<(u32, Extent)>> = is_disk.then(|| {
        let partitions = meta.partitions.iter();
        partitions.map(|it| (it.number, it.extent)).collect()
    });
    let known = KnownBad::new(&*part.device, part.bad.clone());
    let owners = files_hit::owners_in(&known, partitions.as_deref(), &part.bad);
    say(files_hit::hit(&owners).trim_end());
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
    bad: &'a ExtentMap,
    file_bytes: u64,
    allocated_bytes: u64,
    seconds: f64,
}

/// The file that was made.
pub(super) struct Made<'a> {
    pub(super) image: &'a str,
    pub(super) done: &'a Exported,
    pub(super) damage: &'a Damage,
    /// Bytes that could not be read from the source of the image.
    pub(super) bad: &'a ExtentMap,
    pub(super) started: Instant,
}

/// Says what was made.
pub(super) fn report(made: &Made<'_>, request: &Request<'_>, common: &Common) -> Result<()> {
    let Made {
        image,
        done,
        damage,
        bad,
        started,
    } = *made;
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
            bad,
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
