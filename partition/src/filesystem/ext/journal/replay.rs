//! The replay of the journal: what the volume would be after the kernel recovered it, shown over the volume
//! as it is.
//!
//! As after `ext4_load_journal` and `jbd2_journal_recover` of Linux: the blocks of the log are in their
//! places, the log is empty, the filesystem doesn't need recovery, and its counters are the sums of those of
//! its groups, as after any mount. The list of orphaned inodes stays: the first mount of a clone ends it, as
//! it would on the original.

use super::form::Form;
use super::log::{Log, number, refused};
use super::recovery::{Recovered, Recovery};
use super::{CHECKSUMS, EMPTY, INCOMPAT_FAST_COMMIT, Journal, checksum};
use crate::bytes::{le32, u8_at};
use crate::device::redirected::{Redirected, Redirection};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::Replayed;
use crate::filesystem::ext::checksum::crc32c;
use crate::filesystem::ext::descriptor::Descriptors;
use crate::filesystem::ext::feature::{self, Features};
use crate::filesystem::ext::superblock::{self, Superblock};

/// `JBD2_CRC32C_CHKSUM`
const CHECKSUM_TYPE: u8 = 4;

/// Replays the journal of the filesystem on `device`.
///
/// # Errors
/// [`crate::Error::Corrupt`] or [`crate::Error::Unsupported`] when the kernel would not replay it either,
/// or klon can't; [`crate::Error::Io`] when the device fails.
pub(in super::super) fn replay(superblock: &Superblock, device: &dyn ReadAt) -> Result<Replayed> {
    let Some(number) = number(superblock) else {
        return Err(refused("it is not in the filesystem"));
    };
    let before = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
    if !superblock.features.has_incompat(feature::INCOMPAT_RECOVER) {
        // The kernel would throw such a log away.
        return Err(refused(
            "it has transactions, but needs_recovery is not set",
        ));
    }
    let journal = Journal::read(superblock, number, device)?;
    let recovered = recovered(superblock, &journal, device)?;
    let (transactions, blocks) = (recovered.transactions, recovered.blocks);
    let mut redirection = Redirection::new(superblock.block_bytes, blocks);
    let replayed_bytes = redirection.redirected_bytes();
    let geometry = device.geometry();
    if let Some(whole) = geometry.extent() {
        let shown = Redirected::new(device, vec![(whole, redirection)])?;
        let after = mended(&shown)?;
        redirection = shown.into_only().unwrap_or_default();
        redirection.patch(superblock::OFFSET_BYTES, before, after);
    }
    let empty = emptied(&journal, transactions);
    redirection.patch(journal.offset_bytes, journal.raw, empty);
    Ok(Replayed {
        redirection,
        transactions,
        replayed_bytes,
    })
}

fn recovered(superblock: &Superblock, journal: &Journal, device: &dyn ReadAt) -> Result<Recovered> {
    let incompat = journal.features.incompat;
    if journal.has_unknown_features {
        return Err(refused("it has features that klon doesn't know"));
    }
    if journal.error != 0 {
        return Err(refused("it was aborted; run e2fsck"));
    }
    if journal.start == EMPTY {
        return Ok(Recovered {
            blocks: std::collections::BTreeMap::new(),
            transactions: 0,
        });
    }
    if incompat & INCOMPAT_FAST_COMMIT != 0 {
        return Err(refused(
            "it may have fast commits, which klon doesn't replay",
        ));
    }
    let s_checksum_type = u8_at(&journal.raw, 0x50);
    if incompat & CHECKSUMS != 0 && s_checksum_type != CHECKSUM_TYPE {
        return Err(refused(
            "its checksums are of a type that klon doesn't know",
        ));
    }
    let s_uuid = journal.raw.get(0x30..0x40).unwrap_or_default();
    let Some(form) = Form::new(superblock.block_len(), journal.features, s_uuid) else {
        return Err(refused("it has checksums of two versions"));
    };
    let log = Log::open(superblock, journal, device)?;
    let volume_bytes = device.geometry().size_bytes;
    Recovery::new(log, form, journal.sequence, volume_bytes).run(journal.start)
}

/// The superblock of a volume whose log is in its places, when nothing is left to be recovered.
fn mended(shown: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut raw = read_vec(shown, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
    let superblock = Superblock::parse(&raw, shown.geometry().size_bytes)?;
    let (mut free_clusters, mut free_inodes) = (0_u64, 0_u32);
    let mut descriptors = Descriptors::new(&superblock, shown);
    while let Some(batch) = descriptors.next_batch()? {
        for group in batch {
            free_clusters = free_clusters.saturating_add(group.free_clusters.into());
            free_inodes = free_inodes.saturating_add(group.free_inodes);
        }
    }
    let free_blocks = free_clusters.saturating_mul(superblock.cluster_blocks.into());
    let s_feature_incompat = le32(&raw, 0x60) & !feature::INCOMPAT_RECOVER;
    put(&mut raw, 0x60, s_feature_incompat.to_le_bytes());
    // s_free_blocks_count_lo and s_free_inodes_count
    put(&mut raw, 0x0c, (free_blocks as u32).to_le_bytes());
    put(&mut raw, 0x10, free_inodes.to_le_bytes());
    let features = Features::parse(&raw);
    if features.has_incompat(feature::INCOMPAT_64BIT) {
        let s_free_blocks_count_hi = (free_blocks >> 32) as u32;
        put(&mut raw, 0x158, s_free_blocks_count_hi.to_le_bytes());
    }
    if features.has_metadata_csum() {
        let s_checksum = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
        put(&mut raw, 0x3fc, s_checksum.to_le_bytes());
    }
    Ok(raw)
}

/// The journal's superblock when its log is empty. The number that comes next is none that the log has, not
/// even of a transaction that was never committed.
fn emptied(journal: &Journal, transactions: u32) -> Vec<u8> {
    let mut raw = journal.raw.clone();
    let s_sequence = journal.sequence.wrapping_add(transactions).wrapping_add(1);
    put(&mut raw, 0x18, s_sequence.to_be_bytes());
    // s_start
    put(&mut raw, 0x1c, [0; 4]);
    let incompat = journal.features.incompat;
    if incompat & CHECKSUMS != 0 {
        let s_checksum = checksum(&raw);
        put(&mut raw, 0xfc, s_checksum.to_be_bytes());
    }
    raw
}

/// Writes a field of a structure that has it.
fn put(raw: &mut [u8], offset: usize, field: [u8; 4]) {
    if let Some(place) = raw.get_mut(offset..offset + 4) {
        place.copy_from_slice(&field);
    }
}
