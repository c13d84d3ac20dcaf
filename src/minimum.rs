//! How small the clone of a volume could be: as it is, by klon's own map, and once its filesystem was made
//! smaller, by the filesystem's own tool. The tool only reads; what it can't open by itself, and a Btrfs that is not
//! mounted, it gets in an overlay.

use crate::grow::node::Node;
use crate::grow::tool::{Ran, Tool, missing};
use crate::human;
use crate::named::open::OpenPlace;
use crate::overlay::{Ended, Job, Scratch, number_behind, run};
use crate::source::adapted;
use anyhow::Result;
use klon_partition::device::Window;
use klon_partition::filesystem::{Basis, Hazard, Kind, Usage};
use klon_partition::planner;
use klon_partition::system::{MountPoint, System, is_btrfs_mounted};
use klon_partition::{Extent, ReadAt};
use nix::unistd::geteuid;
use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What the kernel may write to an overlay while a Btrfs is asked.
const CHANGES_BYTES: u64 = 32 << 20;

/// The least sizes of a volume.
#[derive(Debug, Serialize)]
pub struct Minimum {
    /// The number of its partition; null for a volume that is all of its disk or file.
    pub partition: Option<u32>,
    /// What a clone needs that is smaller and otherwise as the volume is: up to the end of its filesystem, and
    /// of all else in use.
    pub trim_bytes: u64,
    /// Where the last byte in use ends: no filesystem gets below it without moving anything.
    pub last_used_bytes: u64,
    /// What its filesystem needs once it was made smaller, by its own tool; null when that is not known.
    pub shrink_bytes: Option<u64>,
    /// The tool that makes it smaller; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrink_by: Option<&'static str>,
    /// Why it is not known how small the filesystem can be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrink_unknown_because: Option<String>,
}

/// A volume whose least sizes are asked for.
pub struct Subject<'a> {
    /// The volume, or the disk around it, that was opened.
    pub open: &'a OpenPlace,
    /// The partition, and where it lies; `None` for what is all of its disk or file.
    pub part: Option<(u32, Extent)>,
    /// Its bytes in use. Offsets count from its own start.
    pub usage: &'a Usage,
    /// Its size.
    pub size_bytes: u64,
    /// Whether the kernel may mount it in an overlay to tell. That replays its log.
    pub may_mount: bool,
}

impl From<Minimum> for planner::Minimum {
    fn from(found: Minimum) -> Self {
        let why = found.shrink_unknown_because.unwrap_or_default();
        match (found.shrink_bytes, found.shrink_by) {
            (Some(bytes), _) => Self::Known(bytes),
            (None, Some(_)) => Self::Unknown(why),
            (None, None) => Self::Never(why),
        }
    }
}

/// Finds the least sizes of a volume. Nothing is written: tools get what they read by a node that is opened for
/// reading, by a loop device that can't be written, or in an overlay.
pub fn of(subject: &Subject<'_>, system: &System) -> Minimum {
    let usage = subject.usage;
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    let (shrink_by, asked) = match kind {
        _ if let Some(why) = copied_whole(usage) => (None, Err(why)),
        Some(Kind::Ext2 | Kind::Ext3 | Kind::Ext4) => (Some("resize2fs"), ask_ext(subject)),
        Some(Kind::Ntfs) => (Some("ntfsresize"), ask_ntfs(subject)),
        Some(Kind::Btrfs) => (Some("btrfs"), ask_btrfs(subject, system)),
        Some(kind) if adapted::is_own(kind) => (Some("klon"), own_least(subject)),
        kind => (None, Err(never(kind))),
    };
    let (shrink_bytes, shrink_unknown_because) = match asked {
        // A tool may want more room to work in than there is.
        Ok(bytes) => (Some(bytes.min(subject.size_bytes)), None),
        Err(why) => (None, Some(why)),
    };
    Minimum {
        partition: subject.part.map(|(number, _)| number),
        trim_bytes: usage
            .end_bytes(subject.size_bytes)
            .unwrap_or(subject.size_bytes),
        last_used_bytes: usage.used().end_bytes(),
        shrink_bytes,
        shrink_by,
        shrink_unknown_because,
    }
}

/// Why klon copies all of a volume, and so makes no smaller clone of it, whatever a tool would say. A journal that
/// a clone replays is no reason.
fn copied_whole(usage: &Usage) -> Option<String> {
    let summary = usage.summary.as_ref()?;
    let is_replayed = |hazard: &Hazard| matches!(hazard, Hazard::NeedsRecovery(_));
    match &usage.basis {
        Basis::Map => None,
        Basis::Whole { .. }
            if !summary.hazards.is_empty() && summary.hazards.iter().all(is_replayed) =>
        {
            None
        }
        Basis::Whole { reason, .. } | Basis::Contained { reason } => {
            Some(format!("klon copies all of it ({reason})"))
        }
    }
}

/// Why klon doesn't shrink a filesystem of this kind, and what the user can do instead.
pub fn never(kind: Option<Kind>) -> String {
    match kind {
        Some(Kind::Xfs) => "an XFS can't be made smaller. Make a new one of the size that you want, and copy its files \
             (xfsdump and xfsrestore, or rsync -aHAXS)"
            .to_owned(),
        Some(kind @ Kind::Exfat) => format!(
            "klon can't make {kind} smaller. Make a new one of the size that you want, and copy its files"
        ),
        Some(Kind::Swap) => "it holds nothing. Make it anew with mkswap, which can keep the UUID (-U)".to_owned(),
        Some(kind) => format!("klon knows of no tool that makes {kind} smaller"),
        None => "klon does not recognize what is in it".to_owned(),
    }
}

/// The least sizes in lines.
pub fn told(minimum: &Minimum) -> String {
    let of = match minimum.partition {
        Some(number) => format!("partition {number}: "),
        None => String::new(),
    };
    let mut text = format!(
        "  {of}least size as it is: {} (its last byte in use ends at {})\n",
        human::size(minimum.trim_bytes),
        human::size(minimum.last_used_bytes)
    );
    text.push_str(&match (minimum.shrink_bytes, minimum.shrink_by, &minimum.shrink_unknown_because) {
        (Some(bytes), Some(tool), _) => format!(
            "  {of}least size once its filesystem was made smaller: {} (by {tool}, which moves blocks)\n",
            human::size(bytes)
        ),
        (_, _, why) => format!(
            "  {of}least size of a smaller filesystem: not known: {}\n",
            why.as_deref().unwrap_or("no tool was asked")
        ),
    });
    text
}

/// Runs a tool that answers on a line with `key`: the number behind it.
fn ask(name: &str, arguments: &[OsString], key: &str) -> Result<u64, String> {
    let tool = Tool::find(name).ok_or_else(|| missing(name).to_string())?;
    let Ran { status, said } = tool.run(arguments).map_err(|error| format!("{error:#}"))?;
    if !status.success() {
        return Err(format!("{name} failed ({status}): {said}"));
    }
    number_behind(&said, key).ok_or_else(|| format!("{name} names no size: {said}"))
}

/// What a tool can open for reading; `None` for what is in an image or on a server, and for a partition in a file
/// without root, who makes loop devices.
fn node(subject: &Subject<'_>) -> Result<Option<Node>, String> {
    let open = subject.open;
    if open.snapshot.is_some() || open.container.is_some() || open.place.is_export() {
        return Ok(None);
    }
    let node = match part(subject) {
        // The tools open it for reading alone.
        None => Node::new(&open.place.path, None, false),
        Some(_) if open.place.path.is_file() && !geteuid().is_root() => return Ok(None),
        part => Node::to_read(&open.place.path, part),
    };
    node.map(Some).map_err(|error| format!("{error:#}"))
}

/// Where the volume lies on the disk or in the file; `None` when it is all of it.
fn part(subject: &Subject<'_>) -> Option<Extent> {
    let own = subject.open.partition.as_ref();
    let own = own.map(|partition| partition.extent);
    subject.part.map(|(_, extent)| extent).or(own)
}

/// Asks in an overlay over the volume.
fn ask_in_room(subject: &Subject<'_>, job: Job) -> Result<u64, String> {
    let asked = || -> Result<Ended> {
        let open = subject.open;
        let device = device(subject)?;
        let scratch = open.place.replay.clone();
        let scratch = scratch.unwrap_or_else(|| Scratch::new(None));
        run(
            Arc::new(scratch.spill(device, CHANGES_BYTES)?),
            job,
            &scratch,
        )
    };
    match asked().map_err(|error| format!("{error:#}"))? {
        Ended::Done(Some(bytes)) => Ok(bytes),
        Ended::Done(None) => Err("the tool names no size".to_owned()),
        Ended::Failed(why) => Err(why),
    }
}

fn ask_ext(subject: &Subject<'_>) -> Result<u64, String> {
    let block_bytes = subject
        .usage
        .summary
        .as_ref()
        .map_or(0, |it| it.block_size_bytes);
    let in_file = part(subject).and_then(|part| in_file(subject, part));
    let node = match in_file {
        Some(_) => None,
        None => node(subject)?,
    };
    let Some(path) = in_file.or_else(|| Some(node.as_ref()?.path().into())) else {
        return ask_in_room(subject, Job::LeastExt);
    };
    let arguments = ["-P".into(), path];
    let blocks = ask("resize2fs", &arguments, "minimum size of the filesystem:")?;
    blocks
        .checked_mul(block_bytes.into())
        .ok_or_else(|| "resize2fs names too many blocks".to_owned())
}

/// A partition in a file, as the tools for ext name it.
fn in_file(subject: &Subject<'_>, part: Extent) -> Option<OsString> {
    let open = subject.open;
    let path = &open.place.path;
    let is_plain = open.snapshot.is_none() && open.container.is_none() && path.is_file();
    let mut named = path.clone().into_os_string();
    let is_clear = !named.as_encoded_bytes().contains(&b'?');
    named.push(format!("?offset={}", part.offset_bytes()));
    (is_plain && is_clear).then_some(named)
}

/// Of a FAT, which klon itself lays out anew.
fn own_least(subject: &Subject<'_>) -> Result<u64, String> {
    let device = device(subject).map_err(|error| format!("{error:#}"))?;
    let filesystem = subject.usage.filesystem();
    let found = filesystem.and_then(|it| it.least_bytes(&*device));
    let found = found.ok_or_else(|| "its filesystem is not at hand".to_owned())?;
    found.map_err(|error| error.to_string())
}

/// The volume.
fn device(subject: &Subject<'_>) -> Result<Arc<dyn ReadAt>> {
    let whole = &subject.open.device;
    Ok(match subject.part {
        Some((_, extent)) => Arc::new(Window::new(whole.clone(), extent)?),
        None => whole.clone(),
    })
}

fn ask_ntfs(subject: &Subject<'_>) -> Result<u64, String> {
    let Some(node) = node(subject)? else {
        return ask_in_room(subject, Job::LeastNtfs);
    };
    let arguments = [
        "--info".into(),
        "--no-progress-bar".into(),
        node.path().into(),
    ];
    ask("ntfsresize", &arguments, "You might resize at ")
}

/// The tool for Btrfs asks the kernel, of what is mounted: where that is, or in an overlay.
fn ask_btrfs(subject: &Subject<'_>, system: &System) -> Result<u64, String> {
    let mounted = mount_of(subject, system).map_err(|error| format!("{error:#}"))?;
    let Some(at) = mounted else {
        return match subject.may_mount {
            true => ask_btrfs_unmounted(subject),
            false => Err(
                "`klon map --minimum` and `klon plan --shrink` let the kernel tell it".to_owned(),
            ),
        };
    };
    let arguments = ["inspect-internal", "min-dev-size"].map(OsString::from);
    let all = [&arguments[..], &[at.into_os_string()]].concat();
    ask("btrfs", &all, "")
}

fn ask_btrfs_unmounted(subject: &Subject<'_>) -> Result<u64, String> {
    if !geteuid().is_root() {
        return Err("the kernel tells that, and only to root".to_owned());
    }
    let summary = subject.usage.summary.as_ref();
    let uuid = summary.and_then(|summary| summary.uuid.clone());
    let uuid = uuid.unwrap_or_default();
    if is_btrfs_mounted(&uuid) {
        return Err(format!(
            "a Btrfs with the same UUID ({uuid}) is mounted, and the kernel could take one for the other"
        ));
    }
    ask_in_room(subject, Job::LeastBtrfs)
}

/// Where the volume is mounted.
fn mount_of(subject: &Subject<'_>, system: &System) -> Result<Option<PathBuf>> {
    let open = subject.open;
    let first = |mounts: &[MountPoint]| mounts.first().map(|mount| mount.at.clone());
    let Some(disk) = system.disk_of(&open.place.path)? else {
        return Ok(None);
    };
    if let Some((_, extent)) = subject.part {
        return Ok(disk
            .partition_at(extent)
            .and_then(|node| first(&node.mounts)));
    }
    let own = open.location(system)?;
    for node in &disk.partitions {
        if system.locate(&node.path)? == own {
            return Ok(first(&node.mounts));
        }
    }
    Ok(first(&disk.mounts))
}
