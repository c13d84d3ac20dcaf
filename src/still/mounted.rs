//! Opens the mounted filesystems that klon will hold: each once, in the order of freezing.

use super::volume::{How, Volume, can_be_frozen};
use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use klon_partition::system::{DeviceNumber, Superblock, System};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A mounted filesystem, open, with what it stands on.
#[derive(Debug)]
struct Mounted {
    volume: Volume,
    superblock: Superblock,
    /// Numbers of the filesystems to which it is written.
    beneath: BTreeSet<DeviceNumber>,
}

/// Opens the filesystems that are mounted at `mounts`, each once, to be held in these ways. A filesystem that
/// stands on others comes before them, because what is written when it is frozen comes to them. Of equals,
/// the root directory's is the last.
///
/// # Errors
/// A refusal of what can't be held that way; when the system does not say what is needed.
pub fn opened(system: &System, mounts: &[(PathBuf, How)]) -> Result<Vec<Volume>> {
    let mut all: Vec<Mounted> = Vec::new();
    for (at, how) in mounts {
        let volume = Volume::open(at, *how)?;
        let superblock = system.superblock_of(&volume.file);
        let superblock = superblock.with_context(|| at.shown())?;
        check(at, &superblock, *how)?;
        if all
            .iter()
            .any(|it| it.superblock.number == superblock.number)
        {
            continue;
        }
        let beneath = system.superblocks_beneath_mount(&superblock);
        all.push(Mounted {
            beneath: beneath.with_context(|| at.shown())?,
            superblock,
            volume,
        });
    }
    let numbers: BTreeSet<_> = all.iter().map(|it| it.superblock.number).collect();
    // What stands on another has that and all beneath it beneath itself, and so has more.
    all.sort_by_key(|it| {
        let depth = it.beneath.intersection(&numbers).count();
        let is_root = it.volume.at == Path::new("/");
        (std::cmp::Reverse(depth), is_root)
    });
    Ok(all.into_iter().map(|it| it.volume).collect())
}

fn check(at: &Path, superblock: &Superblock, how: How) -> Result<()> {
    let (shown, filesystem) = (at.shown(), &superblock.filesystem);
    match how {
        How::Frozen if !can_be_frozen(filesystem) => Err(refused(format!(
            "{shown} is {filesystem}, which can't be frozen. Unmount it, or mount it read-only"
        ))),
        How::ReadOnly if superblock.is_read_only => {
            Err(refused(format!("{shown} is mounted read-only already")))
        }
        _ => Ok(()),
    }
}
