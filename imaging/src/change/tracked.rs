//! What someone else tells of a source: which of its ranges changed, by a list or by a bitmap of a server,
//! and since when. klon can't see that nothing else changed, so it asks that both begin with the very
//! run that made the record.

use super::evidence::Bitmap;
use super::look::Doubt;
use super::proven::Faster;
use klon_partition::ExtentMap;
use klon_partition::text::quoted;
use uuid::Uuid;

/// What is told of a source from outside.
#[derive(Clone, Debug)]
pub enum Tracked {
    /// A list of ranges.
    List {
        /// The bytes of the source that it names as changed.
        changed: ExtentMap,
        /// Since when.
        since: Since,
    },
    /// A bitmap that a server keeps.
    Bitmap {
        /// The bytes of the source that were written to, by the bitmap.
        changed: ExtentMap,
        /// Which one it is.
        bitmap: Bitmap,
    },
    /// Nothing, for this reason.
    Missing(String),
}

/// Since when a list names what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Since that run began to read the source.
    Run(Uuid),
    /// Since the run that made the record, by the user's word.
    Record,
    /// Nobody says.
    Unsaid,
}

impl Tracked {
    /// What changed.
    pub(crate) fn changed(&self) -> Option<&ExtentMap> {
        match self {
            Self::List { changed, .. } | Self::Bitmap { changed, .. } => Some(changed),
            Self::Missing(_) => None,
        }
    }

    /// The bitmap that was there before the run began to read, so that the next run may go by it.
    pub(crate) const fn bitmap(&self) -> Option<&Bitmap> {
        match self {
            Self::Bitmap { bitmap, .. } => Some(bitmap),
            Self::List { .. } | Self::Missing(_) => None,
        }
    }

    /// Why it does not tell what changed since the record was made, by that run and with that bitmap at
    /// hand; `None` when it does.
    pub(crate) fn doubt(&self, run: Option<Uuid>, kept: Option<&Bitmap>) -> Option<Doubt> {
        let own = run.map_or_else(|| "unknown".to_owned(), |run| run.to_string());
        match self {
            Self::Missing(reason) => Some(Doubt::until_now(reason.clone())),
            Self::List { since, .. } => match since {
                Since::Record => None,
                Since::Run(since) if Some(*since) == run => None,
                Since::Run(since) => Some(Doubt {
                    reason: format!(
                        "the list of changed ranges begins with run {since}, and the record is of \
                         run {own}"
                    ),
                    remedy: Faster::NameRun,
                }),
                Since::Unsaid => Some(Doubt {
                    reason: format!(
                        "the list of changed ranges does not say with which run it begins; the \
                         record is of run {own}"
                    ),
                    remedy: Faster::NameRun,
                }),
            },
            Self::Bitmap { bitmap, .. } => match kept {
                Some(kept) if kept == bitmap => None,
                Some(kept) => Some(Doubt::until_now(format!(
                    "the last run found the bitmap {} of {}, not {} of {}",
                    quoted(&kept.name),
                    kept.export,
                    quoted(&bitmap.name),
                    bitmap.export
                ))),
                None => Some(Doubt::until_now(format!(
                    "the last run did not ask for the bitmap {}, which may be younger",
                    quoted(&bitmap.name)
                ))),
            },
        }
    }

    /// Why the run leaves unread what it does.
    pub(crate) fn reason(&self) -> String {
        let ranges = match self.changed().map_or(0, |changed| changed.extents().len()) {
            0 => "no range".to_owned(),
            1 => "1 range".to_owned(),
            count => format!("{count} ranges"),
        };
        match self.bitmap() {
            Some(bitmap) => {
                let name = quoted(&bitmap.name);
                format!("the bitmap {name} has {ranges} as written to since the last clone")
            }
            None => {
                format!("the list of changed ranges names {ranges} since the last clone")
            }
        }
    }
}

#[cfg(test)]
mod tests;
