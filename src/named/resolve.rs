//! What a name means: a path, a tag, a partition of a file, a snapshot of an image; or what an identity
//! of a plan recognizes.

use super::identity::{identity_of, partition_identity};
use super::{Place, without_prefix};
use crate::error::{refused, usage};
use crate::image::ImageName;
use crate::inventory::scan_around;
use anyhow::Result;
use klon_partition::Identity;
use klon_partition::Shown;
use klon_partition::inspect::{DiskLayout, Volume};
use klon_partition::system::{Disk, System};
use klon_partition::text::unsealed;
use std::path::{Path, PathBuf};

impl Place {
    /// Finds what `given` names: a path, LABEL=…, UUID=…, PARTUUID=…, PARTLABEL=…, FILE:2, or
    /// IMAGE.klon, IMAGE.klon@3, IMAGE.klon@3:2, nbd://HOST/EXPORT, nbd://HOST/EXPORT#2. With `raw:` before it, it is none of klon's images,
    /// and no file of another program.
    ///
    /// # Errors
    /// [`usage`] when nothing has the name, or several do.
    pub fn resolve(given: &Path, system: &System) -> Result<Self> {
        let text = given.shown();
        let plain = without_prefix(given);
        if plain != given {
            let found = Self::resolve_plain(plain, system)?;
            found.refuse_export("is no file of which the bytes could be meant")?;
            let found = found.into_raw();
            return Ok(Self {
                given: text,
                ..found
            });
        }
        Self::resolve_plain(given, system)
    }

    fn resolve_plain(given: &Path, system: &System) -> Result<Self> {
        match Self::of_export(given)? {
            Some(export) => Ok(export),
            None => Self::resolve_here(given, system),
        }
    }

    /// Finds what `given` names on this machine, as [`resolve`](Self::resolve) does.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_here(given: &Path, system: &System) -> Result<Self> {
        if let Some(found) = Self::at(given, None, given)? {
            return Ok(found);
        }
        let text = given.shown();
        if let Some((tag, value)) = text.split_once('=')
            && TAGS.contains(&tag)
        {
            return find_tag(system, tag, value);
        }
        let found = Self::numbered(given)?;
        found.ok_or_else(|| usage(format!("{text}: there is no such file or device")))
    }

    /// The file or device at a path, a snapshot, or a partition of one of these. `None` where there is none.
    ///
    /// # Errors
    /// When what is there can't be read.
    pub fn at_path(given: &Path) -> Result<Option<Self>> {
        match Self::at(given, None, given)? {
            None => Self::numbered(given),
            found => Ok(found),
        }
    }

    /// What is named as FILE:2.
    fn numbered(given: &Path) -> Result<Option<Self>> {
        let text = given.shown();
        match text
            .rsplit_once(':')
            .map(|(path, number)| (path, number.parse()))
        {
            Some((path, Ok(number))) => Self::at(Path::new(&unsealed(path)), Some(number), given),
            _ => Ok(None),
        }
    }

    fn at(path: &Path, number: Option<u32>, given: &Path) -> Result<Option<Self>> {
        let image = ImageName::find(path)?;
        let path = image.as_ref().map_or(path, |image| &image.path).to_owned();
        Ok(path.exists().then(|| Self {
            given: given.shown(),
            path,
            number,
            image,
            replay: None,
            shrink: None,
            is_raw: false,
        }))
    }
}

/// The tags of /etc/fstab that name a volume.
pub const TAGS: [&str; 4] = ["LABEL", "UUID", "PARTUUID", "PARTLABEL"];

/// The place that a tag as in /etc/fstab names.
fn find_tag(system: &System, tag: &str, value: &str) -> Result<Place> {
    let has_tag = |layout: &DiskLayout, volume: &Volume| match tag {
        "LABEL" => volume
            .filesystem
            .as_ref()
            .is_some_and(|f| f.label.as_deref() == Some(value)),
        "UUID" => volume
            .filesystem
            .as_ref()
            .is_some_and(|f| same_id(f.uuid.as_deref(), value)),
        "PARTLABEL" => volume.partition.as_ref().is_some_and(|p| p.name == value),
        _ => volume_identity(layout, volume).is_some_and(|id| same_id(Some(id.value()), value)),
    };
    let given = format!("{tag}={value}");
    find(system, &given, has_tag)?.ok_or_else(|| missing(&given))
}

/// The place that `identity` recognizes.
///
/// # Errors
/// When nothing that is attached has the identity, or several do.
pub fn find_identity(system: &System, identity: &Identity) -> Result<Place> {
    let found = look_for(system, identity)?;
    found.ok_or_else(|| match identity {
        Identity::Path(path) => refused(format!(
            "{path} is not there. Attach it, or make a new plan if it moved"
        )),
        _ => missing(&identity.to_string()),
    })
}

/// The place that `identity` recognizes, if it is attached.
///
/// # Errors
/// When several have the identity.
pub fn look_for(system: &System, identity: &Identity) -> Result<Option<Place>> {
    let given = identity.to_string();
    match identity {
        Identity::Path(path) if Path::new(&unsealed(path)).exists() => Ok(Some(Place {
            given: path.clone(),
            path: shown_by(system, identity).unwrap_or_else(|| unsealed(path).into()),
            number: None,
            image: None,
            replay: None,
            shrink: None,
            is_raw: false,
        })),
        Identity::Path(_) => Ok(None),
        Identity::Serial(_) | Identity::DiskGuid(_) => find_disk(system, identity),
        Identity::PartUuid(value) => find(system, &given, |layout, volume| {
            volume_identity(layout, volume).is_some_and(|id| same_id(Some(id.value()), value))
        }),
        Identity::FsUuid(value) => find(system, &given, |_, volume| {
            volume
                .filesystem
                .as_ref()
                .is_some_and(|f| same_id(f.uuid.as_deref(), value))
        }),
    }
}

/// The loop device that shows a file, when there is one: a plan for the device names the file, and
/// its partitions have nodes of their own only there.
fn shown_by(system: &System, identity: &Identity) -> Option<PathBuf> {
    let is_it = |disk: &Disk| {
        disk.loop_file.is_some()
            && system.identity(&disk.path).ok().flatten().as_ref() == Some(identity)
    };
    let mut loops = system.disks().into_iter().filter(is_it);
    let found = loops.next()?;
    // Through two of them, the one would not see what the other writes.
    loops.next().is_none().then_some(found.path)
}

fn find_disk(system: &System, identity: &Identity) -> Result<Option<Place>> {
    let mut paths = Vec::new();
    for entry in scan_around(system) {
        let Ok(layout) = &entry.layout else { continue };
        if identity_of(system, &entry.disk.path, layout)? == *identity {
            paths.push((entry.disk.path, None));
        }
    }
    at_most_one(&identity.to_string(), paths)
}

fn find(
    system: &System,
    given: &str,
    is_meant: impl Fn(&DiskLayout, &Volume) -> bool,
) -> Result<Option<Place>> {
    let mut found = Vec::new();
    for entry in scan_around(system) {
        let Ok(layout) = &entry.layout else { continue };
        for volume in layout
            .volumes
            .iter()
            .filter(|volume| is_meant(layout, volume))
        {
            found.push(path_of(&entry.disk, volume));
        }
    }
    at_most_one(given, found)
}

/// The node of a partition if it has one, else the disk and the number.
fn path_of(disk: &Disk, volume: &Volume) -> (PathBuf, Option<u32>) {
    let Some(partition) = &volume.partition else {
        return (disk.path.clone(), None);
    };
    match disk.partition_at(partition.extent) {
        Some(node) => (node.path.clone(), None),
        None => (disk.path.clone(), Some(partition.number)),
    }
}

fn missing(given: &str) -> anyhow::Error {
    refused(format!(
        "no attached disk has {given}; `klon devices` shows what is here"
    ))
}

fn at_most_one(given: &str, mut found: Vec<(PathBuf, Option<u32>)>) -> Result<Option<Place>> {
    match (found.pop(), found.is_empty()) {
        (Some((path, number)), true) => Ok(Some(Place {
            given: given.to_owned(),
            path,
            number,
            image: None,
            replay: None,
            shrink: None,
            is_raw: false,
        })),
        (None, _) => Ok(None),
        (Some(last), false) => {
            found.push(last);
            let names: Vec<String> = found.iter().map(|(path, _)| path.shown()).collect();
            Err(refused(format!(
                "{given} is on several disks ({}): a copy is attached beside its original. Detach \
                 one, or name a path",
                names.join(", ")
            )))
        }
    }
}

fn volume_identity(layout: &DiskLayout, volume: &Volume) -> Option<Identity> {
    partition_identity(layout.table.as_ref()?, volume.partition.as_ref()?)
}

fn same_id(found: Option<&str>, wanted: &str) -> bool {
    found.is_some_and(|found| found.eq_ignore_ascii_case(wanted))
}
