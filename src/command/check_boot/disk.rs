//! The volumes of a disk, by the names that configurations have for them, and their files.

use super::config::Reference;
use crate::description::in_words;
use crate::named::identity::partition_identity;
use crate::named::open::OpenPlace;
use anyhow::Result;
use klon_partition::device::Window;
use klon_partition::filesystem::{Kind, Paths, Recognized, Summary};
use klon_partition::table::Partition;
use klon_partition::text::sealed_bytes;
use klon_partition::{Identity, ReadAt};
use std::sync::Arc;

/// The most of one configuration that is read.
const CONFIG_LEN_MAX: usize = 1 << 20;

/// The most names of one directory that are looked at.
const NAMES_MAX: usize = 256;

/// A partition, with what is in it.
pub struct Volume {
    /// The partition.
    pub partition: Partition,
    /// Its PARTUUID.
    partuuid: Option<String>,
    device: Arc<dyn ReadAt>,
    recognized: Option<Recognized>,
}

/// The partitions of a disk in order, without extended ones.
///
/// # Errors
/// When a partition can't be read.
pub fn volumes(open: &OpenPlace) -> Result<Vec<Volume>> {
    let table = open.layout.believed_table();
    let mut all = Vec::new();
    for (table, found) in table
        .iter()
        .flat_map(|table| open.layout.volumes.iter().map(move |it| (table, it)))
    {
        let Some(partition) = found.partition.clone() else {
            continue;
        };
        let identity = partition_identity(table, &partition);
        all.push(Volume {
            partuuid: match identity {
                Some(Identity::PartUuid(partuuid)) => Some(partuuid),
                _ => None,
            },
            device: Arc::new(Window::new(open.device.clone(), found.extent)?),
            recognized: found.recognized.clone(),
            partition,
        });
    }
    Ok(all)
}

/// The volume that is named so; `None` where the disk has none, or a device's name does not say which.
pub fn find<'a>(volumes: &'a [Volume], reference: &Reference) -> Option<&'a Volume> {
    let is_same =
        |own: Option<&str>, value: &str| own.is_some_and(|own| own.eq_ignore_ascii_case(value));
    volumes.iter().find(|volume| {
        let summary = volume.summary();
        match reference {
            Reference::Uuid(value) => is_same(summary.and_then(|it| it.uuid.as_deref()), value),
            Reference::Label(value) => summary.and_then(|it| it.label.as_deref()) == Some(value),
            Reference::PartUuid(value) => is_same(volume.partuuid.as_deref(), value),
            Reference::PartLabel(value) => volume.partition.name == *value,
            Reference::Device(_) => false,
        }
    })
}

impl Volume {
    /// What it is formatted as.
    pub fn summary(&self) -> Option<&Summary> {
        self.recognized
            .as_ref()
            .map(|filesystem| filesystem.summary())
    }

    /// What kind of filesystem that is.
    pub fn kind(&self) -> Option<Kind> {
        self.summary().map(|summary| summary.kind)
    }

    /// For people: "partition 2 (ext4)".
    pub fn name(&self) -> String {
        let what = in_words(self.summary());
        format!("partition {} ({what})", self.partition.number)
    }

    /// Whether it is an EFI system partition.
    pub fn is_esp(&self) -> bool {
        self.partition.partition_type.is_efi_system()
    }

    /// Its files; `None` where klon can't read them.
    pub fn paths(&self) -> Option<Paths<'_>> {
        self.recognized.as_ref()?.paths(&*self.device)
    }

    /// The text of a file; `None` where it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(paths) = self.paths() else {
            return Ok(None);
        };
        let bytes = paths.read(path, CONFIG_LEN_MAX)?;
        // Lines stay lines; anything else that is no text is sealed.
        let lines = |bytes: Vec<u8>| {
            let lines = bytes.split(|&byte| byte == b'\n').map(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let words = line.split(|&byte| byte == b'\t').map(sealed_bytes);
                words.collect::<Vec<_>>().join(" ")
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        Ok(bytes.map(lines))
    }

    /// Whether something is at that path.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn has(&self, path: &str) -> Result<bool> {
        match self.paths() {
            Some(paths) => Ok(paths.find(path)?.is_some()),
            None => Ok(false),
        }
    }

    /// The names in a directory; none where it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn names(&self, path: &str) -> Result<Vec<String>> {
        match self.paths() {
            Some(paths) => Ok(paths.list(path, NAMES_MAX)?.map_or_else(Vec::new, |it| it.names)),
            None => Ok(Vec::new()),
        }
    }
}
