//! What klon says of a damaged image that it restores.

use crate::cli::Common;
use crate::error::Advice;
use crate::files_hit;
use crate::human;
use crate::listing;
use crate::output;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::CloneSummary;
use klon_imaging::Error as ImagingError;
use klon_imaging::image::Snapshot;
use klon_partition::device::KnownBad;
use klon_partition::filesystem::{Owner, Owners};
use klon_partition::{Error, Extent, ExtentMap};
use serde::Serialize;

/// What was not restored of one volume or disk.
#[derive(Serialize)]
struct Damaged<'a> {
    event: &'static str,
    name: &'a str,
    image: &'a str,
    snapshot: u64,
    bad_bytes: u64,
    bad: &'a ExtentMap,
    /// The damaged extents of each partition of a disk. Offsets count from the partition's start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<DamagedPartition>,
    files: &'a [Owner],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    files_unknown_because: &'a [String],
}

#[derive(Serialize)]
struct DamagedPartition {
    number: u32,
    extents: ExtentMap,
}

/// Says what was not restored of the volume `name` of a source, and whose that is.
///
/// # Errors
/// When standard output can't be written.
pub fn report(
    name: &str,
    source: &SourceEnd,
    summary: &CloneSummary,
    common: &Common,
) -> Result<()> {
    let bad = &summary.bad.difference(&source.lost_before.extents);
    let (Some(snapshot), false) = (&source.snapshot, bad.is_empty()) else {
        return Ok(());
    };
    let owners = owners(source, snapshot, bad);
    let damaged = Damaged {
        event: "damaged",
        name,
        image: &source.name,
        snapshot: snapshot.number(),
        bad_bytes: bad.total_bytes(),
        bad,
        partitions: partitions(source, snapshot, bad),
        files: &owners.files,
        files_unknown_because: &owners.gaps,
    };
    if common.json {
        Ok(output::json(&damaged)?)
    } else {
        Ok(output::line(&text(&damaged, &owners))?)
    }
}

/// The partitions of a snapshot of a disk, when all of it is restored.
fn disk_partitions(source: &SourceEnd, snapshot: &Snapshot) -> Option<Vec<(u32, Extent)>> {
    let partitions = &snapshot.meta().partitions;
    let is_disk = !partitions.is_empty() && source.start_bytes == 0;
    is_disk.then(|| {
        let partitions = partitions.iter();
        partitions.map(|part| (part.number, part.extent)).collect()
    })
}

fn partitions(source: &SourceEnd, snapshot: &Snapshot, bad: &ExtentMap) -> Vec<DamagedPartition> {
    if let Some(all) = disk_partitions(source, snapshot) {
        let of = |(number, extent): (u32, Extent)| {
            let extents = bad.in_part(extent);
            (!extents.is_empty()).then_some(DamagedPartition { number, extents })
        };
        return all.into_iter().filter_map(of).collect();
    }
    let mut all = snapshot.meta().partitions.iter();
    let found = all.find(|part| part.extent.offset_bytes() == source.start_bytes);
    let one = found.map(|part| DamagedPartition {
        number: part.number,
        extents: bad.clone(),
    });
    one.into_iter().collect()
}

/// The files with bytes in what is damaged.
fn owners(source: &SourceEnd, snapshot: &Snapshot, bad: &ExtentMap) -> Owners {
    let known = KnownBad::new(&*source.device, bad.clone());
    files_hit::owners_in(&known, disk_partitions(source, snapshot).as_deref(), bad)
}

fn text(damaged: &Damaged<'_>, owners: &Owners) -> String {
    let mut text = format!(
        "{}: restored, except {} in {} damaged in {} (now zeroes)\n",
        damaged.name,
        human::size(damaged.bad_bytes),
        human::count(damaged.bad.extents().len(), "place"),
        damaged.image,
    );
    let mut name = |of: &str, map: &ExtentMap| {
        let start = format!("  snapshot {}, {of}", damaged.snapshot);
        text.push_str(&listing::extents(&start, map));
    };
    for part in &damaged.partitions {
        name(&format!("partition {}, ", part.number), &part.extents);
    }
    let told: u64 = (damaged.partitions.iter())
        .map(|part| part.extents.total_bytes())
        .sum();
    if damaged.partitions.is_empty() {
        name("", damaged.bad);
    } else if told < damaged.bad_bytes {
        let rest_bytes = damaged.bad_bytes - told;
        text.push_str(&format!(
            "  {} of it in no partition\n",
            human::size(rest_bytes)
        ));
    }
    text.push_str(&files_hit::hit(owners));
    text
}

/// Adds to the error of an image that could not be opened how to go on.
pub fn hinted(error: anyhow::Error, is_skipping: bool) -> anyhow::Error {
    match error.downcast_ref() {
        Some(Error::Corrupt(_)) if !is_skipping => error.context(Advice(ADVICE.to_owned())),
        _ => error,
    }
}

const ADVICE: &str = "If the image is damaged, klon verify IMAGE names all the damage, and klon \
    restore --skip-damaged restores the rest";

/// Adds to the error of a restore that met damage what to do.
pub fn explained(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(ImagingError::Source(Error::Corrupt(_))) => error.context(
            "the image is damaged. klon verify names all the damage, and klon restore \
             --skip-damaged restores the rest",
        ),
        Some(ImagingError::Source(Error::Io { .. })) => error.context(
            "the disk can't read the image file there. Copy the file to another disk with GNU \
             ddrescue, and restore from the copy, with --skip-damaged if the copy has gaps",
        ),
        _ => error,
    }
}
