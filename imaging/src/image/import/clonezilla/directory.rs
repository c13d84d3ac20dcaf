//! The files of a directory, by the names that Clonezilla gives them.

use klon_partition::Shown;
use klon_partition::device::open_plain;
use klon_partition::error::Remedy;
use klon_partition::{Error, Result};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Lists, tables and the like are small; this is far more.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub(super) struct Directory {
    path: PathBuf,
    names: Vec<String>,
}

/// `sda` and 1 make `sda1`, `nvme0n1` and 1 `nvme0n1p1`.
pub(super) fn node(disk: &str, number: u32) -> String {
    match disk.ends_with(|last: char| last.is_ascii_digit()) {
        true => format!("{disk}p{number}"),
        false => format!("{disk}{number}"),
    }
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let entries = fs::read_dir(path).and_then(|entries| {
            let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name());
            entries.map(name).collect::<io::Result<Vec<_>>>()
        });
        let entries = entries.map_err(|source| Error::Open {
            path: path.to_owned(),
            doing: "list",
            source,
        })?;
        let mut names: Vec<String> = entries
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        names.sort();
        Ok(Self {
            path: path.to_owned(),
            names,
        })
    }

    /// The disk that is meant.
    pub(super) fn disk(&self, wanted: Option<&str>) -> Result<String> {
        let Some(list) = self.text("disk")? else {
            return Err(Error::Invalid(format!(
                "{}: there is no file `disk`, so it is no disk saved by Clonezilla. Of saved \
                 partitions, import the image of one: its file *-ptcl-img.*.aa",
                self.path.shown()
            )));
        };
        let disks: Vec<String> = list.split_whitespace().map(file_name).collect();
        match (wanted.map(file_name), disks.as_slice()) {
            (Some(wanted), disks) if disks.contains(&wanted) => Ok(wanted),
            (None, [only]) => Ok(only.clone()),
            _ => Err(Error::RefusedUnless {
                reason: format!("{} has the disks {}", self.path.shown(), disks.join(", ")),
                remedy: Remedy::NameDisk,
            }),
        }
    }

    /// Names of the partitions that were saved.
    pub(super) fn saved_partitions(&self) -> Result<Vec<String>> {
        let list = self.text("parts")?.unwrap_or_default();
        Ok(list.split_whitespace().map(file_name).collect())
    }

    /// What is said of the swap space of a partition.
    pub(super) fn swap_info(&self, node: &str) -> Result<Option<String>> {
        self.text(&format!("swappt-{node}.info"))
    }

    /// The first file of the image of a partition; `None` where there is no file of an image.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are two images, or the first part of one is missing.
    pub(super) fn image(&self, node: &str) -> Result<Option<PathBuf>> {
        let prefix = format!("{node}.");
        let found: Vec<&String> = (self.names.iter())
            .filter(|name| {
                let rest = name.strip_prefix(&prefix).unwrap_or_default();
                let is_image = rest.contains("-ptcl-img") || rest.starts_with("dd-img");
                is_image && !rest.ends_with(".info") && is_first(rest)
            })
            .collect();
        match found.as_slice() {
            [] => self.check_none(node).map(|()| None),
            [one] => Ok(Some(self.path.join(one))),
            [one, other, ..] => Err(Error::Invalid(format!(
                "{}: {one} and {other} are both images of {node}; remove the one that is not meant",
                self.path.shown()
            ))),
        }
    }

    /// Refuses files of an image of a partition, where none of them is the first that klon reads.
    fn check_none(&self, node: &str) -> Result<()> {
        let is_image = |name: &&String| {
            let rest = name.strip_prefix(node).and_then(|it| it.strip_prefix('.'));
            rest.is_some_and(|rest| rest.contains("img") && !rest.ends_with(".info"))
        };
        let Some(found) = self.names.iter().find(is_image) else {
            return Ok(());
        };
        let why = match found.rsplit_once('.') {
            Some((stem, suffix)) if !is_first(found) => format!(
                "the first part of that image, {stem}.{}, is missing; put all of its parts into the \
                 directory",
                "a".repeat(suffix.len())
            ),
            _ => "that is no image that klon reads. Restore the directory with Clonezilla, and image \
                  that disk"
                .to_owned(),
        };
        Err(Error::Invalid(format!(
            "{}: {found} is there, but {why}",
            self.path.shown()
        )))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.bytes(name)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let failed = |source| Error::Open {
            path: path.clone(),
            doing: "read",
            source,
        };
        let file = match open_plain(&path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        let mut file = file.take(FILE_BYTES_MAX + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "{} has more than {FILE_BYTES_MAX} bytes",
                path.shown()
            )));
        }
        Ok(Some(bytes))
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// `cciss/c0d0` is kept as `cciss-c0d0`.
fn file_name(name: &str) -> String {
    name.replace('/', "-")
}

/// Whether it is the first of the parts of a file, or not split.
fn is_first(name: &str) -> bool {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    let is_part = (2..=4).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_packing = [
        "gz", "bz2", "lzo", "lzma", "xz", "lzip", "lrz", "lz4", "zst",
    ]
    .contains(&end);
    !is_part || is_packing || end.bytes().all(|byte| byte == b'a')
}
