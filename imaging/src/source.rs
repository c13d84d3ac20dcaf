//! Whether a source is as it was when its used map was made.

use crate::error::{Error, Result};
use klon_partition::filesystem::{Usage, probe};
use klon_partition::{ExtentMap, ReadAt};

/// Says what happened to a source since it was opened; `None` for nothing.
pub type Watch<'a> = dyn Fn() -> klon_partition::Result<Option<String>> + Sync + 'a;

/// Says what of a source was read so far and came as zeroes, because the source no longer has what
/// was there.
pub type Lost<'a> = dyn Fn() -> ExtentMap + Sync + 'a;

/// Checks that nothing was written to a source since `usage` was found: by the change token of its
/// filesystem, and by what `watch` says.
///
/// # Errors
/// [`Error::SourceChanged`] with what shows it; [`Error::Source`] when the source can't be read.
pub(crate) fn check(source: &dyn ReadAt, usage: &Usage, watch: Option<&Watch<'_>>) -> Result<()> {
    if is_token_moved(source, usage)? {
        let what = "its filesystem was written to".to_owned();
        return Err(Error::SourceChanged(what));
    }
    let changed = watch.map_or(Ok(None), |watch| watch());
    match changed.map_err(Error::Source)? {
        Some(what) => Err(Error::SourceChanged(what)),
        None => Ok(()),
    }
}

/// Whether the change token of a source is another one than `usage` was found with.
fn is_token_moved(source: &dyn ReadAt, usage: &Usage) -> Result<bool> {
    let Some(before) = usage.token else {
        return Ok(false);
    };
    let now = match probe(&source).map_err(Error::Source)? {
        Some(filesystem) => filesystem.change_token(&source).map_err(Error::Source)?,
        None => None,
    };
    Ok(now != Some(before))
}
