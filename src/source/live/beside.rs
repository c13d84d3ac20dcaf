//! What of a disk in use lies beside the volumes that are mounted for writing: partitions that nobody has mounted so,
//! and the room in no partition.

use super::in_use::InUse;
use crate::named::claimed;
use crate::source::watch::Watch;
use anyhow::Result;
use klon_partition::Shown as _;
use klon_partition::device::{Source, Stamp, look_at};
use klon_partition::locks::lock;
use std::sync::{Arc, Mutex};

/// What lies beside the mounted volumes of a disk; nothing, of a volume.
#[derive(Default)]
pub struct Beside {
    claimed: Vec<Claimed>,
    account: Option<Account>,
    /// What the account said at the last look.
    seen: Mutex<Option<u64>>,
}

/// A partition that klon has claimed, so that nobody mounts it for writing meanwhile.
struct Claimed {
    name: String,
    /// What tells of writes to it; `None` where the kernel keeps no account of them.
    watch: Option<Watch>,
    /// The claim.
    _source: Arc<Source>,
}

/// The kernel's account of writes to a disk, and to each of its partitions.
struct Account {
    disk: Arc<Source>,
    parts: Vec<Source>,
}

impl Beside {
    /// Claims the partitions of `disk` that are not in use, and begins to watch what is written to none.
    ///
    /// # Errors
    /// When a partition can't be opened, or something has one that klon can't see.
    pub fn begin(disk: &Arc<Source>, in_use: &InUse) -> Result<Self> {
        let claimed = in_use.others.iter().map(|other| {
            let source = Arc::new(claimed::open(&other.node)?);
            Ok(Claimed {
                name: other.node.shown(),
                watch: Watch::of(&source)?,
                _source: source,
            })
        });
        let claimed: Result<_> = claimed.collect();
        let parts = in_use.nodes().map(look_at);
        let account = Account {
            disk: disk.clone(),
            parts: parts.collect::<klon_partition::Result<_>>()?,
        };
        Ok(Self {
            claimed: claimed?,
            account: Some(account),
            seen: Mutex::default(),
        })
    }

    /// A count that is another one once something was written to the disk past its partitions; `None` where the
    /// kernel keeps no account, and while too much is written to tell. It is kept until the next look.
    ///
    /// # Errors
    /// When the account can't be read.
    pub fn look(&self) -> klon_partition::Result<Option<u64>> {
        let written = self.written()?;
        *lock(&self.seen) = written;
        Ok(written)
    }

    fn written(&self) -> klon_partition::Result<Option<u64>> {
        self.account.as_ref().map_or(Ok(None), Account::written)
    }

    /// What happened to a partition that nobody has mounted for writing since klon has it, or to the room in no
    /// partition since the last look; `None` for nothing.
    ///
    /// # Errors
    /// When the kernel's account of writes can't be read.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        for claimed in &self.claimed {
            if let Some(watch) = &claimed.watch
                && let Some(what) = watch.changed()?
            {
                return Ok(Some(format!("{}: {what}", claimed.name)));
            }
        }
        let before = *lock(&self.seen);
        let now = match before {
            Some(_) => self.written()?,
            None => None,
        };
        Ok(match (before, now) {
            (Some(before), Some(now)) if before != now => {
                let bytes = now.wrapping_sub(before).saturating_mul(UNIT_BYTES);
                Some(format!(
                    "{bytes} bytes were written to it past its partitions"
                ))
            }
            _ => None,
        })
    }
}

/// What the kernel counts writes in.
const UNIT_BYTES: u64 = 512;

/// How often the accounts are read until they agree.
const READINGS_MAX: u32 = 100;

impl Account {
    /// Units written to the disk and to none of its partitions. The kernel counts what is written to a partition for
    /// its disk as well. The accounts are read one after the other, so they count only when nothing was written
    /// meanwhile.
    fn written(&self) -> klon_partition::Result<Option<u64>> {
        let mut last = None;
        for _ in 0..READINGS_MAX {
            let (Some(before), Some(all), Some(after)) =
                (self.of_parts()?, units(&self.disk)?, self.of_parts()?)
            else {
                return Ok(None);
            };
            let past = (before == after).then(|| all.wrapping_sub(before));
            if past.is_some() && past == last {
                return Ok(past);
            }
            last = past;
        }
        Ok(None)
    }

    fn of_parts(&self) -> klon_partition::Result<Option<u64>> {
        let mut sum = 0_u64;
        for part in &self.parts {
            let Some(units) = units(part)? else {
                return Ok(None);
            };
            sum = sum.wrapping_add(units);
        }
        Ok(Some(sum))
    }
}

fn units(source: &Source) -> klon_partition::Result<Option<u64>> {
    Ok(match source.stamp()? {
        Some(Stamp::Block { written_units }) => Some(written_units),
        _ => None,
    })
}
