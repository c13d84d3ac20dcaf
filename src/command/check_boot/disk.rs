//! The volumes of a disk, by the names that configurations have for them, and their files.

use super::config::Reference;
use super::meter::{LIMIT_BYTES, Left, Metered};
use crate::description::in_words;
use crate::named::identity::partition_identity;
use crate::named::open::OpenPlace;
use klon_partition::device::Window;
use klon_partition::error::Result;
use klon_partition::filesystem::{Kind, Listing, NodeKind, Paths, Recognized, Summary};
use klon_partition::table::Partition;
use klon_partition::text::sealed_bytes;
use klon_partition::{Identity, ReadAt};
use std::sync::Arc;

/// The most of one configuration that is read.
const CONFIG_LEN_MAX: usize = 1 << 20;

/// A partition, with what is in it.
pub struct Volume {
    /// The partition.
    pub partition: Partition,
    /// Its PARTUUID.
    partuuid: Option<String>,
    device: Metered<Window<Arc<dyn ReadAt>>>,
    recognized: Option<Recognized>,
}

/// The partitions of a disk in order, without extended ones.
///
/// # Errors
/// When a partition can't be read.
pub fn volumes(open: &OpenPlace) -> Result<Vec<Volume>> {
    let table = open.layout.believed_table();
    let left = Left::new(LIMIT_BYTES);
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
            device: Metered {
                device: Window::new(open.device.clone(), found.extent)?,
                left: left.clone(),
            },
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
        self.recognized.as_ref()?.paths(&self.device)
    }

    /// The lines of a configuration; `None` where it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn text(&self, path: &str) -> Result<Option<Text>> {
        let Some(paths) = self.paths() else {
            return Ok(None);
        };
        let bytes = paths.read(path, CONFIG_LEN_MAX + 1)?;
        Ok(bytes.map(|bytes| Text::new(&bytes, CONFIG_LEN_MAX)))
    }

    /// Whether a file is at that path.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn has_file(&self, path: &str) -> Result<bool> {
        let found = self.paths().map(|paths| paths.find(path)).transpose()?;
        Ok(found.flatten().is_some_and(|it| it.kind == NodeKind::File))
    }

    /// At most `names_max` of the names in a directory; `None` where it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn list(&self, path: &str, names_max: usize) -> Result<Option<Listing>> {
        let listed = self.paths().map(|paths| paths.list(path, names_max));
        Ok(listed.transpose()?.flatten())
    }
}

/// The text of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// Its lines. What is in them and is no text is sealed.
    pub lines: String,
    /// Whether there is more of it.
    pub is_cut: bool,
}

impl Text {
    /// All whole lines, where there are more than `len_max` bytes.
    fn new(mut bytes: &[u8], len_max: usize) -> Self {
        let is_cut = bytes.len() > len_max;
        if is_cut {
            let last = bytes.iter().rposition(|&byte| byte == b'\n');
            bytes = bytes.get(..last.unwrap_or(0)).unwrap_or_default();
        }
        let lines = bytes.split(|&byte| byte == b'\n').map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let words = line.split(|&byte| byte == b'\t').map(sealed_bytes);
            words.collect::<Vec<_>>().join(" ")
        });
        Self {
            lines: lines.collect::<Vec<_>>().join("\n"),
            is_cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn half_a_line_is_none() {
        let text = |bytes: &[u8]| {
            let text = Text::new(bytes, 9);
            (text.lines, text.is_cut)
        };
        assert_eq!(text(b"a\tb\r\nc\n"), ("a b\nc\n".to_owned(), false));
        assert_eq!(text(b"a b\nc d e"), ("a b\nc d e".to_owned(), false));
        assert_eq!(text(b"a b\nc d e f"), ("a b".to_owned(), true));
        assert_eq!(text(b"0123456789"), (String::new(), true));
    }
}
