//! What would grow, and how far, before anyone is asked.

use super::tool::{self, Tool, why_not};
use crate::error::{refused, usage};
use crate::guard;
use crate::human;
use crate::inventory::twin;
use crate::named::Place;
use crate::named::identity::{identity_of, partition_identity};
use crate::named::open::OpenPlace;
use anyhow::{Context as _, Result};
use klon_imaging::mark::Mark;
use klon_partition::device::{Source, Window, is_blank, look_at};
use klon_partition::filesystem::{Kind, Summary};
use klon_partition::inspect::{DiskLayout, GrownTable, Volume, grown};
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::{Extent, Identity, ReadAt, Shown};
use std::path::PathBuf;

/// Less than this is not worth a word: filesystems end in whole units of theirs.
const SLACK_BYTES: u64 = 1 << 20;

/// What can be done about a target.
pub enum Outlook {
    /// Something can grow.
    Grows(Box<Growing>),
    /// Nothing can, and why; the volume that has all the room, where it is that.
    Full(String, Option<Box<Growing>>),
}

/// A volume that can become larger.
pub struct Growing {
    /// As the user named the target.
    pub given: String,
    /// The disk or file, and what is on it.
    pub disk: PathBuf,
    pub(super) layout: DiskLayout,
    /// The partition; `None` for a volume that is all of the disk or file.
    pub partition: Option<Partition>,
    /// How the volume is recognized.
    pub identity: Identity,
    /// How the whole disk or file is.
    pub disk_identity: Identity,
    /// What is in it.
    pub kind: Kind,
    /// Where the volume lies now.
    pub extent: Extent,
    /// Where its filesystem ends.
    pub filesystem_bytes: u64,
    /// The table with the larger partition; `None` when the partition stays as it is.
    pub table: Option<GrownTable>,
    /// Whether there is data of no partition where it grows.
    pub takes_data: bool,
}

impl Growing {
    /// How large the volume will be.
    pub fn to_bytes(&self) -> u64 {
        let grown = self.table.as_ref().map(|table| table.extent);
        grown.unwrap_or(self.extent).len_bytes()
    }

    /// What would be done, in lines.
    pub fn described(&self) -> String {
        let mut text = match &self.partition {
            Some(partition) => format!("  {}, partition {}", self.given, partition.number),
            None => format!("  {}", self.given),
        };
        if let Some(table) = &self.table {
            text.push_str(&format!(
                "\n    the partition grows from {} to {}",
                human::size(self.extent.len_bytes()),
                human::size(self.to_bytes())
            ));
            if self.takes_data {
                text.push_str(&format!(
                    ", over data in no partition in the {} behind it",
                    human::size(table.gained.len_bytes())
                ));
            }
        }
        let tools = tool::named(self.kind);
        text.push_str(&format!(
            "\n    the {} in it grows from {} to that, by {}",
            self.kind,
            human::size(self.filesystem_bytes),
            tools
        ));
        text
    }
}

/// The disk or file of a target, and the volume of it that is meant.
struct Meant {
    given: String,
    disk: PathBuf,
    layout: DiskLayout,
    partition: Option<Partition>,
}

impl Meant {
    fn of(open: OpenPlace, system: &System) -> Result<Self> {
        let given = open.place.given.clone();
        if open.partition.is_none()
            && let Some(parent) = open.parent(system)?
        {
            let partition = parent.partition.clone().ok_or_else(|| {
                refused(format!(
                    "{given} is not in the partition table of {}: the kernel knows an older one. Detach and \
                     attach the disk",
                    parent.path.shown()
                ))
            })?;
            let layout = parent.layout.clone();
            return Ok(Self {
                given,
                disk: parent.path.clone(),
                layout,
                partition: Some(partition),
            });
        }
        Ok(Self {
            given,
            disk: open.place.path,
            layout: open.layout,
            partition: open.partition,
        })
    }

    fn volume(&self) -> Option<&Volume> {
        let mut volumes = self.layout.volumes.iter();
        volumes.find(|volume| match &self.partition {
            Some(partition) => volume.extent == partition.extent,
            None => volume.partition.is_none(),
        })
    }
}

/// Finds what grows on a target, and how far.
///
/// # Errors
/// When the target is in use, unfinished, or of a kind that klon does not grow; when a tool is missing.
pub fn look(place: Place, system: &System) -> Result<Outlook> {
    place.refuse_export("can't be a target")?;
    if place.image.is_some() {
        return Err(refused(format!(
            "{} is a klon image with snapshots",
            place.given
        )));
    }
    guard::unused(system, &place.path)?;
    let open = place.into_raw().open()?;
    guard::beside_others(&open)?;
    let meant = Meant::of(open, system)?;
    if let Some(why) = meant.layout.doubt() {
        return Err(refused(format!(
            "the partition table of {} can't be relied on: {why}. Mend it first (sgdisk, sfdisk or testdisk)",
            meant.given
        )));
    }
    let disk = look_at(&meant.disk)?;
    refuse_unfinished(&meant, &disk)?;
    if meant.partition.is_some() || meant.layout.table.is_none() {
        return one(meant, &disk, system);
    }
    let mut found = Vec::new();
    let mut reasons = Vec::new();
    let table = meant.layout.table.clone();
    for partition in table.iter().flat_map(|table| &table.partitions) {
        let volume = meant
            .layout
            .volumes
            .iter()
            .find(|it| it.extent == partition.extent);
        let kind = volume
            .and_then(|it| it.filesystem.as_ref())
            .map(|it| it.kind);
        if partition.partition_type.is_extended() || why_not(kind).is_some() {
            continue;
        }
        let part = Meant {
            given: meant.given.clone(),
            disk: meant.disk.clone(),
            layout: meant.layout.clone(),
            partition: Some(partition.clone()),
        };
        match one(part, &disk, system)? {
            Outlook::Grows(growing) => found.push(growing),
            Outlook::Full(why, _) => reasons.push(why),
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(growing), true) => Ok(Outlook::Grows(growing)),
        (Some(last), false) => {
            found.push(last);
            let parts = found.iter().filter_map(|it| it.partition.as_ref());
            let numbers: Vec<String> = parts.map(|it| it.number.to_string()).collect();
            Err(usage(format!(
                "several partitions of {} can grow ({}). Name one: {0}:{}",
                meant.given,
                numbers.join(", "),
                numbers.last().map_or("", String::as_str)
            )))
        }
        (None, _) if reasons.is_empty() => {
            let why = "has no partition with a filesystem that klon grows (ext, NTFS, XFS, Btrfs)";
            Ok(Outlook::Full(format!("{} {why}", meant.given), None))
        }
        (None, _) => Ok(Outlook::Full(reasons.join(". "), None)),
    }
}

/// What an unfinished run, or an update that waits in the room of the drive, would lose.
fn refuse_unfinished(meant: &Meant, disk: &Source) -> Result<()> {
    let partitions = meant
        .layout
        .table
        .iter()
        .flat_map(|table| &table.partitions);
    let whole = disk.geometry().extent();
    for extent in partitions.map(|it| it.extent).chain(whole) {
        if Mark::read(&Window::new(disk, extent)?)?.is_some() {
            return Err(refused(format!(
                "a clone to {} was not finished. Run that clone again first (or `klon finish {}`)",
                meant.disk.shown(),
                meant.disk.shown()
            )));
        }
    }
    Ok(())
}

fn one(meant: Meant, disk: &Source, system: &System) -> Result<Outlook> {
    let name = match &meant.partition {
        Some(partition) => format!("{}, partition {}", meant.given, partition.number),
        None => meant.given.clone(),
    };
    let summary = meant.volume().and_then(|volume| volume.filesystem.clone());
    let kind = summary.as_ref().map(|summary| summary.kind);
    let (Some(summary), None) = (summary, why_not(kind)) else {
        let what = kind.map_or_else(|| "its content".to_owned(), |kind| kind.to_string());
        let why = why_not(kind).unwrap_or_default();
        let why = format!("{name}: klon does not grow {what}: {why}");
        return Ok(Outlook::Full(why, None));
    };
    check_whole(&name, &summary)?;
    let extent = match &meant.partition {
        Some(partition) => partition.extent,
        None => disk
            .geometry()
            .extent()
            .context("a target that has bytes")?,
    };
    let table = match (&meant.partition, &meant.layout.table) {
        (Some(partition), Some(table)) => grown(disk, table, partition.number)?,
        _ => None,
    };
    let to_bytes = table
        .as_ref()
        .map_or(extent, |table| table.extent)
        .len_bytes();
    let is_full = to_bytes.saturating_sub(summary.size_bytes) < SLACK_BYTES;
    if !is_full {
        check_tools(&name, &meant, summary.kind)?;
    }
    // The kernel may mount the twin instead of this Btrfs.
    if !is_full
        && summary.kind == Kind::Btrfs
        && let Some(other) = twin(&system.locate(&meant.disk)?.part(extent), &summary, system)?
    {
        return Err(refused(format!(
            "{name}: {other} has a Btrfs with the same UUID, and the kernel might mount the one for the other. \
             Detach it first"
        )));
    }
    let takes_data = match &table {
        Some(table) => !is_blank(&Window::new(disk, table.gained)?)?,
        None => false,
    };
    let Identities { own, disk: whole } = identities(&meant, system)?;
    let growing = Box::new(Growing {
        given: meant.given,
        disk: meant.disk,
        layout: meant.layout,
        partition: meant.partition,
        identity: own,
        disk_identity: whole,
        kind: summary.kind,
        extent,
        filesystem_bytes: summary.size_bytes,
        table,
        takes_data,
    });
    if is_full {
        let (kind, size) = (growing.kind, human::size(extent.len_bytes()));
        let why = format!("{name}: the {kind} fills its {size}, and nothing is free behind it");
        return Ok(Outlook::Full(why, Some(growing)));
    }
    Ok(Outlook::Grows(growing))
}

/// How a volume is recognized, and how its whole disk or file is.
struct Identities {
    own: Identity,
    disk: Identity,
}

fn identities(meant: &Meant, system: &System) -> Result<Identities> {
    let disk = identity_of(system, &meant.disk, &meant.layout)?;
    let own = match (&meant.layout.table, &meant.partition) {
        (Some(table), Some(partition)) => partition_identity(table, partition),
        _ => None,
    };
    Ok(Identities {
        own: own.unwrap_or_else(|| disk.clone()),
        disk,
    })
}

/// Refuses a filesystem that is damaged, and one that spans other devices too: klon must not change these.
fn check_whole(name: &str, summary: &Summary) -> Result<()> {
    use klon_partition::filesystem::Hazard::{MultiDevice, NeedsRecovery, NotCleanlyUnmounted};
    let is_in_the_way = |hazard: &&klon_partition::filesystem::Hazard| match hazard {
        MultiDevice(_) => true,
        // Its tool brings it in order, or says that it can't.
        NeedsRecovery(_) | NotCleanlyUnmounted(_) => false,
        // A growth of ext that was interrupted left this mark, and e2fsck takes it away.
        _ => !matches!(summary.kind, Kind::Ext2 | Kind::Ext3 | Kind::Ext4),
    };
    match summary.hazards.iter().find(is_in_the_way) {
        Some(hazard) => Err(refused(format!(
            "{name}: the {} {hazard}, so klon does not grow it. Check it first",
            summary.kind
        ))),
        None => Ok(()),
    }
}

fn check_tools(name: &str, meant: &Meant, kind: Kind) -> Result<()> {
    for tool in tool::names(kind) {
        if Tool::find(tool).is_none() {
            return Err(tool::missing(tool));
        }
    }
    let is_window = meant.disk.is_file() && (meant.partition.is_some() || tool::needs_mount(kind));
    if (is_window || tool::needs_mount(kind)) && !nix::unistd::geteuid().is_root() {
        return Err(refused(format!(
            "{name}: growing a {kind} there takes a loop device or a mount, and so root"
        )));
    }
    Ok(())
}
