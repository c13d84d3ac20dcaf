//! The file or files of an image: `NAME`, or its parts `NAME.000`, `NAME.001`, ….

mod append;
mod joined;
mod punch;
#[cfg(test)]
pub(in crate::image) mod tests;

pub use append::{FilesAppend, StreamAppend};
use klon_partition::Shown;
pub use punch::FilesPunch;

use crate::durable::sync_name;
pub(super) use joined::Joined;
use klon_partition::device::look_at;
use klon_partition::{Error, ReadAt, Result};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most parts of an image; each is large.
const PARTS_MAX: usize = 100_000;

/// The file or files of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    name: PathBuf,
    is_split: bool,
    parts: Vec<Part>,
    /// What has the name of the part behind the last one, and can't be one.
    behind: Option<PathBuf>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    path: PathBuf,
    /// Where it begins in the image.
    start: u64,
    len: u64,
}

impl Part {
    const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

impl ImageFiles {
    /// Finds the image `path`. It is that file, or parts: `path` is their common name, or the first of them.
    ///
    /// # Errors
    /// [`Error::Open`] when there is none, [`Error::Refused`] when a part in the middle is missing.
    pub fn find(path: &Path) -> Result<Self> {
        let name = without_number(path);
        if name.is_none() && path.exists() {
            let len = len_of(path)?;
            let part = Part {
                path: path.to_owned(),
                start: 0,
                len,
            };
            return Ok(Self {
                name: path.to_owned(),
                is_split: false,
                parts: vec![part],
                behind: None,
            });
        }
        let name = name.unwrap_or_else(|| path.to_owned());
        let (mut parts, mut behind): (Vec<Part>, _) = (Vec::new(), None);
        while parts.len() < PARTS_MAX {
            let path = part_path(&name, parts.len());
            if !path.exists() {
                break;
            }
            let start = parts.last().map_or(0, Part::end);
            let len = len_of(&path)?;
            if len > 0 && is_over(&parts) {
                behind = Some(path);
                break;
            }
            parts.push(Part { path, start, len });
        }
        if parts.is_empty() {
            // Says that there is no such file.
            len_of(path)?;
        }
        let missing = parts.len();
        let after = (missing + 1..missing + 10).map(|number| part_path(&name, number));
        if behind.is_none()
            && let Some(after) = after.into_iter().find(|path| path.exists())
        {
            return Err(Error::Refused(format!(
                "{} is there, but {} is not: a part of the image is missing; put all of its parts \
                 into one directory",
                after.shown(),
                part_path(&name, missing).shown()
            )));
        }
        Ok(Self {
            name,
            is_split: true,
            parts,
            behind,
        })
    }

    /// The name that all parts share, or the name of the only file.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Whether it is kept in parts.
    #[must_use]
    pub const fn is_split(&self) -> bool {
        self.is_split
    }

    /// Their total size when they were found.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.parts.last().map_or(0, Part::end)
    }

    /// All of them, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The first of them, which writers lock.
    #[must_use]
    pub fn first(&self) -> &Path {
        self.parts.first().map_or(&self.name, |part| &part.path)
    }

    /// The part that seems to be missing. A full part is always followed by another one, even if that
    /// is empty, so the last part must be shorter than the others.
    #[must_use]
    pub fn missing(&self) -> Option<PathBuf> {
        let (first, last) = (self.parts.first()?, self.parts.last()?);
        let is_full = self.parts.len() > 1 && last.len >= first.len;
        is_full.then(|| part_path(&self.name, self.parts.len()))
    }

    /// The first of the parts of an image of this name: `NAME.000`, also where that is given.
    #[must_use]
    pub fn first_part(name: &Path) -> PathBuf {
        match without_number(name) {
            Some(_) => name.to_owned(),
            None => part_path(name, 0),
        }
    }

    /// Removes the parts with these numbers, the last one first, when a new image was given up.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, numbers: Range<usize>) -> io::Result<()> {
        let end = numbers.end.min(self.parts.len());
        for part in self.parts[numbers.start.min(end)..end].iter().rev() {
            fs::remove_file(&part.path)?;
            sync_name(&part.path)?;
        }
        Ok(())
    }

    /// Checks that no file has the name of a part behind the last one.
    ///
    /// # Errors
    /// [`Error::Refused`] names it.
    pub fn check_end(&self) -> Result<()> {
        let (Some(behind), Some(last)) = (&self.behind, self.parts.last()) else {
            return Ok(());
        };
        Err(Error::Refused(format!(
            "{} has {} bytes, fewer than the first part of the image ({}), as only its last part has; but {} \
             is there, too. Either that is no part of the image: give it another name; or a part was cut: \
             bring back all of it",
            last.path.shown(),
            last.len,
            self.parts.first().map_or(0, |first| first.len),
            behind.shown()
        )))
    }

    /// Opens them for reading, as one.
    ///
    /// # Errors
    /// As [`look_at`] and [`check_end`](Self::check_end).
    pub fn open(&self) -> Result<Arc<dyn ReadAt>> {
        self.check_end()?;
        if !self.is_split {
            return Ok(Arc::new(look_at(&self.name)?));
        }
        let open = |part: &Part| look_at(&part.path);
        let parts: Vec<_> = self.parts.iter().map(open).collect::<Result<_>>()?;
        Ok(Arc::new(Joined::new(parts)))
    }
}

/// Whether nothing can be behind these: only the last part is shorter than the first.
fn is_over(parts: &[Part]) -> bool {
    let (first, last) = (parts.first(), parts.last());
    first
        .zip(last)
        .is_some_and(|(first, last)| last.len < first.len)
}

/// The name of a part.
fn part_path(name: &Path, number: usize) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(format!(".{number:03}"));
    path.into()
}

/// The name of an image whose first part is `path`.
fn without_number(path: &Path) -> Option<PathBuf> {
    let is_first = path.extension().is_some_and(|extension| extension == "000");
    is_first.then(|| path.with_extension(""))
}

fn len_of(path: &Path) -> Result<u64> {
    Ok(look_at(path)?.geometry().size_bytes)
}
