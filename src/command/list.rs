//! `klon list`: the snapshots of an image.

use crate::cli::{Common, ListArgs};
use crate::human;
use crate::image::{ImageName, at_rest, state};
use crate::output;
use crate::zone::Zone;
use anyhow::Result;
use klon_imaging::Consistency;
use klon_imaging::image::{CatalogEntry, Image, PartitionRest};
use klon_partition::Outside;
use klon_partition::text::quoted;
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

/// One snapshot as JSON.
#[derive(Serialize)]
struct Line<'a> {
    snapshot: u64,
    ended_unix_seconds: u64,
    given_name: Option<&'a str>,
    note: Option<&'a str>,
    source: &'a klon_partition::Identity,
    source_bytes: u64,
    used_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bad_bytes: Option<u64>,
    consistency: Consistency,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    partitions: &'a [PartitionRest],
    added_bytes: u64,
    manifest_sha256: String,
}

/// Lists the snapshots of an image.
///
/// # Errors
/// When the catalog of the image can't be read.
pub fn run(args: &ListArgs, common: &Common) -> Result<ExitCode> {
    let name = ImageName::parse(&args.image)?;
    let image = name.open()?;
    state::warn(&image);
    let snapshots = &image.catalog().snapshots;
    if common.json {
        for entry in snapshots {
            let lacks = Lacks::of(&image, entry)?;
            output::json(&Line {
                snapshot: entry.number,
                ended_unix_seconds: entry.ended_unix_seconds,
                given_name: entry.given_name.as_deref(),
                note: entry.note.as_deref(),
                source: &entry.source,
                source_bytes: entry.source_bytes,
                used_bytes: entry.used_bytes,
                left_out_bytes: lacks.left_out_bytes(),
                bad_bytes: lacks.bad_bytes(),
                consistency: entry.consistency,
                partitions: &entry.partitions,
                added_bytes: entry.added_bytes,
                manifest_sha256: entry.manifest.sha256.into(),
            })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let zone = Zone::of(args.zone);
    let mut text = String::new();
    for entry in snapshots {
        let lacks = Lacks::of(&image, entry)?;
        text.push_str(&line(entry, &lacks, &zone));
    }
    if snapshots.is_empty() {
        text.push_str("no complete snapshot\n");
    }
    let size_bytes = image.size_bytes();
    text.push_str(&format!("image: {}", human::size(size_bytes)));
    let allocated_bytes = allocated_bytes(&name)?;
    // A file without holes takes up to a block more.
    if allocated_bytes < size_bytes {
        let allocated = human::size(allocated_bytes);
        text.push_str(&format!(" ({allocated} on the disk)"));
    }
    text.push('\n');
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What the file or its parts take on the disk they are on, holes left out.
fn allocated_bytes(name: &ImageName) -> Result<u64> {
    let files = name.files()?;
    let blocks = files.paths().map(|path| Ok(path.metadata()?.blocks()));
    let blocks: u64 = blocks.sum::<std::io::Result<_>>()?;
    Ok(blocks.saturating_mul(512))
}

/// What a snapshot lacks of its source.
enum Lacks {
    /// Known from the catalog, or from the manifest where the catalog is older than klon's noting it there.
    Known {
        left_out_bytes: u64,
        choice: Outside,
        bad_bytes: u64,
    },
    Unreadable,
}

impl Lacks {
    fn of(image: &Image, entry: &CatalogEntry) -> Result<Self> {
        if let (Some(left_out_bytes), Some(bad_bytes)) = (entry.left_out_bytes, entry.bad_bytes) {
            return Ok(Self::Known {
                left_out_bytes,
                choice: entry.outside,
                bad_bytes,
            });
        }
        let snapshot = match image.snapshot(Some(entry.number)) {
            Err(klon_partition::Error::Corrupt(_)) => return Ok(Self::Unreadable),
            snapshot => snapshot?,
        };
        let manifest = snapshot.manifest();
        Ok(Self::Known {
            left_out_bytes: manifest.left_out.total_bytes(),
            choice: manifest.meta.outside,
            bad_bytes: manifest.bad.total_bytes(),
        })
    }

    fn left_out_bytes(&self) -> Option<u64> {
        match self {
            Self::Known { left_out_bytes, .. } => Some(*left_out_bytes).filter(|&bytes| bytes > 0),
            Self::Unreadable => None,
        }
    }

    fn bad_bytes(&self) -> Option<u64> {
        match self {
            Self::Known { bad_bytes, .. } => Some(*bad_bytes).filter(|&bytes| bytes > 0),
            Self::Unreadable => None,
        }
    }

    fn text(&self) -> String {
        let Self::Known { choice, .. } = self else {
            return "  damaged (klon verify says more)".to_owned();
        };
        let mut text = String::new();
        if let Some(bytes) = self.left_out_bytes() {
            let size = human::size(bytes);
            text.push_str(&format!("  {size} left out (--outside {choice})"));
        }
        if let Some(bytes) = self.bad_bytes() {
            text.push_str(&format!("  {} could not be read", human::size(bytes)));
        }
        text
    }
}

fn line(entry: &CatalogEntry, lacks: &Lacks, zone: &Zone) -> String {
    let (name, note) = (entry.given_name.as_ref(), entry.note.as_ref());
    format!(
        "{:>4}  {}  {} of {} used, {} added  {}{}{}{}{}\n",
        entry.number,
        zone.date(entry.ended_unix_seconds),
        human::size(entry.used_bytes),
        human::size(entry.source_bytes),
        human::size(entry.added_bytes),
        entry.source,
        name.map(|name| format!("  name {}", quoted(name)))
            .unwrap_or_default(),
        note.map(|note| format!("  {}", quoted(note)))
            .unwrap_or_default(),
        at_rest::told(entry.consistency, &entry.partitions)
            .map(|told| format!("  {told}"))
            .unwrap_or_default(),
        lacks.text(),
    )
}
