//! Whether a source is as it was when its used map was made.

use crate::error::{Error, Result};
use klon_partition::filesystem::{Usage, probe};
use klon_partition::{ExtentMap, ReadAt};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Says what happened to a source since it was opened; `None` for nothing.
pub type Watch<'a> = dyn Fn() -> klon_partition::Result<Option<String>> + Sync + 'a;

/// Says which bytes of a source are lost: bytes that klon read as zeroes so far, and bytes that were lost
/// before. The latter are known from the start, so that a hole there counts as data.
pub type Lost<'a> = dyn Fn() -> Filled + Sync + 'a;

/// Where something else stands in the place of bytes that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Where.
    pub extents: ExtentMap,
    /// What may stand there beside zeroes.
    pub texts: FillTexts,
}

impl Filled {
    /// The part of it in `within`. It has texts only if there is anything.
    pub(crate) fn within(self, within: &ExtentMap) -> Self {
        let extents = self.extents.intersection(within);
        let texts = self.texts.if_any(&extents);
        Self { extents, texts }
    }
}

/// The texts that stand in the place of bytes that could not be read, each repeated from the start of
/// each sector of 512 bytes on. Rescues of several partitions of one disk may have used one each.
///
/// As JSON: the key `bad_fill` with the first of them, and `bad_fills` with all where there are several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FillTexts(Vec<String>);

impl FillTexts {
    /// These, and what `other` has beside them.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for text in &other.0 {
            if !self.0.contains(text) {
                self.0.push(text.clone());
            }
        }
        self
    }

    /// These, if there is anything `bad` in whose place they may stand.
    #[must_use]
    pub fn if_any(self, bad: &ExtentMap) -> Self {
        if bad.is_empty() {
            Self::default()
        } else {
            self
        }
    }

    /// Whether nothing but zeroes stands there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<T: Into<String>> FromIterator<T> for FillTexts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let add = |all: Self, text: T| all.and(&Self(vec![text.into()]));
        texts.into_iter().fold(Self::default(), add)
    }
}

impl Serialize for FillTexts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(first) = self.0.first() {
            map.serialize_entry("bad_fill", first)?;
        }
        if self.0.len() > 1 {
            map.serialize_entry("bad_fills", &self.0)?;
        }
        map.end()
    }
}

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
    check_watch(watch)
}

/// Checks that nothing was written to a source, by what `watch` says alone.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_watch(watch: Option<&Watch<'_>>) -> Result<()> {
    let changed = watch.map_or(Ok(None), |watch| watch());
    match changed.map_err(Error::Source)? {
        Some(what) => Err(Error::SourceChanged(what)),
        None => Ok(()),
    }
}

/// Whether the change token of a source is another one than `usage` was found with. The source is
/// recognized anew: another filesystem may be there by now.
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
