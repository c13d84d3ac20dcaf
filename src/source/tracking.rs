//! What someone else tells of a source: a file that lists what changed, or a bitmap of a server.

use super::SourceEnd;
use crate::error::{refused, usage};
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::still::ways::Ways;
use anyhow::{Context as _, Result};
use klon_imaging::change::ranges::{self, ChangeList};
use klon_imaging::change::{Bitmap, Since, Tracked};
use klon_imaging::foreign::NbdDisk;
use klon_partition::system::System;
use klon_partition::text::quoted;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Shown as _};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A longer list is refused: all of it is in memory.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// What the user names.
pub enum Asked {
    /// A file that lists what changed, and since when, where the user says so.
    List(PathBuf, Option<Since>),
    /// A bitmap of the server that shows the source.
    Bitmap(String),
}

/// What is told of a source.
pub struct Tracking {
    /// What the library believes or not.
    pub tracked: Tracked,
    /// The server that can be asked again, and which part of its disk is meant.
    server: Option<(Arc<NbdDisk>, Extent)>,
}

/// Opens a source with what is told of it. The server is asked after the source was looked at: what is
/// written before that is in its bitmap, and what is written later is found before the commit.
///
/// # Errors
/// As [`SourceEnd::open`]; [`usage`] for a list that can't be understood, or a bitmap of what is on no server.
pub fn open(
    asked: &Asked,
    place: &Place,
    ways: &Ways,
    system: &System,
    target: Option<Geometry>,
) -> Result<(SourceEnd, Tracking)> {
    match asked {
        Asked::List(path, since) => {
            let open = ways.claim(place, system)?;
            if open.rested.is_some() {
                return Err(refused(format!(
                    "klon has just made a snapshot of {}, which is mounted, and the list of what changed ends \
                     with an earlier one: what was written in between is in neither. Name the snapshot with \
                     which the list ends, as the source",
                    place.given
                )));
            }
            let source = SourceEnd::of(&open, system, target)?;
            let tracked = listed(path, *since, &open).with_context(|| path.shown())?;
            let server = None;
            Ok((source, Tracking { tracked, server }))
        }
        Asked::Bitmap(name) => {
            let (open, disk) = place.claim_with_bitmap(name)?;
            let mut source = SourceEnd::of(&open, system, target)?;
            let size_bytes = open.device.geometry().size_bytes;
            let part = Extent::new(open.start_bytes(), size_bytes);
            let part = part.with_context(|| format!("{} is empty", place.given))?;
            let changed = changed(&disk, part).with_context(|| place.given.clone())?;
            let Some(changed) = changed else {
                let reason = format!("the server shows no bitmap {} of this export", quoted(name));
                source.warnings.push(format!(
                    "{}: {reason}, so neither this run nor the next can go by it",
                    place.given
                ));
                let (tracked, server) = (Tracked::Missing(reason), None);
                return Ok((source, Tracking { tracked, server }));
            };
            let bitmap = Bitmap {
                export: place.path.shown(),
                name: name.clone(),
            };
            let tracked = Tracked::Bitmap { changed, bitmap };
            let server = Some((disk, part));
            Ok((source, Tracking { tracked, server }))
        }
    }
}

/// What the bitmap has of a part of the disk, as offsets in that part; `None` without a bitmap.
fn changed(disk: &NbdDisk, part: Extent) -> klon_partition::Result<Option<ExtentMap>> {
    let changed = disk.changed(part)?;
    Ok(changed.map(|changed| changed.in_part(part)))
}

/// What a file lists.
fn listed(path: &Path, since: Option<Since>, open: &OpenPlace) -> Result<Tracked> {
    let mut text = String::new();
    let file = File::open(path)?;
    let read_bytes = file.take(LIST_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read_bytes as u64 > LIST_BYTES_MAX {
        return Err(usage(format!(
            "a list of changed ranges may be {} MiB long at most",
            LIST_BYTES_MAX >> 20
        )));
    }
    let list = ranges::changed(&text, open.device.geometry().size_bytes)?;
    let ChangeList {
        changed,
        since: own,
    } = list;
    let own = own.map(Since::Run);
    if let (Some(own), Some(said)) = (own, since)
        && own != said
    {
        return Err(usage(
            "the list says with which run it begins, and that is not what --changed-since says",
        ));
    }
    let since = own.or(since).unwrap_or(Since::Unsaid);
    Ok(Tracked::List { changed, since })
}

impl Tracking {
    /// What was written to the source since it was opened, by the server's bitmap; `None` for nothing.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        let (Some((disk, part)), Tracked::Bitmap { changed, bitmap }) =
            (&self.server, &self.tracked)
        else {
            return Ok(None);
        };
        let now = self::changed(disk, *part)?;
        let is_same = now.as_ref() == Some(changed);
        let name = quoted(&bitmap.name);
        Ok((!is_same).then(|| format!("the bitmap {name} of its server is not what it was")))
    }
}
