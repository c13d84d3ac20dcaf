//! What a user or a plan names: a device or file, and a part of it.

pub mod claimed;
pub mod export;
pub mod identity;
pub mod journal;
pub mod known;
pub mod node;
pub mod open;
pub mod parent;
mod recovered;
pub mod replay;
pub mod resolve;

use crate::cli::{ReplayArg, ReplayArgs};
use crate::foreign::RAW_PREFIX;
use crate::image::ImageName;
use crate::overlay::Scratch;
use std::path::{Path, PathBuf};

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
    /// A journal that awaits recovery is replayed if this is there, as it is of sources, unless the user says
    /// otherwise; what the kernel writes when it does that is kept there.
    pub replay: Option<Scratch>,
    /// Where this is given, a filesystem is shrunk that is too large for its target. What the shrinking
    /// writes is kept here.
    pub shrink: Option<Scratch>,
    /// The sectors of the disk that it goes to, if klon may lay its filesystem out anew for those.
    pub sectors: Option<u32>,
    /// Whether contents are left out that are worthless on a copy.
    pub skips: bool,
    /// Whether a file's bytes are the disk's own, whatever they look like: of targets, and where the
    /// user says so.
    pub is_raw: bool,
}

impl Place {
    /// The same place, taken for raw bytes.
    pub fn into_raw(self) -> Self {
        Self {
            image: None,
            replay: None,
            shrink: None,
            sectors: None,
            skips: false,
            is_raw: true,
            ..self
        }
    }

    /// The same place as a source, whose filesystem may be shrunk in an overlay.
    pub fn shrinking(self, is_asked: bool, scratch: Option<&Path>) -> Self {
        Self {
            shrink: is_asked.then(|| Scratch::new(scratch)),
            ..self
        }
    }

    /// The same place as a source for a disk with such sectors.
    pub fn for_sectors(self, sectors: Option<u32>) -> Self {
        Self { sectors, ..self }
    }

    /// The same place as a source, with journals that await recovery treated in this way.
    pub fn replaying(self, choice: &ReplayArgs) -> Self {
        let replay = match choice.replay {
            ReplayArg::Auto => Some(Scratch::new(choice.scratch.as_deref())),
            ReplayArg::Never => None,
        };
        Self { replay, ..self }
    }
}

/// What is named, without the prefix.
pub fn without_prefix(given: &Path) -> &Path {
    let text = given.to_str().filter(|_| !given.exists());
    let name = text.and_then(|text| text.strip_prefix(RAW_PREFIX));
    name.map_or(given, Path::new)
}
