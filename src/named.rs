//! What a user or a plan names: a device or file, and a part of it.

pub mod identity;
pub mod open;
pub mod parent;
pub mod resolve;

use crate::image::ImageName;
use std::path::{Path, PathBuf};

/// What names a file whose bytes are a disk's own, whatever they look like: `raw:FILE`.
pub const RAW_PREFIX: &str = "raw:";

/// A device or file, or a partition inside of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// As the user or a plan named it.
    pub given: String,
    /// What is opened.
    pub path: PathBuf,
    /// The partition of it; `None` for all of it.
    pub number: Option<u32>,
    /// The snapshot that is meant, where the file is an image of klon's.
    pub image: Option<ImageName>,
    /// Whether a file's bytes are the disk's own, whatever they look like: of targets, and where the
    /// user says so.
    pub is_raw: bool,
}

impl Place {
    /// The same place, taken for raw bytes.
    pub fn into_raw(self) -> Self {
        Self {
            image: None,
            is_raw: true,
            ..self
        }
    }
}

/// What is named, without the prefix.
pub fn without_prefix(given: &Path) -> &Path {
    let text = given.to_str().filter(|_| !given.exists());
    let name = text.and_then(|text| text.strip_prefix(RAW_PREFIX));
    name.map_or(given, Path::new)
}
