//! Finds what a name means: a path, a tag, a partition of a file or a snapshot of an image. Finds what an identity
//! in a plan recognizes as well.

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
            found.refuse_export("is no file, so leave out raw:")?;
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
            sectors: None,
            skips: false,
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
            sectors: None,
            skips: false,
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
            sectors: None,
            skips: false,
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

#[cfg(test)]
mod tests {
    use super::{at_most_one, find_identity, same_id};
    use crate::error::{REFUSED, USAGE, code, message};
    use crate::named::Place;
    use crate::testing::{file, serial, system};
    use klon_partition::{Identity, Shown as _};
    use std::path::Path;

    #[test]
    fn a_path_and_a_partition_of_a_file_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let system = system(directory.path(), &[]);
        let path = file(&directory, "disk.img", b"x");
        let whole = Place::resolve(&path, &system).unwrap();
        assert_eq!(
            (&whole.path, whole.number, whole.is_raw),
            (&path, None, false)
        );
        let part = format!("{}:2", path.shown());
        let part = Place::resolve(Path::new(&part), &system).unwrap();
        assert_eq!((&part.path, part.number), (&path, Some(2)));
        assert!(part.given.ends_with("disk.img:2"));
    }

    #[test]
    fn a_file_whose_name_looks_like_a_partition_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        file(&directory, "disk.img", b"x");
        let path = file(&directory, "disk.img:2", b"x");
        let found = Place::at_path(&path).unwrap().unwrap();
        assert_eq!((found.path, found.number), (path, None));
    }

    #[test]
    fn raw_bytes_are_asked_for_by_a_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "disk.img", b"x");
        let given = format!("raw:{}", path.shown());
        let found = Place::resolve(Path::new(&given), &system(directory.path(), &[])).unwrap();
        assert!(found.is_raw && found.path == path && found.given == given);
    }

    #[test]
    fn what_is_not_there_is_a_matter_of_usage() {
        let directory = tempfile::tempdir().unwrap();
        let system = system(directory.path(), &[]);
        let error = Place::resolve(&directory.path().join("none:2"), &system).unwrap_err();
        assert_eq!(code(&error), USAGE);
        assert!(message(&error).contains("there is no such file or device"));
        assert!(
            Place::at_path(&directory.path().join("none"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_tag_and_an_identity_that_no_disk_has_say_so() {
        let directory = tempfile::tempdir().unwrap();
        let system = system(directory.path(), &[]);
        let tag = Place::resolve(Path::new("LABEL=none"), &system).unwrap_err();
        assert_eq!(code(&tag), REFUSED);
        assert!(message(&tag).contains("no attached disk has LABEL=none"));
        let identity = find_identity(&system, &serial("none")).unwrap_err();
        assert!(message(&identity).contains("no attached disk has"));
        let path = Identity::Path("/nowhere/disk.img".to_owned());
        let path = find_identity(&system, &path).unwrap_err();
        assert!(message(&path).contains("Attach it, or make a new plan if it moved"));
    }

    #[test]
    fn a_name_that_two_disks_have_is_refused_with_both() {
        let here = |path: &str| (path.into(), None);
        assert!(at_most_one("LABEL=a", Vec::new()).unwrap().is_none());
        let one = at_most_one("LABEL=a", vec![here("/dev/a1")])
            .unwrap()
            .unwrap();
        assert_eq!((&*one.given, &*one.path), ("LABEL=a", Path::new("/dev/a1")));
        let two = at_most_one("LABEL=a", vec![here("/dev/a1"), here("/dev/b1")]).unwrap_err();
        assert!(message(&two).contains("LABEL=a is on several disks (/dev/a1, /dev/b1)"));
    }

    #[test]
    fn identities_are_compared_without_regard_to_case() {
        assert!(same_id(Some("AB-12"), "ab-12"));
        assert!(!same_id(Some("AB-12"), "ab-13") && !same_id(None, ""));
    }
}
