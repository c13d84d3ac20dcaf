//! `klon list`: the snapshots of an image.

use crate::cli::{Common, ListArgs};
use crate::human;
use crate::image::ImageName;
use crate::messages::say;
use crate::output;
use crate::zone::Zone;
use anyhow::Result;
use klon_imaging::image::{CatalogEntry, Image};
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
    added_bytes: u64,
    manifest_sha256: String,
}

/// Lists the snapshots of an image.
pub fn run(args: &ListArgs, common: &Common) -> Result<ExitCode> {
    let name = ImageName::parse(&args.image)?;
    let image = name.open()?;
    warn(&image);
    let snapshots = &image.catalog().snapshots;
    if common.json {
        for entry in snapshots {
            output::json(&Line {
                snapshot: entry.number,
                ended_unix_seconds: entry.ended_unix_seconds,
                given_name: entry.given_name.as_deref(),
                note: entry.note.as_deref(),
                source: &entry.source,
                source_bytes: entry.source_bytes,
                used_bytes: entry.used_bytes,
                left_out_bytes: LeftOut::of(&image, entry)?.known(),
                added_bytes: entry.added_bytes,
                manifest_sha256: entry.manifest.sha256.into(),
            })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let zone = Zone::of(args.zone);
    let mut text = String::new();
    for entry in snapshots {
        let left_out = LeftOut::of(&image, entry)?;
        text.push_str(&line(entry, &left_out, &zone));
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

/// What a snapshot leaves out of what no one proved free. Its manifest says so.
enum LeftOut {
    Nothing,
    ByChoice { choice: Outside, bytes: u64 },
    Unreadable,
}

impl LeftOut {
    fn of(image: &Image, entry: &CatalogEntry) -> Result<Self> {
        let snapshot = match image.snapshot(Some(entry.number)) {
            Err(klon_partition::Error::Corrupt(_)) => return Ok(Self::Unreadable),
            snapshot => snapshot?,
        };
        Ok(match snapshot.manifest().left_out.total_bytes() {
            0 => Self::Nothing,
            bytes => Self::ByChoice {
                choice: snapshot.meta().outside,
                bytes,
            },
        })
    }

    const fn known(&self) -> Option<u64> {
        match self {
            Self::ByChoice { bytes, .. } => Some(*bytes),
            Self::Nothing | Self::Unreadable => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::ByChoice { choice, bytes } => {
                let size = human::size(*bytes);
                format!("  {size} left out (--outside {choice})")
            }
            Self::Unreadable => "  damaged (klon verify says more)".to_owned(),
        }
    }
}

/// Says what is not as it should be at the end of an image.
pub fn warn(image: &Image) {
    if let Some(damage) = image.header_damage() {
        say(&format!(
            "klon: warning: the image's header is damaged ({damage}). The image can be read, but not added to. \
             klon prune --compact makes a sound image of it"
        ));
    }
    let tail = image.tail();
    if let Some(damage) = &tail.damage {
        say(&format!(
            "klon: warning: the image's last commit can't be read ({damage}). An earlier state of \
             the image is shown"
        ));
    }
    let torn_bytes = image.size_bytes().saturating_sub(tail.end);
    if torn_bytes > 0 && tail.damage.is_none() {
        say(&format!(
            "klon: an interrupted run left {} behind the last snapshot; the next `klon image` goes \
             on from there",
            human::size(torn_bytes)
        ));
    }
}

fn line(entry: &CatalogEntry, left_out: &LeftOut, zone: &Zone) -> String {
    let (name, note) = (entry.given_name.as_ref(), entry.note.as_ref());
    format!(
        "{:>4}  {}  {} of {} used, {} added  {}{}{}{}\n",
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
        left_out.text(),
    )
}
