//! What names the parts of a source in files on them, so that a clone starts and mounts by the names that it has.
//! Names are as long as before, so that contents of files change and nothing else. What klon does not
//! understand stays, and is told.

use super::files;
use super::words::{names_any, renamed};
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::record::OwnName;
use klon_partition::device::{Patched, Patches, Window};
use klon_partition::filesystem::{Filesystem, Kind, Paths};
use klon_partition::{ExtentMap, ReadAt};
use std::collections::HashSet;
use std::sync::Arc;

/// The most of a text and of a program that is looked at.
const TEXT_LEN_MAX: usize = 4 << 20;
const PROGRAM_LEN_MAX: usize = 32 << 20;

/// What was found of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The files in which names change.
    pub changed: Vec<String>,
    /// What klon can't change or look into, in words.
    pub untouched: Vec<String>,
}

/// Shows the files of a source with these names, and notes that in it.
///
/// # Errors
/// When the source can't be read.
pub(super) fn refer(source: &mut SourceEnd, names: &[OwnName]) -> Result<References> {
    let mut found = References::default();
    let mut patches = Patches::new();
    for volume in volumes(source)? {
        volume.look(names, &mut patches, &mut found)?;
    }
    let changed = patches.extents();
    if !changed.is_empty() {
        source.device = Arc::new(Patched::new(source.device.clone(), patches));
        note(source, &changed);
    }
    if let Some(own) = &mut source.own_identity {
        own.names = names.to_vec();
    }
    Ok(found)
}

/// Notes what of a source is shown otherwise than it is.
pub(super) fn note(source: &mut SourceEnd, changed: &ExtentMap) {
    source.usage.extents = source.usage.extents.union(changed);
    source.replaced = source.replaced.union(changed);
    if let Some(salvaged) = &mut source.salvaged {
        salvaged.replace(changed);
    }
    if let Some(own) = &mut source.own_identity {
        own.changed = own.changed.union(changed);
    }
}

/// A volume whose files are looked at.
struct Volume<'a> {
    /// What stands before the paths of its files.
    name: String,
    filesystem: &'a dyn Filesystem,
    device: Arc<dyn ReadAt>,
    /// Where it begins on the source.
    start_bytes: u64,
}

fn volumes(source: &SourceEnd) -> Result<Vec<Volume<'_>>> {
    if source.table.is_none() {
        let filesystem = source.usage.filesystem().into_iter();
        return Ok(filesystem
            .map(|filesystem| Volume {
                name: String::new(),
                filesystem,
                device: source.device.clone(),
                start_bytes: 0,
            })
            .collect());
    }
    let mut all = Vec::new();
    for volume in &source.volumes {
        let Some(filesystem) = volume.usage.filesystem() else {
            continue;
        };
        let number = volume.partition.as_ref().map(|partition| partition.number);
        all.push(Volume {
            name: number.map_or_else(String::new, |number| format!("partition {number}: ")),
            filesystem,
            device: Arc::new(Window::new(source.device.clone(), volume.extent)?),
            start_bytes: volume.extent.offset_bytes(),
        });
    }
    Ok(all)
}

impl Volume<'_> {
    fn look(&self, names: &[OwnName], patches: &mut Patches, found: &mut References) -> Result<()> {
        let kind = self.filesystem.summary().kind;
        let Some(paths) = self.filesystem.paths(&*self.device) else {
            if !matches!(
                kind,
                Kind::Swap | Kind::Squashfs | Kind::Erofs | Kind::Iso9660
            ) {
                found.untouched.push(format!(
                    "{}klon can't look into the files of {kind}, so what they name stays as it is",
                    self.name
                ));
            }
            return Ok(());
        };
        match self.look_at(&paths, names, patches, found) {
            Ok(()) => Ok(()),
            Err(error @ klon_partition::Error::Io { .. }) => Err(error.into()),
            Err(error) => {
                let told = format!("{}not all files could be looked at: {error}", self.name);
                found.untouched.push(told);
                Ok(())
            }
        }
    }

    fn look_at(
        &self,
        paths: &Paths<'_>,
        names: &[OwnName],
        patches: &mut Patches,
        found: &mut References,
    ) -> klon_partition::Result<()> {
        let mut own = Patches::new();
        let mut seen = HashSet::new();
        for path in files::texts(paths)? {
            let Some(file) = paths.locate(&path, TEXT_LEN_MAX + 1)? else {
                continue;
            };
            // Another name of the same file.
            if file.first_bytes().is_some_and(|first| !seen.insert(first)) {
                continue;
            }
            let Some((new, _)) = renamed(&file.bytes, names) else {
                continue;
            };
            let told = format!("{}/{path}", self.name);
            if file.bytes.len() > TEXT_LEN_MAX || !file.change(&new, &mut own)? {
                found.untouched.push(format!(
                    "{told} has names in it, and klon can't change them in place"
                ));
            } else {
                found.changed.push(told);
            }
        }
        for path in files::programs(paths)? {
            let program = paths.read(&path, PROGRAM_LEN_MAX)?.unwrap_or_default();
            if names_any(&program, names) {
                let told = format!(
                    "{}/{path} has names in it, and klon changes no programs",
                    self.name
                );
                found.untouched.push(told);
            }
        }
        if paths.find("EFI/Microsoft/Boot/BCD")?.is_some() {
            found.untouched.push(format!(
                "{}/EFI/Microsoft/Boot/BCD: Windows starts by what it names, and klon does not change it. Run \
                 bcdboot on the clone",
                self.name
            ));
        }
        patches.add_part(&own, self.start_bytes)
    }
}
