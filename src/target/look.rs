//! Looking at a target, before anyone is asked about it.

use super::{TargetEnd, TargetNow};
use crate::error::{refused, usage};
use crate::guard;
use crate::named::known::Known;
use crate::named::open::OpenPlace;
use crate::named::resolve::TAGS;
use crate::named::{Place, without_prefix};
use anyhow::Result;
use klon_partition::Identity;
use klon_partition::Shown;
use klon_partition::system::System;
use klon_partition::text::unsealed;
use std::io::ErrorKind;
use std::path::Path;

impl TargetEnd {
    /// Looks at a target.
    pub fn look(given: &Path, system: &System) -> Result<Self> {
        let given = without_prefix(given);
        if let Some(export) = Place::of_export(given)? {
            export.refuse_export("can't be a target")?;
        }
        if !given.exists()
            && let Some(end) = Self::new_file(given)?
        {
            return Ok(end);
        }
        let place = Place::resolve_here(given, system)?;
        if place.image.is_some() {
            return Err(refused(format!(
                "{} is a klon image with snapshots. Add to it with `klon image`, or name another \
                 target",
                place.given
            )));
        }
        guard::unused(system, &place.path)?;
        // klon writes plain bytes.
        let place = place.into_raw();
        let open = place.open()?;
        guard::beside_others(&open)?;
        Self::of(place, open, system)
    }

    /// A target that was looked at.
    ///
    /// # Errors
    /// When the system doesn't say which disk it is on.
    pub fn of(place: Place, open: OpenPlace, system: &System) -> Result<Self> {
        let Known {
            identity,
            location,
            clone_name,
        } = open.known(system)?;
        let disk = open.disk(system)?.cloned();
        Ok(Self {
            place,
            now: Some(TargetNow {
                open,
                location,
                disk,
            }),
            identity,
            clone_name,
        })
    }

    /// A plain file that is to be made: its directory exists, and the name is no tag or FILE:2.
    fn new_file(given: &Path) -> Result<Option<Self>> {
        let Some(name) = given.file_name() else {
            return Ok(None);
        };
        let text = given.shown();
        let is_tag = text
            .split_once('=')
            .is_some_and(|(tag, _)| TAGS.contains(&tag));
        let is_part = text
            .rsplit_once(':')
            .is_some_and(|(path, _)| Path::new(&unsealed(path)).exists());
        if is_tag || is_part || given.starts_with("/dev") {
            return Ok(None);
        }
        let parent = given
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let parent = parent.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => usage(format!(
                "{text}: there is no directory {} for the new file. Make it first",
                parent.shown()
            )),
            _ => anyhow::Error::from(error).context(text.clone()),
        })?;
        let path = parent.join(name);
        let identity = Identity::Path(path.shown());
        let place = Place {
            given: text,
            path,
            number: None,
            image: None,
            replay: None,
            shrink: None,
            sectors: None,
            skips: false,
            is_raw: true,
        };
        Ok(Some(Self {
            place,
            now: None,
            identity,
            clone_name: None,
        }))
    }
}
