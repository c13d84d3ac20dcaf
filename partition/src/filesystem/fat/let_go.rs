//! What a FAT looks like once the kernel lets go of it: its mark of being in use is cleared. The kernel sets that bit of
//! BS_Reserved1 when it mounts a FAT for writing, and clears it when it unmounts it or makes it read-only (Linux,
//! `fat_set_state` in fs/fat/inode.c).

use super::boot::{self, Parsed};
use super::directory::{self, Entry};
use super::layout::Layout;
use super::{Chains, metadata, state};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;

/// The bit that says that a FAT is in use.
const IN_USE: u8 = 1;

/// A byte of a volume as it is once the kernel lets go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearedMark {
    /// Where it lies.
    pub offset_bytes: u64,
    /// What it is then.
    pub byte: u8,
}

/// The mark of a FAT that is in use, cleared; `None` of anything else, and where something besides the mark keeps its map
/// from being believed. As a mark may also be left from before the mount, all of its files are followed first.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Corrupt`] when its files, directories and tables do not
/// fit together.
pub fn cleared_mark(volume: &dyn ReadAt) -> Result<Option<ClearedMark>> {
    let size_bytes = volume.geometry().size_bytes;
    if size_bytes < boot::SECTOR_BYTES as u64 {
        return Ok(None);
    }
    let sector = read_vec(volume, 0, boot::SECTOR_BYTES)?;
    let Parsed::Valid(layout) = boot::parse(&sector, size_bytes) else {
        return Ok(None);
    };
    let found = boot::identity(&sector).state;
    let hazards = state::hazards(volume, &layout, found)?;
    let [Hazard::NotCleanlyUnmounted(_)] = &*hazards else {
        return Ok(None);
    };
    if found & IN_USE == 0 {
        return Ok(None);
    }
    follow_all(volume, &layout)?;
    Ok(Some(ClearedMark {
        offset_bytes: boot::state_offset_bytes(&sector),
        byte: found & !IN_USE,
    }))
}

/// Follows the chains of all files.
fn follow_all(volume: &dyn ReadAt, layout: &Layout) -> Result<()> {
    let mut chains = Chains::new(volume, layout);
    let mut outcome = Ok(());
    metadata::for_each_directory(volume, layout, &mut |directory| {
        for entry in directory::entries(&directory.bytes, layout) {
            if outcome.is_ok() && !entry.is_directory {
                outcome = follow(&mut chains, &entry);
            }
        }
    })?;
    outcome
}

/// Fails unless a file has clusters for all of its bytes.
fn follow(chains: &mut Chains<'_>, entry: &Entry) -> Result<()> {
    let (mut next, mut len_bytes) = (Some(entry.first_cluster), 0_u64);
    // An empty file has no cluster.
    while let Some(cluster) = next.filter(|cluster| cluster.0 != 0) {
        let run = chains.run(cluster)?;
        len_bytes = len_bytes.saturating_add(run.extent.len_bytes());
        next = run.next;
    }
    if len_bytes < entry.size_bytes {
        let expected = format!("clusters for {} bytes", entry.size_bytes);
        let found = format!("some for {len_bytes}");
        return Err(Corrupt::new("FAT", "chain of a file", 0, expected, found).into());
    }
    Ok(())
}
