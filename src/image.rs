//! Images as the user names them: FILE, or FILE@N for the snapshot of that number.

use crate::error::usage;
use anyhow::{Context as _, Result};
use klon_imaging::image::{Image, Snapshot};
use klon_partition::device::look_at;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An image, and which snapshot of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The file.
    pub path: PathBuf,
    /// The snapshot's number; `None` for the last one.
    pub snapshot: Option<u64>,
}

impl ImageName {
    /// Takes FILE or FILE@N apart. A file whose own name ends so is that file.
    pub fn parse(given: &Path) -> Result<Self> {
        let whole = Self {
            path: given.to_owned(),
            snapshot: None,
        };
        if given.exists() {
            return Ok(whole);
        }
        let text = given.to_string_lossy();
        let Some((path, number)) = text.rsplit_once('@') else {
            return Ok(whole);
        };
        let number = number.parse().map_err(|_| {
            usage(format!(
                "{text}: {number:?} is no number of a snapshot; `klon list {path}` shows them"
            ))
        })?;
        Ok(Self {
            path: path.into(),
            snapshot: Some(number),
        })
    }

    /// Opens the file.
    pub fn open(&self) -> Result<Image> {
        let name = || self.path.display().to_string();
        let source = look_at(&self.path).with_context(name)?;
        Image::open(Arc::new(source)).with_context(name)
    }

    /// Opens the snapshot.
    pub fn open_snapshot(&self) -> Result<Arc<Snapshot>> {
        let snapshot = self.open()?.snapshot(self.snapshot);
        let snapshot = snapshot.with_context(|| self.path.display().to_string())?;
        Ok(Arc::new(snapshot))
    }
}
