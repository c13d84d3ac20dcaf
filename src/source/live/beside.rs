//! The partitions of a disk in use that nobody has mounted for writing.

use super::in_use::Other;
use crate::named::claimed;
use crate::source::watch::Watch;
use anyhow::Result;
use klon_partition::Shown as _;
use klon_partition::device::Source;
use std::sync::Arc;

/// Partitions that klon has claimed, so that nobody mounts them for writing meanwhile.
#[derive(Default)]
pub struct Beside(Vec<Claimed>);

struct Claimed {
    name: String,
    /// What tells of writes to it; `None` where the kernel keeps no account of them.
    watch: Option<Watch>,
    /// The claim.
    _source: Arc<Source>,
}

impl Beside {
    /// Claims them.
    ///
    /// # Errors
    /// When one can't be opened, or something has it that klon can't see.
    pub fn claim(all: &[Other]) -> Result<Self> {
        let claimed = all.iter().map(|other| {
            let source = Arc::new(claimed::open(&other.node)?);
            Ok(Claimed {
                name: other.node.shown(),
                watch: Watch::of(&source)?,
                _source: source,
            })
        });
        Ok(Self(claimed.collect::<Result<_>>()?))
    }

    /// What happened to one of them since; `None` for nothing.
    ///
    /// # Errors
    /// When the kernel's account of writes can't be read.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        for claimed in &self.0 {
            if let Some(watch) = &claimed.watch
                && let Some(what) = watch.changed()?
            {
                return Ok(Some(format!("{}: {what}", claimed.name)));
            }
        }
        Ok(None)
    }
}
