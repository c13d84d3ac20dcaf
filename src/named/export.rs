//! Exports of servers as sources: `nbd://HOST[:PORT]/EXPORT`, `nbd+unix:///EXPORT?socket=PATH`, and a partition of
//! one behind `#`.

use super::Place;
use super::open::OpenPlace;
use crate::error::{Advice, Failure, REFUSED, refused, usage};
use crate::foreign::Container;
use anyhow::{Context as _, Result};
use klon_imaging::foreign::{NbdDisk, NbdUri};
use klon_partition::Shown as _;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// What to say of an export that others may write to.
const WRITABLE: &str = "the server lets others write to it, and nothing shows whether they do while klon \
                        reads. Let it serve a snapshot, or read-only";

impl Place {
    /// The place that a name of an export stands for; `None` for other names.
    pub fn of_export(given: &Path) -> Result<Option<Self>> {
        let text = given.shown();
        let (name, number) = match text.rsplit_once('#') {
            Some((name, number)) => (name, Some(number)),
            None => (&*text, None),
        };
        let Some(uri) = NbdUri::parse(name) else {
            return Ok(None);
        };
        uri.map_err(|why| usage(format!("{text}: {why}")))?;
        let number = number.map(str::parse).transpose();
        let number =
            number.map_err(|_| usage(format!("{text}: what follows # is no partition")))?;
        Ok(Some(Self {
            given: text.clone(),
            path: name.into(),
            number,
            image: None,
            replay: None,
            shrink: None,
            sectors: None,
            skips: false,
            is_raw: false,
        }))
    }

    /// Whether it is on a server.
    pub fn is_export(&self) -> bool {
        self.uri().is_some()
    }

    fn uri(&self) -> Option<NbdUri> {
        let text = self.path.to_str().filter(|_| !self.is_raw)?;
        NbdUri::parse(text)?.ok()
    }

    /// The disk on the server, and what the user should know of it; `None` for what is here.
    pub(super) fn open_export(&self) -> Result<Option<(NbdDisk, Container)>> {
        let Some(uri) = self.uri() else {
            return Ok(None);
        };
        let disk = NbdDisk::connect(&uri).map_err(failure);
        let disk = disk.with_context(|| self.given.clone())?;
        Ok(Some(self.warned(disk)))
    }

    /// Opens an export to be read as long as a clone takes, with the bitmap of that name, where the server
    /// shows it.
    ///
    /// # Errors
    /// [`usage`] for what is no export; as [`claim`](Self::claim).
    pub fn claim_with_bitmap(&self, name: &str) -> Result<(OpenPlace, Arc<NbdDisk>)> {
        let missing = || {
            let given = &self.given;
            usage(format!(
                "{given} is no NBD export: only servers show bitmaps"
            ))
        };
        let uri = self.uri().ok_or_else(missing)?;
        let disk = match NbdDisk::connect_with_bitmap(&uri, name) {
            // Nor may the server itself be there.
            Err(error) if error.kind() == ErrorKind::NotFound => NbdDisk::connect(&uri),
            found => found,
        };
        let disk = disk.map_err(failure).with_context(|| self.given.clone())?;
        let (disk, container) = self.warned(disk);
        let disk = Arc::new(disk);
        let open = self.opened(disk.clone(), None, None, Some(container))?;
        Ok((open, disk))
    }

    /// A disk on a server, with what the user should know of it.
    fn warned(&self, disk: NbdDisk) -> (NbdDisk, Container) {
        let warning = (!disk.is_read_only()).then(|| format!("{}: {WRITABLE}", self.given));
        let container = Container {
            name: "an NBD export",
            warnings: warning.into_iter().collect(),
        };
        (disk, container)
    }

    /// Refuses an export, where klon must do more than read it, or know more of it.
    pub fn refuse_export(&self, what: &str) -> Result<()> {
        match self.is_export() {
            true => Err(refused(format!("{}: an NBD export {what}", self.given))),
            false => Ok(()),
        }
    }
}

/// What a server or the way to it says, with what to do. A server that refuses is no device that fails.
fn failure(error: io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::Unsupported {
        let code = REFUSED;
        let message = error.to_string();
        return Failure { message, code }.into();
    }
    let advice = Advice(advice(error.kind()).to_owned());
    anyhow::Error::from(error).context(advice)
}

/// What to do about a server that does not answer.
const fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => {
            "Run klon as a user whom the server's socket lets in, or as root"
        }
        ErrorKind::InvalidData => "Is it a server of the NBD protocol?",
        _ => {
            "Is the server running, and is its name right? klon takes nbd://HOST:PORT/EXPORT (port 10809 where \
             none is named) and nbd+unix:///EXPORT?socket=PATH"
        }
    }
}
